"""A home with native plugins, and a host that runs them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

import innkeeper
from fakes import FakeEngine
from innkeeper import Host
from innkeeper.plugins.changes import Change
from innkeeper.plugins.native.snapshot import take_snapshot
from innkeeper.plugins.native.trust import Trust, write_trust
from innkeeper.workflow.engine.outcome import RunOutcome
from innkeeper.workflow.engine.run import run_workflow
from innkeeper.workflow.formats.payload import read_payload

SETUP = """
def setup(api):
    text = {"dataFlowType": "STRING"}
    @api.node({"type": "N", "inputs": {"text": text}, "outputs": {"out": {"dataFlowType": "WILDCARD"}}})
"""
"""Up to the function of a node with an input and an output."""


def node(body: str, *, kind: str = "async def", before: str = "", after: str = "") -> str:
    """The code of a plugin whose node has this body."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    more = "".join(f"    {line}\n" for line in after.splitlines())
    return f"{before}\n{SETUP.strip()}\n    {kind} run(call):\n{lines}{more}"


class House:
    """A home.

    Attributes:
        path: the home folder.
        said: changes that its host told of.
    """

    def __init__(self, path: Path, *, on: bool = True) -> None:
        self.path = path
        self.said: list[Change] = []
        self._news = trio.Event()
        (path / "plugins").mkdir(parents=True)
        if on:
            (path / "innkeeper.toml").write_text("native_plugins = true\n")

    def put(self, name: str, data: str | bytes) -> Path:
        file = self.path / "plugins" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        return file

    def native(
        self, name: str, code: str, *, trust: bool = True, files: dict[str, str] | None = None, **more: Any
    ) -> None:
        """A native plugin with a `main.py`."""
        manifest = {"id": name, "version": "1.0", "python": "main:setup", **more}
        self.put(f"{name}/plugin.json", json.dumps(manifest))
        self.put(f"{name}/main.py", code)
        for file, text in (files or {}).items():
            self.put(f"{name}/{file}", text)
        if trust:
            self.trust(name)

    def trust(self, name: str) -> None:
        snapshot = take_snapshot(self.path / "plugins" / name, label=f"plugins/{name}")
        write_trust(self.path, Trust(name, snapshot.digests))

    def hear(self, change: Change) -> None:
        self.said.append(change)
        self._news.set()
        self._news = trio.Event()

    async def until(self, kind: str, count: int = 1) -> None:
        """Waits until so many changes of this kind were said."""
        with trio.fail_after(60):
            while sum(change.kind == kind for change in self.said) < count:
                await self._news.wait()

    @asynccontextmanager
    async def host(self, *, watch: bool = False) -> AsyncIterator[Host]:
        async with innkeeper.open_host(self.path, engine=FakeEngine(), watch=watch, on_change=self.hear) as host:
            yield host


def workflow(**types: str) -> bytes:
    """Nodes by id, each given the text "hello" by itself."""
    nodes = [{"id": name, "fullType": kind, "inputs": {"text": "hello"}} for name, kind in types.items()]
    return json.dumps({"nodes": nodes, "edges": []}).encode()


async def run(host: Host, **types: str) -> RunOutcome:
    """Runs these nodes, unconnected."""
    return await run_workflow(read_payload(workflow(**types)), host)
