"""A guest that its kernel became part of does what the two modules did, and reaches nothing of its kernel's.

Each guest runs twice on wasmtime's plain API: beside the kernel as a module of its own, and merged with it. What it
returns, how it traps, what it asks of the host and what both memories then hold must be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import wasmtime as w
from hypothesis import given, settings
from hypothesis import strategies as st

from guests import wat
from innkeeper.sandbox import growth, kernel, merge, proposals
from innkeeper.sandbox.compilation.job import rewrite, validate
from innkeeper.sandbox.compilation.kinds import joined_plan
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.leb import leb
from innkeeper.sandbox.module_info import MalformedError, ModuleInfo
from innkeeper.sandbox.wasm import parse

ANSWER = b"what the host keeps under a key"


async def _unused() -> None:
    raise AssertionError


WRAPPED = [
    HostFunction("both", _unused, [Value.BYTES, Value.I32, Value.BYTES], Value.BYTES, "app"),
    HostFunction("number", _unused, [Value.BYTES], Value.F64, "app"),
]


@cache
def _engine() -> w.Engine:
    config = w.Config()
    proposals.apply(config)
    config.wasm_multi_memory = True
    config.cranelift_nan_canonicalization = True
    config.signals_based_traps = False
    return w.Engine(config)


@cache
def _kernel() -> w.Module:
    return w.Module(_engine(), kernel.source([(f.parameters, f.result) for f in WRAPPED], merged=False))


def merged(wasm: bytes) -> bytes:
    """The module that is compiled in place of the guest's."""
    validate(wasm)
    return rewrite(wasm, parse(wasm), joined_plan(WRAPPED))


@dataclass
class Ending:
    """What a call came to."""

    values: Any = None
    trap: object = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    memory: bytes | None = None
    kernel: bytes | None = None


class _Host:
    """What the kernel imports, with a record of it."""

    def __init__(self, store: w.Store) -> None:
        # Given up after the call: the store keeps the functions, and they keep this.
        self.store: w.Store | None = store
        self.asked: list[tuple[Any, ...]] = []
        self.memory: w.Memory | None = None

    def link(self, linker: w.Linker) -> None:
        assert self.store is not None
        i32, i64, f64 = w.ValType.i32(), w.ValType.i64(), w.ValType.f64()
        functions: dict[str, tuple[list[w.ValType], list[w.ValType], Any]] = {
            "ask": ([i32, i64, i64, i64, i64], [i64], lambda *values: self._note("ask", values, -len(ANSWER))),
            "take": ([i64], [], self._take),
            "log": ([i32, i64, i64], [], lambda *values: self._note("log", values, None)),
            "deny": ([], [], lambda: self._note("deny", (), None)),
            "call:0": ([i64, i64, i32, i64, i64], [i64], lambda *values: self._note("both", values, -len(ANSWER))),
            "call:1": ([i64, i64], [f64], lambda *values: self._note("number", values, 0.5)),
        }
        for name, (parameters, results, function) in functions.items():
            linker.define(self.store, kernel.INNER, name, w.Func(self.store, w.FuncType(parameters, results), function))

    def _note(self, name: str, values: tuple[Any, ...], answer: Any) -> Any:
        self.asked.append((name, *values))
        return answer

    def _take(self, at: int) -> None:
        self.asked.append(("take", at))
        assert self.memory is not None
        assert self.store is not None
        self.memory.write(self.store, ANSWER, at)


def apart(wasm: bytes, function: str, arguments: Sequence[Any]) -> Ending:
    """Calls a function of the guest beside its kernel."""
    store = w.Store(_engine())
    host, linker = _Host(store), w.Linker(_engine())
    host.link(linker)
    own = linker.instantiate(store, _kernel())
    exports = own.exports(store)
    for name in kernel.SIGNATURES:
        linker.define(store, kernel.ENV, name, exports[name])
    for position, wrapped in enumerate(WRAPPED):
        linker.define(store, wrapped.namespace, wrapped.name, exports[kernel.wrapper_name(position)])
    return _run(store, host, linker, wasm, exports[kernel.MEMORY], function, arguments, start="")


def together(wasm: bytes, function: str, arguments: Sequence[Any]) -> Ending:
    """Calls the same function where both are one module."""
    store = w.Store(_engine())
    host, linker = _Host(store), w.Linker(_engine())
    host.link(linker)
    return _run(store, host, linker, merged(wasm), None, function, arguments, start=growth.START)


def _run(
    store: w.Store,
    host: _Host,
    linker: w.Linker,
    wasm: bytes,
    own: Any,
    function: str,
    arguments: Sequence[Any],
    *,
    start: str,
) -> Ending:
    ending = Ending(asked=host.asked)
    exports: Any = None
    store.set_limits(memory_size=64 << 20)
    # As the host lays out an empty input.
    front = (kernel.START + 16).to_bytes(8, "little") + kernel.START.to_bytes(8, "little")
    try:
        host.memory = own
        if own is not None:
            own.write(store, front, 0)
        exports = linker.instantiate(store, w.Module(_engine(), wasm)).exports(store)
        if own is None:
            host.memory = exports.get(kernel.MEMORY)
            if host.memory is not None:
                host.memory.write(store, front, 0)
        if start and start in list(exports):
            exports[start](store)
        ending.values = exports[function](store, *arguments)
        if isinstance(ending.values, w.Func):
            ending.values = "a function"
    except w.Trap as trap:
        ending.trap = trap.trap_code
    except w.WasmtimeError as error:
        # An index that is no offset in the host's own function.
        ending.trap = type(error).__name__
    memory = exports.get("memory") if exports is not None else None
    ending.memory = _contents(store, memory)
    ending.kernel = _contents(store, host.memory)
    host.store = None
    return ending


def _contents(store: w.Store, memory: Any) -> bytes | None:
    return bytes(memory.read(store, 0, None)) if isinstance(memory, w.Memory) else None


def same(module: str | bytes, *arguments: Any, function: str = "run") -> Ending:
    """Calls a function both ways; the endings are the same, and one of them is given."""
    wasm = module if isinstance(module, bytes) else bytes(w.wat2wasm(module))
    one, other = apart(wasm, function, arguments), together(wasm, function, arguments)
    if other.kernel is None:
        # A guest that imports nothing of a kernel gets none.
        assert not parse(wasm).imports
        one.kernel = None
    assert one == other
    return other


def with_info(wasm: bytes) -> ModuleInfo:
    """What the merged module says of itself."""
    return parse(merged(wasm))


ENV = " ".join(kernel.SIGNATURES)

# --- the same outcome -------------------------------------------------------------------------------------------------

_NUMBERS = st.one_of(
    st.integers(0, 400),
    st.integers(0, 70_000),
    st.sampled_from([-1, -8, -16, 1 << 31, 1 << 32, (1 << 32) + 200, (1 << 63) - 1, -(1 << 63), 1 << 16, 65_528]),
)
_CALLS = st.lists(st.tuples(st.sampled_from(sorted(kernel.SIGNATURES)), _NUMBERS, _NUMBERS), max_size=12)


@settings(deadline=None, max_examples=60)
@given(calls=_CALLS)
def test_any_sequence_of_kernel_calls_ends_the_same_merged_or_apart(calls: list[tuple[str, int, int]]) -> None:
    body = []
    for at, (name, one, other) in enumerate(calls):
        parameters, results = kernel.SIGNATURES[name]
        values = "".join(
            f" ({kind}.const {value % (1 << 31) if kind == 'i32' else value})"
            for kind, value in zip(parameters, (one, other), strict=False)
        )
        call = f"(call ${name}{values})"
        if results:
            extended = f"(i64.extend_i32_u {call})" if results[0] == "i32" else call
            call = f"(i64.store (i32.const {at * 8}) {extended})"
        body.append(call)
    same(wat('(memory (export "memory") 1) (func (export "run") ' + "\n".join(body) + ")", ENV))


@pytest.mark.parametrize("argument", [0, 1, 191, 65_528, 65_529, -1, (1 << 32) + 300, -(1 << 63)])
def test_a_kernel_function_inside_of_blocks_branches_and_loops_does_what_its_call_did(argument: int) -> None:
    ending = same(
        wat(
            """(type $pair (func (param i64) (result i64 i32)))
            (func (export "run") (param $at i64) (result i64) (local $i i32) (local $sum i64)
              (block $out (result i64)
                (loop $again (result i64)
                  (local.set $sum (i64.add (local.get $sum) (call $load_u64 (local.get $at))))
                  (if (i32.eqz (call $load_u8 (i64.const 8))) (then (br $out (i64.const 7))))
                  (call $store_u8 (i64.const 400) (i32.add (local.get $i) (call $load_u8 (i64.const 400))))
                  (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5)))
                  (call $input_length)
                  (block (type $pair) (call $load_u64) (call $load_u8 (i64.const 400)))
                  (drop)))
              (i64.add (local.get $sum)))""",
            "load_u64 load_u8 store_u8 input_length",
        ),
        argument,
    )
    assert ending.values is not None or ending.trap is not None


def test_an_inlined_function_after_unreachable_code_is_valid_and_never_runs() -> None:
    ending = same(
        wat(
            """(func (export "run") (result i64)
              (block $a (result i64)
                (br $a (i64.const 3))
                (call $load_u64) (call $load_u8) (drop)
                (call $store_u64) (unreachable) (call $input_load_u8) (call $store_u8) (call $input_length)))""",
            "load_u64 load_u8 store_u64 store_u8 input_load_u8 input_length",
        )
    )
    assert ending.values == 3


def test_parameters_of_an_inlined_function_are_evaluated_once_and_in_order() -> None:
    ending = same(
        wat(
            """(global $n (mut i64) (i64.const 200))
            (func $next (result i64) (global.set $n (i64.add (global.get $n) (i64.const 8))) (global.get $n))
            (func (export "run") (result i64)
              (call $store_u64 (call $next) (call $next))
              (call $store_u64 (call $next) (call $load_u64 (i64.const 208)))
              (call $load_u64 (i64.const 224)))""",
            "load_u64 store_u64",
        )
    )
    assert ending.values == 216


@pytest.mark.parametrize("count", [0, 1, 127, 128, 48_990, 48_999, 49_000, 49_999, 50_000])
def test_a_function_with_any_number_of_locals_keeps_them(count: int) -> None:
    kinds = ("i32", "i64", "f64", "v128", "funcref")
    locals_ = " ".join(kinds[at // 9_973 % 5] for at in range(count))
    last = f"(local.set {count - 1} (local.get {count - 1}))" if count else ""
    ending = same(
        wat(
            f"""(func (export "run") (result i64) (local {locals_})
              (call $store_u64 (i64.const 300) (i64.const 9)) {last}
              (i64.add (call $load_u64 (i64.const 300)) (i64.extend_i32_u (call $load_u8 (i64.const 300)))))""",
            "load_u64 store_u64 load_u8",
        )
    )
    assert ending.values == 18


def test_more_calls_than_are_inlined_do_what_the_first_ones_did() -> None:
    body = "(call $store_u64 (i64.const 800) (i64.add (call $load_u64 (i64.const 800)) (i64.const 1)))" * 1_500
    text = wat(f'(func (export "run") (result i64) {body} (call $load_u64 (i64.const 800)))', "load_u64 store_u64")
    assert same(text).values == 1_500


def test_a_tail_call_of_a_kernel_function_ends_the_same() -> None:
    text = wat(
        """(func (export "run") (param i64) (result i64) (return_call $load_u64 (local.get 0)))
        (func (export "other") (param i64) (result i64) (return_call $alloc (local.get 0)))
        (table funcref (elem $length))
        (func (export "third") (param i64) (result i64)
          (return_call_indirect (param i64) (result i64) (call $alloc (local.get 0)) (i32.const 0)))""",
        "load_u64 alloc length",
    )
    assert same(text, 8).values == kernel.START
    assert same(text, 40, function="other").values == kernel.START + 32
    assert same(text, 40, function="third").values == 40
    assert same(text, 65_530).trap is not None


def test_kernel_functions_in_tables_globals_and_every_kind_of_elements_are_the_same_functions() -> None:
    text = wat(
        """(table $t 40 funcref) (table $other 10 funcref)
        (type $f (func (param i64) (result i64)))
        (global $ref funcref (ref.func $length))
        (func $own (param i64) (result i64) (i64.const 99))
        (elem (i32.const 0) $alloc $own $length)
        (elem func $own $alloc)
        (elem (table $other) (i32.const 1) func $length $alloc)
        (elem declare func $load_u64)
        (elem (i32.const 8) funcref (ref.func $alloc) (ref.null func) (ref.func $own))
        (elem funcref (ref.func $own) (ref.func $length) (ref.null func))
        (elem (table $other) (i32.const 4) funcref (ref.func $own) (item (ref.func $alloc)))
        (elem declare funcref (ref.func $length))
        (memory (export "memory") 1)
        (func (export "run") (param $at i32) (result i64)
          (table.init $t 1 (i32.const 12) (i32.const 0) (i32.const 2))
          (table.init $t 5 (i32.const 15) (i32.const 0) (i32.const 2))
          (table.copy $t $other (i32.const 20) (i32.const 0) (i32.const 10))
          (table.set $t (i32.const 30) (ref.func $load_u64)) (table.set $t (i32.const 31) (global.get $ref))
          (elem.drop 1) (table.fill $t (i32.const 33) (ref.func $own) (i32.const 2))
          (i64.store (i32.const 8) (i64.extend_i32_u (table.size $t)))
          (call_indirect $t (type $f) (i64.const 40) (local.get $at)))""",
        "alloc length load_u64",
    )
    seen = {same(text, at).values for at in range(42)}
    assert {99, 0, kernel.START + 32} <= seen


def test_a_table_that_grows_and_kernel_functions_as_values_survive_both_rewritings() -> None:
    text = wat(
        """(table $t 1 10 funcref) (elem declare func $alloc)
        (memory (export "memory") 0 3)
        (func (export "run") (result i64)
          (drop (table.grow $t (ref.func $alloc) (i32.const 3)))
          (drop (memory.grow (i32.const 2))) (drop (memory.grow (i32.const 2)))
          (i64.store (i32.const 131064) (i64.extend_i32_s (table.grow $t (ref.null func) (i32.const 9))))
          (call_indirect $t (param i64) (result i64) (i64.const 77) (i32.const 3)))""",
        "alloc",
    )
    assert same(text).values == kernel.START + 32


def test_an_import_that_is_exported_again_is_still_the_kernels_function() -> None:
    text = wat(
        '(export "a" (func $alloc)) (export "l" (func $load_u8)) (export "level" (func $get_log_level))',
        "alloc load_u8 get_log_level",
    )
    assert same(text, 5, function="a").values == kernel.START + 32
    assert same(text, 8, function="l").values == kernel.START
    assert same(text, function="level").values == 0


def test_one_name_imported_often_is_one_function() -> None:
    imports = "".join(
        f'(import "extism:host/env" "load_u64" (func $l{at} (param i64) (result i64)))'
        f'(import "extism:host/env" "alloc" (func $a{at} (param i64) (result i64)))'
        for at in range(200)
    )
    text = f"""(module {imports} (table funcref (elem $a3 $a199 $l199))
      (func (export "run") (result i64)
        (i64.add (i64.add (call $l0 (i64.const 8)) (call $l199 (i64.const 8)))
          (i64.add (call $a0 (i64.const 1))
            (call_indirect (param i64) (result i64) (call $a199 (i64.const 1)) (i32.const 1))))))"""
    same(text)


def test_a_name_imported_often_takes_its_local_variables_of_a_function_once() -> None:
    load = '(import "extism:host/env" "load_u64" (func $l{} (param i64) (result i64)))'
    imports = "".join(map(load.format, range(1_500)))
    calls = "".join(f"(drop (call $l{at} (i64.const 8)))" for at in range(1_500))
    ending = same(f'(module {imports} (func (export "run") (local {"i32 " * 48_990}) {calls}))')
    assert ending.trap is None


def test_the_start_function_is_called_by_the_host_even_where_it_is_an_import() -> None:
    imported = wat('(import "app" "begin" (func $begin)) (start $begin) (func (export "run"))', "alloc store_u8")
    info = with_info(bytes(w.wat2wasm(imported)))
    assert info.start is None
    assert info.exports[growth.START].index == [item.name for item in info.imports].index("begin")
    same(
        wat(
            """(start $s) (func $s (call $store_u8 (i64.const 500) (i32.const 5)))
            (func (export "run") (result i32) (call $load_u8 (i64.const 500)))""",
            "store_u8 load_u8",
        )
    )


def test_host_functions_with_bytes_get_offsets_and_lengths_through_their_wrappers() -> None:
    text = wat(
        """(func (export "run") (result f64) (local $a i64) (local $b i64)
          (local.set $a (call $alloc (i64.const 5))) (local.set $b (call $alloc (i64.const 70000)))
          (call $free (call $both (local.get $a) (i32.const -3) (local.get $b)))
          (drop (call $config_get (local.get $a))) (drop (call $var_get (i64.const 77)))
          (call $var_set (local.get $a) (local.get $b)) (call $log_warn (local.get $b))
          (call $number (local.get $b)))""",
        "alloc free config_get var_get var_set log_warn",
        functions=WRAPPED,
    )
    ending = same(text)
    assert ending.values == 0.5
    assert ("both", kernel.START + 32, 5, -3, kernel.START + 64, 70_000) in ending.asked
    assert [name for name, *_ in ending.asked].count("take") == 3


def test_data_segments_bulk_memory_and_their_count_stay_as_they_were() -> None:
    text = wat(
        r"""(memory (export "memory") 1 1) (data (i32.const 4) "\10\00\12\01") (data $p "\d2\01\10\00\0b") (data "")
        (func (export "run") (result i64)
          (call $store_u8 (i64.const 700) (i32.load8_u (i32.const 4)))
          (memory.init $p (i32.const 16) (i32.const 0) (i32.const 5)) (data.drop $p)
          (memory.copy (i32.const 32) (i32.const 0) (i32.const 24))
          (memory.fill (i32.const 60) (i32.const 16) (i32.const 9))
          (i64.add (i64.load (i32.const 32)) (call $load_u64 (i64.const 700))))""",
        "store_u8 load_u64",
    )
    same(text)


def test_immediates_that_look_like_calls_are_left_alone() -> None:
    # 0x10 is call, 0x12 return_call, 0xd2 ref.func: here they are bytes of numbers, lanes, labels and offsets.
    labels = " ".join("$b" for _ in range(300))
    text = wat(
        f"""(memory (export "memory") 1) (table 3 funcref)
        (func (export "run") (result i64) (local $v v128) (local $f f32) (local $d f64) (local $many i32)
          (block $b (br_table {labels} (i32.const 16)))
          (local.set $v (v128.const i8x16 16 0 18 1 210 0 16 0 11 5 16 0 16 0 210 1))
          (local.set $v (i8x16.shuffle 16 0 18 1 17 0 16 0 11 5 16 0 16 0 31 1 (local.get $v) (local.get $v)))
          (local.set $v (v128.load8_lane offset=16 7 (i32.const 0) (local.get $v)))
          (local.set $v (i8x16.replace_lane 15 (local.get $v) (i32.const 4112)))
          (v128.store offset=4112 (i32.const 16) (local.get $v))
          (local.set $f (f32.const 0x1.202024p-93)) (local.set $d (f64.const 0x1.0001000100010p-767))
          (f64.store offset=2056 (i32.const 18) (local.get $d)) (f32.store (i32.const 16) (local.get $f))
          (drop (select (result i64) (i64.const 2066) (i64.const 4112) (i32.const 16)))
          (drop (ref.is_null (select (result funcref) (ref.null func) (ref.null func) (i32.const 1))))
          (i64.store (i32.const 64) (i64.trunc_sat_f64_s (local.get $d)))
          (i64.add (i64.const 0x1210d21012100010) (call $load_u64 (i64.const 16))))""",
        "load_u64",
    )
    same(text)


@pytest.mark.parametrize(
    "memory", ["", '(memory (export "memory") 0)', '(memory (export "memory") 0 0)', '(memory (export "memory") 1 1)']
)
def test_a_guest_without_a_memory_or_with_an_empty_one_keeps_it_so(memory: str) -> None:
    text = wat(
        memory
        + '(func (export "run") (result i64) '
        + (
            "(drop (memory.grow (i32.const 1))) (i64.add (i64.extend_i32_u (memory.size))"
            if memory
            else "(i64.add (i64.const 0)"
        )
        + "(call $load_u64 (i64.const 8))))",
        "load_u64",
    )
    same(text)
    info = with_info(bytes(w.wat2wasm(text)))
    assert len(info.memories) == 2
    if not memory:
        assert (info.memories[0].minimum, info.memories[0].maximum) == (0, 0)


def test_custom_sections_anywhere_change_nothing_and_are_left_out() -> None:
    wasm = bytes(
        w.wat2wasm(wat('(func $named (export "run") (result i64) (call $load_u64 (i64.const 8)))', "load_u64"))
    )
    info = parse(wasm)
    odd = b"\0" + leb(9) + b"\4name\0\1\2\x10"
    cut = [section.header for section in info.sections] + [len(wasm)]
    pieces = [wasm[: cut[0]], *(wasm[a:b] for a, b in pairwise(cut))]
    assert same(odd.join(pieces)).values == kernel.START
    assert not parse(merged(odd.join(pieces))).custom


def test_numbers_with_more_bytes_than_they_need_name_the_same_functions() -> None:
    text = wat(
        """(table funcref (elem $alloc)) (func (export "run") (result i64)
          (i64.add (call $alloc (i64.const 3)) (call $load_u64 (i64.const 8))))""",
        "load_u64 alloc",
    )
    wasm = bytes(w.wat2wasm(text))
    body = b"\x42\x03\x10\x01\x42\x08\x10\x00"
    assert wasm.count(body) == 1
    at = wasm.index(body)
    long = wasm[:at] + b"\x42\x03\x10\x81\x80\x80\x80\x00\x42\x88\x80\x00\x10\x80\x80\x00" + wasm[at + len(body) :]
    info = parse(wasm)
    code = next(section for section in info.sections if section.id == 10)
    more = len(long) - len(wasm)
    # One function whose size, and whose section's size, take one byte each.
    assert long[code.header + 1] == code.end - code.start
    fixed = bytearray(long)
    fixed[code.header + 1] += more
    fixed[code.start + 1] += more
    assert same(bytes(fixed)).values == same(wasm).values


# --- what a guest cannot reach ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "(drop (i32.load 1 (i32.const 0)))",
        "(i32.store 1 (i32.const 0) (i32.const 0))",
        "(drop (memory.size 1))",
        "(drop (memory.grow 1 (i32.const 1)))",
        "(memory.copy 0 1 (i32.const 0) (i32.const 0) (i32.const 1))",
        "(memory.fill 1 (i32.const 0) (i32.const 0) (i32.const 1))",
        "(memory.init 1 0 (i32.const 0) (i32.const 0) (i32.const 1))",
        "(v128.store 1 (i32.const 0) (v128.const i64x2 0 0))",
        "(drop (v128.load8_lane 1 0 (i32.const 0) (v128.const i64x2 0 0)))",
        "(global.set 0 (i32.const 70000))",
        "(drop (global.get 0))",
        "(call 2)",
        "(drop (ref.func 2))",
        "(drop (call_indirect (type 4) (i32.const 0)))",
    ],
)
def test_nothing_of_the_kernels_has_a_number_that_a_guest_may_write(body: str) -> None:
    text = wat(f'(memory 1) (data "x") (func (export "run") {body})', "alloc")
    wasm = bytes(w.wat2wasm(text))
    with pytest.raises(w.WasmtimeError):
        merged(wasm)


def test_a_data_segment_for_the_kernels_memory_is_refused() -> None:
    wasm = bytes(w.wat2wasm(wat('(memory 1) (data (i32.const 0) "x") (func (export "run"))', "alloc")))
    plain = b"\x01\x00\x41\x00\x0b\x01x"
    assert wasm.count(plain) == 1
    changed = bytearray(wasm.replace(plain, b"\x01\x02\x01\x41\x00\x0b\x01x"))
    changed[changed.index(b"\x0b\x07\x01\x02\x01") + 1] = 8
    with pytest.raises(w.WasmtimeError, match=r"unknown memory|multi"):
        merged(bytes(changed))


def test_a_merged_module_exports_the_guests_own_names_and_no_function_of_the_kernels() -> None:
    wasm = bytes(w.wat2wasm(wat('(memory (export "m") 1) (func (export "run"))', "alloc")))
    info = with_info(wasm)
    assert set(info.exports) == {"m", "run", growth.MEMORY, kernel.MEMORY, kernel.LIMIT}
    assert info.exports["m"].index == info.exports[growth.MEMORY].index == 0
    assert info.exports[kernel.MEMORY].index == 1


def test_only_what_a_guest_needs_of_its_kernel_becomes_part_of_it() -> None:
    small = with_info(bytes(w.wat2wasm(wat('(func (export "run") (drop (call $input_length)))', "input_length"))))
    assert not small.imports
    asking = with_info(bytes(w.wat2wasm(wat('(func (export "run"))', "config_get"))))
    assert {(item.module, item.name) for item in asking.imports} == {("innkeeper", "ask"), ("innkeeper", "take")}


def test_a_guest_that_imports_no_kernel_is_only_watched() -> None:
    wasm = bytes(w.wat2wasm('(module (memory 1) (func (export "run") (result i32) (memory.grow (i32.const 1))))'))
    assert merged(wasm) == growth.instrument(wasm, parse(wasm))


@pytest.mark.parametrize(
    ("limit", "more"),
    [
        ("MAX_ITEMS", "(type (func))" * 100),
        ("MAX_ITEMS", "(global i32 (i32.const 0))" * 100),
        ("MAX_ITEMS", "".join(f'(export "{at}" (func $own))' for at in range(100))),
        ("MAX_FUNCTIONS", "(func)" * 100),
        ("MAX_SECTIONS", '(@custom "odd" "")' * 100),
        ("MAX_VALUE_TYPES", "(type (func (param i64)))" * 100),
    ],
)
def test_a_module_with_as_much_as_a_file_may_have_still_takes_its_kernel(
    monkeypatch: pytest.MonkeyPatch, limit: str, more: str
) -> None:
    wasm = bytes(w.wat2wasm(wat(f"(memory 1) (func $own (drop (memory.grow (i32.const 1)))) {more}", "load_u64")))
    info = parse(wasm)
    counts = {
        "MAX_ITEMS": max(len(info.types), len(info.globals), len(info.exports)),
        "MAX_FUNCTIONS": info.functions,
        "MAX_SECTIONS": len(info.sections),
        "MAX_VALUE_TYPES": sum(len(parameters) + len(results) for parameters, results in info.types),
    }
    monkeypatch.setattr(f"innkeeper.sandbox.wasm.{limit}", counts[limit])
    w.Module.validate(_engine(), merged(wasm))
    monkeypatch.setattr(f"innkeeper.sandbox.wasm.{limit}", counts[limit] - 1)
    with pytest.raises(MalformedError):
        parse(wasm)


def test_a_merged_module_is_never_larger_than_its_parts_and_what_is_inlined() -> None:
    body = "(call $store_u8 (i64.const 1) (i32.const 1))" * 5_000
    wasm = bytes(w.wat2wasm(wat(f'(func (export "run") {body})', "store_u8")))
    whole = merged(wasm)
    assert len(whole) < len(wasm) + merge.MAX_INLINED * 40 + 5_000
