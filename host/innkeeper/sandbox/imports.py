"""What a plugin's modules may import before they are looked at: the Extism ABI, WASI, host functions."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence

from innkeeper.errors import RejectedError, UsageError
from innkeeper.sandbox import kernel
from innkeeper.sandbox.box import MAX_MODULES
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.module_info import Signature
from innkeeper.sandbox.wasi import FUNCTIONS as WASI_FUNCTIONS
from innkeeper.sandbox.wasi import WASI_MODULE

_OF_THE_HOST = frozenset({kernel.ENV, kernel.INNER, WASI_MODULE})

_ALWAYS: dict[tuple[str, str], Signature] = {
    **{(kernel.ENV, name): signature for name, signature in kernel.SIGNATURES.items()},
    **{
        (WASI_MODULE, name): (
            tuple(value.value for value in known.parameters),
            (known.result.value,) if known.result else (),
        )
        for name, known in WASI_FUNCTIONS.items()
    },
}
"""The ABI's own functions and WASI's."""


def available_imports(
    functions: Sequence[HostFunction], modules: Collection[str], plugin: str | None
) -> dict[tuple[str, str], Signature]:
    """The functions that the host offers, by module and name, as `admission.resolve` wants them.

    Args:
        functions: host functions of the plugin.
        modules: names of the modules that are linked with it.
        plugin: its id, for messages.

    Raises:
        RejectedError: too many modules, or a module or a host function has a name that is the host's and no other
            may have (`kernel.REPLACEABLE`).
        UsageError: a host function is given twice, is both quick and async, or is not of the type that the ABI
            gives it.
    """
    if len(modules) >= MAX_MODULES:
        raise RejectedError(
            f"{len(modules) + 1} modules are linked together; at most {MAX_MODULES} can be", plugin=plugin
        )
    if reserved := _OF_THE_HOST.intersection(modules):
        raise RejectedError(f"a module may not be named {min(reserved)!r}: that is the host's", plugin=plugin)
    given: dict[tuple[str, str], Signature] = {}
    for function in functions:
        key = function.namespace, function.name
        replaces = function.namespace == kernel.ENV and function.name in kernel.REPLACEABLE
        if replaces and kernel.guest_signature(function) != _ALWAYS[key]:
            raise UsageError(
                f"the host function {function.name!r} must have the type that it has in {kernel.ENV!r}", plugin=plugin
            )
        if function.namespace in _OF_THE_HOST and not replaces:
            raise RejectedError(f"a host function may not be in the namespace {function.namespace!r}", plugin=plugin)
        if function.quick and inspect.iscoroutinefunction(function.handler):
            raise UsageError(
                f"the host function {function.name!r} is quick and async at once; leave 'quick' out, or make it a "
                "plain function",
                plugin=plugin,
            )
        if key in given:
            raise UsageError(
                f"the host function {function.namespace!r} {function.name!r} is given twice; "
                "give one of them another name",
                plugin=plugin,
            )
        given[key] = kernel.guest_signature(function)
    return _ALWAYS | given
