"""Whether the library that wasmtime-py carries does what `capi` relies on: tried in this process before any guest runs.

wasmtime-py may be newer than what we know, since security fixes must not wait for us.  Most of what the engine calls
is not wrapped by wasmtime-py and promised by nobody, so a few guests whose outcome is known go through what every call
takes: a store that yields on epochs, host functions that answer at once and after a wait, memory, globals, traps, the
limiter, and a fiber that is dropped half-way, future before store.
"""

from __future__ import annotations

import ctypes as c
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import wasmtime as w

from innkeeper.errors import InternalError
from innkeeper.sandbox import capi

VERSION_FLOOR = (50, 0, 1)
"""The oldest wasmtime-py that is taken: what is older has known faults, or lacks functions that the engine calls."""

_GUEST = """(module
  (import "host" "wait" (func $wait (param i64) (result i64)))
  (import "host" "now" (func $now (param i32) (result i32)))
  (memory (export "memory") 1)
  (global (export "global") (mut i64) (i64.const 7))
  (func (export "wait") (result i64) (call $wait (i64.const -40)))
  (func (export "now") (result i32) (call $now (i32.const 40)))
  (func (export "read") (result i32) (i32.wrap_i64 (global.get 0)))
  (func (export "load") (result i32) (i32.load (i32.const 65532)))
  (func (export "grow") (result i32) (memory.grow (i32.const 1)))
  (func (export "trap") unreachable)
  (func $deep (export "deep") (result i32) (i32.add (call $deep) (call $deep)))
  (func (export "loop") (local i32)
    (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100000))))))
"""
# The loop ends by itself: where ticks do not pre-empt, the check must say so and not hang.

_PAGE = 65_536
_FAR = 1 << 40
"""Ticks until which nothing is pre-empted."""
_UNREACHABLE = 9


def require(engine: w.Engine) -> None:
    """Refuses a library that differs from what the engine relies on.

    Args:
        engine: the one that guests will run on; nothing runs on it yet.

    Raises:
        InternalError: names all that differs and what to install.
    """
    wrong = check(engine)
    if wrong:
        floor = ".".join(map(str, VERSION_FLOOR))
        raise InternalError(
            f"the installed wasmtime {_installed()} cannot run guests: {'; '.join(wrong)}; "
            f"install wasmtime {floor}, or a newer one that passes `innkeeper doctor`"
        )


def check(engine: w.Engine) -> list[str]:
    """What differs from what the engine relies on (list of str, one sentence each); empty if nothing does.

    Takes a few milliseconds.

    Args:
        engine: as for `require`; it has epoch interruption on.
    """
    wrong = _version_problems(_installed())
    if wrong:
        return wrong
    try:
        module = w.Module(engine, _GUEST)
        with _trial(engine, module) as trial:
            for attempt in (_answers_now, _waits, _memory, _global, _limiter, _traps, _yields):
                wrong += attempt(trial)
        with _trial(engine, module) as trial:
            wrong += _drops(trial)
    except _DiffersError as error:
        wrong.append(str(error))
    except (w.WasmtimeError, c.ArgumentError, TypeError, ValueError, AttributeError) as error:
        wrong.append(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'without a message'}")
    return wrong


def _installed() -> str:
    try:
        return version("wasmtime")
    except PackageNotFoundError:
        return "of unknown version"


def _version_problems(installed: str) -> list[str]:
    numbers = tuple(int(part) for part in installed.split(".")[:3] if part.isdecimal())
    if len(numbers) != len(VERSION_FLOOR):
        # A version that is written otherwise is a build of somebody's own: what it does is what counts.
        return []
    return [] if numbers >= VERSION_FLOOR else [f"it is older than {'.'.join(map(str, VERSION_FLOOR))}"]


class _DiffersError(Exception):
    """A step that the others need did not work."""


class _Box(c.Structure):
    """All that C writes during the check."""

    _fields_ = (
        ("instance", capi.Instance),
        ("found", capi.Extern),
        ("value", capi.Val),
        ("old", c.c_uint64),
        ("trap", c.c_void_p),
        ("error", c.c_void_p),
        ("pre", c.c_void_p),
    )


class _Trial:
    """A guest, its store and what its host functions saw."""

    def __init__(self, engine: w.Engine, module: w.Module) -> None:
        self.engine = engine
        self.box = _Box()
        self.asked: int | None = None
        self.ticks = 0
        # wasmtime keeps only their addresses.
        self._kept = (
            capi.AsyncCallback(self._on_wait),
            capi.RawCallback(self._on_now),
            capi.EpochCallback(self._on_epoch),
        )
        self._wait, self._now, self._epoch = (c.cast(item, c.c_void_p).value for item in self._kept)
        self._ready = c.create_string_buffer(2)
        self._results = 0
        self.linker = capi.linker_new(capi.address(engine))
        self._base = capi.linker_clone(self.linker)
        self.store = capi.store_new(capi.address(engine), None, None)
        self.context: int = capi.store_context(self.store)
        self.future = 0
        self._module = module

    # --- what wasmtime calls; none of it can raise ------------------------------------------------------------------

    def _on_wait(
        self, env: int, caller: int, arguments: int, n: int, results: int, n_results: int, trap: int, continuation: int
    ) -> None:
        c.memmove(continuation, struct.pack("<3Q", capi.RESUME, c.addressof(self._ready), 0), 24)
        kind, number = struct.unpack("<B7xq", c.string_at(arguments, 16))
        self._results = results
        self.asked = number if (env, kind, n, n_results) == (11, capi.I64, 1, 1) else None

    def _on_now(self, env: int, caller: int, values: int, count: int) -> int | None:
        number = struct.unpack("<i", c.string_at(values, 4))[0]
        c.memmove(values, struct.pack("<i12x", number + 2 if env == 12 else 0), capi.RAW_SIZE)
        return None

    def _on_epoch(self, context: int, data: int, delta: Any, kind: Any) -> int | None:
        delta[0], kind[0] = _FAR, capi.EPOCH_YIELD
        self.ticks += 1
        return None

    # --- steps ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Links and starts the guest, both by a linker of its own and by a linked module."""
        capi.store_limiter(self.store, 2 * _PAGE, 10, 2, 2, 2)
        capi.epoch_callback(self.store, self._epoch, None, None)
        capi.set_epoch_deadline(self.context, _FAR)
        self._define("wait", capi.linker_define_async, self._wait, 11, w.ValType.i64)
        self._define("now", capi.linker_define_raw, self._now, 12, w.ValType.i32)
        module, box = capi.address(self._module), self.box
        self.refuse(capi.linker_instantiate_pre(self.linker, module, c.addressof(box) + _Box.pre.offset))
        first = capi.instance_pre_instantiate_async(box.pre, self.context, *self._outs("instance"))
        self._run(first)
        self._run(capi.linker_instantiate_async(self.linker, self.context, module, *self._outs("instance")))

    def _outs(self, name: str) -> tuple[int, int, int]:
        at = c.addressof(self.box)
        return at + int(getattr(_Box, name).offset), at + _Box.trap.offset, at + _Box.error.offset

    def _define(self, name: str, define: Any, callback: int | None, number: int, kind: Callable[[], w.ValType]) -> None:
        function = w.FuncType([kind()], [kind()])
        word = name.encode()
        self.refuse(define(self.linker, b"host", 4, word, len(word), capi.address(function), callback, number, None))

    def find(self, name: str) -> int:
        """Address of what the guest exports under a name."""
        found, word = c.addressof(self.box) + _Box.found.offset, name.encode()
        if not capi.instance_export(self.context, self._outs("instance")[0], word, len(word), found):
            raise _DiffersError(f"an exported {name!r} is not found")
        return int(found + capi.EXTERN_OF)

    def begin(self, name: str, results: int) -> None:
        """Calls an exported function; `poll` lets it run."""
        value, trap, error = self._outs("value")
        function = self.find(name)
        self.future = capi.func_call_async(self.context, function, None, 0, value, results, trap, error)

    def poll(self) -> bool:
        """Whether the function has ended; the future is then deleted."""
        if not capi.future_poll_held(self.future):
            return False
        self.end()
        return True

    def answer(self, number: int) -> None:
        """What the host function that the guest waits for returns at the next poll."""
        c.memmove(self._results, struct.pack("<B7xq16x", capi.I64, number), capi.VAL_SIZE)
        self._ready.value = b"\1"

    def end(self) -> None:
        """Deletes the future, if there is one."""
        future, self.future = self.future, 0
        if future:
            capi.future_delete(future)

    def outcome(self) -> tuple[int | None, str]:
        """Code and text of the trap or error that ended the last function; the text is empty if it went well."""
        trap, error = self.box.trap or 0, self.box.error or 0
        self.box.trap = self.box.error = None
        if error:
            return None, capi.take_error(error)
        return capi.take_trap(trap) if trap else (None, "")

    def call(self, name: str) -> int | None:
        """What an exported function returns if it ends in one poll, else None."""
        self.begin(name, 1)
        ended = self.poll()
        self.end()
        return int(self.box.value.of.i32) if ended and not self.outcome()[1] else None

    def _run(self, future: int) -> None:
        self.future = future
        if not self.poll():
            raise _DiffersError("a module does not start in one poll")
        text = self.outcome()[1]
        if text:
            raise _DiffersError(f"a module does not start: {text.splitlines()[0]}")

    def refuse(self, error: int | None) -> None:
        """Ends the check where a function of the library returned an error."""
        if error:
            raise _DiffersError(capi.take_error(error).splitlines()[0])

    def close(self) -> None:
        """Frees everything, future first."""
        self.end()
        self.outcome()
        capi.store_delete(self.store)
        if self.box.pre:
            capi.instance_pre_delete(self.box.pre)
        capi.linker_delete(self._base)
        capi.linker_delete(self.linker)


@contextmanager
def _trial(engine: w.Engine, module: w.Module) -> Iterator[_Trial]:
    trial = _Trial(engine, module)
    try:
        trial.start()
        yield trial
    finally:
        trial.close()


def _answers_now(trial: _Trial) -> list[str]:
    got = trial.call("now")
    return [] if got == 42 else [f"a host function that answers at once gave {got}, not 42"]


def _waits(trial: _Trial) -> list[str]:
    trial.begin("wait", 1)
    waits = not trial.poll() and not trial.poll() and trial.asked == -40
    if waits:
        trial.answer(-2)
    goes_on = waits and trial.poll()
    trial.end()
    if trial.outcome()[1] or not goes_on:
        return ["a guest does not wait for a host function, or does not go on when there is an answer"]
    got = int(trial.box.value.of.i64)
    return [] if got == -2 else [f"a host function that waits gave {got}, not -2"]


def _memory(trial: _Trial) -> list[str]:
    memory = trial.find("memory")
    size = capi.memory_data_size(trial.context, memory)
    if size != _PAGE:
        return [f"a memory of one page has {size} bytes"]
    c.memmove(capi.memory_data(trial.context, memory) + size - 4, b"\x2a\0\0\0", 4)
    got = trial.call("load")
    return [] if got == 42 else [f"a guest reads {got} where the host wrote 42 into its memory"]


def _global(trial: _Trial) -> list[str]:
    at, value = trial.find("global"), c.addressof(trial.box) + _Box.value.offset
    capi.global_get(trial.context, at, value)
    first = int(trial.box.value.of.i64)
    if first != 7:
        return [f"a global that is 7 reads as {first}"]
    trial.box.value.of.i64 = 8
    trial.refuse(capi.global_set(trial.context, at, value))
    got = trial.call("read")
    return [] if got == 8 else [f"a guest reads {got} where the host set a global to 8"]


def _limiter(trial: _Trial) -> list[str]:
    grown = (trial.call("grow"), trial.call("grow"))
    return [] if grown == (1, -1) else [f"growing within and beyond the limit gave {grown}, not (1, -1)"]


def _traps(trial: _Trial) -> list[str]:
    wrong = []
    for name, results, expected in (("trap", 0, _UNREACHABLE), ("deep", 1, capi.TRAP_STACK_OVERFLOW)):
        trial.begin(name, results)
        ended = trial.poll()
        trial.end()
        code, _ = trial.outcome()
        if not ended or code != expected:
            wrong.append(f"the trap {capi.TRAP_NAMES[expected]!r} has code {code}, not {expected}")
    return wrong


def _yields(trial: _Trial) -> list[str]:
    capi.set_epoch_deadline(trial.context, 1)
    trial.begin("loop", 0)
    capi.engine_increment_epoch(capi.address(trial.engine))
    first = trial.poll()
    second = first or trial.poll()
    trial.end()
    if first or not second or trial.ticks != 1 or trial.outcome()[1]:
        return ["a tick does not make a guest give way and go on"]
    return []


def _drops(trial: _Trial) -> list[str]:
    # The last thing that happens to this store: a fiber with a waiting host function on it goes before it.
    trial.begin("wait", 1)
    ended = trial.poll()
    trial.end()
    return ["a host function that waits does not suspend its guest"] if ended else []
