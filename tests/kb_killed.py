"""What a process does that is killed: imports, edits or makes vectors anew, again and again, and says what was done.

python -m tests.kb_killed DATABASE KIND
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent))

from innkeeper.knowledge.library import Library
from innkeeper.knowledge.store import embedding
from innkeeper.knowledge.store.values import EDIT, IMPORT, Origin
from innkeeper.storage.database import open_database
from kb_bases import WORLD, change, library, many, vector
from places import place_of

IMPORTED = 700
EDITED = 40


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def imports(opened: Library) -> None:
    for number in range(1_000_000):
        value = f"import {os.getpid()} {number}"
        # Every other one takes some away again.
        count = IMPORTED - 100 * (number % 2)
        live = await opened.base(WORLD)
        gone = [change(id, None) for id in live.order() if id.startswith("i") and id >= f"i{count:06}"]
        applied = await opened.change(WORLD, [*many(count, value, "i"), *gone], Origin(IMPORT))
        say(f"{applied.revision}")
        if number % 3 == 2:
            say(f"{(await opened.undo(WORLD)).revision}")


async def edits(opened: Library) -> None:
    for number in range(1_000_000):
        ids = random.sample(range(EDITED), random.randint(1, 5))
        changes = [change(f"x{id}", f"edit {number} dragon{id}") for id in ids]
        live = await opened.base(WORLD)
        if random.random() < 0.3 and changes[0].id in live:
            changes[0] = change(changes[0].id, None)
        say(f"{(await opened.change(WORLD, changes, Origin(EDIT))).revision}")
        if number % 4 == 3:
            say(f"{(await opened.undo(WORLD)).revision}")


async def embeddings(opened: Library) -> None:
    for number in range(1_000_000):
        model = f"m{number % 3}/4"
        after = ""
        while page := await embedding.missing(opened.store, WORLD, model, after=after, most=200):
            made = {each.digest: vector(each.text, model) for each in page}
            await embedding.keep(opened.store, WORLD, made)
            after = page[-1].id
        await opened.embedded(WORLD, model)
        changes = [change(f"x{number % EDITED}", f"anew {os.getpid()} {number}")]
        say(f"{(await opened.change(WORLD, changes, Origin(EDIT))).revision}")


async def main() -> None:
    async with open_database(place_of(sys.argv[1])) as db:
        opened = library(db)
        await opened.change(WORLD, [change("ready", "x")], Origin(EDIT))
        say("0")
        await {"import": imports, "edit": edits, "embed": embeddings}[sys.argv[2]](opened)


if __name__ == "__main__":
    trio.run(main)
