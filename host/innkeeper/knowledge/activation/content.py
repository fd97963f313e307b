"""The text of an entry, cut once into what stands as it is, references to other entries, and variables.

    {{{Name}}}, {{{id=ENTRY}}}         entries of this base by name or id; {{{this:Name}}} is the same
    {{{Parent/Child}}}                 a child of an entry; a segment can be id=ENTRY, too
    {{{tag:dragons}}}                  all entries with a tag
    {{{BASE:Name}}}, {{{BASE:tag:x}}}  of another base, by its id or its name
    {{variable}}                       a variable's value

"/", ":" and a backslash in a name are written with a backslash before them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MOST_KEY: Final = 500
"""Characters between the braces; what is longer is text."""

_BRACES = re.compile(r"\{\{\{([^{}\n]{1,500})\}\}\}|\{\{([^{}\n]{1,500})\}\}")
_ESCAPED = re.compile(r"\\([/:\\])")
_PARTS = re.compile(r"((?:[^/\\]|\\.)*)(?:/|\Z)", re.DOTALL)
_PREFIX = re.compile(r"((?:[^:/\\]|\\.)+):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to entries.

    Attributes:
        written: between the braces.
        base: what stands before the colon, or "" for the own base.
        tag: of the entries that are meant, or "".
        path: names and ids of the entries that are meant, each inside of the one before it: ("id" or "name", text).
        whole: all of it as a name, for names with a colon where no base is called so; "" where `base` is "".
    """

    written: str
    base: str = ""
    tag: str = ""
    path: tuple[tuple[str, str], ...] = ()
    whole: str = ""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A variable's place.

    Attributes:
        written: with its braces.
        name: of the variable.
    """

    written: str
    name: str


Piece = str | Reference | Placeholder


def cut(text: str) -> tuple[Piece, ...]:
    """A text in pieces; linear in its length."""
    if "{{" not in text:
        return (text,) if text else ()
    pieces: list[Piece] = []
    at = 0
    for found in _BRACES.finditer(text):
        if found.start() > at:
            pieces.append(text[at : found.start()])
        if found[1] is not None:
            pieces.append(read_reference(found[1]))
        else:
            pieces.append(Placeholder(found[0], found[2].strip()))
        at = found.end()
    if at < len(text):
        pieces.append(text[at:])
    return tuple(pieces)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text.strip())


def _path(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for part in _PARTS.finditer(text):
        segment = part[1].strip()
        if segment.startswith("id="):
            found.append(("id", segment[3:].strip()))
        elif segment:
            found.append(("name", _unescaped(segment)))
    return tuple(found)


def read_reference(written: str) -> Reference:
    """What stands between three braces."""
    rest, base, whole = written.strip(), "", ""
    if rest.startswith("this:"):
        rest = rest[5:]
    elif not rest.startswith(("tag:", "id=")) and (split := _PREFIX.fullmatch(rest)):
        base, whole, rest = _unescaped(split[1]), _unescaped(rest), split[2].strip()
    if rest.startswith("tag:"):
        return Reference(written, base, tag=rest[4:].strip(), whole=whole)
    return Reference(written, base, path=_path(rest), whole=whole)
