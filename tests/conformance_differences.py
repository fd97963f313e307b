"""What is not alike on purpose: guests that show it. The table in docs/oracle.md is made of this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conformance import Outcome
from conformance_guests import NOTE, OUT, OUTS, STARTING, Call, Guest, inputs, said
from guests import GIVES, gives, run, wat

Outcomes = Sequence[Outcome]
Shows = Callable[[Outcomes], bool]


@dataclass(frozen=True)
class Difference:
    """A row of the table.

    Attributes:
        what: its first cell.
        ours, theirs: what each engine does, in words.
        guest: shows it.
        ours_shows, theirs_shows: whether the outcomes are what the words say.
    """

    what: str
    ours: str
    theirs: str
    guest: Guest
    ours_shows: Shows
    theirs_shows: Shows

    @property
    def row(self) -> str:
        """The row as it stands in the page."""
        return f"| {self.what} | {self.ours} | {self.theirs} |"


def number(value: int) -> Shows:
    """The only call gives this number."""
    return lambda found: [outcome.output for outcome in found] == [(value % (1 << 64)).to_bytes(8, "little")]


def ends(kind: str, detail: str = "") -> Shows:
    """The last call ends with this kind of error."""
    return lambda found: found[-1].failed == kind and detail in found[-1].detail


def gives_bytes(output: bytes) -> Shows:
    """The last call goes well and gives this."""
    return lambda found: not found[-1].failed and found[-1].output == output


def logs(*lines: tuple[str, str]) -> Shows:
    """This is what was logged."""
    return lambda found: found[-1].log == lines


def _same(found: Outcomes) -> bool:
    return found[0].output == found[1].output is not None


def _other(found: Outcomes) -> bool:
    return not _same(found) and not any(outcome.failed for outcome in found)


def _gives_8(body: str) -> str:
    return run(f"{body} (call $out (i32.const 0) (i32.const 8))") + OUT


def _grows(pages: int, memory: str = "(memory 1)") -> str:
    return wat(gives(f"(i64.extend_i32_s (memory.grow (i32.const {pages})))") + memory, GIVES)


_ECHO_KEY = "(local.set $a (call $config_get (call $input_offset)))"

DIFFERENCES = [
    Difference(
        "clocks",
        "stand still and move on by what the guest sleeps",
        "the machine's",
        Guest(
            "clock",
            wat(
                _gives_8("(drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 0)))"),
                OUTS,
                "clock_time_get",
            ),
            [Call(), Call()],
        ),
        _same,
        _other,
    ),
    Difference(
        "random numbers",
        "the same for each guest of a module",
        "the machine's",
        Guest(
            "random",
            wat(_gives_8("(drop (call $random_get (i32.const 0) (i32.const 8)))"), OUTS, "random_get"),
            [Call(), Call()],
        ),
        _same,
        _other,
    ),
    Difference(
        "`http_request` that is no request",
        "`denied`, as every request",
        "`guest`: it is read first",
        Guest(
            "http",
            wat(run("(drop (call $http_request (call $input_offset) (i64.const 0)))"), "http_request input_offset"),
            inputs(b'{"url": "http://example.com/"}', b"nothing"),
        ),
        lambda found: [outcome.failed for outcome in found] == ["denied", "denied"],
        lambda found: [outcome.failed for outcome in found] == ["denied", "guest"],
    ),
    Difference(
        "after `proc_exit(0)` in a session",
        "the guest has ended",
        "the next call starts another guest",
        Guest(
            "exit in a session",
            wat('(memory (export "memory") 1)' + run("(call $proc_exit (i32.const 0))"), wasi="proc_exit"),
            [Call(), Call()],
            session=True,
        ),
        ends("guest", "it exited"),
        gives_bytes(b""),
    ),
    Difference(
        "exit codes from 126 on",
        "an exit like any other",
        "a failure without a code",
        Guest(
            "large exit codes",
            wat('(memory (export "memory") 1)' + run("(call $proc_exit (i32.const 200))"), wasi="proc_exit"),
        ),
        ends("guest", "exited with code 200 (200)"),
        ends("guest", "(None)"),
    ),
    Difference(
        "a growth of memory that is refused",
        "the guest gets -1 and may cope",
        "the call ends with the limit `memory`",
        Guest("a refused growth", _grows(5000)),
        number(-1),
        ends("limit", "memory"),
    ),
    Difference(
        "a memory's own maximum",
        "the guest gets -1",
        "the call ends with the limit `memory`",
        Guest("a memory's own maximum", _grows(100, "(memory 1 5)")),
        number(-1),
        ends("limit", "memory"),
    ),
    Difference(
        "the limits `memory` and `kernel_memory`",
        "each holds by itself",
        "one budget of their sum",
        Guest("one budget", _grows(100), [Call(limits={"memory": 1 << 20})]),
        number(-1),
        number(1),
    ),
    Difference(
        "a block that is too large",
        "the limit `kernel_memory`",
        "the limit `memory`",
        Guest("a large block", wat(run("(drop (call $alloc (i64.const 200000000)))"), "alloc")),
        ends("limit", "kernel_memory"),
        ends("limit", "memory"),
    ),
    Difference(
        "the limit `table_elements`, as a table grows",
        "holds",
        "none",
        Guest(
            "a table that grows",
            wat(
                gives("(i64.extend_i32_s (table.grow (ref.null func) (i32.const 20000)))") + "(table 1 funcref)", GIVES
            ),
        ),
        number(-1),
        number(1),
    ),
    Difference(
        "the limit `table_elements`, as a guest starts",
        "holds",
        "none",
        Guest("a large table", '(module (table 20000 funcref) (func (export "run")))'),
        ends("limit", "table_elements"),
        gives_bytes(b""),
    ),
    Difference(
        "the limit `system_calls`",
        "holds",
        "none",
        Guest(
            "many system calls",
            wat(
                run(
                    "(local $i i32) (loop (drop (call $var_get (i64.const 0)))"
                    "(br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50))))"
                ),
                "var_get",
            ),
            [Call(limits={"system_calls": 10})],
        ),
        ends("limit", "system_calls"),
        gives_bytes(b""),
    ),
    Difference(
        "the bits of what is not a number",
        "always the same",
        "as the processor makes them",
        Guest("not a number", wat(gives("(i64.reinterpret_f64 (f64.add (f64.const nan:0x123) (f64.const 1)))"), GIVES)),
        number(0x7FF8 << 48),
        lambda found: not number(0x7FF8 << 48)(found) and not found[0].failed,
    ),
    Difference(
        "a log line with a zero byte",
        "is kept",
        "is lost",
        Guest("a zero in the log", wat(said(b"a\0b", "(call $log_info (local.get $a))"), "alloc store_u8 log_info")),
        logs(("info", "a\0b")),
        lambda found: all("a" + chr(0) not in text for _, text in found[-1].log) and not found[-1].failed,
    ),
    Difference(
        "a log line that is not UTF-8",
        "is kept, with U+FFFD for what is wrong",
        "is an error line of its own",
        Guest("a log of bytes", wat(said(b"a\xffb", "(call $log_info (local.get $a))"), "alloc store_u8 log_info")),
        logs(("info", "a\N{REPLACEMENT CHARACTER}b")),
        lambda found: [level for level, _ in found[-1].log] == ["error"],
    ),
    Difference(
        "an error's text with a zero byte",
        "is kept",
        "ends there",
        Guest(
            "a zero in the error", wat(said(b"a\0b", "(call $error_set (local.get $a))"), "alloc store_u8 error_set")
        ),
        ends("guest", "a\0b ("),
        ends("guest", "a ("),
    ),
    Difference(
        "the order of log lines and standard output",
        "as they were written",
        "log lines come first",
        Guest(
            "log and output",
            wat(
                """(memory (export "memory") 1) (data (i32.const 64) "out")
                (func (export "run") (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 3))
                  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
                  (i32.store (i32.const 0) (i32.const 75)) (i32.store (i32.const 4) (i32.const 1))
                  (i32.store8 (i32.const 75) (i32.const 10))
                  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
                  (call $log_info (call $input_offset)))""",
                "log_info input_offset",
                "fd_write",
            ),
            [Call(data=b"log")],
        ),
        logs(("info", "out"), ("info", "log")),
        logs(("info", "log"), ("info", "out")),
    ),
    Difference(
        "several buffers in one `fd_write`",
        "all are written",
        "the first is; the guest writes the rest again",
        Guest(
            "two buffers",
            wat(
                """(memory (export "memory") 1) (data (i32.const 64) "onetwo")
                (func (export "run")
                  (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 3))
                  (i32.store (i32.const 8) (i32.const 67)) (i32.store (i32.const 12) (i32.const 3))
                  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 16))))""",
                wasi="fd_write",
            ),
        ),
        logs(("info", "onetwo")),
        logs(("info", "one")),
    ),
    Difference(
        "what `fd_fdstat_get` says of standard output",
        "a character device",
        "something unknown",
        Guest(
            "fdstat",
            wat(
                run(
                    "(drop (call $fd_fdstat_get (i32.const 1) (i32.const 16))) (call $out (i32.const 16) (i32.const 1))"
                )
                + OUT,
                OUTS,
                "fd_fdstat_get",
            ),
        ),
        gives_bytes(b"\2"),
        gives_bytes(b"\0"),
    ),
    Difference(
        "a pointer outside of its memory that a guest gives to WASI",
        "the errno EFAULT",
        "the guest ends",
        Guest(
            "pointers for WASI",
            wat(
                run(
                    "(i32.store8 (i32.const 0) (call $random_get (i32.const -8) (i32.const 100)))"
                    "(call $out (i32.const 0) (i32.const 1))"
                )
                + OUT,
                OUTS,
                "random_get",
            ),
        ),
        gives_bytes(b"\x15"),
        ends("guest"),
    ),
    Difference(
        "`load_*` and `store_*` outside of the kernel's memory",
        "trap",
        "give 0 and do nothing",
        Guest("loads outside", wat(gives("(call $load_u64 (i64.const 100000000))"), GIVES + " load_u64")),
        ends("guest", "out of bounds"),
        number(0),
    ),
    Difference(
        "an output that lies outside of the kernel's memory",
        "the guest's error",
        "an empty output",
        Guest("output outside", wat(run("(call $output_set (i64.const 100000000) (i64.const 3))"), "output_set")),
        ends("guest", "outside"),
        gives_bytes(b""),
    ),
    Difference(
        "blocks given to `log_*`, `config_get`, `var_get` and `var_set`",
        "stay the guest's",
        "are freed",
        Guest(
            "blocks that were given",
            wat(
                f"""(func (export "run") (local $a i64) {_ECHO_KEY} {_ECHO_KEY}
                  (call $output_set (local.get $a) (call $length (local.get $a))))""",
                "config_get input_offset output_set length",
            ),
            [Call(data=b"key", config={"key": "value"})],
        ),
        gives_bytes(b"value"),
        ends("guest", "invalid handle"),
    ),
    Difference(
        "where blocks begin",
        "at multiples of 16",
        "anywhere",
        Guest(
            "alignment",
            wat(
                gives("(i64.and (i64.const 15) (i64.or (call $alloc (i64.const 3)) (call $alloc (i64.const 5))))"),
                GIVES,
            ),
            inputs(b"abcde"),
        ),
        number(0),
        lambda found: not number(0)(found) and not found[0].failed,
    ),
    Difference(
        "a module with `_initialize` and `__wasm_call_ctors`",
        "`_initialize`, which calls the other",
        "`__wasm_call_ctors` alone",
        Guest(
            "two initialisers",
            wat(STARTING["_initialize"] + STARTING["__wasm_call_ctors"] + NOTE, OUTS),
        ),
        gives_bytes(b"I"),
        gives_bytes(b"C"),
    ),
    Difference(
        "Wasm proposals such as relaxed SIMD",
        "off",
        "what its wasmtime takes",
        Guest(
            "relaxed SIMD",
            '(module (func (export "run") (local v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))))',
        ),
        ends("rejected", "relaxed SIMD"),
        gives_bytes(b""),
    ),
    Difference(
        "a linked module named `main`",
        "a name like any other",
        "`rejected`: it is the plugin's own there",
        Guest("main", '(module (func (export "run")))', modules={"main": '(module (func (export "f")))'}),
        gives_bytes(b""),
        ends("rejected", "main"),
    ),
]
"""In the order of the page."""
