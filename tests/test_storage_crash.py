"""What was acknowledged is there after the process was killed in the midst of writes, and the file opens again."""

# Nothing else runs on this loop of trio that short calls of the system could hold up.
# ruff: noqa: ASYNC220

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from innkeeper.storage.database import open_database
from innkeeper.storage.kv import KvStore
from innkeeper.storage.location import Location
from places import argument, damage

PATIENCE = 120

WRITES = """
import os, sys, trio
from places import place_of
from innkeeper.storage.database import open_database
from innkeeper.storage.kv import KvStore
from innkeeper.storage.kv_model import Quota

async def main():
    async with open_database(place_of(sys.argv[1])) as db:
        store = KvStore(db)
        quota = Quota(1_000_000, 1 << 30)

        async def write(lane):
            for number in range(1_000_000):
                key = f"{lane}/{number}"
                await store.put("o", "p", "", key, key.encode() * 20, quota=quota)
                os.write(1, key.encode() + b"\\n")

        async with trio.open_nursery() as nursery:
            for lane in range(16):
                nursery.start_soon(write, lane)

trio.run(main)
"""


@pytest.mark.parametrize("lines", [1, 50, 400])
async def test_what_was_acknowledged_survives_kill_9(database_place: Location, lines: int) -> None:
    command = [sys.executable, "-c", WRITES, argument(database_place)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent)
    try:
        assert child.stdout is not None
        acknowledged = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        acknowledged += child.stdout.read().splitlines(keepends=True)
        child.wait(PATIENCE)
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    # The last line may be cut off.
    keys = [line[:-1].decode() for line in acknowledged if line.endswith(b"\n")]
    assert len(keys) >= lines
    async with open_database(database_place) as db:
        store = KvStore(db)
        for key in keys:
            entry = await store.get("o", "p", "", key)
            assert entry is not None
            assert entry.value == key.encode() * 20
        assert await damage(db) == []
        counted = await db.read(
            lambda connection: tuple(connection.execute(text("SELECT count(*), sum(size) FROM kv")).one())
        )
        # Counts are kept with the entries, in the same commit.
        assert await store.usage("o", "p") == counted
