"""Whether the keys of an entry occur in what it looks at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from innkeeper.knowledge.regexes.interface import Regex, Verdict
from innkeeper.knowledge.worldinfo.entry import Logic
from innkeeper.knowledge.worldinfo.index import Word, WordIndex, Work, occurs
from innkeeper.knowledge.worldinfo.keys import START, Key
from innkeeper.knowledge.worldinfo.plan import Plan, Planned, plan_entry, primary_words, words_of
from innkeeper.knowledge.worldinfo.settings import Scene, Settings
from innkeeper.knowledge.worldinfo.sight import Sight
from innkeeper.knowledge.worldinfo.verdicts import Verdicts


class Matching:
    """Keys and texts of one scan.

    Attributes:
        entries: in their order, with the keys that hang on who talks.
        sight: what they look at.
        work: what searching may still take.
        recursing: whether what other entries say counts at the moment.
        widened: by how many messages the depth of the settings has grown.
    """

    def __init__(self, plan: Plan, settings: Settings, scene: Scene, verdicts: Verdicts) -> None:
        self._settings = settings
        self._verdicts = verdicts
        self.entries = list(plan.entries)
        own = [plan_entry(each.entry, each.at, settings, scene) for each in plan.entries if each.macros]
        self._by_word: dict[Word, list[int]] = {}
        for each in own:
            self.entries[each.at] = each
            for word in primary_words(each):
                self._by_word.setdefault(word, []).append(each.at)
        self._plan = plan
        self.work = Work()
        indexes = [plan.index, WordIndex(words_of(own))] if own else [plan.index]
        self.sight = Sight(scene, indexes, self.work)
        self.recursing = True
        self.widened = 0
        self._whole: dict[tuple[int, tuple[str, ...], int], str] = {}

    def begin(self) -> Iterator[int]:
        """Looks at everything that is there from the beginning; places of entries with a key that occurs."""
        deepest = max(self._settings.depth, self._plan.deepest)
        return self._with(self.sight.first() | self.sight.widen(deepest))

    def widen(self) -> Iterator[int]:
        """Looks at one message more; as `begin`."""
        self.widened += 1
        return self._with(self.sight.widen(self._settings.depth + self.widened))

    def recurse(self, text: str) -> Iterator[int]:
        """Looks at what active entries say; as `begin`."""
        return self._with(self.sight.recurse(text))

    def _with(self, words: Iterable[Word]) -> Iterator[int]:
        for word in words:
            yield from self._plan.by_word.get(word, ())
            yield from self._by_word.get(word, ())

    def ask(self, entries: Iterable[Planned]) -> None:
        """Tests the regular expressions of all these entries, one batch for each text."""
        wanted: dict[str, list[Regex]] = {}
        for each in entries:
            regexes = [key.regex for key in chain(each.keys, each.secondary) if key is not None and key.regex]
            if regexes:
                wanted.setdefault(self._text(each), []).extend(regexes)
        for text, regexes in wanted.items():
            self._verdicts.ask(regexes, text)

    def met(self, each: Planned) -> tuple[bool, str]:
        """Whether the keys of an entry let it be active, and why or why not."""
        if not each.entry.keys:
            return False, "it has no keys"
        primary = next((key for key in each.keys if key is not None and self._occurs(each, key)), None)
        if primary is None:
            return False, "none of its keys occurs"
        found = f"{_shown(primary)} in {self._where(each, primary)}"
        if not each.entry.selective or not each.entry.secondary:
            return True, found
        others = [key is not None and self._occurs(each, key) for key in each.secondary]
        count = f"{sum(others)} of {len(others)} secondary keys"
        match each.entry.logic:
            case Logic.AND_ANY:
                holds = any(others)
            case Logic.NOT_ALL:
                holds = not all(others)
            case Logic.NOT_ANY:
                holds = not any(others)
            case Logic.AND_ALL:
                holds = all(others)
            case _:
                holds = False
        return holds, f"{found}, and {count}" if holds else f"{found}, but {count}"

    def score(self, each: Planned) -> int:
        """How many keys occur, as inclusion groups count."""
        if not each.entry.keys:
            return 0
        primary = sum(key is not None and self._occurs(each, key) for key in each.keys)
        if each.entry.logic not in (Logic.AND_ANY, Logic.AND_ALL):
            return primary
        secondary = sum(key is not None and self._occurs(each, key) for key in each.secondary)
        all_of = each.entry.logic == Logic.AND_ALL
        return primary + (secondary if not all_of or secondary == len(each.secondary) else 0)

    def _occurs(self, each: Planned, key: Key) -> bool:
        if key.word is None:
            return True
        if key.regex is not None:
            verdict = self._verdicts.of(key.regex, self._text(each))
            if verdict is not Verdict.INVALID:
                return verdict is Verdict.MATCH
        if START in key.word.text:
            text = self._text(each)
            return occurs(key.word, text if key.word.case_sensitive else text.lower(), self.work)
        depth = each.depth(self._settings, self.widened)
        return self.sight.sees(each.entry, depth, key.word, recursing=self.recursing)

    def _where(self, each: Planned, key: Key) -> str:
        if key.word is None or key.regex is not None or START in key.word.text:
            return "what it looks at"
        return self.sight.where(each.entry, each.depth(self._settings, self.widened), key.word)

    def _text(self, each: Planned) -> str:
        depth = each.depth(self._settings, self.widened)
        recursed = len(self.sight.recursion) if self.recursing else 0
        at = (depth, each.entry.texts, recursed)
        if at not in self._whole:
            if len(self._whole) >= _MOST_WHOLE:
                self._whole.clear()
            self._whole[at] = self.sight.whole(each.entry, depth, recursing=self.recursing)
        return self._whole[at]


_MOST_WHOLE = 64
"""Whole texts that are kept; entries that look at the same share one."""


def _shown(key: Key) -> str:
    if key.word is None:
        return "a blank key, which is everywhere,"
    written = key.written if len(key.written) <= 60 else key.written[:57] + "..."
    return f"{'expression' if key.regex is not None else 'keyword'} {written!r}"
