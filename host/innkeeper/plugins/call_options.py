"""What a caller asks for, checked against the version that is called."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.errors import UsageError
from innkeeper.plugins.generation import Generation
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.tables import nearest, shown, visible
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.limits import Limits

_COMPARED = 100
"""Functions among which the one that was meant is looked for: it takes some 20 us each, and there may be 100,000."""


def call_options(
    present: Generation,
    ceiling: Limits,
    function: str,
    limits: Limits | None,
    config: Mapping[str, str] | None,
    manifest: Manifest | None,
) -> CallOptions:
    """The options of a call; `Plugin.call` has the arguments.

    Args:
        present: the version that is called.
        ceiling: the most that a caller may raise a limit to.

    Raises:
        UsageError: the call cannot be had.
    """
    if present.over is not None:
        raise UsageError(present.over)
    if function.__class__ is not str or function not in present.callable:
        raise UsageError(_not_callable(present, function))
    if manifest is not None and manifest is not present.manifest and not _same(manifest, present, function):
        raise UsageError(
            f"the plugin changed since the call was made ready, and {function!r} is not what it was; make it ready "
            "again: a workflow is to be started again"
        )
    if limits is None and config is None:
        return present.options
    allowed = present.limits if limits is None else limits.within(ceiling)
    asked = present.config if config is None else present.config | checked(config)
    return CallOptions(allowed, asked, present.id, rights=present.options.rights)


def checked(config: Mapping[str, str]) -> dict[str, str]:
    """A configuration that a guest can read.

    Raises:
        UsageError: a key or a value is not text, or cannot be written as UTF-8.
    """
    for key, value in config.items():
        for what, text in (("a key", key), (f"the value of {shown(key)}", value)):
            if not isinstance(text, str):
                raise UsageError(f"{what} in the configuration must be text, not {type(text).__name__}")
            try:
                text.encode()
            except UnicodeEncodeError:
                raise UsageError(f"{what} in the configuration has half of a surrogate pair") from None
    return dict(config)


def _not_callable(present: Generation, function: object) -> str:
    if function in present.functions:
        return "only functions without parameters that return nothing or an i32 can be called"
    hint = nearest(function, present.functions[:_COMPARED]) if isinstance(function, str) else ""
    exported = ", ".join(visible(name, 60) for name in present.functions[:10]) or "none"
    more = f" and {len(present.functions) - 10} more" if len(present.functions) > 10 else ""
    return f"the plugin exports no function {shown(function)}{hint or f'; it exports: {exported}{more}'}"


def _same(manifest: Manifest, present: Generation, function: str) -> bool:
    """Whether a function's input means the same by another manifest."""
    now = present.manifest
    return (
        now is not None
        and now.codec == manifest.codec
        and [node for node in now.nodes if node.function == function]
        == [node for node in manifest.nodes if node.function == function]
    )
