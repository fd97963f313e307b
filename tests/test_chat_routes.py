"""Chats over HTTP: every change says the version that it was made from, and of two that say the same one is done."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import trio

from chat_servers import chatting
from chat_trees import raw
from innkeeper.server.cache.interface import Loaded
from innkeeper.server.chats import bounds
from innkeeper.server.chats.encoding import decoded

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40

ROUTES = [
    ("GET", "/api/chat/sessions?projectId=p", None),
    ("POST", "/api/chat/sessions", {"projectId": "p"}),
    ("POST", "/api/chat/sessions/import?projectId=p", raw({})),
    ("DELETE", "/api/chat/sessions/{sid}?version=1", None),
    ("PUT", "/api/chat/sessions/{sid}/metadata", {"version": 1, "title": "other"}),
    ("POST", "/api/chat/sessions/{sid}/export", {"format": "json"}),
    ("GET", "/api/chat/{sid}/tree", None),
    ("POST", "/api/chat/{sid}/message", {"version": 1, "role": "user", "content": "!"}),
    ("PUT", "/api/chat/{sid}/tree/edit", {"version": 1, "type": "prune", "nodeIds": ["x"]}),
    ("PUT", "/api/chat/{sid}/node/x/state", {"version": 1, "isEnabled": False}),
    ("PUT", "/api/chat/{sid}/active_leaf", {"version": 1, "nodeId": None}),
    ("GET", "/api/chat/{sid}/assets", None),
    ("POST", "/api/chat/{sid}/assets", None),
    ("GET", "/api/chat/{sid}/assets/" + "0" * 32 + ".png", None),
    ("DELETE", "/api/chat/{sid}/assets/" + "0" * 32 + ".png", None),
]


async def test_a_chat_grows_branches_and_goes_on_where_one_wants(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        first = await server.say(session, 1, "hello")
        second = await server.say(session, first["version"], "yes?", role="assistant", metadata={"model": "m"})
        assert second["node"]["parentId"] == first["node"]["id"]
        other = await server.say(session, second["version"], "no?", parentId=first["node"]["id"])
        tree = await server.tree(session)
        assert decoded(json.dumps(tree).encode())
        assert tree["nodes"][first["node"]["id"]]["children"] == [second["node"]["id"], other["node"]["id"]]
        assert (tree["version"], tree["activeLeafId"]) == (4, other["node"]["id"])
        assert tree["nodes"][second["node"]["id"]]["metadata"] == {"model": "m"}
        leaf = {"version": 4, "nodeId": second["node"]["id"]}
        answer = await server.ask("PUT", f"/api/chat/{session}/active_leaf", leaf)
        assert answer.json()["activeLeafId"] == second["node"]["id"]
        root = await server.say(session, 5, "anew", parentId=None)
        assert root["rootNodeIds"] == [first["node"]["id"], root["node"]["id"]]


async def test_the_tree_is_edited_in_every_way(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        value = raw({"a": None, "b": "a", "c": "a", "d": "c", "e": None}, "d")
        answer = await server.ask("POST", "/api/chat/sessions/import?projectId=p", value)
        assert (answer.status_code, answer.json()["messageCount"]) == (201, 5)

        async def edit(version: int, **body: Any) -> dict[str, Any]:
            found = await server.ask("PUT", "/api/chat/s/tree/edit", {"version": version, **body})
            assert found.status_code == 200, found.text
            return await server.tree("s")

        tree = await edit(1, type="graft", sourceNodeId="c", targetNodeId="e")
        assert tree["nodes"]["e"]["children"] == ["c"]
        tree = await edit(2, type="disable", nodeIds=["c"])
        assert tree["nodes"]["c"]["isEnabled"] is False
        tree = await edit(3, type="enable", sourceNodeId="c")
        assert tree["nodes"]["c"]["isEnabled"] is True
        tree = await edit(4, type="delete", sourceNodeId="c")
        assert tree["nodes"]["e"]["children"] == ["d"]
        tree = await edit(5, type="prune", nodeIds=["a"])
        assert sorted(tree["nodes"]) == ["d", "e"]
        refused = await server.ask(
            "PUT", "/api/chat/s/tree/edit", {"version": 6, "type": "graft", "sourceNodeId": "e", "targetNodeId": "d"}
        )
        assert (refused.status_code, refused.json()["error"]) == (409, "a message cannot be moved below itself")
        for body in ({"type": "prune"}, {"type": "graft"}, {"type": "prune", "nodeIds": []}, {"type": "burn"}):
            assert (await server.ask("PUT", "/api/chat/s/tree/edit", {"version": 6, **body})).status_code == 422
        assert (await server.tree("s"))["version"] == 6


async def test_a_message_is_written_piece_by_piece_and_keeps_what_is_not_named(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        said = await server.say(session, 1, "", status="generating", metadata={"seed": 1})
        path = f"/api/chat/{session}/node/{said['node']['id']}/state"
        answer = await server.ask("PUT", path, {"version": 2, "content": "done", "status": "complete"})
        assert answer.status_code == 200
        node = answer.json()["node"]
        assert (node["content"], node["status"], node["metadata"], node["role"]) == (
            "done",
            "complete",
            {"seed": 1},
            "user",
        )
        assert (await server.ask("PUT", path, {"version": 3, "content": None})).status_code == 422
        assert (await server.ask("PUT", path, {"version": 3, "status": "lost"})).status_code == 422


async def test_a_change_of_an_older_version_is_refused_with_the_one_there_is(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        said = await server.say(session, 1)
        node = said["node"]["id"]
        for method, path, body in [
            ("POST", f"/api/chat/{session}/message", {"role": "user", "content": "late"}),
            ("PUT", f"/api/chat/{session}/tree/edit", {"type": "prune", "nodeIds": [node]}),
            ("PUT", f"/api/chat/{session}/node/{node}/state", {"isEnabled": False}),
            ("PUT", f"/api/chat/{session}/active_leaf", {"nodeId": None}),
            ("PUT", f"/api/chat/sessions/{session}/metadata", {"title": "late"}),
        ]:
            for version in (1, 3):
                answer = await server.ask(method, path, {**body, "version": version})
                assert (answer.status_code, answer.json()["details"]) == (409, {"version": 2})
            assert (await server.ask(method, path, body)).status_code == 428
            wrong = await server.ask(method, path, body, headers={"If-Match": "two"})
            assert wrong.status_code == 422
        answer = await server.ask("DELETE", f"/api/chat/sessions/{session}?version=1")
        assert (answer.status_code, answer.json()["details"]) == (409, {"version": 2})
        assert (await server.ask("DELETE", f"/api/chat/sessions/{session}")).status_code == 428
        assert (await server.tree(session))["nodes"][node]["isEnabled"] is True


async def test_of_many_editors_exactly_one_wins_each_version(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        won: list[tuple[int, int]] = []

        async def edit(editor: int) -> None:
            version = 1
            for _ in range(200):
                if version > 5:
                    return
                body = {"role": "user", "content": str(editor), "version": version}
                answer = await server.ask("POST", f"/api/chat/{session}/message", body)
                if answer.status_code == 201:
                    won.append((version, editor))
                    version = answer.json()["version"]
                else:
                    assert answer.status_code == 409
                    version = answer.json()["details"]["version"]

        async with trio.open_nursery() as nursery:
            for editor in range(5):
                nursery.start_soon(edit, editor)
        versions = sorted(version for version, _ in won)
        assert versions == list(range(1, len(won) + 1))
        tree = await server.tree(session)
        assert (tree["version"], len(tree["nodes"])) == (len(won) + 1, len(won))
        written = sorted(node["content"] for node in tree["nodes"].values())
        assert written == sorted(str(editor) for _, editor in won)


async def test_what_another_process_wrote_is_read_and_changed_from(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        await server.say(session, 1)
        file = tmp_path / "files/users/ann/projects/p/chats" / f"{session}.json"
        value = json.loads(file.read_text())
        value["version"] = 7
        file.write_text(json.dumps(value))
        late = await server.ask("POST", f"/api/chat/{session}/message", {"role": "user", "content": "x", "version": 2})
        assert late.json()["details"] == {"version": 7}
        assert (await server.say(session, 7))["version"] == 8


async def test_a_client_that_has_the_tree_is_told_so_and_its_etag_says_the_version(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        first = await server.ask("GET", f"/api/chat/{session}/tree")
        again = {"If-None-Match": first.headers["etag"]}
        assert (await server.ask("GET", f"/api/chat/{session}/tree", headers=again)).status_code == 304
        body = {"role": "user", "content": "hi"}
        match = {"If-Match": first.headers["etag"]}
        assert (await server.ask("POST", f"/api/chat/{session}/message", body, headers=match)).status_code == 201
        assert (await server.ask("POST", f"/api/chat/{session}/message", body, headers=match)).status_code == 409
        assert (await server.ask("GET", f"/api/chat/{session}/tree", headers=again)).status_code == 200


# Sessions


async def test_sessions_are_listed_described_and_deleted_into_the_recycle_bin(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        old, new = await server.session(), await server.session()
        await server.say(new, 1)
        (server.folder() / "projects/p/chats/broken.json").write_text("{")
        body = {"version": 1, "name": "Renamed", "tags": ["t"], "settings": {"a": 1}}
        answer = await server.ask("PUT", f"/api/chat/sessions/{old}/metadata", body)
        assert (answer.json()["title"], answer.json()["tags"]) == ("Renamed", ["t"])
        answer = await server.ask("GET", "/api/chat/sessions?projectId=p")
        page = answer.json()
        assert answer.headers["x-total-count"] == "3"
        assert [each["id"] for each in page] == [old, "broken", new]
        # One that is broken hides nobody.
        assert "not JSON" in page[1]["error"]
        assert (page[2]["messageCount"], page[2]["branchCount"]) == (1, 1)
        paged = (await server.ask("GET", "/api/chat/sessions?projectId=p&offset=1&limit=1")).json()
        assert [each["id"] for each in paged] == ["broken"]
        await server.ask("POST", f"/api/chat/{new}/assets", content=PNG)
        assert (await server.ask("DELETE", f"/api/chat/sessions/{new}?version=2")).status_code == 204
        assert (await server.ask("DELETE", "/api/chat/sessions/broken?version=1")).status_code == 204
        assert (await server.ask("GET", f"/api/chat/{new}/tree")).status_code == 404
        kept = (await server.ask("GET", "/api/recycle-bin")).json()
        assert sorted(each["originalPath"] for each in kept) == sorted(
            [f"user://projects/p/chats/{name}" for name in ("broken.json", f"{new}.json", f"{new}.assets")]
        )
        for each in kept:
            assert (await server.ask("POST", f"/api/recycle-bin/{each['id']}/restore", {})).status_code == 200
        assert (await server.ask("GET", f"/api/chat/{new}/tree")).json()["version"] == 2
        assert len((await server.ask("GET", f"/api/chat/{new}/assets")).json()) == 1
        for name in (new, "broken"):
            assert (await server.ask("DELETE", f"/api/chat/sessions/{name}?version=2")).status_code == 204
        assert [each["id"] for each in (await server.ask("GET", "/api/chat/sessions?projectId=p")).json()] == [old]
        (server.folder() / "projects/p/chats/bad.json").write_text("{")
        answer = await server.ask("GET", "/api/chat/bad/tree")
        assert (answer.status_code, "not JSON" in answer.json()["error"]) == (422, True)


async def test_a_session_is_found_without_its_project_unless_two_have_its_name(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        server.project("q")
        for project in ("p", "q"):
            await server.ask("POST", f"/api/chat/sessions/import?projectId={project}", raw({"a": None}))
        answer = await server.ask("GET", "/api/chat/s/tree")
        assert (answer.status_code, sorted(answer.json()["details"])) == (409, ["p", "q"])
        assert (await server.ask("GET", "/api/chat/s/tree?projectId=q")).status_code == 200
        assert (await server.ask("GET", "/api/chat/s/tree?projectId=none")).status_code == 404


async def test_a_project_has_a_bounded_number_of_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_SESSIONS", 2)
    async with chatting(tmp_path) as server:
        answers = []

        async def make() -> None:
            answers.append((await server.ask("POST", "/api/chat/sessions", {"projectId": "p"})).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(make)
        assert sorted(answers) == [201, 201, 413, 413]


@pytest.mark.parametrize("project", ["..", "../p", "p/../p", ".", "none", "p%00", "p ", "x" * 300])
async def test_no_project_name_leads_anywhere_else(tmp_path: Path, project: str) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        for ask in (
            server.ask("GET", "/api/chat/sessions", params={"projectId": project}),
            server.ask("POST", "/api/chat/sessions", {"projectId": project}),
            server.ask("POST", "/api/chat/sessions/import", raw({}), params={"projectId": project}),
            server.ask("GET", f"/api/chat/{session}/tree", params={"projectId": project}),
        ):
            assert (await ask).status_code in (404, 422)
    assert [each.name for each in (tmp_path / "files" / "users").iterdir()] == ["ann"]


# Taken along


async def test_a_chat_that_was_exported_is_the_same_after_it_was_imported(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        value = raw({"a": None, "b": "a"}, "b", version=9, theirs={"x": [1.5, None]}, assets=[{"id": "q"}])
        value["nodes"]["a"]["swipes"] = ["one", "two"]
        answer = await server.ask("POST", "/api/chat/sessions/import?projectId=p", value)
        assert (answer.status_code, answer.json()["id"]) == (201, "s")
        out = await server.ask("POST", "/api/chat/sessions/s/export", {"format": "json"})
        assert out.json() == value
        assert out.headers["content-disposition"] == 'attachment; filename="chat-s.json"'
        assert out.headers["x-content-type-options"] == "nosniff"
        # Its id is taken now: another one, and nothing else is another.
        body = {"projectId": "p", "tree": out.json()}
        again = (await server.ask("POST", "/api/chat/sessions/import", body)).json()["id"]
        assert again != "s"
        assert (await server.tree(again)) == {**value, "sessionId": again}


async def test_text_has_the_way_that_was_taken_and_a_table_has_everything(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        value = raw({"a": None, "b": "a", "c": "a", "d": "c"}, "d")
        value["nodes"]["c"]["isEnabled"] = False
        value["nodes"]["b"]["content"] = '=HYPERLINK("http://x")\n"quoted", ☃'
        await server.ask("POST", "/api/chat/sessions/import?projectId=p", value)

        async def given(form: str) -> Any:
            return await server.ask("POST", "/api/chat/sessions/s/export", {"format": form})

        assert (await given("text")).text == "user: says a\n\nuser: says d\n"
        assert (await given("markdown")).text == "## user\n\nsays a\n\n## user\n\nsays d\n"
        answer = await given("csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        table = list(csv.DictReader(io.StringIO(answer.content.decode())))
        assert [(row["id"], row["parentId"], row["depth"], row["active"]) for row in table] == [
            ("a", "", "0", "true"),
            ("b", "a", "1", "false"),
            ("c", "a", "1", "true"),
            ("d", "c", "2", "true"),
        ]
        # A spreadsheet shows it as text, and executes nothing.
        assert table[1]["content"] == '\'=HYPERLINK("http://x")\n"quoted", ☃'
        assert (await given("docx")).status_code == 422


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b'{"nodes": 1}', 422),
        (json.dumps(raw({"a": "a"})).encode(), 422),
        (b'{"tree": []}', 422),
        (b"[" * 100_000, 400),
        (b"\xff\xfe", 400),
        (json.dumps({"projectId": 5, "tree": raw({})}).encode(), 422),
    ],
)
async def test_what_is_no_chat_is_not_imported(tmp_path: Path, body: bytes, status: int) -> None:
    async with chatting(tmp_path) as server:
        answer = await server.ask("POST", "/api/chat/sessions/import?projectId=p", content=body)
        assert answer.status_code == status
        assert set(answer.json()) <= {"error", "details"}
        assert not (server.folder() / "projects/p/chats").exists()


async def test_an_import_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:

        async def endless() -> Any:
            while True:
                yield b" " * (1 << 16)

        answer = await server.ask("POST", "/api/chat/sessions/import?projectId=p", content=endless())
        assert answer.status_code == 413
        assert (await server.ask("GET", "/api/chat/sessions?projectId=p")).status_code == 200


# What clients send


async def test_bodies_are_bounded_before_they_are_used(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        path = f"/api/chat/{session}/message"
        deep: Any = 0
        for _ in range(bounds.REQUEST.depth):
            deep = [deep]
        good = {"role": "user", "content": "x", "version": 1}
        for body, status in [
            ({**good, "content": "x" * (bounds.MOST_CONTENT + 1)}, 422),
            ({**good, "metadata": {"x": "y" * bounds.MOST_EXTRA}}, 413),
            ({**good, "metadata": {"x": deep}}, 400),
            ({**good, "content": "x" * bounds.REQUEST.size}, 413),
            ({**good, "role": "root"}, 422),
            ({**good, "version": "1"}, 422),
            ({**good, "version": 2**70}, 400),
            ({**good, "parentId": "x" * 200}, 422),
            ({**good, "id": "a\nb"}, 422),
            (["x"], 422),
        ]:
            answer = await server.ask("POST", path, body)
            assert answer.status_code == status, (str(body)[:80], answer.text[:200])
            assert set(answer.json()) <= {"error", "details"}
        broken = await server.ask("POST", path, content=b'{"role": ', headers={"Content-Type": "application/json"})
        assert broken.status_code == 400
        other = await server.ask(
            "POST", path, content=json.dumps(good).encode(), headers={"Content-Type": "text/plain"}
        )
        assert other.status_code == 422
        half = json.dumps({**good, "content": "\ud800"}).encode()
        answer = await server.ask("POST", path, content=half, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["node"]["content"]) == (201, "�")


# Assets


async def test_assets_are_kept_once_by_what_they_are_and_nothing_in_them_runs(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        path = f"/api/chat/{session}/assets"
        lying = {"Content-Type": "text/html"}
        first = await server.ask("POST", path, content=PNG, headers=lying)
        form = await server.ask("POST", path, files={"file": ("../../x.html", PNG, "text/html")})
        assert first.status_code == form.status_code == 201
        assert first.json() == form.json()
        assert first.json()["mimeType"] == "image/png"
        assert (await server.ask("GET", path)).json() == [first.json()]
        shown = await server.ask("GET", first.json()["url"])
        assert (shown.status_code, shown.content, shown.headers["content-type"]) == (200, PNG, "image/png")
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in shown.headers["content-security-policy"]
        known = {"If-None-Match": shown.headers["etag"]}
        assert (await server.ask("GET", first.json()["url"], headers=known)).status_code == 304
        for body in (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<script>", b"GIF8", b"%PDF-1.7"):
            assert (await server.ask("POST", path, content=body)).status_code == 415
        assert (await server.ask("POST", path, content=b"")).status_code == 422
        assert (await server.ask("POST", path, files={"a": PNG, "b": PNG})).status_code == 400
        assert (
            await server.ask("POST", path, content=b"x", headers={"Content-Type": "multipart/form-data"})
        ).status_code == 400
        assert (await server.ask("DELETE", first.json()["url"])).status_code == 204
        assert (await server.ask("GET", first.json()["url"])).status_code == 404


async def test_assets_are_bounded_one_by_one_and_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_ASSETS", 3)
    monkeypatch.setattr(bounds, "MOST_ASSET", 1000)
    async with chatting(tmp_path) as server:
        session = await server.session()
        path = f"/api/chat/{session}/assets"
        answers = []

        async def send(number: int) -> None:
            answers.append((await server.ask("POST", path, content=PNG + bytes([number]))).status_code)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(send, number)
        assert sorted(answers) == [201, 201, 201, 413, 413, 413]
        assert (await server.ask("POST", path, content=PNG + b"x" * 1000)).status_code == 413
        monkeypatch.setattr(bounds, "MOST_ASSETS", 300)
        monkeypatch.setattr(bounds, "MOST_ASSETS_SIZE", 3 * len(PNG) + 40)
        assert (await server.ask("POST", path, content=PNG + b"last")).status_code == 413


@pytest.mark.parametrize(
    "name", ["%2e%2e", "x.png", "0" * 32 + ".html", "0" * 32 + ".png.json", "..%2f..%2fproject.json"]
)
async def test_no_name_of_an_asset_leads_elsewhere(tmp_path: Path, name: str) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        for method in ("GET", "DELETE"):
            assert (await server.ask(method, f"/api/chat/{session}/assets/{name}")).status_code in (404, 405)
        assert (server.folder() / "projects/p/project.json").exists()


# Whose


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[f"{method} {path}" for method, path, _ in ROUTES])
async def test_a_chat_is_its_owners_alone(tmp_path: Path, method: str, path: str, body: Any) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        await server.ask("POST", "/api/chat/sessions/import?projectId=p", raw({"x": None}))
        before = {each: each.read_bytes() for each in server.folder().rglob("*.json")}
        where = path.format(sid=session)
        content = None if body is not None or method != "POST" else PNG
        assert (await server.ask(method, where, body, user=None, content=content)).status_code == 401
        assert (await server.ask(method, where, body, user="runner", content=content)).status_code == 403
        other = await server.ask(method, where, body, user="bob", content=content)
        # That it exists is not said either.
        assert other.status_code == 404, other.text
        assert {each: each.read_bytes() for each in server.folder().rglob("*.json")} == before
        assert not (server.home / "files" / "users" / "bob").exists()
        mine = await server.ask(method, where, body, user="filer", content=content)
        assert mine.status_code not in (401, 403)


async def test_a_tree_is_read_from_its_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with chatting(tmp_path) as server:
        session = await server.session()
        chats = server.served.parts.chats
        statistics = server.served.parts.caches.statistics()["chats"]
        loads = 0
        real = chats._load

        async def counted(*args: Any) -> Loaded:
            nonlocal loads
            loads += 1
            return await real(*args)

        monkeypatch.setattr(chats, "_load", counted, raising=True)
        hits = statistics.hits
        for _ in range(5):
            await server.tree(session)
        assert (loads, statistics.hits - hits) == (0, 5)


async def test_no_more_trees_are_kept_than_twenty(tmp_path: Path) -> None:
    async with chatting(tmp_path) as server:
        for _ in range(bounds.KEPT + 3):
            await server.session()
        assert server.served.parts.caches.statistics()["chats"].entries == bounds.KEPT == 20


def test_the_document_says_what_these_routes_take_and_give(tmp_path: Path) -> None:
    async def main() -> Any:
        async with chatting(tmp_path) as server:
            return (await server.ask("GET", "/openapi.json", user=None)).json()

    with_ids = {path.replace("{sid}", "{session}").split("?")[0] for _, path, _ in ROUTES}
    document = trio.run(main)
    paths = document["paths"]
    for path in with_ids:
        shown = path.replace("/node/x/", "/node/{node}/").replace("0" * 32 + ".png", "{name}")
        for operation in paths[shown].values():
            assert {"401", "403"} <= set(operation["responses"])
            if operation.get("requestBody"):
                assert operation["requestBody"]["content"]
    schema = document["components"]["schemas"]["ChatHistoryTree"]
    assert {"sessionId", "rootNodeIds", "activeLeafId"} <= set(schema["properties"])
