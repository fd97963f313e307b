"""Lines such as `@@activate` at the beginning of an entry's content."""

from __future__ import annotations

from typing import Final

ACTIVATE: Final = "@@activate"
DONT_ACTIVATE: Final = "@@dont_activate"


def split_decorators(content: str) -> tuple[frozenset[str], str]:
    """The decorators that an entry begins with, and what is left of its content.

    A line that begins with `@@` is one. A line that begins with `@@@` stands in for the unknown decorator above it.
    What this profile does not know is left out of the content and does nothing. Content that is nothing but such
    lines stays as it is.
    """
    if not content.startswith("@@"):
        return frozenset(), content
    found: set[str] = set()
    wanting = False
    lines = content.split("\n")
    for at, line in enumerate(lines):
        if not line.startswith("@@"):
            return frozenset(found), "\n".join(lines[at:])
        if line.startswith("@@@"):
            if not wanting:
                continue
            line = line[1:]
        wanting = not line.startswith((ACTIVATE, DONT_ACTIVATE))
        if not wanting:
            found.add(line)
    return frozenset(found), content
