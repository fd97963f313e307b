"""Values that a text of JSON can have and a document cannot: what JSON or 64 bits do not know, and keys that are there
twice."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from innkeeper.knowledge.files.bounds import MOST_DIGITS
from innkeeper.knowledge.files.scanning import Path, Spot

_HALF = re.compile("[\ud800-\udfff]")


def fits(token: str) -> bool:
    return len(token) <= MOST_DIGITS and -(1 << 63) <= int(token) < 1 << 64


def odd_values(found: Iterator[Spot]) -> Iterator[tuple[Spot, str]]:
    for spot in found:
        token = spot.token
        if spot.twice:
            yield spot, "is there twice: keep one of them"
        elif token in ("NaN", "Infinity", "-Infinity"):
            yield spot, f"is {token}, which is no number of JSON"
        elif token and token[-1].isdigit():
            if any(letter in token for letter in ".eE"):
                if not math.isfinite(float(token)):
                    yield spot, "is too large a number"
            elif not fits(token):
                yield spot, "is too large a number: a whole number has at most 64 bits"


def halved(value: Any) -> Path | None:
    """The first text or key that is no Unicode."""
    pending: list[tuple[Path, Any]] = [((), value)]
    while pending:
        path, each = pending.pop()
        if isinstance(each, str):
            if not each.isascii() and _HALF.search(each):
                return path
        elif isinstance(each, list):
            pending += [((*path, number), item) for number, item in enumerate(each)]
        elif isinstance(each, dict):
            for key, item in each.items():
                if not key.isascii() and _HALF.search(key):
                    return path
                pending.append(((*path, key), item))
    return None
