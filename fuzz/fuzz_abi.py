"""The Extism ABI: a guest that carries out random steps, with a host that answers at random.

The guest reads its input as a list of steps: calls of the kernel with any arguments, stores anywhere in the kernel's
memory (its own state and the headers of blocks included), host functions. The host's functions answer bytes of any
length, numbers out of range, the wrong types, nothing, late, never, or raise. Whatever comes of it: the process lives,
the call ends with an output, an error of the closed list or the very exception that a host function raised, within its
limits; what was held is given back, and another plugin still answers right.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import trio
import wasmtime
from fuzz.answers import Answers, RaisedError
from fuzz.engines import LIMITS, EngineTarget
from fuzz.mutation import assert_printable, mutated, number, outline
from fuzz.wat import imported, one_of

from innkeeper.errors import InnkeeperError, Kind
from innkeeper.sandbox.interface import CallOptions, Program, Session
from innkeeper.sandbox.kernel import ENV, SIGNATURES, guest_signature
from innkeeper.sandbox.limits import KIB, MIB
from innkeeper.sandbox.usage import Usage

_LIMITS = replace(
    LIMITS, host_call=0.02, wall=1.0, kernel_memory=512 * KIB, host_calls=300, system_calls=300, output=256 * KIB
)
_OPTIONS = tuple(
    CallOptions(
        limits=limits,
        config={"key": "value", "empty": "", "long": "x" * 70_000, "žluť": "ž"},
        plugin="fuzz",
    )
    for limits in (
        _LIMITS,
        replace(_LIMITS, kernel_memory=320 * KIB, memory=320 * KIB, variables=100, log=50, log_line=7),
        replace(_LIMITS, host_calls=3, system_calls=5, output=20),
        replace(_LIMITS, kernel_memory=4 * MIB, memory=MIB, cpu=0.01, host_call=0.003),
    )
)
_MOMENTS = (0, 0.0002, 0.002, 0.01)
"""Seconds after which a call is cancelled."""

_IMPORTS = (
    *((ENV, name, *types) for name, types in SIGNATURES.items()),
    *((function.namespace, function.name, *guest_signature(function)) for function in Answers().functions()),
)
"""What the guest can call: namespace, name, types of the parameters and of the result."""
_NAMES = [name for _, name, *_ in _IMPORTS] + ["grow", "trap", "own_store"]
_STEP = struct.Struct("<BBBBQQ")


def _guest() -> bytes:
    imports = [imported(*wanted) for wanted in _IMPORTS]
    arms = [_arm(name, parameters, results) for _, name, parameters, results in _IMPORTS]
    arms.append("(i64.extend_i32_s (memory.grow (i32.wrap_i64 (local.get $a))))")
    arms.append("(unreachable)")
    arms.append("(block (result i64) (i64.store (i32.wrap_i64 (local.get $a)) (local.get $b)) (i64.const 0))")
    return bytes(
        wasmtime.wat2wasm(
            f"""(module {" ".join(imports)} (memory 4)
  ;; The steps are copied to its own memory first, 24 bytes each, since it is about to overwrite its input.
  ;; Registers lie at 0, the steps at 4096. A mode's lowest bit says that a register (its other bits) is added.
  (func $argument (param $mode i32) (param $value i64) (result i64)
    (if (result i64) (i32.and (local.get $mode) (i32.const 1))
      (then (i64.add (local.get $value) (i64.load
        (i32.and (i32.shl (i32.shr_u (local.get $mode) (i32.const 1)) (i32.const 3)) (i32.const 127)))))
      (else (local.get $value))))
  (func $carry_out (param $which i32) (param $a i64) (param $b i64) (result i64) {one_of(arms)} (i64.const 0))
  (func (export "run") (local $at i32) (local $end i32)
    (local.set $end (i32.and (i32.wrap_i64 (call $input_length)) (i32.const 0xffff)))
    (loop $copy
      (i64.store offset=4096 (local.get $at) (call $input_load_u64 (i64.extend_i32_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $copy (i32.lt_u (local.get $at) (local.get $end))))
    (local.set $at (i32.const 0))
    (loop $next
      (if (i32.gt_u (i32.add (local.get $at) (i32.const 20)) (local.get $end)) (then (return)))
      (i64.store (i32.and (i32.shl (i32.load8_u offset=4097 (local.get $at)) (i32.const 3)) (i32.const 127))
        (call $carry_out (i32.rem_u (i32.load8_u offset=4096 (local.get $at)) (i32.const {len(arms)}))
          (call $argument (i32.load8_u offset=4098 (local.get $at)) (i64.load offset=4100 (local.get $at)))
          (call $argument (i32.load8_u offset=4099 (local.get $at)) (i64.load offset=4108 (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 20)))
      (br $next))))"""
        )
    )


_FROM_I64 = {
    "i64": "{}",
    "i32": "(i32.wrap_i64 {})",
    "f64": "(f64.reinterpret_i64 {})",
    "f32": "(f32.demote_f64 (f64.reinterpret_i64 {}))",
}
_TO_I64 = {
    "i64": "{}",
    "i32": "(i64.extend_i32_u {})",
    "f32": "(i64.extend_i32_u (i32.reinterpret_f32 {}))",
    "": "(block (result i64) {} (i64.const 0))",
}


def _arm(name: str, parameters: Sequence[str], results: Sequence[str]) -> str:
    arguments = [
        _FROM_I64[type_].format(f"(local.get ${local})") for type_, local in zip(parameters, "ab", strict=False)
    ]
    return _TO_I64["".join(results)].format(f"(call ${name} {' '.join(arguments)})")


class Fuzz(EngineTarget):
    """Five bytes say how the guest is called and what the host answers, the rest are the guest's steps."""

    def __init__(self) -> None:
        self._answers = Answers()

    async def prepare(self, stack: AsyncExitStack) -> None:
        self._program = await self.tested.engine.load(_guest(), functions=self._answers.functions())
        self._neighbour = await self.tested.engine.load(
            bytes(wasmtime.wat2wasm('(module (func (export "run") (result i32) (i32.const 42)))'))
        )

    # --- inputs -----------------------------------------------------------

    def seeds(self) -> Sequence[bytes]:
        return tuple(bytes([mode, 1, 2, 3, 4]) + _steps(random.Random(mode)) for mode in range(4))

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        if rng.random() < 0.4:
            return mutated(rng, rng.choice(pool), pool)
        return rng.randbytes(5) + _steps(rng)

    # --- what must hold ---------------------------------------------------

    async def check(self, data: bytes) -> str:
        head, steps = data[:5].ljust(5, b"\0"), data[5 : 5 + 0xFFFF]
        self._answers.begin(head[1:])
        options = _OPTIONS[head[0] >> 5 & 3]
        words: list[str] = []

        async def call(guest: Program | Session, part: bytes, late: float | None = None) -> None:
            with trio.move_on_after(5 if late is None else late) as scope:
                words.append(await self._ended(guest, part, options))
            if scope.cancelled_caught:
                assert late is not None, "a call went on beyond its deadline"
                words.append("cancelled")

        # Three parts of the steps: one after the other in one guest, at the same time in three, or together in one.
        third = len(steps) // 3 // _STEP.size * _STEP.size
        parts = (steps[:third], steps[third : 2 * third], steps[2 * third :])
        match head[0] & 7:
            case 0 | 1:
                session = await self._program.open(options)
                try:
                    for part in parts:
                        if not session.spent:
                            await call(session, part)
                finally:
                    await session.aclose()
            case 2 | 3:
                async with trio.open_nursery() as nursery:
                    for at, part in enumerate(parts):
                        nursery.start_soon(call, self._program, part, 0.001 if head[0] & 8 and at else None)
            case 4:
                # Cancelled from outside, after a random moment.
                await call(self._program, steps, _MOMENTS[head[0] >> 3 & 3])
            case _:
                await call(self._program, steps)
        await self.tested.nothing_is_held()
        assert await self._ended(self._neighbour, b"", options) == "guest 42"
        return " ".join(sorted(words))

    async def _ended(self, guest: Program | Session, steps: bytes, options: CallOptions) -> str:
        try:
            result = await guest.call("run", steps, options)
        except Exception as error:
            if any(error is raised for raised in self._answers.raised):
                return f"raised {type(error).__name__}"
            return _explained(error, options)
        _within(result.usage, options)
        assert len(result.output) <= options.limits.output
        return f"returned {len(result.output).bit_length()} {len(result.usage.log)}"


def _explained(error: Exception, options: CallOptions) -> str:
    if isinstance(error, InnkeeperError):
        assert error.kind in (Kind.GUEST, Kind.LIMIT, Kind.DENIED), error
        assert len(error.message) <= 5000
        assert error.usage is not None
        _within(error.usage, options)
        code = getattr(error, "code", None)
        return f"{error.kind.value} {outline(error.message)[:60] if code is None else code}"
    if not isinstance(error, RaisedError):
        # What the host function returned is not what it declares: the host's own mistake, named.
        assert isinstance(error, TypeError | OverflowError), repr(error)
        assert "the host function" in str(error), repr(error)
        assert_printable(str(error), 500)
    return type(error).__name__


def _within(usage: Usage, options: CallOptions) -> None:
    limits = options.limits
    assert usage.memory <= limits.memory + limits.kernel_memory
    assert usage.host_calls <= limits.host_calls + 1
    assert sum(len(text) for _, text in usage.log) <= limits.log + 200 * len(usage.log)
    assert usage.cpu < 5


def _steps(rng: random.Random) -> bytes:
    out = []
    for _ in range(rng.choice((1, 3, 8, 20, 60, 400 if rng.random() < 0.05 else 12))):
        name = rng.choice(_NAMES)
        if rng.random() < 0.4:
            name = rng.choice(("alloc", "alloc", "free", "store_u64", "store_u64", "bytes_bytes", "nothing_bytes"))
        if name in ("trap", "http_request") and rng.random() < 0.9:
            name = "length"
        out.append(
            _STEP.pack(
                _NAMES.index(name),
                rng.randrange(16),
                rng.choice((0, rng.randrange(32) | 1, rng.randrange(32) | 1)),
                rng.choice((0, rng.randrange(32))),
                _number(rng, name),
                _number(rng, name),
            )
        )
    return b"".join(out)


def _number(rng: random.Random, name: str) -> int:
    match rng.randrange(6):
        case 0:
            return number(rng)
        case 1:
            # The kernel's state words and the first blocks with their headers.
            return 8 * rng.randrange(48)
        case 2 if name == "alloc":
            return rng.choice((1, 8, 16, 17, 100, 4096, 32_768, 32_769, 100_000))
        case 3:
            return rng.choice((0, 8, 16, (1 << 64) - 8, (1 << 64) - 16))
        case _:
            return rng.randrange(64)
