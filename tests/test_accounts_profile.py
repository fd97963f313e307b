"""A user's name and picture: what is no picture is none, whatever it is called, and a browser runs nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accounts_servers import house, uid
from innkeeper.server.accounts.pictures import LARGEST, type_of

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100
PICTURES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + b"x" * 100,
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 " + b"x" * 100,
    "image/gif": b"GIF89a" + b"x" * 100,
}
PAGE = "/api/users/me/avatar"


def form(body: bytes, name: str = "a.png", kind: str = "image/png") -> Any:
    return {"avatar": (name, body, kind)}


@pytest.mark.parametrize("kind", PICTURES)
async def test_a_picture_is_given_as_what_its_bytes_are(tmp_path: Path, kind: str) -> None:
    async with house(tmp_path, "LocalNoPassword") as made:
        client = made.served.client
        # Neither its name nor what the client calls it counts.
        answer = await client.post(PAGE, files=form(PICTURES[kind], "../../x.html", "text/html"))
        assert answer.status_code == 200, answer.text
        url = answer.json()["avatarUrl"]
        assert (await client.get("/api/auth/current")).json()["currentUser"]["avatarUrl"] == url
        got = await client.get(url)
        assert (got.status_code, got.content, got.headers["content-type"]) == (200, PICTURES[kind], kind)
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
        tag = got.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = await client.get(url, headers={"if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (await client.get(url, headers={"if-none-match": '"other"'})).status_code == 200
        assert (await client.post(PAGE, files=form(b"GIF87a other"))).status_code == 200
        assert (await client.get(url, headers={"if-none-match": tag})).content == b"GIF87a other"
        assert (await client.delete(PAGE)).status_code == 204
        assert (await client.get(url)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html>",
        b" " + PNG,
        PNG[:7],
        b"RIFF1234WAVE",
        b"BM" + b"x" * 99,
    ],
)
async def test_what_is_no_picture_is_refused(tmp_path: Path, body: bytes) -> None:
    assert type_of(body) is None
    async with house(tmp_path, "LocalNoPassword") as made:
        answer = await made.served.client.post(PAGE, files=form(body))
        assert (answer.status_code, answer.json()) == (415, {"error": "this is no picture in PNG, JPEG, WebP or GIF"})


async def test_a_form_that_is_too_large_or_none_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, "LocalNoPassword") as made:
        client = made.served.client
        largest = PNG + bytes(LARGEST - len(PNG))
        assert (await client.post(PAGE, files=form(largest))).status_code == 200
        answer = await client.post(PAGE, files=form(largest + b"x"))
        assert (answer.status_code, answer.json()["error"][:24]) == (413, "the picture is too large")

        async def endless() -> Any:
            yield b'--b\r\nContent-Disposition: form-data; name="avatar"; filename="a"\r\n\r\n'
            for _ in range(200):
                yield bytes(64 * 1024)

        multipart = {"content-type": "multipart/form-data; boundary=b"}
        assert (await client.post(PAGE, content=endless(), headers=multipart)).status_code == 413
        for content, headers, status in (
            (PNG, {"content-type": "image/png"}, 415),
            (b"nonsense", multipart, 400),
            (b"--b\r\n\r\nx", {"content-type": "multipart/form-data"}, 400),
            (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n', multipart, 400),
            (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", multipart, 400),
        ):
            assert (await client.post(PAGE, content=content, headers=headers)).status_code == status
        two = [("a", ("a.png", PNG)), ("b", ("b.png", PNG))]
        assert (await client.post(PAGE, files=two)).status_code == 400
        assert (await client.get(PAGE)).content == largest


async def test_a_picture_is_for_whoever_is_logged_in(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.person("Bob") as bob:
        url = (await ann.post(PAGE, files=form(PNG))).json()["avatarUrl"]
        assert (await bob.get(url)).content == PNG
        async with made.client() as nobody:
            assert (await nobody.get(url)).status_code == 401
            assert (await nobody.post(PAGE, files=form(PNG))).status_code == 401
        for other in ("f" * 32, await uid(bob)):
            assert (await ann.get(f"/api/users/{other}/avatar")).status_code == 404
        for strange in ("%00", "..%2f..", "a" * 65, "%ff"):
            assert (await ann.get(f"/api/users/{strange}/avatar")).status_code in (404, 422)


async def test_a_name_is_ones_own_and_nobody_elses(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.person("Bob") as bob:
        assert (await bob.put("/api/users/me/username", json={"username": " aNN "})).status_code == 409
        answer = await bob.put("/api/users/me/username", json={"username": " Rob "})
        assert (answer.status_code, answer.json()) == (200, {"username": "Rob"})
        assert (await bob.get("/api/auth/current")).json()["currentUser"]["username"] == "Rob"
        for name in ("", " ", "a\0b", "\u202e", "x" * 65, 7, None):
            assert (await bob.put("/api/users/me/username", json={"username": name})).status_code == 422
        assert (await ann.get("/api/auth/current")).json()["currentUser"]["username"] == "Ann"
    async with house(tmp_path / "one", "LocalNoPassword") as made:
        client = made.served.client
        assert (await client.put("/api/users/me/username", json={"username": "me"})).status_code == 200
        assert (await client.get("/api/auth/current")).json()["currentUser"]["username"] == "me"
