"""Looking at a text of JSON without building anything of it: how much is in it, and where something stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from innkeeper.knowledge.files.bounds import MOST_CONTAINERS, MOST_VALUES
from innkeeper.knowledge.model.bounds import MOST_DEPTH
from innkeeper.knowledge.model.problems import Problem

# Possessive, so that no text can make them try anything twice. A piece ends between tokens: other threads get their
# turn after each, whatever the size of the file.
_PIECE = re.compile(rb'(?:[^"]{1,65536}+|"[^"\\]*+(?:\\.[^"\\]*+)*+"){1,1000}+', re.DOTALL)
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TOKEN = re.compile(r'[ \t\n\r]*+(?:("[^"\\]*+(?:\\.[^"\\]*+)*+")|([\[\]{}:,])|([^ \t\n\r\[\]{}:,"]++))', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class Lines:
    """Which line a place in a text is on. Quick where the places that are asked for follow each other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def line(self, at: int) -> int:
        """The line (int, from 1) of the character at `at`."""
        if at >= self._at:
            self._line += self._text.count("\n", self._at, at)
        else:
            self._line -= self._text.count("\n", at, self._at)
        self._at = at
        return self._line

    def column(self, at: int) -> int:
        """The column (int, from 1) of the character at `at`."""
        return at - self._text.rfind("\n", 0, at)


def too_much(data: bytes) -> Problem | None:
    """What makes a text of JSON too much to build: its depth, its objects and arrays, or its values in all.

    Up to its first error, if it has one, nothing is missed: inside of strings nothing counts, and what a string is
    hangs on quotes and backslashes alone.
    """
    depth = at = values = containers = 0
    # Where it ends before the text does, a string has no end, and there the decoder will stop as well.
    while (found := _PIECE.match(data, at)) is not None:
        bare = _STRING.sub(b"", found[0])
        brackets = bare.translate(None, _ALL_BUT_BRACKETS)
        opening = brackets.count(b"[") + brackets.count(b"{")
        containers += opening
        values += opening + bare.count(b",")
        if containers > MOST_CONTAINERS or values > MOST_VALUES:
            most = f"{MOST_VALUES:,} values" if values > MOST_VALUES else f"{MOST_CONTAINERS:,} objects and arrays"
            return Problem("", f"has more than {most}; split it", line=_line(data, at))
        if max(accumulate(map(_STEP.__getitem__, brackets), initial=depth)) > MOST_DEPTH:
            sentence = f"has more than {MOST_DEPTH} objects and arrays inside of each other"
            return Problem("", sentence, line=_line(data, _deep(data, at, depth)))
        depth += 2 * opening - len(brackets)
        at = found.end()
    return None


def _deep(data: bytes, at: int, depth: int) -> int:
    """Where a piece becomes too deep."""
    end = len(data)
    while at < end:
        byte = data[at]
        if byte == 0x22:
            found = _STRING.match(data, at)
            if found is None:
                return at
            at = found.end()
            continue
        depth += _STEP.get(byte, 0)
        if depth > MOST_DEPTH:
            return at
        at += 1
    return at


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


Path = tuple[str | int, ...]
"""Keys and positions from the value that a walk began with."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A value or a key.

    Attributes:
        path: to it.
        at: where it begins in the text.
        token: how it is written, where it is neither text, object nor array; else "".
        twice: whether it is a key that its object has already.
    """

    path: Path
    at: int
    token: str = ""
    twice: bool = False


def spots(text: str, at: int, end: int) -> Iterator[Spot]:
    """The values of a document in the order of the text, and the keys that are there twice.

    Args:
        text: which a decoder has taken for one value of JSON from `at` to `end`; what follows may be anything.
        at, end: where the value begins, and what is behind it.
    """
    path: list[str | int] = []
    # The keys of each object that is open; None for an array.
    open_: list[set[str] | None] = []
    key_next = False
    while (found := _TOKEN.match(text, at, end)) is not None:
        group = found.lastindex or 0
        start, at = found.start(group), found.end()
        mark = found[2]
        if mark in ("}", "]"):
            path.pop()
            open_.pop()
            key_next = False
        elif mark == ",":
            here = path[-1]
            if isinstance(here, int):
                path[-1] = here + 1
            key_next = open_[-1] is not None
            continue
        elif mark == ":":
            continue
        elif key_next and (keys := open_[-1]) is not None:
            key = json.loads(found[1])
            path[-1] = key
            key_next = False
            if key in keys:
                yield Spot(tuple(path), start, twice=True)
            keys.add(key)
            continue
        else:
            yield Spot(tuple(path), start, found[3] or "")
            if mark == "{":
                path.append("")
                open_.append(set())
                key_next = True
            elif mark == "[":
                path.append(0)
                open_.append(None)
        if not open_:
            return


def places(text: str, at: int, end: int, wanted: Sequence[Path]) -> list[int]:
    """Where values stand, or the nearest of what they are in (list of int, one for each that is wanted).

    Args:
        text, at, end: as of `spots`.
        wanted: paths from the value at `at`; they may go on where the document does not.
    """
    prefixes = {path[:length] for path in wanted for length in range(len(path) + 1)}
    known = {spot.path: spot.at for spot in spots(text, at, end) if spot.path in prefixes}
    return [
        next(known[path[:length]] for length in range(len(path), -1, -1) if path[:length] in known) for path in wanted
    ]
