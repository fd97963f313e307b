"""Text as PostgreSQL can keep it: it knows no NUL, which a guest may write all the same.

U+0000 is kept as two characters U+0001, and U+0001 as U+0001 and U+0002. Two texts are equal and ordered as they were.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

_NUL: Final = "\0"
_MARK: Final = "\1"
_OF_NUL: Final = "\1\1"
_OF_MARK: Final = "\1\2"


def escaped(text: str) -> str:
    """The text as it is kept."""
    if _NUL in text or _MARK in text:
        return text.replace(_MARK, _OF_MARK).replace(_NUL, _OF_NUL)
    return text


def unescaped(text: str) -> str:
    """What `escaped` was given. What somebody else wrote there comes back as it stands."""
    if _MARK not in text:
        return text
    # From the left: what stands after a mark is never the beginning of another.
    first, *parts = text.split(_MARK)
    found = [first]
    number = 0
    while number < len(parts):
        part = parts[number]
        if part.startswith("\2"):
            found.append(_MARK + part[1:])
        elif not part and number + 1 < len(parts):
            number += 1
            found.append(_NUL + parts[number])
        else:
            found.append(_MARK + part)
        number += 1
    return "".join(found)


@cache
def adapted() -> Any:
    """What psycopg reads and writes text with (`psycopg.adapt.AdaptersMap`)."""
    import psycopg
    from psycopg.adapt import AdaptersMap
    from psycopg.types.string import StrDumperUnknown, TextLoader

    class Dumper(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(escaped(obj))

    class Loader(TextLoader):
        def load(self, data: Any) -> Any:
            found = super().load(data)
            return unescaped(found) if isinstance(found, str) else found

    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(str, Dumper)
    for name in ("text", "varchar"):
        adapters.register_loader(name, Loader)
    return adapters
