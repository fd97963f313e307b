"""Well-behaved guests that both engines must run alike, as one table: modules, what they are called with, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.lowlevel

from guests import GIVES, gives, host_function, run, text_block, wat
from innkeeper.errors import GuestError
from innkeeper.sandbox.interface import HostFunction, Value


@dataclass(frozen=True)
class Call:
    """One call of a guest."""

    function: str = "run"
    data: bytes = b""
    config: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)


RUN = (Call(),)


@dataclass(frozen=True)
class Guest:
    """A module and calls of it.

    Attributes:
        name: says what it shows.
        module: WAT.
        calls: in their order.
        session: whether one guest takes all of the calls.
        functions: host functions.
        modules: texts of further modules, by name.
    """

    name: str
    module: str
    calls: Sequence[Call] = RUN
    session: bool = False
    functions: Sequence[HostFunction] = ()
    modules: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def inputs(*data: bytes, function: str = "run") -> tuple[Call, ...]:
    """A call for each input."""
    return tuple(Call(function, each) for each in data)


OUT = """(memory (export "memory") 2)
(func $out (param $at i32) (param $n i32) (local $block i64) (local $i i32)
  (local.set $block (call $alloc (i64.extend_i32_u (local.get $n))))
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
    (call $store_u8 (i64.add (local.get $block) (i64.extend_i32_u (local.get $i)))
      (i32.load8_u (i32.add (local.get $at) (local.get $i))))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))
  (call $output_set (local.get $block) (i64.extend_i32_u (local.get $n))))"""
"""A memory, and `$out`, which makes a piece of it the output."""

OUTS = "alloc store_u8 output_set"
"""What `OUT` imports."""


def said(text: bytes, use: str) -> str:
    """A `run` that has a block with a text in $a, and then does something with it."""
    return f'(func (export "run") (local $a i64) {text_block("text", text, "a")} {use})'


def failing(instructions: str) -> str:
    """A module whose `run` does something that traps."""
    return f"""(module (memory 1) (table 4 funcref) (elem (i32.const 1) $r) (type $other (func (param i32)))
      (elem $passive func $r) (data $piece "0123456789") (func $r (export "run") {instructions}))"""


SIZES = (0, 1, 7, 8, 9, 16, 17, 4095, 65_536, 100_000, 1 << 20)
PATTERN = bytes(at * 7 % 251 for at in range(1 << 20))

_ECHOES = [
    Guest(
        "input comes out as it went in, by its offset",
        wat(
            run("(call $output_set (call $input_offset) (call $input_length))"), "input_offset input_length output_set"
        ),
        inputs(*(PATTERN[:size] for size in SIZES)),
    ),
    Guest(
        "input comes out as it went in, word by word",
        wat(
            """(func (export "run") (local $n i64) (local $i i64) (local $out i64)
              (local.set $n (call $input_length))
              (local.set $out (call $alloc (i64.add (local.get $n) (i64.const 8))))
              (block $words (loop $next
                (br_if $words (i64.gt_u (i64.add (local.get $i) (i64.const 8)) (local.get $n)))
                (call $store_u64 (i64.add (local.get $out) (local.get $i)) (call $input_load_u64 (local.get $i)))
                (local.set $i (i64.add (local.get $i) (i64.const 8))) (br $next)))
              (block $bytes (loop $next
                (br_if $bytes (i64.ge_u (local.get $i) (local.get $n)))
                (call $store_u8 (i64.add (local.get $out) (local.get $i)) (call $input_load_u8 (local.get $i)))
                (local.set $i (i64.add (local.get $i) (i64.const 1))) (br $next)))
              (call $output_set (local.get $out) (local.get $n)))""",
            "alloc store_u8 store_u64 input_length input_load_u8 input_load_u64 output_set",
        ),
        inputs(*(PATTERN[3 : 3 + size] for size in SIZES)),
    ),
    Guest(
        "the last output counts",
        wat(
            run(
                "(call $output_set (call $input_offset) (i64.const 3))"
                "(call $output_set (i64.add (call $input_offset) (i64.const 1)) (i64.const 2))"
            ),
            "input_offset output_set",
        ),
        inputs(b"abcdef"),
    ),
    Guest("no output is an empty one", wat(run(""), "output_set"), inputs(b"", b"abc")),
    Guest("no use of the kernel at all", '(module (func (export "run")))', inputs(b"", b"abc")),
]

_NUMBERS = {
    "the length of a block": ("(call $length (call $alloc (i64.const 100)))", "length"),
    "the length of a large block": ("(call $length (call $alloc (i64.const 3000000)))", "length"),
    "the length of a block, unsafely": ("(call $length_unsafe (call $alloc (i64.const 7)))", "length_unsafe"),
    "a block of no bytes": ("(call $alloc (i64.const 0))", ""),
    "the length of no block": ("(call $length (i64.const 0))", "length"),
    "the length of what lies inside a block": (
        "(call $length (i64.add (call $alloc (i64.const 100)) (i64.const 5)))",
        "length",
    ),
    "the length of what lies far outside": ("(call $length (i64.const 123456789))", "length"),
    "the length of the input's block": ("(call $length (call $input_offset))", "length input_offset"),
    "the length of the input": ("(call $input_length)", "input_length"),
    "a byte of the input": ("(i64.extend_i32_u (call $input_load_u8 (i64.const 2)))", "input_load_u8"),
    "a byte beyond the input": ("(i64.extend_i32_u (call $input_load_u8 (i64.const 100)))", "input_load_u8"),
    "a word of the input": ("(call $input_load_u64 (i64.const 1))", "input_load_u64"),
    "a word beyond the input": ("(call $input_load_u64 (i64.const 100))", "input_load_u64"),
    "a word of the input where it lies": ("(call $load_u64 (call $input_offset))", "load_u64 input_offset"),
    "a byte of the input where it lies": (
        "(i64.extend_i32_u (call $load_u8 (call $input_offset)))",
        "load_u8 input_offset",
    ),
    "the level of the log": ("(i64.extend_i32_u (call $get_log_level))", "get_log_level"),
    "no status of HTTP": ("(i64.extend_i32_u (call $http_status_code))", "http_status_code"),
}

_KERNEL = [
    Guest(f"{name} is the same number", wat(gives(body), GIVES + " " + names), inputs(b"0123456789abcdef"))
    for name, (body, names) in _NUMBERS.items()
] + [
    Guest(
        "a freed block has no length",
        wat(
            "(func $freed (result i64) (local $a i64) (local.set $a (call $alloc (i64.const 50)))"
            "(drop (call $alloc (i64.const 1))) (call $free (local.get $a)) (call $length (local.get $a)))"
            + gives("(call $freed)"),
            GIVES + " free length",
        ),
    ),
    Guest(
        "freeing what is no block does nothing",
        wat(
            gives("(block (result i64) (call $free (i64.const 0)) (call $free (i64.const 5)) (i64.const 1))"),
            GIVES + " free",
        ),
    ),
    Guest(
        "many blocks of all sizes keep their bytes",
        wat(
            """(func (export "run") (local $i i64) (local $a i64) (local $sum i64) (local $out i64)
              (local.set $out (call $alloc (i64.const 8)))
              (loop $next
                (local.set $a (call $alloc (i64.add (local.get $i) (i64.const 8))))
                (call $store_u64 (local.get $a) (i64.mul (local.get $i) (i64.const 0x9e3779b97f4a7c15)))
                (local.set $sum (i64.add (local.get $sum) (i64.add (call $load_u64 (local.get $a))
                  (call $length (local.get $a)))))
                (if (i64.eqz (i64.rem_u (local.get $i) (i64.const 3))) (then (call $free (local.get $a))))
                (local.set $i (i64.add (local.get $i) (i64.const 1)))
                (br_if $next (i64.lt_u (local.get $i) (i64.const 700))))
              (call $store_u64 (local.get $out) (local.get $sum))
              (call $output_set (local.get $out) (i64.const 8)))""",
            "alloc free length load_u64 store_u64 output_set",
        ),
    ),
]

SAY = "alloc store_u8 error_set"

_ERRORS = [
    Guest("an error that was set", wat(said(b"it went wrong", "(call $error_set (local.get $a))"), SAY)),
    Guest(
        "an error of several lines and letters",
        wat(said("první\ndruhý „řádek“ \\ {}".encode(), "(call $error_set (local.get $a))"), SAY),
    ),
    Guest(
        "an error that is taken back",
        wat(said(b"it", "(call $error_set (local.get $a)) (call $error_set (i64.const 0))"), SAY),
    ),
    Guest(
        "an error that reads like the runtime's own",
        wat(said(b"timeout", "(call $error_set (local.get $a))"), SAY),
    ),
    Guest(
        "an error that reads like a trap",
        wat(said(b"error while executing at wasm backtrace:", "(call $error_set (local.get $a))"), SAY),
    ),
    Guest(
        "return codes",
        """(module (func (export "a") (result i32) (i32.const 0)) (func (export "b") (result i32) (i32.const 1))
          (func (export "c") (result i32) (i32.const 255)) (func (export "d") (result i32) (i32.const 100000))
          (func (export "e") (result i32) (i32.const -7)))""",
        [Call(name) for name in "abcde"],
    ),
    Guest(
        "an error and a return code",
        wat(said(b"it went wrong", "(call $error_set (local.get $a)) (i32.const 3)"), SAY).replace(
            '(export "run")', '(export "run") (result i32)'
        ),
    ),
    Guest(
        "a function that is not there or wants parameters",
        '(module (func (export "run")) (func (export "add") (param i32)) (func (export "wide") (result i64) '
        '(i64.const 1)) (memory (export "memory") 1))',
        [Call("nothing"), Call("add"), Call("wide"), Call("memory"), Call("")],
    ),
]

TRAPS = {
    "unreachable code": "unreachable",
    "division by zero": "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
    "remainder by zero": "(drop (i64.rem_u (i64.const 1) (i64.const 0)))",
    "an overflow of a division": "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
    "not a number made an integer": "(drop (i32.trunc_f32_s (f32.const nan)))",
    "a large number made an integer": "(drop (i64.trunc_f64_u (f64.const 1e300)))",
    "a load beyond the memory": "(drop (i32.load (i32.const 65533)))",
    "a store beyond the memory": "(i64.store8 (i32.const -1) (i64.const 1))",
    "a copy beyond the memory": "(memory.copy (i32.const 65000) (i32.const 0) (i32.const 1000))",
    "a fill beyond the memory": "(memory.fill (i32.const 65000) (i32.const 0) (i32.const 1000))",
    "a piece of data beyond its end": "(memory.init $piece (i32.const 0) (i32.const 5) (i32.const 6))",
    "an element beyond the table": "(call_indirect (i32.const 5))",
    "an empty element": "(call_indirect (i32.const 0))",
    "an element of another type": "(call_indirect (type $other) (i32.const 1) (i32.const 1))",
    "an element read beyond the table": "(drop (table.get (i32.const 9)))",
    "elements beyond their segment": "(table.init $passive (i32.const 0) (i32.const 0) (i32.const 9))",
    "calls without end": "(call $r)",
}

_TRAPPING = [Guest(f"{name} traps", failing(body)) for name, body in TRAPS.items()]

CONFIG = {"name": "žluť", "empty": "", "long": "x" * 70_000, 'odd "key"\n': "odd \0 value"}

_CONFIGURED = [
    Guest(
        "configuration is read by its key",
        wat(
            '(func (export "run") (local $a i64) (local.set $a (call $config_get (call $input_offset)))'
            "(call $output_set (local.get $a) (call $length (local.get $a))))"
            + gives("(i64.extend_i32_u (i64.eqz (call $config_get (call $input_offset))))").replace(
                '"run"', '"missing"'
            ),
            GIVES + " input_offset config_get length",
        ),
        [
            Call(function, key.encode(), CONFIG)
            for key in ("name", "long", 'odd "key"\n', "Name", "nam")
            for function in ("run", "missing")
        ]
        + [Call("missing", b"name"), Call("run", b"empty", CONFIG)],
    ),
    Guest(
        "the configuration of a session is that of the call",
        wat(
            '(func (export "run") (local $a i64) (local.set $a (call $config_get (call $input_offset)))'
            "(call $output_set (local.get $a) (call $length (local.get $a))))",
            "input_offset config_get length output_set",
        ),
        [Call("run", b"name", {"name": text} if text else {}) for text in ("a", "b", "", "c")],
        session=True,
    ),
]

_VARIABLES = wat(
    """(func (export "set") (local $key i64) (local $value i64) (local $i i64)
      (local.set $key (call $alloc (i64.const 1))) (call $store_u8 (local.get $key) (call $input_load_u8 (i64.const 0)))
      (local.set $value (call $alloc (i64.sub (call $input_length) (i64.const 1))))
      (block $done (loop $next
        (br_if $done (i64.ge_u (local.get $i) (i64.sub (call $input_length) (i64.const 1))))
        (call $store_u8 (i64.add (local.get $value) (local.get $i))
          (call $input_load_u8 (i64.add (local.get $i) (i64.const 1))))
        (local.set $i (i64.add (local.get $i) (i64.const 1))) (br $next)))
      (call $var_set (local.get $key) (local.get $value)))
    (func (export "remove") (call $var_set (call $input_offset) (i64.const 0)))
    (func (export "get") (local $a i64) (local.set $a (call $var_get (call $input_offset)))
      (call $output_set (local.get $a) (call $length (local.get $a))))""",
    "alloc length store_u8 input_length input_offset input_load_u8 var_get var_set output_set",
)

_STATE = [
    Guest(
        "variables last for a session",
        _VARIABLES,
        [
            Call("get", b"a"),
            Call("set", b"avalue"),
            Call("get", b"a"),
            Call("set", b"bother"),
            Call("get", b"b"),
            Call("set", b"alonger value"),
            Call("get", b"a"),
            Call("remove", b"a"),
            Call("get", b"a"),
            Call("get", b"b"),
            Call("set", b"c" + PATTERN[:50_000]),
            Call("get", b"c"),
        ],
        session=True,
    ),
    Guest("variables are gone with the call", _VARIABLES, [Call("set", b"avalue"), Call("get", b"a")]),
    Guest(
        "memory and globals last for a session, also after an error of the guest's own",
        wat(
            """(global $count (mut i32) (i32.const 0))
            (func (export "count") (result i32) (global.set $count (i32.add (global.get $count) (i32.const 1)))
              (i32.store8 (i32.const 0) (i32.add (global.get $count) (i32.const 48)))
              (call $out (i32.const 0) (i32.const 1)) (i32.const 0))
            (func (export "fail") (result i32) (i32.store8 (i32.const 0) (i32.const 33))
              (call $out (i32.const 0) (i32.const 1)) (i32.const 9))"""
            + OUT,
            OUTS,
        ),
        [Call("count"), Call("count"), Call("fail"), Call("count"), Call("count")],
        session=True,
    ),
    Guest(
        "an error of one call is not the next one's",
        wat(
            said(b"bad", "(call $error_set (local.get $a))")
            + '(func (export "good") (call $output_set (call $input_offset) (call $input_length)))',
            SAY + " input_offset input_length output_set",
        ),
        [Call("run"), Call("good", b"abc"), Call("run"), Call("good", b"")],
        session=True,
    ),
    Guest(
        "output of one call is not the next one's",
        wat(
            '(func (export "say") (call $output_set (call $input_offset) (call $input_length)))'
            '(func (export "nothing"))',
            "input_offset input_length output_set",
        ),
        [Call("say", b"long enough"), Call("nothing", b"x"), Call("say", b"y"), Call("nothing")],
        session=True,
    ),
    Guest(
        "a session is over after a trap",
        '(module (func (export "run")) (func (export "trap") unreachable))',
        [Call("run"), Call("trap"), Call("run")],
        session=True,
    ),
]

_LOGS = [
    Guest(
        f"a log line of level {level}",
        wat(
            said("psaní „x“\nřádek {} \\".encode(), f"(call $log_{level} (local.get $a))"),
            f"alloc store_u8 log_{level}",
        ),
    )
    for level in ("trace", "debug", "info", "warn", "error")
] + [
    Guest(
        "what was logged before an error or a trap is kept",
        wat(
            said(b"before", "(call $log_warn (local.get $a)) (call $error_set (call $input_offset))")
            + said(b"before", "(call $log_warn (local.get $a)) unreachable").replace('"run"', '"trap"'),
            "alloc store_u8 log_warn error_set input_offset",
        ),
        [Call("run", b"no good"), Call("trap")],
    ),
    Guest(
        "lines that look like another's are the guest's own",
        wat(
            said(
                b'2026-01-01T00:00:00Z ERROR extism::plugin: call to run returned with error message: x plugin="a"\n',
                "(call $log_info (local.get $a))",
            ),
            "alloc store_u8 log_info",
        ),
    ),
    Guest(
        "a long log is cut",
        wat(
            said(b"x" * 900, "(call $log_info (local.get $a)) (call $log_warn (call $input_offset))"),
            "alloc store_u8 log_info log_warn input_offset",
        ),
        [Call(data=b"y" * 900, limits={"log_line": 100}), Call(data=b"y" * 900, limits={"log": 1000})],
    ),
]


STARTING = {
    "_initialize": '(func (export "_initialize") (call $note (i32.const 73)))',
    "__wasm_call_ctors": '(func (export "__wasm_call_ctors") (call $note (i32.const 67)))',
    "hs_init": '(func (export "hs_init") (param i32 i32) (call $note (i32.const 72)))',
    "a start function": "(func $s (call $note (i32.const 83))) (start $s)",
}
"""What runs before the first call: each notes a letter of its own."""

NOTE = (
    """(global $n (mut i32) (i32.const 0)) (func $note (param i32)
  (i32.store8 (global.get $n) (local.get 0)) (global.set $n (i32.add (global.get $n) (i32.const 1))))
(func (export "run") (call $out (i32.const 0) (global.get $n)))"""
    + OUT
)

_STARTS = [
    Guest(
        f"starting with {' and '.join(parts)} runs what it should, once",
        wat("".join(STARTING[name] for name in parts) + NOTE, OUTS),
        [Call(), Call()],
    )
    for parts in (
        ["_initialize"],
        ["__wasm_call_ctors"],
        ["a start function"],
        ["_initialize", "a start function"],
        ["hs_init", "_initialize"],
    )
] + [
    Guest("a start function that traps", '(module (func $s unreachable) (start $s) (func (export "run")))'),
    Guest("an _initialize that traps", '(module (func (export "_initialize") unreachable) (func (export "run")))'),
    Guest("data that does not fit", '(module (memory 1) (data (i32.const 65530) "0123456789") (func (export "run")))'),
    Guest(
        "elements that do not fit",
        '(module (table 1 funcref) (elem (i32.const 1) $f) (func $f (export "run")))',
    ),
    Guest(
        "a command is called by its _start",
        wat(
            '(func (export "_start") (call $output_set (call $input_offset) (i64.const 2)))', "output_set input_offset"
        ),
        [Call("_start", b"abc")],
    ),
]

_LINKED = [
    Guest(
        "modules are linked by name and share functions, memory, globals and tables",
        wat(
            """(func (export "run") (drop (call $count)) (drop (call $count))
              (i32.store8 (i32.const 100) (call $count)) (i32.store8 (i32.const 101) (call_indirect $t (result i32)
                (i32.const 0)))
              (call $out (i32.const 100) (i32.const 2)))"""
            + OUT,
            OUTS,
        ).replace(
            "(module",
            '(module (import "middle" "count" (func $count (result i32))) (import "base" "table" (table $t 1 funcref))',
            1,
        ),
        [Call(), Call()],
        modules={
            "base": """(module (memory (export "memory") 1) (global (export "step") i32 (i32.const 5))
              (table (export "table") 1 funcref) (elem (i32.const 0) $seven)
              (func $seven (result i32) (i32.const 7))
              (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))""",
            "middle": """(module (import "base" "add" (func $add (param i32 i32) (result i32)))
              (import "base" "memory" (memory 1)) (import "base" "step" (global $step i32))
              (func (export "count") (result i32)
                (i32.store (i32.const 0) (call $add (i32.load (i32.const 0)) (global.get $step)))
                (i32.load (i32.const 0))))""",
        },
    ),
    Guest(
        "a linked module uses the kernel as well",
        wat(run("(call $echo)")).replace("(module", '(module (import "lib" "echo" (func $echo))', 1),
        inputs(b"abc", b""),
        modules={
            "lib": wat(
                '(func (export "echo") (call $output_set (call $input_offset) (call $input_length)))',
                "output_set input_offset input_length",
            )
        },
    ),
    Guest(
        "a linked module that traps as it is called",
        '(module (import "lib" "f" (func $f)) (func (export "run") (call $f)))',
        modules={"lib": '(module (func (export "f") unreachable))'},
    ),
]

# --- host functions -------------------------------------------------------------------------------------------------


async def mix(small: int, data: bytes, large: int, single: float, double: float, more: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return repr((small, data, large, single, double, more)).encode()


async def plain(small: int, large: int, single: float, double: float) -> float:
    return small + large + single + double


async def upper(data: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return data.upper()


async def negate(number: int) -> int:
    return -number


async def halve(number: float) -> float:
    return number / 2


async def unsigned() -> int:
    return 0xFFFF_FFFE


async def swallow(data: bytes) -> None:
    assert data == b"abc"


async def refuse(data: bytes) -> bytes:
    raise GuestError(f"refused: {data.decode()}", code=42)


async def raises() -> None:
    raise KeyError("of the host")


async def mistaken() -> Any:
    return "not a number"


async def too_large() -> int:
    return 1 << 40


_MIX = host_function(mix, (Value.I32, Value.BYTES, Value.I64, Value.F32, Value.F64, Value.BYTES), Value.BYTES)
_PLAIN = host_function(plain, (Value.I32, Value.I64, Value.F32, Value.F64), Value.F64, "another namespace, žluť")
_UPPER = host_function(upper, (Value.BYTES,), Value.BYTES)
_NEGATE = host_function(negate, (Value.I64,), Value.I64)
_HALVE = host_function(halve, (Value.F32,), Value.F32)
_UNSIGNED = host_function(unsigned, (), Value.I32)
_SWALLOW = host_function(swallow, (Value.BYTES,))
_REFUSE = host_function(refuse, (Value.BYTES,), Value.BYTES)
_RAISES = host_function(raises)
_MISTAKEN = host_function(mistaken, (), Value.I32)
_TOO_LARGE = host_function(too_large, (), Value.I32)


def _asks(function: HostFunction, times: int = 1) -> Guest:
    return Guest(
        f"host function {function.name} with bytes of any size, {times} times",
        wat(
            f"""(func (export "run") (local $a i64) (local $i i32)
              (loop $next
                (local.set $a (call ${function.name} (call $input_offset)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const {times}))))
              (call $output_set (local.get $a) (call $length (local.get $a))))""",
            "input_offset length output_set",
            functions=[function],
        ),
        inputs(*(b"abc" * (size // 3) for size in SIZES)),
        functions=[function],
    )


_HOSTED = [
    _asks(_UPPER),
    _asks(_UPPER, 20),
    Guest(
        "host functions take and give every type",
        wat(
            """(func $word (param $with i32) (result i64) (local $a i64) (local.set $a (call $alloc (i64.const 2)))
              (call $store_u8 (local.get $a) (local.get $with))
              (call $store_u8 (i64.add (local.get $a) (i64.const 1)) (local.get $with)) (local.get $a))
            (func (export "run") (local $a i64)
              (local.set $a (call $mix (i32.const -3) (call $word (i32.const 97)) (i64.const -4)
                (f32.const 1.5) (f64.const 2.5) (call $word (i32.const 255))))
              (call $output_set (local.get $a) (call $length (local.get $a))))
            (func (export "plain") (local $a i64) (local.set $a (call $alloc (i64.const 8)))
              (call $store_u64 (local.get $a) (i64.reinterpret_f64
                (call $plain (i32.const 1) (i64.const 2) (f32.const 0.5) (f64.const 0.25))))
              (call $output_set (local.get $a) (i64.const 8)))""",
            "alloc store_u8 store_u64 output_set length",
            functions=[_MIX, _PLAIN],
        ),
        [Call("run"), Call("plain")],
        functions=[_MIX, _PLAIN],
    ),
    Guest(
        "numbers cross with their sign",
        wat(gives("(call $negate (i64.const 0x8000000000000001))"), GIVES, functions=[_NEGATE]),
        functions=[_NEGATE],
    ),
    Guest(
        "numbers may be given as unsigned",
        wat(gives("(i64.extend_i32_u (call $unsigned))"), GIVES, functions=[_UNSIGNED]),
        functions=[_UNSIGNED],
    ),
    Guest(
        "single floats cross",
        wat(gives("(i64.extend_i32_u (i32.reinterpret_f32 (call $halve (f32.const 0.1))))"), GIVES, functions=[_HALVE]),
        functions=[_HALVE],
    ),
    Guest(
        "empty bytes cross both ways as the offset 0",
        wat(gives("(call $upper (i64.const 0))"), GIVES, functions=[_UPPER]),
        functions=[_UPPER],
    ),
    Guest(
        "a host function without a result",
        wat(run("(call $swallow (call $input_offset))"), "input_offset", functions=[_SWALLOW]),
        inputs(b"abc", b"abd"),
        functions=[_SWALLOW],
    ),
    Guest(
        "a host function that refuses ends the call with its own error",
        wat(run("(drop (call $refuse (call $input_offset)))"), "input_offset", functions=[_REFUSE]),
        inputs(b"abc"),
        functions=[_REFUSE],
    ),
    Guest(
        "a host function that raises ends the call with that",
        wat(run("(call $raises)"), functions=[_RAISES]),
        functions=[_RAISES],
    ),
    Guest(
        "a host function that gives another type",
        wat(run("(drop (call $mistaken))"), functions=[_MISTAKEN]),
        functions=[_MISTAKEN],
    ),
    Guest(
        "a host function that gives a number which does not fit",
        wat(run("(drop (call $too_large))"), functions=[_TOO_LARGE]),
        functions=[_TOO_LARGE],
    ),
    Guest(
        "too many host calls",
        wat(run("(loop (drop (call $negate (i64.const 1))) (br 0))"), functions=[_NEGATE]),
        [Call(limits={"host_calls": 20})],
        functions=[_NEGATE],
    ),
]

# --- limits ---------------------------------------------------------------------------------------------------------

_LIMITS = [
    Guest(
        "input and output are bounded",
        wat(
            run("(call $output_set (call $input_offset) (call $input_length))"), "input_offset input_length output_set"
        ),
        [Call(data=b"1234", limits={"input": 3}), Call(data=b"1234", limits={"output": 3})],
    ),
    Guest("an endless loop", '(module (func (export "run") (loop (br 0))))', [Call(limits={"wall": 0.1})]),
    Guest(
        "an endless start function",
        '(module (func $s (loop (br 0))) (start $s) (func (export "run")))',
        [Call(limits={"wall": 0.1})],
    ),
    Guest(
        "memory without end",
        '(module (memory 1) (func (export "run") (loop (br_if 0 (i32.ne (memory.grow (i32.const 10)) (i32.const -1))))'
        " unreachable))",
        [Call(), Call(limits={"memory": 1 << 20})],
    ),
    Guest(
        "memory that is too large from the start",
        '(module (memory 2000) (func (export "run")))',
    ),
    Guest(
        "memory within its limit",
        wat(
            gives("(i64.extend_i32_u (i32.or (i32.shl (memory.grow (i32.const 90)) (i32.const 16)) (memory.size)))")
            + "(memory 3)",
            GIVES,
        ),
        [Call(), Call(limits={"memory": 8 << 20})],
    ),
    Guest(
        "variables without end",
        wat(said(b"k", "(call $var_set (local.get $a) (call $alloc (i64.const 100000)))"), "alloc store_u8 var_set"),
        [Call(limits={"variables": 50_000})],
    ),
]

# --- WASI -----------------------------------------------------------------------------------------------------------


def _prints(fd: int, text: bytes, name: str = "run") -> str:
    quoted = "".join(f"\\{byte:02x}" for byte in text)
    return wat(
        f"""(memory (export "memory") 1) (data (i32.const 1024) "{quoted}")
        (func $print (export "{name}")
          (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const {len(text)}))
          (drop (call $fd_write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 512))))""",
        wasi="fd_write",
    )


WASI_ANSWERS = {
    "args_sizes_get": "(i32.const 16) (i32.const 20)",
    "environ_sizes_get": "(i32.const 16) (i32.const 20)",
    "fd_prestat_get": "(i32.const 3) (i32.const 16)",
    "sched_yield": "",
    "fd_close": "(i32.const 9)",
    "fd_datasync": "(i32.const 9)",
    "fd_tell": "(i32.const 9) (i32.const 16)",
    "fd_renumber": "(i32.const 9) (i32.const 10)",
    "path_open": "(i32.const 3) (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 0) (i64.const 0) (i64.const 0)"
    " (i32.const 0) (i32.const 16)",
    "path_unlink_file": "(i32.const 3) (i32.const 64) (i32.const 1)",
    "clock_res_get": "(i32.const 1) (i32.const 16)",
    "clock_time_get": "(i32.const 1) (i64.const 1) (i32.const 16)",
    "random_get": "(i32.const 16) (i32.const 8)",
    "fd_seek": "(i32.const 1) (i64.const 0) (i32.const 0) (i32.const 16)",
    "poll_oneoff": "(i32.const 64) (i32.const 128) (i32.const 0) (i32.const 16)",
    "sock_shutdown": "(i32.const 5) (i32.const 1)",
    "fd_read": "(i32.const 0) (i32.const 32) (i32.const 1) (i32.const 16)",
    "fd_write": "(i32.const 1) (i32.const 32) (i32.const 0) (i32.const 16)",
}
"""Functions of WASI with arguments to which there is one right answer: an errno each."""

_WASI = [
    Guest(
        f"WASI's {name} answers the same errno",
        wat(
            f"""(func (export "run") (i32.store (i32.const 32) (i32.const 128)) (i32.store (i32.const 36) (i32.const 8))
              (i32.store (i32.const 0) (call ${name} {arguments}))
              (call $out (i32.const 0) (i32.const 4)))"""
            + OUT,
            OUTS,
            name,
        ),
    )
    for name, arguments in WASI_ANSWERS.items()
] + [
    Guest("standard output is logged by lines", _prints(1, b"one\ntwo\n\nthree")),
    Guest("standard error is logged by lines", _prints(2, b"one\ntwo\n")),
    Guest("long lines of output are cut", _prints(1, b"x" * 5000)),
    Guest(
        "what is written at the start and later is one log",
        _prints(1, b"x" * 900 + b"\n", "_initialize").removesuffix(")") + '(export "run" (func $print)))',
        [Call(limits={"log": limit}) for limit in (2000, 1000, 900)],
    ),
    Guest(
        "an exit in the middle of a call",
        wat(
            """(func (export "run") (i32.store (i32.const 0) (i32.const 0x636261))
              (call $out (i32.const 0) (i32.const 3)) (call $proc_exit (i32.load8_u (i32.const 3))) unreachable)
            (func (export "three") (call $proc_exit (i32.const 3)))
            (func (export "large") (call $proc_exit (i32.const 125)))"""
            + OUT,
            OUTS,
            "proc_exit",
        ),
        [Call("run"), Call("three"), Call("large")],
    ),
    Guest(
        "an exit with code 0 while the guest starts",
        wat(
            '(memory (export "memory") 1) (func (export "_initialize") (call $proc_exit (i32.const 0)))' + run(""),
            wasi="proc_exit",
        ),
    ),
    Guest(
        "an exit while the guest starts",
        wat(
            '(memory (export "memory") 1) (func (export "_initialize") (call $proc_exit (i32.const 4)))' + run(""),
            wasi="proc_exit",
        ),
    ),
]

# --- proposals ------------------------------------------------------------------------------------------------------

_PROPOSALS = [
    Guest(
        "multi-value, tail calls, references and bulk memory",
        wat(
            """(table $t 4 funcref) (elem declare func $seven) (func $seven (result i32) (i32.const 7))
            (func $two (param i32) (result i32 i32) (local.get 0) (i32.add (local.get 0) (i32.const 1)))
            (func $sum (param $n i32) (param $s i32) (result i32)
              (if (i32.eqz (local.get $n)) (then (return (local.get $s))))
              (return_call $sum (i32.sub (local.get $n) (i32.const 1)) (i32.add (local.get $s) (local.get $n))))
            (func (export "run")
              (table.set $t (i32.const 2) (ref.func $seven))
              (table.fill $t (i32.const 0) (ref.null func) (i32.const 1))
              (i32.store8 (i32.const 0) (table.grow $t (ref.null func) (i32.const 3)))
              (i32.store8 (i32.const 1) (table.size $t))
              (i32.store8 (i32.const 2) (ref.is_null (table.get $t (i32.const 2))))
              (i32.store8 (i32.const 3) (call_indirect $t (result i32) (i32.const 2)))
              (i32.store (i32.const 4) (call $sum (i32.const 30000) (i32.const 0)))
              (i32.store (i32.const 8) (i32.sub (call $two (i32.const 5))))
              (memory.fill (i32.const 12) (i32.const 65) (i32.const 5))
              (memory.copy (i32.const 20) (i32.const 12) (i32.const 4))
              (call $out (i32.const 0) (i32.const 30)))"""
            + OUT,
            OUTS,
        ),
    ),
]

GUESTS: list[Guest] = [
    *_ECHOES,
    *_KERNEL,
    *_ERRORS,
    *_TRAPPING,
    *_CONFIGURED,
    *_STATE,
    *_LOGS,
    *_STARTS,
    *_LINKED,
    *_HOSTED,
    *_LIMITS,
    *_WASI,
    *_PROPOSALS,
]
"""All of them."""
