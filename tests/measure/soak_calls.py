"""Every ending of a call, and how often each is wanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import trio

import innkeeper
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.limits import GIB, KIB, MIB, Limits

from . import soak_guests as guests
from .soak_inn import BOUNDS, USUAL, Inn, ask

_SMALL, _MIDDLE, _LARGE = b"x" * 64, bytes(64 * KIB), bytes(MIB)
_TOO_MUCH = bytes(BOUNDS.bytes_in_flight + 1)

_ONE_MS_CPU = replace(USUAL, cpu=0.001)
_WALL = replace(USUAL, wall=0.002)
_HOST_CALL = replace(USUAL, host_call=0.001)
_LITTLE_OUTPUT = replace(USUAL, output=1024)
_LITTLE_INPUT = replace(USUAL, input=16)
_WIDE_INPUT = replace(USUAL, input=64 * MIB)
_WIDE_MEMORY = replace(USUAL, memory=GIB)
_PATIENCE = replace(USUAL, wall=0.003)
_LONG = replace(USUAL, wall=0.008)

OK = "a result"
CANCELLED = "cancelled"
_QUEUED = ("busy: calls per plugin",)
"""What a call of milliseconds ends with if all of them went by in the queue."""


@dataclass(frozen=True, slots=True)
class Ending:
    """One way in which a call ends.

    Attributes:
        name: of it.
        share: times that it is in a deck of cards.
        play: makes it happen, with one call or a few.
        wanted: what its calls end with.
    """

    name: str
    share: int
    play: Callable[[Inn, str], Awaitable[object]]
    wanted: str = OK


def _call(
    name: str,
    share: int,
    plugin: str,
    function: str,
    data: bytes = b"",
    limits: Limits = USUAL,
    wanted: str = OK,
    also: tuple[str, ...] = (),
) -> Ending:
    async def play(inn: Inn, ending: str) -> None:
        await inn.attempt(ending, inn.call(getattr(inn, plugin, plugin), function, data, limits), wanted, *also)

    return Ending(name, share, play, wanted)


async def _session(inn: Inn, name: str) -> None:
    program = await inn.asks.compile()
    session = await program.open(CallOptions(USUAL))
    try:
        for _ in range(3):
            await inn.attempt(name, session.call("echo", _SMALL, CallOptions(USUAL)), OK)
    finally:
        await session.aclose()


async def _cancelled(inn: Inn, name: str, called: Awaitable[object], number: int) -> None:
    inn.calls += 1
    with trio.CancelScope() as scope:
        inn.scopes[number] = scope
        await called
    del inn.scopes[number]
    _judge(inn, name, scope)


def _judge(inn: Inn, name: str, scope: trio.CancelScope) -> None:
    ended = CANCELLED if scope.cancelled_caught else OK
    inn.happened[name, ended] += 1
    if ended != CANCELLED:
        inn.surprise(f"{name}: {ended}")


async def _cancelled_waiting(inn: Inn, name: str) -> None:
    number = inn.calls
    await _cancelled(inn, name, inn.call(inn.asks, "ask", ask(guests.CANCEL_AND_WAIT, number)), number)


async def cancelled_while_it_goes_on(inn: Inn, plugin: innkeeper.Plugin) -> None:
    """A host function cancels its call, and the guest spins: it is on trio's thread if it was quick before."""
    number = inn.calls
    called = inn.call(plugin, "ask", ask(guests.CANCEL_AND_GO_ON, number))
    await _cancelled(inn, "cancelled on trio's thread", called, number)


async def _cancelled_on_a_worker(inn: Inn, name: str) -> None:
    inn.calls += 1
    with trio.move_on_after(0.002) as scope:
        await inn.call("ends", "spin")
    _judge(inn, name, scope)


async def _cancelled_before(inn: Inn, name: str) -> None:
    inn.calls += 1
    with trio.CancelScope() as scope:
        scope.cancel()
        await inn.call("ends", "echo", _SMALL)
    _judge(inn, name, scope)


async def _spent(inn: Inn, name: str) -> None:
    # One guest for all tasks: another may have ended it, or restarted it, meanwhile.
    await inn.attempt(name, inn.call(inn.fragile, "count"), OK, "an ended guest")
    await inn.attempt(name, inn.call(inn.fragile, "trap"), "a trap", "an ended guest")
    await inn.attempt(name, inn.call(inn.fragile, "count"), "an ended guest", OK)
    await inn.fragile.restart()


async def _busy_guest(inn: Inn, name: str) -> None:
    if inn.single_taken:
        # By another card.
        await trio.lowlevel.checkpoint()
        return
    inn.single_taken, inn.single_holds = True, trio.Event()

    async def hold() -> None:
        try:
            await inn.attempt("a shared guest that waits", inn.call(inn.single, "ask", ask(guests.HOLD, 10)), OK)
        finally:
            inn.single_holds.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await inn.single_holds.wait()
        called = inn.call(inn.single, "echo", _SMALL, _PATIENCE)
        # On a machine that stood still meanwhile it may be free, with too little time left to do anything.
        await inn.attempt(name, called, "busy: shared guest", OK, "limit wall", *_QUEUED)
    await inn.single.restart()
    inn.single_taken = False


async def _crowd(inn: Inn, name: str) -> None:
    """Fills the bound of one plugin's calls; some more wait there, to their deadline or until they are cancelled."""

    async def spin() -> None:
        await inn.attempt(
            "a crowd that spins", inn.call(inn.crowd, "spin", limits=_LONG), "limit wall", "busy: calls per plugin"
        )

    async def wait() -> None:
        await inn.attempt(
            name, inn.call(inn.crowd, "echo", _SMALL, _PATIENCE), "busy: calls per plugin", OK, "limit wall"
        )

    async def give_up() -> None:
        inn.calls += 1
        with trio.move_on_after(0.002) as scope:
            await inn.call(inn.crowd, "echo", _SMALL)
        inn.happened["cancelled in the queue", CANCELLED if scope.cancelled_caught else OK] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(BOUNDS.calls_per_plugin):
            nursery.start_soon(spin)
        await trio.sleep(0.001)
        for _ in range(3):
            nursery.start_soon(wait)
            nursery.start_soon(give_up)


async def _granted(inn: Inn, name: str) -> None:
    await inn.attempt(name, inn.call("granted", "setting", b"room", config={"room": "1"}), OK)


async def _comes_and_goes(inn: Inn, name: str) -> None:
    plugin = inn.host.plugins.get("guest")
    if plugin is None:
        await trio.lowlevel.checkpoint()
    else:
        await inn.attempt(name, plugin.call("echo", _SMALL), OK, "usage")


ENDINGS = (
    _call("64 bytes in and out", 960, "ends", "echo", _SMALL),
    _call("64 KiB in and out", 20, "ends", "echo", _MIDDLE),
    _call("1 MiB in and out", 2, "ends", "echo", _LARGE),
    _call("a shared guest", 340, "keeps", "count"),
    _call("a shared guest of the home", 40, "stays", "count"),
    Ending("a session of three calls", 10, _session),
    _call("a host function, at once", 140, "asks", "ask", ask(guests.NOW)),
    _call("a host function that awaits", 60, "asks", "ask", ask(guests.LATER)),
    _call("a host function of bytes, at once", 40, "asks", "tell", ask(guests.NOW) + _SMALL),
    _call("a host function of bytes that awaits", 40, "asks", "tell", ask(guests.LATER) + _SMALL),
    _call("a host function that raises", 30, "asks", "ask", ask(guests.RAISE), wanted="what a host function raised"),
    _call("a slow host function", 3, "asks", "ask", ask(guests.NEVER), _HOST_CALL, "limit host_call"),
    _call("the wall limit in a host function", 3, "asks", "ask", ask(guests.NEVER), _WALL, "limit wall", _QUEUED),
    _call("linked modules", 20, "linked", "half"),
    _call("linked modules, a trap", 5, "linked", "trap", wanted="a trap"),
    _call("logs, variables, random bytes", 20, "ends", "talk", _SMALL),
    _call("error_set", 50, "ends", "error", b"no room", wanted="code 1"),
    _call("a return code", 40, "ends", "code", wanted="code 7"),
    _call("a trap", 40, "ends", "trap", wanted="a trap"),
    _call("proc_exit(3)", 15, "ends", "exit", wanted="an exit"),
    _call("proc_exit(0)", 15, "ends", "done"),
    _call("no such function", 5, "ends", "nothing", wanted="usage"),
    _call("stack overflow", 5, "rough", "deep", wanted="limit stack"),
    _call("out of memory", 10, "rough", "grow", wanted="limit memory"),
    _call("out of the kernel's memory", 3, "rough", "hoard", wanted="limit kernel_memory"),
    _call("the host out of memory", 2, "rough", "leap", b"", _WIDE_MEMORY, "busy: guest memory"),
    _call("the cpu limit", 2, "rough", "spin", b"", _ONE_MS_CPU, "limit cpu"),
    _call("the wall limit in a loop", 2, "rough", "spin", b"", _WALL, "limit wall", _QUEUED),
    _call("the output limit", 15, "ends", "large", b"", _LITTLE_OUTPUT, "limit output"),
    _call("the input limit", 5, "ends", "echo", _SMALL, _LITTLE_INPUT, "limit input"),
    _call("more bytes than may be in flight", 2, "ends", "echo", _TOO_MUCH, _WIDE_INPUT, "busy: bytes in flight"),
    _call("a start function that traps", 3, "stillborn", "echo", wanted="rejected"),
    _call("a start function without an end", 1, "endless", "echo", b"", _ONE_MS_CPU, "limit cpu"),
    _call("a slow start", 2, "slow", "echo", _SMALL),
    Ending("cancelled before", 5, _cancelled_before, CANCELLED),
    Ending("cancelled in a host function", 20, _cancelled_waiting, CANCELLED),
    Ending("cancelled on a worker", 2, _cancelled_on_a_worker, CANCELLED),
    Ending("a shared guest that is spent", 2, _spent, "a trap"),
    Ending("a shared guest that is not free", 1, _busy_guest, "busy: shared guest"),
    Ending("no room among a plugin's calls", 1, _crowd, "busy: calls per plugin"),
    _call("a file that changes", 15, "swings", "say"),
    Ending("a grant that changes", 10, _granted),
    Ending("a plugin that comes and goes", 10, _comes_and_goes),
)
"""What the deck is made of: with the calls that some cards make, about 2,000."""

OTHERS = (
    ("a shared guest that waits", OK),
    ("a crowd that spins", "limit wall"),
    ("cancelled in the queue", CANCELLED),
    ("loaded from bytes", OK),
    ("loaded with modules", OK),
    ("cancelled on trio's thread", CANCELLED),
)
"""What happens beside: (name, what it ends with)."""


def deck(inn: Inn) -> list[Ending]:
    """A deck of all endings, shuffled."""
    cards = [ending for ending in ENDINGS for _ in range(ending.share)]
    inn.random.shuffle(cards)
    return cards
