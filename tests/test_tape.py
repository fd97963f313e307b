"""A recorded call runs again bit for bit with nothing behind it, and a changed guest is caught where it departs."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guests import Sandbox, assemble, opened, wat
from innkeeper.bridge.journal.model import Given, Journal, Printed, Raised, Wrote
from innkeeper.bridge.journal.player import same
from innkeeper.bridge.journal.recorder import Recorder
from innkeeper.bridge.journal.room import Room
from innkeeper.errors import InnkeeperError, UsageError
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.limits import MIB
from innkeeper.sandbox.oracle.engine import open_oracle
from innkeeper.sandbox.wasi import FUNCTIONS, Preopen, WasiRights
from innkeeper.sandbox.wasi.questions import LIVE, SHAPES
from tapes import EMIT, ENV, again, guest, record

REAL = WasiRights(clock=True, random=True)
B = Value.BYTES


async def waits(data: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return data[:8] + os.urandom(random.randrange(200))


async def ready(data: bytes) -> bytes:
    return os.urandom(12)


def quick(data: bytes) -> bytes:
    return os.urandom(9000)


async def numbers(one: int, two: float) -> int:
    return random.getrandbits(63) ^ one


def draws() -> float:
    return random.random()


HOST = [
    HostFunction("waits", waits, (B,), B),
    HostFunction("ready", ready, (B,), B),
    HostFunction("quick", quick, (B,), B, quick=True),
    HostFunction("numbers", numbers, (Value.I64, Value.F64), Value.I64),
    HostFunction("draws", draws, (), Value.F64, quick=True),
]
WASI = "clock_time_get random_get fd_write poll_oneoff fd_fdstat_get fd_close"

SPIN = """(local.set $x (i64.const 3000000))
  (loop (br_if 0 (i64.ne (local.tee $x (i64.sub (local.get $x) (i64.const 1))) (i64.const 0))))"""
_ASKS: list[Callable[[int], str]] = [
    *(
        lambda n, name=name: f"(call $block (call ${name} (call $own (i32.const {n}) (i64.const {n % 30 + 1}))))"
        for name in ("waits", "ready", "quick")
    ),
    lambda n: f"(call $word (call $numbers (i64.const {n}) (f64.const {n}.5)))",
    lambda n: "(call $word (i64.reinterpret_f64 (call $draws)))",
    lambda n: (
        f"""(drop (call $clock_time_get (i32.const {n % 2}) (i64.const 0) (i32.const 2048)))
      (call $emit (i32.const 2048) (i32.const 8))"""
    ),
    lambda n: (
        f"""(drop (call $random_get (i32.const 4096) (i32.const {n * 200})))
      (call $emit (i32.const 4096) (i32.const {n * 4}))"""
    ),
    # Prints bytes of its own.
    lambda n: (
        f"""(i32.store (i32.const 3000) (i32.const {n})) (i32.store (i32.const 3004) (i32.const {60 - n % 20}))
      (call $word (i64.extend_i32_u (call $fd_write (i32.const {1 + n % 2}) (i32.const 3000) (i32.const 1)
        (i32.const 3008)))) (call $emit (i32.const 3008) (i32.const 4))"""
    ),
    # Sleeps a little.
    lambda n: (
        f"""(memory.fill (i32.const 3100) (i32.const 0) (i32.const 48))
      (i64.store (i32.const 3124) (i64.const {n}))
      (call $word (i64.extend_i32_u (call $poll_oneoff (i32.const 3100) (i32.const 3200) (i32.const 1)
        (i32.const 3300)))) (call $emit (i32.const 3200) (i32.const 32))"""
    ),
    lambda n: (
        f"""(call $word (i64.extend_i32_u (call $fd_fdstat_get (i32.const {n % 5}) (i32.const 3400))))
      (call $emit (i32.const 3400) (i32.const 24))"""
    ),
    lambda n: f"(call $word (i64.extend_i32_u (call $fd_close (i32.const {n % 5}))))",
    lambda n: SPIN,
]
STEPS = st.lists(st.tuples(st.integers(0, len(_ASKS) - 1), st.integers(0, 30)), max_size=8)


def body(steps: list[tuple[int, int]]) -> str:
    return "\n".join(_ASKS[which](number) for which, number in steps)


def made(steps: list[tuple[int, int]]) -> bytes:
    return guest(body(steps), WASI, HOST)


def names(journal: Journal) -> list[str]:
    return [journal.functions[call.function].name for call in journal.calls]


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, real=st.booleans())
def test_whatever_a_guest_asks_it_does_the_same_again_from_its_journal(
    steps: list[tuple[int, int]], real: bool
) -> None:
    async def main() -> None:
        async with opened() as sandbox:
            wasm = made(steps)
            journal = await record(sandbox, wasm, HOST, rights=REAL if real else WasiRights(), cpu=5.0)
            assert journal.ending.kind == "output", journal.ending
            for _ in range(2):
                verdict = await again(sandbox, journal, wasm)
                assert verdict.same, verdict
                assert verdict.whole
                assert verdict.calls == len(journal.calls)

    trio.run(main)


ASKING = st.integers(0, 4)


@settings(deadline=None, max_examples=8)
@given(
    before=STEPS, one=st.tuples(ASKING, st.integers(1, 30)), other=st.tuples(ASKING, st.integers(1, 30)), after=STEPS
)
def test_a_changed_guest_is_caught_at_the_first_call_that_departs(
    before: list[tuple[int, int]], one: tuple[int, int], other: tuple[int, int], after: list[tuple[int, int]]
) -> None:
    async def main() -> None:
        async with opened() as sandbox:
            journal = await record(sandbox, made([*before, one, *after]), HOST, rights=REAL, cpu=5.0)
            until = await record(sandbox, made(before), HOST, rights=REAL, cpu=5.0)
            verdict = await again(sandbox, journal, made([*before, other, *after]))
            if one == other or one[0] == other[0] == 4:
                assert verdict.same
                return
            assert not verdict.same
            assert verdict.departure is not None
            assert verdict.departure.number == len(until.calls) + 1
            assert verdict.departure.recorded is not None
            assert verdict.departure.now is not None
            assert verdict.departure.recorded.name == _name(one)
            assert verdict.departure.now.name == _name(other)

    trio.run(main)


def _name(step: tuple[int, int]) -> str:
    return HOST[step[0]].name


async def test_a_guest_that_asks_more_or_less_than_it_did_departs(sandbox: Sandbox) -> None:
    short, long = made([(0, 1)]), made([(0, 1), (1, 2)])
    journal = await record(sandbox, short, HOST)
    departure = (await again(sandbox, journal, long)).departure
    assert departure is not None
    assert (departure.number, departure.recorded) == (2, None)
    assert departure.now is not None
    assert departure.now.name == "ready"
    departure = (await again(sandbox, await record(sandbox, long, HOST), short)).departure
    assert departure is not None
    assert (departure.number, departure.now) == (2, None)


async def test_a_guest_whose_calls_are_the_same_and_whose_end_is_not_is_told_so(sandbox: Sandbox) -> None:
    journal = await record(sandbox, made([(0, 1), (7, 1)]), HOST)
    other = guest(body([(0, 1), (7, 2)]) + "(call $word (i64.const 7))", WASI, HOST)
    verdict = await again(sandbox, journal, other)
    assert not verdict.same
    assert verdict.departure is None
    assert [each.what for each in verdict.differences] == ["output", "log"]
    traps = guest(body([(0, 1), (7, 1)]) + "(unreachable)", WASI, HOST)
    verdict = await again(sandbox, journal, traps)
    assert [(each.what, each.now) for each in verdict.differences] == [
        ("outcome", "guest: the guest trapped: unreachable code was reached")
    ]


async def test_a_guest_that_works_in_another_place_of_its_memory_is_the_same(sandbox: Sandbox) -> None:
    def reads_the_clock(at: int) -> bytes:
        return guest(
            f"(drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const {at})))"
            f"(drop (call $random_get (i32.const {at + 100}) (i32.const 5000)))"
            f"(call $emit (i32.const {at}) (i32.const 8)) (call $emit (i32.const {at + 100}) (i32.const 5000))",
            WASI,
        )

    journal = await record(sandbox, reads_the_clock(2048), rights=REAL)
    assert names(journal) == ["clock_time_get", "random_get"]
    assert (await again(sandbox, journal, reads_the_clock(9000))).same
    # Where there is no memory for the answer.
    departure = (await again(sandbox, journal, reads_the_clock(131_072))).departure
    assert departure is not None
    assert not departure.answer_fits


async def test_without_rights_nothing_of_wasi_is_recorded(sandbox: Sandbox) -> None:
    wasm = made([(5, 0), (6, 30), (7, 1), (8, 1), (10, 1)])
    journal = await record(sandbox, wasm, HOST)
    assert journal.calls == ()
    assert not journal.real
    assert (await again(sandbox, journal, wasm)).same


@pytest.mark.parametrize("threads", [False, True])
async def test_a_quick_function_is_recorded_wherever_its_guest_runs(sandbox: Sandbox, threads: bool) -> None:
    # The first call of a function runs on a worker, and so does who was long.
    wasm = guest((SPIN if threads else "") + "(call $word (i64.reinterpret_f64 (call $draws)))" * 3, WASI, HOST)
    for _ in range(4):
        journal = await record(sandbox, wasm, HOST)
        assert names(journal) == ["draws"] * 3
        assert journal.ending.output == b"".join(
            __import__("struct").pack("<d", call.answer.value)
            for call in journal.calls
            if isinstance(call.answer, Given)
        )
        assert (await again(sandbox, journal, wasm)).same


async def test_files_are_played_back_without_being_there(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "in").write_bytes(b"what the file says")
    wasi = "path_open fd_read fd_write fd_close fd_readdir fd_seek fd_filestat_get path_unlink_file fd_renumber"
    result = "(call $word (i64.extend_i32_u {}))".format
    opens = """(call $path_open (i32.const 3) (i32.const 0) (i32.const {}) (i32.const {}) (i32.const {}) (i64.const -1)
      (i64.const 0) (i32.const 0) (i32.const 2000))""".format
    wasm = guest(
        # Reads "in" in two buffers, writes "out", lists, removes, and prints where a file was.
        result(opens(1100, 2, 0))
        + """(i32.store (i32.const 2100) (i32.const 5000)) (i32.store (i32.const 2104) (i32.const 4))
        (i32.store (i32.const 2108) (i32.const 6000)) (i32.store (i32.const 2112) (i32.const 100))"""
        + result("(call $fd_read (i32.load (i32.const 2000)) (i32.const 2100) (i32.const 2) (i32.const 2200))")
        + "(call $emit (i32.const 5000) (i32.const 4)) (call $emit (i32.const 6000) (i32.const 20))"
        + result(opens(1110, 3, 1))
        + """(i32.store (i32.const 2100) (i32.const 5000)) (i32.store (i32.const 2104) (i32.const 3))"""
        + result("(call $fd_write (i32.load (i32.const 2000)) (i32.const 2100) (i32.const 1) (i32.const 2200))")
        + result("(call $fd_filestat_get (i32.load (i32.const 2000)) (i32.const 7000))")
        + "(call $emit (i32.const 7000) (i32.const 64))"
        + result("(call $fd_readdir (i32.const 3) (i32.const 8000) (i32.const 500) (i64.const 0) (i32.const 2200))")
        + "(call $emit (i32.const 8000) (i32.const 500))"
        # Standard output under another number, and a file under its own.
        + result("(call $fd_renumber (i32.const 1) (i32.const 4))")
        + result("(call $fd_renumber (i32.load (i32.const 2000)) (i32.const 2))")
        + result("(call $fd_write (i32.const 2) (i32.const 2100) (i32.const 1) (i32.const 2200))")
        + result("(call $fd_write (i32.const 4) (i32.const 2100) (i32.const 1) (i32.const 2200))")
        + result("(call $path_unlink_file (i32.const 3) (i32.const 1100) (i32.const 2))")
        + result("(call $fd_close (i32.const 77))"),
        wasi,
        more='(data (i32.const 1100) "in") (data (i32.const 1110) "out")',
    )
    rights = WasiRights(files=(Preopen("/f", folder, writable=True),))
    journal = await record(sandbox, wasm, rights=rights)
    assert journal.ending.kind == "output"
    assert b"what the file says" in journal.ending.output
    assert (folder / "out").read_bytes() == b"whawha"
    assert not (folder / "in").exists()
    answers = [call.answer for call in journal.calls]
    assert [type(each) for each in answers].count(Printed) == 1
    assert all(not each.errno for each in answers[:-1] if isinstance(each, Wrote))
    assert journal.log == (("info", "wha"),)
    assert str(tmp_path) not in repr(journal)
    (folder / "out").unlink()
    folder.rmdir()
    verdict = await again(sandbox, journal, wasm)
    assert verdict.same, verdict
    assert not folder.exists()


_answers = (
    st.none()
    | st.just(Raised())
    | st.builds(Given, st.none() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.binary(max_size=20_000))
    | st.builds(Printed, st.sampled_from((1, 2)))
    | st.builds(
        Wrote,
        st.integers(0, 76),
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(-(1 << 40), 1 << 40) | st.integers(-9, 9), st.binary(max_size=9)),
            max_size=3,
        ).map(tuple),
    )
)


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_whatever_a_journal_answers_the_guest_stays_within_its_memory_and_the_replay_within_its_errors(
    data: st.DataObject,
) -> None:
    async def main() -> None:
        async with opened() as sandbox:
            wasm = made([(0, 1), (2, 2), (3, 3), (4, 4), (5, 0), (6, 1), (7, 2), (8, 3)])
            journal = await record(sandbox, wasm, HOST, rights=REAL, cpu=5.0)
            calls = list(journal.calls)
            for _ in range(data.draw(st.integers(1, 3))):
                at = data.draw(st.integers(0, len(calls) - 1))
                calls[at] = replace(calls[at], answer=data.draw(_answers))
            with suppress(InnkeeperError):
                await again(sandbox, replace(journal, calls=tuple(calls)), wasm)

    trio.run(main)


async def test_types_that_do_not_fit_the_module_are_not_believed(sandbox: Sandbox) -> None:
    wasm = made([(0, 1), (3, 3)])
    journal = await record(sandbox, wasm, HOST)
    odd = tuple(replace(each, parameters=(Value.F32,), result=None) for each in journal.functions)
    verdict = await again(sandbox, replace(journal, functions=odd), wasm)
    assert verdict.departure is not None
    assert verdict.departure.number == 1


# --- where a recording ends -----------------------------------------------------------------------------------------


async def test_a_recording_ends_where_a_host_function_failed_and_does_not_say_why(sandbox: Sandbox) -> None:
    async def fails(data: bytes) -> bytes:
        raise OSError("hunter2 in /etc/shadow")

    functions = [HOST[0], HostFunction("fails", fails, (B,), B)]
    calls = "(call $block (call $waits (call $own (i32.const 0) (i64.const 9))))(drop (call $fails (i64.const 0)))"
    wasm = guest(calls, functions=functions)
    journal = await record(sandbox, wasm, functions)
    assert journal.ending.kind == "exception"
    assert "hunter2" not in repr(journal)
    assert journal.calls[-1].answer == Raised()
    verdict = await again(sandbox, journal, wasm)
    assert (verdict.same, verdict.whole, verdict.calls) == (True, False, 1)


async def test_a_recording_ends_where_the_call_was_cancelled_or_took_too_long(sandbox: Sandbox) -> None:
    async def never(data: bytes) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    functions = [HOST[0], HostFunction("never", never, (B,), B)]
    calls = "(call $block (call $waits (call $own (i32.const 0) (i64.const 9))))(drop (call $never (i64.const 0)))"
    wasm = guest(calls, functions=functions)
    await sandbox.load(wasm, functions)
    with trio.move_on_after(0.2):
        journal = await record(sandbox, wasm, functions)
    assert journal.ending.kind == "cancelled"
    for each in (journal, await record(sandbox, wasm, functions, wall=0.05)):
        assert each.calls[-1].answer is None
        verdict = await again(sandbox, each, wasm)
        assert (verdict.same, verdict.whole, verdict.calls) == (True, False, 1)


async def test_a_guest_that_used_up_its_time_is_the_same_as_far_as_the_journal_goes(sandbox: Sandbox) -> None:
    wasm = guest("(call $block (call $ready (i64.const 0)))(loop (br 0))", functions=HOST)
    journal = await record(sandbox, wasm, HOST, cpu=0.05)
    assert (journal.ending.kind, journal.ending.limit) == ("limit", "cpu")
    verdict = await again(sandbox, journal, wasm)
    assert (verdict.same, verdict.whole, verdict.calls) == (True, False, 1)


@pytest.mark.parametrize(
    "ends",
    [
        "(unreachable)",
        "(drop (memory.grow (i32.const 5000))) (unreachable)",
        "(call $block (call $own (i32.const 0) (i64.const 100000000)))",
        "(call $proc_exit (i32.const 3))",
        "(call $proc_exit (i32.const 0))",
    ],
)
async def test_a_guest_that_fails_fails_the_same_way_again(sandbox: Sandbox, ends: str) -> None:
    wasm = guest(body([(0, 3), (7, 3)]) + ends, WASI + " proc_exit", HOST)
    journal = await record(sandbox, wasm, HOST)
    verdict = await again(sandbox, journal, wasm)
    assert verdict.same
    assert verdict.whole
    assert verdict.ending is not None
    assert verdict.ending.message == journal.ending.message


async def test_long_lines_and_long_errors_are_compared_as_they_were(sandbox: Sandbox) -> None:
    says = """(memory.fill (i32.const 0) (i32.const 120) (i32.const 20000))
      (call $log_info (call $own (i32.const 0) (i64.const 9000)))
      (call $error_set (call $own (i32.const 0) (i64.const 20000)))"""
    run = f"""(func (export "run") (result i32) (local $x i64) {says} (i32.const 1))"""
    wasm = assemble(wat(EMIT + run, f"{ENV} log_info error_set"))
    journal = await record(sandbox, wasm, log_line=10_000)
    assert [len(text) for _, text in journal.log] == [9000]
    assert len(journal.ending.message) == 4096
    verdict = await again(sandbox, journal, wasm)
    assert verdict.same
    assert verdict.whole


async def test_what_a_handler_does_with_its_buffer_later_is_not_in_the_journal(sandbox: Sandbox) -> None:
    kept = bytearray(b"first")

    async def lends(data: bytes) -> Any:
        return memoryview(kept)

    functions = [HostFunction("lends", lends, (B,), B)]
    journal = await record(sandbox, guest("(call $block (call $lends (i64.const 0)))", functions=functions), functions)
    kept[:] = b"later"
    assert journal.calls[0].answer == Given(b"first")
    assert journal.ending.output == b"first"


async def test_what_is_recorded_leaves_the_garbage_collector_nothing_to_look_at() -> None:
    async def answers(data: bytes) -> bytes:
        return data * 2

    recorder = Recorder(Room(8 * MIB).of("x"), 8 * MIB)
    ask = recorder.asks(HostFunction("f", answers, (Value.BYTES,), Value.BYTES))
    gc.collect()
    before = len(gc.get_objects())
    for number in range(5000):
        await ask(b"%d" % number)
    gc.collect()
    assert recorder.lost is None
    assert len(recorder.calls) == 5000
    assert len(gc.get_objects()) - before < 500


async def test_a_journal_that_would_be_too_long_is_not_kept_and_the_call_goes_on(sandbox: Sandbox) -> None:
    wasm = guest("(call $block (call $quick (i64.const 0)))" * 5, functions=HOST)
    journal = await record(sandbox, wasm, HOST, most=20_000)
    assert journal.calls == ()
    assert "more than one journal may hold" in journal.why_not
    assert len(journal.ending.output) == 45_000
    with pytest.raises(UsageError, match="cannot be run again"):
        await again(sandbox, journal, wasm)


# --- the promise underneath -----------------------------------------------------------------------------------------


async def test_where_an_answer_lies_does_not_depend_on_how_long_the_guest_took(sandbox: Sandbox) -> None:
    # Its kernel has grown and shrunk, and has a block to give again: who does not know that it has grown would find no
    # room for the answer. A tick tells; a guest that is done before the first one is not looked at.
    grows = """(local.set $x (call $alloc (i64.const 9000)))
      (drop (call $alloc (i64.const 32000))) (drop (call $alloc (i64.const 8000)))
      (call $free (call $alloc (i64.const 250000))) (call $free (local.get $x))"""
    offsets = []
    for between in ("", SPIN * 3):
        run = f"""(func (export "run") (local $x i64)
          (global.set $out (call $alloc (i64.const 100))) (global.set $end (global.get $out))
          {grows} {between} (call $word (call $quick (i64.const 0)))
          (call $output_set (global.get $out) (i64.const 8)))"""
        program = await sandbox.load(wat(EMIT + run, f"{ENV} free", functions=HOST), HOST)
        offsets += [(await sandbox.call(program, cpu=5.0)).output for _ in range(4)]
    assert len(set(offsets)) == 1


def test_every_function_of_wasi_is_either_the_same_in_every_world_or_has_a_shape() -> None:
    assert SHAPES.keys() | LIVE == FUNCTIONS.keys()
    assert not SHAPES.keys() & LIVE
    for name, shape in SHAPES.items():
        assert len(shape) == len(FUNCTIONS[name].parameters), name


def test_arguments_are_compared_bit_for_bit() -> None:
    nan = float("nan")
    assert same([nan, 1.0, b"a", None, [1]], [nan, 1.0, b"a", None, [1]])
    for one, other in ((0.0, -0.0), (1, 1.0), (b"a", b"b"), ([1], [1, 2]), (None, 0)):
        assert not same(one, other)


async def test_the_engine_of_the_extism_package_refuses_to_record(sandbox: Sandbox) -> None:
    async with open_oracle() as oracle:
        program = await oracle.load(guest(""))
        with pytest.raises(UsageError, match="neither records"):
            await program.call("run", b"", CallOptions(tape=Recorder(Room(1 << 20).of("x"), 1 << 20)))


async def test_a_spare_guest_serves_a_recorded_call_and_is_never_started_with_its_recording(sandbox: Sandbox) -> None:
    starts = f'(func (export "_initialize") (local $x i64) {SPIN})'
    wasm = guest(body([(0, 1), (7, 2)]), WASI, HOST, more=starts)
    program = await sandbox.load(wasm, HOST)
    served = False
    for _ in range(4):
        recorder = Recorder(Room(1 << 20).of("x"), 1 << 20)
        served = served or len(program.stock) > 0
        result = await program.call("run", b"", CallOptions(tape=recorder))
        (call,) = recorder.calls
        assert isinstance(call, bytes)
        kind, value = msgpack.unpackb(call)[2]
        assert (kind, value) == ("given", result.output[:-12])
        options = program.stock.options
        assert options is not None
        assert options.tape is None
        with trio.move_on_after(5):
            while not len(program.stock):  # noqa: ASYNC110 (nobody is told of a spare guest)
                await trio.sleep(0.005)
    assert served
    program.close()
