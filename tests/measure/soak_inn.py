"""The host of the soak: its home folder, its plugins, its host functions, and how an ending is told from another."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

import innkeeper
from innkeeper.plugins.changes import Change
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import FiberEngine
from innkeeper.sandbox.limits import DEFAULTS, KIB, MIB, Limits

from . import soak_guests as guests

BOUNDS = Bounds(calls_per_plugin=8, guest_memory=256 * MIB, bytes_in_flight=24 * MIB, cache_size=4 * MIB)
"""Small enough to be reached. The cache is too small for what is compiled in ten minutes, so it is pruned."""

USUAL = replace(DEFAULTS, memory=16 * MIB)
AT_ONCE = 24
"""Tasks that call."""
_PLACES, _OVERFLOWS = 160, 4000
_DEPTH = 15_000
"""Calls of `digs` inside each other that take nearly all of the stack, 512 KiB."""


class HostError(Exception):
    """What a host function raises."""


class Inn:
    """A host with its plugins, and the count of what happened to calls.

    Attributes:
        host: the host.
        path: its home folder.
        calls: calls that were begun.
        most: guests that a call met, at most.
        steps: changes of files that were made.
        happened: calls by ending, and by what they ended with.
        changes: what the host said of its files, by kind.
        surprises: what no call of its ending should have ended with, the first ones in words.
        random: the seeded source of all choices.
        single_taken, single_holds: whether a card has the plugin `single`, and whether its guest works.
        scopes: cancel scopes that host functions may cancel, by the number that the guest is given.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.calls = 0
        self.most = 0
        self.steps = 0
        self.happened: Counter[tuple[str, str]] = Counter()
        self.changes: Counter[str] = Counter()
        self.surprises: list[str] = []
        self.random = random.Random(seed)
        self.scopes: dict[int, trio.CancelScope] = {}
        self.single_taken, self.single_holds = False, trio.Event()
        self.host: innkeeper.Host
        self.asks: innkeeper.Plugin
        self.keeps: innkeeper.Plugin
        self.fragile: innkeeper.Plugin
        self.single: innkeeper.Plugin
        self.linked: innkeeper.Plugin
        self.crowd: innkeeper.Plugin
        self._gathered, self._all_gathered = 0, trio.Event()
        self._active = 0
        self._opened = trio.Event()
        self._opened.set()
        self._idle = trio.Event()

    @property
    def engine(self) -> FiberEngine:
        """Its engine."""
        engine = self.host.engine
        assert isinstance(engine, FiberEngine)
        return engine

    # --- files ------------------------------------------------------------------------------------------------------

    def put(self, plugin_id: str, wasm: bytes) -> None:
        """Puts a plugin's file in its place, as a whole."""
        made = self.path / "plugins" / f"{plugin_id}.new"
        made.write_bytes(wasm)
        made.rename(made.with_suffix(".wasm"))

    def grant(self, plugin_id: str, wasm: bytes, more: str = "") -> None:
        """Puts a grant for these bytes in its place."""
        text = f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\n{more}'
        (self.path / "manifests" / f"{plugin_id}.toml").write_text(text)

    def furnish(self) -> None:
        """Makes the home folder."""
        for folder in ("plugins", "manifests"):
            (self.path / folder).mkdir()
        # Every plugin here fails thousands of times on purpose.
        (self.path / "innkeeper.toml").write_text(f'cache = "{self.path / "cache"}"\n[policy]\nfailures = 0\n')
        self.put("ends", guests.ends())
        self.put("rough", guests.ends(1))
        self.put("swings", guests.says("a"))
        self.put("granted", guests.says("g"))
        self.put("slow", guests.starts_slowly())
        self.put("stillborn", guests.does_not_start())
        self.put("endless", guests.never_starts())
        self.put("stays", guests.ends())
        (self.path / "plugins" / "stays.toml").write_text('id = "stays"\nversion = "1.0"\ninstance = "shared"\n')
        self.grant("stays", guests.ends(), 'instance = "shared"\n')

    async def use_places(self) -> None:
        """Uses of more of the pool's places than the soak ever takes at once all that is kept of them, so that which
        guest comes to lie where does not look like growth."""
        plugin = await self.host.load(guests.digs(_DEPTH), functions=guests.functions(self.serve, self.shout))
        async with trio.open_nursery() as nursery:
            for _ in range(_PLACES):
                nursery.start_soon(self.call, plugin, "dig", ask(guests.GATHER, _PLACES) + bytes(128 * KIB))
        await plugin.aclose()

        async def overflow() -> None:
            for _ in range(_OVERFLOWS // AT_ONCE):
                await self.attempt("before", self.call("rough", "deep"), "limit stack")

        # One after another, in ever other places: the last bit of each stack.
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(overflow)

    # --- host functions ---------------------------------------------------------------------------------------------

    async def serve(self, mode: int, number: int) -> int:
        """What `asks` wants done."""
        if mode == guests.LATER:
            await trio.lowlevel.checkpoint()
        elif mode == guests.RAISE:
            raise HostError
        elif mode == guests.NEVER:
            await trio.sleep_forever()
        elif mode == guests.HOLD:
            self.single_holds.set()
            await trio.sleep(number / 1000)
        elif mode == guests.GATHER:
            self._gathered += 1
            if self._gathered == number:
                self._all_gathered.set()
            await self._all_gathered.wait()
        elif mode in (guests.CANCEL_AND_WAIT, guests.CANCEL_AND_GO_ON):
            self.scopes[number].cancel()
            if mode == guests.CANCEL_AND_WAIT:
                await trio.sleep_forever()
            return -1
        return 0

    async def shout(self, mode: int, data: bytes) -> bytes:
        """As `serve`, with bytes each way."""
        if mode == guests.LATER:
            await trio.lowlevel.checkpoint()
        return data.upper()

    # --- calls ------------------------------------------------------------------------------------------------------

    async def attempt(self, ending: str, called: Awaitable[innkeeper.Result], *right: str) -> str:
        """Makes a call, counts it and what it ended with, and gives that.

        Args:
            ending: what the call is for.
            called: the call.
            right: what it may end with; the first is what it is for.
        """
        self.calls += 1
        self.most = max(self.most, self.engine.live.taken)
        try:
            result = await called
        except (innkeeper.InnkeeperError, HostError) as error:
            ended, shown = _words(error), f"{type(error).__name__}: {error}"
        except trio.Cancelled:
            # Whoever cancelled it looks whether it was meant.
            self.happened[ending, "cancelled"] += 1
            raise
        else:
            ended, shown = "a result", repr(result.output[:20])
        self.happened[ending, ended] += 1
        if ended not in right:
            self.surprise(f"{ending}: {ended}, {shown}")
        return ended

    def surprise(self, text: str) -> None:
        """Notes what should not have happened."""
        if len(self.surprises) < 20:
            self.surprises.append(text)

    def call(
        self,
        plugin: innkeeper.Plugin | str,
        function: str,
        data: bytes = b"",
        limits: Limits = USUAL,
        config: Mapping[str, str] | None = None,
    ) -> Awaitable[innkeeper.Result]:
        """A call of a plugin, or of the home's plugin of that id."""
        found = self.host.plugin(plugin) if isinstance(plugin, str) else plugin
        return found.call(function, data, limits=limits, config=config)

    # --- moments of rest --------------------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Something begins; `leave` ends it. Waits while the host rests."""
        while not self._opened.is_set():
            await self._opened.wait()
        self._active += 1

    def leave(self) -> None:
        """Something is over."""
        self._active -= 1
        if not self._active:
            self._idle.set()

    @asynccontextmanager
    async def rest(self) -> AsyncIterator[None]:
        """Waits until nothing runs, and lets nothing begin."""
        self._opened = trio.Event()
        while self._active:
            self._idle = trio.Event()
            await self._idle.wait()
        try:
            yield
        finally:
            self._opened.set()


def ask(mode: int, number: int = 0) -> bytes:
    """The input of `ask`."""
    return mode.to_bytes(8, "little") + number.to_bytes(8, "little")


def _words(error: innkeeper.InnkeeperError | HostError) -> str:
    if isinstance(error, HostError):
        return "what a host function raised"
    if isinstance(error, innkeeper.LimitError):
        return f"limit {error.limit}"
    if isinstance(error, innkeeper.BusyError):
        return f"busy: {error.bound}"
    if isinstance(error, innkeeper.GuestError):
        for start, words in (("the guest trapped", "a trap"), ("the guest exited", "an exit")):
            if error.message.startswith(start):
                return words
        return "an ended guest" if error.code is None else f"code {error.code}"
    return error.kind.value


@asynccontextmanager
async def open_inn(path: Path, seed: int) -> AsyncIterator[Inn]:
    """An inn in an empty folder, every plugin loaded."""
    inn = Inn(path, seed)
    inn.furnish()

    def hear(change: Change) -> None:
        inn.changes[" ".join((change.kind, *change.parts))] += 1

    async with innkeeper.open_host(path, bounds=BOUNDS, on_change=hear) as host:
        inn.host = host
        functions = guests.functions(inn.serve, inn.shout)
        inn.asks = await host.load(guests.asks(), plugin_id="asks", functions=functions)
        inn.single = await host.load(guests.asks(), plugin_id="single", functions=functions, instance="shared")
        inn.keeps = await host.load(guests.ends(), plugin_id="keeps", instance="shared")
        inn.fragile = await host.load(guests.ends(), plugin_id="fragile", instance="shared")
        inn.crowd = await host.load(guests.ends(), plugin_id="crowd")
        main, others = guests.linked()
        inn.linked = await host.load(main, plugin_id="linked", modules=others)
        yield inn
