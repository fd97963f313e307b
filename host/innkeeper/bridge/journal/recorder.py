"""Records what one call asks of the host and is answered: exactly what its guest sees, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgpack

from innkeeper.bridge.journal.model import AskedFunction, Given, HostCall, Printed, Raised, Wrote
from innkeeper.bridge.journal.pieces import call_value
from innkeeper.bridge.journal.room import Share
from innkeeper.sandbox.interface import Answer, HostFunction, Value
from innkeeper.sandbox.present import Logged, present_call
from innkeeper.sandbox.wasi import WASI_MODULE
from innkeeper.sandbox.wasi.questions import LIVE, PRINTS, WatchedMemory, question

if TYPE_CHECKING:
    from innkeeper.sandbox.wasi import GuestMemory, Later, Wasi, WasiFunction

TOO_LONG: Final = "it asked and was answered more than one journal may hold"
NO_ROOM: Final = "the journals of all calls under way took more memory than they may"

_CALL: Final = 256
"""Bytes that a call counts beside what it carries: what Python takes for it, and more than it takes in a journal."""

_VALUE: Final = 32
_SMALL: Final = 1024
"""Bytes of a call that is packed at once, in some 2 us."""

_STEP: Final = 256 * 1024
"""Bytes that are taken beforehand at most of what all journals may have."""


class Recorder:
    """Implements `sandbox.tape.Tape`.

    Attributes:
        calls: what was asked so far, for `write_journal`; empty once it is lost. What is answered is packed, if it is
            small: a guest may make very many calls, and the interpreter's garbage collector, which stops all threads,
            looks at each object of each of them as long as there are objects.
        functions: of which.
        real: whether its guest's WASI showed anything of the real world; None: it did not ask.
        lost: why it is not all there, a sentence, or None.
    """

    def __init__(self, share: Share, most: int) -> None:
        """Args:
        share: bytes that all journals of the plugin may have until they are written.
        most: bytes that this one may have.
        """
        self.calls: list[HostCall | bytes] = []
        self.functions: dict[tuple[str, str], tuple[int, AskedFunction]] = {}
        self.real: bool | None = None
        self.lost: str | None = None
        self._share = share
        self._most = most
        self._used = 0
        self._taken = 0

    # --- as `Tape` --------------------------------------------------------------------------------------------------

    def asks(self, function: HostFunction) -> Callable[..., Awaitable[Answer]]:
        """As `Tape.asks`."""

        async def ask(*values: Any) -> Any:
            call = self._begin(function, values)
            present = present_call()
            mark = None if present is None else present.log_mark()
            try:
                value = await function.answer(*values)
            except Exception:
                call.answer = Raised()
                raise
            logged = None if present is None or mark is None else present.logged_since(mark)
            return self._given(call, function, value, logged)

        return ask

    def quick(self, function: HostFunction, values: Sequence[Any]) -> Any:
        """As `Tape.quick`."""
        call = self._begin(function, values)
        try:
            value: Any = function.handler(*values)
        except Exception:
            call.answer = Raised()
            raise
        return self._given(call, function, value)

    def system(self, function: WasiFunction, wasi: Wasi, memory: GuestMemory, arguments: Sequence[int]) -> int | Later:
        """As `Tape.system`."""
        name = function.name
        if name in LIVE:
            return function.handler(wasi, memory, *arguments)
        self.real = wasi.real
        if not self.real:
            return function.handler(wasi, memory, *arguments)
        asked = question(name, memory, arguments)
        stream = wasi.stream(arguments[0]) if name == PRINTS else None
        call = self._add(WASI_MODULE, name, AskedFunction(WASI_MODULE, name), asked.asked)
        watched = WatchedMemory(memory, asked.places)
        outcome = function.handler(wasi, watched, *arguments)

        def answered(errno: int) -> int:
            if stream is not None and not errno:
                self._answered(call, Printed(stream))
            else:
                size = sum(_VALUE * 4 + len(data) for _, _, data in watched.written)
                if self.take(size):
                    self._answered(call, Wrote(errno, tuple(watched.written)), size)
            return errno

        if isinstance(outcome, int):
            return answered(outcome)
        rest = outcome

        async def later() -> int:
            return answered(await rest())

        return later

    # --- its size ---------------------------------------------------------------------------------------------------

    def take(self, size: int) -> bool:
        """Counts so many bytes more; False, and all is forgotten, where there are too many."""
        if self.lost is not None:
            return False
        self._used += size
        if self._used > self._most:
            self._lose(TOO_LONG)
        elif self._used > self._taken:
            # Twice what it was: a long one asks seldom, and a short one takes little.
            step = min(max(self._used - self._taken, min(self._taken, _STEP)), self._most - self._taken)
            if self._share.take_now(step):
                self._taken += step
            else:
                self._lose(NO_ROOM)
        return self.lost is None

    def release(self) -> None:
        """Gives back what it took: it is written, or not wanted."""
        taken, self._taken = self._taken, 0
        if taken:
            self._share.give(taken)

    def give_away(self) -> int:
        """The bytes that it counts (int), which are the caller's to give back from now on."""
        size = min(self._used, self._taken)
        self._taken -= size
        self.release()
        return size

    def _lose(self, why: str) -> None:
        self.lost = why
        self.calls.clear()
        self.release()

    # --- calls ------------------------------------------------------------------------------------------------------

    def _begin(self, function: HostFunction, values: Sequence[Any]) -> HostCall:
        known = AskedFunction(function.namespace, function.name, tuple(function.parameters), function.result)
        return self._add(function.namespace, function.name, known, list(values))

    def _add(self, namespace: str, name: str, function: AskedFunction, asked: list[Any]) -> HostCall:
        number, _ = self.functions.setdefault((namespace, name), (len(self.functions), function))
        call = HostCall(number, asked)
        if self.take(_CALL + sum(map(_size, asked))):
            self.calls.append(call)
        return call

    def _given(self, call: HostCall, function: HostFunction, value: Any, logged: Logged | None = None) -> Any:
        """The answer, as it is kept: what a handler does with its own buffer later changes nothing."""
        kept = _plain(function, value)
        if kept is _WRONG:
            # The engine says so, and ends the call.
            call.answer = Raised()
            return value
        lines = () if logged is None else logged.lines
        size = _size(kept) + sum(_VALUE * 4 + len(text) for _, text in lines)
        if self.take(size):
            self._answered(call, Given(kept, logged), size)
        return kept

    def _answered(self, call: HostCall, answer: Given | Wrote | Printed, size: int = 0) -> None:
        call.answer = answer
        # Nothing large is copied here.
        if size + sum(map(_size, call.asked)) <= _SMALL and self.calls and self.calls[-1] is call:
            with suppress(TypeError, OverflowError):
                self.calls[-1] = msgpack.packb(call_value(call))


_WRONG: Final = object()


def _plain(function: HostFunction, value: Any) -> Any:
    if function.result is None:
        return None
    if function.result is Value.BYTES:
        if value is None:
            return b""
        try:
            return value if value.__class__ is bytes else bytes(memoryview(value))
        except TypeError:
            return _WRONG
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 64 else _WRONG
    return float(value) if isinstance(value, float) else _WRONG


def _size(value: Any) -> int:
    if isinstance(value, bytes):
        return _VALUE + len(value)
    return _VALUE * (1 + len(value)) if isinstance(value, list) else _VALUE
