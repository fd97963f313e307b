"""The file manager over HTTP: ComfyTavern's routes, whole files, and nothing that a browser would run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import trio
from starlette.requests import HTTPConnection

from file_trees import all_below, at
from innkeeper.server.files.downloads import download
from innkeeper.server.files.store import FileBounds, Files
from innkeeper.server.identity import Identity
from servers import Served, served


def become(server: Served, **changed: Any) -> None:
    """From now on somebody else asks."""

    async def identify(connection: HTTPConnection) -> Identity | None:
        return replace(Identity("ada", "ada", False, "session"), **changed)

    object.__setattr__(server.parts, "identify", identify)


async def put(server: Served, path: str, name: str, data: bytes, *, overwrite: bool = False) -> httpx.Response:
    query = {"overwrite": "true"} if overwrite else {}
    return await server.client.post(f"/api/fam/upload/{path}", files={"files": (name, data)}, params=query)


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()]


async def test_files_are_sent_listed_moved_renamed_and_read(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        get, post, change = server.client.get, server.client.post, server.client.put
        made = await post("/api/fam/create-dir", json={"parentLogicalPath": "user://", "dirName": "notes"})
        assert made.status_code == 201
        assert made.json()["logicalPath"] == "user://notes"
        assert made.json()["itemType"] == "directory"
        sent = await server.client.post(
            "/api/fam/upload/user://notes",
            files=[("files", ("a.txt", b"one")), ("files", ("灯 火.txt", b"two")), ("other", ("x", b"not kept"))],
            data={"field": "not a file"},
        )
        assert sent.status_code == 201
        assert [(item["name"], item["size"], item["isWritable"]) for item in sent.json()] == [
            ("a.txt", 3, True),
            ("灯 火.txt", 3, True),
        ]
        renamed = await change("/api/fam/rename", json={"logicalPath": "user://notes/a.txt", "newName": "b.txt"})
        assert renamed.json()["logicalPath"] == "user://notes/b.txt"
        moved = await change(
            "/api/fam/move", json={"sourcePaths": ["user://notes/b.txt"], "targetParentPath": "user://"}
        )
        assert (moved.status_code, moved.json()["results"][0]["logicalPath"]) == (200, "user://b.txt")
        for path, status in (("user://b.txt", 200), ("user://none", 404)):
            again = await change("/api/fam/move", json={"sourcePaths": [path], "targetParentPath": "user://"})
            assert again.json()["results"][0]["status"] == status
        assert names(await get("/api/fam/list/user%3A%2F%2Fnotes")) == ["灯 火.txt"]
        assert names(await get("/api/fam/list/user://")) == ["b.txt", "notes"]
        assert (await get("/api/fam/read/user://b.txt")).json() == "one"
        assert (await get("/api/fam/download/user://b.txt")).content == b"one"
        assert (await get("/api/fam/download/user://notes/灯 火.txt")).content == b"two"


async def test_json_is_written_and_read_and_null_where_there_is_none(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        content = {"z": 1, "a": [None, 1.5, "灯", {"deep": True}], "n": 2**63}
        body = {"logicalPath": "user://made/here/x.json", "content": content}
        assert (await server.client.post("/api/fam/write-json", json=body)).status_code == 204
        read = (await server.client.get("/api/fam/read/user://made/here/x.json")).json()
        assert read == content
        assert list(read) == ["z", "a", "n"]
        assert (await server.client.get("/api/fam/read/user://none.json")).json() is None
        await put(server, "user://", "broken.json", b"{")
        await put(server, "user://", "picture.bin", b"\xff\xfe\x00")
        for name in ("broken.json", "picture.bin"):
            answer = await server.client.get(f"/api/fam/read/user://{name}")
            assert answer.status_code == 422
            assert name in answer.json()["error"]


async def test_a_file_that_is_there_is_replaced_only_when_that_is_said(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        assert (await put(server, "user://", "a", b"old")).status_code == 201
        both = [("files", ("new", b"n")), ("files", ("a", b"newer"))]
        assert (await server.client.post("/api/fam/upload/user://", files=both)).status_code == 409
        # None of them, then.
        assert names(await server.client.get("/api/fam/list/user://")) == ["a"]
        assert (await server.client.get("/api/fam/download/user://a")).content == b"old"
        assert (await put(server, "user://", "a", b"newer", overwrite=True)).status_code == 201
        assert (await server.client.get("/api/fam/download/user://a")).content == b"newer"


async def test_a_large_file_comes_through_whole_and_in_parts(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    async with served(tmp_path) as server:
        assert (await put(server, "user://", "large", data)).json()[0]["size"] == len(data)
        whole = await server.client.get("/api/fam/download/user://large")
        assert whole.content == data
        etag = whole.headers["etag"]

        async def asked(**headers: str) -> httpx.Response:
            named = {key.replace("_", "-"): value for key, value in headers.items()}
            return await server.client.get("/api/fam/download/user://large", headers=named)

        part = await asked(range="bytes=10-1000009")
        assert (part.status_code, part.content) == (206, data[10:1_000_010])
        assert part.headers["content-range"] == f"bytes 10-1000009/{len(data)}"
        assert (await asked(range="bytes=-5")).content == data[-5:]
        assert (await asked(range=f"bytes={len(data) - 3}-")).content == data[-3:]
        beyond = await asked(range=f"bytes={len(data)}-")
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
        assert (await asked(range="bytes=0-1,5-6")).status_code == 200
        assert (await asked(range="bytes=5-2")).status_code == 416
        assert (await asked(range="bytes=-0")).status_code == 416
        assert (await asked(range="bytes=0-1", if_range=etag)).status_code == 206
        assert (await asked(range="bytes=0-1", if_range='"other"')).status_code == 200
        same = await asked(if_none_match=etag)
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
        await put(server, "user://", "large", data[:-1] + b"x", overwrite=True)
        assert (await asked(if_none_match=etag)).status_code == 200


KINDS = [
    ("a.png", "image/png", "inline"),
    ("A.TXT", "text/plain; charset=utf-8", "inline"),
    ("a.json", "application/json", "inline"),
    ("a.html", "application/octet-stream", "attachment"),
    ("a.svg", "application/octet-stream", "attachment"),
    ("a.js", "application/octet-stream", "attachment"),
    ("a.xhtml", "application/octet-stream", "attachment"),
    ("a.pdf", "application/octet-stream", "attachment"),
    ("html", "application/octet-stream", "attachment"),
]


async def test_no_file_is_a_page_of_this_server(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        for name, kind, where in KINDS:
            await put(server, "user://", name, b"<script>alert(1)</script>")
            answer = await server.client.get(f"/api/fam/download/user://{name}")
            assert answer.headers["content-type"] == kind
            assert answer.headers["content-disposition"].startswith(f"{where}; ")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in answer.headers["content-security-policy"]


async def test_a_name_of_a_file_writes_no_header(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        name = "灯%22'; filename=evil.html; é.bin"
        await put(server, "user://", name, b"x")
        answer = await server.client.get("/api/fam/download/user://" + name.replace("%", "%25").replace(";", "%3B"))
        assert answer.status_code == 200
        said = answer.headers["content-disposition"]
        assert said.isascii()
        assert said.count('"') == 2
        assert said.endswith("filename*=UTF-8''%E7%81%AF%2522%27%3B%20filename%3Devil.html%3B%20%C3%A9.bin")


async def test_no_form_names_a_file_elsewhere(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await server.client.get("/api/fam/list/user://deep?ensureExists=true")
        before = all_below(tmp_path / "files")
        for name in ("..", "../x", "..\\x", "a/b", "con", "", "a\x00b", ".innkeeper-staging", "x" * 300):
            head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\nx\r\n--b--\r\n'
            answer = await server.client.post(
                "/api/fam/upload/user://deep",
                content=head.encode(),
                headers={"content-type": "multipart/form-data; boundary=b"},
            )
            assert answer.status_code == 400, name
            assert {key: each for key, each in all_below(tmp_path / "files").items() if "staging" not in key} == {
                key: each for key, each in before.items() if "staging" not in key
            }
            assert not list((tmp_path / "files/users/default_user").glob(".innkeeper-staging/*"))


FORMS = [
    ("application/json", b"{}", 415),
    ("multipart/form-data", b"", 415),
    ("multipart/form-data; boundary=" + "b" * 100, b"", 415),
    ("multipart/form-data; boundary=b", b"", 400),
    ("multipart/form-data; boundary=b", b"not a form", 400),
    ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"x" * 20_000 + b"\r\n\r\n--b--\r\n", 400),
    ("multipart/form-data; boundary=b", b"--b\r\n" + b"X: y\r\n" * 5000 + b"\r\n\r\n--b--\r\n", 400),
    (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="half"\r\n\r\ncut',
        400,
    ),
    (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="twice"\r\n\r\nx\r\n' * 2 + b"--b--\r\n",
        400,
    ),
    (
        "multipart/form-data; boundary=b",
        b"".join(
            b'--b\r\nContent-Disposition: form-data; name="files"; filename="f%d"\r\n\r\nx\r\n' % number
            for number in range(101)
        )
        + b"--b--\r\n",
        413,
    ),
]


async def test_a_form_that_is_broken_or_has_no_end_leaves_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        for kind, body, status in FORMS:
            answer = await server.client.post("/api/fam/upload/user://d", content=body, headers={"content-type": kind})
            assert answer.status_code == status, answer.text
            assert "error" in answer.json()
            assert not list((tmp_path / "files").glob("users/*/.innkeeper-staging/*"))
            assert not list((tmp_path / "files").glob("users/*/d"))


async def test_of_many_who_send_one_name_at_once_one_does(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        found: list[int] = []

        async def send(number: int) -> None:
            found.append((await put(server, "user://", "same", b"%d" % number * 100_000)).status_code)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(send, number)
        assert sorted(found) == [201, 409, 409, 409, 409, 409]
        data = (await server.client.get("/api/fam/download/user://same")).content
        assert (len(data), len(set(data))) == (100_000, 1)


async def test_a_client_that_vanishes_leaves_nothing_and_is_no_hindrance(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        staging = tmp_path / "files/users/default_user/.innkeeper-staging"
        url = httpx.URL(server.url)
        head = (
            f"POST /api/fam/upload/user:// HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nContent-Length: 9000000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            '--b\r\nContent-Disposition: form-data; name="files"; filename="half"\r\n\r\n'
        )
        async with await trio.open_tcp_stream(str(url.host), url.port or 0) as stream:
            await stream.send_all(head.encode() + b"x" * 3_000_000)
            await until(lambda: any(size >= 1 << 20 for size in sizes(staging)))
        await until(lambda: sizes(staging) == [])
        assert names(await server.client.get("/api/fam/list/user://")) == []
        # Whoever asks for a file and goes away in the midst of it leaves no descriptor open.
        await put(server, "user://", "large", b"x" * 5_000_000)
        for _ in range(20):
            async with server.client.stream("GET", "/api/fam/download/user://large") as answer:
                async for _chunk in answer.aiter_raw(1000):
                    break
        await until(lambda: not any(_leads_to(each, "large") for each in open_here()))


async def test_nothing_more_is_read_for_a_client_that_is_gone(tmp_path: Path) -> None:
    files = Files(tmp_path, FileBounds(1 << 30, 100, 60.0))
    tree = files.user("ada")
    tree.write(at("large"), b"x" * 10_000_000)
    answer = await download(files, tree, at("large"), {})
    sent: list[Any] = []
    gone = trio.Event()

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 3:
            gone.set()
        await trio.lowlevel.checkpoint()

    with trio.fail_after(30):
        await answer({"type": "http"}, receive, send)
    assert 3 <= len(sent) < 10
    assert not any(_leads_to(each, "large") for each in open_here())


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 (the disk sends no event)
        await trio.sleep(0.01)


def sizes(folder: Path) -> list[int]:
    return [each.stat().st_size for each in folder.iterdir()] if folder.is_dir() else []


def open_here() -> list[Path]:
    """The descriptors of this process, where the system lists them."""
    listed = Path("/proc/self/fd")
    return list(listed.iterdir()) if listed.is_dir() else []


def _leads_to(descriptor: Path, name: str) -> bool:
    try:
        return descriptor.readlink().name == name
    except OSError:
        return False


async def test_a_user_has_so_much_room_and_no_more(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        object.__setattr__(server.parts, "files", Files(tmp_path, FileBounds(10_000, 20, 60.0)))
        assert (await put(server, "user://", "a", b"x" * 9000)).status_code == 201
        refused = await put(server, "user://", "b", b"x" * 2000)
        assert refused.status_code == 413
        assert "room" in refused.json()["error"]
        # Deleted, it still counts; emptied, it does not.
        await server.client.request("DELETE", "/api/fam/delete", json={"logicalPaths": ["user://a"]})
        assert (await put(server, "user://", "b", b"x" * 2000)).status_code == 413
        assert (await server.client.delete("/api/recycle-bin")).status_code == 204
        assert (await put(server, "user://", "b", b"x" * 2000)).status_code == 201


async def test_what_is_deleted_is_in_the_recycle_bin_and_comes_back(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        for name in ("a", "b"):
            await put(server, "user://d", name, name.encode())
        gone = await server.client.request(
            "DELETE", "/api/fam/delete", json={"logicalPaths": ["user://d/a", "user://d/none", "user://../x"]}
        )
        assert gone.status_code == 207
        assert [each["status"] for each in gone.json()["results"]] == [204, 404, 400]
        gone = await server.client.request("DELETE", "/api/fam/delete", json={"logicalPaths": ["user://d"]})
        assert (gone.status_code, gone.content) == (204, b"")
        deleted = (await server.client.get("/api/recycle-bin")).json()
        assert sorted(each["originalPath"] for each in deleted) == ["user://d", "user://d/a"]
        for each in sorted(deleted, key=lambda each: each["originalPath"]):
            back = await server.client.post(f"/api/recycle-bin/{each['id']}/restore", json={})
            assert back.json()["logicalPath"] == each["originalPath"]
        assert names(await server.client.get("/api/fam/list/user://d")) == ["a", "b"]
        only = {"logicalPaths": ["user://d/a"], "permanent": True}
        await server.client.request("DELETE", "/api/fam/delete", json=only)
        assert (await server.client.get("/api/recycle-bin")).json() == []
        assert (await server.client.delete("/api/recycle-bin/none")).status_code == 404


PROTECTED = [
    "user://",
    "user://projects",
    "user://library",
    "user://.recycle_bin",
    "user://projects/inn",
    "user://projects/inn/project.json",
    "user://projects/inn/workflows",
]


async def test_what_the_server_needs_is_not_renamed_moved_or_deleted(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await put(server, "user://projects/inn", "project.json", b"{}")
        await server.client.get("/api/fam/list/user://library?ensureExists=true")
        before = all_below(tmp_path / "files")
        for path in PROTECTED:
            rename = await server.client.put("/api/fam/rename", json={"logicalPath": path, "newName": "other"})
            assert rename.status_code == 403
            move = {"sourcePaths": [path], "targetParentPath": "user://library"}
            assert (await server.client.put("/api/fam/move", json=move)).json()["results"][0]["status"] == 403
            if path != "user://.recycle_bin":
                delete = {"logicalPaths": [path]}
                answer = await server.client.request("DELETE", "/api/fam/delete", json=delete)
                assert answer.json()["results"][0]["status"] == 403
            assert all_below(tmp_path / "files") == before


async def test_nobody_reaches_anothers_files_and_only_administrators_what_is_everybodys(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await put(server, "user://", "mine", b"secret")
        await put(server, "shared://library", "all", b"for all")
        await put(server, "system://config", "settings", b"secret")
        become(server, uid="eve")
        assert names(await server.client.get("/api/fam/list/user://")) == []
        assert (await server.client.get("/api/fam/download/user://mine")).status_code == 404
        assert (await server.client.get("/api/fam/download/shared://library/all")).content == b"for all"
        assert (await server.client.get("/api/fam/list/shared://library")).json()[0]["isWritable"] is False
        assert (await put(server, "shared://library", "evil", b"x")).status_code == 403
        assert (await server.client.get("/api/fam/list/system://config")).status_code == 403
        assert (await server.client.get("/api/fam/list/system://config?ensureExists=true")).status_code == 403
        assert (await server.client.get("/api/fam/list/system://sdk")).status_code == 400
        become(server, uid="../eve/../default_user")
        assert names(await server.client.get("/api/fam/list/user://")) == []
        # A key of an administrator's that reaches files reaches the administrator's own.
        become(server, uid="root", is_admin=True, how="key", scopes=frozenset({"files"}))
        assert (await server.client.get("/api/fam/list/system://config")).status_code == 403
        assert (await put(server, "shared://library", "evil", b"x")).status_code == 403
        become(server, uid="eve", how="key", scopes=frozenset({"runs"}))
        assert (await server.client.get("/api/fam/list/user://")).status_code == 403


async def test_a_long_folder_comes_in_pages_that_name_the_next(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        folder = tmp_path / "files/users/default_user/many"
        folder.mkdir(parents=True)
        wanted = [f"{number:05d} é&?" for number in range(2_500)]
        for name in wanted:
            (folder / name.replace("?", "!")).touch()
        found: list[str] = []
        url = "/api/fam/list/user://many"
        while url:
            answer = await server.client.get(url)
            assert len(answer.json()) <= 1000
            found += names(answer)
            url = answer.links["next"]["url"] if answer.links else ""
        assert found == [name.replace("?", "!") for name in wanted]


UNFIT: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "create-dir", {"parentLogicalPath": "user://", "dirName": "x" * 10_000}),
    ("POST", "create-dir", {"parentLogicalPath": "user://"}),
    ("POST", "create-dir", {"parentLogicalPath": "user://", "dirName": "a/../../b"}),
    ("POST", "create-dir", {"parentLogicalPath": "x" * 100_000, "dirName": "a"}),
    ("DELETE", "delete", {"logicalPaths": []}),
    ("DELETE", "delete", {"logicalPaths": ["user://a"] * 1001}),
    ("PUT", "move", {"sourcePaths": ["user://a"], "targetParentPath": "user://.recycle_bin"}),
    ("PUT", "rename", {"logicalPath": "user://a", "newName": "../a"}),
    ("POST", "write-json", {"logicalPath": "user://.recycle_bin/x", "content": 1}),
    ("POST", "write-json", {"logicalPath": "user://", "content": 1}),
    ("POST", "write-json", {"logicalPath": "user://x"}),
]


async def test_a_body_that_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        for method, path, body in UNFIT:
            answer = await server.client.request(method, f"/api/fam/{path}", content=json.dumps(body))
            # Of several paths each has its own status.
            statuses = [each["status"] for each in answer.json().get("results", [])] or [answer.status_code]
            assert set(statuses) <= {400, 403, 404, 409, 422}, (path, body)
            assert set(answer.json()) <= {"error", "details", "results"}
            assert str(tmp_path) not in answer.text
