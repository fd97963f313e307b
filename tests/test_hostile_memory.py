"""A guest that wants more memory, input or output than it may have does not get it, and nobody else notices."""

from __future__ import annotations

import pytest
import trio

from guests import GIVES, PAGE, Sandbox, gives, number, opened, options, run, wat
from innkeeper.errors import BusyError, GuestError, LimitError, RejectedError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.program import FiberProgram

MINUS_ONE = 0xFFFFFFFF


def growing(first: int, by: int, *, then: str = "") -> str:
    """A guest that begins with `first` pages, grows by `by` and gives what it got."""
    return wat(
        f"(memory {first}) (global $got (mut i32) (i32.const 0))"
        + gives(
            f"(block (result i64) (global.set $got (memory.grow (i32.const {by}))) {then}"
            " (i64.extend_i32_u (global.get $got)))"
        ),
        GIVES,
    )


@pytest.mark.parametrize("memory", [PAGE * 4, 1 << 20, 64 << 20])
async def test_a_growth_beyond_the_limit_answers_minus_one_and_the_guest_goes_on(sandbox: Sandbox, memory: int) -> None:
    pages = memory // PAGE
    assert number(await sandbox.call(growing(1, pages, then=""), memory=memory)) == MINUS_ONE
    assert number(await sandbox.call(growing(1, pages - 1), memory=memory)) == 1
    assert number(await sandbox.call(growing(1, 65535), memory=memory)) == MINUS_ONE
    assert number(await sandbox.call(growing(1, -1), memory=memory)) == MINUS_ONE


async def test_a_call_that_fails_after_a_refused_growth_says_that_memory_ran_out(sandbox: Sandbox) -> None:
    error = await sandbox.fails(LimitError, growing(2, 30, then="(unreachable)"), memory=1 << 20)
    assert (error.limit, error.value, error.used) == ("memory", 1 << 20, 32 * PAGE)


async def test_growing_until_nothing_is_left_takes_the_limit_and_no_more(sandbox: Sandbox) -> None:
    text = wat(
        "(memory 1)" + run("(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable)"),
    )
    error = await sandbox.fails(LimitError, text, memory=4 << 20)
    assert error.limit == "memory"
    assert error.usage.memory == 4 << 20


async def test_growth_in_a_start_section_is_bounded_too(sandbox: Sandbox) -> None:
    text = """(module (memory 1) (func $grow
        (if (i32.ne (memory.grow (i32.const 100)) (i32.const -1)) (then (unreachable))))
        (start $grow) (func (export "run")))"""
    assert (await sandbox.call(text, memory=2 << 20, kernel_memory=2 << 20)).usage.memory == PAGE
    assert (await sandbox.call(text, memory=2 << 20)).usage.memory == PAGE
    await sandbox.fails(RejectedError, text, memory=64 << 20)


@pytest.mark.parametrize("pages", [17, 1000, 65535, 65536])
async def test_a_module_that_begins_with_too_much_memory_is_a_limit(sandbox: Sandbox, pages: int) -> None:
    error = await sandbox.fails(LimitError, f'(module (memory {pages}) (func (export "run")))', memory=1 << 20)
    assert (error.limit, error.value, error.used) == ("memory", 1 << 20, pages * PAGE)


async def test_memory_reaches_its_limit_exactly_and_its_last_byte_is_there(sandbox: Sandbox) -> None:
    text = wat(
        "(memory 16)"
        + run("(i32.store8 (i32.const 1048575) (i32.const 1)) (i32.store8 (i32.const 1048576) (i32.const 1))")
    )
    error = await sandbox.fails(GuestError, text, memory=1 << 20)
    assert "out of bounds memory access" in error.message
    assert error.usage.memory == 1 << 20


TABLE = """(table $t 1 funcref) (func $f)
  (func (export "grow") (result i32) (i32.add (table.grow (ref.func $f) (i32.const {by})) (i32.const {add})))
  (elem declare func $f)"""


async def test_a_growth_of_a_table_beyond_the_limit_answers_minus_one(sandbox: Sandbox) -> None:
    for by in (10_000, 2_000_000_000, -1):
        await sandbox.call(wat(TABLE.format(by=by, add=1)), "grow")
    error = await sandbox.fails(GuestError, wat(TABLE.format(by=9_999, add=4)), "grow")
    assert error.code == 5
    result = await sandbox.call(wat(TABLE.format(by=99, add=-1)), "grow", table_elements=100)
    assert result.output == b""


async def test_a_call_that_fails_after_a_refused_table_says_so(sandbox: Sandbox) -> None:
    text = "(module (table 1 externref)" + run("(drop (table.grow (ref.null extern) (i32.const 500))) (unreachable)) ")
    error = await sandbox.fails(LimitError, text, table_elements=100)
    assert (error.limit, error.value, error.used) == ("table_elements", 100, 501)


async def test_tables_cannot_be_many_nor_large_from_the_start(sandbox: Sandbox) -> None:
    for text in (
        '(module (table 10001 funcref) (func (export "run")))',
        '(module (table 1 funcref) (table 4294967295 externref) (func (export "run")))',
    ):
        assert (await sandbox.fails(LimitError, text)).limit == "table_elements"
    many = "(table 1 funcref)" * 90
    await sandbox.fails(RejectedError, f'(module {many} (func (export "run")))')


ENDLESS_ALLOCATION = wat(run("(loop (drop (call $alloc (i64.const {n}))) (br 0))"), "alloc")


@pytest.mark.parametrize("size", [1, 16, 1000, 32768, 32769, 1 << 20, (1 << 31) - 1])
async def test_allocating_without_end_is_a_limit_of_the_kernel_s_memory(sandbox: Sandbox, size: int) -> None:
    error = await sandbox.fails(LimitError, ENDLESS_ALLOCATION.replace("{n}", str(size)), kernel_memory=1 << 20)
    assert (error.limit, error.value, error.used) == ("kernel_memory", 1 << 20, size)
    assert error.usage.memory <= 1 << 20


@pytest.mark.parametrize("size", [1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1])
async def test_an_allocation_of_a_size_that_no_memory_has_is_refused_at_once(sandbox: Sandbox, size: int) -> None:
    error = await sandbox.fails(LimitError, ENDLESS_ALLOCATION.replace("{n}", str(size)))
    assert (error.limit, error.used) == ("kernel_memory", size)


OUTPUT = wat(
    run("(call $output_set (call $alloc (i64.const {have})) (i64.const {says}))"),
    "alloc output_set",
)


async def test_an_output_larger_than_the_limit_is_a_limit(sandbox: Sandbox) -> None:
    text = OUTPUT.replace("{have}", "2000").replace("{says}", "{n}")
    assert (await sandbox.call(text.replace("{n}", "1000"), output=1000)).output == bytes(1000)
    error = await sandbox.fails(LimitError, text.replace("{n}", "1001"), output=1000)
    assert (error.limit, error.value, error.used) == ("output", 1000, 1001)


@pytest.mark.parametrize("length", [1 << 24, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1])
async def test_an_output_that_is_larger_than_all_memory_is_never_read(sandbox: Sandbox, length: int) -> None:
    text = OUTPUT.replace("{have}", "8").replace("{says}", str(length))
    error = await sandbox.fails((LimitError if length > 1 << 24 else GuestError), text)
    assert error.usage.bytes_out == 0


async def test_an_input_larger_than_a_limit_is_refused_before_the_guest_begins(sandbox: Sandbox) -> None:
    text = wat(gives("(call $input_length)"), GIVES + " input_length")
    assert number(await sandbox.call(text, data=bytes(1000), input=1000)) == 1000
    error = await sandbox.fails(LimitError, text, data=bytes(1001), input=1000)
    assert (error.limit, error.value, error.used) == ("input", 1000, 1001)
    error = await sandbox.fails(LimitError, text, data=bytes(2 << 20), kernel_memory=1 << 20)
    assert (error.limit, error.value) == ("kernel_memory", 1 << 20)


@pytest.mark.parametrize("kernel_memory", [1, 208, 65535, 65536, 65537, 5 * PAGE + 5000])
@pytest.mark.parametrize("below", [0, 16, 100, 208, 5000])
async def test_an_input_near_the_limit_of_the_kernel_s_memory_fits_or_is_a_limit(
    sandbox: Sandbox, kernel_memory: int, below: int
) -> None:
    text = wat(run("(drop (call $input_length))"), "input_length")
    data = bytes(max(0, kernel_memory - below))
    try:
        used, ended = (await sandbox.call(text, data=data, kernel_memory=kernel_memory)).usage.memory, None
    except LimitError as error:
        used, ended = 0, error.limit
    assert used <= max(kernel_memory, PAGE)
    assert ended in (None, "kernel_memory")


@pytest.mark.parametrize(("memory", "kernel_memory"), [(1, 1), (100, 100), (100, PAGE), (PAGE, 1), (PAGE, PAGE)])
async def test_the_smallest_limits_are_limits_and_nothing_worse(
    sandbox: Sandbox, memory: int, kernel_memory: int
) -> None:
    for text in (
        wat(run("(drop (call $alloc (i64.const 100)))"), "alloc"),
        '(module (memory 1) (func (export "run")))',
        wat("(memory 1)" + run("(drop (call $alloc (i64.const 100)))"), "alloc"),
    ):
        try:
            await sandbox.call(text, memory=memory, kernel_memory=kernel_memory, table_elements=1)
            ended = None
        except LimitError as error:
            ended = error.limit
        assert ended in (None, "memory", "kernel_memory")


async def test_a_memory_that_two_modules_share_is_counted_once(sandbox: Sandbox) -> None:
    program = await sandbox.load(
        '(module (import "m" "memory" (memory 1)) (func (export "run")))',
        modules={"m": '(module (memory (export "memory") 16))'},
    )
    assert (await sandbox.call(program)).usage.memory == 16 * PAGE


async def test_what_a_start_section_grows_is_taken_from_the_hosts_memory_while_it_runs() -> None:
    text = """(module
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $sleep (param i32 i32 i32 i32) (result i32)))
      (memory 1)
      (func $start (drop (memory.grow (i32.const 200)))
        (i64.store (i32.const 24) (i64.const 60000000000))
        (drop (call $sleep (i32.const 0) (i32.const 99) (i32.const 1) (i32.const 200))))
      (func (export "run"))
      (start $start))"""
    busy: list[BusyError] = []
    both = trio.Event()

    async def call(program: FiberProgram) -> None:
        try:
            await program.call("run", b"", options(memory=16 << 20, wall=60.0))
        except BusyError as error:
            busy.append(error)
            if len(busy) == 2:
                both.set()

    async with opened(Bounds(guest_memory=40 << 20)) as sandbox, trio.open_nursery() as nursery:
        program = await sandbox.load(text)
        for _ in range(5):
            nursery.start_soon(call, program)
        # 201 pages each: three fit, and the others learn it before they sleep.
        await both.wait()
        assert [error.bound for error in busy] == ["guest memory"] * 2
        assert 3 * 201 * PAGE <= sandbox.engine.memory.taken < 40 << 20
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("memory", [8 << 20, 64 << 20])
async def test_memory_that_runs_out_in_a_start_section_is_named(sandbox: Sandbox, memory: int) -> None:
    text = """(module (memory 1)
      (func $start (if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then (unreachable))))
      (func (export "run"))
      (start $start))"""
    program = await sandbox.load(text)
    with pytest.raises(LimitError, match="wanted 131137536") as caught:
        await program.call("run", b"", options(memory=memory))
    assert caught.value.limit == "memory"


async def test_memory_that_ran_out_in_a_linked_module_is_named_too(sandbox: Sandbox) -> None:
    linked = """(module (memory 1) (func (export "grow")
      (if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then (unreachable)))))"""
    own = '(module (import "m" "grow" (func $grow)) (func (export "run") (call $grow)))'
    program = await sandbox.load(own, modules={"m": linked})
    with pytest.raises(LimitError, match="ran out of memory: it has 65536 bytes and wanted 131137536"):
        await program.call("run", b"", options())
