"""How somebody wants a run to be queued, as the `metadata` of a workflow says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from innkeeper.server.answers import AnswerError
from innkeeper.storage.names import check_name
from innkeeper.storage.run_model import MOST_PRIORITY, AfterCrash

MOST_DEADLINE: Final = 30 * 86400.0
"""Seconds that a deadline may lie ahead: as long as runs are kept."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a run is to be queued.

    Attributes:
        priority: larger goes first among the runs of one user; -1,000 to 1,000.
        lasting: seconds from now within which it must have ended, or None.
        after_crash: what is done where its host ended.
        name: what it is called; may be empty.
        project: id of the project whose workflows it may use, or None.
    """

    priority: int = 0
    lasting: float | None = None
    after_crash: AfterCrash = "interrupt"
    name: str = ""
    project: str | None = None


def wishes_of(metadata: Mapping[str, Any] | None) -> Wishes:
    """What metadata says: `priority`, `deadline` (seconds from now), `afterCrash`, `name` (else `workflowName`) and
    `projectId`. Other fields are the client's own.

    Raises:
        AnswerError: 422: one of them cannot be.
    """
    if metadata is None:
        return Wishes()
    priority = metadata.get("priority")
    if priority is None:
        priority = 0
    elif isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > MOST_PRIORITY:
        raise _wrong("priority", f"is a whole number between -{MOST_PRIORITY:,} and {MOST_PRIORITY:,}")
    lasting = metadata.get("deadline")
    if lasting is not None:
        number = isinstance(lasting, int | float) and not isinstance(lasting, bool) and math.isfinite(lasting)
        if not number or not 0 < lasting <= MOST_DEADLINE:
            raise _wrong("deadline", f"is seconds from now, more than 0 and at most {MOST_DEADLINE:,.0f}")
    after_crash = metadata.get("afterCrash")
    if after_crash not in (None, "interrupt", "again"):
        raise _wrong("afterCrash", 'is "interrupt" or "again"')
    return Wishes(
        priority,
        None if lasting is None else float(lasting),
        after_crash or "interrupt",
        _name(metadata, "name") or _clients_name(metadata),
        _name(metadata, "projectId"),
    )


def _clients_name(metadata: Mapping[str, Any]) -> str:
    """What an editor calls the workflow; what can be no name of a run is nobody's mistake."""
    text = metadata.get("workflowName")
    try:
        check_name(text if isinstance(text, str) else "", "name")
    except ValueError:
        return ""
    return str(text)


def _name(metadata: Mapping[str, Any], key: str) -> str | None:
    text = metadata.get(key)
    if text is None:
        return None
    if not isinstance(text, str):
        raise _wrong(key, "is text")
    try:
        check_name(text, key, empty=key == "name")
    except ValueError as error:
        raise AnswerError(422, f"metadata.{key}: {error}") from None
    return text


def _wrong(key: str, right: str) -> AnswerError:
    return AnswerError(422, f"metadata.{key} {right}")
