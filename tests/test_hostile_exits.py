"""A guest that exits, traps or fails ends its own call, wherever it does it, and says how."""

from __future__ import annotations

import pytest
import trio

from guests import GIVES, Sandbox, gives, host_function, options, run, text_block, wat
from innkeeper.errors import GuestError, InnkeeperError, RejectedError, UsageError
from innkeeper.sandbox.interface import Value

EXIT = "(call $proc_exit (i32.const {code}))"
PLACES = {
    "a function": run(EXIT),
    "a function with a result": f'(func (export "run") (result i32) {EXIT} (i32.const 9))',
    "_initialize": f'(func (export "_initialize") {EXIT}) (func (export "run") (unreachable))',
    "__wasm_call_ctors": f'(func (export "__wasm_call_ctors") {EXIT}) (func (export "run") (unreachable))',
    "a start section": f'(func $s {EXIT}) (start $s) (func (export "run") (unreachable))',
    "a start section beside a memory": f'(memory 1) (func $s {EXIT}) (start $s) (func (export "run") (unreachable))',
}


@pytest.mark.parametrize("kernel", ["with the kernel", "alone"])
@pytest.mark.parametrize("place", PLACES)
async def test_an_exit_with_0_ends_the_call_well(sandbox: Sandbox, place: str, kernel: str) -> None:
    env = "alloc" if kernel == "with the kernel" else ""
    result = await sandbox.call(wat(PLACES[place].format(code=0), env, "proc_exit"))
    assert result.output == b""


@pytest.mark.parametrize("code", [1, 3, 255, -1])
@pytest.mark.parametrize("place", PLACES)
async def test_an_exit_with_another_code_is_an_error_of_the_guest(sandbox: Sandbox, place: str, code: int) -> None:
    error = await sandbox.fails(GuestError, wat(PLACES[place].format(code=code), "alloc", "proc_exit"))
    assert error.code == code % (1 << 32)
    assert str(error.code) in error.message


async def test_what_was_put_out_before_an_exit_with_0_is_the_output(sandbox: Sandbox) -> None:
    text = wat(
        """(func (export "_start") (local $a i64) (local.set $a (call $alloc (i64.const 3)))
        (call $store_u8 (local.get $a) (i32.const 97)) (call $output_set (local.get $a) (i64.const 1))
        (call $proc_exit (i32.const 0)) (call $output_set (i64.const 0) (i64.const 100)) (unreachable))""",
        "alloc store_u8 output_set",
        "proc_exit",
    )
    assert (await sandbox.call(text, "_start")).output == b"a"


async def test_an_exit_after_much_work_and_host_calls_is_an_exit(sandbox: Sandbox) -> None:
    async def pause() -> None:
        await trio.lowlevel.checkpoint()

    function = host_function(pause)
    for code in (0, 3):
        text = wat(
            "(memory 1)"
            + run(
                "(local $i i32) (call $pause) (loop (br_if 0 (i32.lt_u"
                " (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20000000))))"
                f" (call $pause) (call $proc_exit (i32.const {code}))"
            ),
            wasi="proc_exit",
            functions=[function],
        )
        if code:
            assert (await sandbox.fails(GuestError, text, functions=[function])).code == 3
        else:
            await sandbox.call(text, functions=[function])


TRAPS = {
    "unreachable code": "(unreachable)",
    "out of bounds memory": "(drop (i32.load (i32.const -1)))",
    "out of bounds table": "(call_indirect (i32.const 99))",
    "empty table element": "(call_indirect (i32.const 0))",
    "wrong signature": "(call_indirect (type $other) (i32.const 1)) (drop)",
    "division by zero": "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
    "integer overflow": "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
    "invalid conversion": "(drop (i32.trunc_f32_s (f32.const nan)))",
}


@pytest.mark.parametrize("trap", TRAPS)
async def test_a_trap_is_an_error_of_the_guest_that_names_it(sandbox: Sandbox, trap: str) -> None:
    module = (
        "(module (memory 1) (table 2 funcref) (type $other (func (result i32))) (func $f) (elem (i32.const 1) $f) {} )"
    )
    error = await sandbox.fails(GuestError, module.format(run(TRAPS[trap])))
    assert error.code is None
    assert any(word in error.message for word in trap.split())
    start = f'(func $s {TRAPS[trap]}) (start $s) (func (export "run"))'
    assert "start" in (await sandbox.fails(RejectedError, module.format(start))).message


async def test_a_return_code_is_an_error_and_keeps_its_number(sandbox: Sandbox) -> None:
    for code in (1, 7, -1, 0x7FFFFFFF):
        for env in ("", "alloc"):
            error = await sandbox.fails(GuestError, wat(f'(func (export "run") (result i32) (i32.const {code}))', env))
            assert error.code == code


async def test_error_set_is_an_error_with_the_guest_s_own_words(sandbox: Sandbox) -> None:
    text = wat(
        '(func (export "run") (result i32) (local $a i64)'
        + text_block("the error", "žluť".encode(), "a")
        + "(call $error_set (local.get $a)) (i32.const {code}))",
        "alloc store_u8 error_set",
    )
    error = await sandbox.fails(GuestError, text.replace("{code}", "0"))
    assert (error.message, error.code) == ("žluť", None)
    error = await sandbox.fails(GuestError, text.replace("{code}", "5"))
    assert (error.message, error.code) == ("žluť", 5)


async def test_an_error_text_of_any_size_and_bytes_is_bounded_text(sandbox: Sandbox) -> None:
    text = wat(
        run(
            """(local $a i64) (local $i i64) (local.set $a (call $alloc (i64.const 1000000)))
            (loop (call $store_u8 (i64.add (local.get $a) (local.get $i)) (i32.const 255))
              (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const 5000))))
            (call $error_set (local.get $a))"""
        ),
        "alloc store_u8 error_set",
    )
    assert (await sandbox.fails(GuestError, text)).message == "\N{REPLACEMENT CHARACTER}" * 4096


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ('(module (func (export "run")))', "rum"),
        ('(module (func (export "run")))', ""),
        ('(module (func (export "run")))', "run\0"),
        ('(module (func (export "run")))', "\ud800"),
        ('(module (memory (export "run") 1))', "run"),
        ('(module (func (export "run") (param i32)))', "run"),
        ('(module (func (export "run") (result i64) (i64.const 0)))', "run"),
        ('(module (func (export "run") (result i32 i32) (i32.const 0) (i32.const 0)))', "run"),
        ('(module (memory 1) (func (export "run")))', "innkeeper:memory"),
        ("(module)", "run"),
    ],
)
async def test_what_cannot_be_called_is_a_usage_error(sandbox: Sandbox, text: str, function: str) -> None:
    error = await sandbox.fails(UsageError, text, function)
    assert "innkeeper:" not in error.message


async def test_exports_that_are_imports_can_be_called(sandbox: Sandbox) -> None:
    async def answer() -> int:
        return 0

    async def nothing() -> None:
        pass

    functions = [host_function(answer, (), Value.I32), host_function(nothing)]
    for text in (
        '(module (import "wasi_snapshot_preview1" "sched_yield" (func $f (result i32))) (export "run" (func $f)))',
        '(module (import "extism:host/env" "get_log_level" (func $f (result i32))) (export "run" (func $f)))',
        '(module (import "test" "answer" (func $f (result i32))) (export "run" (func $f)))',
        '(module (import "test" "nothing" (func $f)) (export "run" (func $f)) (start $f))',
        '(module (import "test" "nothing" (func $f)) (export "_initialize" (func $f)) (func (export "run")))',
    ):
        program = await sandbox.load(text, functions)
        for _ in range(2):
            await sandbox.call(program)


async def test_every_error_carries_who_it_was_and_what_it_cost(sandbox: Sandbox) -> None:
    program = await sandbox.load(wat("(memory 2)" + gives("(block (result i64) (unreachable))"), GIVES))
    with pytest.raises(InnkeeperError) as caught:
        await program.call("run", b"abc", options())
    assert (caught.value.plugin, caught.value.function) == ("hostile", "run")
    usage = caught.value.usage
    assert (usage.bytes_in, usage.bytes_out) == (3, 0)
    assert usage.memory == 3 * 65536
    assert usage.wall > 0
