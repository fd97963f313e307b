"""The Extism ABI, version 1, as a well-behaved guest sees it: each function does what the PDKs expect."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from guests import GIVES, Sandbox, assemble, gives, host_function, number, opened, options, run, text_block, wat
from innkeeper.errors import DeniedError, GuestError
from innkeeper.sandbox import kernel
from innkeeper.sandbox.interface import Value


async def value(sandbox: Sandbox, body: str, env: str = "", more: str = "", data: bytes = b"", **config: str) -> int:
    """The i64 that a few instructions leave."""
    names = " ".join(dict.fromkeys((GIVES + " " + env).split()))
    return number(await sandbox.call(wat(more + gives(body), names), data=data, config=config))


BLOCKS = """(func $filled (param $n i64) (param $with i32) (result i64) (local $a i64) (local $i i64)
  (local.set $a (call $alloc (local.get $n)))
  (loop (call $store_u8 (i64.add (local.get $a) (local.get $i)) (local.get $with))
    (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (local.get $n))))
  (local.get $a))"""


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 100, 1024, 32767, 32768, 32769, 100_000, 3_000_000])
async def test_a_block_has_the_length_that_was_asked_for(sandbox: Sandbox, size: int) -> None:
    for name in ("length", "length_unsafe"):
        assert await value(sandbox, f"(call ${name} (call $alloc (i64.const {size})))", name) == size


async def test_a_block_of_no_bytes_is_the_offset_0(sandbox: Sandbox) -> None:
    assert await value(sandbox, "(call $alloc (i64.const 0))") == 0
    for name in ("length", "length_unsafe"):
        assert await value(sandbox, f"(call ${name} (i64.const 0))", name) == 0


async def test_blocks_begin_at_multiples_of_16(sandbox: Sandbox) -> None:
    for size in (1, 17, 40_000):
        body = f"(i64.and (i64.const 15) (i64.or (call $alloc (i64.const 3)) (call $alloc (i64.const {size}))))"
        assert await value(sandbox, body) == 0


@pytest.mark.parametrize("size", [1, 16, 100, 32768, 50_000])
async def test_a_freed_block_is_used_again_by_one_of_its_size(sandbox: Sandbox, size: int) -> None:
    more = f"""(func $again (result i64) (local $a i64) (local $b i64)
      (local.set $a (call $alloc (i64.const {size}))) (drop (call $alloc (i64.const 1)))
      (call $free (local.get $a)) (local.set $b (call $alloc (i64.const {size})))
      (i64.sub (local.get $a) (local.get $b)))"""
    assert await value(sandbox, "(call $again)", "free", more) == 0


async def test_what_is_no_block_has_no_length_and_freeing_it_does_nothing(sandbox: Sandbox) -> None:
    for offset in ("(i64.const 8)", "(i64.add (call $alloc (i64.const 64)) (i64.const 16))", "(i64.const -16)"):
        body = f"(block (result i64) (call $free {offset}) (call $length {offset}))"
        assert await value(sandbox, body, "free length") == 0


async def test_bytes_and_words_are_stored_and_loaded_in_little_endian_order(sandbox: Sandbox) -> None:
    more = """(global $a (mut i64) (i64.const 0)) (func $make (global.set $a (call $alloc (i64.const 16)))
      (call $store_u64 (global.get $a) (i64.const 0x0807060504030201))
      (call $store_u8 (i64.add (global.get $a) (i64.const 3)) (i32.const 0x1ff)))"""
    body = "(block (result i64) (call $make) {})"
    load = "(call $load_u64 (global.get $a))"
    assert await value(sandbox, body.format(load), "store_u8 load_u64", more) == 0x08070605FF030201
    load = "(call $load_u64 (i64.add (global.get $a) (i64.const 1)))"
    assert await value(sandbox, body.format(load), "store_u8 load_u64", more) == 0x0008070605FF0302
    load = "(i64.extend_i32_u (call $load_u8 (i64.add (global.get $a) (i64.const 3))))"
    assert await value(sandbox, body.format(load), "store_u8 load_u8", more) == 0xFF


async def test_the_input_is_read_by_its_own_functions_and_at_its_offset(sandbox: Sandbox) -> None:
    data = bytes(range(1, 14))
    word = "(call $input_load_u64 (i64.const {}))"
    byte = "(i64.extend_i32_u (call $input_load_u8 (i64.const {})))"
    assert await value(sandbox, "(call $input_length)", "input_length", data=data) == 13
    assert await value(sandbox, word.format(5), "input_load_u64", data=data) == int.from_bytes(data[5:13], "little")
    assert await value(sandbox, byte.format(12), "input_load_u8", data=data) == 13
    for outside in (13, 14, 1 << 40, -1):
        assert await value(sandbox, byte.format(outside), "input_load_u8", data=data) == 0
    for outside in (6, 13, 1 << 40, -8):
        assert await value(sandbox, word.format(outside), "input_load_u64", data=data) == 0
    at = "(call $load_u64 (call $input_offset))"
    assert await value(sandbox, at, "input_offset load_u64", data=data) == int.from_bytes(data[:8], "little")
    assert await value(sandbox, "(call $length (call $input_offset))", "input_offset length", data=data) == 13


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 17, 4096, 65_536, 300_000, 5_000_000])
async def test_input_of_any_size_comes_out_as_it_went_in(sandbox: Sandbox, size: int) -> None:
    body = "(call $output_set (call $input_offset) (call $input_length))"
    text = wat(run(body), "output_set input_offset input_length")
    data = bytes(at * 7 % 251 for at in range(size))
    result = await sandbox.call(text, data=data)
    assert result.output == data
    assert (result.usage.bytes_in, result.usage.bytes_out) == (size, size)


async def test_the_last_output_counts_and_none_is_empty(sandbox: Sandbox) -> None:
    text = wat(
        BLOCKS
        + run(
            "(call $output_set (call $filled (i64.const 5) (i32.const 65)) (i64.const 5))"
            "(call $output_set (call $filled (i64.const 5) (i32.const 66)) (i64.const 3))"
        ),
        "alloc store_u8 output_set",
    )
    assert (await sandbox.call(text)).output == b"BBB"
    assert (await sandbox.call(wat(run(""), "output_set"))).output == b""


async def test_an_error_that_was_set_fails_the_call_and_0_takes_it_back(sandbox: Sandbox) -> None:
    text = wat(
        BLOCKS + run("(call $error_set (call $filled (i64.const 3) (i32.const 97))) {}"), "alloc store_u8 error_set"
    )
    assert (await sandbox.fails(GuestError, text.replace("{}", ""))).message == "aaa"
    await sandbox.call(text.replace("{}", "(call $error_set (i64.const 0))"))


def keyed(body: str, key: bytes = b"name") -> str:
    """A guest whose `run` has a block with `key` in $key, and gives what `body` leaves."""
    return gives(body).replace(
        "(local $value i64)", "(local $value i64) (local $key i64) " + text_block("key", key, "key"), 1
    )


async def test_configuration_is_read_by_its_key(sandbox: Sandbox) -> None:
    names = "alloc store_u64 store_u8 output_set config_get length load_u64"
    read = wat(keyed("(call $load_u64 (call $config_get (local.get $key)))"), names)
    length = wat(keyed("(call $length (call $config_get (local.get $key)))"), names)
    assert number(await sandbox.call(read, config={"name": "12345678"})) == int.from_bytes(b"12345678", "little")
    assert number(await sandbox.call(length, config={"name": "žluť"})) == 6
    assert number(await sandbox.call(length, config={"name": ""})) == 0
    assert number(await sandbox.call(wat(keyed("(call $config_get (local.get $key))"), names))) == 0
    assert (
        number(
            await sandbox.call(wat(keyed("(call $config_get (local.get $key))", b"Name"), names), config={"name": "x"})
        )
        == 0
    )


async def test_variables_are_set_read_replaced_and_deleted(sandbox: Sandbox) -> None:
    names = "alloc store_u64 store_u8 output_set var_get var_set length"
    set_twice = """(block (result i64)
      (call $var_set (local.get $key) (call $alloc (i64.const 100)))
      (call $var_set (local.get $key) (call $alloc (i64.const 40))) {})"""
    get = "(call $length (call $var_get (local.get $key)))"
    assert number(await sandbox.call(wat(keyed(get), names))) == 0
    assert number(await sandbox.call(wat(keyed(set_twice.replace("{}", get)), names))) == 40
    deleted = "(call $var_set (local.get $key) (i64.const 0)) (call $var_get (local.get $key))"
    assert number(await sandbox.call(wat(keyed(set_twice.replace("{}", deleted)), names))) == 0


@pytest.mark.parametrize("level", kernel.LOG_LEVELS)
async def test_a_log_line_keeps_its_level_and_its_text(sandbox: Sandbox, level: str) -> None:
    line = text_block("line", "psaní\nřádek".encode(), "a")
    text = wat(
        f'(func (export "run") (local $a i64) {line} (call $log_{level} (local.get $a)))',
        f"alloc store_u8 log_{level}",
    )
    result = await sandbox.call(text)
    assert result.usage.log == [(level, "psaní"), (level, "řádek")]
    assert result.usage.log_dropped == 0
    assert result.usage.system_calls == 1


async def test_every_level_is_logged(sandbox: Sandbox) -> None:
    assert await value(sandbox, "(i64.extend_i32_u (call $get_log_level))", "get_log_level") == 0


async def test_an_http_request_without_its_capability_ends_the_call_as_denied(sandbox: Sandbox) -> None:
    error = await sandbox.fails(
        DeniedError, wat(run("(drop (call $http_request (i64.const 0) (i64.const 0)))"), "http_request")
    )
    assert error.capability == "http"
    assert await value(sandbox, "(i64.extend_i32_u (call $http_status_code))", "http_status_code") == 0
    assert await value(sandbox, "(call $http_headers)", "http_headers") == 0


@pytest.mark.parametrize("namespace", ["extism:host/user", "env", "any name, žluť", ""])
async def test_host_functions_of_any_namespace_take_and_give_every_type(sandbox: Sandbox, namespace: str) -> None:
    async def mix(small: int, data: bytes, large: int, single: float, double: float, more: bytes) -> bytes:
        return repr((small, data, large, single, double, more)).encode()

    async def plain(small: int, large: int, single: float, double: float) -> float:
        return small + large + single + double

    types = (Value.I32, Value.BYTES, Value.I64, Value.F32, Value.F64, Value.BYTES)
    functions = [
        host_function(mix, types, Value.BYTES, namespace),
        host_function(plain, (Value.I32, Value.I64, Value.F32, Value.F64), Value.F64, namespace),
    ]
    text = wat(
        BLOCKS
        + """(func (export "run") (local $a i64)
          (local.set $a (call $mix (i32.const -3) (call $filled (i64.const 2) (i32.const 97)) (i64.const -4)
            (f32.const 1.5) (f64.const 2.5) (call $filled (i64.const 1) (i32.const 98))))
          (call $output_set (local.get $a) (call $length (local.get $a))))
        (func (export "plain") (local $a i64) (local.set $a (call $alloc (i64.const 8)))
          (call $store_u64 (local.get $a) (i64.reinterpret_f64
            (call $plain (i32.const 1) (i64.const 2) (f32.const 0.5) (f64.const 0.25))))
          (call $output_set (local.get $a) (i64.const 8)))""",
        "alloc store_u8 store_u64 output_set length",
        functions=functions,
    )
    program = await sandbox.load(text, functions)
    assert (await sandbox.call(program)).output == b"(-3, b'aa', -4, 1.5, 2.5, b'b')"
    assert (await sandbox.call(program, "plain")).output == (0x400E << 48).to_bytes(8, "little")


async def test_empty_bytes_cross_both_ways_as_the_offset_0(sandbox: Sandbox) -> None:
    seen: list[bytes] = []

    async def swallow(data: bytes) -> bytes:
        seen.append(data)
        return b""

    function = host_function(swallow, (Value.BYTES,), Value.BYTES)
    text = wat(gives("(call $swallow (i64.const 0))"), GIVES, functions=[function])
    assert number(await sandbox.call(text, functions=[function])) == 0
    assert seen == [b""]


async def test_start_up_functions_run_once_before_the_call_and_in_their_order(sandbox: Sandbox) -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)

    function = host_function(note, (Value.I32,))
    parts = {
        "hs_init": '(func (export "hs_init") (param i32 i32) (call $note (i32.add (local.get 0) (i32.const 1))))',
        "_initialize": '(func (export "_initialize") (call $note (i32.const 2)))',
        "__wasm_call_ctors": '(func (export "__wasm_call_ctors") (call $note (i32.const 3)))',
        "start": "(func $s (call $note (i32.const 0))) (start $s)",
        "run": run("(call $note (i32.const 9))"),
    }

    async def noted(*names: str) -> list[int]:
        order.clear()
        await sandbox.call(
            wat("".join(parts[name] for name in (*names, "run")), functions=[function]), functions=[function]
        )
        return order

    assert await noted("start") == [0, 9]
    assert await noted("_initialize", "start") == [0, 2, 9]
    assert await noted("__wasm_call_ctors") == [3, 9]
    # A reactor's _initialize calls the constructors itself.
    assert await noted("_initialize", "__wasm_call_ctors") == [2, 9]
    assert sorted(await noted("hs_init", "_initialize")) == [1, 2, 9]


async def test_a_command_module_is_called_by_its_start_function(sandbox: Sandbox) -> None:
    text = wat(
        '(func (export "_start") (call $output_set (call $input_offset) (i64.const 2)))', "output_set input_offset"
    )
    assert (await sandbox.call(text, "_start", b"abc")).output == b"ab"


async def test_modules_are_linked_by_name_in_their_order(sandbox: Sandbox) -> None:
    base = """(module (memory (export "memory") 1) (global (export "step") i32 (i32.const 5))
      (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"""
    middle = """(module (import "base" "add" (func $add (param i32 i32) (result i32)))
      (import "base" "memory" (memory 1)) (import "base" "step" (global $step i32))
      (func (export "count") (result i32)
        (i32.store (i32.const 0) (call $add (i32.load (i32.const 0)) (global.get $step)))
        (i32.load (i32.const 0))))"""
    main = wat(
        gives("(i64.extend_i32_u (call $twice))") + "(func $twice (result i32) (drop (call $count)) (call $count))",
        GIVES,
    ).replace("(module", '(module (import "middle" "count" (func $count (result i32)))', 1)
    program = await sandbox.load(main, modules={"base": base, "middle": middle})
    for _ in range(3):
        assert number(await sandbox.call(program)) == 10


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), st.one_of(st.integers(1, 200), st.integers(1, 70_000))),
        st.tuples(st.just("free"), st.integers(0, 1 << 30)),
        st.tuples(st.just("check"), st.integers(0, 1 << 30)),
    ),
    max_size=60,
)

DIRECT = assemble(
    wat(
        "".join(
            f'(func (export "{name}") (param {" ".join(parameters)}) {"(result i64)" if results else ""}'
            f" (call ${name} {' '.join(f'(local.get {at})' for at in range(len(parameters)))}))"
            for name, parameters, results in (
                ("alloc", ["i64"], True),
                ("free", ["i64"], False),
                ("length", ["i64"], True),
            )
        )
        + """(func $fill (param $a i64) (param $n i64) (param $with i32) (local $i i64)
          (loop (call $store_u8 (i64.add (local.get $a) (local.get $i)) (local.get $with))
            (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (local.get $n)))))
        ;; The input is a list of operations of three words each; every answer is one word of the output.
        (func (export "run") (local $at i64) (local $out i64) (local $to i64) (local $kind i64) (local $a i64)
          (local $b i64) (local $end i64)
          (local.set $end (call $input_length))
          (local.set $out (call $alloc (i64.add (local.get $end) (i64.const 8))))
          (local.set $to (local.get $out))
          (block $done (loop $next
            (br_if $done (i64.ge_u (local.get $at) (local.get $end)))
            (local.set $kind (call $input_load_u64 (local.get $at)))
            (local.set $a (call $input_load_u64 (i64.add (local.get $at) (i64.const 8))))
            (local.set $b (call $input_load_u64 (i64.add (local.get $at) (i64.const 16))))
            (local.set $at (i64.add (local.get $at) (i64.const 24)))
            ;; 0: allocate $a bytes filled with $b and keep the block; 1: free the block; 2: first and last byte, length
            (if (i64.eq (local.get $kind) (i64.const 0)) (then
              (local.set $kind (call $alloc (local.get $a)))
              (call $fill (local.get $kind) (local.get $a) (i32.wrap_i64 (local.get $b)))
              (i64.store (global.get $count) (local.get $kind))
              (global.set $count (i32.add (global.get $count) (i32.const 8)))
              (call $store_u64 (local.get $to) (local.get $kind)))
            (else (if (i64.eq (local.get $kind) (i64.const 1)) (then
              (call $free (i64.load (i32.wrap_i64 (local.get $a))))
              (call $store_u64 (local.get $to) (call $length (i64.load (i32.wrap_i64 (local.get $a))))))
            (else
              (local.set $a (i64.load (i32.wrap_i64 (local.get $a))))
              (local.set $b (call $length (local.get $a)))
              (call $store_u64 (local.get $to) (i64.or (i64.shl (local.get $b) (i64.const 16))
                (i64.extend_i32_u (i32.or (call $load_u8 (local.get $a)) (i32.shl (call $load_u8
                  (i64.sub (i64.add (local.get $a) (local.get $b)) (i64.const 1))) (i32.const 8))))))))))
            (local.set $to (i64.add (local.get $to) (i64.const 8)))
            (br $next)))
          (call $output_set (local.get $out) (i64.sub (local.get $to) (local.get $out))))
        (memory 2) (global $count (mut i32) (i32.const 0))""",
        "alloc free length store_u8 store_u64 load_u8 input_length input_load_u64 output_set",
    )
)


@settings(deadline=None, max_examples=60)
@given(OPERATIONS)
def test_blocks_never_overlap_and_keep_their_bytes_whatever_the_order(operations: list[tuple[str, int]]) -> None:
    words: list[int] = []
    expected: list[Callable[[int], None]] = []
    sizes: list[int] = []
    live: dict[int, int] = {}
    blocks: dict[int, tuple[int, int]] = {}

    def placed(at: int, size: int) -> Callable[[int], None]:
        def check(offset: int) -> None:
            assert offset >= kernel.START
            assert offset % 16 == 0
            for start, length in blocks.values():
                assert offset + size <= start - kernel.HEADER or start + length <= offset - kernel.HEADER
            blocks[at] = (offset, size)

        return check

    def forgotten(at: int) -> Callable[[int], None]:
        def check(length: int) -> None:
            assert length == 0
            del blocks[at]

        return check

    def holds(at: int, size: int) -> Callable[[int], None]:
        fill = at % 255 + 1

        def check(word: int) -> None:
            assert word == size << 16 | fill << 8 | fill

        return check

    for kind, argument in operations:
        if kind == "alloc":
            at = len(sizes)
            sizes.append(argument)
            live[at] = argument
            words += (0, argument, at % 255 + 1)
            expected.append(placed(at, argument))
        elif live:
            at = list(live)[argument % len(live)]
            words += (1 if kind == "free" else 2, at * 8, 0)
            expected.append(forgotten(at) if kind == "free" else holds(at, live[at]))
            if kind == "free":
                del live[at]
    for at, size in live.items():
        words += (2, at * 8, 0)
        expected.append(holds(at, size))

    async def main() -> bytes:
        async with opened() as sandbox:
            program = await sandbox.load(DIRECT)
            data = b"".join(word.to_bytes(8, "little") for word in words)
            return (await program.call("run", data, options())).output

    output = trio.run(main)
    assert len(output) == 8 * len(expected)
    for at, check in enumerate(expected):
        check(int.from_bytes(output[8 * at : 8 * at + 8], "little"))


@pytest.mark.parametrize("where", ['(export "_initialize")', "$begin"], ids=["_initialize", "start section"])
async def test_a_guest_may_allocate_while_it_starts_and_finds_nothing_of_it_when_its_call_begins(
    sandbox: Sandbox, where: str
) -> None:
    # As in Extism, where each call begins with an empty memory. Before the first input there is a memory, too.
    more = f"""(global $kept (mut i64) (i64.const 0)) (global $length (mut i64) (i64.const 0))
      (func {where} (global.set $kept (call $alloc (i64.const 24)))
        (call $store_u64 (global.get $kept) (i64.const 77))
        (global.set $length (call $length (global.get $kept))))
      {"(start $begin)" if where.startswith("$") else ""}"""
    assert await value(sandbox, "(global.get $length)", "length", more, data=b"x" * 29) == 24
    assert await value(sandbox, "(call $length (global.get $kept))", "length", more, data=b"x" * 29) == 0
    assert await value(sandbox, "(call $load_u64 (global.get $kept))", "length load_u64", more, data=b"x" * 29) == 0
