"""Rows: the cache of a server in front of its database, on a mix of accesses that is the same in every run."""

from __future__ import annotations

import time
from itertools import chain, cycle, islice
from statistics import quantiles

import trio
from sqlalchemy import Connection, text

from innkeeper.bench import cache_mix
from innkeeper.bench.measured import INNKEEPER, Figure, Measured
from innkeeper.bench.timing import rounds_within
from innkeeper.bench.workspace import Workspace
from innkeeper.server.cache.caches import Caches
from innkeeper.server.cache.interface import Loaded
from innkeeper.server.cache.invalidations import Invalidation, key, pattern
from innkeeper.server.cache.memory import MemoryCache
from innkeeper.storage.database import Database, open_database

ACCESSES = 60_000
ENTRIES = 5_000
"""Entries that the cache may have: less than a third of what can be asked for."""

_SIZE = 1024
"""Bytes of a value."""

_INVALIDATIONS = 2_000


def measure(name: str, workspace: Workspace) -> Measured:
    """Per cent of reads that are no hits; the time of a read, microseconds at p99, those through the database counted;
    or the time of an invalidation, microseconds."""
    return trio.run(_measure, name, workspace)


async def _measure(name: str, workspace: Workspace) -> Measured:
    if name == "cache-invalidation":
        return await _invalidated(workspace)
    async with open_database(workspace.folder / name / "cache.db") as database:
        await database.write(_filled)
        reads, misses = [], []
        # The first round begins with an empty cache, as a server does.
        for _ in rounds_within(3, 20.0 * workspace.patience):
            cache = _cache()
            taken = await _follow(cache, database)
            reads.append(quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0])
            misses.append(100.0 * (1.0 - cache.statistics.hit_ratio))
    hits = 100.0 - misses[0]
    if name == "cache-misses":
        return Measured({INNKEEPER: Figure.of(misses)}, {"hits": hits, "accesses": float(len(taken))})
    return Measured({INNKEEPER: Figure.of(reads, 1e6)}, {"median_us": sorted(taken)[len(taken) // 2] * 1e6})


def _cache() -> MemoryCache:
    return Caches().named(cache_mix.NAME, entries=ENTRIES, size=64 << 20, ttl=1800.0)


async def _follow(cache: MemoryCache, database: Database) -> list[float]:
    """Seconds of each read."""
    taken = []
    for step in cache_mix.steps(ACCESSES):
        if step.said is not None:
            await cache.invalidate(step.said)
            continue

        async def load(asked: str = step.key) -> Loaded:
            found = await database.read(lambda connection: connection.execute(_READ, {"asked": asked}).scalar_one())
            return Loaded(found, len(found))

        before = time.perf_counter()
        await cache.load(step.key, load)
        taken.append(time.perf_counter() - before)
    return taken


async def _invalidated(workspace: Workspace) -> Measured:
    """One by one in a cache that is full at first: of a hundred ninety by key, nine by prefix, one by pattern."""
    every = cache_mix.every_key()[:ENTRIES]
    names = cycle(f"user-{user}" for user in range(ENTRIES // 8))
    samples = []
    for _ in rounds_within(20, 5.0 * workspace.patience):
        cache = _cache()
        for each in every:
            await cache.put(each, b"", _SIZE)
        said = list(islice(chain.from_iterable(_hundred(names) for _ in cycle([0])), _INVALIDATIONS))
        before = time.perf_counter()
        for one in said:
            await cache.invalidate(one)
        samples.append((time.perf_counter() - before) / len(said))
    figure = Figure.of(samples, 1e6)
    return Measured({INNKEEPER: figure}, {"a_second": 1e6 / figure.median})


def _hundred(names: cycle[str]) -> list[Invalidation]:
    by_key = [Invalidation("key", key(cache_mix.NAME, next(names), "settings")) for _ in range(90)]
    by_prefix = [Invalidation("prefix", key(cache_mix.NAME, next(names))) for _ in range(9)]
    # It looks at every entry there is.
    by_pattern = Invalidation("pattern", pattern(cache_mix.NAME, "*", "chat", str(cache_mix.CHATS)))
    return [*by_key, *by_prefix, by_pattern]


_READ = text("SELECT value FROM cached WHERE name = :asked")


def _filled(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE cached (name VARCHAR PRIMARY KEY, value BLOB)"))
    rows = [{"name": each, "value": bytes(_SIZE)} for each in cache_mix.every_key()]
    connection.execute(text("INSERT INTO cached VALUES (:name, :value)"), rows)
