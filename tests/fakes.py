"""An engine whose guests are Python functions, and modules made by hand, for tests of what stands above the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
import trio

from innkeeper.errors import BusyError, GuestError, InnkeeperError, LimitError, RejectedError, UsageError
from innkeeper.plugins import shipped
from innkeeper.sandbox.interface import CallOptions, HostFunction
from innkeeper.sandbox.usage import Result, Usage
from innkeeper.sandbox.wasi.rights import WasiRights


def leb(number: int) -> bytes:
    """An unsigned number as Wasm writes it."""
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def section(number: int, content: bytes) -> bytes:
    return bytes([number]) + leb(len(content)) + content


def named(text: str) -> bytes:
    data = text.encode()
    return leb(len(data)) + data


def ship(patch: pytest.MonkeyPatch, *modules: bytes) -> None:
    """Lets these bytes be some that come with Innkeeper."""
    digests = {hashlib.sha256(wasm).hexdigest() for wasm in modules}
    patch.setattr(shipped, "DIGESTS", shipped.DIGESTS | digests)


def module(*exports: str, manifest: str | bytes | None = None, salt: str = "") -> bytes:
    """A valid Wasm module that exports functions `() -> i32` which return 0.

    Args:
        exports: their names.
        manifest: text of its section `innkeeper.manifest`.
        salt: makes modules differ that are equal otherwise.
    """
    count = leb(len(exports))
    wasm = b"\0asm\1\0\0\0"
    wasm += section(1, b"\x01\x60\x00\x01\x7f")
    wasm += section(3, count + b"\x00" * len(exports))
    wasm += section(7, count + b"".join(named(name) + b"\x00" + leb(at) for at, name in enumerate(exports)))
    wasm += section(10, count + b"\x04\x00\x41\x00\x0b" * len(exports))
    if manifest is not None:
        text = manifest if isinstance(manifest, bytes) else manifest.encode()
        wasm += section(0, named("innkeeper.manifest") + text)
    return wasm + section(0, named("salt") + salt.encode()) if salt else wasm


class FakeGuest:
    """What a fake's function sees of its call.

    Attributes:
        state: lives as long as the guest.
        config: what `config_get` would answer.
        rights: what its WASI would show.
    """

    def __init__(self, functions: Sequence[HostFunction], rights: WasiRights | None = None) -> None:
        self.rights = rights
        self.state: dict[str, Any] = {}
        self.config: Mapping[str, str] = {}
        self.usage = Usage()
        self._functions = {item.name: item for item in functions}

    def log(self, level: str, text: str) -> None:
        self.usage.log.append((level, text))

    async def host(self, name: str, *arguments: Any) -> Any:
        """Calls a host function."""
        self.usage.host_calls += 1
        return await self._functions[name].answer(*arguments)


Function = Callable[[FakeGuest, bytes], Awaitable[bytes]]


class FakeEngine:
    """An `Engine`: `programs` says which functions the module with these bytes has.

    Attributes:
        loads: bytes of every module that was compiled, in order.
        live: guests that are alive.
        live_guests: how many there may be.
        compiling: what every module waits for while it is compiled; set at first.
        opening: what every guest waits for while it starts; set at first.
    """

    def __init__(self, live_guests: int = 100) -> None:
        self.programs: dict[bytes, Mapping[str, Function]] = {}
        self.loads: list[bytes] = []
        self.live = 0
        self.live_guests = live_guests
        self.compiling, self.opening = trio.Event(), trio.Event()
        self.compiling.set()
        self.opening.set()

    def program(self, functions: Mapping[str, Function], **more: Any) -> bytes:
        """The bytes of a module that runs these functions."""
        wasm = module(*functions, **more)
        self.programs[wasm] = functions
        return wasm

    async def load(
        self,
        wasm: bytes,
        *,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, bytes] | None = None,
        plugin: str | None = None,
    ) -> FakeProgram:
        self.loads.append(wasm)
        await self.compiling.wait()
        await trio.lowlevel.checkpoint()
        if wasm not in self.programs:
            raise RejectedError("no module that this engine runs", plugin=plugin)
        return FakeProgram(self, wasm, functions)


class FakeProgram:
    def __init__(self, engine: FakeEngine, wasm: bytes, functions: Sequence[HostFunction]) -> None:
        self.engine = engine
        self.functions = engine.programs[wasm]
        self.host_functions = functions
        self.closed = False
        self._digest = hashlib.sha256(wasm).hexdigest()

    @property
    def digest(self) -> str:
        return self._digest

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        session = await self.open(options)
        try:
            return await session.call(function, data, options)
        finally:
            await session.aclose()

    async def open(self, options: CallOptions) -> FakeSession:
        if self.closed:
            raise UsageError("the program is closed", plugin=options.plugin)
        await self.engine.opening.wait()
        if self.engine.live >= self.engine.live_guests:
            raise BusyError("no guest was free", bound="live guests", plugin=options.plugin)
        self.engine.live += 1
        return FakeSession(self, options)

    def close(self) -> None:
        self.closed = True


class FakeSession:
    def __init__(self, program: FakeProgram, options: CallOptions) -> None:
        self.program = program
        self.guest = FakeGuest(program.host_functions, options.rights)
        self.ended: str | None = None
        self.open = True
        self.spent = False

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        where = {"plugin": options.plugin, "function": function}
        if self.ended is not None:
            raise GuestError(f"the guest has ended: {self.ended}", **where)
        if function not in self.program.functions:
            raise UsageError(f"the plugin exports no function {function!r}", **where)
        guest, limits = self.guest, options.limits
        guest.usage, guest.config = Usage(bytes_in=len(data)), options.config
        try:
            if len(data) > limits.input:
                raise LimitError("the input is too large", limit="input", value=limits.input, used=len(data))
            with trio.move_on_after(limits.wall) as scope:
                output = await self.program.functions[function](guest, data)
            if scope.cancelled_caught:
                raise LimitError("the call took too long", limit="wall", value=limits.wall, used=limits.wall)
            if len(output) > limits.output:
                raise LimitError("the output is too large", limit="output", value=limits.output, used=len(output))
        except BaseException as error:
            # A guest that reports an error in good order lives on; anything else ends it.
            self.spent = not (isinstance(error, GuestError) and error.code is not None)
            self.ended = (str(error) or type(error).__name__) if self.spent else None
            if isinstance(error, InnkeeperError):
                error.plugin = error.plugin or options.plugin
                error.function = error.function or function
                error.usage = guest.usage
            raise
        guest.usage.bytes_out = len(output)
        return Result(output, guest.usage)

    async def aclose(self) -> None:
        if self.open:
            self.open = False
            self.program.engine.live -= 1
