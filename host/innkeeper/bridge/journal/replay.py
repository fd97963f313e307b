"""Runs a recorded call again: with its module or another one, and with no service, file, clock or network behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import trio

from innkeeper.bridge.extism_http import extism_functions
from innkeeper.bridge.journal.keeper import ending_of
from innkeeper.bridge.journal.model import OUTPUT, Ending, Journal
from innkeeper.bridge.journal.player import Departure, Player, StoppedError
from innkeeper.bridge.offer import operations
from innkeeper.errors import InnkeeperError, UsageError
from innkeeper.sandbox import kernel
from innkeeper.sandbox.interface import CallOptions, Engine, HostFunction, Value
from innkeeper.sandbox.known import look
from innkeeper.sandbox.limits import CEILING, Limits
from innkeeper.sandbox.module_info import Signature
from innkeeper.sandbox.usage import Usage
from innkeeper.sandbox.wasi import WASI_MODULE

_PATIENCE: Final = 10.0
"""How much more processor time a guest may take than when it was recorded: this machine may be a slower one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the guest did otherwise.

    Attributes:
        what: "output", "log" or "outcome".
        recorded: what the journal has.
        now: what it is this time.
    """

    what: str
    recorded: bytes | str
    now: bytes | str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a call that was run again.

    Attributes:
        calls: how many calls of the host were the same, before the guest departed if it did.
        recorded: how many the journal has.
        departure: at which it departed, or None.
        differences: of the end, where all calls were the same.
        whole: whether the journal holds the call to its end; one that a clock, the caller, or a defect ended does not,
            and there is nothing to compare its end with.
        ending: how the guest ended this time; None: it was stopped at a departure, or where the journal ends.
    """

    calls: int
    recorded: int
    departure: Departure | None
    differences: tuple[Difference, ...]
    whole: bool
    ending: Ending | None

    @property
    def same(self) -> bool:
        """Whether all that the journal holds was the same bit for bit (bool)."""
        return self.departure is None and not self.differences


async def replay(journal: Journal, wasm: bytes, engine: Engine, *, ceiling: Limits = CEILING) -> Verdict:
    """Runs a recorded call again.

    Args:
        journal: of the call.
        wasm: the module: that of the journal, or a changed one.
        engine: records and plays back, which the one of the extism package does not.
        ceiling: the most that limits may be: a journal may come from anywhere.

    Raises:
        UsageError: the journal cannot be run again, its limits are above the ceiling, it does not fit together, or the
            module has no such function.
        RejectedError: the module is not one that this host runs.
        LimitError: it took far longer than it did when it was recorded.
        BusyError: a host-wide bound was not free.
    """
    if journal.why_not:
        raise UsageError(f"the journal cannot be run again: {journal.why_not}")
    limits = _limits(journal, ceiling)
    functions = await trio.to_thread.run_sync(_functions, journal, wasm)
    program = await engine.load(wasm, functions=functions, plugin=journal.plugin)
    player = Player(journal)
    options = CallOptions(limits, dict(journal.config), journal.plugin, tape=player)
    ending: Ending | None
    usage = Usage()
    try:
        result = await program.call(journal.function, journal.input, options)
        ending, usage = Ending(OUTPUT, output=result.output), result.usage
    except StoppedError:
        ending = None
    except InnkeeperError as error:
        ending = ending_of(error)
        if isinstance(error, UsageError) or (ending.outside and not journal.ending.outside):
            # It says nothing of the guest.
            raise
        if isinstance(error.usage, Usage):
            usage = error.usage
    except (TypeError, OverflowError) as error:
        raise UsageError(f"the journal's answer to call {player.position} fits no function: {error}") from None
    finally:
        program.close()
    if ending is not None and not ending.outside:
        player.finish()
    whole = not journal.ending.outside
    differences: tuple[Difference, ...] = ()
    if ending is not None and player.departure is None and whole:
        differences = _compare(journal, ending, usage)
    return Verdict(player.position, len(journal.calls), player.departure, differences, whole, ending)


def _limits(journal: Journal, ceiling: Limits) -> Limits:
    given: Mapping[str, Any] = journal.limits
    limits = Limits(**given)
    # What is played back waits for nothing, and how fast a machine is must not be what departs.
    patient = replace(
        limits,
        wall=ceiling.wall,
        host_call=ceiling.host_call,
        cpu=max(limits.cpu, min(limits.cpu * _PATIENCE, ceiling.cpu)),
    )
    if journal.ending.limit == "cpu":
        patient = replace(patient, cpu=limits.cpu)
    try:
        return patient.within(ceiling)
    except UsageError as error:
        raise UsageError(f"the journal has {error.message}; innkeeper.toml can raise them") from None


def _functions(journal: Journal, wasm: bytes) -> list[HostFunction]:
    """A function for each that the module imports: of the type that the journal says, or else the bridge, or else the
    module itself."""
    recorded = {(each.namespace, each.name): (each.parameters, each.result) for each in journal.functions}
    usual: dict[tuple[str, str], tuple[Sequence[Value], Value | None]] = {
        (_USER, each.import_name): ((Value.BYTES,), Value.BYTES) for each in operations()
    }
    # The bridge puts all of them in the place of the ABI's own, for a plugin that requests `http`, or none.
    replaced = {(each.namespace, each.name): each for each in extism_functions(HostFunction("", _never))}
    if not replaced.keys().isdisjoint(recorded) or any(each.partition(":")[0] == "http" for each in journal.rights):
        usual |= {key: (each.parameters, each.result) for key, each in replaced.items()}
    found: dict[tuple[str, str], HostFunction] = {}
    for item in look(wasm, plugin=journal.plugin, size_limit=len(wasm)).info.imports:
        key = item.module, item.name
        signature = item.signature
        # What the engine itself has, or refuses, needs nothing of ours.
        own = item.module in _OWN and key not in usual
        if signature is None or own or len(signature[1]) > 1:
            continue
        for types in (recorded.get(key), usual.get(key), _plain(signature)):
            if types is not None:
                function = HostFunction(item.name, _never, types[0], types[1], item.module)
                if kernel.guest_signature(function) == signature:
                    found[key] = function
                    break
    return list(found.values())


_USER: Final = "extism:host/user"
_OWN: Final = frozenset({kernel.ENV, kernel.INNER, WASI_MODULE})
_NUMBERS: Final = {value.value: value for value in Value if value is not Value.BYTES}


def _plain(signature: Signature) -> tuple[tuple[Value, ...], Value | None] | None:
    parameters, results = signature
    if not {*parameters, *results} <= _NUMBERS.keys():
        return None
    return tuple(_NUMBERS[each] for each in parameters), _NUMBERS[results[0]] if results else None


async def _never(*_: object) -> bytes:
    raise StoppedError("nothing is behind a function that is played back")


def _compare(journal: Journal, ending: Ending, usage: Usage) -> tuple[Difference, ...]:
    recorded = journal.ending
    found = []
    if _end(recorded) != _end(ending):
        found.append(Difference("outcome", _words(recorded), _words(ending)))
    elif recorded.output != ending.output:
        found.append(Difference("output", recorded.output, ending.output))
    log = [f"[{level}] {text}" for level, text in usage.log]
    before = [f"[{level}] {text}" for level, text in journal.log]
    if (before, journal.log_dropped) != (log, usage.log_dropped):
        both = zip(before, log, strict=False)
        at = next((at for at, (one, other) in enumerate(both) if one != other), min(len(before), len(log)))
        found.append(Difference("log", _line(before, at), _line(log, at)))
    return tuple(found)


def _end(ending: Ending) -> tuple[str, str, str | None, int | None]:
    # How long a guest took is said in words, and is never the same.
    return ending.kind, "" if ending.limit == "cpu" else ending.message, ending.limit, ending.code


def _words(ending: Ending) -> str:
    return ending.kind if ending.kind == OUTPUT else f"{ending.kind}: {ending.message}"


def _line(lines: Sequence[str], at: int) -> str:
    return f"line {at + 1}: {lines[at]}" if at < len(lines) else f"{len(lines)} lines"
