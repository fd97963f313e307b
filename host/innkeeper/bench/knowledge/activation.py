"""Row: which of many entries a chat calls for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import trio

from innkeeper.bench.knowledge import joined
from innkeeper.bench.knowledge.timed import Timed
from innkeeper.bench.measured import Figure
from innkeeper.bench.timing import rounds_within
from innkeeper.errors import InternalError
from innkeeper.knowledge.activation.interface import Message, Request
from innkeeper.knowledge.bench.synthetic import KEYWORDS, Writer
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import Entry

ENTRIES = 10_000
MESSAGES = 20
_BUDGET = 4000
_SEED = 10


async def measure(names: Sequence[str], folder: Path, entries: int = ENTRIES, rounds: int = 200) -> dict[str, Timed]:
    """The row of this module.

    Args:
        names: it.
        folder: not used; nothing is written.
        entries: how many; each has `KEYWORDS` keywords of its own.
        rounds: how many activations at the most.
    """
    items, messages = await trio.to_thread.run_sync(made_up, entries)
    base = await trio.to_thread.run_sync(joined.compiled, items)
    # Chance has nothing to do here; whatever it decides is the same each time.
    request = Request(messages=messages, scan_depth=MESSAGES, budget=_BUDGET, recursion=2, seed=1)
    wanted = {item.entry.id for item in items[:MESSAGES]}
    samples = []
    for _ in rounds_within(rounds, 20.0):
        before = time.perf_counter()
        result = await joined.activated(base, request)
        samples.append(time.perf_counter() - before)
    if not wanted <= {active.entry for active in result.active}:
        raise InternalError("entries that the chat names were not active")
    extra = {"entries": len(items), "keywords": len(items) * KEYWORDS, "active": len(result.active)}
    return {name: Timed(Figure.of(samples, 1e3), extra) for name in names}


def made_up(entries: int) -> tuple[list[Item], list[Message]]:
    """A base, and a chat each message of which names one entry by a keyword: the first message the first entry, and so
    on."""
    writer = Writer(_SEED)
    items = [Item(document, Entry.model_validate(document)) for document in writer.documents(entries)]
    messages = []
    for at in range(MESSAGES):
        keyword = items[at].entry.activation_criteria.keywords[1]
        text = f"{writer.english()} {keyword}, {writer.chinese()}"
        messages.append(Message(text, role="assistant" if at % 2 else "user", name="Mira"))
    return items, messages
