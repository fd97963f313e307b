"""The service `log`: lines with fields, in the log of the present call."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.logfmt import as_line
from innkeeper.bridge.operation import operation
from innkeeper.bridge.scan import DataBounds
from innkeeper.sandbox.limits import KIB
from innkeeper.sandbox.present import present_call

_MOST = DataBounds(size=16 * KIB, depth=8, elements=256)
"""Of a line with its fields: more than any line keeps, and so little that writing it down takes under a millisecond."""


class LogService:
    """Writes lines. What it answers depends on what it is given alone, also where a line is dropped: a guest cannot
    tell how much of its log anybody keeps."""

    @operation("log", bounds=_MOST)
    async def write(
        self,
        caller: Caller,
        *,
        message: Annotated[str, Field(max_length=_MOST.size)],
        level: Literal["trace", "debug", "info", "warn", "error"] = "info",
        fields: dict[str, Any] | None = None,
    ) -> None:
        """Writes a line to the plugin's log. Control characters are shown as escapes; beyond the limits `log` and
        `log_line` it is cut or dropped.

        Args:
            message: what happened.
            level: how important it is.
            fields: what goes with it, by name: plain data, written as name=value in the order of the names. All
                arguments together have at most 16 KiB and 256 elements.

        Returns:
            nil, always.
        """
        call = present_call()
        if call is None:
            return
        if call.log_room():
            call.log(level, as_line(message, fields or {}).encode())
        else:
            call.usage.log_dropped += len(message.encode())
