"""A text with macros as a tree, in one pass: what is no macro stays text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from innkeeper.knowledge.macros.context import MOST_DEPTH

_MARK = re.compile(r"\{\{\{[^{}]*+\}\}\}|\\\{\\\{|\\\}\\\}|\{\{|\}\}")
MOST_ARGUMENTS = 1000
"""Of one macro."""

_COLONS = re.compile("::")
_COMMA = re.compile(r"(?<!\\),")
_HEAD = re.compile(r"\s*+(?P<flags>\#|/(?=\s*+//)|/(?!/)|)\s*+(?P<name>//|[A-Za-z_]\w*+(?:-\w++)*+|)(?P<rest>[\s\S]*)")
_SHORTHAND = re.compile(r"\s*+(?P<scope>[.$])\s*+(?P<name>[A-Za-z_]\w*+(?:-\w++)*+)\s*+(?P<rest>[\s\S]*)")


@dataclass(slots=True)
class Macro:
    """What stands between two braces and two braces.

    Attributes:
        parts: texts and macros in it.
        at: where it begins in its text.
        flag: "#", "/" or "".
        name: in lower case, or "".
        arguments: what its name is followed by, cut at "::", each of texts and macros.
        colon: whether one colon alone separates name and argument.
        scope: "." or "$" where it is a variable's short form, else "".
        body: what stands between it and its closing macro; None where it has none.
    """

    parts: list[Node]
    at: int
    flag: str = ""
    name: str = ""
    arguments: list[list[Node]] = field(default_factory=list)
    colon: bool = False
    scope: str = ""
    body: list[Node] | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """Text that stays as it is, such as `{{{a reference}}}` and escaped braces."""

    text: str


Node = str | Raw | Macro


def parse(text: str) -> list[Node]:
    """The tree of a text; linear in its length, and never deeper than `MOST_DEPTH`.

    References such as `{{{Name}}}` are not macros and stay.
    """
    top: list[Node] = []
    levels: list[list[Node]] = [top]
    starts: list[int] = []
    at = 0
    for mark in _MARK.finditer(text):
        if mark.start() > at:
            levels[-1].append(text[at : mark.start()])
        at = mark.end()
        match mark[0]:
            case "{{" if len(levels) <= MOST_DEPTH:
                levels.append([])
                starts.append(mark.start())
            case "}}" if starts:
                parts = levels.pop()
                levels[-1].append(_macro(parts, starts.pop()))
            case "\\{\\{":
                levels[-1].append(Raw("{{"))
            case "\\}\\}":
                levels[-1].append(Raw("}}"))
            case other:
                levels[-1].append(Raw(other))
    if at < len(text):
        levels[-1].append(text[at:])
    while starts:
        # Nobody closed it.
        parts = levels.pop()
        starts.pop()
        levels[-1] += [Raw("{{"), *parts]
    return paired(top)


def paired(nodes: Sequence[Node]) -> list[Node]:
    """Nodes side by side, of which each macro that one of its name closes has what stands between as its body."""
    out: list[Node] = []
    opened: dict[str, list[int]] = {}
    for node in nodes:
        if isinstance(node, Macro) and node.flag == "/":
            places = opened.get(node.name)
            while places and places[-1] >= len(out):
                places.pop()
            if places:
                start = places.pop()
                macro = out[start]
                assert isinstance(macro, Macro)
                macro.body = out[start + 1 :]
                del out[start + 1 :]
                continue
        elif isinstance(node, Macro) and node.name:
            opened.setdefault(node.name, []).append(len(out))
        out.append(node)
    return out


def _macro(parts: list[Node], at: int) -> Macro:
    macro = Macro(parts, at)
    first = parts[0] if parts and isinstance(parts[0], str) else ""
    short = _SHORTHAND.match(first)
    if short is not None:
        macro.scope, macro.name = short["scope"], short["name"]
        macro.arguments = [[short["rest"], *parts[1:]]]
        return macro
    head = _HEAD.match(first)
    if head is None or not head["name"]:
        return macro
    macro.flag, macro.name = head["flags"], head["name"].lower()
    rest = head["rest"]
    if macro.name == "//":
        return macro
    if macro.name == "time_utc" and rest.startswith("+"):
        macro.name += rest.strip()
        return macro
    if rest and not rest[0].isspace() and rest[0] != ":":
        # "{{a.b}}" and the like mean nothing here.
        macro.name = ""
        return macro
    rest = rest.lstrip()
    if rest.startswith("::"):
        rest = rest[2:]
    elif rest.startswith(":"):
        macro.colon, rest = True, rest[1:]
    elif not rest and len(parts) == 1:
        return macro
    macro.arguments = cut([rest, *parts[1:]], "::")
    return macro


def cut(parts: Sequence[Node], separator: str) -> list[list[Node]]:
    """Nodes cut where their own text, not that of nested macros, has a separator ("::", or "," without a backslash)."""
    cutter = _COMMA if separator == "," else _COLONS
    pieces: list[list[Node]] = [[]]
    for part in parts:
        if not isinstance(part, str):
            pieces[-1].append(part)
            continue
        # No macro has so many arguments; the rest stays in the last.
        first, *others = cutter.split(part, max(0, MOST_ARGUMENTS - len(pieces)) or 1)
        if first:
            pieces[-1].append(first)
        pieces += [[other] if other else [] for other in others]
    return pieces
