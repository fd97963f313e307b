"""A server on loopback to which several users speak: who asks is what the Authorization header says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import trio
from starlette.requests import HTTPConnection

from guests import assemble
from innkeeper.composition.serving import open_parts
from innkeeper.server.answers import AnswerError
from innkeeper.server.app import make_app
from innkeeper.server.identity import Identity
from innkeeper.server.parts import Parts
from innkeeper.server.serving import listening, serve_app, url_of
from work_homes import MANIFEST, SLOW

USERS = {
    "ann": Identity("ann", "ann", False, "local"),
    "bob": Identity("bob", "bob", False, "local"),
    "root": Identity("root", "root", True, "local"),
    # Keys: one that reaches nothing, and an administrator's that reaches all but what is an administrator's.
    "key": Identity("ann", "ann", False, "key", frozenset()),
    "half": Identity("root", "root", True, "key", frozenset({"runs", "files", "nodes", "account"})),
}


async def identified(connection: HTTPConnection) -> Identity | None:
    """Who the header says; nobody without one."""
    said = connection.headers.get("authorization")
    if said is None:
        return None
    found = USERS.get(said.removeprefix("Bearer "))
    if found is None:
        raise AnswerError(401, "this key is not known")
    return found


@dataclass(frozen=True)
class Users:
    """A server, and those who speak to it.

    Attributes:
        parts: what it works with.
        url: where it is.
        nobody, ann, bob, root, key, half: clients; `key` and `half` are keys of ann's and root's that reach less.
    """

    parts: Parts
    url: str
    nobody: httpx.AsyncClient
    ann: httpx.AsyncClient
    bob: httpx.AsyncClient
    root: httpx.AsyncClient
    key: httpx.AsyncClient
    half: httpx.AsyncClient


@asynccontextmanager
async def users_of(home: Path, *, seconds: float = 120, **changed: Any) -> AsyncIterator[Users]:
    """Serves a home for the time of the block.

    Args:
        home: the home.
        seconds: after which it takes too long.
        changed: parts of the server that are others.
    """
    stop = trio.Event()
    with trio.fail_after(seconds):
        async with open_parts(home, watch=False) as opened, trio.open_nursery() as nursery:
            parts = replace(opened, identify=identified, **changed)
            sockets = listening("127.0.0.1", 0)
            url = url_of(sockets[0])
            nursery.start_soon(serve_app, make_app(parts), sockets, stop)
            clients = {
                name: httpx.AsyncClient(
                    base_url=url,
                    trust_env=False,
                    timeout=60,
                    headers={} if name == "nobody" else {"Authorization": f"Bearer {name}"},
                )
                for name in ("nobody", *USERS)
            }
            try:
                yield Users(parts, url, **clients)
            finally:
                for client in clients.values():
                    await client.aclose()
                stop.set()


def slow_home(folder: Path) -> Path:
    """A home with the nodes of `work_homes`."""
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins/slow.wasm").write_bytes(assemble(SLOW))
    (folder / "plugins/slow.toml").write_text(MANIFEST)
    return folder


async def until(client: httpx.AsyncClient, run: str, *statuses: str) -> dict[str, Any]:
    """Waits until a run stands so; gives what is said of it."""
    with trio.fail_after(60):
        while True:
            found = (await client.get(f"/api/prompt/{run}")).json()
            if found["status"] in statuses:
                return dict(found)
            await trio.sleep(0.02)


async def ended(client: httpx.AsyncClient, run: str) -> dict[str, Any]:
    """Waits until a run has ended; gives what is said of it."""
    return await until(client, run, "complete", "error", "interrupted")


async def running(client: httpx.AsyncClient, run: str) -> None:
    """Waits until a run runs."""
    await until(client, run, "running")


async def sent(client: httpx.AsyncClient, workflow: dict[str, Any]) -> str:
    """Submits a workflow; gives the run's id."""
    answer = await client.post("/api/prompt", json=workflow)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["promptId"])
