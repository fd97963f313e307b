"""What a child makes of one module. Pure: the same bytes, plan and settings give code of the same meaning."""

from __future__ import annotations

from functools import cache

import wasmtime as w

from innkeeper.sandbox import admission, growth, kernel, merge
from innkeeper.sandbox.compilation.kinds import KERNEL, PLAIN, wrapped_by
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.sandbox.compilation.settings import apply_settings, new_engine
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
    if plan.kind == KERNEL.kind:
        return bytes(w.Module(child_engine(), wasm).serialize())
    # The host has looked at the size.
    info = admission.admit(wasm, plugin=None, size_limit=len(wasm))
    validate(wasm)
    return bytes(w.Module(child_engine(), rewrite(wasm, info, plan)).serialize())


def rewrite(wasm: bytes, info: ModuleInfo, plan: Plan) -> bytes:
    """The module that is compiled in place of the author's.

    Args:
        wasm: a valid module.
        info: what it says of itself.
        plan: `PLAIN` or one of `joined_plan`.
    """
    watched = growth.instrument(wasm, info)
    if plan.kind == PLAIN.kind:
        return watched
    provided = {(kernel.ENV, name): name for name in kernel.SIGNATURES}
    signatures: list[kernel.Wrapping] = []
    for position, (imported, signature) in enumerate(wrapped_by(plan)):
        provided[imported] = kernel.wrapper_name(position)
        signatures.append(signature)
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
