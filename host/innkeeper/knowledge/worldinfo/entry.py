"""An entry of a world book, as SillyTavern reads it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any, Final

from innkeeper.knowledge.worldinfo.decorators import split_decorators
from innkeeper.knowledge.worldinfo.javascript import SPACES


class Logic(IntEnum):
    """How secondary keys count (`selectiveLogic`)."""

    AND_ANY = 0
    NOT_ALL = 1
    NOT_ANY = 2
    AND_ALL = 3


class Position(IntEnum):
    """Where an entry goes (`position`). Any other number is no place: the entry is active and inserted nowhere."""

    BEFORE = 0
    AFTER = 1
    NOTE_TOP = 2
    NOTE_BOTTOM = 3
    DEPTH = 4
    EXAMPLES_TOP = 5
    EXAMPLES_BOTTOM = 6
    OUTLET = 7


MOST_GROUPS: Final = 100
"""Inclusion groups of an entry; what it names beyond is none."""

TEXTS: Final = {
    "matchPersonaDescription": "persona_description",
    "matchCharacterDescription": "character_description",
    "matchCharacterPersonality": "character_personality",
    "matchCharacterDepthPrompt": "character_depth_prompt",
    "matchScenario": "scenario",
    "matchCreatorNotes": "creator_notes",
}
"""Fields that let an entry look at a further text, and what the text is called, in the order in which they are read."""


@dataclass(eq=False)
class WorldEntry:
    """An entry; two with equal fields are two entries. Never changed.

    Attributes:
        raw: as the book has it.
        world: name of its book.
        uid: in its book.
        name: its memo.
        keys, secondary: as they are written.
        content: without decorators.
        decorators: lines that it began with and that are known.
        depth, role: where it goes at `Position.DEPTH`.
        level: of recursion from which on it can be active; 0: at once.
        groups: names of its inclusion groups; one that is written twice is there twice.
        group: the same as one text, as it is written.
        scan_depth, case_sensitive, whole_words, group_scoring: None: as the settings say.
        sticky, cooldown, delay: in messages; 0: none.
        texts: names of further texts that it looks at.
        triggers: kinds of generation that it is for; empty: all.
        names, tags: of characters that it is for, or, where `excludes`, that it is not for; empty: all.
        key: names it among all books.
    """

    raw: Mapping[str, Any]
    world: str
    uid: int | str
    name: str = ""
    keys: tuple[str, ...] = ()
    secondary: tuple[str, ...] = ()
    content: str = ""
    decorators: frozenset[str] = frozenset()
    constant: bool = False
    selective: bool = True
    logic: int = Logic.AND_ANY
    order: float = 100
    position: int = Position.BEFORE
    depth: int = 4
    role: int = 0
    outlet: str = ""
    disabled: bool = False
    ignores_budget: bool = False
    excludes_recursion: bool = False
    prevents_recursion: bool = False
    level: int = 0
    probability: float = 100
    uses_probability: bool = True
    groups: tuple[str, ...] = ()
    group: str = ""
    group_override: bool = False
    group_weight: float = 100
    group_scoring: bool | None = None
    scan_depth: int | None = None
    case_sensitive: bool | None = None
    whole_words: bool | None = None
    sticky: int = 0
    cooldown: int = 0
    delay: int = 0
    texts: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    excludes: bool = False
    key: tuple[str, int | str] = field(init=False)

    def __post_init__(self) -> None:
        self.key = (self.world, self.uid)

    @cached_property
    def digest(self) -> str:
        """Of all that it says: one that was edited is another."""
        data = json.dumps(self.raw, sort_keys=True, ensure_ascii=True, default=str)
        return hashlib.sha256(f"{self.world}\n{data}".encode()).hexdigest()[:32]


def read_world_entry(raw: Mapping[str, Any], world: str | None = None) -> WorldEntry:
    """Reads an entry. Whatever is missing, null or of a wrong type is as the default has it; nothing is an error.

    Args:
        raw: the object of the book; not changed, and kept.
        world: name of its book; None: its own field `world`.
    """
    decorators, content = split_decorators(_text(raw, "content"))
    group = _text(raw, "group")
    filtered = raw.get("characterFilter")
    wanted = filtered if isinstance(filtered, Mapping) else {}
    uid = raw.get("uid")
    return WorldEntry(
        raw=raw,
        world=_text(raw, "world") if world is None else world,
        uid=uid if isinstance(uid, str | int) else 0,
        name=_text(raw, "comment"),
        keys=_texts(raw.get("key")),
        secondary=_texts(raw.get("keysecondary")),
        content=content,
        decorators=decorators,
        constant=bool(raw.get("constant", False)),
        selective=bool(raw.get("selective", True)),
        logic=int(_number(raw, "selectiveLogic", 0)),
        order=_number(raw, "order", 100),
        position=int(_number(raw, "position", 0)),
        depth=int(_number(raw, "depth", 4)),
        role=int(_number(raw, "role", 0)),
        outlet=_text(raw, "outletName"),
        disabled=bool(raw.get("disable", False)),
        ignores_budget=bool(raw.get("ignoreBudget", False)),
        excludes_recursion=bool(raw.get("excludeRecursion", False)),
        prevents_recursion=bool(raw.get("preventRecursion", False)),
        level=_level(raw.get("delayUntilRecursion")),
        probability=_number(raw, "probability", 100),
        uses_probability=bool(raw.get("useProbability", True)),
        groups=tuple(filter(None, _COMMA.split(group, MOST_GROUPS)[:MOST_GROUPS])),
        group=group,
        group_override=bool(raw.get("groupOverride", False)),
        group_weight=_number(raw, "groupWeight", 100),
        group_scoring=_maybe(raw.get("useGroupScoring")),
        scan_depth=_depth(raw.get("scanDepth")),
        case_sensitive=_maybe(raw.get("caseSensitive")),
        whole_words=_maybe(raw.get("matchWholeWords")),
        sticky=_count(raw.get("sticky")),
        cooldown=_count(raw.get("cooldown")),
        delay=_count(raw.get("delay")),
        texts=tuple(name for flag, name in TEXTS.items() if raw.get(flag)),
        triggers=_texts(raw.get("triggers")),
        names=_texts(wanted.get("names")),
        tags=_texts(wanted.get("tags")),
        excludes=bool(wanted.get("isExclude", False)),
    )


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(each for each in value if isinstance(each, str))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST


def _number(raw: Mapping[str, Any], name: str, default: float) -> float:
    value: Any = raw.get(name)
    return float(value) if _is_number(value) else default


def _count(value: Any) -> int:
    return max(0, int(value)) if _is_number(value) else 0


def _depth(value: Any) -> int | None:
    return int(value) if _is_number(value) else None


def _level(value: Any) -> int:
    return 1 if value is True else _count(value)


def _maybe(value: Any) -> bool | None:
    return None if value is None else bool(value)


_COMMA = re.compile(f",[{SPACES}]*")

_MOST = 1e15
"""Beyond it an order or a weight is no number that JavaScript would count with exactly."""
