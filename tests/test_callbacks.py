"""Nothing leaves a callback but a result: what goes wrong inside of one is raised by the call, as it is."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from wasmtime import wat2wasm

from innkeeper.errors import InnkeeperError
from innkeeper.sandbox import callbacks, capi
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.engine import FiberEngine, open_engine
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.program import FiberProgram

# `raw`: a variable is set and read again. `now`, `quick` and `wait`: the host adds 2 at once, inside of the callback,
# or after a while. `wasi`: eight random bytes. `long`: it runs for many ticks.
GUEST = """(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "var_set" (func $var_set (param i64 i64)))
  (import "extism:host/env" "var_get" (func $var_get (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/user" "now" (func $now (param i64) (result i64)))
  (import "extism:host/user" "wait" (func $wait (param i64) (result i64)))
  (import "extism:host/user" "quick" (func $quick (param i64) (result i64)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $say (param i64) (local i64)
    (call $store_u64 (local.tee 1 (call $alloc (i64.const 8))) (local.get 0))
    (call $output_set (local.get 1) (i64.const 8)))
  (func (export "raw") (local $block i64)
    (call $store_u64 (local.tee $block (call $alloc (i64.const 8))) (i64.const 7))
    (call $var_set (local.get $block) (local.get $block))
    (call $say (call $length (call $var_get (local.get $block)))))
  (func (export "now") (call $say (call $now (call $now (i64.const 38)))))
  (func (export "quick") (call $say (call $quick (call $quick (i64.const 38)))))
  (func (export "wait") (call $say (call $wait (call $wait (i64.const 38)))))
  (func (export "wasi") (result i32)
    (i32.or (call $random_get (i32.const 0) (i32.const 8)) (call $random_get (i32.const 0) (i32.const 8))))
  (func (export "long") (local i64)
    (loop (br_if 0 (i64.lt_u (local.tee 0 (i64.add (local.get 0) (i64.const 1))) (i64.const 30000000))))
    (call $say (local.get 0))))
"""

RIGHT = {"raw": 8, "now": 42, "quick": 42, "wait": 42, "long": 30_000_000}
OPTIONS = CallOptions(limits=Limits(cpu=30.0))


async def _now(number: int) -> int:
    return number + 2


async def _wait(number: int) -> int:
    await trio.sleep(0.001)
    return number + 2


@asynccontextmanager
async def _program() -> AsyncIterator[tuple[FiberEngine, FiberProgram]]:
    async with open_engine() as engine:
        functions = [
            HostFunction("now", _now, (Value.I64,), Value.I64),
            HostFunction("wait", _wait, (Value.I64,), Value.I64),
            HostFunction("quick", lambda number: number + 2, (Value.I64,), Value.I64, quick=True),
        ]
        program = await engine.load(bytes(wat2wasm(GUEST)), functions=functions)
        try:
            yield engine, program
        finally:
            program.close()


async def _check(program: FiberProgram) -> None:
    for function, right in RIGHT.items():
        result = await program.call(function, b"", OPTIONS)
        assert int.from_bytes(result.output, "little") == right, function
    await program.call("wasi", b"", OPTIONS)


class _OwnError(Exception):
    pass


class _OwnBaseError(BaseException):
    pass


KINDS: list[type[BaseException]] = [
    _OwnError,
    _OwnBaseError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    RecursionError,
    MemoryError,
    StopIteration,
]


class Fault:
    """Raises once, at the so-many-th time that what it stands in for is used after it was armed."""

    def __init__(self, real: Any, error: BaseException) -> None:
        self.real = real
        self.error = error
        self.left = 0

    def arm(self, at: int) -> None:
        self.left = at

    def hit(self) -> None:
        if self.left:
            self.left -= 1
            if not self.left:
                raise self.error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.hit()
        return self.real(*args, **kwargs)


class _FaultyRunning(dict[int, Guest]):
    """`running`, of which a look-up goes wrong; the guest is then not known to the callback."""

    fault: Fault

    def get(self, *args: Any) -> Any:
        self.fault.hit()
        return super().get(*args)


class _FaultyBindings(dict[int, callbacks.Binding]):
    fault: Fault

    def __getitem__(self, number: int) -> callbacks.Binding:
        self.fault.hit()
        return super().__getitem__(number)


Injection = Callable[[pytest.MonkeyPatch, BaseException], Fault]


def _method(owner: Any, name: str) -> Injection:
    def inject(patch: pytest.MonkeyPatch, error: BaseException) -> Fault:
        fault = Fault(getattr(owner, name), error)
        # A function, so that it binds like the method that it stands in for.
        patch.setattr(owner, name, lambda *args, **kwargs: fault(*args, **kwargs))
        return fault

    return inject


def _bindings(patch: pytest.MonkeyPatch, error: BaseException) -> Fault:
    faulty = _FaultyBindings(callbacks._bindings)
    faulty.fault = Fault(None, error)
    patch.setattr(callbacks, "_bindings", faulty)
    return faulty.fault


SIGNATURE = callbacks.Signature
POINTS: dict[str, tuple[str, Injection, int]] = {
    # name of the point: function of the guest, what goes wrong, how often the point is passed
    "raw: find the binding": ("raw", _bindings, 2),
    "raw: read the arguments": ("raw", _method(SIGNATURE, "raw_arguments"), 2),
    "raw: the work itself": ("raw", _method(Call, "count_system_call"), 2),
    "raw: write the result": ("raw", _method(SIGNATURE, "write_raw"), 2),
    "async: find the binding": ("wait", _bindings, 2),
    "async: read the arguments": ("wait", _method(SIGNATURE, "arguments"), 2),
    "async: count the memory": ("wait", _method(Guest, "count_memory"), 2),
    "async at once: find the binding": ("wasi", _bindings, 2),
    "async at once: the work itself": ("wasi", _method(Call, "count_system_call"), 2),
    "async at once: write the result": ("wasi", _method(SIGNATURE, "write"), 2),
    "quick: count the call": ("quick", _method(Call, "count_host_call"), 2),
    "quick: write the result": ("quick", _method(SIGNATURE, "write"), 2),
    "resume, at once: write the result": ("now", _method(SIGNATURE, "write"), 2),
    "resume, after a wait: write the result": ("wait", _method(SIGNATURE, "write"), 2),
    "epoch: count the memory": ("long", _method(Guest, "count_memory"), 3),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("point", POINTS)
async def test_what_is_raised_in_a_callback_is_raised_by_the_call(
    monkeypatch: pytest.MonkeyPatch, point: str, kind: type[BaseException]
) -> None:
    function, inject, passes = POINTS[point]
    async with _program() as (engine, program):
        error = kind("on purpose")
        fault = inject(monkeypatch, error)
        for at in range(1, passes + 1):
            fault.arm(at)
            got: BaseException | None = None
            try:
                await program.call(function, b"", OPTIONS)
            except BaseException as caught:
                got = caught
            assert got is error or (isinstance(got, RuntimeError) and got.__cause__ is error), f"at pass {at}"
            assert fault.left == 0
            assert (engine.live.taken, engine.memory.taken, program.calls.taken) == (0, 0, 0)
            await _check(program)
        assert callbacks.running == {}


@pytest.mark.parametrize("function", ["raw", "now", "wait", "wasi", "long"])
async def test_a_callback_that_does_not_find_its_guest_ends_the_guest_and_not_the_process(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    async with _program() as (engine, program):
        faulty = _FaultyRunning()
        faulty.fault = Fault(None, _OwnBaseError())
        monkeypatch.setattr(callbacks, "running", faulty)
        for at in (1, 2, 3):
            faulty.fault.arm(at)
            # Where there is nobody to keep the error with, the guest's trap is what is left of it.
            with suppress(InnkeeperError):
                await program.call(function, b"", OPTIONS)
            faulty.fault.arm(0)
            assert engine.live.taken == 0
            await _check(program)


async def test_the_first_thing_that_went_wrong_is_what_the_call_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _OwnBaseError("first")

    def fail(*_: object) -> None:
        (guest,) = callbacks.running.values()
        guest.call.fail(first)
        raise _OwnBaseError("second")

    async with _program() as (_, program):
        with monkeypatch.context() as patch:
            patch.setattr(SIGNATURE, "arguments", fail)
            with pytest.raises(_OwnBaseError) as caught:
                await program.call("wait", b"", OPTIONS)
        assert caught.value is first
        await _check(program)


async def test_others_go_on_beside_a_callback_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _program() as (_, program):
        fault = _method(SIGNATURE, "raw_arguments")(monkeypatch, _OwnError())
        raised, right = [], []

        async def call() -> None:
            try:
                right.append((await program.call("raw", b"", OPTIONS)).output)
            except _OwnError as error:
                raised.append(error)

        fault.arm(50)
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(call)
        assert len(raised) == 1
        assert right == [(8).to_bytes(8, "little")] * 99


async def test_a_callback_can_run_the_collector_and_switch_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    interval = sys.getswitchinterval()
    real = Guest.count_memory

    def collect(guest: Guest, *arguments: int | None) -> bool:
        gc.collect()
        return real(guest, *arguments)

    monkeypatch.setattr(Guest, "count_memory", collect)
    sys.setswitchinterval(1e-5)
    try:
        async with _program() as (_, program), trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(_check, program)
    finally:
        sys.setswitchinterval(interval)


# --- the values that cross --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("i32", 2**32),
        ("i32", -(2**31) - 1),
        ("i64", 2**64),
        ("i64", -(2**63) - 1),
        ("i32", 1.5),
        ("i64", "1"),
        ("f64", "x"),
        ("f32", None),
        ("f32", 1e300),
    ],
)
def test_a_value_that_is_not_of_the_results_type_is_an_error_and_not_other_bytes(kind: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        _written(kind, value)


def _written(kind: str, value: Any) -> Any:
    """A result as the guest gets it."""
    place = ctypes.create_string_buffer(capi.VAL_SIZE)
    SIGNATURE((), (kind,)).write(ctypes.addressof(place), value)
    return SIGNATURE((kind,), ()).arguments(ctypes.addressof(place))[0]


@pytest.mark.parametrize(
    ("kind", "value", "back"),
    [
        ("i32", 2**32 - 1, -1),
        ("i32", -(2**31), -(2**31)),
        ("i64", 2**64 - 1, -1),
        ("i64", 2**63 - 1, 2**63 - 1),
        ("i32", True, 1),
        ("f32", 0.5, 0.5),
        ("f64", 3, 3.0),
    ],
)
def test_integers_may_be_signed_or_not_on_the_way_to_a_guest(kind: str, value: Any, back: Any) -> None:
    assert _written(kind, value) == back


def test_arguments_are_read_where_wasmtime_puts_them() -> None:
    kinds = ("i32", "i64", "f32", "f64")
    values = (capi.Val * 4)()
    for value, kind, number in zip(values, kinds, (-1, -2, 0.5, 0.25), strict=True):
        value.kind = {"i32": capi.I32, "i64": capi.I64, "f32": capi.F32, "f64": capi.F64}[kind]
        setattr(value.of, kind, number)
    at = ctypes.addressof(values)
    assert SIGNATURE(kinds, ()).arguments(at) == (-1, -2, 0.5, 0.25)
    assert SIGNATURE(kinds, (), signed=False).arguments(at) == (2**32 - 1, 2**64 - 2, 0.5, 0.25)
    raw = (capi.RawVal * 4)()
    raw[0].i32, raw[1].i64, raw[2].f32, raw[3].f64 = -1, -2, 0, 0
    assert SIGNATURE(kinds, ()).raw_arguments(ctypes.addressof(raw)) == (2**32 - 1, 2**64 - 2, 0.0, 0.0)


# --- near the recursion limit -----------------------------------------------------------------------------------------

DEEP = """
import sys, trio
from wasmtime import wat2wasm
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value

async def now(number):
    return number + 2

async def wait(number):
    await trio.sleep(0.001)
    return number + 2

def depth():
    frame, count = sys._getframe(), 0
    while frame:
        frame, count = frame.f_back, count + 1
    return count

async def deep(left, function):
    return await (deep(left - 1, function) if left else function())

async def main():
    async with open_engine() as engine:
        functions = [HostFunction("now", now, (Value.I64,), Value.I64)]
        functions.append(HostFunction("wait", wait, (Value.I64,), Value.I64))
        functions.append(HostFunction("quick", lambda number: number + 2, (Value.I64,), Value.I64, quick=True))
        program = await engine.load(bytes(wat2wasm(GUEST)), functions=functions)
        options = CallOptions()
        session = await program.open(options)
        ends = {"ok": 0, "deep": 0}
        for name, right in RIGHT.items():
            for _ in range(3):  # earns trio's own thread, and with it the caller's stack
                await program.call(name, b"", options)
            for left in [*range(3, 45, 3), *range(45, 150, 15)]:
                for call in (program.call, session.call):
                    async def function():
                        return await call(name, b"", options)
                    try:
                        result = await deep(sys.getrecursionlimit() - depth() - left, function)
                        assert int.from_bytes(result.output, "little") == right, (name, left)
                        ends["ok"] += 1
                    except RecursionError:
                        ends["deep"] += 1
                    assert engine.live.taken == 1, (name, left, engine.live.taken)
                    assert program.calls.taken == engine.in_flight.taken == 0
            result = await session.call(name, b"", options)
            assert int.from_bytes(result.output, "little") == right
        await session.aclose()
        assert engine.live.taken == 0 and min(ends.values()) > 0, ends
    print(ends)

trio.run(main)
"""


def test_a_call_near_the_recursion_limit_is_an_error_or_right_and_never_the_end_of_the_process() -> None:
    right = {name: value for name, value in RIGHT.items() if name != "long"} | {"wasi": 0}
    code = f"GUEST = {GUEST!r}\nRIGHT = {right!r}\n" + DEEP
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr[-3000:]
    assert "Exception ignored" not in child.stderr, child.stderr[-3000:]
