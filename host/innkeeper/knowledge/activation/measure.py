"""How long an activation takes: made-up bases of any size, for `kb bench` and for tests.

.venv/bin/python -m innkeeper.knowledge.activation.measure
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import trio

from innkeeper.knowledge.activation.base import CompiledBase, compile_base
from innkeeper.knowledge.activation.interface import Message, Request
from innkeeper.knowledge.activation.native import activate
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.tokens.interface import TokenCounter


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        entries, keywords, messages, characters: of what was activated.
        active: entries that became active.
        median, least: milliseconds of one activation.
        compiling: milliseconds that the base took to be made ready.
        changing: milliseconds that one changed entry takes.
    """

    entries: int
    keywords: int
    messages: int
    characters: int
    active: int
    median: float
    least: float
    compiling: float
    changing: float


_MENTIONS = 0.03
"""Which share of the words of chats and entries is a keyword: two of each message and each entry."""


class Letters:
    """Counts a token for four characters: what counting costs is measured elsewhere."""

    name = "letters"

    def count(self, text: str) -> int:
        """A quarter of the characters."""
        return len(text) // 4 + 1


def _word(chance: random.Random) -> str:
    if chance.random() < 0.3:
        return "".join(chr(chance.randrange(0x4E00, 0x6000)) for _ in range(chance.randint(2, 4)))
    return "".join(chance.choice("abcdefghiklmnoprstuvwy") for _ in range(chance.randint(4, 9)))


def made_up(entries: int, keywords: int, *, seed: int = 1) -> tuple[list[Item], list[Message]]:
    """A base with so many entries and keywords in all, a third of them Chinese, and a chat of 20 messages that mention
    some of them."""
    chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
    words = [_word(chance) for _ in range(keywords)]
    filler = [_word(chance) for _ in range(2000)]
    each = keywords // entries

    def said(length: int) -> str:
        return " ".join(chance.choice(words if chance.random() < _MENTIONS else filler) for _ in range(length))

    items = []
    for number in range(entries):
        keys = words[number * each : (number + 1) * each]
        document: dict[str, Any] = {
            "id": f"e{number}",
            "displayName": f"Entry {number}",
            "content": {"value": said(60)},
            "activation_criteria": {"keywords": keys},
            "usage_metadata": {"priority": chance.randrange(200)},
        }
        items.append(Item(document, Entry.model_validate(document)))
    messages = []
    for number in range(20):
        messages.append(Message(said(70), role="assistant" if number % 2 else "user", name="Ann"))
    return items, messages


def measure_activation(
    entries: int = 10_000, keywords: int = 40_000, rounds: int = 30, counter: TokenCounter | None = None
) -> Figures:
    """Measures activation of a 20-message chat, thread hops included; scan depth 20, budget 2,000 tokens, two levels of
    recursion."""
    return trio.run(_measure, entries, keywords, rounds, counter or Letters())


async def _measure(entries: int, keywords: int, rounds: int, counter: TokenCounter) -> Figures:
    items, messages = made_up(entries, keywords)
    since = time.perf_counter()
    base = compile_base("bench", items)
    compiling = time.perf_counter() - since
    document = {**items[5].document, "activation_criteria": {"keywords": ["something new", "更新了的词"]}}
    since = time.perf_counter()
    changed = [*items[:5], Item(document, Entry.model_validate(document)), *items[6:]]
    compile_base("bench", changed, previous=base)
    changing = time.perf_counter() - since
    request = Request(messages=messages, scan_depth=20, budget=2000, recursion=2, seed=1)
    times, active = await _times(base, request, rounds, counter)
    return Figures(
        entries=entries,
        keywords=len(base.index.patterns),
        messages=len(messages),
        characters=sum(len(message.content) for message in messages),
        active=active,
        median=statistics.median(times) * 1e3,
        least=min(times) * 1e3,
        compiling=compiling * 1e3,
        changing=changing * 1e3,
    )


async def _times(base: CompiledBase, request: Request, rounds: int, counter: TokenCounter) -> tuple[list[float], int]:
    times, active = [], 0
    for _ in range(rounds):
        since = time.perf_counter()
        found = await activate([base], request, counter=counter)
        times.append(time.perf_counter() - since)
        active = len(found.result.active)
    return times, active


def main() -> None:
    """Prints the figures."""
    found = measure_activation()
    sys.stdout.write(
        f"{found.entries:,} entries, {found.keywords:,} keywords, {found.messages} messages "
        f"({found.characters:,} characters), {found.active} active: {found.median:.1f} ms (median), "
        f"{found.least:.1f} ms (least); compiling {found.compiling:.0f} ms, one change {found.changing:.0f} ms\n"
    )


if __name__ == "__main__":
    main()
