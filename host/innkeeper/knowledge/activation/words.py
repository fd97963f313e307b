"""Whether the words of an entry are met, and a sentence on why or why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from innkeeper.knowledge.activation.compiled import CompiledEntry, Group, Key
from innkeeper.knowledge.activation.macros import Macros
from innkeeper.knowledge.activation.questions import Asked, RegexTest
from innkeeper.knowledge.activation.scene import Scene
from innkeeper.knowledge.regexes.interface import Verdict

_SAID = 5


@dataclass(frozen=True, slots=True)
class Words:
    """What came of an entry's words.

    Attributes:
        met: whether they are.
        near: whether something of what it needs occurs.
        reason: why, or why not.
        score: how many of its keys occur.
    """

    met: bool
    near: bool
    reason: str
    score: int = 0


class Reader:
    """Looks for the words of entries in a scene."""

    def __init__(self, scene: Scene, macros: Macros, asked: Asked) -> None:
        self._scene = scene
        self._macros = macros
        self._asked = asked

    def words(self, base: int, entry: CompiledEntry) -> Words:
        """Whether the words of an entry are met; means nothing while `Asked.open` has regular expressions."""
        if not entry.asks_words:
            return Words(False, False, "it has no keywords that could be met")
        places = [(key, self._place(base, entry, key)) for key in entry.keywords]
        met = [(key, place) for key, place in places if place]
        groups = [(group, [self._place(base, entry, key) for key in group.keys]) for group in entry.groups]
        failing = [sentence for group, found in groups if (sentence := self._failing(entry, group, found))]
        score = len(met) + sum(_score(group, found) for group, found in groups)
        if entry.keywords and not met:
            return Words(False, False, self._missing(entry), score)
        if failing:
            return Words(False, True, failing[0], score)
        parts = []
        if met:
            key, place = met[0]
            parts.append(f"{'' if key.regex is not None else 'keyword '}{_quoted(key)} {place}")
        parts += [_holding(group, found) for group, found in groups if group.logic in ("AND", "OR") and group.keys]
        return Words(True, True, ", ".join(parts), score)

    def _place(self, base: int, entry: CompiledEntry, key: Key) -> str:
        """Where a key occurs, as a part of a sentence, or ""."""
        if key.regex is not None:
            return self._regex_place(entry, key)
        pattern = self._macros.pattern(key, entry) if key.macro else key.pattern
        found = self._scene.where(base, entry, pattern) if pattern is not None else None
        return found.place if found is not None else ""

    def _regex_place(self, entry: CompiledEntry, key: Key) -> str:
        regex = self._macros.regex(key, entry)
        if regex is None:
            return ""
        place = ""
        for view in self._scene.views(entry):
            test = RegexTest(regex, view)
            if self._asked.regex(test):
                place = place or "matches " + self._scene.looked_at(entry).removeprefix("in ")
            verdict = self._asked.verdicts.get(test)
            if verdict is Verdict.INVALID:
                self._asked.note(f"{_quoted(key)} of the entry {entry.entry.name!r} does not compile")
            elif verdict is Verdict.TIMEOUT:
                self._asked.note(
                    f"{_quoted(key)} of the entry {entry.entry.name!r} took too long and counts as not met"
                )
        return place

    def _missing(self, entry: CompiledEntry) -> str:
        keys = entry.keywords
        if len(keys) == 1:
            verb = "matches nothing" if keys[0].regex is not None else "is not"
            kind = "" if keys[0].regex is not None else "keyword "
            return f"its {kind}{_quoted(keys[0])} {verb} {self._scene.looked_at(entry)}"
        more = f" and {len(keys) - _SAID} more" if len(keys) > _SAID else ""
        return f"none of its keywords {_list(keys, ', ')}{more} is {self._scene.looked_at(entry)}"

    def _failing(self, entry: CompiledEntry, group: Group, places: Sequence[str]) -> str:
        """Why a group does not hold, or "" where it does."""
        name, seen = f" (group {group.name})" if group.name else "", self._scene.looked_at(entry)
        if not group.keys:
            return ""
        if group.logic == "OR" and not any(places):
            neither = "it is not" if len(places) == 1 else "neither is" if len(places) == 2 else "none is"
            return f"needs {_list(group.keys, ' or ')}{name}, {neither} {seen}"
        if group.logic == "AND" and not all(places):
            missing = group.keys[[bool(place) for place in places].index(False)]
            return f"needs {_list(group.keys, ' and ')}{name}, {_quoted(missing)} is not {seen}"
        if group.logic == "NOT_ANY" and any(places):
            at = [bool(place) for place in places].index(True)
            return f"must not have {_list(group.keys, ' or ')}{name}, but {_quoted(group.keys[at])} is {places[at]}"
        if group.logic == "NOT_ALL" and all(places):
            return f"must not have all of {_list(group.keys, ' and ')}{name}, but each occurs"
        return ""


def _score(group: Group, places: Sequence[str]) -> int:
    """What a group adds to an entry's score: what it asks for and occurs."""
    if group.logic == "OR":
        return sum(map(bool, places))
    return len(places) if group.logic == "AND" and all(places) else 0


def _holding(group: Group, places: Sequence[str]) -> str:
    name = f" (group {group.name})" if group.name else ""
    if group.logic == "AND":
        return f"{_list(group.keys, ' and ')}{name}"
    at = [bool(place) for place in places].index(True)
    return f"{_quoted(group.keys[at])}{name} {places[at]}"


def _quoted(key: Key) -> str:
    written = key.written if len(key.written) <= 60 else key.written[:57] + "..."
    return f"regular expression {written}" if key.regex is not None else repr(written.strip())


def _list(keys: Sequence[Key], between: str) -> str:
    return between.join(_quoted(key) for key in keys[:_SAID]) + (" ..." if len(keys) > _SAID else "")
