"""Each function of `capi` against the library that wasmtime-py carries, since a header can be wrong."""

from __future__ import annotations

import ctypes as c
import functools
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime as w
from wasmtime import _bindings, _ffi

from innkeeper.errors import InternalError
from innkeeper.sandbox import capi, proposals, selfcheck
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import FiberEngine

SHOWN: set[str] = set()
FAR = 1 << 40
PAGE = 65_536
Resume = c.CFUNCTYPE(c.c_bool, c.c_void_p)
"""(env) -> the host function is done: what wasmtime asks at each poll of a guest that waits."""


def shows(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks the test of these functions of `capi`, and fails it if it does not call one of them."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        SHOWN.update(names)

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            called = set()

            def proxy(name: str, real: Any) -> Callable[..., Any]:
                def call(*given: Any) -> Any:
                    called.add(name)
                    return real(*given)

                return call

            with pytest.MonkeyPatch.context() as patch:
                for name in names:
                    patch.setattr(capi, name, proxy(name, getattr(capi, name)))
                test(*args, **kwargs)
            assert called == set(names)

        return run

    return decorate


class Box(c.Structure):
    """What C writes."""

    _fields_ = (
        ("instance", capi.Instance),
        ("found", capi.Extern),
        ("inner", capi.Extern),
        ("value", capi.Val),
        ("argument", capi.Val),
        ("old", c.c_uint64),
        ("trap", c.c_void_p),
        ("error", c.c_void_p),
        ("pre", c.c_void_p),
    )


class Store:
    """A store with a linker, and what one does with them."""

    def __init__(self, engine: w.Engine) -> None:
        self.engine = engine
        self.box = Box()
        self.store = capi.store_new(capi.address(engine), None, None)
        self.context = capi.store_context(self.store)
        self.linker = capi.linker_new(capi.address(engine))
        self.kept: list[Any] = []
        self.future = 0

    def at(self, name: str) -> int:
        return c.addressof(self.box) + int(getattr(Box, name).offset)

    def module(self, wat: str) -> int:
        module = w.Module(self.engine, wat)
        self.kept.append(module)
        return capi.address(module)

    def far(self) -> None:
        capi.set_epoch_deadline(self.context, FAR)

    def start(self, wat: str, linker: int | None = None) -> None:
        self.future = capi.linker_instantiate_async(
            linker or self.linker,
            self.context,
            self.module(wat),
            self.at("instance"),
            self.at("trap"),
            self.at("error"),
        )
        assert self.poll()
        assert self.outcome() is None

    def find(self, name: str) -> int:
        word = name.encode()
        assert capi.instance_export(self.context, self.at("instance"), word, len(word), self.at("found"))
        return self.at("found") + capi.EXTERN_OF

    def begin(self, name: str, results: int = 0, argument: int | None = None) -> None:
        if argument is not None:
            self.box.argument.kind, self.box.argument.of.i64 = capi.I64, argument
        self.future = capi.func_call_async(
            self.context,
            self.find(name),
            self.at("argument") if argument is not None else None,
            int(argument is not None),
            self.at("value") if results else None,
            results,
            self.at("trap"),
            self.at("error"),
        )

    def poll(self, function: Any = None) -> bool:
        if not (function or capi.future_poll_held)(self.future):
            return False
        self.end()
        return True

    def end(self) -> None:
        future, self.future = self.future, 0
        if future:
            capi.future_delete(future)

    def outcome(self) -> tuple[int | None, str] | None:
        trap, error = self.box.trap, self.box.error
        self.box.trap = self.box.error = None
        if error:
            return None, capi.take_error(error)
        return capi.take_trap(trap) if trap else None

    def call(self, name: str, results: int = 1, argument: int | None = None) -> int:
        self.begin(name, results, argument)
        assert self.poll()
        assert self.outcome() is None
        return int(self.box.value.of.i64)

    def define(
        self, how: Any, callback: Any, parameters: int = 0, results: int = 0, env: int = 0, linker: int | None = None
    ) -> int | None:
        kind = w.FuncType([w.ValType.i64()] * parameters, [w.ValType.i64()] * results)
        self.kept += [callback, kind]
        address = c.cast(callback, c.c_void_p).value
        error = how(linker or self.linker, b"host", 4, b"f", 1, capi.address(kind), address, env, None)
        return error if error is None else int(error)

    def close(self) -> None:
        self.end()
        self.outcome()
        if self.store:
            capi.store_delete(self.store)
        if self.box.pre:
            capi.instance_pre_delete(self.box.pre)
        capi.linker_delete(self.linker)


@pytest.fixture(scope="module")
def engine() -> w.Engine:
    config = w.Config()
    proposals.apply(config)
    config.epoch_interruption = True
    config.signals_based_traps = False
    return w.Engine(config)


@pytest.fixture
def store(engine: w.Engine) -> Iterator[Store]:
    store = Store(engine)
    store.far()
    yield store
    store.close()


LOOP = """(module (func (export "loop") (result i64) (local i64)
  (loop (br_if 0 (i64.lt_u (local.tee 0 (i64.add (local.get 0) (i64.const 1))) (i64.const 100000))))
  (local.get 0)))"""
CALLS = """(module (import "host" "f" (func $f (param i64) (result i64)))
  (func (export "go") (param i64) (result i64) (i64.add (call $f (local.get 0)) (i64.const 1))))"""


# --- stores -----------------------------------------------------------------------------------------------------------


@shows("store_new", "store_delete", "store_delete_free", "store_context")
def test_a_store_has_one_context_for_as_long_as_it_lives(engine: w.Engine) -> None:
    for delete in (capi.store_delete, capi.store_delete_free):
        store = capi.store_new(capi.address(engine), None, None)
        context = capi.store_context(store)
        assert context
        assert capi.store_context(store) == context
        delete(store)


@shows("store_new")
def test_a_store_calls_the_finaliser_of_its_data_when_it_goes(engine: w.Engine) -> None:
    seen = []
    finalizer = c.CFUNCTYPE(None, c.c_void_p)(seen.append)
    store = capi.store_new(capi.address(engine), 42, c.cast(finalizer, c.c_void_p).value)
    assert seen == []
    capi.store_delete(store)
    assert seen == [42]


@shows("store_limiter")
def test_the_limiter_holds_each_memory_by_itself_and_tables_and_counts(store: Store) -> None:
    capi.store_limiter(store.store, 2 * PAGE, 10, 3, 1, 3)
    text = """(module (memory 1) (table 5 funcref)
      (func (export "memory") (result i64) (i64.extend_i32_s (memory.grow (i32.const 1))))
      (func (export "table") (result i64) (i64.extend_i32_s (table.grow (ref.null func) (i32.const 5)))))"""
    store.start(text)
    assert [store.call("memory"), store.call("memory")] == [1, -1]
    assert [store.call("table"), store.call("table")] == [5, -1]
    # A start that is refused counts as an instance, too.
    for refused, words in ((text, "table"), ("(module (memory 3))", "memory minimum"), ("(module)", "instance count")):
        with pytest.raises(AssertionError, match=words):
            store.start(refused)


@shows("set_epoch_deadline", "engine_increment_epoch")
def test_without_a_callback_the_deadline_of_the_epoch_is_a_trap(store: Store) -> None:
    store.start(LOOP)
    capi.set_epoch_deadline(store.context, 2)
    capi.engine_increment_epoch(capi.address(store.engine))
    assert store.call("loop") == 100_000
    capi.engine_increment_epoch(capi.address(store.engine))
    store.begin("loop", 1)
    assert store.poll()
    outcome = store.outcome()
    assert outcome is not None
    assert outcome[0] == 10
    assert capi.TRAP_NAMES[10] == "interrupted"


@shows("epoch_callback", "engine_increment_epoch")
def test_the_epochs_callback_makes_the_guest_give_way_and_go_on(store: Store) -> None:
    seen = []

    def tick(context: int, data: int, delta: Any, kind: Any) -> None:
        seen.append((context, data))
        delta[0], kind[0] = FAR, capi.EPOCH_YIELD

    callback = capi.EpochCallback(tick)
    capi.epoch_callback(store.store, c.cast(callback, c.c_void_p).value, 7, None)
    store.start(LOOP)
    capi.set_epoch_deadline(store.context, 1)
    capi.engine_increment_epoch(capi.address(store.engine))
    store.begin("loop", 1)
    assert not store.poll()
    assert seen == [(store.context, 7)]
    assert store.poll()
    assert store.box.value.of.i64 == 100_000


@shows("epoch_callback")
def test_the_epochs_callback_can_end_the_guest_with_an_error(store: Store) -> None:
    def tick(context: int, data: int, delta: Any, kind: Any) -> int:
        delta[0], kind[0] = 1, capi.EPOCH_YIELD
        return int(capi.error_new(b"enough"))

    callback = capi.EpochCallback(tick)
    capi.epoch_callback(store.store, c.cast(callback, c.c_void_p).value, None, None)
    store.start(LOOP)
    capi.set_epoch_deadline(store.context, 1)
    capi.engine_increment_epoch(capi.address(store.engine))
    store.begin("loop", 1)
    assert store.poll()
    outcome = store.outcome()
    assert outcome is not None
    assert "enough" in outcome[1]


# --- linkers and instances --------------------------------------------------------------------------------------------


@shows("linker_new", "linker_clone", "linker_delete", "linker_define_raw")
def test_what_a_linkers_clone_learns_the_linker_does_not_know(store: Store) -> None:
    linker = capi.linker_new(capi.address(store.engine))
    clone = capi.linker_clone(linker)
    callback = capi.RawCallback(lambda *_: None)
    assert store.define(capi.linker_define_raw, callback, linker=clone) is None
    store.start('(module (import "host" "f" (func)))', clone)
    with pytest.raises(AssertionError):
        store.start('(module (import "host" "f" (func)))', linker)
    store.outcome()
    capi.linker_delete(clone)
    capi.linker_delete(linker)


@shows("linker_allow_shadowing", "linker_define_raw")
def test_a_name_is_defined_twice_only_where_shadowing_is_allowed(store: Store) -> None:
    callback = capi.RawCallback(lambda *_: None)
    assert store.define(capi.linker_define_raw, callback) is None
    error = store.define(capi.linker_define_raw, callback)
    assert error
    assert "defined" in capi.take_error(error)
    capi.linker_allow_shadowing(store.linker, True)
    assert store.define(capi.linker_define_raw, callback) is None
    capi.linker_allow_shadowing(store.linker, False)
    error = store.define(capi.linker_define_raw, callback)
    assert error
    capi.error_delete(error)


@shows("linker_define", "linker_define_instance", "linker_instantiate_async")
def test_exports_can_be_linked_one_by_one_or_all_at_once(store: Store) -> None:
    store.start('(module (func (export "a") (result i64) (i64.const 5)))')
    assert capi.linker_define_instance(store.linker, store.context, b"all", 3, store.at("instance")) is None
    store.find("a")
    assert capi.linker_define(store.linker, store.context, b"one", 3, b"b", 1, store.at("found")) is None
    store.start("""(module (import "all" "a" (func $a (result i64))) (import "one" "b" (func $b (result i64)))
      (func (export "both") (result i64) (i64.add (call $a) (call $b))))""")
    assert store.call("both") == 10


@shows("linker_define_raw", "caller_context")
def test_a_raw_callback_gets_values_writes_its_result_over_them_and_may_trap(store: Store) -> None:
    seen = []

    def callback(env: int, caller: int, values: int, count: int) -> int | None:
        number = struct.unpack("<q", c.string_at(values, 8))[0]
        seen.append((env, count, number, capi.caller_context(caller) == store.context))
        if number < 0:
            return int(capi.trap_new(b"negative", 8))
        c.memmove(values, struct.pack("<q8x", number * 2), capi.RAW_SIZE)
        return None

    assert store.define(capi.linker_define_raw, capi.RawCallback(callback), 1, 1, env=9) is None
    store.start(CALLS)
    assert store.call("go", 1, 20) == 41
    store.begin("go", 1, -20)
    assert store.poll()
    outcome = store.outcome()
    assert outcome is not None
    assert (outcome[0], "negative" in outcome[1]) == (None, True)
    assert seen == [(9, 1, 20, True), (9, 1, -20, True)]


def _continue(continuation: int, resume: Any, env: int, finalizer: Any = None) -> None:
    addresses = [c.cast(callback, c.c_void_p).value or 0 for callback in (resume, finalizer)]
    c.memmove(continuation, struct.pack("<3Q", addresses[0], env, addresses[1]), 24)


def _resumed(store: Store, after: int) -> tuple[Any, list[int]]:
    """An asynchronous callback that doubles its argument when it has been asked `after` times."""
    asked: list[int] = []

    def resume(env: int) -> bool:
        asked.append(env)
        if len(asked) % after:
            return False
        c.memmove(store.place, struct.pack("<B7xq16x", capi.I64, store.number * 2), capi.VAL_SIZE)
        return True

    kept = Resume(resume)
    store.kept.append(kept)

    def begin(
        env: int | None, caller: int, at: int, n: int, results: int, n_results: int, trap: int, continuation: int
    ) -> None:
        _continue(continuation, kept, (env or 0) + 1)
        assert (n, n_results) == (1, 1)
        kind, store.number = struct.unpack("<B7xq", c.string_at(at, 16))
        assert kind == capi.I64
        store.place = results

    return capi.AsyncCallback(begin), asked


@shows("linker_define_async", "func_call_async", "future_poll_held", "future_poll_free", "future_delete")
def test_an_asynchronous_callback_is_asked_at_each_poll_until_it_is_done(store: Store) -> None:
    callback, asked = _resumed(store, 3)
    assert store.define(capi.linker_define_async, callback, 1, 1, env=4) is None
    store.start(CALLS)
    for poll in (capi.future_poll_held, capi.future_poll_free):
        store.begin("go", 1, 20)
        assert [store.poll(poll), store.poll(poll), store.poll(poll)] == [False, False, True]
        assert store.box.value.of.i64 == 41
    assert set(asked) == {5}


@shows("linker_define_async")
def test_a_guest_waits_until_the_bytes_that_resume_looks_at_say_that_it_goes_on(store: Store) -> None:
    ready = c.create_string_buffer(2)
    places: list[int] = []

    def begin(*given: int) -> None:
        _continue(given[7], capi.RESUME, c.addressof(ready))
        places.append(given[4])

    assert store.define(capi.linker_define_async, capi.AsyncCallback(begin), 1, 1) is None
    store.start(CALLS)
    store.begin("go", 1, 20)
    assert [store.poll(), store.poll()] == [False, False]
    c.memmove(places[0], struct.pack("<B7xq16x", capi.I64, 6), capi.VAL_SIZE)
    ready.value = b"\1"
    assert store.poll()
    assert store.box.value.of.i64 == 7


@shows("linker_define_async")
def test_an_asynchronous_callback_may_trap_at_once(store: Store) -> None:
    callback, _ = _resumed(store, 1)

    def begin(*given: int) -> None:
        callback(*given)
        c.c_void_p.from_address(given[6]).value = capi.trap_new(b"at once", 7)

    assert store.define(capi.linker_define_async, capi.AsyncCallback(begin), 1, 1) is None
    store.start(CALLS)
    store.begin("go", 1, 20)
    assert store.poll()
    outcome = store.outcome()
    assert outcome is not None
    assert "at once" in outcome[1]


@shows("linker_define_async", "future_delete")
def test_a_future_that_is_deleted_half_way_takes_its_continuation_and_leaves_the_store_usable(store: Store) -> None:
    finalised = []
    finalizer = c.CFUNCTYPE(None, c.c_void_p)(finalised.append)
    asked: list[int] = []
    resume = Resume(lambda env: bool(asked.append(env)))

    def begin(*given: int) -> None:
        _continue(given[7], resume, 2, finalizer)

    assert store.define(capi.linker_define_async, capi.AsyncCallback(begin), 1, 1) is None
    store.start(CALLS)
    store.begin("go", 1, 20)
    assert not store.poll()
    store.end()
    assert (finalised, asked) == ([2], [2])
    assert store.outcome() is None
    store.start(LOOP)
    assert store.call("loop") == 100_000


@shows("linker_instantiate_pre", "instance_pre_instantiate_async", "instance_pre_delete")
def test_a_linked_module_can_be_started_more_than_once(store: Store) -> None:
    module = store.module('(module (func (export "a") (result i64) (i64.const 5)))')
    assert capi.linker_instantiate_pre(store.linker, module, store.at("pre")) is None
    pre, instance, trap, error = store.box.pre, store.at("instance"), store.at("trap"), store.at("error")
    for _ in range(2):
        store.future = capi.instance_pre_instantiate_async(pre, store.context, instance, trap, error)
        assert store.poll()
        assert store.outcome() is None
        assert store.call("a") == 5
    capi.instance_pre_delete(pre)
    store.box.pre = None
    missing = store.module('(module (import "no" "such" (func)))')
    refused = capi.linker_instantiate_pre(store.linker, missing, store.at("pre"))
    assert "such" in capi.take_error(refused)
    assert not store.box.pre


@shows("instance_export", "caller_export")
def test_exports_are_found_by_name_from_outside_and_from_a_callback(store: Store) -> None:
    found = []

    def callback(env: int, caller: int, values: int, count: int) -> None:
        found.append(capi.caller_export(caller, b"memory", 6, store.at("inner")))
        found.append(capi.caller_export(caller, b"none", 4, store.at("value")))

    assert store.define(capi.linker_define_raw, capi.RawCallback(callback)) is None
    store.start("""(module (import "host" "f" (func $f)) (memory (export "memory") 3)
      (global (export "global") i64 (i64.const 1)) (table (export "table") 1 funcref)
      (func (export "go") (call $f)))""")
    for name, kind in {"go": "FUNC", "global": "GLOBAL", "table": "TABLE", "memory": "MEMORY"}.items():
        store.find(name)
        assert store.box.found.kind == getattr(_ffi, f"WASMTIME_EXTERN_{kind}").value, name
    assert not capi.instance_export(store.context, store.at("instance"), b"none", 4, store.at("value"))
    store.begin("go")
    assert store.poll()
    assert found == [True, False]
    assert capi.memory_data_size(store.context, store.at("inner") + capi.EXTERN_OF) == 3 * PAGE


# --- memory and globals -----------------------------------------------------------------------------------------------


@shows("memory_data", "memory_data_size", "memory_grow")
def test_memory_is_where_and_as_large_as_it_says_and_grows_from_outside(store: Store) -> None:
    store.start("""(module (memory (export "memory") 1 3)
      (func (export "last") (result i64) (i64.load (i32.const 131064))))""")
    memory = store.find("memory")
    store.box.inner = store.box.found
    memory = store.at("inner") + capi.EXTERN_OF
    assert capi.memory_data_size(store.context, memory) == PAGE
    assert capi.memory_grow(store.context, memory, 1, store.at("old")) is None
    assert (store.box.old, capi.memory_data_size(store.context, memory)) == (1, 2 * PAGE)
    c.memmove(capi.memory_data(store.context, memory) + 2 * PAGE - 8, struct.pack("<q", -77), 8)
    assert store.call("last") == -77
    error = capi.memory_grow(store.context, memory, 2, store.at("old"))
    assert capi.take_error(error)
    assert capi.memory_data_size(store.context, memory) == 2 * PAGE


@shows("global_get", "global_set")
def test_globals_are_read_and_written_and_constants_are_refused(store: Store) -> None:
    store.start("""(module (global $g (export "g") (mut i64) (i64.const -3)) (global (export "c") i64 (i64.const 1))
      (func (export "read") (result i64) (global.get $g)))""")
    at = store.find("g")
    capi.global_get(store.context, at, store.at("value"))
    assert (store.box.value.kind, store.box.value.of.i64) == (capi.I64, -3)
    store.box.argument.kind, store.box.argument.of.i64 = capi.I64, 99
    assert capi.global_set(store.context, at, store.at("argument")) is None
    assert store.call("read") == 99
    assert capi.take_error(capi.global_set(store.context, store.find("c"), store.at("argument")))


# --- engine, errors and traps -----------------------------------------------------------------------------------------


@shows("async_stack_size_set")
def test_a_fibers_stack_must_hold_the_guests_stack(engine: w.Engine) -> None:
    config = w.Config()
    config.max_wasm_stack = 1 << 20
    capi.async_stack_size_set(capi.address(config), 2 << 20)
    # What is smaller than the guest's own is refused by the library, by ending the process: see below.
    w.Engine(config)


@shows("error_new", "error_message", "error_delete", "byte_vec_delete")
def test_an_error_keeps_its_text_until_it_is_deleted() -> None:
    for text in ("a reason", "Übergröße", ""):
        error = capi.error_new(text.encode())
        assert capi._message(capi.error_message, error) == text
        capi.error_delete(error)


@shows("trap_new", "trap_message", "trap_code", "trap_delete", "byte_vec_delete")
def test_a_trap_of_ours_has_a_text_and_no_code() -> None:
    trap = capi.trap_new(b"host", 4)
    code = c.c_uint8(77)
    assert not capi.trap_code(trap, c.addressof(code))
    assert "host" in capi._message(capi.trap_message, trap)
    capi.trap_delete(trap)


TRAPS = {
    0: '(func $f (export "f") (call $f) (call $f))',
    1: '(memory 1) (func (export "f") (drop (i32.load (i32.const 65536))))',
    3: '(table 1 funcref) (func (export "f") (drop (table.get (i32.const 1))))',
    4: '(table 1 funcref) (func (export "f") (call_indirect (i32.const 0)))',
    5: "(table 1 funcref) (elem (i32.const 0) $g) (func $g (param i32)) "
    '(func (export "f") (call_indirect (i32.const 0)))',
    6: '(func (export "f") (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))',
    7: '(func (export "f") (drop (i32.div_s (i32.const 1) (i32.const 0))))',
    8: '(func (export "f") (drop (i32.trunc_f32_s (f32.const nan))))',
    9: '(func (export "f") unreachable)',
}


@pytest.mark.parametrize("code", TRAPS)
@shows("trap_code", "trap_delete")
def test_each_trap_of_a_guest_has_the_code_that_we_have_a_name_for(store: Store, code: int) -> None:
    store.start(f"(module {TRAPS[code]})")
    store.begin("f")
    assert store.poll()
    outcome = store.outcome()
    assert outcome is not None
    assert (outcome[0], bool(outcome[1])) == (code, True)
    assert code in capi.TRAP_NAMES


def test_every_code_that_has_a_name_was_seen_or_cannot_be_met() -> None:
    # 2: only threads' atomics; 10: without a callback, above; 11: fuel is never switched on.
    assert set(capi.TRAP_NAMES) == set(TRAPS) | {2, 10, 11}
    assert capi.TRAP_STACK_OVERFLOW == 0


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts resident pages as Linux shows them")
@shows("take_error", "take_trap")
def test_errors_and_traps_that_are_taken_leave_nothing(store: Store) -> None:
    store.start('(module (func (export "f") unreachable))')

    def both(times: int) -> None:
        for _ in range(times):
            assert "reason" in capi.take_error(capi.error_new(b"reason"))
            assert capi.take_trap(capi.trap_new(b"host", 4))[0] is None
            store.begin("f")
            store.poll()
            store.outcome()

    both(500)
    before = _resident()
    both(8_000)
    # Each one forgotten would leave 1.7 KB, 24,000 of them 40 MB.
    assert _resident() - before < 8_000_000


@shows("check")
def test_an_error_that_a_function_returned_is_raised_with_its_text() -> None:
    capi.check(None)
    with pytest.raises(InternalError, match="wasmtime: a reason"):
        capi.check(capi.error_new(b"a reason"))


@shows("take_error", "take_trap")
def test_a_text_is_cut_where_it_is_longer_than_anybody_reads() -> None:
    assert len(capi.take_error(capi.error_new(b"x" * 100_000))) == 2_000
    assert len(capi.take_trap(capi.trap_new(b"x" * 100_000, 100_000))[1]) == 2_000
    assert capi.take_error(capi.error_new(b"\xc3\xbc" * 1_000)).startswith("\xfc")


@shows("address")
def test_the_address_of_a_wrapped_object_is_its_pointer_and_a_closed_one_has_none(engine: w.Engine) -> None:
    assert capi.address(engine) == c.cast(engine.ptr(), c.c_void_p).value
    config = w.Config()
    w.Engine(config)
    with pytest.raises(ValueError, match=r".+"):
        capi.address(config)


# --- layout -----------------------------------------------------------------------------------------------------------


def test_structures_lie_in_memory_as_the_headers_say() -> None:
    assert (capi.VAL_SIZE, capi.Val.of.offset, capi.RAW_SIZE) == (32, 8, 16)
    assert (c.sizeof(capi.Extern), capi.EXTERN_OF, c.sizeof(capi.Instance)) == (32, 8, 16)
    assert (c.sizeof(capi._ByteVec), capi._ByteVec.data.offset) == (16, 8)
    assert (c.sizeof(_bindings.wasm_byte_vec_t), _bindings.wasm_byte_vec_t.data.offset) == (16, 8)


def test_kinds_are_numbered_as_wasmtime_py_numbers_them() -> None:
    assert tuple(
        kind.value for kind in (_ffi.WASMTIME_I32, _ffi.WASMTIME_I64, _ffi.WASMTIME_F32, _ffi.WASMTIME_F64)
    ) == (capi.I32, capi.I64, capi.F32, capi.F64)


CALLBACKS = {
    capi.AsyncCallback: "wasmtime_func_async_callback_t",
    capi.RawCallback: "wasmtime_func_unchecked_callback_t",
    Resume: "wasmtime_func_async_continuation_callback_t",
}


def _width(kind: Any) -> int:
    return c.sizeof(kind) if kind is not None else 0


@pytest.mark.parametrize(("ours", "theirs"), CALLBACKS.items())
def test_callbacks_take_what_wasmtime_py_declares(ours: Any, theirs: str) -> None:
    declared = getattr(_bindings, theirs)
    assert [_width(kind) for kind in ours._argtypes_] == [_width(kind) for kind in declared._argtypes_]
    assert _width(ours._restype_) == _width(declared._restype_)


# --- the whole --------------------------------------------------------------------------------------------------------


def _functions() -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(capi).items()
        if not name.startswith("_")
        and (isinstance(value, c._CFuncPtr) or getattr(value, "__module__", None) == capi.__name__)
        and callable(value)
        and not isinstance(value, type)
    }


def test_every_function_has_a_test() -> None:
    assert set(_functions()) == SHOWN


def test_every_declaration_agrees_with_wasmtime_pys_own_in_number_and_width() -> None:
    seen = 0
    for name, function in _functions().items():
        if not isinstance(function, c._CFuncPtr):
            continue
        theirs = getattr(_bindings, "_" + function.__name__, None)
        assert theirs is not None, f"wasmtime-py does not declare {function.__name__}"
        seen += 1
        assert [_width(kind) for kind in function.argtypes] == [_width(kind) for kind in theirs.argtypes], name
        assert _width(function.restype) == _width(theirs.restype), name
    assert seen > 35


def test_wasmtime_pys_own_declarations_are_not_changed_by_ours() -> None:
    code = """
import sys
from wasmtime import _bindings
def declared():
    functions = {name: value for name, value in vars(_bindings).items() if hasattr(value, "argtypes")}
    return {name: (value.argtypes, value.restype) for name, value in functions.items()}
before = declared()
from innkeeper.sandbox import capi, engine
after = declared()
assert len(before) > 500 and before == after
assert capi.held is not _bindings.dll and capi.free is not _bindings.dll
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr


def test_short_calls_keep_the_gil_and_long_ones_give_it_away() -> None:
    keeping = [f for f in _functions().values() if isinstance(f, c._CFuncPtr) and f._flags_ & c._FUNCFLAG_PYTHONAPI]
    giving = [
        n for n, f in _functions().items() if isinstance(f, c._CFuncPtr) and not f._flags_ & c._FUNCFLAG_PYTHONAPI
    ]
    assert len(keeping) > 35
    assert set(giving) == {"store_delete_free", "future_poll_free"}


# --- rules whose breach ends the process: shown in a child ------------------------------------------------------------

BREACH = """
import ctypes as c, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.path.insert(0, sys.argv[1])
from test_capi import *
from test_capi import _resumed
config = w.Config()
config.epoch_interruption = True
engine = w.Engine(config)
store = Store(engine)
store.far()
"""


def _breach(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BREACH + code, str(Path(__file__).parent)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


WAITING = """
callback, _ = _resumed(store, 1000)
store.define(capi.linker_define_async, callback, 1, 1)
store.start(CALLS)
store.begin("go", 1, 20)
assert not store.poll()
"""


def test_a_future_must_be_deleted_before_its_store() -> None:
    right = _breach(WAITING + "store.end()\ncapi.store_delete(store.store)\nprint('alive')")
    assert (right.returncode, right.stdout) == (0, "alive\n"), right.stderr
    wrong = _breach(WAITING + "capi.store_delete(store.store)\nstore.end()\nprint('alive')")
    assert wrong.returncode < 0, "the rule is not needed any more"
    assert "alive" not in wrong.stdout


def test_an_asynchronous_callback_must_set_its_continuation() -> None:
    child = _breach("""
store.define(capi.linker_define_async, capi.AsyncCallback(lambda *_: None), 1, 1)
store.start(CALLS)
store.begin("go", 1, 20)
store.poll()
print("alive")
""")
    assert child.returncode < 0, "the rule is not needed any more"
    assert "alive" not in child.stdout


def test_a_fibers_stack_below_the_guests_ends_the_process() -> None:
    child = _breach("""
config = w.Config()
config.max_wasm_stack = 1 << 20
capi.async_stack_size_set(capi.address(config), 1 << 19)
w.Engine(config)
print("alive")
""")
    assert child.returncode != 0
    assert "alive" not in child.stdout


# --- the self-check ---------------------------------------------------------------------------------------------------


@pytest.fixture
def real_engine() -> w.Engine:
    return FiberEngine(Bounds())._engine


def test_the_library_that_is_installed_passes_the_self_check(real_engine: w.Engine) -> None:
    for _ in range(3):
        assert selfcheck.check(real_engine) == []
    selfcheck.require(real_engine)


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("50.0.1", True),
        ("50.0.2", True),
        ("51.0.0", True),
        ("50.0.1.post1", True),
        ("50.0.0", False),
        ("49.9.9", False),
        ("9.0.0", False),
        ("some build", True),
    ],
)
def test_what_is_older_than_the_floor_is_refused_and_what_is_newer_is_tried(
    monkeypatch: pytest.MonkeyPatch, real_engine: w.Engine, version: str, good: bool
) -> None:
    monkeypatch.setattr(selfcheck, "version", lambda _: version)
    assert (selfcheck.check(real_engine) == []) is good
    if not good:
        with pytest.raises(InternalError, match=rf"{version}.*older than 50\.0\.1"):
            selfcheck.require(real_engine)


_never = Resume(lambda env: False)


@pytest.mark.parametrize(
    ("name", "instead", "words"),
    [
        ("RESUME", c.cast(_never, c.c_void_p).value, "does not go on"),
        ("global_set", lambda *_: None, "set a global to 8"),
        ("future_poll_held", lambda future: False, "does not start"),
        ("memory_data_size", lambda *_: 1, "a memory of one page has 1 bytes"),
        ("epoch_callback", lambda *_: None, "tick"),
        ("store_limiter", lambda *_: None, "growing"),
        ("instance_export", lambda *_: False, "not found"),
        ("global_get", lambda *_: None, "a global that is 7"),
        ("take_trap", lambda trap: (capi.trap_delete(trap), "?"), "trap"),
    ],
)
def test_a_library_that_differs_is_refused_by_what_differs(
    monkeypatch: pytest.MonkeyPatch, real_engine: w.Engine, name: str, instead: Any, words: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(capi, name, instead)
        assert words in "; ".join(selfcheck.check(real_engine))
        with pytest.raises(InternalError, match=words):
            selfcheck.require(real_engine)
    assert selfcheck.check(real_engine) == []
