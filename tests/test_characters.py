"""Character cards over HTTP: what their files say, broken ones with their error, and pictures that a client keeps."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chat_servers import Chatting, chatting
from chat_trees import PLAIN
from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.interchange.cards import card_of
from innkeeper.knowledge.interchange.png import blank, with_texts
from innkeeper.server.characters.characters import FOLDER
from innkeeper.server.characters.entry import MOST_TEXT, entry_of

V2 = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Ada",
        "description": "counts",
        "creator_notes": "made by hand",
        "creator": "me",
        "character_version": "3",
        "tags": ["maths", "steam"],
        "extensions": {"talkativeness": "0.5", "fav": "true"},
    },
    "create_date": "2024-1-2",
}


def picture(card: Any, keyword: str = "chara") -> bytes:
    return with_texts(blank(), [(keyword, base64.b64encode(json.dumps(card).encode()))], (), "card")


def folder(server: Chatting, uid: str = "ann") -> Path:
    made = server.folder(uid).joinpath(*FOLDER)
    made.mkdir(parents=True, exist_ok=True)
    return made


async def gallery(server: Chatting, user: str = "ann") -> list[dict[str, Any]]:
    answer = await server.ask("GET", "/api/characters", user=user)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def test_a_card_is_shown_as_its_picture_says(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        assert await gallery(server) == []
        (folder(server) / "ada.png").write_bytes(picture(V2))
        (entry,) = await gallery(server)
        assert {key: value for key, value in entry.items() if value is not None} == {
            "id": "ada",
            "name": "Ada",
            "description": "counts",
            "imageName": "ada.png",
            "tags": ["maths", "steam"],
            "creator": "me",
            "creatorComment": "made by hand",
            "createDate": "2024-1-2",
            "characterVersion": "3",
            "talkativeness": 0.5,
            "favorite": True,
        }


async def test_the_newer_keyword_counts_and_a_file_beside_the_picture_counts_more(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        newer = {**V2, "spec": "chara_card_v3", "data": {**V2["data"], "name": "Ada III"}}  # type: ignore[dict-item]
        both = with_texts(picture(V2), [("ccv3", base64.b64encode(json.dumps(newer).encode()))], (), "card")
        (folder(server) / "ada.png").write_bytes(both)
        # One of the first version: its fields lie elsewhere, and count all the same.
        beside = {"name": "Edited", "description": "beside", "first_mes": "", "fav": False}
        (folder(server) / "ada.json").write_text(json.dumps(beside))
        (folder(server) / "alone.json").write_text(json.dumps(V2))
        ada, alone = await gallery(server)
        assert (ada["name"], ada["description"], ada["creator"], ada["favorite"]) == ("Edited", "beside", "me", True)
        assert (alone["name"], alone["imageName"]) == ("Ada", None)
        (folder(server) / "ada.json").unlink()
        assert (await gallery(server))[0]["name"] == "Ada III"


async def test_a_broken_card_is_listed_with_its_error_and_hides_nobody(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        place = folder(server)
        whole = picture(V2)
        (place / "good.png").write_bytes(whole)
        (place / "cut.png").write_bytes(whole[:60])
        (place / "no-card.png").write_bytes(blank())
        (place / "html.png").write_bytes(b"<html>")
        (place / "deep.json").write_text("[" * 100_000)
        (place / "other.json").write_text('{"nodes": []}')
        (place / "empty.json").write_bytes(b"")
        (place / "mixed.png").write_bytes(blank())
        (place / "mixed.json").write_text(json.dumps(V2))
        (place / "spoilt.png").write_bytes(whole)
        (place / "spoilt.json").write_text("{")
        os.mkfifo(place / "pipe.png")
        (place / "link.png").symlink_to(place / "good.png")
        (place / "folder.png").mkdir()
        found = {entry["id"]: entry for entry in await gallery(server)}
        assert sorted(found) == sorted(["good", "cut", "no-card", "html", "deep", "other", "empty", "mixed", "spoilt"])
        assert found["good"]["error"] is found["mixed"]["error"] is None
        for name in ("cut", "no-card", "html", "deep", "other", "empty", "spoilt"):
            assert found[name]["error"], name
            assert str(tmp_path) not in found[name]["error"]
        # What can be read is shown.
        assert found["spoilt"]["name"] == "Ada"
        assert found["cut"]["name"] == "cut"


async def test_a_card_is_read_again_only_when_its_file_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chatting(tmp_path) as server:
        reads = []
        characters = server.served.parts.characters
        real = characters._read

        async def counted(uid: str, stem: str, files: Any) -> Any:
            reads.append(stem)
            return await real(uid, stem, files)

        monkeypatch.setattr(characters, "_read", counted)
        for name in ("a", "b"):
            (folder(server) / f"{name}.json").write_text(json.dumps(V2))

        async def ask() -> None:
            assert len(await gallery(server)) == 2

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask)
        # Four at a time, and one reads.
        assert sorted(reads) == ["a", "b"]
        (folder(server) / "b.json").write_text(json.dumps({**V2, "data": {"name": "Other"}}))
        assert [entry["name"] for entry in await gallery(server)] == ["Ada", "Other"]
        assert sorted(reads) == ["a", "b", "b"]


async def test_a_picture_is_sent_once(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        file = folder(server) / "ada.png"
        file.write_bytes(picture(V2))
        path = "/api/characters/image/ada.png"
        whole = await server.ask("GET", path)
        assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, picture(V2), "image/png")
        assert whole.headers["x-content-type-options"] == "nosniff"
        assert "private" in whole.headers["cache-control"]
        for known in (
            {"If-None-Match": whole.headers["etag"]},
            {"If-None-Match": f'"x", W/{whole.headers["etag"]}'},
            {"If-Modified-Since": whole.headers["last-modified"]},
        ):
            answer = await server.ask("GET", path, headers=known)
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == whole.headers["etag"]
        other = picture({**V2, "data": {"name": "Other"}})
        file.write_bytes(other)
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
        answer = await server.ask("GET", path, headers={"If-None-Match": whole.headers["etag"]})
        assert (answer.status_code, answer.content) == (200, other)


@pytest.mark.parametrize(
    "name",
    ["none.png", "%2e%2e", "..%2fx.png", "%2fetc%2fpasswd", "ada.json", "link.png", "x" * 300, "%00.png", "%0a.png"],
)
async def test_no_name_of_a_picture_leads_elsewhere(tmp_path: Path, name: str) -> None:
    async with chatting(tmp_path) as server:
        (folder(server) / "ada.json").write_text(json.dumps(V2))
        (tmp_path / "secret.png").write_bytes(blank())
        (folder(server) / "link.png").symlink_to(tmp_path / "secret.png")
        answer = await server.ask("GET", f"/api/characters/image/{name}")
        assert answer.status_code in (400, 404, 422)
        assert blank() not in answer.content


async def test_what_is_no_picture_is_not_sent_as_one(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        (folder(server) / "page.png").write_bytes(b"<html><script>alert(1)</script>")
        answer = await server.ask("GET", "/api/characters/image/page.png")
        assert answer.status_code == 415
        assert b"script" not in answer.content


@pytest.mark.parametrize("path", ["/api/characters", "/api/characters/image/ada.png"])
async def test_cards_are_their_owners_alone(tmp_path: Path, path: str) -> None:
    async with chatting(tmp_path) as server:
        (folder(server) / "ada.png").write_bytes(picture(V2))
        assert (await server.ask("GET", path, user=None)).status_code == 401
        assert (await server.ask("GET", path, user="runner")).status_code == 403
        other = await server.ask("GET", path, user="bob")
        assert other.json() == [] if path == "/api/characters" else other.status_code == 404
        for user in ("ann", "filer"):
            assert (await server.ask("GET", path, user=user)).status_code == 200


_FIELDS = st.sampled_from(
    ["name", "description", "tags", "creator", "extensions", "fav", "talkativeness", "create_date"]
)
_VALUES = (
    PLAIN
    | st.text(min_size=MOST_TEXT, max_size=MOST_TEXT + 5)
    | st.fixed_dictionaries({"fav": PLAIN, "talkativeness": PLAIN})
)


@given(st.dictionaries(_FIELDS | st.text(max_size=4), _VALUES, max_size=8))
def test_whatever_a_card_says_an_entry_is_made_of_it(data: dict[str, Any]) -> None:
    try:
        card = card_of({"spec": "chara_card_v2", "data": data}, "x", "json")
    except InnkeeperError:
        return
    entry = entry_of("x", None, [card], None)
    assert entry.name
    assert len(entry.description or "") <= MOST_TEXT
    assert json.loads(entry.model_dump_json())["talkativeness"] == entry.talkativeness
