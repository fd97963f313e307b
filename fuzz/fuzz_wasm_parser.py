"""Mutated modules: what the parser and the rewriting do must agree with the engine's validator.

For each mutant: `parse` raises nothing but MalformedError; a module that the engine accepts is parsed, to the same
imports and exports, and its instrumented form is valid too. Run it with the seconds that it may take:

    python fuzz/fuzz_wasm_parser.py 60
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import suppress

import wasmtime

from innkeeper.errors import RejectedError
from innkeeper.sandbox import proposals
from innkeeper.sandbox.admission import admit
from innkeeper.sandbox.growth import RESERVED, instrument
from innkeeper.sandbox.wasm import MalformedError, UnsupportedError, parse

SEEDS = (
    """(module
      (import "h" "f" (func $h (param i32 i64 f32 f64 v128 funcref externref) (result i32 i64)))
      (import "h" "g" (global (mut f64))) (import "h" "t" (table 1 2 externref)) (import "h" "m" (memory 3))
      (table $own 4 funcref)
      (global i64 (i64.const -5)) (global (mut i32) (i32.add (i32.const 1) (i32.const 3)))
      (global v128 (v128.const i32x4 11 11 11 11)) (global funcref (ref.func $run))
      (func $run (export "run") (param i32) (result i32) (memory.grow (local.get 0)))
      (func $start (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))
      (export "m" (memory 0)) (start $start) (elem (table $own) (i32.const 0) func $run) (data $d "passive"))""",
    """(module (memory 1) (table 2 funcref)
      (func (export "a") (param i32) (result i32) (local i64 v128 externref)
        (block (loop (br_table 0 1 0 (local.get 0))))
        (drop (table.grow 0 (ref.null func) (i32.const 1)))
        (local.set 2 (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get 2) (local.get 2)))
        (v128.store8_lane 3 (i32.const 0) (local.get 2))
        (if (result i32) (local.get 0) (then (memory.grow (i32.const 64)))
          (else (select (result i32) (i32.const 64) (i32.trunc_sat_f64_s (f64.const 1)) (local.get 0)))))
      (func (param i32) (result i32) (return_call 0 (memory.grow (i32.const 0)))))""",
)

_INTERESTING = (b"\x40\0", b"\xfc\x0f\0", b"\xff\xff\xff\xff\x0f", b"\x80\0", b"\0", b"\x0b", b"\x7f", b"\xfd\x0c")


def mutated(rng: random.Random, wasm: bytes) -> bytes:
    """The module with one to four places changed."""
    out = bytearray(wasm)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(8, len(out))
        match rng.randrange(5):
            case 0:
                out[at] = rng.randrange(256)
            case 1:
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                piece = rng.choice(_INTERESTING)
                out[at : at + len(piece)] = piece
            case 3:
                other = rng.randrange(8, len(out))
                out[at] = out[other]
            case _:
                del out[at : at + rng.randint(0, 2)]
                out[at:at] = rng.randbytes(rng.randint(0, 2))
    return bytes(out)


def check(engine: wasmtime.Engine, wasm: bytes) -> bool:
    """Holds one module against the promises above; returns whether it was valid."""
    with suppress(RejectedError):
        admit(wasm, plugin="fuzz", size_limit=1 << 20)
    try:
        wasmtime.Module.validate(engine, wasm)
    except wasmtime.WasmtimeError:
        with suppress(MalformedError):
            instrument(wasm, parse(wasm))
        return False
    try:
        info = parse(wasm)
    except UnsupportedError as error:
        # The engine lets an empty group of imports pass, though it says that this proposal is off.
        if error.proposal == "compact imports":
            return False
        raise
    if not any(name.startswith(RESERVED) for name in info.exports):
        new = instrument(wasm, info)
        wasmtime.Module.validate(engine, new)
        watched = parse(new)
        assert watched.imports == info.imports
        assert all(watched.exports[name] == export for name, export in info.exports.items())
    module = wasmtime.Module(engine, wasm)
    assert [(wanted.module, wanted.name) for wanted in info.imports] == [(i.module, i.name) for i in module.imports]
    assert list(info.exports) == [export.name for export in module.exports]
    return True


def main(seconds: float, seed: int | None = None) -> None:
    """Checks mutants for so many seconds, and prints how many and from which seed."""
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    rng = random.Random(seed)
    config = wasmtime.Config()
    proposals.apply(config)
    config.cranelift_opt_level = "none"
    engine = wasmtime.Engine(config)
    seeds = [bytes(wasmtime.wat2wasm(text)) for text in SEEDS]
    end = time.monotonic() + seconds
    checked = valid = 0
    while time.monotonic() < end:
        wasm = mutated(rng, rng.choice(seeds))
        try:
            is_valid = check(engine, wasm)
        except BaseException:
            print(f"seed {seed}, mutant {checked}: {wasm.hex()}", file=sys.stderr)
            raise
        checked += 1
        valid += is_valid
        # Valid mutants are seeds of further ones, so that the search leaves the first two behind.
        if is_valid and len(wasm) < 4096:
            if len(seeds) < 200:
                seeds.append(wasm)
            else:
                seeds[rng.randrange(len(SEEDS), 200)] = wasm
    print(f"fuzz_wasm_parser: {checked} mutants, {valid} of them valid, seed {seed}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
