"""What a module says of itself is read right, and nothing that a file says can make the reading fail otherwise."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.sandbox import proposals
from innkeeper.sandbox.leb import leb
from innkeeper.sandbox.wasm import (
    CUSTOM_KEPT,
    KINDS,
    MAGIC,
    VERSION,
    Export,
    Global,
    Import,
    MalformedError,
    Memory,
    Table,
    UnsupportedError,
    parse,
)

HEADER = MAGIC + VERSION

RICH = """
(module
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "host" "mixed" (func $mixed (param i32 i64 f32 f64 v128 funcref externref) (result i32 i64)))
  (import "host" "table" (table 1 2 externref))
  (import "host" "memory" (memory 3))
  (import "host" "global" (global (mut f64)))
  (table $own 4 funcref)
  (global $constant i64 (i64.const -5))
  (global $sum (mut i32) (i32.add (i32.const 1) (i32.mul (i32.const 2) (i32.const 3))))
  (global $vector v128 (v128.const i32x4 11 11 11 11))
  (global $single f32 (f32.const 1.5))
  (global $reference funcref (ref.func $run))
  (func $run (export "run") (param i32) (result i32) (local.get 0))
  (func $start)
  (export "also" (func $run))
  (export "length" (func $length))
  (export "own" (table $own))
  (export "memory" (memory 0))
  (export "größe" (global $sum))
  (start $start)
  (elem (table $own) (i32.const 0) func $run $start)
  (data (i32.const 8) "0123456789")
  (data "passive"))
"""


def section(number: int, content: bytes) -> bytes:
    return bytes([number]) + leb(len(content)) + content


def custom(name: bytes, content: bytes) -> bytes:
    return section(0, leb(len(name)) + name + content)


def test_everything_that_a_module_declares_is_found() -> None:
    info = parse(wasmtime.wat2wasm(RICH))
    mixed = (("i32", "i64", "f32", "f64", "v128", "funcref", "externref"), ("i32", "i64"))
    run = (("i32",), ("i32",))
    assert info.imports == [
        Import("extism:host/env", "input_length", "func", ((), ("i64",))),
        Import("host", "mixed", "func", mixed),
        Import("host", "table", "table"),
        Import("host", "memory", "memory"),
        Import("host", "global", "global"),
    ]
    assert list(info.exports.values()) == [
        Export("run", "func", 2, run),
        Export("also", "func", 2, run),
        Export("length", "func", 0, ((), ("i64",))),
        Export("own", "table", 1),
        Export("memory", "memory", 0),
        Export("größe", "global", 2),
    ]
    assert info.memories == [Memory(3, None, imported=True)]
    assert info.tables == [Table("externref", 1, 2, imported=True), Table("funcref", 4, None)]
    assert info.globals == [
        Global("f64", True, imported=True),
        Global("i64", False),
        Global("i32", True),
        Global("v128", False),
        Global("f32", False),
        Global("funcref", False),
    ]
    assert info.functions == 2
    assert info.start == 3
    assert info.signature(1) == mixed
    assert info.data_segments == 2
    assert info.imported("func") == 2


def test_an_empty_module_has_nothing() -> None:
    info = parse(HEADER)
    assert (info.types, info.imports, dict(info.exports), info.memories, info.start) == ([], [], {}, [], None)


def test_flags_of_memories_and_tables_are_told() -> None:
    wide = parse(wasmtime.wat2wasm("(module (memory i64 1 0x100000000) (table i64 1 funcref))"))
    assert wide.memories == [Memory(1, 1 << 32, is64=True)]
    assert wide.tables == [Table("funcref", 1, None, is64=True)]
    assert parse(wasmtime.wat2wasm("(module (memory 1 2 shared))")).memories == [Memory(1, 2, shared=True)]


def test_many_functions_keep_their_types() -> None:
    signatures = ["i32", "i64", "f32", "f64"]
    parameters = [tuple(signatures[n >> 2 * i & 3] for i in range(4)) for n in range(200)]
    types = "".join(f"(type (func (param {' '.join(four)})))" for four in parameters)
    functions = "".join(f'(func (export "f{n}") (type {n % 200}))' for n in range(1000))
    info = parse(wasmtime.wat2wasm(f"(module {types} {functions})"))
    assert info.functions == 1000
    for n in range(1000):
        export = info.exports[f"f{n}"]
        assert export.signature == (parameters[n % 200], ())


def test_custom_sections_are_kept_in_order_up_to_a_bound() -> None:
    wasm = HEADER + custom(b"a", b"1") + custom(b"b", b"") + custom(b"a", b"2") + custom(b"a", bytes(CUSTOM_KEPT + 1))
    info = parse(wasm)
    assert info.custom == {"a": [b"1", b"2"], "b": [b""]}
    assert info.custom_dropped == {"a"}


def test_custom_sections_together_are_bounded() -> None:
    info = parse(HEADER + custom(b"x", bytes(CUSTOM_KEPT - 16)) * 8)
    assert len(info.custom["x"]) == 4
    assert info.custom_dropped == {"x"}


@pytest.mark.parametrize(
    ("wasm", "reason"),
    [
        (b"", "does not start"),
        (b"\0asm", "version field is missing"),
        (b"\0asm\2\0\0\0", "version field is 02 00 00 00"),
        (HEADER + b"\1", "ends too early"),
        (HEADER + b"\1\x05\0", "ends in the middle"),
        (HEADER + b"\x0f\0", "unknown kind 15"),
        (HEADER + section(5, b"\0") + section(4, b"\0"), "out of order"),
        (HEADER + section(1, b"\0") * 2, "there twice"),
        (HEADER + b"\1\xff\xff\xff\xff\x1f", "longer than 32 bits"),
        (HEADER + b"\1\x80\x80\x80\x80\x80\0", "longer than 32 bits"),
        (HEADER + section(1, b"\1\x61"), "no kind of type"),
        (HEADER + section(1, b"\1\x60\1\x40\0"), "no value type"),
        (HEADER + section(1, b"\0\0"), "1 bytes too many"),
        (HEADER + section(2, b"\1\1a\1b\0\0"), "names type 0"),
        (HEADER + section(2, b"\1\1a\1b\x09\0"), "no kind of import"),
        (HEADER + section(2, b"\1\1\xff\1b\x02\0\0"), "not UTF-8"),
        (HEADER + section(3, b"\1\0"), "names type 0"),
        (HEADER + section(1, b"\1\x60\0\0") + section(3, b"\1\0"), "declares 1 functions and has the code of 0"),
        (HEADER + section(4, b"\1\x7f\0\0"), "a table of i32"),
        (HEADER + section(5, b"\1\x40\0"), "no flags of limits"),
        (HEADER + section(6, b"\1\x7f\2\x41\0\x0b"), "neither constant nor mutable"),
        (HEADER + section(6, b"\1\x7f\0\x41\0\x41"), "no constant expression"),
        (HEADER + section(7, b"\1\1a\0\0"), "names func 0, which does not exist"),
        (HEADER + section(5, b"\1\0\0") + section(7, b"\2\1a\2\0\1a\2\0"), "the name of another"),
        (HEADER + section(8, b"\0"), "the start function 0 does not exist"),
        (HEADER + section(0, b"\5a"), "ends in the middle"),
    ],
)
def test_what_does_not_parse_says_why(wasm: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason) as caught:
        parse(wasm)
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize(
    ("text", "proposal"),
    [
        ("(module (type (struct)))", "garbage collection"),
        ("(module (rec (type (func)) (type (func))))", "garbage collection"),
        ("(module (func (param anyref)))", "garbage collection"),
        ("(module (type $t (func)) (func (param (ref $t))))", "function references"),
        ("(module (table 1 funcref (ref.null func)))", "function references"),
        ("(module (tag))", "exceptions"),
        ('(module (import "a" "b" (tag)))', "exceptions"),
        ("(module (func (param exnref)))", "exceptions"),
        ("(module (memory 1 (pagesize 1)))", "custom page sizes"),
        ("(module (type $f (func)) (type (cont $f)))", "stack switching"),
    ],
)
def test_what_belongs_to_a_proposal_that_is_not_read_names_it(text: str, proposal: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        parse(wasmtime.wat2wasm(text))
    assert caught.value.proposal == proposal


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 10, 11])
def test_a_count_of_four_thousand_million_in_a_few_bytes_costs_nothing(number: int) -> None:
    tracemalloc.start()
    with pytest.raises(MalformedError):
        parse(HEADER + section(number, b"\xff\xff\xff\xff\x0f"))
    with pytest.raises(MalformedError):
        parse(HEADER + section(number, b"\xff\xff\xff\xff\x0f" + bytes(100)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_sections_without_end_are_refused() -> None:
    with pytest.raises(MalformedError, match="more than 10000 sections"):
        parse(HEADER + custom(b"", b"") * 10_001)


def test_types_with_too_many_parameters_in_all_are_refused() -> None:
    many = b"\x60" + leb(1000) + b"\x7f" * 1000 + b"\0"
    with pytest.raises(MalformedError, match="parameters and results"):
        parse(HEADER + section(1, leb(1100) + many * 1100))


# What hostile bytes do


RICH_WASM = wasmtime.wat2wasm(RICH)


@pytest.mark.parametrize("step", range(4))
def test_a_module_that_is_cut_anywhere_is_malformed_or_shorter(step: int) -> None:
    whole = parse(RICH_WASM)
    for size in range(step, len(RICH_WASM), 4):
        try:
            cut = parse(RICH_WASM[:size])
        except MalformedError:
            continue
        assert len(cut.sections) < len(whole.sections)


@given(st.binary(max_size=400))
@settings(deadline=None, max_examples=300)
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    for wasm in (data, HEADER + data):
        with suppress(MalformedError):
            parse(wasm)


@given(st.lists(st.tuples(st.integers(0, 14), st.binary(max_size=60)), max_size=8))
@settings(deadline=None, max_examples=300)
def test_random_sections_raise_nothing_but_malformed(sections: list[tuple[int, bytes]]) -> None:
    with suppress(MalformedError):
        parse(HEADER + b"".join(section(number, content) for number, content in sections))


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    proposals.apply(config)
    return wasmtime.Engine(config)


@given(st.lists(st.tuples(st.integers(8, len(RICH_WASM) - 1), st.integers(0, 255)), min_size=1, max_size=3))
@settings(deadline=None, max_examples=500)
def test_what_the_engine_accepts_is_parsed_to_the_same_imports_and_exports(
    engine: wasmtime.Engine, changes: list[tuple[int, int]]
) -> None:
    mutant = bytearray(RICH_WASM)
    for at, byte in changes:
        mutant[at] = byte
    wasm = bytes(mutant)
    try:
        wasmtime.Module.validate(engine, wasm)
    except wasmtime.WasmtimeError:
        with suppress(MalformedError):
            parse(wasm)
        return
    info = parse(wasm)
    module = wasmtime.Module(engine, wasm)
    assert [(i.module, i.name, i.kind) for i in info.imports] == [
        (i.module, i.name, _kind(i.type)) for i in module.imports
    ]
    assert [(e.name, e.kind) for e in info.exports.values()] == [(e.name, _kind(e.type)) for e in module.exports]


def _kind(type_: object) -> str:
    return KINDS[[wasmtime.FuncType, wasmtime.TableType, wasmtime.MemoryType, wasmtime.GlobalType].index(type(type_))]
