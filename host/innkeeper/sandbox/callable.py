"""Which of a plugin's functions can be called, and what is said of the others."""

from __future__ import annotations

from innkeeper.errors import UsageError
from innkeeper.sandbox.admission import shown, signature_text
from innkeeper.sandbox.module_info import ModuleInfo

CALLABLE = (((), ()), ((), ("i32",)))
"""Signatures that a call can have."""

_LISTED = 10
"""Functions that a message names."""


def check_callable(info: ModuleInfo, function: str, plugin: str | None) -> int:
    """The number of results (int, 0 or 1) of an exported function that can be called.

    Args:
        info: what the plugin's own module says of itself.
        function: name of the export.
        plugin: its id, for messages.

    Raises:
        UsageError: there is none of this name, or it wants parameters or gives another result.
    """
    export = info.exports.get(function)
    if export is None or export.signature is None:
        names = sorted(e.name for e in info.exports.values() if e.signature is not None and not e.name.startswith("_"))
        known = ", ".join(shown(name) for name in names[:_LISTED]) or "none"
        raise UsageError(f"it exports no such function; it exports: {known}", plugin=plugin, function=function)
    if export.signature not in CALLABLE:
        raise UsageError(
            "only functions without parameters that return nothing or an i32 can be called; this one is "
            + signature_text(export.signature),
            plugin=plugin,
            function=function,
        )
    return len(export.signature[1])
