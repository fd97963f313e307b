"""The decorators of character cards V3: lines `@@name value` at the head of an entry's text.

A decorator that is unknown here, or whose value is none, is passed over for the `@@@fallback` lines that follow it.
All such lines are taken out of the text. Of two of the same name the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

MOST_LINES: Final = 100
"""Lines of decorators that are read; further ones stay text."""

_LINE = re.compile(r"(@@@?)([A-Za-z_]{1,64})(?:[ \t]+([^\n]{0,10000}))?[ \t]*(?:\r?\n|\Z)")


@dataclass(frozen=True, slots=True)
class Decorators:
    """What the decorators of one entry say; None, False and empty where they say nothing.

    Attributes:
        activate: it is active in any case.
        dont_activate: it is active in no case, unless `activate`.
        activate_only_after: so many messages of the assistant must be there.
        activate_only_every: only when the number of the assistant's messages is a multiple of it.
        keep_activate_after_match: once active, it stays so for the session.
        dont_activate_after_match: once active, it is not again in the session.
        depth, reverse_depth: before how manieth message from the end, or from the beginning, it stands.
        role: whose words it is.
        scan_depth: how many of the newest messages are looked at.
        position: the block that it goes to.
        is_greeting: the number of the greeting that it is for, from 0.
        ignore_on_max_context: it is the first to go where the budget is short.
        additional_keys: one of them must occur, too.
        exclude_keys: none of them may.
    """

    activate: bool = False
    dont_activate: bool = False
    activate_only_after: int | None = None
    activate_only_every: int | None = None
    keep_activate_after_match: bool = False
    dont_activate_after_match: bool = False
    depth: int | None = None
    reverse_depth: int | None = None
    role: str | None = None
    scan_depth: int | None = None
    position: str | None = None
    is_greeting: int | None = None
    ignore_on_max_context: bool = False
    additional_keys: tuple[str, ...] = ()
    exclude_keys: tuple[str, ...] = ()


def _number(value: str) -> int | None:
    return min(int(value), 1_000_000) if re.fullmatch(r"[0-9]{1,9}", value) else None


def _positive(value: str) -> int | None:
    return _number(value) or None


def _flag(value: str) -> bool | None:
    return {"": True, "true": True, "false": False}.get(value.lower())


def _keys(value: str) -> tuple[str, ...] | None:
    found = tuple(key.strip() for key in value.split(",") if key.strip())
    return found[:1000] or None


def _role(value: str) -> str | None:
    return value if value in ("system", "user", "assistant") else None


def _position(value: str) -> str | None:
    return value if value in ("after_desc", "before_desc", "personality", "scenario") else None


_KNOWN: dict[str, Callable[[str], Any]] = {
    "activate": _flag,
    "dont_activate": _flag,
    "activate_only_after": _number,
    "activate_only_every": _positive,
    "keep_activate_after_match": _flag,
    "dont_activate_after_match": _flag,
    "depth": _number,
    "reverse_depth": _number,
    "role": _role,
    "scan_depth": _number,
    "position": _position,
    "is_greeting": _number,
    "ignore_on_max_context": _flag,
    "additional_keys": _keys,
    "exclude_keys": _keys,
}

NONE: Final = Decorators()


def split_decorators(text: str) -> tuple[Decorators, str]:
    """The decorators at the head of a text, and the text without them."""
    if not text.lstrip().startswith("@@"):
        return NONE, text
    at = len(text) - len(text.lstrip())
    found: dict[str, Any] = {}
    settled = True  # A fallback without a decorator before it is one of nothing.
    for _ in range(MOST_LINES):
        line = _LINE.match(text, at)
        if line is None:
            break
        at = line.end()
        sign, name, value = line[1], line[2], (line[3] or "").strip()
        if sign == "@@" or not settled:
            read = _KNOWN[name](value) if name in _KNOWN else None
            settled = read is not None
            if settled:
                found.setdefault(name, read)
    return Decorators(**found), text[at:].lstrip("\r\n")
