"""Answers a guest from a journal, and stops it where it asks for something else."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from innkeeper.bridge.journal.model import Given, HostCall, Journal, Printed, Wrote
from innkeeper.sandbox.interface import Answer, HostFunction
from innkeeper.sandbox.present import present_call
from innkeeper.sandbox.wasi import WASI_MODULE
from innkeeper.sandbox.wasi.questions import LIVE, PRINTS, question, write_again

if TYPE_CHECKING:
    from innkeeper.sandbox.wasi import GuestMemory, Later, Wasi, WasiFunction


@dataclass(frozen=True, slots=True)
class Asked:
    """What a guest asked.

    Attributes:
        name: of the function.
        values: the arguments.
        namespace: of the function.
    """

    name: str
    values: Sequence[Any]
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a guest asked for something else than the journal has.

    Attributes:
        number: of the call, from 1.
        recorded: what the journal has there; None: no further call.
        now: what the guest asked; None: it ended instead.
        answer_fits: False: it asked for the same, and what was answered does not fit into what it gave for it.
    """

    number: int
    recorded: Asked | None
    now: Asked | None
    answer_fits: bool = True


class StoppedError(Exception):
    """The guest is not needed any more: it departed from the journal, or came to its end."""


class Player:
    """Implements `sandbox.tape.Tape`.

    Attributes:
        position: calls that were the same so far.
        departure: where the guest departed, or None.
        ended: whether the guest came to where the journal ends before the call did.
    """

    def __init__(self, journal: Journal) -> None:
        self.position = 0
        self.departure: Departure | None = None
        self.ended = False
        self._journal = journal

    # --- as `Tape` --------------------------------------------------------------------------------------------------

    def asks(self, function: HostFunction) -> Callable[..., Awaitable[Answer]]:
        """As `Tape.asks`."""

        async def ask(*values: Any) -> Any:
            return self.quick(function, values)

        return ask

    def quick(self, function: HostFunction, values: Sequence[Any]) -> Any:
        """As `Tape.quick`."""
        call = self._next(Asked(function.name, list(values), function.namespace))
        answer = call.answer
        if not isinstance(answer, Given):
            raise self._end()
        self.position += 1
        present = present_call()
        if answer.logged is not None and present is not None:
            present.log_again(answer.logged)
        return answer.value

    def system(self, function: WasiFunction, wasi: Wasi, memory: GuestMemory, arguments: Sequence[int]) -> int | Later:
        """As `Tape.system`."""
        name = function.name
        if name in LIVE or not self._journal.real:
            return function.handler(wasi, memory, *arguments)
        asked = question(name, memory, arguments)
        now = Asked(name, asked.asked, WASI_MODULE)
        call = self._next(now)
        answer = call.answer
        if isinstance(answer, Printed) and name == PRINTS:
            self.position += 1
            # Its own log, whichever number it has for it.
            return function.handler(wasi, memory, answer.stream, *arguments[1:])
        if not isinstance(answer, Wrote):
            raise self._end()
        if not write_again(memory, asked.places, answer.written):
            raise self._depart(Departure(self.position + 1, now, now, answer_fits=False))
        self.position += 1
        return answer.errno

    # --- the journal ------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The guest has ended by itself: had it not more to ask?"""
        if self.departure is None and not self.ended and self.position < len(self._journal.calls):
            self.departure = Departure(self.position + 1, self._recorded(), None)

    def _next(self, now: Asked) -> HostCall:
        if self.position >= len(self._journal.calls):
            if self._journal.ending.outside:
                raise self._end()
            raise self._depart(Departure(self.position + 1, None, now))
        recorded = self._recorded()
        if (recorded.namespace, recorded.name) != (now.namespace, now.name) or not same(recorded.values, now.values):
            raise self._depart(Departure(self.position + 1, recorded, now))
        return self._journal.calls[self.position]

    def _recorded(self) -> Asked:
        call = self._journal.calls[self.position]
        function = self._journal.functions[call.function]
        return Asked(function.name, call.asked, function.namespace)

    def _depart(self, departure: Departure) -> StoppedError:
        self.departure = departure
        return StoppedError("departed")

    def _end(self) -> StoppedError:
        self.ended = True
        return StoppedError("ended")


_FLOAT: Final = struct.Struct("<d")


def same(one: Any, other: Any) -> bool:
    """Whether two arguments, or lists of them, are the same bit for bit (bool): no zero is another zero, and a NaN is
    itself."""
    if one.__class__ is not other.__class__:
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return _FLOAT.pack(one) == _FLOAT.pack(other)
    return bool(one == other)
