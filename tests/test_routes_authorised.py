"""Every route of the server, with what it answers to no key, a wrong one, another user's and the right one.

A route that is not in the table fails the test: whoever adds one says here whose it is, in a line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount

from http_users import Users, ended, sent, slow_home, users_of
from innkeeper.composition.serving import open_parts
from innkeeper.server.app import make_app
from work_homes import one

Who = Literal["public", "user", "own", "admin", "elsewhere"]


@dataclass(frozen=True)
class Rule:
    """What a route answers to whom.

    Attributes:
        who: "public": anybody; "user": any user whose key reaches `scope`; "own": of those, the one alone whose it is;
            "admin": administrators; "elsewhere": another test, `test`, holds it.
        scope: that an API key must reach.
        values: of the path's parameters; "RUN" and the like stand for what `MAKERS` makes as ann.
        body: JSON that is sent.
        right: statuses that the right one may get.
        wrong: status that another user gets who may use the route and does not own the thing.
        test: the file of the other test.
    """

    who: Who
    scope: str = ""
    values: dict[str, str] = field(default_factory=dict)
    body: Any = None
    right: tuple[int, ...] = (200,)
    wrong: int = 404
    test: str = ""


RULES: dict[str, Rule] = {
    "GET /": Rule("public"),
    "GET /healthz": Rule("public"),
    "GET /readyz": Rule("public"),
    "GET /openapi.json": Rule("public"),
    # runs
    "POST /api/prompt": Rule("user", "runs", body=one("Quick")),
    "GET /api/prompt/{prompt_id}": Rule("own", "runs", {"prompt_id": "RUN"}),
    "POST /api/interrupt/{prompt_id}": Rule("own", "runs", {"prompt_id": "RUN"}),
    "DELETE /api/interrupt/{prompt_id}": Rule("own", "runs", {"prompt_id": "RUN"}),
    "POST /api/runs/{prompt_id}/retry": Rule("own", "runs", {"prompt_id": "RUN"}),
    "GET /api/executions": Rule("user", "runs"),
    "GET /api/runs": Rule("user", "runs"),
    "GET /api/system_stats": Rule("user", "runs"),
    # nodes and plugins
    "GET /api/nodes": Rule("user", "nodes"),
    "POST /api/nodes/reload": Rule("admin"),
    "GET /api/nodes/{namespace}/{type}/client-script/{file:path}": Rule(
        "user", "nodes", {"namespace": "slow", "type": "Quick", "file": "a.js"}, right=(404,)
    ),
    "GET /api/plugins": Rule("user", "nodes"),
    "POST /api/plugins/reload": Rule("admin"),
    "PUT /api/plugins/{name}/state": Rule("admin", values={"name": "slow"}, body={"enabled": True}),
    "GET /api/plugins/{name}/settings": Rule("admin", values={"name": "slow"}),
    "POST /api/plugins/{name}/settings": Rule("admin", values={"name": "slow"}, body={}),
    "GET /plugins/{name}/{file:path}": Rule("user", "nodes", {"name": "slow", "file": "a.js"}, right=(404,)),
    # files
    "GET /api/fam/list/{path:path}": Rule("user", "files", {"path": "user://"}),
    "POST /api/fam/create-dir": Rule(
        "user", "files", body={"parentLogicalPath": "user://", "dirName": "made"}, right=(201, 409)
    ),
    "DELETE /api/fam/delete": Rule("user", "files", body={"logicalPaths": ["user://none"]}, right=(207,)),
    "PUT /api/fam/rename": Rule("user", "files", body={"logicalPath": "user://none", "newName": "n"}, right=(404,)),
    "PUT /api/fam/move": Rule(
        "user", "files", body={"sourcePaths": ["user://none"], "targetParentPath": "user://"}, right=(207,)
    ),
    "POST /api/fam/upload/{path:path}": Rule("user", "files", {"path": "user://"}, body={}, right=(415,)),
    "POST /api/fam/write-json": Rule(
        "user", "files", body={"logicalPath": "user://own.json", "content": 1}, right=(204,)
    ),
    "GET /api/fam/download/{path:path}": Rule("user", "files", {"path": "user://none"}, right=(404,)),
    "GET /api/fam/read/{path:path}": Rule("user", "files", {"path": "user://none"}),
    "GET /api/recycle-bin": Rule("user", "files"),
    "DELETE /api/recycle-bin": Rule("user", "files", right=(204,)),
    "POST /api/recycle-bin/{id}/restore": Rule("user", "files", {"id": "none"}, body={}, right=(404,)),
    "DELETE /api/recycle-bin/{id}": Rule("user", "files", {"id": "none"}, right=(404,)),
    # projects and workflows
    "GET /api/projects": Rule("user", "files"),
    "POST /api/projects": Rule("user", "files", body={"name": "Made"}, right=(201, 409)),
    "GET /api/project-templates": Rule("user", "files"),
    "GET /api/projects/{project_id}/metadata": Rule("own", "files", {"project_id": "PROJECT"}),
    "PUT /api/projects/{project_id}": Rule("own", "files", {"project_id": "PROJECT"}, body={}),
    "DELETE /api/projects/{project_id}": Rule("own", "files", {"project_id": "PROJECT"}, right=(204,)),
    "GET /api/projects/{project_id}/workflows": Rule("own", "files", {"project_id": "PROJECT"}),
    "POST /api/projects/{project_id}/workflows": Rule(
        "own", "files", {"project_id": "PROJECT"}, body={"name": "n", "nodes": [], "edges": []}, right=(201, 409)
    ),
    "GET /api/projects/{project_id}/workflows/{workflow_id}": Rule(
        "own", "files", {"project_id": "PROJECT", "workflow_id": "set-the-scene"}
    ),
    "PUT /api/projects/{project_id}/workflows/{workflow_id}": Rule(
        "own",
        "files",
        {"project_id": "PROJECT", "workflow_id": "set-the-scene"},
        body={"name": "n", "nodes": [], "edges": []},
    ),
    "DELETE /api/projects/{project_id}/workflows/{workflow_id}": Rule(
        "own", "files", {"project_id": "PROJECT", "workflow_id": "set-the-scene"}, right=(204,)
    ),
    "GET /api/workflows": Rule("user", "files"),
    # chats and characters
    "GET /api/characters": Rule("user", "files"),
    "GET /api/characters/image/{name}": Rule("user", "files", {"name": "none.png"}, right=(404,)),
    "GET /api/chat/sessions": Rule("user", "files", right=(422,)),
    "POST /api/chat/sessions": Rule("user", "files", body={"projectId": "none", "title": "t"}, right=(404,)),
    "POST /api/chat/sessions/import": Rule("user", "files", body={}, right=(422,)),
    "POST /api/chat/sessions/{session}/export": Rule(
        "own", "files", {"session": "SESSION"}, body={"format": "json"}, right=(200,)
    ),
    "PUT /api/chat/sessions/{session}/metadata": Rule(
        "own", "files", {"session": "SESSION"}, body={"title": "t", "version": 1}, right=(200, 409)
    ),
    "DELETE /api/chat/sessions/{session}": Rule("own", "files", {"session": "SESSION"}, right=(428,)),
    "GET /api/chat/{session}/tree": Rule("own", "files", {"session": "SESSION"}),
    "POST /api/chat/{session}/message": Rule(
        "own", "files", {"session": "SESSION"}, body={"role": "user", "content": "c", "version": 1}, right=(201, 409)
    ),
    "PUT /api/chat/{session}/tree/edit": Rule(
        "own",
        "files",
        {"session": "SESSION"},
        body={"type": "prune", "sourceNodeId": "none", "version": 1},
        right=(404, 409, 422),
    ),
    "PUT /api/chat/{session}/node/{node}/state": Rule(
        "own", "files", {"session": "SESSION", "node": "none"}, body={"isEnabled": True, "version": 1}, right=(404, 409)
    ),
    "PUT /api/chat/{session}/active_leaf": Rule(
        "own", "files", {"session": "SESSION"}, body={"nodeId": "none", "version": 1}, right=(404, 409, 422)
    ),
    "GET /api/chat/{session}/assets": Rule("own", "files", {"session": "SESSION"}),
    "POST /api/chat/{session}/assets": Rule("own", "files", {"session": "SESSION"}, body={}, right=(415,)),
    "GET /api/chat/{session}/assets/{name}": Rule("own", "files", {"session": "SESSION", "name": "none"}, right=(404,)),
    "DELETE /api/chat/{session}/assets/{name}": Rule(
        "own", "files", {"session": "SESSION", "name": "none"}, right=(404,)
    ),
    # users, in the mode without a password; tests/test_accounts_*.py have the others
    "GET /api/auth/current": Rule("elsewhere", test="test_accounts_login.py"),
    "POST /api/auth/login": Rule("public", body={"password": "x"}, right=(409,)),
    "POST /api/auth/logout": Rule("public", right=(204,)),
    "POST /api/auth/register": Rule("public", body={"username": "x", "password": "x" * 9, "token": "x"}, right=(409,)),
    "POST /api/auth/setup-password": Rule("public", body={"password": "x" * 9, "token": "x"}, right=(409,)),
    "POST /api/auth/logout-all": Rule("user", "account", right=(204,)),
    "POST /api/auth/ticket": Rule("elsewhere", test="test_accounts_keys.py"),
    "PUT /api/users/me/password": Rule("user", body={"current": "x", "password": "x" * 9}, right=(409,)),
    "PUT /api/users/me/username": Rule("user", "account", body={"username": "x"}, right=(404,)),
    "POST /api/users/me/avatar": Rule("user", "account", right=(415,)),
    "DELETE /api/users/me/avatar": Rule("user", "account", right=(204,)),
    "GET /api/users/{uid}/avatar": Rule("elsewhere", test="test_accounts_profile.py"),
    "GET /api/users/me/service-keys": Rule("user", "account"),
    "POST /api/users/me/service-keys": Rule("user", body={}, right=(201,)),
    "DELETE /api/users/me/service-keys/{id}": Rule("user", "account", {"id": "x"}, right=(404,)),
    "GET /api/users/me/credentials": Rule("user", "account"),
    "POST /api/users/me/credentials": Rule(
        "user", "account", body={"serviceName": "s", "credential": "c"}, right=(201,)
    ),
    "DELETE /api/users/me/credentials/{id}": Rule("user", "account", {"id": "x"}, right=(404,)),
    "GET /api/admin/users": Rule("admin"),
    "PATCH /api/admin/users/{uid}": Rule("admin", values={"uid": "x"}, body={"isAdmin": True}, right=(404,)),
    "GET /api/admin/invitations": Rule("admin"),
    "POST /api/admin/invitations": Rule("admin", body={}, right=(409,)),
    "DELETE /api/admin/invitations/{id}": Rule("admin", values={"id": "x"}, right=(404,)),
    # runs as they go on
    "GET /api/stream/{prompt_id}": Rule("elsewhere", test="test_live_streams.py"),
    "GET /api/runs/{prompt_id}/events": Rule("own", "runs", {"prompt_id": "RUN"}),
    "WS /ws": Rule("elsewhere", test="test_protocol.py"),
    "GET /metrics": Rule("elsewhere", test="test_guards_watching.py"),
    # what plugins answer
    "MOUNT /n": Rule("elsewhere", test="test_http_native.py"),
    "GET /x/{plugin_id}/{path:path}": Rule("elsewhere", test="test_http_serve.py"),
    "POST /x/{plugin_id}/{path:path}": Rule("elsewhere", test="test_http_serve.py"),
    "PUT /x/{plugin_id}/{path:path}": Rule("elsewhere", test="test_http_serve.py"),
    "PATCH /x/{plugin_id}/{path:path}": Rule("elsewhere", test="test_http_serve.py"),
    "DELETE /x/{plugin_id}/{path:path}": Rule("elsewhere", test="test_http_serve.py"),
}


async def a_run(users: Users) -> str:
    run = await sent(users.ann, one("Quick"))
    await ended(users.ann, run)
    return run


async def a_project(users: Users) -> str:
    body = {"name": "Inn", "templateId": "chat-with-lore"}
    return str((await users.ann.post("/api/projects", json=body)).json()["id"])


async def a_session(users: Users) -> str:
    body = {"projectId": await a_project(users), "title": "Chat"}
    return str((await users.ann.post("/api/chat/sessions", json=body)).json()["id"])


MAKERS: dict[str, Callable[[Users], Awaitable[str]]] = {"RUN": a_run, "PROJECT": a_project, "SESSION": a_session}


def routes_of(app: FastAPI) -> Iterator[str]:
    """Every route as the table names it."""
    for route in leaves(app.routes):
        path = getattr(route, "path", "?")
        if isinstance(route, Mount):
            yield f"MOUNT {path}"
            continue
        methods = getattr(route, "methods", None)
        for method in sorted(methods - {"HEAD"}) if methods else ["WS" if "WebSocket" in type(route).__name__ else "?"]:
            yield f"{method} {path}"


def leaves(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    """Routes with those of routers and mounts within them."""
    for route in routes:
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        if inner:
            yield from leaves(inner)
        else:
            yield route


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return slow_home(tmp_path / "home")


async def test_every_route_says_whose_it_is(home: Path) -> None:
    async with open_parts(home, watch=False) as parts:
        found = set(routes_of(make_app(parts)))
    assert len(found) >= 20
    assert found - set(RULES) == set(), "add a line to RULES for each"
    assert set(RULES) - found == set(), "these are gone"


def test_what_is_held_elsewhere_is_held_there() -> None:
    for route, rule in RULES.items():
        if rule.who == "elsewhere":
            path = route.partition(" ")[2].partition("{")[0]
            assert path in (Path(__file__).parent / rule.test).read_text(), f"{rule.test} does not speak of {route}"


@pytest.mark.parametrize("route", [route for route, rule in RULES.items() if rule.who != "elsewhere"])
async def test_a_route_answers_whom_it_may_and_nobody_else(home: Path, route: str) -> None:
    rule = RULES[route]
    method, _, path = route.partition(" ")
    async with users_of(home) as users:
        for key, value in rule.values.items():
            value = await MAKERS[value](users) if value in MAKERS else value
            path = path.replace(f"{{{key}:path}}", value).replace(f"{{{key}}}", value)

        async def status(client: httpx.AsyncClient, **more: Any) -> int:
            answer = await client.request(method, path, json=rule.body, **more)
            assert answer.status_code < 500
            if answer.status_code >= 400:
                assert isinstance(answer.json()["error"], str)
            return answer.status_code

        if rule.who == "public":
            assert await status(users.nobody) in rule.right
            return
        assert await status(users.nobody) == 401
        assert await status(users.nobody, headers={"Authorization": "Bearer ctsk_of_nobody"}) == 401
        # A key that reaches nothing, though it is the right user's.
        assert await status(users.key) == 403
        if rule.who == "admin":
            assert await status(users.ann) == 403
            assert await status(users.half) == 403
            assert await status(users.root) in rule.right
            return
        if rule.who == "own":
            assert await status(users.bob) == rule.wrong
        assert await status(users.ann) in rule.right
