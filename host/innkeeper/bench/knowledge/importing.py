"""Row: a large world book becomes a knowledge base."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from innkeeper.bench.knowledge.libraries import IMPORTED, SEARCH, change_of, open_library
from innkeeper.bench.knowledge.timed import Timed
from innkeeper.bench.measured import Figure
from innkeeper.bench.timing import rounds_within
from innkeeper.errors import InternalError
from innkeeper.knowledge.bench.synthetic import Writer
from innkeeper.knowledge.interchange.detect import read_lorebook
from innkeeper.knowledge.store.values import Change
from innkeeper.storage.knowledge_model import Place

SIZE = 3_500_000
_SEED = 40


async def measure(names: Sequence[str], folder: Path, size: int = SIZE, rounds: int = 5) -> dict[str, Timed]:
    """The row of this module.

    Args:
        names: it.
        folder: for the file and the database.
        size: bytes of the world book.
        rounds: how many imports at the most, each into a base of its own.
    """
    path = folder / "book.json"
    book = await trio.to_thread.run_sync(Writer(_SEED).world_book, size)
    path.write_text(json.dumps(book, ensure_ascii=False, indent=4), "utf-8")
    samples, held = [], 0
    async with open_library(folder) as library:
        for at, _ in enumerate(rounds_within(rounds, 30.0)):
            place = Place("bench", f"book-{at}")
            before = time.perf_counter()
            changes = await trio.to_thread.run_sync(_read, path)
            await library.change(place, changes, IMPORTED)
            await library.index(place, SEARCH)
            samples.append(time.perf_counter() - before)
            held = len(await library.base(place))
    if held != len(book["entries"]):
        raise InternalError(f"{held} of {len(book['entries'])} entries were imported")
    extra = {"entries": held, "bytes": path.stat().st_size}
    return {name: Timed(Figure.of(samples), extra) for name in names}


def _read(path: Path) -> list[Change]:
    found = read_lorebook(path.read_bytes(), path.name)
    if found is None or found.problems:
        raise InternalError("a world book was not read as one")
    return [change_of(item.document) for item in found.base.items]
