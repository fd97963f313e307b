"""Whether the keys of an entry occur in what it looks at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

from innkeeper.knowledge.regexes.interface import Regex, Verdict
from innkeeper.knowledge.worldinfo.entry import Logic, WorldEntry
from innkeeper.knowledge.worldinfo.index import Word, WordIndex, Work, occurs
from innkeeper.knowledge.worldinfo.keys import START, Key, is_counted_alike, make_counted_key
from innkeeper.knowledge.worldinfo.plan import Plan, Planned, by_word, comparing, plan_entry, words_of
from innkeeper.knowledge.worldinfo.settings import MOST_DEPTH, Scene, Settings
from innkeeper.knowledge.worldinfo.sight import Sight, View
from innkeeper.knowledge.worldinfo.verdicts import Verdicts


class Matching:
    """Keys and texts of one scan.

    Attributes:
        entries: in their order, with the keys that hang on who talks.
        hidden: places of entries whose keys hang on who talks and are found by no index.
        sight: what they look at.
        work: what searching may still take.
        recursing: whether what other entries say counts at the moment.
        widened: by how many messages the depth of the settings has grown.
    """

    def __init__(self, plan: Plan, settings: Settings, scene: Scene, verdicts: Verdicts) -> None:
        self._plan, self._settings, self._verdicts = plan, settings, verdicts
        self.entries = plan.entries
        own: list[Planned] = []
        if plan.macros:
            own = [plan_entry(plan.entries[at].entry, at, settings, scene) for at in plan.macros]
            self.entries = list(plan.entries)
            for each in own:
                self.entries[each.at] = each
        self.hidden = [each.at for each in own if each.hidden]
        self._by_word = by_word(own)
        self.work = Work()
        indexes = [plan.index, WordIndex(words_of(own))] if own else [plan.index]
        self.sight = Sight(scene, indexes, self.work)
        self.recursing = True
        self.widened = 0

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
        wanted: dict[View, list[Regex]] = {}
        for each in entries:
            regexes = [key.regex for key in chain(each.keys, each.secondary) if key.regex is not None]
            if regexes:
                wanted.setdefault(self._view(each.entry), []).extend(regexes)
        for view, regexes in wanted.items():
            self._verdicts.ask(regexes, view, partial(self.sight.whole, view))

    def met(self, each: Planned) -> bool:
        """Whether the keys of an entry let it be active."""
        if not any(self._occurs(each, key) for key in each.keys):
            return False
        entry = each.entry
        return not entry.selective or not entry.secondary or self._secondary(each)

    def _secondary(self, each: Planned) -> bool:
        occur = (self._occurs(each, key) for key in each.secondary)
        # Keys that never match are not among those of the plan.
        complete = len(each.secondary) == len(each.entry.secondary)
        match each.entry.logic:
            case Logic.AND_ANY:
                return any(occur)
            case Logic.NOT_ALL:
                return not complete or not all(occur)
            case Logic.NOT_ANY:
                return not any(occur)
            case Logic.AND_ALL:
                return complete and all(occur)
        return False

    def why(self, each: Planned) -> str:
        """Why the keys of an entry let it be active, or why not, for its author."""
        if not each.entry.keys:
            return "it has no keys"
        primary = next((key for key in each.keys if self._occurs(each, key)), None)
        if primary is None:
            return "none of its keys occurs"
        found = f"{_shown(primary)} in {self._where(each, primary)}"
        if not each.entry.selective or not each.entry.secondary:
            return found
        count = sum(self._occurs(each, key) for key in each.secondary)
        both = "and" if self._secondary(each) else "but"
        return f"{found}, {both} {count} of {len(each.entry.secondary)} secondary keys"

    def score(self, each: Planned) -> int:
        """How many keys occur, as inclusion groups count."""
        if not each.entry.keys:
            return 0
        primary = sum(self._occurs(each, key) for key in self._counted(each, each.entry.keys, each.keys))
        if each.entry.logic not in (Logic.AND_ANY, Logic.AND_ALL):
            return primary
        secondary = sum(self._occurs(each, key) for key in self._counted(each, each.entry.secondary, each.secondary))
        all_of = each.entry.logic == Logic.AND_ALL
        return primary + (secondary if not all_of or secondary == len(each.entry.secondary) else 0)

    def _counted(self, each: Planned, written: Sequence[str], keys: Sequence[Key]) -> Sequence[Key]:
        if all(map(is_counted_alike, written)):
            return keys
        case, whole = comparing(each.entry, self._settings)
        return [make_counted_key(key, case_sensitive=case, whole=whole) for key in written]

    def _occurs(self, each: Planned, key: Key) -> bool:
        word = key.word
        if word is None:
            return True
        if key.regex is not None:
            view = self._view(each.entry)
            verdict = self._verdicts.of(key.regex, view, partial(self.sight.whole, view))
            if verdict is not Verdict.INVALID:
                return verdict is Verdict.MATCH
        if key.across or START in word.text:
            return self._occurs_in_whole(each, word)
        return self.sight.sees(each.entry, self._depth(each.entry), word, recursing=self.recursing)

    def _occurs_in_whole(self, each: Planned, word: Word) -> bool:
        text = self.sight.whole(self._view(each.entry))
        self.work.left -= 1 + (len(text) >> 8)
        return not self.work.ended and occurs(word, text if word.case_sensitive else text.lower())

    def _depth(self, entry: WorldEntry) -> int:
        own = entry.scan_depth
        return max(0, min(self._settings.depth + self.widened if own is None else own, MOST_DEPTH))

    def _where(self, each: Planned, key: Key) -> str:
        if key.word is None or key.regex is not None or START in key.word.text:
            return "what it looks at"
        return self.sight.where(each.entry, self._depth(each.entry), key.word)

    def _view(self, entry: WorldEntry) -> View:
        return self.sight.view(self._depth(entry), entry.texts, recursing=self.recursing)


def _shown(key: Key) -> str:
    if key.word is None:
        return "a blank key, which is everywhere,"
    written = key.written if len(key.written) <= 60 else key.written[:57] + "..."
    return f"{'expression' if key.regex is not None else 'keyword'} {written!r}"
