"""A host function that raises, hangs, answers wrongly or is cancelled ends its call alone, and as itself."""

from __future__ import annotations

import contextlib
import math
import signal
import struct
import time
import types
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.lowlevel

from guests import GIVES, SPIN, Sandbox, gives, host_function, number, options, run, wat
from innkeeper.errors import DeniedError, GuestError, LimitError, UsageError
from innkeeper.sandbox import callbacks, kernel
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
    text = wat(run("(call $pause)" * 30), functions=[function])
    await sandbox.call(text, functions=[function], host_call=0.5)
    error = await sandbox.fails(LimitError, text, functions=[function], host_call=0.5, wall=0.1)
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
        trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.005)
            cleaned += 1

    program = await loaded(sandbox, host_function(hang))
    with trio.CancelScope() as scope:
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


_WIRE = """(module (import "test" "f" (func $f (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (import "extism:host/env" "output_set" (func $out (param i64 i64)))
  (func (export "run") (local $b i64) (local $f i64)
    (local.set $b (call $alloc (i64.const 8))) (local.set $f (call $f (local.get $b)))
    (call $store (local.get $b) (local.get $f)) (call $out (local.get $b) (i64.const 8))))"""


async def test_the_same_bytes_with_host_functions_of_other_types_share_no_code(sandbox: Sandbox) -> None:
    seen: list[object] = []

    async def f(value: object) -> Any:
        seen.append(value)
        return results[-1]

    results: list[object] = []
    block = kernel.START + 32
    for _ in range(2):
        # On the wire all of these are (i64) -> i64, so the guest's bytes fit each; cached code must not.
        for parameter, result, gives_, wanted, output in (
            (Value.BYTES, Value.BYTES, b"ab", bytes(8), block + 32),
            (Value.I64, Value.I64, 7, block, 7),
            (Value.BYTES, Value.I64, 8, bytes(8), 8),
            (Value.I64, Value.BYTES, b"c", block, block + 32),
        ):
            results.append(gives_)
            program = await sandbox.load(_WIRE, [HostFunction("f", f, [parameter], result, "test")])
            assert number(await sandbox.call(program)) == output
            assert seen[-1] == wanted
            program.close()


async def test_a_host_function_that_is_given_twice_is_the_hosts_mistake(sandbox: Sandbox) -> None:
    async def f(value: int) -> int:
        return value

    twice = [HostFunction("f", f, [kind], kind, "test") for kind in (Value.I64, Value.BYTES)]
    for functions in (twice, twice[:1] * 2, twice[::-1]):
        with pytest.raises(UsageError, match="'test' 'f' is given twice"):
            await sandbox.load(_WIRE, functions)


async def test_hundreds_of_host_functions_are_each_called_by_their_own_name(sandbox: Sandbox) -> None:
    called: list[int] = []

    def named(at: int) -> HostFunction:
        async def note(value: bytes | int) -> bytes | int:
            called.append(at)
            return value

        kind = Value.BYTES if at % 2 else Value.I64
        return HostFunction(f"h{at}", note, [kind], kind, f"n{at % 7}")

    functions = [named(at) for at in range(300)]
    body = "".join(f"(drop (call $h{at} (i64.const 0)))" for at in range(300))
    before = set(callbacks._bindings)
    for given in (functions, functions[::-1]):
        program = await sandbox.load(wat(run(body), functions=functions), given)
        await sandbox.call(program)
        assert called == list(range(300))
        called.clear()
        program.close()
    # What stood behind the imports goes with the plugin.
    assert callbacks._bindings.keys() <= before


async def test_a_host_function_that_parks_itself_by_hand_is_woken_and_its_session_goes_on(sandbox: Sandbox) -> None:
    async def parked() -> None:
        task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
        token.run_sync_soon(trio.lowlevel.reschedule, task)
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    program = await loaded(sandbox, host_function(parked))
    session = await program.open(options())
    for _ in range(3):
        with pytest.raises(GuestError) as caught:
            await session.call("run", b"", options())
        assert caught.value.code == 7
    await session.aclose()


async def test_a_host_function_that_waits_on_something_foreign_and_goes_on_is_not_lost(sandbox: Sandbox) -> None:
    @types.coroutine
    def foreign() -> Any:
        yield "a message that trio does not know"

    async def goes_on() -> None:
        with pytest.raises(TypeError):
            await foreign()
        await trio.lowlevel.checkpoint()
        with pytest.raises(TypeError):
            await foreign()

    assert (await sandbox.fails(GuestError, await loaded(sandbox, host_function(goes_on)))).code == 7


async def test_interrupts_at_any_moment_of_host_calls_leave_nothing_behind(sandbox: Sandbox) -> None:
    lock = trio.Lock()

    async def waits() -> None:
        async with lock:
            await trio.lowlevel.checkpoint()

    async def answers() -> None:
        signal.raise_signal(signal.SIGINT)

    async def nested() -> None:
        with contextlib.suppress(GuestError):
            await waiting.call("run", b"", options())
        signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()

    waiting = await loaded(sandbox, host_function(waits))
    for program in (await loaded(sandbox, host_function(answers)), await loaded(sandbox, host_function(nested))):
        for _ in range(20):
            with pytest.raises(KeyboardInterrupt):
                await sandbox.call(program)
            assert program.calls.taken == waiting.calls.taken == 0
    assert not lock.locked()
    assert not callbacks.running
