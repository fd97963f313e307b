"""What becomes of an entry, field by field, as people read it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST_FIELDS: Final = 100
"""Fields that are told of one entry."""

_MOST_LINE: Final = 400
_MOST_LINES: Final = 60
"""Lines that are compared with each other, and lines that are shown. Who wrote them chooses how much work comparing is:
it grows with the third power."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that becomes another.

    Attributes:
        field: with dots, such as "usage_metadata.priority".
        before, after: plain data; None where it is not there.
    """

    field: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Difference]:
    """The fields in which two documents differ, in the order of the new one, at most `MOST_FIELDS`.

    Args:
        before, after: documents of an entry; None: it is not there.
    """
    found: list[Difference] = []
    for each in _differences("", before, after):
        found.append(each)
        if len(found) == MOST_FIELDS:
            break
    return found


def _differences(path: str, before: Any, after: Any) -> Iterator[Difference]:
    # Explicit, since a document may be deep.
    waiting: list[tuple[str, Any, Any]] = [(path, before, after)]
    while waiting:
        path, before, after = waiting.pop()
        if before == after and type(before) is type(after):
            continue
        if isinstance(before, Mapping | None) and isinstance(after, Mapping | None):
            one, other = before or {}, after or {}
            keys = [*other, *(key for key in one if key not in other)]
            parts = [(f"{path}.{key}" if path else str(key), one.get(key), other.get(key)) for key in keys]
            waiting += reversed(parts)
            if parts or not path:
                continue
        yield Difference(path, before, after)


def lines_of_difference(each: Difference) -> list[str]:
    """A difference as lines: "- " before what goes, "+ " before what comes, "  " before what stays around it."""
    before, after = _text(each.before), _text(each.after)
    longest = max(before.count("\n"), after.count("\n"))
    if each.before is None or each.after is None or not 0 < longest < _MOST_LINES:
        lines = [] if each.before is None else [f"- {line}" for line in before.split("\n")]
        lines += [] if each.after is None else [f"+ {line}" for line in after.split("\n")]
    else:
        found = difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=1)
        lines = [line[:1] + " " + line[1:] for line in list(found)[2:] if not line.startswith("@@")]
    shown = [line if len(line) <= _MOST_LINE else f"{line[:_MOST_LINE]} ..." for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(f"  and {len(lines) - _MOST_LINES:,} more lines (--json has all)")
    return shown


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
