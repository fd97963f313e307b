"""The oracle keeps what every engine promises, and its processes are bounded, killed and reaped."""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import test_interface
from guests import GIVES, NOTHING, SPIN, assemble, gives, host_function, number, run, wat
from innkeeper.cli.main import invoke
from innkeeper.errors import BusyError, GuestError, InnkeeperError, InternalError, LimitError, RejectedError, UsageError
from innkeeper.sandbox import capi
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.oracle import call, confine, faults, process, wire
from innkeeper.sandbox.oracle.engine import ExtismEngine, open_oracle
from innkeeper.sandbox.oracle.events import Events
from innkeeper.sandbox.oracle.lines import KeptLines
from innkeeper.sandbox.oracle.process import Worker
from innkeeper.sandbox.oracle.program import ExtismProgram

BOUNDS = Bounds(workers=2)
OPTIONS = CallOptions(Limits(wall=60.0), plugin="demo")


def children() -> set[int]:
    """Process ids of this process's children that have not been reaped."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except OSError:
                continue
            if int(status.rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(entry.name))
    return found


def descriptors() -> list[str]:
    """What this process has open, without the look itself."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(f"{entry.name} {entry.readlink()}")
    return sorted(found)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@asynccontextmanager
async def oracle() -> AsyncIterator[ExtismEngine]:
    with trio.fail_after(60):
        async with open_oracle(BOUNDS) as engine:
            yield engine


async def load(engine: ExtismEngine, text: str, *functions: HostFunction) -> ExtismProgram:
    return await engine.load(assemble(text), functions=functions, plugin="demo")


def only_worker(engine: ExtismEngine) -> int:
    """Process id of the one worker that has a guest."""
    (worker,) = engine.pool._busy
    return worker.pid


# --- what every engine promises --------------------------------------------------------------------------------------

PROMISES = [promise for name, promise in vars(test_interface).items() if name.startswith("test_")]


@asynccontextmanager
async def _opener() -> AsyncIterator[tuple[ExtismEngine, bytes]]:
    async with oracle() as engine:
        yield engine, assemble(test_interface._GUEST)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__.removeprefix("test_"))
async def test_it_keeps_what_every_engine_promises(promise: Any) -> None:
    await promise(_opener)


# --- processes -------------------------------------------------------------------------------------------------------


async def test_a_worker_serves_the_next_guest_of_its_program_and_of_no_other() -> None:
    seen: list[int] = []

    async def note() -> None:
        seen.append(only_worker(engine))

    function = host_function(note)
    text = wat(run("(call $note)"), functions=[function])
    async with oracle() as engine:
        first = await load(engine, text, function)
        second = await load(engine, text, function)
        for program in (first, second, first, second):
            await program.call("run", b"", OPTIONS)
        assert seen[0] == seen[2] != seen[1] == seen[3]
        first.close()
        assert engine.pool.workers == 1


async def test_no_more_workers_wait_than_the_bound_allows() -> None:
    async with oracle() as engine:
        programs = [await load(engine, NOTHING) for _ in range(4)]
        assert engine.pool.workers == engine.pool.spare == 2
        for program in programs:
            await program.call("run", b"", OPTIONS)
        assert engine.pool.workers == 2


@pytest.mark.parametrize("limits", [Limits(wall=0.1), Limits(cpu=0.1, wall=60.0)], ids=["wall", "cpu"])
async def test_an_endless_loop_ends_and_its_process_with_it(limits: Limits) -> None:
    async with oracle() as engine:
        program = await load(engine, SPIN)
        with pytest.raises(LimitError) as caught:
            await program.call("run", b"", CallOptions(limits, plugin="demo"))
        assert caught.value.limit == ("wall" if limits.wall < 1 else "cpu")
        assert engine.pool.workers == 0


@pytest.mark.parametrize(("used", "limit", "soft"), [(0.0, 1.0, 2), (7.3, 0.5, 8), (7.3, 0.8, 9), (59.9, 60.0, 120)])
def test_processor_time_is_counted_from_the_call_on(
    monkeypatch: pytest.MonkeyPatch, used: float, limit: float, soft: int
) -> None:
    found: list[tuple[int, int]] = []
    before = resource.struct_rusage((used / 2, used / 2, *range(14)))
    monkeypatch.setattr(resource, "getrusage", lambda who: before)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (5, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: found.append(limits))
    confine.allow_cpu(limit)
    assert found == [(soft, resource.RLIM_INFINITY)]
    assert soft - used >= limit


async def test_a_call_that_is_cancelled_leaves_no_process_at_work() -> None:
    async with oracle() as engine:
        program = await load(engine, SPIN)
        with trio.move_on_after(0.1) as scope:
            await program.call("run", b"", OPTIONS)
        assert scope.cancelled_caught
        assert engine.pool.workers == 0


async def test_closing_the_engine_ends_guests_that_run() -> None:
    ended: list[type[BaseException]] = []
    begun = trio.Event()

    async def begin() -> None:
        begun.set()

    async def spin() -> None:
        try:
            await program.call("run", b"", CallOptions(Limits(cpu=50.0, wall=60.0)))
        except InnkeeperError as error:
            ended.append(type(error))

    function = host_function(begin)
    async with trio.open_nursery() as nursery:
        async with oracle() as engine:
            program = await load(engine, wat(run("(call $begin) (loop (br 0))"), functions=[function]), function)
            nursery.start_soon(spin)
            await begun.wait()
        with pytest.raises(UsageError):
            await load(engine, NOTHING)
    assert ended == [UsageError]


async def test_closing_the_engine_ends_a_load_and_does_not_blame_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    receive, begun = Worker.receive, trio.Event()

    async def received(worker: Worker, payload_max: int) -> tuple[dict[str, Any], bytes]:
        begun.set()
        return await receive(worker, payload_max)

    async def begin() -> None:
        with pytest.raises(UsageError, match="closed"):
            await load(engine, NOTHING)

    monkeypatch.setattr(Worker, "receive", received)
    async with trio.open_nursery() as nursery, lying(after=False) as engine:
        nursery.start_soon(begin)
        await begun.wait()


async def test_callers_wait_for_a_worker_until_their_deadline_and_are_then_told_that_the_host_is_busy() -> None:
    async with oracle() as engine:
        program = await load(engine, NOTHING)
        sessions = [await program.open(OPTIONS) for _ in range(engine.pool.places)]
        with pytest.raises(BusyError, match="extism workers") as caught:
            await program.call("run", b"", CallOptions(Limits(wall=0.05), plugin="demo"))
        assert caught.value.bound == "extism workers"

        async def close_one() -> None:
            await trio.sleep(0.05)
            await sessions.pop().aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close_one)
            await program.call("run", b"", OPTIONS)
        for session in sessions:
            await session.aclose()


async def test_a_plugin_calls_another_one_from_a_host_function() -> None:
    async def inner() -> int:
        return number(await answer.call("run", b"", OPTIONS)) + 1

    function = host_function(inner, (), Value.I64)
    async with oracle() as engine:
        answer = await load(engine, wat(gives("(i64.const 41)"), GIVES))
        program = await load(engine, wat(gives("(call $inner)"), GIVES, functions=[function]), function)
        assert number(await program.call("run", b"", OPTIONS)) == 42


@pytest.mark.parametrize("how", [signal.SIGABRT, signal.SIGKILL, signal.SIGTERM])
async def test_a_worker_that_dies_ends_its_call_with_the_reason(how: signal.Signals) -> None:
    async def die() -> None:
        os.kill(only_worker(engine), how)

    function = host_function(die)
    async with oracle() as engine:
        program = await load(engine, wat(run("(call $die)"), functions=[function]), function)
        with pytest.raises(GuestError, match=how.name) as caught:
            await program.call("run", b"", OPTIONS)
        assert (caught.value.plugin, caught.value.function) == ("demo", "run")
        session = await program.open(OPTIONS)
        with pytest.raises(GuestError, match=how.name):
            await session.call("run", b"", OPTIONS)
        assert session.spent
        await session.aclose()


async def test_a_worker_that_the_system_ended_while_it_waited_is_no_guests_fault() -> None:
    async with oracle() as engine:
        program = await load(engine, NOTHING)
        ((_, worker),) = engine.pool._idle
        os.kill(worker.pid, signal.SIGKILL)
        await worker.wait()
        await program.call("run", b"", OPTIONS)
        assert engine.pool.workers == 1


async def test_a_session_that_is_closed_during_its_call_says_so_afterwards() -> None:
    async def close() -> None:
        await session.aclose()

    function = host_function(close)
    async with oracle() as engine:
        program = await load(engine, wat(run("(call $close)"), functions=[function]), function)
        session = await program.open(OPTIONS)
        await session.call("run", b"", OPTIONS)
        with pytest.raises(GuestError, match="it was closed"):
            await session.call("run", b"", OPTIONS)


async def test_a_worker_is_confined(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[str, list[str]] = {}
    environment: list[bytes] = []

    async def look() -> None:
        of = Path(f"/proc/{only_worker(engine)}")
        for line in (of / "limits").read_text().splitlines():
            limits[line[:26].strip()] = line[26:].split()
        environment.append((of / "environ").read_bytes())
        assert os.getsid(only_worker(engine)) == only_worker(engine)
        assert os.readlink(of / "cwd") == "/"
        # The wire, standard streams, the null device; nothing of the host's.
        assert len(list((of / "fd").iterdir())) < 12

    function = host_function(look)
    monkeypatch.setenv("INNKEEPER_TEST_SECRET", "hidden")
    async with oracle() as engine:
        program = await load(engine, wat(run("(call $look)"), functions=[function]), function)
        await program.call("run", b"", OPTIONS)
    assert limits["Max core file size"][:2] == ["0", "0"]
    assert limits["Max data size"][0] == str(2 << 30)
    assert limits["Max address space"][0] == str(256 << 30)
    assert limits["Max file size"][0] == str(16 << 20)
    assert limits["Max open files"][0] == "64"
    # The call's own second and what the worker had used before, not the minute of compiling.
    assert int(limits["Max cpu time"][0]) <= 30
    assert b"SECRET" not in environment[0]
    assert b"HOME=" not in environment[0]
    # No cache on disk.
    assert b"EXTISM_CACHE_CONFIG=" in environment[0].split(b"\0")


PARENT = """
import os, sys, trio
from guests import SPIN, assemble
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.oracle.engine import open_oracle

async def main():
    async with open_oracle(Bounds(workers=2)) as engine, trio.open_nursery() as nursery:
        program = await engine.load(assemble(SPIN))
        nursery.start_soon(program.call, "run", b"", CallOptions(Limits(cpu=100.0, wall=200.0)))
        await trio.sleep(0.3)
        print(*[worker.pid for worker in engine.pool._busy], flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_a_worker_ends_when_the_host_is_killed() -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=Path(__file__).parent, text=True
    )
    assert host.stdout is not None
    pid = int(host.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    host.kill()
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


async def test_a_thousand_calls_leave_descriptors_and_processes_as_they_were() -> None:
    async with oracle() as engine:
        program = await load(engine, wat(gives("(i64.const 1)"), GIVES))
        await program.call("run", b"", OPTIONS)
        # What other tests left is not closed meanwhile.
        gc.collect()
        before = descriptors()
        for _ in range(1000):
            await program.call("run", b"", OPTIONS)
        assert descriptors() == before
        assert engine.pool.workers == 1


# --- what goes over the wire -----------------------------------------------------------------------------------------


@asynccontextmanager
async def lying(*messages: bytes | float, after: bool = True) -> AsyncIterator[ExtismEngine]:
    """An oracle whose workers answer with these bytes whatever they are asked, numbers being seconds in between, then
    end, or wait."""
    program = "import sys, time; s = __import__('socket').socket(fileno=0); s.recv(1 << 20)\n" + "".join(
        f"{'s.sendall' if isinstance(message, bytes) else 'time.sleep'}({message!r})\n" for message in messages
    )
    program += "" if after else "time.sleep(100)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_BOOT", program)
        async with oracle() as engine:
            yield engine


def frame(header: Any, payload: bytes = b"", *, size: int | None = None) -> bytes:
    packed: bytes = msgpack.packb(header)
    return wire.PREFIX.pack(len(packed), len(payload) if size is None else size) + packed + payload


NONSENSE = {
    "nothing": b"",
    "half a prefix": b"\0\0",
    "half a message": frame({"type": "ready"})[:-2],
    "a huge header": b"\xff\xff\xff\xff\0\0\0\0",
    "a huge payload": frame({"type": "ready"}, size=1 << 31),
    "no msgpack": wire.PREFIX.pack(2, 0) + b"\xc1\xc1",
    "no map": frame([1, 2]),
    "no type": frame({}),
    "another type": frame({"type": "done"}),
    "a number for a type": frame({"type": 5}),
    "a tower of lists": wire.PREFIX.pack(20_000, 0) + b"\x91" * 20_000,
    "a list without end": wire.PREFIX.pack(5, 0) + b"\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("message", NONSENSE.values(), ids=NONSENSE)
async def test_a_worker_that_answers_nonsense_is_an_error_and_never_a_hang(message: bytes) -> None:
    async with lying(message) as engine:
        with pytest.raises(InternalError):
            await load(engine, NOTHING)
        assert engine.pool.workers == 0


LATER = {
    "a log that is none": {"type": "opened", "log": [1], "dropped": 0},
    "a log of an unknown level": {"type": "opened", "log": [["x", "y"]], "dropped": 0},
    "a log beyond its limit": {"type": "opened", "log": [["info", "y" * 100_000]], "dropped": 0},
    "fewer bytes dropped than none": {"type": "opened", "log": [], "dropped": -1},
    "a host function that is not there": {"type": "host", "number": 0, "values": []},
    "a failure of no kind": {
        "type": "failed",
        "reason": "x",
        "text": "",
        "code": 0,
        "used": 0,
        "log": [],
        "dropped": 0,
    },
    "a failure without a text": {"type": "failed", "reason": "own", "code": 0, "used": 0, "log": [], "dropped": 0},
}


@pytest.mark.parametrize("header", LATER.values(), ids=LATER)
async def test_a_worker_that_makes_no_sense_later_is_an_error_too(header: dict[str, Any]) -> None:
    async with lying(frame({"type": "ready"}), frame(header), after=False) as engine:
        program = await load(engine, NOTHING)
        with pytest.raises(InternalError, match="nonsense"):
            await program.call("run", b"", OPTIONS)
        assert engine.pool.workers == 0


async def test_host_calls_with_arguments_of_other_types_are_nonsense() -> None:
    async def takes(number: int, data: bytes) -> None:
        raise AssertionError

    function = host_function(takes, (Value.I32, Value.BYTES))
    for values, payload in (
        ([1], b""),
        ([1.5, 0], b""),
        ([True, 0], b""),
        ([1, 5], b"abc"),
        ([1, -1], b""),
        (["", 0], b""),
    ):
        message = frame({"type": "host", "number": 0, "values": values}, payload)
        async with lying(frame({"type": "ready"}), message, after=False) as engine:
            program = await load(engine, NOTHING, function)
            with pytest.raises(InternalError, match="nonsense"):
                await program.call("run", b"", OPTIONS)


async def test_a_worker_that_says_nothing_is_given_up_at_the_deadline() -> None:
    async with lying(frame({"type": "ready"}), after=False) as engine:
        program = await load(engine, NOTHING)
        with pytest.raises(LimitError) as caught:
            await program.call("run", b"", CallOptions(Limits(wall=0.1)))
        assert caught.value.limit == "wall"


async def test_compiling_for_a_calls_limits_counts_against_no_call() -> None:
    answers = (
        {"type": "ready"},
        {"type": "opened", "log": [], "dropped": 0},
        {"type": "done", "log": [], "dropped": 0},
    )
    async with lying(frame({"type": "ready"}), 1.5, *map(frame, answers), after=False) as engine:
        program = await load(engine, NOTHING)
        usage = (await program.call("run", b"", CallOptions(Limits(memory=1 << 20, wall=1.0)))).usage
        assert usage.wall < 1.0


async def test_a_module_that_takes_too_long_to_compile_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "START_MAX", 0.2)
    async with lying(after=False) as engine:
        with pytest.raises(RejectedError, match=r"plugin 'demo': .* longer than 0\.2 s to compile"):
            await load(engine, NOTHING)
        assert engine.pool.workers == 0


async def test_a_worker_ends_when_the_host_sends_nonsense() -> None:
    limiter = trio.CapacityLimiter(1)
    for message in (b"\xff" * 8, frame([]), frame({"type": "x"}), frame({"type": "setup"}), b"\0"):
        worker = Worker(limiter)
        await worker._stream.send_all(message)
        await worker._stream.send_eof()
        with trio.fail_after(20):
            assert await worker._stream.receive_some() == b""
        worker.kill()
        await worker.wait()


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=8), st.integers(-5, 5) | st.text() | st.lists(st.floats(allow_nan=False)), max_size=5
    )
)
def test_headers_come_out_as_they_went_in(header: dict[str, Any]) -> None:
    encoded = wire.encode(header, (b"ab", b"c"))
    size, payload = wire.lengths(encoded[: wire.PREFIX.size], 3)
    assert payload == 3
    assert wire.decode(encoded[wire.PREFIX.size :]) == header
    assert size == len(encoded) - wire.PREFIX.size


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_wire_error(data: bytes) -> None:
    with suppress(wire.WireError):
        assert isinstance(wire.decode(data), dict)


def test_messages_that_are_too_large_are_not_sent() -> None:
    with pytest.raises(wire.WireError, match="too large"):
        wire.encode({"text": "x" * wire.HEADER_MAX})


async def test_a_configuration_that_is_too_large_is_an_error_of_the_caller() -> None:
    async with oracle() as engine:
        program = await load(engine, NOTHING)
        with pytest.raises(UsageError, match="configuration"):
            await program.call("run", b"", CallOptions(config={"key": "x" * 3_000_000}, plugin="demo"))
        await program.call("run", b"", OPTIONS)


async def test_a_host_without_room_for_another_process_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_BOOT", "x" * 10_000_000)
    async with oracle() as engine:
        for _ in range(engine.pool.places + 1):
            with pytest.raises(BusyError):
                await load(engine, NOTHING)


# --- words, and what is refused ---------------------------------------------------------------------------------------


def test_traps_have_the_words_of_the_other_engine() -> None:
    assert set(faults._TRAPS.values()) <= set(capi.TRAP_NAMES.values())


@pytest.mark.parametrize(
    "wasm",
    [
        b"",
        b"\x7fELF",
        b"\0asm\1\0\0\0\xff",
        assemble('(module (import "x" "y" (func)))'),
        assemble('(module (import "extism:host/env" "alloc" (func)))'),
        assemble('(module (import "x" "m" (memory 1)))'),
        assemble("(module (memory 1) (memory 1))"),
        assemble("(module (memory i64 1))"),
    ],
)
async def test_both_engines_refuse_the_same_files_in_the_same_words(wasm: bytes) -> None:
    async with open_engine(BOUNDS) as fibers, oracle() as extism:
        said = []
        for engine in (fibers, extism):
            with pytest.raises(RejectedError) as caught:
                await engine.load(wasm, plugin="demo")
            said.append(str(caught.value))
        assert said[0] == said[1]


async def test_modules_that_do_not_validate_are_refused() -> None:
    # A body that leaves nothing where an i32 should be.
    wasm = b"\0asm\1\0\0\0\1\5\1\x60\0\1\x7f\3\2\1\0\7\7\1\3run\0\0\n\4\1\2\0\x0b"
    async with oracle() as engine:
        with pytest.raises(RejectedError, match="not valid Wasm"):
            await engine.load(wasm, plugin="demo")


async def _nothing() -> None:
    """A handler."""


TWICE = HostFunction("f", _nothing, namespace="test")


@pytest.mark.parametrize(
    ("functions", "modules"),
    [
        ([TWICE, TWICE], {}),
        ([HostFunction("f", _nothing, quick=True)], {}),
        ([HostFunction("f", _nothing, namespace="wasi_snapshot_preview1")], {}),
        ([], {"extism:host/env": b""}),
        ([], dict.fromkeys(map(str, range(16)), b"")),
    ],
    ids=["a function twice", "quick and async", "a namespace", "a name", "too many modules"],
)
async def test_both_engines_refuse_the_same_functions_and_modules_in_the_same_words(
    functions: list[HostFunction], modules: dict[str, bytes]
) -> None:
    async with open_engine(BOUNDS) as fibers, oracle() as extism:
        said = []
        for engine in (fibers, extism):
            with pytest.raises((RejectedError, UsageError)) as caught:
                await engine.load(assemble(NOTHING), functions=functions, modules=modules, plugin="demo")
            said.append((type(caught.value), str(caught.value)))
        assert said[0] == said[1]


async def test_names_that_are_the_hosts_are_refused() -> None:
    async with oracle() as engine:
        with pytest.raises(RejectedError, match="'main'"):
            await engine.load(assemble(NOTHING), modules={"main": assemble(NOTHING)}, plugin="demo")
        with pytest.raises(RejectedError, match="namespace"):
            await load(
                engine, NOTHING, host_function(test_names_that_are_the_hosts_are_refused, (), None, "extism:host/env")
            )
        with pytest.raises(RejectedError, match="at most 16"):
            await engine.load(assemble(NOTHING), modules={f"m{at}": assemble(NOTHING) for at in range(16)})


@pytest.mark.parametrize(("limit", "size"), [("output", 3_000_000), ("kernel_memory", 30_000_000)])
async def test_bytes_that_cross_in_host_calls_are_bounded(limit: str, size: int) -> None:
    async def swap(data: bytes) -> bytes:
        return bytes(size)

    function = host_function(swap, (Value.BYTES,), Value.BYTES)
    text = wat(
        run(f"(drop (call $swap (call $alloc (i64.const {size if limit == 'output' else 8}))))"),
        "alloc",
        functions=[function],
    )
    async with oracle() as engine:
        program = await load(engine, text, function)
        with pytest.raises(LimitError) as caught:
            await program.call("run", b"", CallOptions(Limits(output=1_000_000, kernel_memory=20_000_000)))
        assert caught.value.limit == limit


async def test_a_host_function_that_takes_too_long_ends_the_call() -> None:
    async def sleep() -> None:
        await trio.sleep_forever()

    function = host_function(sleep)
    async with oracle() as engine:
        program = await load(engine, wat(run("(call $sleep)"), functions=[function]), function)
        with pytest.raises(LimitError, match="'sleep'") as caught:
            await program.call("run", b"", CallOptions(Limits(host_call=0.05)))
        assert caught.value.limit == "host_call"
        assert caught.value.usage.host_calls == 1


async def test_usage_has_what_extism_tells() -> None:
    async with oracle() as engine:
        program = await load(
            engine,
            wat(run("(call $log_warn (call $input_offset))"), "log_warn input_offset"),
        )
        usage = (await program.call("run", b"abc", OPTIONS)).usage
        assert usage.wall > 0
        assert (usage.bytes_in, usage.bytes_out, usage.log) == (3, 0, [("warn", "abc")])
        assert (usage.cpu, usage.memory, usage.system_calls) == (0.0, 0, 0)


def test_lines_beyond_the_limits_are_counted() -> None:
    kept = KeptLines(40, 10)
    kept.add("info", b"0123456789abc\n\nx\n" + b"y" * 100)
    assert kept.lines == [("info", "0123456789"), ("info", ""), ("info", "x")]
    assert kept.dropped == 3 + 100


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["TRACE", " INFO", " WARN", "ERROR"]))
def test_what_a_guest_logs_is_never_taken_for_extisms_own_words(text: str, level: str) -> None:
    for message in (text, f"call to run returned with error message: {text}", f"x\n\nCaused by:\n    {text}"):
        events = Events()
        events.add(f'2026-01-01T00:00:00.0Z {level} extism::pdk: {message} plugin="{"0-" * 18}"\n', "run")
        assert events.lines == [(level.strip().lower(), message)]
        assert not events.own
        assert events.cause is None


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with guest.wasm; the home is empty."""
    (tmp_path / "home").mkdir()
    text = wat(
        '(func (export "echo") (call $output_set (call $input_offset) (call $input_length)))'
        '(func (export "fail") (call $error_set (call $input_offset)))',
        "output_set error_set input_offset input_length",
    )
    (tmp_path / "guest.wasm").write_bytes(assemble(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("engine", ["extism", "fibers"])
def test_a_command_calls_a_function_with_the_engine_that_it_is_told(
    folder: Path, engine: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert invoke(["call", "guest.wasm", "echo", "--input", "grüße", "--engine", engine]) == 0
    assert capfdbinary.readouterr() == ("grüße".encode(), b"")
    assert invoke(["call", "guest.wasm", "fail", "--input", "no good", "--engine", engine]) == 1
    assert capfdbinary.readouterr().err == b"innkeeper: plugin 'guest', function 'fail': no good\n"
    assert invoke(["call", "guest.wasm", "nothing", "--engine", engine]) == 2


def test_an_engine_that_is_not_there_is_a_usage_error(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert invoke(["call", "guest.wasm", "echo", "--engine", "other"]) == 2
    assert b"'fibers', 'extism'" in capfdbinary.readouterr().err


def test_the_package_is_imported_by_workers_only() -> None:
    program = """
import sys, trio
from innkeeper.cli.main import invoke
assert invoke(["call", "core-basics", "text_merge", "--input", "x", "--engine", "extism"]) == 1
assert not [name for name in sys.modules if name.startswith("extism")], "imported"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
