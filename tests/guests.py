"""Guests as a few lines of WAT, and an engine that is looked over after each test.

`Sandbox` loads and calls guests. When its block ends, a plugin that has nothing to do with the test must still answer
right, and every place, byte and slot that the test's guests held must have been given back.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

import pytest
import trio
import wasmtime

from innkeeper.errors import InnkeeperError
from innkeeper.sandbox import callbacks, kernel
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import FiberEngine, open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.limits import DEFAULTS, Limits
from innkeeper.sandbox.program import FiberProgram
from innkeeper.sandbox.usage import Result
from innkeeper.sandbox.wasi import FUNCTIONS as WASI_FUNCTIONS
from innkeeper.sandbox.wasi import WASI_MODULE

E = TypeVar("E", bound=InnkeeperError)

PAGE = kernel.PAGE
SPIN = '(module (func (export "run") (loop (br 0))))'
NOTHING = '(module (func (export "run")))'


def _import(module: str, name: str, parameters: Sequence[str], results: Sequence[str]) -> str:
    types = "".join(f" (param {t})" for t in parameters) + "".join(f" (result {t})" for t in results)
    return f'(import "{module}" "{name}" (func ${name}{types}))'


def wat(body: str, env: str = "", wasi: str = "", functions: Sequence[HostFunction] = ()) -> str:
    """A module's text: imports of the Extism ABI (`env`) and of WASI (`wasi`) by name, of host functions, then `body`.

    Each import is the function `$name`.
    """
    lines = [_import(kernel.ENV, name, *kernel.SIGNATURES[name]) for name in env.split()]
    for name in wasi.split():
        known = WASI_FUNCTIONS[name]
        results = [known.result.value] if known.result else []
        lines.append(_import(WASI_MODULE, name, [p.value for p in known.parameters], results))
    lines += [_import(f.namespace, f.name, *kernel.guest_signature(f)) for f in functions]
    return "\n".join(["(module", *lines, body, ")"])


def assemble(text: str | bytes) -> bytes:
    """The bytes of a module; bytes stay what they are."""
    return text if isinstance(text, bytes) else bytes(wasmtime.wat2wasm(text))


def run(body: str) -> str:
    """An exported function `run` without results."""
    return f'(func (export "run") {body})'


def gives(body: str) -> str:
    """An exported function `run` whose output are the 8 bytes of the i64 that `body` leaves."""
    return f"""(func (export "run") (local $block i64) (local $value i64)
      (local.set $value {body})
      (local.set $block (call $alloc (i64.const 8)))
      (call $store_u64 (local.get $block) (local.get $value))
      (call $output_set (local.get $block) (i64.const 8)))"""


GIVES = "alloc store_u64 output_set"
"""What `gives` imports."""


def number(result: Result) -> int:
    """The unsigned number that `gives` gave."""
    assert len(result.output) == 8
    return int.from_bytes(result.output, "little")


def text_block(name: str, data: bytes, local: str) -> str:
    """Instructions that allocate a block, fill it with `data` and put its offset into a local; needs store_u8."""
    stores = "".join(
        f"(call $store_u8 (i64.add (local.get ${local}) (i64.const {at})) (i32.const {byte}))"
        for at, byte in enumerate(data)
    )
    return f";; {name}\n(local.set ${local} (call $alloc (i64.const {len(data)}))) {stores}"


def host_function(
    handler: Any, parameters: Sequence[Value] = (), result: Value | None = None, namespace: str = "test"
) -> HostFunction:
    """A host function under the name of its handler."""
    return HostFunction(handler.__name__, handler, parameters, result, namespace)


class Sandbox:
    """An engine, and short ways to load and to call.

    Attributes:
        engine: the engine.
    """

    def __init__(self, engine: FiberEngine) -> None:
        self.engine = engine

    async def load(
        self,
        module: str | bytes,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, str | bytes] | None = None,
        plugin: str | None = None,
    ) -> FiberProgram:
        """Loads a module from its text or its bytes."""
        linked = {name: assemble(part) for name, part in (modules or {}).items()}
        return await self.engine.load(assemble(module), functions=functions, modules=linked, plugin=plugin)

    async def call(
        self,
        module: str | bytes | FiberProgram,
        function: str = "run",
        data: bytes = b"",
        *,
        functions: Sequence[HostFunction] = (),
        config: Mapping[str, str] | None = None,
        **limits: Any,
    ) -> Result:
        """Loads a module, if it is none yet, and calls it."""
        program = module if isinstance(module, FiberProgram) else await self.load(module, functions)
        return await program.call(function, data, options(config, **limits))

    async def fails(self, kind: type[E], *arguments: Any, **more: Any) -> E:
        """As `call`, which must end with this error; its usage is there, and its message is short and names nothing
        of the host."""
        with pytest.raises(kind) as caught:
            await self.call(*arguments, **more)
        error = caught.value
        assert type(error) is kind
        assert len(error.message) < 5000
        assert "/" not in error.message.replace("'", "") or "http" in error.message.lower()
        return error


def options(config: Mapping[str, str] | None = None, **limits: Any) -> CallOptions:
    """Options of a call with some limits unlike the defaults."""
    return CallOptions(limits=Limits(**limits) if limits else DEFAULTS, config=config or {}, plugin="hostile")


_NEIGHBOUR = wat(
    """(func (export "run") (local $at i64) (local $out i64)
      (local.set $out (call $alloc (call $input_length)))
      (loop
        (call $store_u8 (i64.add (local.get $out) (local.get $at))
          (i32.xor (call $input_load_u8 (local.get $at)) (i32.const 32)))
        (br_if 0 (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 1))) (call $input_length))))
      (call $output_set (local.get $out) (call $input_length)))""",
    "alloc store_u8 input_length input_load_u8 output_set",
)


@asynccontextmanager
async def opened(bounds: Bounds | None = None) -> AsyncIterator[Sandbox]:
    """A sandbox; at the end of the block another plugin still answers right and nothing is held."""
    with trio.fail_after(120):
        async with open_engine(bounds or Bounds(workers=2), cache=Path(os.environ["INNKEEPER_CACHE"])) as engine:
            sandbox = Sandbox(engine)
            neighbour = await sandbox.load(_NEIGHBOUR)
            yield sandbox
            result = await sandbox.call(neighbour, data=b"the next CALL of another plugin IS right")
            assert result.output == b"THE\0NEXT\0call\0OF\0ANOTHER\0PLUGIN\0is\0RIGHT"
            await nothing_is_held(engine)


async def nothing_is_held(engine: FiberEngine) -> None:
    """Waits until all that calls took is given back: workers free large guests a little later."""
    budgets = (engine.live, engine.memory, engine.in_flight)
    with trio.move_on_after(10):
        engine.spares.drop()
        while any(budget.taken for budget in budgets) or callbacks.running:
            await trio.sleep(0.001)
            engine.spares.drop()
    assert {budget.name: (budget.taken, budget.waiting) for budget in budgets} == {
        budget.name: (0, 0) for budget in budgets
    }
    assert not callbacks.running


PRELUDE = """import sys
import trio
from innkeeper.errors import *
from innkeeper.sandbox.engine import open_engine
from guests import *
"""


def in_child(program: str, *, timeout: float = 60, faulthandler: bool = True) -> str:
    """Runs a Python program in a process of its own, which must end well, and gives its output.

    The names of this module, of the errors, `open_engine`, `sys` and `trio` are there. The program is dedented.
    """
    code = PRELUDE + dedent(program)
    flags = ["-X", "faulthandler"] if faulthandler else []
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=__file__.rpartition("/")[0],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
