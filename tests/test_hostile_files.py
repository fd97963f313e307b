"""A file that cannot run is refused, in one of the words that there are for it, whatever its bytes are."""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from guests import GIVES, NOTHING, Sandbox, assemble, gives, host_function, opened, options, run, wat
from innkeeper.errors import GuestError, InnkeeperError, LimitError, RejectedError
from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.wasm import DATA, parse

COMPONENT = b"\0asm\x0d\0\1\0"

REFUSED = {
    "an empty file": (b"", "empty"),
    "a component": (COMPONENT + bytes(20), "component"),
    "text": (b"(module)", "text"),
    "a truncated header": (b"\0asm\1\0", "cut off"),
    "the older Extism ABI": (
        '(module (import "env" "extism_alloc" (func (param i64) (result i64))))',
        "older Extism ABI",
    ),
    "a missing function": ('(module (import "extism:host/user" "nowhere" (func)))', "nowhere"),
    "a missing namespace": ('(module (import "elsewhere" "f" (func)))', "elsewhere"),
    "a kernel function of another type": (
        '(module (import "extism:host/env" "alloc" (func (param i32) (result i32))))',
        "it is there as",
    ),
    "a WASI function of another type": (
        '(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i64))))',
        "it is there as",
    ),
    "what the kernel imports": (
        '(module (import "innkeeper" "ask" (func (param i32 i64 i64 i64 i64) (result i64))))',
        "ask",
    ),
    "a memory": ('(module (import "env" "memory" (memory 1)))', "memory"),
    "a table": ('(module (import "env" "table" (table 1 funcref)))', "table"),
    "a global": ('(module (import "env" "g" (global i32)))', "global"),
    "the kernel's memory": ('(module (import "extism:host/env" "memory" (memory 1)))', "memory"),
    "two memories": ("(module (memory 1) (memory 1))", "multi-memory"),
    "a 64-bit memory": ("(module (memory i64 1))", "memory64"),
    "a shared memory": ("(module (memory 1 2 shared))", "threads"),
    "an exception": ("(module (tag $t) (func (throw $t)))", "exceptions"),
    "a garbage-collected type": ("(module (type (struct (field i32))))", "garbage collection"),
    "relaxed SIMD": (
        "(module (func (param v128 v128 v128) (result v128)"
        " (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))",
        "relaxed SIMD",
    ),
    "a name of the host's": ('(module (memory (export "innkeeper:memory") 1))', "innkeeper:"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_run_is_rejected_with_a_reason(sandbox: Sandbox, what: str) -> None:
    module, word = REFUSED[what]
    with pytest.raises(RejectedError) as caught:
        await sandbox.load(module, plugin="hostile")
    assert word in caught.value.message
    assert caught.value.plugin == "hostile"
    assert len(caught.value.message) < 1500


async def test_a_module_that_is_too_large_is_rejected(sandbox: Sandbox) -> None:
    custom = b"\x00" + b"\x80\x80\x80\x20"  # a custom section of 64 MiB
    with pytest.raises(RejectedError) as caught:
        await sandbox.load(b"\0asm\1\0\0\0" + custom + bytes(64 << 20))
    assert "67108864" in caught.value.message


async def test_no_module_reaches_what_another_does_not_export(sandbox: Sandbox) -> None:
    inner = '(module (memory 1) (func (export "grow") (drop (memory.grow (i32.const 1)))))'
    for wanted in (
        '(import "m" "innkeeper:memory" (memory 1))',
        '(import "m" "innkeeper:memory-limit" (global (mut i64)))',
        '(import "m" "innkeeper:memory-refused" (global (mut i64)))',
        '(import "m" "nothing" (global i32))',
        '(import "m" "grow" (func (param i32)))',
    ):
        with pytest.raises(InnkeeperError):
            await sandbox.call(await sandbox.load(f'(module {wanted} (func (export "run")))', modules={"m": inner}))


@pytest.mark.parametrize("count", [14, 15, 16, 17, 40, 200])
async def test_many_linked_modules_run_or_are_refused(sandbox: Sandbox, count: int) -> None:
    modules = {f"m{at}": "(module (memory 1))" for at in range(count)}
    try:
        program = await sandbox.load(
            wat("(memory 1)" + run("(drop (call $input_length))"), "input_length"), (), modules
        )
    except RejectedError:
        assert count > 8
        return
    await sandbox.call(program)


async def test_a_linked_module_may_stand_in_for_a_host_function_every_time(sandbox: Sandbox) -> None:
    async def number() -> int:
        return 5

    function = host_function(number, (), Value.I32, "env")
    shim = """(module (import "env" "number" (func $f (result i32)))
      (func (export "number") (result i32) (i32.add (call $f) (i32.const 1))))"""
    text = '(module (import "env" "number" (func $f (result i32))) (func (export "run") (result i32) (call $f)))'
    program = await sandbox.load(text, [function], {"env": shim})
    for _ in range(3):
        assert (await sandbox.fails(GuestError, program)).code == 6


async def test_a_linked_module_that_traps_or_loops_while_it_starts_is_told(sandbox: Sandbox) -> None:
    for body, kind in (("(unreachable)", RejectedError), ("(loop (br 0))", LimitError)):
        program = await sandbox.load(NOTHING, (), {"m": f"(module (func $s {body}) (start $s))"})
        await sandbox.fails(kind, program, cpu=0.03)


SAMPLE = assemble(
    wat(
        '(memory 1) (table 3 funcref) (global $g (mut i32) (i32.const 3)) (data (i32.const 5) "hello")'
        " (elem (i32.const 0) $run $go) (func $s (global.set $g (i32.const 4))) (start $s)"
        " (func $go (drop (memory.grow (i32.const 1))) (block (br_table 0 0 0 (i32.const 1))))"
        + gives("(i64.extend_i32_u (i32.add (global.get $g) (i32.load8_u (i32.const 5))))").replace(
            '(func (export "run")', '(func $run (export "run")'
        ),
        GIVES,
        "fd_write proc_exit random_get",
    )
)


async def outcome(sandbox: Sandbox, wasm: bytes) -> str:
    """Loads and calls; anything but one of the errors that there are fails the test."""
    program, message, kind = None, "", "ran"
    try:
        program = await sandbox.load(wasm)
        await program.call("run", b"abc", options(cpu=0.05, wall=5))
    except InnkeeperError as error:
        message, kind = error.message, error.kind.value
    assert len(message) < 5000
    assert program is not None or kind == "rejected"
    if program is not None:
        program.close()
    return kind


def outcomes(wasms: list[bytes]) -> set[str]:
    async def main() -> set[str]:
        async with opened() as sandbox:
            return {await outcome(sandbox, wasm) for wasm in wasms}

    return trio.run(main)


def test_a_module_that_is_cut_off_anywhere_is_rejected() -> None:
    assert outcomes([SAMPLE]) == {"ran"}
    data = next(section for section in parse(SAMPLE).sections if section.id == DATA)
    assert outcomes([SAMPLE[:at] for at in range(0, data.end, 3)]) <= {"rejected", "usage"}


@settings(deadline=None, max_examples=20)
@given(st.lists(st.binary(max_size=200), min_size=5, max_size=20), st.booleans())
def test_random_bytes_are_rejected(files: list[bytes], magic: bool) -> None:
    assert outcomes([b"\0asm\1\0\0\0" + f if magic else f for f in files]) <= {"rejected", "usage", "ran"}


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 1 << 32))
def test_a_damaged_module_is_rejected_or_runs_within_its_limits(seed: int) -> None:
    chance = random.Random(seed)
    wasms = []
    for _ in range(20):
        wasm = bytearray(SAMPLE)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            at = chance.randrange(8, len(wasm))
            match chance.randrange(4):
                case 0:
                    wasm[at] = chance.randrange(256)
                case 1:
                    wasm[at] ^= 1 << chance.randrange(8)
                case 2:
                    del wasm[at]
                case _:
                    wasm.insert(at, chance.choice((0, 1, 0x0B, 0x40, 0x7F, 0x80, 0xFF)))
        wasms.append(bytes(wasm))
    assert outcomes(wasms) <= {"rejected", "usage", "ran", "guest", "limit"}
