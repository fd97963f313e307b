"""The kinds of plans that there are, and what a plan of each says: written by the engine, read by the child."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from innkeeper.sandbox import kernel
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.sandbox.interface import HostFunction, Value

PLAIN = Plan("plain")
"""A guest that is linked with others."""

KERNEL = Plan("kernel")
"""A kernel of its own."""

_JOINED = "joined"


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
    return Plan(_JOINED, packed)


def wrapped_by(plan: Plan) -> list[tuple[tuple[str, str], kernel.Wrapping]]:
    """Of a plan of `joined_plan`: module and name of each host function that gets a wrapper, and its types.

    Raises:
        ValueError: it is a plan of another kind.
    """
    if plan.kind != _JOINED:
        raise ValueError(f"a plan of the kind {plan.kind!r} is not known")
    return [
        ((namespace, name), ([Value(value) for value in parameters], Value(result) if result else None))
        for namespace, name, parameters, result in msgpack.unpackb(plan.extra)
    ]
