"""Killed at any moment during an import, an edit or a re-embedding: text, keywords, full text and vectors agree."""

# Nothing else runs on this loop of trio that short calls of the system could hold up.

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from innkeeper.knowledge.store.values import IMPORT, Origin
from innkeeper.storage.database import open_database
from innkeeper.storage.location import Location
from kb_bases import WORLD, library, many
from kb_killed import IMPORTED
from places import argument, damage

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120
KINDS = ("import", "edit", "embed")


async def start(place: Location) -> None:
    async with open_database(place) as db:
        opened = library(db)
        await opened.change(WORLD, many(IMPORTED, "first", "i"), Origin(IMPORT))
        await opened.aclose()


def killed(place: Location, kind: str, chance: random.Random) -> int:
    """Lets a process work and kills it; the newest revision that it knew of."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.kb_killed", argument(place), kind], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert child.stdout is not None
        said = [child.stdout.readline()]
        time.sleep(chance.random() * 0.5)
        child.kill()
        said += child.stdout.read().splitlines(keepends=True)
        child.wait(PATIENCE)
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    # The last line may be cut off.
    return max(int(line) for line in said if line.endswith(b"\n"))


async def agrees(place: Location, known: int) -> None:
    async with open_database(place) as db:
        opened = library(db)
        live = await opened.base(WORLD)
        assert live.revision >= known
        report = await opened.verify(WORLD)
        assert report.problems == []
        assert report.entries == len(live)
        # An import is there as a whole or not at all: undone ones too.
        entries = [live.get(id) for id in live.order() if id.startswith("i")]
        values = {entry.plain()["content"]["value"].rpartition(" of ")[0] for entry in entries if entry is not None}
        assert len(values) == 1
        assert len(entries) in (IMPORTED, IMPORTED - 100)
        assert await damage(db) == []
        await opened.aclose()


async def kill_often(place: Location, kind: str, times: int, seed: int) -> None:
    chance = random.Random(seed)
    await start(place)
    for _ in range(times):
        await agrees(place, killed(place, kind, chance))


@pytest.mark.parametrize("kind", KINDS)
async def test_killed_at_some_moments_everything_agrees(database_place: Location, kind: str) -> None:
    await kill_often(database_place, kind, 2 if kind == "import" else 1, 1)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
async def test_killed_a_hundred_times_everything_agrees(database_place: Location, kind: str) -> None:
    await kill_often(database_place, kind, 100, random.randrange(1 << 30))
