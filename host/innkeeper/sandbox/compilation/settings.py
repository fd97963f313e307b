"""The engine's settings that compiled code depends on, made by one function for guests, children and the cache."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import wasmtime as w

from innkeeper.sandbox import capi, proposals
from innkeeper.sandbox.limits import KIB, MIB

STACK = 512 * KIB
"""Stack of a guest's own frames; deeper recursion is a limit error."""

FIBER = 2 * MIB
"""Stack of a guest's fiber. What is above STACK is for host functions: Python code runs there in callbacks."""

RESERVATION = 64 * MIB
"""Address space reserved for each memory. Growing beyond it moves the memory, which costs a copy; reserving 4 GiB
instead costs each guest page tables of its own."""

REVISION = 1
"""Raised when what is made of the same bytes changes in a way that neither `SOURCES` nor the engine shows."""

SOURCES = (
    "innkeeper.sandbox.admission",
    "innkeeper.sandbox.capi",
    "innkeeper.sandbox.growth",
    "innkeeper.sandbox.inlining",
    "innkeeper.sandbox.instructions",
    "innkeeper.sandbox.interface",
    "innkeeper.sandbox.kernel",
    "innkeeper.sandbox.leb",
    "innkeeper.sandbox.limits",
    "innkeeper.sandbox.merge",
    "innkeeper.sandbox.module_info",
    "innkeeper.sandbox.proposals",
    "innkeeper.sandbox.sections",
    "innkeeper.sandbox.usage",
    "innkeeper.sandbox.wasm",
    "innkeeper.sandbox.compilation.job",
    "innkeeper.sandbox.compilation.kinds",
    "innkeeper.sandbox.compilation.plan",
    "innkeeper.sandbox.compilation.settings",
)
"""Modules whose text decides what is compiled: everything of the sandbox that `job` imports."""


def apply_settings(config: w.Config) -> None:
    """Sets everything that compiled code depends on. Code runs in each engine that was made with these settings.

    Args:
        config: a new one; pooling, parallel compilation and the like may be set besides.
    """
    proposals.apply(config)
    # For the kernel's own memory beside the guest's, in modules that were validated without it (`job.validate`).
    config.wasm_multi_memory = True
    config.epoch_interruption = True
    config.cranelift_nan_canonicalization = True
    config.max_wasm_stack = STACK
    capi.async_stack_size_set(capi.address(config), FIBER)
    # Explicit bounds checks instead of signals: a faulthandler that is enabled after us would take SIGSEGV away, and
    # a guest's first access out of bounds would end the process. It also keeps Spectre's gadget away. Costs about 10%.
    config.signals_based_traps = False
    config.memory_reservation = RESERVATION
    config.memory_guard_size = 0
    config.memory_reservation_for_growth = RESERVATION


def new_engine() -> w.Engine:
    """An engine with these settings and nothing besides: it compiles, and runs nothing."""
    config = w.Config()
    apply_settings(config)
    return w.Engine(config)


def fingerprint(engine: w.Engine) -> str:
    """What compiled code depends on besides its Wasm and its plan, as 64 hexadecimal digits.

    An empty module that the engine compiles carries, in wasmtime's own words, its version, the platform, the
    processor's features and every setting of the compiler. Our own part in it is the text of `SOURCES`.

    Args:
        engine: one with these settings. Takes 0.1 ms, at an engine's first module 1 ms.
    """
    empty = bytes(w.Module(engine, b"\0asm\1\0\0\0").serialize())
    digest = hashlib.sha256(f"{REVISION} {STACK} {FIBER} {RESERVATION} {_sources()}".encode())
    digest.update(empty)
    return digest.hexdigest()


@cache
def _sources() -> str:
    digest = hashlib.sha256()
    for name in SOURCES:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            text = Path(spec.origin).read_bytes()
            digest.update(f"{name} {len(text)} ".encode())
            digest.update(text)
    return digest.hexdigest()
