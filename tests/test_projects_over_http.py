"""Projects and workflows over HTTP: ComfyTavern's routes, versions by ETag, and nobody sees another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from starlette.requests import HTTPConnection

from file_trees import all_below
from innkeeper.bridge.scan import DataBounds
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.server.projects import desk
from innkeeper.workflow.formats.payload import payload_of
from servers import Served, served

FLOW: dict[str, Any] = {
    "name": "Greet",
    "nodes": [
        {"id": "a", "type": "nobody:Knows", "position": {"x": 1.5, "y": 2}, "data": {"isMissing": True}, "odd": [1]}
    ],
    "edges": [],
    "viewport": {"x": 0, "y": 0, "zoom": 1},
    "surprise": {"kept": None},
}


def become(server: Served, identity: Identity | None) -> None:
    """From now on somebody else asks."""

    async def identify(connection: HTTPConnection) -> Identity | None:
        return identity

    object.__setattr__(server.parts, "identify", identify)


EVE = Identity("eve", "eve", False, "session")


async def raw(server: Served, method: str, target: str) -> int:
    """The status of a request whose target is sent as it is: a library would make it plain."""
    body = b'{"description": "evil", "name": "evil", "nodes": [], "edges": []}'
    url = httpx.URL(server.url)
    async with await trio.open_tcp_stream(str(url.host), url.port or 0) as stream:
        head = f"{method} {target} HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nConnection: close\r\n"
        await stream.send_all(
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        answer = b"".join([chunk async for chunk in stream])
    return int(answer.split(b" ")[1])


async def made(server: Served, name: str = "Inn", **more: Any) -> httpx.Response:
    answer = await server.client.post("/api/projects", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    return answer


async def test_a_project_is_made_changed_listed_deleted_and_comes_back(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        client = server.client
        new = await made(server, "The Inn", description="first", unknown={"a": 1})
        assert new.json()["id"] == "The Inn"
        assert new.json()["unknown"] == {"a": 1}
        found = await client.get("/api/projects/The Inn/metadata")
        assert (found.json(), found.headers["etag"]) == (new.json(), new.headers["etag"])
        same = await client.get("/api/projects/The Inn/metadata", headers={"if-none-match": new.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        # An editor sends back all that it has, and what it has of its own.
        changed = await client.put(
            "/api/projects/The Inn", json={**new.json(), "name": "Another", "description": "second", "mine": [2]}
        )
        assert changed.status_code == 200
        assert changed.json() == {
            **new.json(),
            "name": "Another",
            "description": "second",
            "mine": [2],
            "updatedAt": changed.json()["updatedAt"],
        }
        assert changed.headers["etag"] != new.headers["etag"]
        (row,) = (await client.get("/api/projects")).json()
        assert (row["id"], row["name"], row["description"]) == ("The Inn", "Another", "second")
        assert (await client.delete("/api/projects/The Inn")).status_code == 204
        assert (await client.get("/api/projects/The Inn/metadata")).status_code == 404
        assert (await client.get("/api/projects")).json() == []
        (deleted,) = (await client.get("/api/recycle-bin")).json()
        assert deleted["originalPath"] == "user://projects/The Inn"
        await client.post(f"/api/recycle-bin/{deleted['id']}/restore", json={})
        assert (await client.get("/api/projects/The Inn/metadata")).json() == changed.json()


async def test_a_name_that_is_taken_and_a_template_that_is_none_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await made(server)
        again = await server.client.post("/api/projects", json={"name": "Inn"})
        assert (again.status_code, "already" in again.json()["error"]) == (409, True)
        none = await server.client.post("/api/projects", json={"name": "x", "templateId": "../../etc"})
        assert none.status_code == 404
        assert {"empty", "chat-with-lore"} <= {
            each["id"] for each in (await server.client.get("/api/project-templates")).json()
        }
        full = await made(server, "Lore", templateId="chat-with-lore")
        assert full.json()["templateUsed"] == "chat-with-lore"
        (flow,) = (await server.client.get("/api/projects/Lore/workflows")).json()
        assert flow["name"] == "Set the scene"


async def test_workflows_are_stored_found_renamed_and_deleted_without_loss(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await made(server)
        base = "/api/projects/Inn/workflows"
        new = await server.client.post(base, json=FLOW)
        assert new.status_code == 201
        id_ = new.json()["id"]
        times = {key: new.json()[key] for key in ("createdAt", "updatedAt")}
        assert new.json() == {"id": id_, **FLOW, **times}
        found = await server.client.get(f"{base}/{id_}")
        assert (found.json(), found.headers["etag"]) == (new.json(), new.headers["etag"])
        listed = (await server.client.get(base)).json()
        assert [(each["id"], each["name"]) for each in listed] == [(id_, "Greet")]
        renamed = await server.client.put(f"{base}/{id_}", json={**found.json(), "name": "Leave"})
        assert renamed.json()["name"] == "Leave"
        workflows = tmp_path / "files/users/default_user/projects/Inn/workflows"
        assert [each.name for each in workflows.iterdir()] == ["Leave.json"]
        other = await server.client.post(base, json={**FLOW, "name": "Greet"})
        taken = await server.client.put(f"{base}/{id_}", json=FLOW)
        assert taken.status_code == 409
        assert (await server.client.post(base, json=FLOW)).status_code == 409
        assert (await server.client.delete(f"{base}/{id_}")).status_code == 204
        assert (await server.client.get(f"{base}/{id_}")).status_code == 404
        assert [each["id"] for each in (await server.client.get(base)).json()] == [other.json()["id"]]


async def test_of_two_editors_of_one_version_one_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        project = await made(server)
        new = await server.client.post("/api/projects/Inn/workflows", json=FLOW)
        for url, version, body in (
            ("/api/projects/Inn", project.headers["etag"], {"description": "d"}),
            (f"/api/projects/Inn/workflows/{new.json()['id']}", new.headers["etag"], FLOW),
        ):
            answers: list[httpx.Response] = []

            async def change(url: str = url, version: str = version, body: Any = body, kept: Any = answers) -> None:
                kept.append(await server.client.put(url, json=body, headers={"if-match": version}))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(change)
            assert sorted(each.status_code for each in answers) == [200, 412, 412, 412, 412]
            (won,) = [each for each in answers if each.status_code == 200]
            assert {each.json()["details"]["etag"] for each in answers if each.status_code == 412} == {
                won.headers["etag"]
            }
            assert (await server.client.delete(url, headers={"if-match": version})).status_code == 412
            assert (await server.client.put(url, json=body, headers={"if-match": "*"})).status_code == 200
        assert (await server.client.put("/api/projects/Inn", json={"description": "x"})).status_code == 200


async def test_mistakes_in_a_body_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await made(server)
        before = all_below(tmp_path / "files")
        wrong = await server.client.put(
            "/api/projects/Inn",
            json={"knowledgeBaseReferences": [{"id": "a", "type": "local", "path": "../../secret"}, {"id": "b"}]},
        )
        assert wrong.status_code == 422
        assert [each.split(" ")[0] for each in wrong.json()["details"]] == [
            "knowledgeBaseReferences[0].path",
            "knowledgeBaseReferences[1].source_id",
        ]
        for body in ({"name": ""}, {"name": 1}, {"name": "x" * 201}, {"preferredView": "none"}, {"panels": 1}):
            assert (await server.client.put("/api/projects/Inn", json=body)).status_code == 422, body
        flows = "/api/projects/Inn/workflows"
        for body in ({}, [], "x", {**FLOW, "nodes": [{"id": 1}]}, {**FLOW, "name": None}):
            assert (await server.client.post(flows, json=body)).status_code == 422, body
        deep: Any = []
        for _ in range(100):
            deep = [deep]
        assert (await server.client.post(flows, json={**FLOW, "deep": deep})).status_code == 400
        assert all_below(tmp_path / "files") == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/projects/Inn/metadata", None),
        ("PUT", "/api/projects/Inn", {"description": "evil"}),
        ("DELETE", "/api/projects/Inn", None),
        ("GET", "/api/projects/Inn/workflows", None),
        ("POST", "/api/projects/Inn/workflows", FLOW),
        ("GET", "/api/projects/Inn/workflows/ID", None),
        ("PUT", "/api/projects/Inn/workflows/ID", FLOW),
        ("DELETE", "/api/projects/Inn/workflows/ID", None),
    ],
)
async def test_nobody_elses_project_is_there(tmp_path: Path, method: str, path: str, body: Any) -> None:
    async with served(tmp_path) as server:
        await made(server)
        id_ = (await server.client.post("/api/projects/Inn/workflows", json=FLOW)).json()["id"]
        url = path.replace("ID", id_)
        before = all_below(tmp_path / "files/users/default_user")
        become(server, EVE)
        theirs = await server.client.request(method, url, json=body)
        none = await server.client.request(method, url.replace("Inn", "None"), json=body)
        assert theirs.status_code == none.status_code == 404
        assert theirs.json()["error"] == none.json()["error"].replace("None", "Inn")
        become(server, None)
        assert (await server.client.request(method, url, json=body)).status_code == 401
        become(server, Identity("default_user", "u", True, "key", frozenset({"runs"})))
        assert (await server.client.request(method, url, json=body)).status_code == 403
        assert all_below(tmp_path / "files/users/default_user") == before
        become(server, Identity("default_user", "u", False, "key", frozenset({"files"})))
        assert (await server.client.request(method, url, json=body)).status_code in (200, 201, 204, 409)


async def test_the_shared_library_lists_its_workflows(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        assert (await server.client.get("/api/workflows")).json() == []
        body = {"logicalPath": "shared://library/workflows/greet.json", "content": {"id": "greet", **FLOW}}
        assert (await server.client.post("/api/fam/write-json", json=body)).status_code == 204
        become(server, EVE)
        (found,) = (await server.client.get("/api/workflows")).json()
        assert (found["id"], found["name"]) == ("greet", "Greet")
        assert (await server.client.post("/api/workflows", json=FLOW)).status_code == 405


async def test_no_id_in_an_address_reaches_anything_else(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await made(server)
        (tmp_path / "files/users/eve/projects/theirs").mkdir(parents=True)
        (tmp_path / "files/users/eve/projects/theirs/project.json").write_text('{"name": "theirs"}')
        before = {name: data for name, data in all_below(tmp_path / "files").items() if ".innkeeper" not in name}
        texts = ["..", "../../eve/projects/theirs", "%2e%2e%2f%2e%2e%2feve%2fprojects%2ftheirs", "Inn%00", "Inn\\", "*"]
        for text in [*texts, *(f"%{number:02x}" for number in range(256))]:
            for method, end in (("GET", "/metadata"), ("PUT", ""), ("DELETE", ""), ("POST", "/workflows"))[
                : 4 if text in texts else 2
            ]:
                status = await raw(server, method, f"/api/projects/{text}{end}")
                assert status in (307, 400, 404, 405, 422), (text, method, end)
        after = {name: data for name, data in all_below(tmp_path / "files").items() if ".innkeeper" not in name}
        assert after == before


# --- groups of a project --------------------------------------------------------------------------------------------

OUTER = {
    "name": "Outer",
    "nodes": [
        {"id": "g", "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": "INNER"}},
        {"id": "h", "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": "nowhere"}},
    ],
    "edges": [],
}


async def test_a_run_of_a_project_brings_the_workflows_that_its_groups_and_loops_mean(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await made(server)
        base = "/api/projects/Inn/workflows"
        last = (await server.client.post(base, json={**FLOW, "name": "Last"})).json()["id"]
        loop = [{"id": "l", "type": "innkeeper:ForEach", "configValues": {"referencedWorkflowId": last}}]
        inner = (await server.client.post(base, json={"name": "Inner", "nodes": loop, "edges": []})).json()["id"]
        payload = payload_of(json.loads(json.dumps(OUTER).replace("INNER", inner)))
        identity = Identity("default_user", "u", True, "local")
        found = await server.parts.projects.bundled(identity, "Inn", payload)
        assert payload.innkeeper is None
        assert found.innkeeper is not None
        assert set(found.innkeeper.workflows) == {inner, last}
        assert found.innkeeper.workflows[last]["surprise"] == {"kept": None}
        for who, project in ((identity, "None"), (identity, "../x"), (EVE, "Inn")):
            with pytest.raises(AnswerError) as refused:
                await server.parts.projects.bundled(who, project, payload)
            assert refused.value.status == 404
        copy = tmp_path / "files/users/default_user/projects/Inn/workflows"
        (copy / "copy.json").write_bytes((copy / "Last.json").read_bytes())
        with pytest.raises(AnswerError) as refused:
            await server.parts.projects.bundled(identity, "Inn", payload)
        assert refused.value.status == 409


async def test_a_run_brings_no_more_than_somebody_may_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "PAYLOAD_BOUNDS", DataBounds(size=10_000))
    async with served(tmp_path) as server:
        await made(server)
        ids = [
            (
                await server.client.post("/api/projects/Inn/workflows", json={**FLOW, "name": name, "x": "x" * 6000})
            ).json()["id"]
            for name in ("One", "Two")
        ]
        nodes = [{"id": id_, "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": id_}} for id_ in ids]
        identity = Identity("default_user", "u", True, "local")
        await server.parts.projects.bundled(identity, "Inn", payload_of({"nodes": nodes[:1], "edges": []}))
        with pytest.raises(AnswerError) as refused:
            await server.parts.projects.bundled(identity, "Inn", payload_of({"nodes": nodes, "edges": []}))
        assert refused.value.status == 413


async def test_the_document_of_the_api_names_every_route_and_its_errors(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        document = (await server.client.get("/openapi.json")).json()
        put = document["paths"]["/api/projects/{project_id}/workflows/{workflow_id}"]["put"]
        assert {"200", "401", "403", "404", "409", "412", "413", "422"} <= set(put["responses"])
        for path, methods in document["paths"].items():
            if path.startswith(("/api/fam", "/api/projects", "/api/recycle-bin", "/api/workflows")):
                for method in methods.values():
                    error = method["responses"]["403"]["content"]["application/json"]["schema"]["$ref"]
                    assert error.endswith("/Problem"), path
