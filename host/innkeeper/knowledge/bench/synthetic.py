"""Made-up bases of any size, in words of the project's own world. A seed gives the same base everywhere."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from innkeeper.knowledge.bench.lore import LANGUAGES, read_lore
from innkeeper.knowledge.model.entry import Entry

KEYWORDS: Final = 4
"""Of each entry; no two entries share one."""

_END = ""
_WORDS = (45, 75)
_CHARACTERS = (70, 120)
_CHINESE = 0.3
"""Share of entries that are in Chinese."""

_STARTS = ("b", "br", "c", "d", "dr", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "th", "v", "w")
_MIDDLES = ("a", "ae", "e", "ei", "i", "ia", "o", "oa", "u", "y")
_ENDS = ("ck", "d", "ld", "ll", "m", "n", "nd", "rn", "r", "sh", "ss", "st", "t", "th", "v", "x")
_SYLLABLES = "阿艾安奥巴贝布达德蒂多厄法菲弗甘戈哈赫霍基卡科克拉莱里隆洛玛梅米莫娜内诺帕佩奇琼萨塞丝塔特托瓦威文西"


class Writer:
    """Writes what could stand in the world, a word after a word that follows it there."""

    def __init__(self, seed: int) -> None:
        """Args:
        seed: of everything that it writes.
        """
        self._chance = random.Random(seed)  # noqa: S311 - made-up text, no secret
        self._names: set[str] = set()

    def english(self) -> str:
        """A paragraph of about sixty words (str)."""
        return self._chain("en", " ", *_WORDS)

    def chinese(self) -> str:
        """A paragraph of about a hundred characters (str)."""
        return self._chain("zh", "", *_CHARACTERS)

    def _chain(self, language: str, between: str, least: int, most: int) -> str:
        following = _following(language)
        found: list[str] = []
        wanted = self._chance.randint(least, most)
        word = _END
        while len(found) < wanted or (word != _END and len(found) < 2 * wanted):
            word = self._chance.choice(following[word])
            if word:
                found.append(word)
        return between.join(found)

    def name(self, *, chinese: bool = False) -> str:
        """A name that it has not given before (str), such as "Draeld Stoanth"."""
        while True:
            found = self._chinese_name() if chinese else f"{self._word()} {self._word()}"
            if found not in self._names:
                self._names.add(found)
                return found

    def _word(self) -> str:
        parts = self._chance.randint(1, 2)
        made = "".join(self._chance.choice(_STARTS) + self._chance.choice(_MIDDLES) for _ in range(parts))
        return (made + self._chance.choice(_ENDS)).capitalize()

    def _chinese_name(self) -> str:
        return "".join(self._chance.choice(_SYLLABLES) for _ in range(self._chance.randint(3, 5)))

    def question(self, text: str, *, chinese: bool = False) -> str:
        """What somebody could ask who has a text in mind (str): some of its words, and some of others.

        Args:
            text: as `english` or `chinese` wrote it.
            chinese: which of them.
        """
        if chinese:
            begin = self._chance.randrange(max(1, len(text) - 8))
            return f"{text[begin : begin + 8]}在哪里？"
        words = [word for word in re.findall(r"\w+", text) if len(word) > 3]
        own = self._chance.sample(words, min(5, len(words)))
        others = re.findall(r"\w+", self._chain("en", " ", 4, 6))
        return " ".join(["where", *own, *others]) + "?"

    def documents(self, count: int) -> Iterator[dict[str, Any]]:
        """Entries with `KEYWORDS` keywords each, some in Chinese, as plain data.

        Args:
            count: how many.
        """
        for number in range(count):
            chinese = self._chance.random() < _CHINESE
            text = self.chinese() if chinese else self.english()
            names = [self.name(chinese=chinese) for _ in range(KEYWORDS)]
            text = f"{names[0]}{'，' if chinese else ', '}{text}"
            yield {
                "id": f"made-{number}",
                "displayName": names[0],
                "content": {"value": text},
                "activation_criteria": {"keywords": names},
                "usage_metadata": {"priority": self._chance.randrange(0, 200)},
                "management_metadata": {"tags": ["lang:zh" if chinese else "lang:en"]},
            }

    def entries(self, count: int) -> Iterator[Entry]:
        """As `documents`, read."""
        for document in self.documents(count):
            yield Entry.model_validate(document)

    def world_book(self, size: int) -> dict[str, Any]:
        """A world book of SillyTavern as plain data.

        Args:
            size: of the whole as a file with indents of four, in bytes of UTF-8; it is larger by one entry at most.
        """
        entries: dict[str, Any] = {}
        written = 0
        for number, document in enumerate(self.documents(size)):
            if written >= size:
                break
            keys, text = document["activation_criteria"]["keywords"], document["content"]["value"]
            made = entries[str(number)] = _world_entry(number, keys, document["displayName"], text, self._chance)
            # Inside of two objects each of its lines begins with eight blanks more.
            lines = json.dumps(made, ensure_ascii=False, indent=4)
            written += len(lines.encode()) + 8 * (lines.count("\n") + 1)
        return {"entries": entries}


def _world_entry(uid: int, keys: Sequence[str], comment: str, text: str, chance: random.Random) -> dict[str, Any]:
    return {
        "uid": uid, "key": list(keys[:3]), "keysecondary": list(keys[3:]), "comment": comment, "content": text,
        "constant": False, "vectorized": False, "selective": False, "selectiveLogic": 0, "addMemo": True,
        "order": chance.randrange(1, 300), "position": chance.choice((0, 1, 4)), "disable": False,
        "excludeRecursion": False, "preventRecursion": False, "delayUntilRecursion": False, "probability": 100,
        "useProbability": True, "depth": 4, "group": "", "groupOverride": False, "groupWeight": 100,
        "scanDepth": None, "caseSensitive": None, "matchWholeWords": None, "useGroupScoring": None,
        "automationId": "", "role": None, "sticky": 0, "cooldown": 0, "delay": 0, "displayIndex": uid,
    }  # fmt: skip


@cache
def _following(language: str) -> dict[str, list[str]]:
    """Which words, or in Chinese characters, follow each other in the world, as often as they do."""
    assert language in LANGUAGES
    found: dict[str, list[str]] = defaultdict(list)
    for entry in read_lore(language).entries:
        for sentence in re.split(r"(?<=[.。!?！？])\s*", entry.text):
            before = _END
            for word in sentence.split() if language == "en" else sentence:
                found[before].append(word)
                before = word
            found[before].append(_END)
    return dict(found)
