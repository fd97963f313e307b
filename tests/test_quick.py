"""Host functions that answer at once give what async ones give; those that take too long end at their own limit."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from guests import GIVES, NOTHING, Sandbox, assemble, gives, number, options, run, wat
from innkeeper.errors import DeniedError, GuestError, LimitError, RejectedError, UsageError
from innkeeper.sandbox import clock, kernel
from innkeeper.sandbox import guest as guest_module
from innkeeper.sandbox.inline import BRIEF_ENOUGH
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.limits import MIB
from innkeeper.sandbox.workers import Workers

NUMBERS = {Value.I32: "i32", Value.I64: "i64", Value.F32: "f32", Value.F64: "f64"}


def both(
    handler: Callable[..., Any], parameters: list[Value] | None = None, result: Value | None = None
) -> list[HostFunction]:
    """The same host function, `ask`, quick and async."""

    async def later(*values: Any) -> Any:
        return handler(*values)

    return [
        HostFunction("ask", handler, parameters or [], result, "test", quick=True),
        HostFunction("ask", later, parameters or [], result, "test"),
    ]


def quick(
    handler: Callable[..., Any], parameters: list[Value] | None = None, result: Value | None = None
) -> HostFunction:
    return both(handler, parameters, result)[0]


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The guests that went to a worker."""
    seen: list[object] = []
    run_ = Workers.run

    async def watched(self: Workers, turn: Any) -> None:
        seen.append(turn)
        await run_(self, turn)

    monkeypatch.setattr(Workers, "run", watched)
    return seen


async def inline(sandbox: Sandbox, program: Any, hops: list[object], function: str = "run") -> None:
    """Calls until the function runs on trio's thread."""
    with trio.fail_after(60):
        while True:
            hops.clear()
            await sandbox.call(program, function)
            if not hops:
                return


ROUND = [
    (Value.I32, [0, 1, -1, (1 << 31) - 1, -(1 << 31), (1 << 32) - 1, True]),
    (Value.I64, [0, 1, -1, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1, False]),
    (Value.F32, [0.0, -0.0, 1.5, float("inf"), float("-inf"), 3, 1e-45]),
    (Value.F64, [0.0, -0.0, 0.1, float("inf"), float("-inf"), 7, 5e-324, 1.7976931348623157e308]),
]


@pytest.mark.parametrize(("kind", "values"), ROUND, ids=[kind.value for kind, _ in ROUND])
async def test_numbers_go_both_ways_as_with_an_async_function(
    sandbox: Sandbox, kind: Value, values: list[Any], hops: list[object]
) -> None:
    answer: Any = values[0]
    seen: list[bytes] = []
    outcomes: list[list[Any]] = []
    name = NUMBERS[kind]

    def ask(got: Any) -> Any:
        seen.append(struct.pack("<q" if isinstance(got, int) else "<d", got))
        return answer

    for function in both(ask, [kind], kind):
        # What the host answers goes to the host again, and into the output as it is in memory.
        text = wat(
            f"""(memory 1) (func (export "run") (local $block i64)
              ({name}.store (i32.const 0) (call $ask (call $ask ({name}.const 0))))
              (local.set $block (call $alloc (i64.const 8)))
              (call $store_u64 (local.get $block) (i64.load (i32.const 0)))
              (call $output_set (local.get $block) (i64.const 8)))""",
            GIVES,
            functions=[function],
        )
        program = await sandbox.load(text, [function])
        await inline(sandbox, program, hops)
        seen.clear()
        outputs: list[Any] = []
        for value in values:
            answer = value
            result = await sandbox.call(program)
            outputs.append((result.output, result.usage.host_calls))
        outcomes.append([outputs, list(seen)])
    assert outcomes[0] == outcomes[1]


async def test_mixed_arguments_arrive_in_their_order_wherever_the_guest_runs(
    sandbox: Sandbox, hops: list[object]
) -> None:
    kinds = [Value.I32, Value.BYTES, Value.F64, Value.BYTES, Value.I64, Value.F32]
    got: list[Any] = []
    for function in both(lambda *values: got.append(values), kinds):
        text = wat(
            run(
                """(call $ask (i32.const -5) (call $input_offset) (f64.const 0.25) (call $alloc (i64.const 3))
                  (i64.const -6) (f32.const 1.5))"""
            ),
            "input_offset alloc",
            functions=[function],
        )
        program = await sandbox.load(text, [function])
        await inline(sandbox, program, hops)
        got.clear()
        await sandbox.call(program, data=b"bytes of input")
        assert got == [(-5, b"bytes of input", 0.25, b"\0\0\0", -6, 1.5)]


ECHO = wat(
    run("""(local $block i64) (local.set $block (call $ask (call $input_offset)))
      (call $output_set (local.get $block) (call $length (local.get $block)))"""),
    "input_offset length output_set",
    functions=[HostFunction("ask", bytes, [Value.BYTES], Value.BYTES, "test")],
)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 4096, 4097, 65_519, 65_536, 200_000, MIB])
async def test_bytes_of_any_size_go_both_ways(sandbox: Sandbox, size: int, hops: list[object]) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    for function in both(lambda got: got[::-1], [Value.BYTES], Value.BYTES):
        program = await sandbox.load(ECHO, [function])
        for _ in range(3):
            assert (await sandbox.call(program, data=data)).output == data[::-1]
        # A small input leaves no room for a large answer: the kernel makes some.
        grown = [HostFunction("ask", lambda got: data, [Value.BYTES], Value.BYTES, "test", quick=True)]
        assert (await sandbox.call(await sandbox.load(ECHO, grown), data=b"x")).output == data


async def test_each_of_many_answers_has_a_block_of_its_own(sandbox: Sandbox) -> None:
    sizes: list[int] = []

    def ask(number: int) -> bytes:
        sizes.append(number * 37 % 5000)
        return bytes([number % 256]) * sizes[-1]

    function = quick(ask, [Value.I64], Value.BYTES)
    text = wat(
        gives(
            """(local $i i64) (local $sum i64) (local $first i64)
            (local.set $first (call $ask (i64.const 1)))
            (loop (local.set $i (i64.add (local.get $i) (i64.const 1)))
              (local.set $sum (i64.add (local.get $sum) (call $length (call $ask (local.get $i)))))
              (br_if 0 (i64.lt_u (local.get $i) (i64.const 300))))
            (local.get $sum)"""
        )
        .replace("(local $i i64) (local $sum i64) (local $first i64)", "")
        .replace("(local $block i64)", "(local $i i64) (local $sum i64) (local $first i64) (local $block i64)"),
        f"{GIVES} length",
        functions=[function],
    )
    assert number(await sandbox.call(text, functions=[function])) == sum(sizes[1:])


WORDS = [0, 1, 15, 16, 17, kernel.START - 1, kernel.START, 65_535, 65_536, 1 << 17, 1 << 18, (1 << 31) - 1, 1 << 31]
WORDS += [(1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 65_536, (1 << 64) - 16, (1 << 64) - 1]


@pytest.mark.parametrize("mode", [0, 1], ids=["quick", "async"])
async def test_a_forged_block_is_the_guest_s_error_or_bytes_of_its_own_memory(sandbox: Sandbox, mode: int) -> None:
    got: list[bytes] = []
    function = both(got.append, [Value.BYTES])[mode]
    text = wat(
        f"""(func (export "offset") (call $ask (call $input_load_u64 (i64.const 0))))
        (func (export "forge") (local $block i64)
          (local.set $block (call $alloc (i64.const 64)))
          (call $store_u64 (i64.sub (local.get $block) (i64.const {kernel.HEADER}))
            (call $input_load_u64 (i64.const 0)))
          (call $ask (local.get $block)))""",
        "alloc store_u64 input_load_u64",
        functions=[function],
    )
    program = await sandbox.load(text, [function])
    reached = 0
    for word in WORDS:
        for name in ("offset", "forge"):
            got.clear()
            try:
                await sandbox.call(program, name, word.to_bytes(8, "little"))
            except GuestError:
                assert got == []
            else:
                reached += 1
                (data,) = got
                assert len(data) in ((word,) if name == "forge" else range(2 * kernel.PAGE))
    assert 0 < reached < len(WORDS) * 2


@pytest.mark.parametrize("length", [1 << 20, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
async def test_lengths_and_offsets_outside_of_the_memory_never_reach_the_function(
    sandbox: Sandbox, length: int, hops: list[object]
) -> None:
    got: list[Any] = []
    for function in both(lambda *data: got.append(data), [Value.BYTES, Value.BYTES]):
        text = wat(
            f"""(func (export "run") (local $block i64)
              (local.set $block (call $alloc (i64.const 64)))
              (if (i64.ne (call $input_length) (i64.const 0)) (then
                (call $store_u64 (i64.sub (local.get $block) (i64.const {kernel.HEADER})) (i64.const {length}))))
              (call $ask (call $alloc (i64.const 1)) (local.get $block)))
            (func (export "far") (call $ask (i64.const {length}) (i64.const {length})))""",
            "alloc store_u64 input_length",
            functions=[function],
        )
        program = await sandbox.load(text, [function])
        await inline(sandbox, program, hops)
        got.clear()
        for name, data in (("run", b"forge"), ("far", b"")):
            # The kernel has no length for what is no block: such an offset is an empty one or traps.
            if name == "run":
                await sandbox.fails(GuestError, program, name, data)
            else:
                try:
                    await sandbox.call(program, name, data)
                except GuestError:
                    continue
                assert got == [(b"", b"")]
                got.clear()
        assert got == []


async def test_more_bytes_than_the_limit_on_output_are_a_limit_of_its_name(sandbox: Sandbox) -> None:
    for function in both(lambda *data: None, [Value.BYTES]):
        text = wat(run("(call $ask (call $input_offset))"), "input_offset", functions=[function])
        error = await sandbox.fails(LimitError, text, data=bytes(101), functions=[function], output=100)
        assert (error.limit, error.value, error.used) == ("output", 100, 101)
        assert "'ask'" in error.message
        await sandbox.call(text, data=bytes(100), functions=[function], output=100)


async def test_an_answer_beyond_the_kernel_s_memory_is_a_limit_of_its_name(sandbox: Sandbox) -> None:
    answer = bytes(2 * MIB)
    for function in both(lambda data: answer, [Value.BYTES], Value.BYTES):
        error = await sandbox.fails(LimitError, ECHO, functions=[function], kernel_memory=MIB)
        assert error.limit == "kernel_memory"


class OwnBaseError(BaseException):
    pass


CALLS = '(func (export "run") (result i32) {} (i32.const 0))'


@pytest.mark.parametrize("kind", [KeyError, OwnBaseError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("result", [None, Value.I32, Value.BYTES])
async def test_what_it_raises_the_call_raises_as_it_is(
    sandbox: Sandbox, kind: type[BaseException], result: Value | None, hops: list[object]
) -> None:
    raised: BaseException | None = None

    def ask() -> Any:
        if raised is not None:
            raise raised
        return None if result is None else 0 if result is Value.I32 else b""

    function = quick(ask, [], result)
    text = wat(CALLS.format("(drop (call $ask))" if result else "(call $ask)"), functions=[function])
    program = await sandbox.load(text, [function])
    raised = kind("on a worker")
    with pytest.raises(kind) as first:
        await sandbox.call(program)
    assert first.value is raised
    raised = None
    await inline(sandbox, program, hops)
    raised = kind("on trio's thread")
    with pytest.raises(kind) as caught:
        await sandbox.call(program)
    assert caught.value is raised
    raised = None
    await sandbox.call(program)


async def test_what_no_coroutine_can_raise_is_the_cause_of_an_error_as_python_says(
    sandbox: Sandbox, hops: list[object]
) -> None:
    stops = False

    def ask() -> None:
        if stops:
            raise StopIteration("the host's own")

    function = quick(ask)
    for warm in (False, True):
        program = await sandbox.load(wat(CALLS.format("(call $ask)"), functions=[function]), [function])
        stops = False
        if warm:
            await inline(sandbox, program, hops)
        stops = True
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await sandbox.call(program)
        assert isinstance(caught.value.__cause__, StopIteration)


async def test_an_error_of_innkeeper_s_gets_the_call_s_names_and_usage(sandbox: Sandbox, hops: list[object]) -> None:
    refuse = False

    def ask() -> None:
        if refuse:
            raise DeniedError("not granted", capability="kb.read:world")

    function = quick(ask)
    program = await sandbox.load(wat(CALLS.format("(call $ask)"), functions=[function]), [function])
    await inline(sandbox, program, hops)
    refuse = True
    error = await sandbox.fails(DeniedError, program)
    assert (error.plugin, error.function, error.usage.host_calls) == ("hostile", "run", 1)


WRONG: dict[Value, list[Any]] = {
    Value.I32: [None, "1", b"1", 1.0, [1], 1 << 32, -(1 << 31) - 1, 10**5000],
    Value.I64: [None, "1", 1.5, (1,), 1 << 64, -(1 << 63) - 1, 10**5000],
    Value.F32: [None, "1.5", b"1.5", 1j, 1e300],
    Value.F64: [None, "1.5", 1j, 10**400],
    Value.BYTES: ["text", 1, 1.5, [1], {}],
}


@pytest.mark.parametrize("kind", Value, ids=[kind.value for kind in Value])
async def test_a_wrong_answer_is_an_error_that_names_the_function(
    sandbox: Sandbox, kind: Value, hops: list[object]
) -> None:
    answer: Any = None
    good = b"" if kind is Value.BYTES else 0

    def ask() -> Any:
        return answer

    for function in both(ask, [], kind):
        answer = good
        program = await sandbox.load(wat(CALLS.format("(drop (call $ask))"), functions=[function]), [function])
        for on_trios_thread in (False, True):
            if on_trios_thread:
                answer = good
                await inline(sandbox, program, hops)
            for wrong in WRONG[kind]:
                answer = wrong
                with pytest.raises((TypeError, OverflowError)) as caught:
                    await sandbox.call(program)
                assert "'ask'" in str(caught.value), (
                    function.quick,
                    on_trios_thread,
                    repr(answer)[:20] if not isinstance(answer, int) else kind,
                )
                assert len(str(caught.value)) < 200


async def test_what_a_function_without_a_result_returns_is_ignored(sandbox: Sandbox) -> None:
    for answer in (None, 1, b"bytes", object()):
        function = quick(lambda answer=answer: answer)
        await sandbox.call(wat(CALLS.format("(call $ask)"), functions=[function]), functions=[function])


async def test_its_calls_are_counted_and_end_at_their_limit(sandbox: Sandbox) -> None:
    seen: list[int] = []
    for function in both(lambda: seen.append(1)):
        seen.clear()
        text = wat('(func (export "run") (loop (call $ask) (br 0)))', functions=[function])
        error = await sandbox.fails(LimitError, text, functions=[function], host_calls=500, cpu=60.0)
        assert (error.limit, error.value, error.used) == ("host_calls", 500, 501)
        assert error.usage.host_calls == 501
        assert len(seen) == 500


async def test_it_runs_on_trios_thread_wherever_the_guest_runs(sandbox: Sandbox, hops: list[object]) -> None:
    threads: list[int] = []
    function = quick(lambda data: threads.append(threading.get_ident()), [Value.BYTES])
    text = wat(run("(call $ask (call $input_offset))"), "input_offset", functions=[function])
    program = await sandbox.load(text, [function])
    await sandbox.call(program, data=b"first")
    assert hops, "a function that is not known starts on a worker"
    await inline(sandbox, program, hops)
    assert len(threads) >= 2
    assert set(threads) == {threading.get_ident()}


async def test_one_that_is_async_is_refused_at_load(sandbox: Sandbox) -> None:
    async def ask() -> None:
        pass

    function = HostFunction("ask", ask, namespace="test", quick=True)
    with pytest.raises(UsageError, match="'ask' is quick and async at once"):
        await sandbox.load(NOTHING, [function])
    with pytest.raises(RejectedError):
        await sandbox.engine.load(assemble(NOTHING), functions=[HostFunction("x", print, namespace=kernel.ENV)])


async def test_the_time_that_it_takes_is_the_guest_s_and_ends_the_guest_at_the_limit(
    sandbox: Sandbox, hops: list[object]
) -> None:
    calls = 0
    busy = False

    def ask() -> int:
        nonlocal calls
        calls += 1
        end = time.thread_time() + (0.01 if busy else 0)
        while time.thread_time() < end:
            pass
        return int(busy)

    function = quick(ask, [], Value.I32)
    text = wat('(func (export "run") (loop (br_if 0 (call $ask))))', functions=[function])
    program = await sandbox.load(text, [function])
    await inline(sandbox, program, hops)
    calls, busy = 0, True
    error = await sandbox.fails(LimitError, program, cpu=0.2, wall=100.0)
    assert error.limit == "cpu"
    # On a worker, where it goes to when it was long, the functions' time is the host's.
    assert calls <= 10_000
    assert error.usage.cpu >= 0.2


async def test_time_in_which_the_whole_process_is_stopped_is_nobodys_processor_time(
    sandbox: Sandbox, hops: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, stops = 0.0, False

    def ask() -> None:
        nonlocal stopped
        stopped += 100.0 if stops else 0.0

    function = quick(ask, [], None)
    program = await sandbox.load(wat(run("(call $ask)"), functions=[function]), [function])
    while program.habit("run").brief < BRIEF_ENOUGH:
        await sandbox.call(program)
    hops.clear()
    stops = True
    monkeypatch.setattr(guest_module, "perf_counter", lambda: time.perf_counter() + stopped)
    usage = (await sandbox.call(program, cpu=50.0, wall=1000.0)).usage
    assert (stopped, hops) == (100.0, [])
    assert usage.cpu < 50


async def test_a_timer_goes_on_beside_a_guest_that_does_nothing_but_call_it(
    sandbox: Sandbox, hops: list[object]
) -> None:
    goes_on = 0
    function = quick(lambda: int(0 < goes_on < 20), [], Value.I32)
    text = wat('(func (export "run") (loop (br_if 0 (call $ask))))', functions=[function])
    program = await sandbox.load(text, [function])
    await inline(sandbox, program, hops)

    async def timer() -> None:
        nonlocal goes_on
        while goes_on < 20:
            await trio.sleep(0.005)
            goes_on += 1

    goes_on = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer)
        # It ends only when the timer has gone on.
        await program.call("run", b"", options(host_calls=10**9, cpu=300.0, wall=3000.0))
    assert goes_on == 20


async def test_an_endless_loop_of_calls_can_be_cancelled(sandbox: Sandbox, hops: list[object]) -> None:
    again = 0
    function = quick(lambda: again, [], Value.I32)
    text = wat('(func (export "run") (loop (br_if 0 (call $ask))))', functions=[function])
    program = await sandbox.load(text, [function])
    await inline(sandbox, program, hops)
    again = 1
    with trio.move_on_after(0.05) as scope:
        await program.call("run", b"", options(host_calls=10**9, cpu=300.0, wall=3000.0))
    assert scope.cancelled_caught


# --- those that take their time ---------------------------------------------------------------------------------------

WAITS = wat(
    '(func (export "run") (call $ask)) (func (export "spin") (call $ask) (loop (br 0)))',
    functions=[HostFunction("ask", print, namespace="test")],
)


@pytest.mark.parametrize("limit", [0.25, 0.5])
async def test_a_host_function_that_takes_longer_than_its_limit_ends_by_its_name(
    sandbox: Sandbox, limit: float
) -> None:
    assert 0.25 < 3 * clock.WATCH < 0.5, "one whose deadline is moved at once, one that is watched"
    ended = []

    async def ask() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    function = HostFunction("ask", ask, namespace="test")
    error = await sandbox.fails(LimitError, WAITS, functions=[function], host_call=limit)
    assert (error.limit, error.value) == ("host_call", limit)
    assert "'ask'" in error.message
    assert ended == [True]
    assert error.usage.wall >= limit
    assert not sandbox.engine.steps


@pytest.mark.parametrize("limit", [20.0, 40.0])
@pytest.mark.parametrize("seconds", [0.0, 0.15])
async def test_one_that_ends_in_time_is_left_alone_and_the_wall_limit_still_holds_afterwards(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, limit: float, seconds: float
) -> None:
    # As above, with both sides of it far away from what a busy machine may need.
    monkeypatch.setattr(clock, "WATCH", 10.0)
    ends = []

    async def ask() -> None:
        await trio.sleep(seconds)
        ends.append(True)

    function = HostFunction("ask", ask, namespace="test")
    program = await sandbox.load(WAITS, [function])
    await sandbox.call(program, host_call=limit, wall=100.0)
    error = await sandbox.fails(LimitError, program, "spin", host_call=limit, wall=1.0, cpu=60.0)
    assert (error.limit, error.value) == ("wall", 1.0)
    assert ends[0]
    assert not sandbox.engine.steps


@pytest.mark.parametrize("limit", [20.0, 40.0])
async def test_the_wall_limit_ends_a_host_function_that_has_time_left(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    monkeypatch.setattr(clock, "WATCH", 10.0)
    function = HostFunction("ask", trio.sleep_forever, namespace="test")
    error = await sandbox.fails(LimitError, WAITS, functions=[function], host_call=limit, wall=0.3)
    assert (error.limit, error.value) == ("wall", 0.3)
    assert not sandbox.engine.steps


async def test_each_of_many_that_last_has_its_own_time(sandbox: Sandbox) -> None:
    async def ask() -> None:
        await trio.sleep_forever()

    function = HostFunction("ask", ask, namespace="test")
    program = await sandbox.load(WAITS, [function])

    async def ends(limit: float) -> None:
        error = await sandbox.fails(LimitError, program, host_call=limit)
        assert (error.limit, error.value) == ("host_call", limit)

    async with trio.open_nursery() as nursery:
        for step in range(30):
            nursery.start_soon(ends, 0.1 + step / 50)
    assert not sandbox.engine.steps
