"""What a child makes of one module. Pure: the same bytes, plan and settings give code of the same meaning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import msgpack
import wasmtime as w

from innkeeper.sandbox import admission, growth, kernel, merge
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.sandbox.compilation.settings import apply_settings, new_engine
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.module_info import ModuleInfo


@cache
def child_engine() -> w.Engine:
    """The engine that a child compiles with; one for its whole life."""
    return new_engine()


def build(wasm: bytes, plan: Plan) -> bytes:
    """The artifact of a module: native code that an engine with the same settings loads.

    Args:
        wasm: the module as its author built it.
        plan: how it is rewritten before.

    Raises:
        RejectedError: it is not a file that this host runs.
        WasmtimeError: it is not valid, or does not compile.
        MalformedError: the rewriting does not understand it (`UnsupportedError` where a proposal is the reason).
    """
    if plan.kind == KERNEL:
        return bytes(w.Module(child_engine(), wasm).serialize())
    # The size was checked when the job was taken.
    info = admission.admit(wasm, plugin=None, size_limit=len(wasm))
    validate(wasm)
    return bytes(w.Module(child_engine(), rewrite(wasm, info, plan)).serialize())


PLAIN, JOINED, KERNEL = "plain", "joined", "kernel"
"""Kinds of plans: a guest that is linked with others; one that its kernel becomes part of; a kernel of its own."""


def joined_plan(wrapped: Sequence[HostFunction]) -> Plan:
    """The plan of a guest that its kernel becomes part of.

    Args:
        wrapped: of `kernel.wrapped`.
    """
    listed = [
        [f.namespace, f.name, [value.value for value in f.parameters], f.result.value if f.result else None]
        for f in wrapped
    ]
    packed = msgpack.packb(listed)
    assert isinstance(packed, bytes)
    return Plan(JOINED, packed)


def rewrite(wasm: bytes, info: ModuleInfo, plan: Plan) -> bytes:
    """The module that is compiled in place of the author's.

    Args:
        wasm: a valid module.
        info: what it says of itself.
        plan: of the kind PLAIN or JOINED.
    """
    watched = growth.instrument(wasm, info)
    if plan.kind == PLAIN:
        return watched
    if plan.kind != JOINED:
        raise ValueError(f"a plan of the kind {plan.kind!r} is not known")
    provided = {(kernel.ENV, name): name for name in kernel.SIGNATURES}
    signatures: list[kernel.Wrapping] = []
    for position, (namespace, name, parameters, result) in enumerate(msgpack.unpackb(plan.extra)):
        provided[namespace, name] = kernel.wrapper_name(position)
        signatures.append(([Value(value) for value in parameters], Value(result) if result else None))
    if not any((item.module, item.name) in provided for item in info.imports):
        return watched
    text = kernel.source(signatures, merged=True)
    return merge.merge(watched, bytes(w.wat2wasm(text)), provided, kernel.INLINED)


@cache
def _strict() -> w.Engine:
    config = w.Config()
    apply_settings(config)
    config.wasm_multi_memory = False
    return w.Engine(config)


def validate(wasm: bytes) -> None:
    """Checks a guest with the proposals that guests may use, and no other: the rewriting relies on it, and what it
    makes is validated once more as it is compiled.

    Raises:
        WasmtimeError: it is not valid.
    """
    w.Module.validate(_strict(), wasm)
