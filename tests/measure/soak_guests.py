"""The guests of the soak, as small modules in text form: one function for each way in which a call can end."""

from __future__ import annotations

import wasmtime

from innkeeper.sandbox import kernel
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.wasi import WASI_MODULE

_SPACES: dict[str, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    kernel.ENV: kernel.SIGNATURES,
    WASI_MODULE: {"proc_exit": (("i32",), ()), "random_get": (("i32", "i32"), ("i32",))},
    "extism:host/user": dict.fromkeys(("serve", "shout"), (("i64", "i64"), ("i64",))),
}

NOW, LATER, RAISE, NEVER, CANCEL_AND_WAIT, CANCEL_AND_GO_ON, HOLD, GATHER = range(8)
"""What `serve` is asked for."""


def assemble(body: str, imports: str = "") -> bytes:
    """A module's bytes: imports by name, each the function `$name`, and then the body."""
    wanted = imports.split()
    lines = [
        f'(import "{space}" "{name}" (func ${name} (param {" ".join(parameters)}) (result {" ".join(results)})))'
        for space, functions in _SPACES.items()
        for name, (parameters, results) in functions.items()
        if name in wanted
    ]
    return bytes(wasmtime.wat2wasm("\n".join(["(module", *lines, body, ")"])))


_ECHO = """
  (func (export "echo") (result i32)
    (call $output_set (call $input_offset) (call $input_length)) (i32.const 0))"""
_SPIN = '(func (export "spin") (loop $again (br $again)))'


def ends(salt: int = 0) -> bytes:
    """Ends in each way that needs no host function. It keeps a count, for where it stays."""
    return assemble(
        f"""(memory (export "memory") 1) (global $count (mut i32) (i32.const {salt})) {_ECHO} {_SPIN}
          (func (export "count") (result i32)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (call $output_set (call $alloc (i64.const 64)) (i64.const 64)) (i32.const 0))
          (func (export "error") (result i32) (call $error_set (call $input_offset)) (i32.const 1))
          (func (export "code") (result i32) (i32.const 7))
          (func (export "trap") (result i32) (unreachable))
          (func $deep (export "deep") (result i32) (i32.add (call $deep) (i32.const 1)))
          (func (export "grow") (result i32) (local $pages i32)
            (loop $more
              (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 320)))))
            (unreachable))
          (func (export "leap") (result i32) (drop (memory.grow (i32.const 4200))) (i32.const 0))
          (func (export "hoard") (result i32)
            (loop $more (br_if $more (i64.ne (i64.const 0) (call $alloc (i64.const 8388608))))) (unreachable))
          (func (export "large") (result i32)
            (call $output_set (call $alloc (i64.const 4096)) (i64.const 4096)) (i32.const 0))
          (func (export "exit") (result i32) (call $proc_exit (i32.const 3)) (unreachable))
          (func (export "done") (result i32) (call $proc_exit (i32.const 0)) (unreachable))
          (func (export "talk") (result i32)
            (call $log_warn (call $input_offset))
            (call $var_set (call $input_offset) (call $input_offset))
            (drop (call $random_get (i32.const 0) (i32.const 64)))
            (call $output_set (call $var_get (call $input_offset)) (i64.const 64)) (i32.const 0))""",
        "input_offset input_length alloc output_set error_set log_warn var_get var_set proc_exit random_get",
    )


def asks(salt: int = 0) -> bytes:
    """`ask` gives `serve` the 16 bytes of its input, as two numbers, and then ends, or spins where it said -1; `tell`
    gives `shout` its input."""
    return assemble(
        f"""(memory (export "memory") 1) (global $salt i32 (i32.const {salt})) {_ECHO}
          (func (export "ask") (result i32)
            (if (i64.eq (i64.const -1)
                  (call $serve (call $input_load_u64 (i64.const 0)) (call $input_load_u64 (i64.const 8))))
              (then (loop $again (br $again))))
            (i32.const 0))
          (func (export "tell") (result i32) (local $answer i64)
            (local.set $answer (call $shout (call $input_load_u64 (i64.const 0)) (call $input_offset)))
            (call $output_set (local.get $answer) (call $length (local.get $answer))) (i32.const 0))""",
        "serve shout input_offset input_length input_load_u64 length output_set",
    )


def says(letter: str, salt: int = 0) -> bytes:
    """`say` gives one letter, `setting` what the configuration has under its input."""
    return assemble(
        f"""(global $salt i32 (i32.const {salt}))
          (func (export "say") (result i32) (local $at i64)
            (local.set $at (call $alloc (i64.const 1)))
            (call $store_u8 (local.get $at) (i32.const {ord(letter)}))
            (call $output_set (local.get $at) (i64.const 1)) (i32.const 0))
          (func (export "setting") (result i32) (local $at i64)
            (local.set $at (call $config_get (call $input_offset)))
            (call $output_set (local.get $at) (call $length (local.get $at))) (i32.const 0))""",
        "input_offset alloc store_u8 output_set config_get length",
    )


def digs(depth: int) -> bytes:
    """`dig` uses of a place all that is kept of it, stack and memories, and then waits for `serve`; its input is that
    of `ask`, and as long as what the kernel's memory keeps."""
    return assemble(
        f"""(memory (export "memory") 2)
          (func $dig (param $depth i32) (result i32)
            (if (result i32) (local.get $depth)
              (then (i32.add (i32.const 1) (call $dig (i32.sub (local.get $depth) (i32.const 1)))))
              (else (i32.const 0))))
          (func (export "dig") (result i32)
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072))
            (drop (call $dig (i32.const {depth})))
            (drop (call $serve (call $input_load_u64 (i64.const 0)) (call $input_load_u64 (i64.const 8))))
            (i32.const 0))""",
        "serve input_load_u64",
    )


def starts_slowly() -> bytes:
    """Computes for some milliseconds before it is ready."""
    return assemble(
        f"""{_ECHO} (func (export "_initialize") (local $left i32) (local.set $left (i32.const 2000000))
          (loop $more (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))""",
        "input_offset input_length output_set",
    )


def does_not_start() -> bytes:
    """Its start function traps."""
    return assemble(f"{_ECHO} (func $start (unreachable)) (start $start)", "input_offset input_length output_set")


def never_starts() -> bytes:
    """Its start function does not end."""
    return assemble(
        f"{_ECHO} (func $start (loop $again (br $again))) (start $start)", "input_offset input_length output_set"
    )


def linked() -> tuple[bytes, dict[str, bytes]]:
    """A module, and one that it imports a function from; the two have a memory each."""
    other = assemble(
        '(memory (export "memory") 1) (func (export "twice") (param i64) (result i64)'
        " (i32.store (i32.const 8) (i32.const 1)) (i64.mul (local.get 0) (i64.const 2)))"
    )
    main = assemble(
        """(import "other" "twice" (func $twice (param i64) (result i64))) (memory (export "memory") 1)
          (func (export "half") (result i32)
            (call $output_set (call $input_offset) (call $twice (i64.const 16))) (i32.const 0))
          (func (export "trap") (result i32) (unreachable))""",
        "input_offset output_set",
    )
    return main, {"other": other}


def ill_typed(salt: int) -> bytes:
    """Looks like a module, and no compiler takes it: a function that owes a result."""
    return bytes(wasmtime.wat2wasm(f'(module (global i32 (i32.const {salt})) (func (export "say") (result i32) nop))'))


def functions(serve: object, shout: object) -> list[HostFunction]:
    """What `asks` imports."""
    assert callable(serve)
    assert callable(shout)
    return [
        HostFunction("serve", serve, (Value.I64, Value.I64), Value.I64),
        HostFunction("shout", shout, (Value.I64, Value.BYTES), Value.BYTES),
    ]
