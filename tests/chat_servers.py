"""A server with a project, and somebody who asks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import HTTPConnection

import servers
from innkeeper.composition import serving
from innkeeper.server.identity import Identity

PEOPLE = {
    "ann": Identity("ann", "Ann", False, "session"),
    "bob": Identity("bob", "Bob", False, "session"),
    "runner": Identity("ann", "Ann", False, "key", frozenset({"runs", "nodes", "account", "admin"})),
    "filer": Identity("ann", "Ann", False, "key", frozenset({"files"})),
}
"""Who the header X-Test-User names: two users, and two keys of the first."""


@dataclass(frozen=True)
class Chatting:
    """A server and what a test needs of it."""

    served: servers.Served
    home: Path

    @property
    def client(self) -> httpx.AsyncClient:
        return self.served.client

    def folder(self, uid: str = "ann") -> Path:
        """The files of a user."""
        return self.home / "files" / "users" / uid

    def project(self, name: str, uid: str = "ann") -> Path:
        """Makes a project; gives its folder."""
        made = self.folder(uid) / "projects" / name
        made.mkdir(parents=True)
        (made / "project.json").write_text(json.dumps({"id": name, "name": name}))
        return made

    async def ask(
        self, method: str, path: str, body: Any = None, *, user: str | None = "ann", **more: Any
    ) -> httpx.Response:
        """An answer to somebody's request; `body` is sent as JSON."""
        headers = {**({"X-Test-User": user} if user else {}), **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        return await self.client.request(method, path, headers=headers, **more)

    async def session(self, project: str = "p", user: str = "ann") -> str:
        """Makes a session; gives its id."""
        answer = await self.ask("POST", "/api/chat/sessions", {"projectId": project, "title": "T"}, user=user)
        assert answer.status_code == 201, answer.text
        found: str = answer.json()["id"]
        return found

    async def say(self, session: str, version: int, content: str = "hi", **more: Any) -> dict[str, Any]:
        """Adds a message; gives what was answered."""
        body = {"role": "user", "content": content, "version": version, **more}
        answer = await self.ask("POST", f"/api/chat/{session}/message", body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def tree(self, session: str) -> dict[str, Any]:
        """The tree of a session."""
        answer = await self.ask("GET", f"/api/chat/{session}/tree")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


async def somebody(connection: HTTPConnection) -> Identity | None:
    """Who the header names."""
    return PEOPLE.get(connection.headers.get("x-test-user", ""))


@asynccontextmanager
async def chatting(home: Path) -> AsyncIterator[Chatting]:
    """Serves a home with the project `p` of ann."""
    real = servers.open_parts

    @asynccontextmanager
    async def parts_of(*args: Any, **more: Any) -> AsyncIterator[Any]:
        async with serving.open_parts(*args, **more) as parts:
            yield replace(parts, identify=somebody)

    servers.open_parts = parts_of  # type: ignore[assignment]
    try:
        async with servers.served(home) as served:
            found = Chatting(served, home)
            found.project("p")
            yield found
    finally:
        servers.open_parts = real
