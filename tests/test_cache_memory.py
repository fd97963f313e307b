"""The cache of a server: bounded, never stale after an invalidation, one loader for each key, and errors never kept."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.server.cache.caches import Caches
from innkeeper.server.cache.interface import Loaded
from innkeeper.server.cache.invalidations import (
    ANY,
    EVERYTHING,
    Invalidation,
    LocalInvalidations,
    key,
    pattern,
)
from innkeeper.server.cache.memory import OVERHEAD, SHARE, MemoryCache


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def cache_of(entries: int = 100, size: int = 1 << 20, ttl: float = 60.0, clock: Clock | None = None) -> MemoryCache:
    return MemoryCache("things", entries=entries, size=size, ttl=ttl, clock=clock or Clock())


def holds(cache: MemoryCache) -> dict[str, object]:
    return {name: entry.value for name, entry in cache._kept.items()}


class Source:
    """Gives a number that says how often it was asked, once it is let."""

    def __init__(self, *, error: Exception | None = None, open: bool = True) -> None:
        self.asked = 0
        self.error = error
        self.gate = trio.Event()
        if open:
            self.gate.set()

    async def load(self) -> Loaded:
        self.asked += 1
        mine = self.asked
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Loaded(mine, 10)


async def test_what_was_put_is_found_until_its_time_is_over() -> None:
    clock = Clock()
    cache = cache_of(ttl=60, clock=clock)
    await cache.put("things/a", "A", 10)
    await cache.put("things/b", "B", 10, ttl=5)
    await cache.put("things/c", "C", 10, ttl=1e9)
    clock.now = 5
    assert [await cache.get(f"things/{name}") for name in "abc"] == ["A", None, "C"]
    clock.now = 60
    # Nothing is kept for longer than the cache keeps anything, whatever is asked for.
    assert [await cache.get(f"things/{name}") for name in "abc"] == [None, None, None]
    assert (cache.statistics.hits, cache.statistics.misses) == (2, 4)
    assert (cache.statistics.entries, cache.statistics.size) == (0, 0)


async def test_what_was_not_used_for_the_longest_time_goes_first() -> None:
    cache = cache_of(entries=2)
    await cache.put("things/a", 1, 1)
    await cache.put("things/b", 2, 1)
    await cache.get("things/a")
    await cache.put("things/c", 3, 1)
    assert set(holds(cache)) == {"things/a", "things/c"}
    assert cache.statistics.evicted == 1


async def test_one_value_cannot_drive_out_everything_else() -> None:
    cache = cache_of(size=SHARE * 10_000)
    await cache.put("things/small", 1, 10)
    await cache.put("things/large", 2, 10_001)
    assert set(holds(cache)) == {"things/small"}


async def test_a_value_that_became_too_large_does_not_leave_its_older_self() -> None:
    cache = cache_of(size=SHARE * 10_000)
    await cache.put("things/a", "old", 10)
    await cache.put("things/a", "new", 1 << 30)
    assert await cache.get("things/a") is None


async def test_however_many_ask_one_loader_works() -> None:
    cache, source = cache_of(), Source(open=False)
    found: list[object] = []

    async def ask() -> None:
        found.append(await cache.load("things/a", source.load))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        source.gate.set()
    assert (source.asked, found) == (1, [1] * 50)
    assert (cache.statistics.misses, cache.statistics.shared) == (50, 49)
    assert await cache.load("things/a", source.load) == 1


async def test_an_error_reaches_all_who_waited_and_is_never_kept() -> None:
    cache, source = cache_of(), Source(error=ValueError("not now"), open=False)
    failures: list[ValueError] = []

    async def ask() -> None:
        with pytest.raises(ValueError, match="not now") as caught:
            await cache.load("things/a", source.load)
        failures.append(caught.value)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        source.gate.set()
    assert (source.asked, len(failures)) == (1, 5)
    source.error = None
    assert await cache.load("things/a", source.load) == 2


async def test_a_caller_that_goes_away_while_it_loads_takes_nobody_with_it() -> None:
    cache, source = cache_of(), Source(open=False)
    found: list[object] = []

    async def ask() -> None:
        found.append(await cache.load("things/a", source.load))

    async with trio.open_nursery() as nursery:
        leaving = trio.CancelScope()

        async def leave() -> None:
            with leaving:
                await cache.load("things/a", source.load)

        nursery.start_soon(leave)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        leaving.cancel()
        await trio.testing.wait_all_tasks_blocked()
        source.gate.set()
    # The second loader is one for both who still wait.
    assert (source.asked, found) == (2, [2, 2])


@pytest.mark.parametrize(
    "said", [Invalidation("key", "things/u/a"), Invalidation("prefix", "things/u"), Invalidation("pattern", "*/a")]
)
async def test_what_was_read_before_an_invalidation_is_never_kept(said: Invalidation) -> None:
    cache, source = cache_of(), Source(open=False)
    found: list[object] = []

    async def ask() -> None:
        found.append(await cache.load("things/u/a", source.load))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        await cache.invalidate(said)
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        source.gate.set()
    # Who asked after it got what was read after it.
    assert sorted(map(str, found)) == ["1", "2"]
    assert await cache.load("things/u/a", source.load) == 2


async def test_a_prefix_ends_with_a_whole_part() -> None:
    cache = cache_of()
    for parts in (("ann",), ("ann", "p"), ("anna", "p"), ("ann", "q", "s")):
        await cache.put(cache.key(*parts), parts, 1)
    await cache.invalidate(Invalidation("prefix", cache.key("ann")))
    assert list(holds(cache)) == ["things/anna/p"]


async def test_a_pattern_reaches_one_name_in_every_folder() -> None:
    cache = cache_of()
    for parts in (("ann", "s"), ("bob", "s"), ("bob", "t")):
        await cache.put(cache.key(*parts), parts, 1)
    await cache.invalidate(Invalidation("pattern", pattern("things", ANY, "s")))
    assert list(holds(cache)) == ["things/bob/t"]


async def test_caches_of_one_server_hear_of_each_invalidation() -> None:
    hub = LocalInvalidations()
    here, there = Caches(hub), Caches(hub)
    one = here.named("chats", entries=5, size=1 << 20, ttl=60)
    other = there.named("chats", entries=5, size=1 << 20, ttl=60)
    for cache in (one, other):
        await cache.put(cache.key("ann"), "kept", 4)
    await here.invalidate(Invalidation("key", one.key("ann")))
    assert await other.get(other.key("ann")) is None
    await other.put(other.key("ann"), "kept", 4)
    await here.invalidate(EVERYTHING)
    assert await other.get(other.key("ann")) is None
    assert there.statistics()["chats"].invalidated == 2


def test_two_caches_cannot_have_one_name() -> None:
    caches = Caches()
    caches.named("chats", entries=1, size=1, ttl=1)
    with pytest.raises(ValueError, match="chats"):
        caches.named("chats", entries=1, size=1, ttl=1)


_PARTS = st.lists(st.text(max_size=8), min_size=1, max_size=4)


@given(_PARTS, _PARTS)
def test_two_lists_of_parts_never_have_one_key(one: list[str], other: list[str]) -> None:
    assert (key(*one) == key(*other)) == (one == other)


@given(st.text(max_size=8), _PARTS)
def test_no_part_of_a_pattern_means_more_than_it_says(name: str, parts: list[str]) -> None:
    said = Invalidation("pattern", pattern("things", ANY, name) if name != ANY else key("things", name))
    if said.matches(key("things", *parts)):
        assert parts[-1] == name


_KEYS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3).map(lambda parts: key("things", *parts))
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _KEYS, st.integers(0, 3000)),
        st.tuples(st.just("get"), _KEYS, st.just(0)),
        st.tuples(st.sampled_from(["key", "prefix"]), _KEYS, st.just(0)),
        st.tuples(st.just("pattern"), st.sampled_from(["*", "things/*/a", "things/a*", "*b"]), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(0, 40)),
    ),
    max_size=40,
)


async def _follow(steps: list[tuple[str, str, int]]) -> None:
    clock = Clock()
    cache = cache_of(entries=5, size=12_000, ttl=60, clock=clock)
    truth: dict[str, int] = {}
    for count, (step, name, size) in enumerate(steps):
        if step == "put":
            await cache.put(name, count + 1, size)
            truth[name] = count + 1
        elif step == "get":
            # It may have forgotten; what it gives is the last that was put.
            assert await cache.get(name) in (None, truth.get(name))
        elif step == "wait":
            clock.now += size
        else:
            said = Invalidation(step, name)  # type: ignore[arg-type]
            await cache.invalidate(said)
            assert not any(said.matches(each) for each in holds(cache))
            truth = {each: value for each, value in truth.items() if not said.matches(each)}
        kept = holds(cache)
        assert kept.items() <= truth.items()
        assert len(kept) == cache.statistics.entries <= 5
        assert cache.statistics.size <= 12_000
        assert cache.statistics.size >= OVERHEAD * len(kept)
        assert {each for below in cache._under.values() for each in below} == set(kept)


@given(_STEPS)
def test_after_any_steps_the_cache_holds_no_more_than_it_may_and_nothing_that_was_forgotten(
    steps: list[tuple[str, str, int]],
) -> None:
    trio.run(_follow, steps)
