"""A guest that lies to the kernel or to the host about offsets and lengths harms itself only."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from guests import PAGE, Sandbox, host_function, in_child, opened, options, run, wat
from innkeeper.errors import GuestError, InnkeeperError, LimitError
from innkeeper.sandbox import kernel
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.program import FiberProgram
from innkeeper.sandbox.usage import Result

END = kernel.FIRST_PAGES * PAGE
"""Where the kernel's memory ends, as long as nothing needs more."""

ODD = [
    *(0, 1, 7, 8, 15, 16, 48, 175, 176, 191, 192, 193, 208, END - 8, END - 1, END, END + 1),
    *((1 << 31) - 1, 1 << 31, (1 << 32) - 8, (1 << 32) - 1, 1 << 32, (1 << 32) + 192),
    *((1 << 63) - 1, 1 << 63, (1 << 63) + 192, (1 << 64) - PAGE, (1 << 64) - 16, (1 << 64) - 8, (1 << 64) - 1),
]
"""Offsets and lengths at each edge that there is: of the state, the memory, 32 and 64 bits, signed and unsigned."""


async def _echo(data: bytes) -> bytes:
    return data


ECHO = HostFunction("echo", _echo, [Value.BYTES], Value.BYTES, "test")

CALLS = {
    "alloc": "(drop (call $alloc (global.get $a)))",
    "free": "(call $free (global.get $a))",
    "length": "(drop (call $length (global.get $a)))",
    "length_unsafe": "(drop (call $length_unsafe (global.get $a)))",
    "load_u8": "(drop (call $load_u8 (global.get $a)))",
    "load_u64": "(drop (call $load_u64 (global.get $a)))",
    "store_u8": "(call $store_u8 (global.get $a) (i32.const 255))",
    "store_u64": "(call $store_u64 (global.get $a) (global.get $b))",
    "input_load_u8": "(drop (call $input_load_u8 (global.get $a)))",
    "input_load_u64": "(drop (call $input_load_u64 (global.get $a)))",
    "output_set": "(call $output_set (global.get $a) (global.get $b))",
    "error_set": "(call $error_set (global.get $a))",
    "config_get": "(drop (call $config_get (global.get $a)))",
    "var_get": "(drop (call $var_get (global.get $a)))",
    "var_set": "(call $var_set (global.get $a) (global.get $b))",
    "log_info": "(call $log_info (global.get $a))",
    "echo": "(drop (call $echo (global.get $a)))",
}
ENV = " ".join(name for name in CALLS if name != "echo")

DISPATCH = wat(
    """(memory 1) (global $at (mut i32) (i32.const 0)) (global $a (mut i64) (i64.const 0))
    (global $b (mut i64) (i64.const 0))
    (func $take (result i64)
      (i64.load (global.get $at)) (global.set $at (i32.add (global.get $at) (i32.const 8))))
    (func (export "attack") (local $i i64) (local $length i64) (local $which i64)
      ;; The steps are copied away first, since the guest is about to overwrite its own input.
      (local.set $length (call $input_length))
      (loop (i64.store (i32.wrap_i64 (local.get $i)) (call $input_load_u64 (local.get $i)))
        (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 8))) (local.get $length))))
      ;; Each step is three words: which call, and its two arguments.
      (loop $next
        (if (i64.ge_u (i64.extend_i32_u (global.get $at)) (local.get $length)) (then (return)))
        (local.set $which (call $take)) (global.set $a (call $take)) (global.set $b (call $take))
    """
    + "".join(f"(if (i64.eq (local.get $which) (i64.const {at})) (then {b}))\n" for at, b in enumerate(CALLS.values()))
    + "(br $next)))",
    ENV + " input_length",
    functions=[ECHO],
)


def steps(*calls: tuple[str, int, int]) -> bytes:
    """Input of the dispatching guest."""
    names = list(CALLS)
    return b"".join(
        word.to_bytes(8, "little") for name, first, second in calls for word in (names.index(name), first, second)
    )


async def attempt(sandbox: Sandbox, program: FiberProgram, data: bytes) -> Result | InnkeeperError:
    """The call must end in one of the ways in which calls end, within its limits."""
    try:
        result = await sandbox.call(program, "attack", data, cpu=0.05, kernel_memory=1 << 20)
    except (GuestError, LimitError) as error:
        usage, outcome = error.usage, error
    else:
        usage, outcome = result.usage, result
    assert usage.memory <= (1 << 20) + PAGE
    return outcome


@pytest.mark.parametrize("name", CALLS)
async def test_each_call_takes_any_offset_and_any_length(sandbox: Sandbox, name: str) -> None:
    program = await sandbox.load(DISPATCH, [ECHO])
    two = name in ("store_u64", "output_set", "var_set")
    for first in ODD:
        for second in ODD if two else (0,):
            await attempt(sandbox, program, steps((name, first, second), ("alloc", 8, 0), ("echo", 208, 0)))


WORDS = range(0, 192, 8)


@pytest.mark.parametrize("word", WORDS)
async def test_no_forged_word_of_the_kernel_s_state_does_harm(sandbox: Sandbox, word: int) -> None:
    program = await sandbox.load(DISPATCH, [ECHO])
    for value in ODD:
        await attempt(
            sandbox,
            program,
            steps(
                ("store_u64", word, value),
                *((name, 8, 8) for name in ("alloc", "alloc", "log_info", "var_set", "config_get", "echo")),
                ("alloc", 40_000, 0),
            ),
        )


@pytest.mark.parametrize(
    "name", ["length", "free", "config_get", "var_get", "var_set", "log_info", "echo", "error_set"]
)
async def test_no_forged_header_of_a_block_does_harm(sandbox: Sandbox, name: str) -> None:
    program = await sandbox.load(DISPATCH, [ECHO])
    # The input's block begins at 192; its length and its capacity are the two words before.
    for length in ODD:
        for mark in (5, 16 | 5, (1 << 63) | 5, ((1 << 64) - 16) | 5, 0, (1 << 40) | 5):
            calls = (("store_u64", 176, length), ("store_u64", 184, mark), (name, 192, 192), (name, 192, 192))
            await attempt(sandbox, program, steps(*calls, ("alloc", 8, 0), ("alloc", 8, 0)))


async def test_an_error_text_at_the_very_end_of_memory_is_bounded(sandbox: Sandbox) -> None:
    program = await sandbox.load(DISPATCH, [ECHO])
    for at in (END - 16, END - 8, END - 1, END, END + 8):
        for length in ODD:
            outcome = await attempt(sandbox, program, steps(("store_u64", END - 32, length), ("error_set", at, 0)))
            assert isinstance(outcome, GuestError)
            assert len(outcome.message) <= 4096


async def test_what_lies_outside_of_memory_is_named_as_that(sandbox: Sandbox) -> None:
    program = await sandbox.load(DISPATCH, [ECHO])
    forged = steps(("store_u64", 176, 1 << 40), ("log_info", 192, 0))
    outcome = await attempt(sandbox, program, forged)
    assert isinstance(outcome, GuestError)
    assert "outside of its memory" in outcome.message
    outcome = await attempt(sandbox, program, steps(("output_set", END - 8, 9)))
    assert isinstance(outcome, GuestError)
    assert "outside of its memory" in outcome.message
    outcome = await attempt(sandbox, program, steps(("output_set", END - 8, 8)))
    assert isinstance(outcome, Result)
    assert outcome.output == bytes(8)


CYCLE = {
    "a small list": (64, 8),
    "the list of large blocks": (160, 40_000),
}


@pytest.mark.parametrize("which", CYCLE)
async def test_a_cycle_in_a_list_of_freed_blocks_ends_at_the_cpu_limit(sandbox: Sandbox, which: str) -> None:
    head, size = CYCLE[which]
    # A block that is its own successor and too small for anybody.
    text = wat(
        run(
            f"(call $store_u64 (i64.const {head}) (i64.const 40016)) (call $store_u64 (i64.const 40016)"
            " (i64.const 40016)) (call $store_u64 (i64.const 40008) (i64.const 1))"
            f" (drop (call $alloc (i64.const {size})))"
        ),
        "store_u64 alloc",
    )
    error = await sandbox.fails(LimitError, text, cpu=0.05)
    assert error.limit == "cpu"


async def test_freed_forged_and_foreign_blocks_are_no_blocks(sandbox: Sandbox) -> None:
    text = wat(
        """(func (export "run") (result i32) (local $a i64) (local $b i64)
          (local.set $a (call $alloc (i64.const 40)))
          (local.set $b (call $alloc (i64.const 40)))
          (call $free (local.get $a)) (call $free (local.get $a)) (call $free (local.get $a))
          (call $free (i64.add (local.get $b) (i64.const 8))) (call $free (i64.const 0))
          (call $free (i64.const -1)) (call $free (i64.const 192)) (call $free (i64.const 0x100000000))
          ;; after free there is no length; a second block of the size comes back once only
          (if (i64.ne (call $length (local.get $a)) (i64.const 0)) (then (return (i32.const 1))))
          (if (i64.ne (call $alloc (i64.const 40)) (local.get $a)) (then (return (i32.const 2))))
          (if (i64.eq (call $alloc (i64.const 40)) (local.get $a)) (then (return (i32.const 3))))
          (if (i64.ne (call $length (local.get $b)) (i64.const 40)) (then (return (i32.const 4))))
          (i32.const 0))""",
        "alloc free length",
    )
    await sandbox.call(text)


async def test_a_host_function_never_gets_bytes_from_outside(sandbox: Sandbox) -> None:
    seen: list[bytes] = []

    async def look(first: bytes, second: bytes) -> None:
        seen.append(first + second)

    function = host_function(look, [Value.BYTES, Value.BYTES])
    for length in (1 << 20, 1 << 40, 1 << 63, (1 << 64) - 1, (1 << 64) - 208):
        text = wat(
            """(func (export "run") (local $a i64) (local.set $a (call $alloc (i64.const 8)))
            (call $store_u64 (i64.sub (local.get $a) (i64.const 16)) (i64.const LENGTH))
            (call $look (local.get $a) (local.get $a)))""".replace("LENGTH", str(length)),
            "alloc store_u64",
            functions=[function],
        )
        await sandbox.fails(GuestError, text, functions=[function])
    assert seen == []


WORD = st.one_of(st.sampled_from(ODD), st.integers(0, 2 * PAGE), st.integers(0, (1 << 64) - 1))
STEP = st.tuples(st.sampled_from(list(CALLS)), WORD, WORD)


@settings(deadline=None, max_examples=60)
@given(attacks=st.lists(st.lists(STEP, max_size=20), min_size=10, max_size=40))
def test_no_sequence_of_calls_with_any_arguments_does_harm(attacks: list[list[tuple[str, int, int]]]) -> None:
    async def main() -> None:
        async with opened() as sandbox:
            program = await sandbox.load(DISPATCH, [ECHO])
            for attack in attacks:
                await attempt(sandbox, program, steps(*attack))

    trio.run(main)


def test_the_fuzzed_guest_s_process_ends_well() -> None:
    output = in_child(
        """
        async def main():
            async with opened() as sandbox:
                program = await sandbox.load(wat(run("(call $output_set (i64.const -1) (i64.const 8))"), "output_set"))
                for _ in range(3):
                    try:
                        await program.call("run", b"", options())
                    except InnkeeperError as error:
                        print(error)
        trio.run(main)
        """
    )
    assert output.count("outside of its memory") == 3


async def test_the_dispatching_guest_calls_what_it_is_told(sandbox: Sandbox) -> None:
    program = await sandbox.load(DISPATCH, [ECHO])
    result = await program.call("attack", steps(("output_set", 192, 24), ("log_info", 192, 0)), options())
    assert result.output == steps(("output_set", 192, 24))
    assert [level for level, _ in result.usage.log] == ["info", "info"]  # a line feed among its bytes
