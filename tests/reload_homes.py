"""A home whose files a test changes while its host runs, on an engine of Python functions."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

import innkeeper
from fakes import FakeEngine, FakeGuest, FakeProgram, Function
from innkeeper.plugins.changes import Change

LONG = 60
"""Seconds after which something never happens, on however busy a machine."""


class Engine(FakeEngine):
    """An engine that a test can hold up.

    Attributes:
        made: every program that was compiled, in order.
        stubborn: whether compiling goes on though it is cancelled.
    """

    def __init__(self) -> None:
        super().__init__(live_guests=1000)
        self.stubborn = False
        self.made: list[FakeProgram] = []
        self._asked = trio.Event()

    async def load(self, wasm: bytes, **more: Any) -> FakeProgram:
        self._asked.set()
        self._asked = trio.Event()
        with trio.CancelScope(shield=self.stubborn):
            self.made.append(await super().load(wasm, **more))
        return self.made[-1]

    async def until_asked(self, count: int) -> None:
        """Waits until so many modules were given to it, compiled or not."""
        with trio.fail_after(LONG):
            while len(self.loads) < count:
                await self._asked.wait()
        await trio.testing.wait_all_tasks_blocked()

    @property
    def open(self) -> int:
        """How many programs are not closed."""
        return sum(not program.closed for program in self.made)


class Inn:
    """A home, its engine, and what its host said.

    Attributes:
        path: the home folder.
        engine: runs its plugins.
        said: every change, in order.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = Engine()
        self.said: list[Change] = []
        self._news = trio.Event()
        for folder in ("plugins", "manifests"):
            (path / folder).mkdir(parents=True, exist_ok=True)

    def hear(self, change: Change) -> None:
        self.said.append(change)
        self._news.set()
        self._news = trio.Event()

    async def until(self, *kinds: str, count: int = 1) -> None:
        """Waits until that many changes of these kinds were said."""
        with trio.fail_after(LONG):
            while sum(change.kind in kinds for change in self.said) < count:
                await self._news.wait()

    async def until_looked(self, host: innkeeper.Host) -> None:
        """Waits until a look has seen the files as they are now; what it found may still be compiled."""
        self.put("plugins/looked.wasm", self.plugin(str(len(self.said))))
        seen = len(self.said)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.reload)
            await self.until("added", "changed", count=seen + 1)
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def host(self, *, watch: bool = False) -> AsyncIterator[innkeeper.Host]:
        async with innkeeper.open_host(self.path, engine=self.engine, watch=watch, on_change=self.hear) as host:
            yield host
        assert self.engine.live == 0
        assert self.engine.open == 0

    def put(self, name: str, data: bytes | str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def plugin(self, answer: str = "one", functions: Mapping[str, Function] | None = None, **more: Any) -> bytes:
        """A module whose function `say` answers that."""

        async def say(_: FakeGuest, __: bytes) -> bytes:
            return answer.encode()

        return self.engine.program({"say": say, **(functions or {})}, salt=answer, **more)

    def grant(self, plugin_id: str, wasm: bytes, more: str = "") -> Path:
        return self.put(f"manifests/{plugin_id}.toml", f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\n{more}')

    def texts(self, kind: str) -> list[str]:
        return [change.text for change in self.said if change.kind == kind]


async def answer(plugin: innkeeper.Plugin, function: str = "say") -> str:
    return (await plugin.call(function)).output.decode()


async def answer_into(found: list[str], plugin: innkeeper.Plugin, function: str = "say") -> None:
    found.append(await answer(plugin, function))


def manifest(plugin_id: str, *types: str, more: str = "") -> str:
    nodes = "".join(f'[[nodes]]\ntype = "{name}"\nfunction = "say"\n' for name in types)
    return f'id = "{plugin_id}"\nversion = "1.0"\n{more}\n{nodes}'
