"""A module whose growths are watched does what it did before, and says which growth was refused."""

from __future__ import annotations

import re
from itertools import product

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.sandbox import proposals
from innkeeper.sandbox.growth import MEMORY, MEMORY_LIMIT, MEMORY_REFUSED, START, TABLE_REFUSED, instrument
from innkeeper.sandbox.wasm import MAGIC, VERSION, MalformedError, UnsupportedError, parse

HEADER = MAGIC + VERSION
PAGES, ELEMENTS = 4, 10


def make_engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    proposals.apply(config)
    config.cranelift_opt_level = "none"
    return wasmtime.Engine(config)


ENGINE = make_engine()


def watched(wasm: bytes) -> bytes:
    """The instrumented module, after the engine has found both valid."""
    wasmtime.Module.validate(ENGINE, wasm)
    new = instrument(wasm, parse(wasm))
    wasmtime.Module.validate(ENGINE, new)
    return new


class Guest:
    """An instance that may have 4 pages and 10 elements."""

    def __init__(self, wasm: bytes) -> None:
        self.store = wasmtime.Store(ENGINE)
        self.store.set_limits(memory_size=PAGES << 16, table_elements=ELEMENTS)
        self.instance = wasmtime.Instance(self.store, wasmtime.Module(ENGINE, wasm), [])
        self.exports = self.instance.exports(self.store)

    def call(self, name: str, *arguments: int) -> object:
        """The result, or the trap."""
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        try:
            return function(self.store, *arguments)
        except wasmtime.Trap as trap:
            return trap.trap_code

    def value(self, name: str) -> int:
        global_ = self.exports[name]
        assert isinstance(global_, wasmtime.Global)
        return int(global_.value(self.store))

    def pages(self) -> int:
        memory = self.exports[MEMORY]
        assert isinstance(memory, wasmtime.Memory)
        return memory.size(self.store)

    def head(self) -> bytes:
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return bytes(memory.read(self.store, 0, 256))

    def names(self) -> set[str]:
        return set(self.exports.keys())


GROW = '(module (memory 1) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))'


def test_a_refused_growth_of_memory_returns_minus_one_and_is_remembered() -> None:
    guest = Guest(watched(wasmtime.wat2wasm(GROW)))
    assert guest.value(MEMORY_REFUSED) == 0
    assert guest.call("grow", 2) == 1
    assert guest.value(MEMORY_REFUSED) == 0
    assert guest.call("grow", 2) == -1
    assert guest.value(MEMORY_REFUSED) == 5
    assert guest.call("grow", 1) == 3
    assert guest.value(MEMORY_REFUSED) == 5
    assert guest.pages() == 4


def test_what_was_wanted_does_not_overflow() -> None:
    guest = Guest(watched(wasmtime.wat2wasm(GROW)))
    assert guest.call("grow", -1) == -1
    assert guest.value(MEMORY_REFUSED) == 1 + 0xFFFFFFFF


def test_a_growth_that_the_module_itself_forbids_is_remembered_too() -> None:
    guest = Guest(watched(wasmtime.wat2wasm(GROW.replace("memory 1", "memory 1 2"))))
    assert guest.call("grow", 2) == -1
    assert guest.value(MEMORY_REFUSED) == 3


def test_refused_growths_of_each_table_are_remembered() -> None:
    guest = Guest(
        watched(
            wasmtime.wat2wasm("""
            (module
              (table $f 2 funcref) (table $e 3 externref)
              (func (export "f") (param i32) (result i32) (table.grow $f (ref.null func) (local.get 0)))
              (func (export "e") (param i32) (result i32) (table.grow $e (ref.null extern) (local.get 0)))
              (func (export "both") (result i32 i32)
                (table.grow $e (ref.null extern) (i32.const 1)) (table.grow $f (ref.null func) (i32.const 2))))
            """)
        )
    )
    assert guest.names() == {"f", "e", "both", TABLE_REFUSED}
    assert guest.call("both") == [3, 2]
    assert guest.value(TABLE_REFUSED) == 0
    assert guest.call("f", 7) == -1
    assert guest.value(TABLE_REFUSED) == 11
    assert guest.call("e", 100) == -1
    assert guest.value(TABLE_REFUSED) == 104
    assert guest.call("e", -1) == -1
    assert guest.value(TABLE_REFUSED) == 4 + 0xFFFFFFFF


def test_what_a_table_is_filled_with_when_it_grows_arrives() -> None:
    guest = Guest(
        watched(
            wasmtime.wat2wasm("""
            (module
              (table 1 funcref) (elem declare func $seven) (type $t (func (result i32)))
              (func $seven (result i32) (i32.const 7))
              (func (export "go") (result i32)
                (drop (table.grow 0 (ref.func $seven) (i32.const 3)))
                (call_indirect (type $t) (i32.const 3))))
            """)
        )
    )
    assert guest.call("go") == 7


def test_a_module_without_growth_gets_its_memory_exported_and_nothing_else() -> None:
    wasm = wasmtime.wat2wasm('(module (memory 1) (func (export "f")))')
    old, new = parse(wasm), parse(watched(wasm))
    assert set(new.exports) == {"f", MEMORY}
    assert (new.functions, new.globals, new.types) == (old.functions, [], old.types)


def test_a_module_with_neither_memory_nor_growth_stays_as_it_is() -> None:
    wasm = wasmtime.wat2wasm('(module (global i32 (i32.const 64)) (func (export "f") (nop)))')
    assert watched(wasm) == wasm
    assert watched(HEADER) == HEADER


def test_an_imported_memory_is_exported_too() -> None:
    wasm = wasmtime.wat2wasm('(module (import "a" "m" (memory 1)) (func (drop (memory.grow (i32.const 1)))))')
    assert set(parse(watched(wasm)).exports) == {MEMORY, MEMORY_LIMIT, MEMORY_REFUSED}


def test_no_index_and_no_custom_section_changes() -> None:
    wasm = wasmtime.wat2wasm("""
    (module
      (import "host" "f" (func $host (param i64)))
      (import "host" "g" (global $given (mut i32)))
      (memory 1) (table 2 funcref)
      (global $own i64 (i64.const 3))
      (func $grow (export "grow") (result i32) (memory.grow (i32.const 1)))
      (func $other (export "other") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 2)))
      (start $other) (elem (i32.const 0) $grow $other) (data $d "ab"))
    """)
    first = b"\0\x04\x02ab!"
    wasm = wasm[:8] + first + wasm[8:]
    old, new = parse(wasm), parse(watched(wasm))
    assert new.imports == old.imports
    assert {name: new.exports[name] for name in old.exports} == dict(old.exports)
    assert set(new.exports) - set(old.exports) == {MEMORY, MEMORY_LIMIT, MEMORY_REFUSED, START}
    assert new.types[: len(old.types)] == old.types
    assert list(new.function_types)[:-1] == list(old.function_types)
    assert new.globals[: len(old.globals)] == old.globals
    assert new.exports[MEMORY_LIMIT].index == len(old.globals)
    assert new.exports[MEMORY_REFUSED].index == len(old.globals) + 1
    assert new.custom == old.custom
    assert [s.id for s in new.sections] == [s.id for s in old.sections if s.id != 8]
    assert new.sections[0].id == 0
    assert "name" in old.custom
    assert new.sections[-1].id == 0


@pytest.mark.parametrize("extra", range(8))
def test_missing_sections_are_put_where_they_belong(extra: int) -> None:
    parts = [
        "(global (mut i32) (i32.const 0))" if extra & 1 else "",
        '(export "x" (func $f))' if extra & 2 else "",
        '(start $f) (table 1 funcref) (elem (i32.const 0) $f) (data $d "ab")' if extra & 4 else "",
    ]
    wasm = wasmtime.wat2wasm(f"(module (memory 1) (func $f (drop (memory.grow (i32.const 1)))) {' '.join(parts)})")
    new = parse(watched(wasm))
    assert {MEMORY, MEMORY_REFUSED} <= set(new.exports)
    guest = Guest(watched(wasm))
    assert guest.pages() == 1
    assert (START in guest.exports) == bool(extra & 4)


def test_the_start_function_becomes_an_export_that_the_host_calls() -> None:
    wasm = wasmtime.wat2wasm("""
    (module (memory 1) (global $g (mut i32) (i32.const 0))
      (func $start (global.set $g (i32.const 7)))
      (func (export "f") (result i32) (global.get $g))
      (start $start))""")
    new = parse(watched(wasm))
    assert new.start is None
    assert new.exports[START].index == parse(bytes(wasm)).start
    guest = Guest(watched(wasm))
    assert guest.call("f") == 0
    guest.call(START)
    assert guest.call("f") == 7


def test_growth_in_unreachable_code_and_deep_inside_blocks_is_replaced() -> None:
    wasm = wasmtime.wat2wasm("""
    (module (memory 1) (func (export "f") (param i32) (result i32)
      (block (loop (if (local.get 0) (then (drop (memory.grow (memory.grow (i32.const 1))))
        (br 2) (memory.grow) (drop)) (else (drop (memory.grow (i32.const 9)))))))
      (memory.size)))
    """)
    guest = Guest(watched(wasm))
    assert b"\x40\x00\x0b\x0b" not in watched(wasm)
    assert guest.call("f", 0) == 1
    assert guest.value(MEMORY_REFUSED) == 10
    assert guest.call("f", 1) == 3


# Bytes that only look like a growth, and growths that are written at length


def section(number: int, content: bytes) -> bytes:
    assert len(content) < 1 << 14
    return bytes([number, len(content) & 0x7F | 0x80, len(content) >> 7]) + content


def module(code: bytes) -> bytes:
    """One function () -> () with two locals of each type, in a module with one of everything."""
    locals_ = b"\x07" + b"".join(bytes([2, type_]) for type_ in b"\x7f\x7e\x7d\x7c\x7b\x70\x6f")
    body = locals_ + code + b"\x0b"
    return HEADER + b"".join(
        [
            section(1, b"\1\x60\0\0"),
            section(3, b"\1\0"),
            section(4, b"\2\x70\0\1\x70\0\1"),
            section(5, b"\1\0\1"),
            section(6, b"\1\x7f\1\x41\0\x0b"),
            section(9, b"\1\1\0\1\0"),
            section(12, b"\1"),
            section(10, b"\1" + bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) + body),
            section(11, b"\1\1\1x"),
        ]
    )


def is_valid(wasm: bytes) -> bool:
    try:
        wasmtime.Module.validate(ENGINE, wasm)
    except wasmtime.WasmtimeError:
        return False
    return True


UNREACHABLE, MEMORY_GROW = b"\0", b"\x40\0"
LONG_64 = b"\xc0\x80\x80\x80\0"

IMMEDIATES = [
    b"",
    b"\0",
    b"\1",
    b"\0\0",
    b"\0\1",
    b"\0\x40",  # an offset that looks like a growth when `unreachable` follows
    b"\0\x40\0",  # the same for one lane
    b"\0" + LONG_64,
    b"\0" + LONG_64 + b"\0",
    b"\x40",
    LONG_64,
    b"\x40\0\x40\0",
    b"\x40\0\xfc\x0f\0\x40\0\x40",
    b"\x0b\0" * 8,  # lanes of a shuffle, and any constant
    b"\x40\0" * 8,
    b"\1\x7f",
    b"\x81\x80\0\x7b",
    b"\x02\0\0\0",
    b"\x80\x80\0\x80\0",
]


def sub(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80, number >> 7])


def padded(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, 0])


OPCODES = [
    *(bytes([first]) for first in range(256) if first not in (0xFC, 0xFD)),
    *(b"\xfc" + write(number) for write, number in product((sub, padded), range(32))),
    *(b"\xfd" + write(number) for write, number in product((sub, padded), range(300))),
]


def ends_an_instruction(code: bytes) -> bool:
    """Whether the engine expects another instruction after `code`: it then says that 0xff is none, just there."""
    before = module(b"").index(b"\2\x6f\x0b") + 2
    try:
        wasmtime.Module.validate(ENGINE, module(code + b"\xff" * 20))
    except wasmtime.WasmtimeError as error:
        return f"illegal opcode: 0xff (at offset {before + len(code):#x})" in str(error)
    return False


def test_every_instruction_that_the_engine_knows_is_walked_over() -> None:
    known = set()
    for opcode, immediates in product(OPCODES, IMMEDIATES):
        start = UNREACHABLE + opcode
        opened = {b"\x02": b"\x0b", b"\x03": b"\x0b", b"\x04": b"\x0b"}.get(opcode, b"")
        if opcode == b"\x05":
            start, opened = UNREACHABLE + b"\x04\x40" + opcode, b"\x0b"
        instruction = start + immediates + UNREACHABLE
        if opcode == b"\x0b" or not is_valid(module(instruction + opened)):
            continue
        size = next((n for n in range(len(immediates) + 1) if ends_an_instruction(start + immediates[:n])), None)
        if size != len(immediates):
            continue  # they are too few, or the rest of them are instructions of their own
        known.add(opcode)
        new = watched(module(instruction + MEMORY_GROW + UNREACHABLE + opened))
        if opcode == b"\x40" or (opcode[:1] == b"\xfc" and opcode[1] & 0x7F == 15):
            assert parse(new).functions == 2 + (opcode != b"\x40")
        else:
            call = b"\x10\1"
            assert instruction + call + UNREACHABLE + opened + b"\x0b" in new
            assert parse(new).functions == 2
    single = {code for code in known if len(code) == 1}
    bulk = {code for code in known if code[0] == 0xFC}
    vector = {code for code in known if code[0] == 0xFD}
    # All that the host has on, but `end` and `br_table` (below); those with a prefix twice, since also padded.
    assert (len(single), len(bulk), len(vector)) == (183, 2 * 18, 2 * 236)


@pytest.mark.parametrize("zeros", range(5))
def test_a_growth_with_padded_indices_is_replaced(zeros: int) -> None:
    memory = b"\x41\x09\x40\0\x1a"
    table = b"\xd0\x70\x41\x0a\xfc" + (b"\x8f" + b"\x80" * (zeros - 1) + b"\0" if zeros else b"\x0f")
    table += (b"\x81" + b"\x80" * (zeros - 1) + b"\0" if zeros else b"\1") + b"\x1a"
    wasm = module(memory + table)
    wasm = wasm.replace(section(9, b"\1\1\0\1\0"), section(7, b"\1\1f\0\0") + section(9, b"\1\1\0\1\0"))
    guest = Guest(watched(wasm))
    guest.call("f")
    assert len(parse(watched(wasm)).exports) == 5
    assert (guest.value(MEMORY_REFUSED), guest.value(TABLE_REFUSED)) == (10, 11)


def test_a_memory_index_that_is_padded_is_replaced_even_if_this_engine_takes_none() -> None:
    wasm = module(b"\x41\x09\x40\x80\x80\0\x1a")
    assert is_valid(instrument(wasm, parse(wasm)))


@pytest.mark.parametrize("labels", [0, 1, 63, 64, 128, 1000])
@pytest.mark.parametrize("wide", [False, True])
def test_tables_of_branches_are_walked_over(labels: int, wide: bool) -> None:
    count = sub(labels)
    branches = (b"\x80\0" if wide else b"\0") * (labels + 1)
    wasm = module(b"\x41\0\x0e" + count + branches + MEMORY_GROW + UNREACHABLE)
    assert parse(watched(wasm)).functions == 2


def test_functions_without_growth_are_copied_as_they_are() -> None:
    functions = "".join(f"(func (drop (i32.const {n})) (block))" for n in range(300))
    grow = "(func (drop (memory.grow (i32.const 64))))"
    wasm = wasmtime.wat2wasm(f"(module (memory 1) {functions} {grow} {functions} {grow} {functions})")
    assert parse(watched(wasm)).functions == 903


@pytest.mark.parametrize(
    ("code", "proposal"),
    [
        (b"\xfe\0\2\0", "threads"),
        (b"\xfd\x80\2", "relaxed SIMD"),
        (b"\x1f\x40\0\x0b", "exceptions"),
        (b"\x14\0", "function references"),
        (b"\xfb\x1c", "garbage collection"),
        (b"\xfc\x13", "wide arithmetic"),
        (b"\x40\1", "multi-memory"),
        (b"\xff", None),
    ],
)
def test_instructions_that_are_not_known_are_refused_by_name(code: bytes, proposal: str | None) -> None:
    wasm = module(UNREACHABLE + code + MEMORY_GROW)
    with pytest.raises(UnsupportedError) as caught:
        instrument(wasm, parse(wasm))
    assert caught.value.proposal == proposal


@given(st.binary(max_size=60), st.sampled_from([b"", MEMORY_GROW, b"\xfc\x0f\0"]))
@settings(deadline=None, max_examples=300)
def test_code_that_is_not_valid_raises_nothing_but_malformed(noise: bytes, growth: bytes) -> None:
    wasm = module(noise + growth)
    try:
        instrument(wasm, parse(wasm))
    except MalformedError:
        assert not is_valid(wasm)


# Random functions: what they return, how they trap and what they leave behind stays the same


# `{}` stands for an expression of type i32, `{s}` for one that is at most 15, `{v}` for a random vector.
LEAVES = [
    *(f"(i32.const {n})" for n in (0, 1, 2, 3, 64, 0x4000, 0x400040, 0xFC0F, -1)),
    *("(local.get 0)", "(local.get 1)", "(memory.size)", "(table.size 0)", "(table.size $e)"),
    "(i32x4.extract_lane 1 {v})",
    "(i32.trunc_sat_f64_u (f64.const 64.5))",
    "(i32.reinterpret_f32 (f32.const 0x1.00401p+1))",
    "(i32.wrap_i64 (i64.const 0x0040004000400040))",
    "(select (result i32) (i32.const 64) (i32.const 0) (local.get 0))",
    "(ref.is_null (table.get 0 (i32.const 0)))",
]
NODES = [
    "(memory.grow {s})",
    "(table.grow 0 (ref.null func) {s})",
    "(table.grow $e (ref.null extern) {s})",
    *(f"(i32.{name} {{}} {{}})" for name in ("add", "sub", "xor", "lt_u", "div_u")),
    "(i32.load offset=64 align=1 {s})",
    "(i32.extend8_s (i32.load8_u {s}))",
    "(call $callee {})",
    "(call_indirect (type $t) {} {s})",
    "(return_call $callee {})",
    "(return_call_indirect (type $t) {} (i32.const 0))",
    "(if (result i32) {} (then {}) (else {}))",
    "(block (result i32) (loop (result i32) {stmt} {stmt} {}))",
    "(block (result i32) (block (result i32) (br_table 0 1 0 1 {} {})))",
    "(i8x16.extract_lane_s 3 (i8x16.shuffle 0 11 2 3 4 5 6 7 0 9 10 0 12 13 0 31 {v} (i32x4.splat {})))",
    "(i32x4.extract_lane 0 (i32x4.replace_lane 2 {v} {}))",
    "(i32x4.extract_lane 0 (v128.load8_lane 11 {s} {v}))",
]
STATEMENTS = [
    "(drop {})",
    "(local.set 1 {})",
    "(if {} (then (drop (memory.grow (i32.const 1)))) (else (nop)))",
    "(if {} (then (return {})))",
    "(memory.fill {s} (i32.const 64) (i32.const 3))",
    "(memory.copy {s} (i32.const 64) (i32.const 3))",
    "(memory.init $d {s} (i32.const 0) (i32.const 2))",
    "(data.drop $d)",
    "(table.set 0 {s} (ref.func $callee))",
    "(table.fill 0 {s} (ref.func $callee) (i32.const 1))",
    "(table.copy 0 0 (i32.const 0) {s} (i32.const 1))",
    "(table.init 0 $s {s} (i32.const 0) (i32.const 1))",
    "(i32.store8 offset=64 {s} {})",
    "(v128.store offset=64 align=1 {s} {v})",
]


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """The body of a function of type i32 with locals 0 and 1 of type i32, without branches backwards."""

    def fill(template: str, depth: int) -> str:
        return re.sub(r"\{(\w*)\}", lambda hole: part(hole[1], depth), template)

    def part(kind: str, depth: int) -> str:
        if kind == "v":
            return f"(v128.const i8x16 {' '.join(map(str, draw(st.binary(min_size=16, max_size=16))))})"
        if kind == "s":
            return f"(i32.and (i32.const 15) {part('', depth)})"
        if kind == "stmt":
            return fill(draw(st.sampled_from(STATEMENTS)), depth + 1)
        return fill(draw(st.sampled_from(LEAVES if depth > 4 else LEAVES + 2 * NODES)), depth + 1)

    return fill(draw(st.sampled_from(NODES)), 0)


@given(expressions(), expressions(), st.integers(-2, 70))
@settings(deadline=None, max_examples=150)
def test_random_functions_do_what_they_did(first: str, second: str, argument: int) -> None:
    wasm = wasmtime.wat2wasm(f"""
    (module
      (type $t (func (param i32) (result i32)))
      (memory 1) (table 3 funcref) (table $e 2 externref)
      (elem (i32.const 0) $callee) (elem $s func $callee) (data $d "ab@") (data (i32.const 64) "@\\00@\\00")
      (func $callee (param i32) (result i32) (local i32) (i32.add (i32.const 64) (local.get 0)))
      (func (export "f") (type $t) (local i32) {first})
      (func (export "g") (type $t) (local i32) {second})
      (func (export "sizes") (result i32 i32 i32) (memory.size) (table.size 0) (table.size $e))
      (export "memory" (memory 0)))
    """)
    plain, other = Guest(wasm), Guest(watched(wasm))
    for name in ("f", "g", "f"):
        assert plain.call(name, argument) == other.call(name, argument)
        assert plain.call("sizes") == other.call("sizes")
    assert plain.head() == other.head()
    sizes = plain.call("sizes")
    assert isinstance(sizes, list)
    if MEMORY_REFUSED in other.names():
        assert other.value(MEMORY_REFUSED) == 0 or other.value(MEMORY_REFUSED) > PAGES


def test_the_host_can_hold_a_memory_below_what_the_store_allows() -> None:
    grow = """(module (memory 1) (func (export "f") (param i32) (result i32) (memory.grow (local.get 0))))"""
    wasm = bytes(wasmtime.wat2wasm(grow))
    guest = Guest(instrument(wasm, parse(wasm)))
    limit = guest.exports[MEMORY_LIMIT]
    assert isinstance(limit, wasmtime.Global)
    limit.set_value(guest.store, wasmtime.Val.i64(2))
    assert guest.call("f", 1) == 1
    assert guest.call("f", 1) == -1
    assert (guest.pages(), guest.value(MEMORY_REFUSED)) == (2, 3)
    assert guest.call("f", -1) == -1, "a delta is unsigned: 4 Gi pages more"
    assert guest.value(MEMORY_REFUSED) == 2 + 2**32 - 1
