"""What is alive after each way in which a call can end: nothing, and its future went before its store."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from wasmtime import wat2wasm

from innkeeper.errors import BusyError, DeniedError, GuestError, LimitError, RejectedError, UsageError
from innkeeper.sandbox import callbacks, capi, starting
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.engine import FiberEngine, open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.program import FiberProgram

GUEST = """(module
  (import "extism:host/user" "step" (func $step (result i32)))
  (import "extism:host/user" "shout" (func $shout (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/env" "var_set" (func $var_set (param i64 i64)))
  (import "extism:host/env" "http_request" (func $http_request (param i64 i64) (result i64)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "nop"))
  (func (export "step") (result i32) (call $step))
  (func (export "steps") (loop (br_if 0 (call $step))))
  (func (export "shout") (drop (call $shout (call $alloc (i64.const 8)))))
  (func (export "spin") (loop (br 0)))
  (func (export "trap") unreachable)
  (func (export "code") (result i32) (i32.const 3))
  (func (export "error") (result i32) (call $error_set (call $alloc (i64.const 8))) (i32.const 1))
  (func (export "exit") (call $proc_exit (i32.const 0)))
  (func (export "exit_3") (call $proc_exit (i32.const 3)))
  (func (export "grow") (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable)
  (func (export "large") (drop (memory.grow (i32.const 64))))
  (func $deep (export "deep") (call $deep) (call $deep))
  (func (export "output") (call $output_set (call $alloc (i64.const 5000)) (i64.const 5000)))
  (func (export "blocks") (loop (drop (call $alloc (i64.const 65536))) (br 0)))
  (func (export "variable") (call $var_set (call $alloc (i64.const 8)) (call $alloc (i64.const 5000))))
  (func (export "random") (loop (drop (call $random_get (i32.const 0) (i32.const 8))) (br 0)))
  (func (export "http") (drop (call $http_request (i64.const 0) (i64.const 0))))
  (func (export "sleep")
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll_oneoff (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 96)))))
"""

STARTS = """(module
  (import "extism:host/user" "step" (func $step (result i32)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (func $start {body})
  (func (export "nop") (drop (call $input_length)))
  (start $start))
"""

Step = Callable[[], Awaitable[Any]]


class Census:
    """Counts what wasmtime makes and deletes.

    Attributes:
        stores, linkers, linked: addresses of what is alive.
        futures: address of each living future, and its store's.
        wrong: what was done in the wrong order.
        made: stores that there ever were.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stores: set[int] = set()
        self.linkers: set[int] = set()
        self.linked: set[int] = set()
        self.futures: dict[int, int] = {}
        self.wrong: list[str] = []
        self.made = 0
        self._contexts: dict[int, int] = {}
        self._patch = monkeypatch
        self._after("store_new", self._store_made)
        self._after("store_context", lambda context, store: self._contexts.__setitem__(context, store))
        for name in ("store_delete", "store_delete_free"):
            self._before(name, self._store_gone)
        for name, position in (
            ("func_call_async", 0),
            ("linker_instantiate_async", 1),
            ("instance_pre_instantiate_async", 1),
        ):
            self._after(name, lambda future, *given, at=position: self._future_made(future, given[at]))
        self._before("future_delete", self._future_gone)
        for name in ("linker_new", "linker_clone"):
            self._after(name, lambda linker, *_: self.linkers.add(linker))
        self._before("linker_delete", self.linkers.remove)
        self._after("linker_instantiate_pre", lambda _, *given: self.linked.add(_pointer_at(given[2])))
        self._before("instance_pre_delete", self.linked.remove)

    @property
    def guests(self) -> int:
        """How many stores and futures are alive."""
        return len(self.stores) + len(self.futures)

    def _after(self, name: str, note: Callable[..., Any]) -> None:
        real = getattr(capi, name)

        def wrapper(*given: Any) -> Any:
            result = real(*given)
            note(result, *given)
            return result

        self._patch.setattr(capi, name, wrapper)

    def _before(self, name: str, note: Callable[..., Any]) -> None:
        real = getattr(capi, name)

        def wrapper(*given: Any) -> Any:
            note(*given)
            return real(*given)

        self._patch.setattr(capi, name, wrapper)

    def _store_made(self, store: int, *_: Any) -> None:
        self.stores.add(store)
        self.made += 1

    def _store_gone(self, store: int) -> None:
        if store in self.futures.values():
            self.wrong.append("a store was deleted before its future")
        self.stores.remove(store)

    def _future_made(self, future: int, context: int) -> None:
        store = self._contexts[context]
        if store in self.futures.values():
            self.wrong.append("a store got a second future")
        self.futures[future] = store

    def _future_gone(self, future: int) -> None:
        if self.futures.pop(future) not in self.stores:
            self.wrong.append("a future outlived its store")


def _pointer_at(address: int) -> int:
    return ctypes.c_void_p.from_address(address).value or 0


@pytest.fixture
def census(monkeypatch: pytest.MonkeyPatch) -> Iterator[Census]:
    gc.collect()
    bindings = set(callbacks._bindings)
    census = Census(monkeypatch)
    yield census
    gc.collect()
    assert census.made > 0
    assert census.wrong == []
    assert (census.stores, census.futures, census.linkers, census.linked) == (set(), {}, set(), set())
    assert callbacks._bindings.keys() <= bindings
    assert callbacks.running == {}


async def _until(condition: Callable[[], object]) -> None:
    # What is counted here tells nobody when it changes.
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.001)


async def _gone(engine: FiberEngine, *programs: FiberProgram) -> None:
    # Large memories are given back by a worker.
    await _until(lambda: not engine.live.taken)
    assert (engine.live.taken, engine.memory.taken, engine.in_flight.taken) == (0, 0, 0)
    assert (engine.live.waiting, engine.memory.waiting, engine.in_flight.waiting) == (0, 0, 0)
    assert [program.calls.taken for program in programs] == [0] * len(programs)


async def _zero() -> int:
    return 0


async def _shout(data: bytes) -> bytes:
    return data.upper()


def _functions(step: Step) -> list[HostFunction]:
    return [HostFunction("step", step, (), Value.I32), HostFunction("shout", _shout, (Value.BYTES,), Value.BYTES)]


@asynccontextmanager
async def _program(
    step: Step = _zero, guest: str = GUEST, bounds: Bounds | None = None
) -> AsyncIterator[tuple[FiberEngine, FiberProgram]]:
    async with open_engine(bounds) as engine:
        program = await engine.load(bytes(wat2wasm(guest)), functions=_functions(step))
        try:
            yield engine, program
            await _gone(engine, program)
            await program.call("nop", b"", CallOptions())
            await _gone(engine, program)
        finally:
            program.close()


def _options(**limits: Any) -> CallOptions:
    return CallOptions(limits=replace(Limits(), **limits))


async def _forever() -> int:
    await trio.sleep_forever()
    raise AssertionError


def _until_set(event: trio.Event) -> Step:
    async def step() -> int:
        await event.wait()
        return 0

    return step


async def _more() -> int:
    return 1


async def _text() -> Any:
    return "not a number"


class _BoomError(BaseException):
    pass


async def _boom() -> int:
    raise _BoomError


async def _late_boom() -> int:
    await trio.sleep(0.001)
    raise _BoomError


# --- one call, to its end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function", ["nop", "step", "steps", "shout", "exit", "large"], ids=lambda name: f"after {name}"
)
async def test_nothing_is_alive_after_a_call_that_went_well(census: Census, function: str) -> None:
    async with _program() as (_, program):
        for _ in range(3):
            await program.call(function, b"input", CallOptions())


@pytest.mark.parametrize(
    ("function", "kind"),
    [("trap", GuestError), ("code", GuestError), ("error", GuestError), ("exit_3", GuestError), ("http", DeniedError)],
)
async def test_nothing_is_alive_after_a_guest_that_failed(census: Census, function: str, kind: type[Exception]) -> None:
    async with _program() as (_, program):
        for _ in range(3):
            with pytest.raises(kind):
                await program.call(function, b"", CallOptions())


@pytest.mark.parametrize(
    ("limit", "function", "value", "step"),
    [
        ("memory", "grow", 1 << 20, _zero),
        ("stack", "deep", None, _zero),
        ("cpu", "spin", 0.02, _zero),
        ("wall", "spin", 0.02, _zero),
        ("wall", "sleep", 0.02, _zero),
        ("output", "output", 4096, _zero),
        ("kernel_memory", "blocks", 1 << 20, _zero),
        ("variables", "variable", 1000, _zero),
        ("host_calls", "steps", 10, _more),
        ("host_call", "step", 0.02, _forever),
        ("system_calls", "random", 10, _zero),
    ],
)
async def test_nothing_is_alive_after_a_limit_was_reached(
    census: Census, limit: str, function: str, value: float | None, step: Step
) -> None:
    async with _program(step) as (_, program):
        options = _options(**({limit: value} if value is not None else {}))
        with pytest.raises(LimitError) as caught:
            await program.call(function, b"", options)
        assert caught.value.limit == limit


async def test_an_input_beyond_its_limit_makes_no_guest(census: Census) -> None:
    async with _program() as (_, program):
        with pytest.raises(LimitError):
            await program.call("nop", b"12345", _options(input=4))
        assert census.made == 0


@pytest.mark.parametrize(("step", "kind"), [(_boom, _BoomError), (_late_boom, _BoomError), (_text, TypeError)])
async def test_nothing_is_alive_after_a_host_function_raised(
    census: Census, step: Step, kind: type[BaseException]
) -> None:
    async with _program(step) as (_, program):
        with pytest.raises(kind):
            await program.call("step", b"", CallOptions())


# --- cancellation -----------------------------------------------------------------------------------------------------


async def _cancelled(program: FiberProgram, function: str, seconds: float = 0.02) -> None:
    with trio.move_on_after(seconds) as scope:
        await program.call(function, b"", CallOptions())
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("function", "step"), [("spin", _zero), ("random", _zero), ("step", _forever), ("steps", _more), ("sleep", _zero)]
)
async def test_nothing_is_alive_after_a_cancellation(census: Census, function: str, step: Step) -> None:
    async with _program(step) as (_, program):
        with trio.CancelScope() as scope:
            scope.cancel()
            await program.call(function, b"", _options(host_calls=1_000_000, cpu=30.0))
        assert census.made == 0
        await _cancelled(program, function)


async def test_nothing_is_alive_after_a_cancellation_on_trios_own_thread(census: Census) -> None:
    threads = set()
    going = False

    async def step() -> int:
        threads.add(threading.get_ident())
        return int(going)

    async with _program(step) as (_, program):
        for _ in range(1200):
            await program.call("steps", b"", CallOptions())
            if program.habit("steps").inline:
                break
        assert program.habit("steps").inline
        going = True
        with trio.move_on_after(0.02) as scope:
            await program.call("steps", b"", _options(host_calls=10_000_000, cpu=30.0))
        assert scope.cancelled_caught
        going = False


@pytest.mark.parametrize("function", ["spin", "step", "sleep"])
async def test_nothing_is_alive_after_many_were_cancelled_at_once(census: Census, function: str) -> None:
    async with _program(_forever) as (_, program):
        with trio.move_on_after(0.2):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(program.call, function, b"", CallOptions())
        assert census.made > 0


BOUNDS = [Bounds(live_guests=1), Bounds(guest_memory=200_000), Bounds(calls_per_plugin=1), Bounds(bytes_in_flight=10)]


@pytest.mark.parametrize("bounds", BOUNDS, ids=["live guests", "guest memory", "calls per plugin", "bytes in flight"])
async def test_who_is_cancelled_while_it_waits_for_a_bound_leaves_nothing(census: Census, bounds: Bounds) -> None:
    # A call that waits in a host function keeps its place among the live guests, and none among its plugin's calls.
    holder = "spin" if bounds.calls_per_plugin == 1 else "step"
    async with _program(_forever, bounds=bounds) as (_, program), trio.open_nursery() as nursery:
        nursery.start_soon(program.call, holder, b"12345678", _options(cpu=30.0))
        await _until(lambda: census.futures)
        made = census.made
        with trio.move_on_after(0.02) as scope:
            await program.call("nop", b"12345678", CallOptions())
        assert scope.cancelled_caught
        with pytest.raises(BusyError):
            await program.call("nop", b"12345678", _options(wall=0.02))
        assert census.made == made
        nursery.cancel_scope.cancel()


# --- start ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "step", "kind"),
    [
        ("unreachable", _zero, RejectedError),
        ("(loop (br 0))", _zero, LimitError),
        ("(drop (call $step))", _boom, _BoomError),
        ("(drop (call $step))", _forever, LimitError),
    ],
    ids=["traps", "spins", "raises", "waits"],
)
async def test_nothing_is_alive_after_a_start_section_that_did_not_end_well(
    census: Census, body: str, step: Step, kind: type[BaseException]
) -> None:
    async with open_engine() as engine:
        functions = [HostFunction("step", step, (), Value.I32)]
        program = await engine.load(bytes(wat2wasm(STARTS.format(body=body))), functions=functions)
        options = _options(cpu=0.05, host_call=0.05)
        with pytest.raises(kind):
            await program.call("nop", b"", options)
        with pytest.raises(kind):
            await program.open(options)
        await _gone(engine, program)
        program.close()


@pytest.mark.parametrize("body", ["(loop (br 0))", "(drop (call $step))"], ids=["spins", "waits"])
async def test_nothing_is_alive_after_a_cancelled_start(census: Census, body: str) -> None:
    async with open_engine() as engine:
        functions = [HostFunction("step", _forever, (), Value.I32)]
        program = await engine.load(bytes(wat2wasm(STARTS.format(body=body))), functions=functions)
        await _cancelled(program, "nop")
        with trio.move_on_after(0.02) as scope:
            await program.open(CallOptions())
        assert scope.cancelled_caught
        await _gone(engine, program)
        program.close()


# --- guests that stay -------------------------------------------------------------------------------------------------


async def test_nothing_is_alive_after_a_session_was_closed(census: Census) -> None:
    async with _program() as (engine, program):
        session = await program.open(CallOptions())
        for _ in range(3):
            await session.call("step", b"", CallOptions())
        assert (len(census.stores), len(census.futures), engine.live.taken) == (1, 0, 1)
        await session.aclose()
        await session.aclose()
        with pytest.raises(GuestError):
            await session.call("step", b"", CallOptions())


@pytest.mark.parametrize("function", ["trap", "exit", "exit_3", "spin", "step"])
async def test_a_session_that_ended_in_a_call_is_freed_then(census: Census, function: str) -> None:
    async with _program(_boom) as (engine, program):
        session = await program.open(CallOptions())
        try:
            await session.call(function, b"", _options(cpu=0.02))
            assert function == "exit"
        except (GuestError, LimitError, _BoomError):
            assert function != "exit"
        await _gone(engine, program)
        assert census.guests == 0
        await session.aclose()


async def test_a_session_that_is_cancelled_is_freed_then(census: Census) -> None:
    async with _program(_forever) as (engine, program):
        for function in ("spin", "step", "sleep"):
            session = await program.open(CallOptions())
            with trio.move_on_after(0.02):
                await session.call(function, b"", CallOptions())
            await _gone(engine, program)
            assert census.guests == 0


async def test_a_session_that_is_forgotten_is_freed_by_the_collector(census: Census) -> None:
    async with _program() as (engine, program):
        session = await program.open(CallOptions())
        await session.call("nop", b"", CallOptions())
        del session
        gc.collect()
        await _gone(engine, program)
        assert census.guests == 0


async def test_a_session_that_is_closed_during_a_call_does_not_outlive_the_call(census: Census) -> None:
    release = trio.Event()
    async with _program(_until_set(release)) as (engine, program):
        session = await program.open(CallOptions())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.call, "step", b"", CallOptions())
            await _until(lambda: census.futures)
            await session.aclose()
            release.set()
        assert census.guests == 0
        await _gone(engine, program)


# --- programs and engines ---------------------------------------------------------------------------------------------


async def test_a_plugin_that_is_unloaded_during_a_call_goes_when_the_call_has_ended(census: Census) -> None:
    release = trio.Event()
    async with open_engine() as engine:
        program = await engine.load(bytes(wat2wasm(GUEST)), functions=_functions(_until_set(release)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program.call, "step", b"", CallOptions())
            await _until(lambda: census.futures)
            program.close()
            assert census.linkers
            with pytest.raises(UsageError):
                await program.call("nop", b"", CallOptions())
            release.set()
        assert not census.linkers
        await _gone(engine, program)


@pytest.mark.parametrize("function", ["spin", "step", "sleep"])
async def test_an_engine_that_closes_ends_what_still_runs_and_frees_it(census: Census, function: str) -> None:
    raised: list[BaseException] = []
    release = trio.Event()

    async def call(program: FiberProgram) -> None:
        try:
            await program.call(function, b"", _options(cpu=60.0))
        except UsageError as error:
            raised.append(error)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            async with open_engine() as engine:
                program = await engine.load(bytes(wat2wasm(GUEST)), functions=_functions(_until_set(release)))
                nursery.start_soon(call, program)
                await _until(lambda: census.futures)
                await trio.sleep(0.01)
            release.set()
            if function == "sleep":
                nursery.cancel_scope.cancel()
    assert len(raised) == 1 or function == "sleep"
    await _gone(engine, program)
    program.close()
    assert census.guests == 0


@pytest.mark.parametrize("function", ["spin", "step"])
def test_nothing_is_alive_after_a_run_that_an_exception_ended(census: Census, function: str) -> None:
    engines = []

    async def main() -> None:
        async with _program(_forever) as (engine, program), trio.open_nursery() as nursery:
            engines.append((engine, program))
            for _ in range(10):
                nursery.start_soon(program.call, function, b"", CallOptions())
            await trio.sleep(0.05)
            raise _BoomError

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.group_contains(_BoomError)
    for engine, program in engines:
        assert (engine.live.taken, engine.memory.taken, engine.in_flight.taken) == (0, 0, 0)
        assert program.calls.taken == 0


# --- abandoned --------------------------------------------------------------------------------------------------------


ABANDON = """
import gc, sys, threading, time, trio
from wasmtime import wat2wasm
from innkeeper.sandbox import callbacks, capi
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import FiberEngine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.limits import Limits

alive, kept = {}, []
begin, end = capi.func_call_async, capi.future_delete

def begun(context, *rest):
    future = begin(context, *rest)
    alive[future] = context
    return future

def ended(future):
    alive.pop(future, None)
    end(future)

capi.func_call_async, capi.future_delete = begun, ended

async def step():
    await trio.sleep_forever()

async def shout(data):
    return data

def fail(_):
    raise ZeroDivisionError

async def main(function):
    engine = FiberEngine(Bounds())
    # What `open_engine` does, for an engine that outlives its run.
    trio.lowlevel.add_instrument(engine.loop_budget)
    functions = [HostFunction("step", step, (), Value.I32), HostFunction("shout", shout, (Value.BYTES,), Value.BYTES)]
    program = await engine.load(bytes(wat2wasm(GUEST)), functions=functions)
    # A process that waits for its next module is watched by a task, and a task keeps its run and all of its tasks.
    await engine.compilation.aclose()
    kept.append((engine, program))
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(program.call, function, b"", CallOptions(limits=Limits(cpu=60.0)))
        while len(alive) < 4:
            await trio.sleep(0.01)
        await trio.sleep(0.05)
        # An abort function that raises is the end of the run, at once: no task of it goes on.
        nursery.cancel_scope.cancel()
        await trio.lowlevel.wait_task_rescheduled(fail)

def run():
    try:
        trio.run(main, sys.argv[1])
    except trio.TrioInternalError:
        pass

sys.unraisablehook = lambda _: None  # trio's own complaints about what we do to it
run()
engine, program = kept[0]

def taken():
    return (len(alive), engine.live.taken, engine.memory.taken, engine.in_flight.taken, program.calls.taken)

deadline = time.monotonic() + 20
while any(taken()) and time.monotonic() < deadline:
    gc.collect()
    time.sleep(0.01)
workers = [thread for thread in threading.enumerate() if thread.name.startswith("innkeeper worker")]
print(*taken(), len(workers) > 0)
engine.workers.close()
program.close()
print(len(callbacks._bindings), any(thread.is_alive() for thread in workers))
"""


@pytest.mark.parametrize("function", ["spin", "step", "sleep", "random"])
def test_a_call_whose_coroutine_is_thrown_away_is_freed(function: str) -> None:
    code = f"GUEST = {GUEST!r}\n" + ABANDON
    child = subprocess.run([sys.executable, "-c", code, function], capture_output=True, text=True, timeout=60)
    assert (child.returncode, child.stdout) == (0, "0 0 0 0 0 True\n0 False\n"), (child.stdout, child.stderr[-2000:])


async def _abandoned(program: FiberProgram) -> list[Any]:
    """A guest with a living future, which only the collector can find once the list is dropped."""
    call = Call("step", b"", CallOptions())
    guest = program.spare_guest(call)
    assert guest is not None
    await starting.start(guest)
    guest.begin_function("step", 1)
    while guest.pending is None:
        guest.poll(program.poll)
    call.end(None)
    cycle: list[Any] = [guest]
    cycle.append(cycle)
    return cycle


async def test_a_guest_that_the_collector_frees_inside_of_anothers_callback_harms_nobody(
    census: Census, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _program(_zero) as (engine, program):
        cycle = await _abandoned(program)
        assert (len(census.stores), len(census.futures)) == (1, 1)
        real, found = Call.count_host_call, []

        def count(call: Call) -> None:
            real(call)

        def collect(call: Call) -> None:
            gc.collect()
            found.append((len(census.stores), len(census.futures)))

        monkeypatch.setattr(Call, "count_host_call", count)
        monkeypatch.setattr(Call, "count_system_call", collect)
        del cycle
        await program.call("variable", b"", CallOptions())
        assert found == [(1, 1)], "what is left is the guest that runs"
        await _gone(engine, program)


async def test_a_guest_that_the_collector_frees_on_another_thread_harms_nobody(census: Census) -> None:
    async with _program(_zero) as (engine, program):
        cycle = await _abandoned(program)
        del cycle
        await trio.to_thread.run_sync(gc.collect)
        assert census.guests == 0
        await _gone(engine, program)


# --- the end of the interpreter ---------------------------------------------------------------------------------------

CHILD = """
import sys, threading, trio
from wasmtime import wat2wasm
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.limits import Limits
GUEST = '''{guest}'''
options = CallOptions(limits=Limits(cpu=60.0))
busy = threading.Event()

async def step():
    await trio.sleep_forever()

async def shout(data):
    return data

async def main():
    async with open_engine() as engine:
        functions = [HostFunction("step", step, (), Value.I32)]
        functions.append(HostFunction("shout", shout, (Value.BYTES,), Value.BYTES))
        program = await engine.load(bytes(wat2wasm(GUEST)), functions=functions)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                for function in ("spin", "step", "sleep", "random"):
                    nursery.start_soon(program.call, function, b"", options)
            await trio.sleep(0.1)
            busy.set()
            {then}
"""

ENDS = {
    "by an exit inside of the run": ("sys.exit(7)", "trio.run(main)"),
    "by the end of the main thread while another one runs trio": (
        "await trio.sleep_forever()",
        "threading.Thread(target=trio.run, args=(main,), daemon=True).start()\nbusy.wait()\nsys.exit(7)",
    ),
    "while a run is suspended inside of another loop": (
        "await trio.sleep_forever()",
        "import queue\n"
        "todo = queue.SimpleQueue()\n"
        "trio.lowlevel.start_guest_run(main, run_sync_soon_threadsafe=todo.put, done_callback=print)\n"
        "while not busy.is_set(): todo.get()()\n"
        "sys.exit(7)",
    ),
}


@pytest.mark.parametrize("how", ENDS, ids=str)
def test_the_interpreter_can_end_while_guests_spin_and_wait(how: str) -> None:
    then, last = ENDS[how]
    code = CHILD.format(guest=GUEST, then=then) + last
    for _ in range(3):
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert child.returncode in (1, 7), child.stderr[-2000:]
        assert "panicked" not in child.stderr
        assert "Fatal Python error" not in child.stderr
