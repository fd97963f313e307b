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


MAKERS: dict[str, Callable[[Users], Awaitable[str]]] = {"RUN": a_run}


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
