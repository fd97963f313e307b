"""A home of plugins that tell each other something, on an engine of Python functions or on the real one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import trio

from fakes import FakeEngine, FakeGuest, Function
from innkeeper import Host
from innkeeper.bridge.bridge import FILE
from innkeeper.bridge.host import STATE, open_host
from innkeeper.bridge.offer import operations
from innkeeper.storage.database import open_database
from innkeeper.storage.events import EventStore

LONG = 60
"""Seconds after which something never happens, on however busy a machine."""

NAMES = [each.name for each in operations() if each.service == "events"]
BOTH = ("events.publish:**", "events.subscribe:**")


async def say(guest: FakeGuest, operation: str, **arguments: Any) -> Any:
    """What a guest reads that asks the service."""
    return msgpack.unpackb(await guest.host(f"innkeeper_events_{operation}", msgpack.packb(arguments)))


def relays() -> dict[str, Function]:
    """Functions that give what they get to an operation, and its answer back."""

    def relay(name: str) -> Function:
        async def function(guest: FakeGuest, data: bytes) -> bytes:
            answer: bytes = await guest.host(f"innkeeper_events_{name}", data)
            return answer

        return function

    return {name: relay(name) for name in NAMES}


class Recorder:
    """A handler that notes what it got.

    Attributes:
        got: messages, in order.
    """

    def __init__(self, then: Callable[[FakeGuest, Any], Any] | None = None) -> None:
        self.got: list[Any] = []
        self._then = then
        self._came = trio.Event()

    async def __call__(self, guest: FakeGuest, data: bytes) -> bytes:
        message = msgpack.unpackb(data)
        self.got.append(message)
        came, self._came = self._came, trio.Event()
        came.set()
        if self._then is not None:
            await self._then(guest, message)
        return b""

    async def until(self, count: int) -> list[Any]:
        """Waits until it got so many; gives their data."""
        with trio.fail_after(LONG):
            while len(self.got) < count:
                await self._came.wait()
        return self.data

    @property
    def data(self) -> list[Any]:
        return [each["data"] for each in self.got]


class House:
    """A home.

    Attributes:
        path: its folder.
        engine: runs its plugins, which are Python functions.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = FakeEngine(live_guests=1000)
        self._wasm: dict[str, bytes] = {}
        for folder in ("plugins", "manifests"):
            (path / folder).mkdir(parents=True)

    def put(
        self,
        name: str,
        wasm: bytes | Mapping[str, Function],
        *,
        requests: Sequence[str] = BOTH,
        grants: Sequence[str] | None = None,
        more: str = "",
        limits: str = "",
    ) -> None:
        """A plugin with these functions and those of `relays`, or with these bytes.

        Args:
            grants: what it is granted; by default what it requests.
            more: a further line of its manifest and, if it is the instance, of its grant.
            limits: of its grant.
        """
        if not isinstance(wasm, bytes):
            wasm = self.engine.program({**relays(), **wasm}, salt=name)
        self._wasm[name] = wasm
        (self.path / "plugins" / f"{name}.wasm").write_bytes(wasm)
        manifest = f'id = "{name}"\nversion = "1.0.0"\n{more}\n'
        for request in requests:
            manifest += f'[[capabilities]]\nname = "{request}"\nreason = "it tells and hears"\noptional = true\n'
        (self.path / "plugins" / f"{name}.toml").write_text(manifest)
        shared = more if more.startswith("instance") else ""
        self.grant(name, requests if grants is None else grants, more=shared, limits=limits)

    def grant(self, name: str, grants: Sequence[str], *, more: str = "", limits: str = "") -> None:
        """What a plugin is granted from now on."""
        listed = ", ".join(f'"{each}"' for each in grants)
        digest = hashlib.sha256(self._wasm[name]).hexdigest()
        text = f'sha256 = "{digest}"\n{more}\ncapabilities = [{listed}]\n'
        (self.path / "manifests" / f"{name}.toml").write_text(text + (f"[limits]\n{limits}\n" if limits else ""))

    @asynccontextmanager
    async def host(self, *, real: bool = False) -> AsyncIterator[Host]:
        """A host of this home."""
        with trio.fail_after(2 * LONG):
            async with open_host(self.path, engine=None if real else self.engine, watch=False) as host:
                yield host

    @asynccontextmanager
    async def store(self) -> AsyncIterator[EventStore]:
        """What its hosts keep."""
        async with open_database(self.path / STATE / FILE) as db:
            yield EventStore(db)


async def ask(host: Host, plugin: str, operation: str, **arguments: Any) -> Any:
    """What a guest of a plugin reads."""
    return msgpack.unpackb((await host.plugins[plugin].call(operation, msgpack.packb(arguments))).output)


async def subscribe(host: Host, plugin: str, pattern: str, handler: str = "on_event") -> None:
    answer = await ask(host, plugin, "subscribe", pattern=pattern, handler=handler)
    assert "ok" in answer, answer


async def publish(host: Host, plugin: str, topic: str, data: Any = None) -> Any:
    answer = await ask(host, plugin, "publish", topic=topic, data=data)
    assert "ok" in answer, answer
    return answer["ok"]


async def listed(host: Host, plugin: str) -> list[Any]:
    found: list[Any] = (await ask(host, plugin, "subscriptions"))["ok"]["subscriptions"]
    return found


async def until(check: Callable[[], Any]) -> None:
    """Waits until `check`, which may be async, says so."""
    with trio.fail_after(LONG):
        while True:
            done = check()
            if await done if hasattr(done, "__await__") else done:
                return
            await trio.sleep(0.01)
