"""Clocks, and waiting."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from innkeeper.sandbox.wasi.clocks import RESOLUTION, ClockId
from innkeeper.sandbox.wasi.descriptors import Input
from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.functions import I32, I64, Later, function
from innkeeper.sandbox.wasi.memory import GuestMemory, check_range, write_u32, write_u64
from innkeeper.sandbox.wasi.state import Wasi

_MAX_SUBSCRIPTIONS = 256
"""More than a guest has descriptors and use for timers; what one call costs trio's thread stays under 1 ms."""

_SUBSCRIPTION = Struct("<QB7xI4xQQH6x")
_EVENT = Struct("<QHBxxxxxQH6x")
_ABSTIME = 1
_HANGUP = 1
_CLOCK, _FD_READ, _FD_WRITE = range(3)


def _clock_id(number: int) -> ClockId:
    try:
        return ClockId(number)
    except ValueError:
        raise WasiError(Errno.INVAL) from None


@function(I32, I32)
def clock_res_get(wasi: Wasi, memory: GuestMemory, clock: int, result: int) -> int:
    """The resolution of a clock."""
    _clock_id(clock)
    write_u64(memory, result, RESOLUTION)
    return Errno.SUCCESS


@function(I32, I64, I32)
def clock_time_get(wasi: Wasi, memory: GuestMemory, clock: int, precision: int, result: int) -> int:
    """What a clock shows."""
    write_u64(memory, result, wasi.clock.now(_clock_id(clock)))
    return Errno.SUCCESS


@dataclass(frozen=True, slots=True)
class _Wait:
    """One subscription, and what is known of it before the wait: how long it is, and how it will be answered."""

    userdata: int
    kind: int
    duration: int = 0
    error: Errno = Errno.SUCCESS
    flags: int = 0

    def event(self) -> bytes:
        ready = int(self.kind != _CLOCK and self.error is Errno.SUCCESS and not self.flags)
        return _EVENT.pack(self.userdata, self.error, self.kind, ready, self.flags)


def _parse(wasi: Wasi, userdata: int, kind: int, number: int, timeout: int, flags: int) -> _Wait:
    if kind not in (_CLOCK, _FD_READ, _FD_WRITE):
        raise WasiError(Errno.INVAL)
    try:
        if kind == _CLOCK:
            clock = _clock_id(number)
            now = wasi.clock.now(clock) if flags & _ABSTIME else 0
            return _Wait(userdata, kind, duration=max(0, timeout - now))
        # Regular files and the standard streams are always ready; standard input is at its end.
        descriptor = wasi.descriptors.get(number)
        return _Wait(userdata, kind, flags=_HANGUP if isinstance(descriptor, Input) else 0)
    except WasiError as error:
        return _Wait(userdata, kind, error=error.errno)


@function(I32, I32, I32, I32, asynchronous=True)
def poll_oneoff(
    wasi: Wasi, memory: GuestMemory, subscriptions: int, events: int, count: int, result: int
) -> int | Later:
    """Waits until the first subscription is due, and answers all that are due then."""
    if not 0 < count <= _MAX_SUBSCRIPTIONS:
        return Errno.INVAL
    check_range(memory, events, count * _EVENT.size)
    check_range(memory, result, 4)

    async def rest() -> int:
        waits = [
            _parse(wasi, userdata, kind, number, timeout, flags)
            for userdata, kind, number, timeout, _, flags in _SUBSCRIPTION.iter_unpack(
                memory.read(subscriptions, count * _SUBSCRIPTION.size)
            )
        ]
        shortest = min(wait.duration for wait in waits)
        await wasi.clock.sleep(shortest)
        due = [wait.event() for wait in waits if wait.duration <= shortest]
        memory.write(events, b"".join(due))
        write_u32(memory, result, len(due))
        return Errno.SUCCESS

    return rest
