"""Random modules that are valid, and some to begin with.

A module logs what it computes through imports of `fuzzing-support` (the names that Binaryen's generator uses, too), so
that two engines can be compared. It counts its own steps and traps when they are used up.
"""

from __future__ import annotations

import random
from functools import cache

import wasmtime
from fuzz.generator import Module

LINKED = """(module
  (import "log" "log-i32" (func $i32 (param i32))) (import "log" "log-i64" (func $i64 (param i64)))
  (import "log" "log-f32" (func $f32 (param f32))) (import "log" "log-f64" (func $f64 (param f64)))
  (func (export "log-i32") (param i32) (call $i32 (local.get 0)))
  (func (export "log-i64") (param i64) (call $i64 (local.get 0)))
  (func (export "log-f32") (param f32) (call $f32 (local.get 0)))
  (func (export "log-f64") (param f64) (call $f64 (local.get 0)))
  (func (export "log-v128") (param v128)
    (call $i64 (i64x2.extract_lane 0 (local.get 0))) (call $i64 (i64x2.extract_lane 1 (local.get 0)))))"""
"""A module to link under the name `fuzzing-support`: for vectors, which no host function takes."""

_EVERY_SECTION = """(module
  (import "h" "f" (func $h (param i32 i64 f32 f64 v128 funcref externref) (result i32 i64)))
  (import "h" "g" (global (mut f64))) (import "h" "t" (table 1 2 externref)) (import "h" "m" (memory 3))
  (table $own 4 funcref)
  (global i64 (i64.const -5)) (global (mut i32) (i32.add (i32.const 1) (i32.const 3)))
  (global v128 (v128.const i32x4 11 11 11 11)) (global funcref (ref.func $run))
  (func $run (export "run") (param i32) (result i32) (memory.grow (local.get 0)))
  (func $start (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))
  (export "m" (memory 0)) (start $start) (elem (table $own) (i32.const 0) func $run) (data $d "passive"))"""
_MANY_INSTRUCTIONS = """(module (memory 1) (table 2 funcref)
  (func (export "a") (param i32) (result i32) (local i64 v128 externref)
    (block (loop (br_table 0 1 0 (local.get 0))))
    (drop (table.grow 0 (ref.null func) (i32.const 1)))
    (local.set 2 (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get 2) (local.get 2)))
    (v128.store8_lane 3 (i32.const 0) (local.get 2))
    (if (result i32) (local.get 0) (then (memory.grow (i32.const 64)))
      (else (select (result i32) (i32.const 64) (i32.trunc_sat_f64_s (f64.const 1)) (local.get 0)))))
  (func (param i32) (result i32) (return_call 0 (memory.grow (i32.const 0)))))"""


@cache
def corpus() -> tuple[bytes, ...]:
    """Modules with every section and every kind of instruction."""
    texts = (_EVERY_SECTION, _MANY_INSTRUCTIONS, LINKED, *(module_text(random.Random(seed)) for seed in range(12)))
    return tuple(bytes(wasmtime.wat2wasm(text)) for text in texts)


def module_text(rng: random.Random, *, portable: bool = False) -> str:
    """The text of a random valid module. It exports `run0`, perhaps `run1`, without parameters.

    Args:
        rng: the source of chance.
        portable: leave out what engines may answer differently: the bits of what is not a number, whether memories and
            tables grow, blocks that are used after the kernel got them, a start function.
    """
    return Module(rng, portable).text()
