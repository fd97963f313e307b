"""A host function that raises, hangs, answers wrongly or is cancelled ends its call alone, and as itself."""

from __future__ import annotations

import contextlib
import math
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from guests import GIVES, SPIN, Sandbox, gives, host_function, options, run, wat
from innkeeper.errors import DeniedError, GuestError, LimitError, UsageError
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.program import FiberProgram


def calling(function: HostFunction) -> str:
    """A guest that calls a function without parameters, drops what it gives, and returns code 7."""
    drop = "drop " if function.result else ""
    call = f"({drop}(call ${function.name}))" if drop else f"(call ${function.name})"
    return wat(f'(func (export "run") (result i32) {call} (i32.const 7))', functions=[function])


async def loaded(sandbox: Sandbox, function: HostFunction) -> FiberProgram:
    return await sandbox.load(calling(function), [function])


class OwnError(Exception):
    pass


class OwnBaseError(BaseException):
    pass


EXCEPTIONS = [OwnError, OwnBaseError, KeyboardInterrupt, SystemExit, GeneratorExit, StopAsyncIteration, MemoryError]
EXCEPTIONS += [AssertionError, TimeoutError, RecursionError, trio.ClosedResourceError, trio.RunFinishedError]


async def _at_once() -> None:
    pass


async def _after_a_checkpoint() -> None:
    await trio.lowlevel.checkpoint()


async def _after_a_sleep() -> None:
    await trio.sleep(0.005)


async def _in_a_scope_of_its_own() -> None:
    with trio.move_on_after(0.001):
        await trio.sleep(1)


@pytest.mark.parametrize("first", [_at_once, _after_a_checkpoint, _after_a_sleep, _in_a_scope_of_its_own])
@pytest.mark.parametrize("kind", EXCEPTIONS)
@pytest.mark.parametrize("result", [None, Value.I32, Value.BYTES])
async def test_an_exception_of_a_host_function_ends_the_call_as_itself(
    sandbox: Sandbox, kind: type[BaseException], first: Callable[[], Awaitable[None]], result: Value | None
) -> None:
    raised: list[BaseException] = []

    async def fail() -> None:
        await first()
        raised.append(kind("the host's own"))
        raise raised[0]

    program = await loaded(sandbox, host_function(fail, (), result))
    with pytest.raises(kind) as caught:
        await sandbox.call(program)
    assert caught.value is raised[0]


async def test_a_host_function_that_is_not_async_fails_as_python_says(sandbox: Sandbox) -> None:
    def number() -> int:
        return 3

    def fail() -> None:
        raise OwnBaseError

    with pytest.raises(TypeError, match="await"):
        await sandbox.call(await loaded(sandbox, host_function(number)))
    with pytest.raises(OwnBaseError):
        await sandbox.call(await loaded(sandbox, host_function(fail)))


async def test_a_host_function_that_wants_other_parameters_fails_as_python_says(sandbox: Sandbox) -> None:
    async def wants(number: int) -> None:
        pass

    with pytest.raises(TypeError, match="number"):
        await sandbox.call(await loaded(sandbox, host_function(wants)))


async def test_an_innkeeper_error_of_a_host_function_gets_the_call_s_usage(sandbox: Sandbox) -> None:
    async def refuse() -> None:
        raise DeniedError("not granted", capability="kb.read:world")

    error = await sandbox.fails(
        DeniedError, await loaded(sandbox, host_function(refuse)), functions=[host_function(refuse)]
    )
    assert (error.plugin, error.function, error.usage.host_calls) == ("hostile", "run", 1)


WRONG: dict[Value, list[Any]] = {
    Value.I32: [None, "1", b"1", 1.0, math.nan, [1], 1 << 32, -(1 << 31) - 1, object()],
    Value.I64: [None, "1", b"1", 1.0, math.inf, (1,), 1 << 64, -(1 << 63) - 1, object()],
    Value.F32: [None, "1.5", b"1.5", bytearray(b"1"), 1j, 1e300, [1.0], object()],
    Value.F64: [None, "1.5", b"1.5", memoryview(b"1"), 1j, 10**400, [1.0], object()],
    Value.BYTES: ["text", 1, 1.5, [1], ["a"], {}, object(), True],
}


@pytest.mark.parametrize("kind", Value)
async def test_a_host_function_that_returns_something_else_than_it_declares_is_told_so(
    sandbox: Sandbox, kind: Value
) -> None:
    answer: Any = None

    async def lie() -> Any:
        return answer

    program = await loaded(sandbox, host_function(lie, (), kind))
    for answer in WRONG[kind]:
        if kind is Value.BYTES and answer is None:
            continue
        with pytest.raises((TypeError, OverflowError)):
            await sandbox.call(program)


async def test_integers_of_either_sign_arrive_as_the_same_bits(sandbox: Sandbox) -> None:
    answer = 0

    async def give() -> int:
        return answer

    for kind, widen in ((Value.I32, "i64.extend_i32_u"), (Value.I64, "")):
        function = host_function(give, (), kind)
        call = "(call $give)"
        text = wat(gives(f"({widen} {call})" if widen else call), GIVES, functions=[function])
        program = await sandbox.load(text, [function])
        bits = 32 if kind is Value.I32 else 64
        for answer in (0, 1, -1, (1 << bits) - 1, 1 << (bits - 1), -(1 << (bits - 1)), True):
            assert (await sandbox.call(program)).output == (answer % (1 << bits)).to_bytes(8, "little")


async def test_numbers_arrive_as_the_guest_gave_them(sandbox: Sandbox) -> None:
    seen: list[Any] = []

    async def see(*values: Any) -> None:
        seen.append(values)

    function = host_function(see, [Value.I32, Value.I64, Value.F32, Value.F64])
    text = wat(
        run(
            """(call $see (i32.const -2147483648) (i64.const -1) (f32.const 0.1) (f64.const -0.0))
            (call $see (i32.const 2147483647) (i64.const 0x7fffffffffffffff) (f32.const inf) (f64.const nan))"""
        ),
        functions=[function],
    )
    await sandbox.call(text, functions=[function])
    assert seen[0] == (-(1 << 31), -1, struct.unpack("f", struct.pack("f", 0.1))[0], 0.0)
    assert math.copysign(1, seen[0][3]) == -1
    assert seen[1][:3] == ((1 << 31) - 1, (1 << 63) - 1, math.inf)
    assert math.isnan(seen[1][3])


async def test_a_hang_in_a_host_function_ends_at_its_own_limit(sandbox: Sandbox) -> None:
    async def hang() -> None:
        await trio.sleep_forever()

    error = await sandbox.fails(LimitError, await loaded(sandbox, host_function(hang)), host_call=0.05)
    assert (error.limit, error.value) == ("host_call", 0.05)
    assert "hang" in error.message
    error = await sandbox.fails(LimitError, await loaded(sandbox, host_function(hang)), wall=0.05)
    assert (error.limit, error.value) == ("wall", 0.05)


async def test_each_host_call_has_its_own_time(sandbox: Sandbox) -> None:
    async def pause() -> None:
        await trio.sleep(0.02)

    function = host_function(pause)
    text = wat(run("(call $pause)" * 8), functions=[function])
    await sandbox.call(text, functions=[function], host_call=0.15)
    error = await sandbox.fails(LimitError, text, functions=[function], host_call=0.15, wall=0.1)
    assert error.limit == "wall"


async def test_a_host_function_that_swallows_its_cancellation_does_not_swallow_the_limit(sandbox: Sandbox) -> None:
    async def stubborn() -> None:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()

    function = host_function(stubborn)
    text = wat(run("(loop (call $stubborn) (br 0))"), functions=[function])
    error = await sandbox.fails(LimitError, text, functions=[function], host_call=0.05)
    assert error.limit == "host_call"


async def test_a_cancellation_inside_a_host_function_cleans_it_up_and_ends_the_call(sandbox: Sandbox) -> None:
    cleaned = 0

    async def hang() -> None:
        nonlocal cleaned
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.005)
            cleaned += 1

    program = await loaded(sandbox, host_function(hang))
    with trio.move_on_after(0.02) as scope:
        await program.call("run", b"", options())
    assert scope.cancelled_caught
    assert cleaned == 1


async def test_a_host_function_s_own_cancelled_scope_ends_nothing_else(sandbox: Sandbox) -> None:
    async def give_up() -> None:
        with trio.move_on_after(0.002):
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.cancel_scope.cancel()

    error = await sandbox.fails(GuestError, await loaded(sandbox, host_function(give_up)))
    assert error.code == 7


async def test_an_error_beside_a_deadline_in_a_nursery_is_not_lost(sandbox: Sandbox) -> None:
    async def hang() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OwnError

    with pytest.raises(BaseExceptionGroup) as caught:
        await sandbox.call(await loaded(sandbox, host_function(hang)), host_call=0.05)
    assert caught.group_contains(OwnError)


async def test_a_host_function_may_call_guests_itself(sandbox: Sandbox) -> None:
    inner = await sandbox.load('(module (func (export "run") (result i32) (i32.const 3)))')
    spin = await sandbox.load(SPIN)

    async def nest() -> None:
        with pytest.raises(GuestError):
            await sandbox.call(inner)
        await sandbox.fails(LimitError, spin, cpu=0.02)

    error = await sandbox.fails(GuestError, await loaded(sandbox, host_function(nest)))
    assert error.code == 7


async def test_a_host_function_that_calls_its_own_guest_for_ever_ends_at_a_limit(sandbox: Sandbox) -> None:
    depth = 0
    program: FiberProgram

    async def again() -> None:
        nonlocal depth
        depth += 1
        await program.call("run", b"", options(wall=20))

    program = await loaded(sandbox, host_function(again))
    with pytest.raises(Exception) as caught:  # noqa: PT011 (which limit comes first is the host's matter)
        await program.call("run", b"", options(wall=20))
    assert not isinstance(caught.value, AssertionError)
    assert depth > 10


async def test_the_time_of_a_host_function_is_not_the_guest_s(sandbox: Sandbox) -> None:
    async def work() -> None:
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass

    error = await sandbox.fails(GuestError, await loaded(sandbox, host_function(work)), cpu=0.1)
    assert error.code == 7
    assert error.usage.cpu < 0.1
    assert error.usage.wall >= 0.2


async def test_a_host_function_that_awaits_another_framework_fails_alone(sandbox: Sandbox) -> None:
    class Foreign:
        def __await__(self) -> Any:
            yield "a message of another framework"

    async def foreign() -> None:
        await Foreign()

    with pytest.raises(TypeError, match="trio"):
        await sandbox.call(await loaded(sandbox, host_function(foreign)))


async def test_a_host_function_may_unload_its_plugin_and_load_others(sandbox: Sandbox) -> None:
    program: FiberProgram

    async def unload() -> None:
        program.close()
        assert (await sandbox.fails(GuestError, '(module (func (export "run") (unreachable)))')).code is None

    program = await loaded(sandbox, host_function(unload))
    assert (await sandbox.fails(GuestError, program)).code == 7
    with pytest.raises(UsageError):
        await sandbox.call(program)


async def test_what_a_guest_gives_a_host_function_is_bounded_however_often_it_names_one_block(sandbox: Sandbox) -> None:
    got: list[int] = []

    async def take(first: bytes, second: bytes) -> None:
        got.append(len(first) + len(second))

    function = HostFunction("take", take, (Value.BYTES, Value.BYTES))
    text = """(module
      (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
      (import "extism:host/user" "take" (func $take (param i64 i64)))
      (func (export "run") (local i64)
        (local.set 0 (call $alloc (i64.const 60)))
        (call $take (local.get 0) (local.get 0))))"""
    program = await sandbox.load(text, [function])
    await program.call("run", b"", options(output=120))
    with pytest.raises(LimitError, match="gave the host function 'take' 120 bytes; the limit 'output' is 119"):
        await program.call("run", b"", options(output=119))
    assert got == [120]
    assert sandbox.engine.in_flight.taken == 0
