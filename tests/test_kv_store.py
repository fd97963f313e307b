"""`KvStore` does what a dict with versions, times and quotas would do, whatever keys and values hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from innkeeper.storage.database import Database, open_database
from innkeeper.storage.kv import MOST_SWEPT, KvStore
from innkeeper.storage.kv_model import (
    MOST_LISTED,
    MOST_TTL,
    MOST_VALUE,
    ConflictError,
    Entry,
    OverQuotaError,
    Quota,
)
from innkeeper.storage.location import Location

AMPLE = Quota(10_000, 1 << 24)
FEW = Quota(4, 60)


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as made:
        yield made


@dataclass
class Clock:
    """Seconds that only a test moves on."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(db: Database, clock: Clock) -> KvStore:
    return KvStore(db, now=clock)


async def rows(db: Database) -> int:
    return await db.read(lambda connection: connection.scalar(text("SELECT count(*) FROM kv")) or 0)


@dataclass
class Model:
    """What one plugin of one owner keeps, in a dict."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    version: int = 0

    def live(self, now: float) -> dict[tuple[str, str], Entry]:
        return {place: each for place, each in self.entries.items() if each.expires is None or each.expires > now}

    def usage(self, now: float) -> tuple[int, int]:
        live = self.live(now)
        sizes = (len(scope.encode()) + len(key.encode()) + len(each.value) for (scope, key), each in live.items())
        return len(live), sum(sizes)

    def expected(self, now: float, place: tuple[str, str], expect: int | None) -> str | None:
        live = self.live(now).get(place)
        current = 0 if live is None else live.version
        return None if expect is None or expect == current else f"conflict {current}"

    def put(
        self, now: float, place: tuple[str, str], value: bytes, ttl: float | None, expect: int | None, quota: Quota
    ) -> int | str:
        conflict = self.expected(now, place, expect)
        if conflict is not None:
            return conflict
        new = Entry(value, self.version + 1, None if ttl is None else now + ttl)
        entries, size = Model({**self.live(now), place: new}).usage(now)
        if entries > quota.entries:
            return f"entries {quota.entries} {entries}"
        if size > quota.bytes:
            return f"bytes {quota.bytes} {size}"
        self.version += 1
        self.entries[place] = new
        return self.version

    def delete(self, now: float, place: tuple[str, str], expect: int | None) -> bool | str:
        conflict = self.expected(now, place, expect)
        if conflict is not None:
            return conflict
        was = place in self.live(now)
        self.entries.pop(place, None)
        return was

    def list(self, now: float, scope: str, prefix: str, after: str, limit: int) -> list[str]:
        keys = [key for its, key in self.live(now) if its == scope and key.startswith(prefix) and key > after]
        return sorted(keys)[:limit]


SCOPES = st.sampled_from(["", "s", "%"])
KEYS = st.text(alphabet="ab%_\\é\U0010ffff\ue000", min_size=1, max_size=3)
PREFIXES = st.text(alphabet="ab%_\\é\U0010ffff\ue000", max_size=2)
EXPECT = st.none() | st.integers(0, 12)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            *(SCOPES, KEYS, st.binary(max_size=30)),
            *(st.none() | st.sampled_from([0.5, 1.0, 5.0]), EXPECT, st.sampled_from([AMPLE, FEW])),
        ),
        st.tuples(st.just("get"), SCOPES, KEYS),
        st.tuples(st.just("delete"), SCOPES, KEYS, EXPECT),
        st.tuples(st.just("list"), SCOPES, PREFIXES, PREFIXES, st.integers(1, 4)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 5.0])),
        st.tuples(st.just("sweep"), st.integers(1, 3)),
    ),
    max_size=40,
)


async def said(call: Any) -> Any:
    """What a call of the store comes to, as the model says it."""
    try:
        return await call
    except ConflictError as error:
        return f"conflict {error.current}"
    except OverQuotaError as error:
        return f"{error.quota} {error.value} {error.used}"


async def follow(store: KvStore, clock: Clock, owner: str, steps: list[Any]) -> None:
    model = Model()
    who = (owner, "plugin")
    for name, *rest in steps:
        if name == "wait":
            clock.now += rest[0]
        elif name == "sweep":
            await store.sweep(most=rest[0])
        elif name == "put":
            scope, key, value, ttl, expect, quota = rest
            got = await said(store.put(*who, scope, key, value, ttl=ttl, expect=expect, quota=quota))
            assert got == model.put(clock.now, (scope, key), value, ttl, expect, quota)
        elif name == "get":
            assert await store.get(*who, *rest) == model.live(clock.now).get(tuple(rest))
        elif name == "delete":
            scope, key, expect = rest
            got = await said(store.delete(*who, scope, key, expect=expect))
            assert got == model.delete(clock.now, (scope, key), expect)
        else:
            scope, prefix, after, limit = rest
            got = await store.list(*who, scope, prefix=prefix, after=after, limit=limit)
            assert got == model.list(clock.now, scope, prefix, after, limit)
        assert await store.usage(*who) == model.usage(clock.now)
    for scope in ("", "s", "%"):
        assert await store.list(*who, scope) == model.list(clock.now, scope, "", "", 1000)
    for (scope, key), entry in model.live(clock.now).items():
        assert await store.get(*who, scope, key) == entry


_owners = itertools.count()


@settings(deadline=None, max_examples=100)
@given(steps=STEPS)
def test_the_store_does_what_a_dict_would_do(shared_place: Location, steps: list[Any]) -> None:
    async def main() -> None:
        async with open_database(shared_place) as db:
            clock = Clock()
            await follow(KvStore(db, now=clock), clock, f"owner {next(_owners)}", steps)

    trio.run(main)


async def test_what_is_counted_is_what_is_stored_after_anything(db: Database, store: KvStore, clock: Clock) -> None:
    async def work(number: int) -> None:
        who = ("o", f"p{number % 3}", "s")
        for step in range(30):
            key = f"k{(number * 7 + step * 3) % 10}"
            await said(store.put(*who, key, b"v" * (step % 9), ttl=1 + step % 3 if step % 2 else None, quota=FEW))
            if step % 5 == 0:
                clock.now += 0.5
                await store.delete(*who, f"k{step % 10}")
            if step % 7 == 0:
                await store.sweep(most=2)

    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(work, number)
    counted = await db.read(
        lambda connection: connection.execute(
            text("SELECT owner, plugin, entries, bytes FROM kv_usage ORDER BY owner, plugin")
        ).all()
    )
    real = await db.read(
        lambda connection: connection.execute(
            text("SELECT owner, plugin, count(*), sum(size) FROM kv GROUP BY owner, plugin ORDER BY owner, plugin")
        ).all()
    )
    assert [tuple(row) for row in counted if row[2]] == [tuple(row) for row in real]
    assert all(entries <= FEW.entries and size <= FEW.bytes for _, _, entries, size in real)


async def test_of_many_that_create_a_key_one_does(store: KvStore) -> None:
    results = []

    async def create(number: int) -> None:
        results.append(await said(store.put("o", "p", "", "lock", b"%d" % number, expect=0, quota=AMPLE)))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(create, number)
    assert sorted(map(str, results)) == ["1", *["conflict 1"] * 49]


async def test_no_count_is_lost_when_all_compare_and_set(store: KvStore) -> None:
    await store.put("o", "p", "", "n", b"0", quota=AMPLE)

    async def increase() -> None:
        while True:
            entry = await store.get("o", "p", "", "n")
            assert entry is not None
            value = b"%d" % (int(entry.value) + 1)
            if isinstance(await said(store.put("o", "p", "", "n", value, expect=entry.version, quota=AMPLE)), int):
                return

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(increase)
    entry = await store.get("o", "p", "", "n")
    assert entry is not None
    assert entry.value == b"20"


async def test_a_version_is_not_given_again_after_a_delete(store: KvStore) -> None:
    first = await store.put("o", "p", "", "k", b"a", quota=AMPLE)
    assert await store.delete("o", "p", "", "k")
    second = await store.put("o", "p", "", "k", b"b", quota=AMPLE)
    assert second > first
    with pytest.raises(ConflictError, match=f"has version {second}"):
        await store.put("o", "p", "", "k", b"c", expect=first, quota=AMPLE)


async def test_owners_plugins_and_scopes_do_not_see_each_other(store: KvStore) -> None:
    places = [(o, p, s) for o in ("o", "O") for p in ("p", "o") for s in ("", "s", "p")]
    for place in places:
        await store.put(*place, "k", repr(place).encode(), quota=AMPLE)
    for place in places:
        entry = await store.get(*place, "k")
        assert entry is not None
        assert entry.value == repr(place).encode()
    assert await store.delete("o", "p", "", "k")
    assert await store.list("o", "p", "") == []
    assert await store.list("o", "p", "s") == ["k"]
    assert await store.get("O", "p", "", "k") is not None
    assert (await store.usage("o", "p"))[0] == 2
    assert (await store.usage("O", "p"))[0] == 3


async def test_a_quota_is_of_all_scopes_together_and_of_one_owner(store: KvStore) -> None:
    one = Quota(1, 1000)
    await store.put("o", "p", "a", "k", b"", quota=one)
    with pytest.raises(OverQuotaError, match="quota of 1 entries") as caught:
        await store.put("o", "p", "b", "k", b"", quota=one)
    assert (caught.value.quota, caught.value.value, caught.value.used) == ("entries", 1, 2)
    assert await store.get("o", "p", "b", "k") is None
    await store.put("other", "p", "b", "k", b"", quota=one)
    await store.put("o", "other", "b", "k", b"", quota=one)


async def test_bytes_of_scopes_and_keys_count(store: KvStore) -> None:
    await store.put("o", "p", "é", "éé", b"abc", quota=Quota(9, 9))
    assert await store.usage("o", "p") == (1, 9)
    with pytest.raises(OverQuotaError, match="quota of 9 bytes"):
        await store.put("o", "p", "é", "éé", b"abcd", quota=Quota(9, 9))
    entry = await store.get("o", "p", "é", "éé")
    assert entry is not None
    assert entry.value == b"abc"


async def test_an_entry_is_gone_from_the_very_moment_that_it_expires(store: KvStore, clock: Clock) -> None:
    await store.put("o", "p", "", "k", b"v", ttl=10, quota=AMPLE)
    clock.now += 9.5
    assert await store.get("o", "p", "", "k") == Entry(b"v", 1, 1010.0)
    clock.now += 0.5
    assert await store.get("o", "p", "", "k") is None
    assert await store.list("o", "p", "") == []
    assert await store.usage("o", "p") == (0, 0)
    assert await store.put("o", "p", "", "k", b"w", ttl=10, expect=0, quota=AMPLE) == 2
    clock.now += 10
    with pytest.raises(ConflictError, match="does not exist"):
        await store.delete("o", "p", "", "k", expect=2)
    assert not await store.delete("o", "p", "", "k", expect=0)


async def test_a_sweep_deletes_a_bounded_number_longest_expired_first(
    db: Database, store: KvStore, clock: Clock
) -> None:
    for number in range(10):
        await store.put("o", f"p{number % 2}", "", str(number), b"", ttl=10 - number, quota=AMPLE)
    await store.put("o", "p0", "", "stays", b"", quota=AMPLE)
    clock.now += 20
    assert await store.sweep(most=4) == 4
    left = await db.read(lambda connection: list(connection.scalars(text("SELECT key FROM kv ORDER BY key"))))
    assert left == ["0", "1", "2", "3", "4", "5", "stays"]
    assert await store.sweep() == 6
    assert await store.sweep() == 0
    assert await rows(db) == 1


async def test_expired_entries_neither_fill_a_quota_nor_the_disk(db: Database, store: KvStore, clock: Clock) -> None:
    quota = Quota(MOST_SWEPT + 50, 1 << 20)
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for number in range(quota.entries):
                nursery.start_soon(
                    lambda n=number: store.put("o", "p", "", f"{clock.now} {n}", b"", ttl=1, quota=quota)
                )
        assert await rows(db) <= quota.entries
        clock.now += 2
    # One that needs more room than a single step of the sweep makes.
    last = Quota(1, 1 << 20)
    await store.put("o", "p", "", "last", b"", quota=last)
    assert await rows(db) == 1


@pytest.mark.parametrize("text", ["%", "_", "a%", "a_", "\\", "a\\%", "[a]", "*", "'", '"', "; DROP TABLE kv; --"])
async def test_a_prefix_is_taken_literally(store: KvStore, text: str) -> None:
    for key in ("a", "ab", "a1", "b", "zz", text, f"{text}more"):
        await store.put("o", "p", "", key, key.encode(), quota=AMPLE)
    assert await store.list("o", "p", "", prefix=text) == sorted({text, f"{text}more"})
    entry = await store.get("o", "p", "", text)
    assert entry is not None
    assert entry.value == text.encode()


async def test_keys_that_look_alike_are_not_the_same(store: KvStore) -> None:
    keys = ["k", "K", "k ", " k", "é", "e\u0301", "ß", "ss", "ﬀ"]
    for key in keys:
        await store.put("o", "p", "", key, b"", expect=0, quota=AMPLE)
    assert await store.list("o", "p", "") == sorted(keys, key=str.encode)


async def test_pages_of_keys_make_the_whole(store: KvStore) -> None:
    keys = sorted(f"k{number}" for number in range(25))
    for key in keys:
        await store.put("o", "p", "", key, b"", quota=AMPLE)
    found: list[str] = []
    while page := await store.list("o", "p", "", prefix="k", after=found[-1] if found else "", limit=10):
        found += page
    assert found == keys


@pytest.mark.parametrize("name", ["", "a" * 257, "é" * 129, "a\nb", "a\x00", "\x7f", "\x9b", "\ud800", "a" * 1_000_000])
async def test_a_name_that_is_none_is_refused_everywhere(db: Database, store: KvStore, name: str) -> None:
    for place in ((name, "p", "s", "k"), ("o", name, "s", "k"), ("o", "p", name or "\n", "k"), ("o", "p", "s", name)):
        with pytest.raises(ValueError, match=r"^the "):
            await store.put(*place, b"", quota=AMPLE)
        with pytest.raises(ValueError, match=r"^the "):
            await store.get(*place)
        with pytest.raises(ValueError, match=r"^the "):
            await store.delete(*place)
    if name:
        with pytest.raises(ValueError, match=r"^the prefix"):
            await store.list("o", "p", "s", prefix=name)
        with pytest.raises(ValueError, match=r"^the key to go on after"):
            await store.list("o", "p", "s", after=name)
    assert await rows(db) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        *({"ttl": ttl} for ttl in (0.0, -1.0, math.nan, math.inf, -math.inf, MOST_TTL * 1.01)),
        *({"expect": expect} for expect in (-1, 1 << 63, 1 << 200)),
        {"value": bytes(MOST_VALUE + 1)},
    ],
)
async def test_an_argument_out_of_bounds_is_refused(db: Database, store: KvStore, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^the "):
        await store.put("o", "p", "", "k", **{"value": b"", "quota": AMPLE, **arguments})
    assert await rows(db) == 0


async def test_the_largest_of_everything_fits(store: KvStore) -> None:
    names = ("o" * 256, "p" * 256, "s" * 256, "k" * 256)
    value = bytes(MOST_VALUE)
    await store.put(*names, value, ttl=MOST_TTL, quota=AMPLE)
    entry = await store.get(*names)
    assert entry is not None
    assert entry.value == value


@pytest.mark.parametrize("limit", [0, -1, MOST_LISTED + 1])
async def test_a_list_is_bounded(store: KvStore, limit: int) -> None:
    with pytest.raises(ValueError, match="the limit must be 1 to"):
        await store.list("o", "p", "", limit=limit)


@pytest.mark.parametrize("most", [0, -1, MOST_SWEPT + 1])
async def test_a_sweep_is_bounded(store: KvStore, most: int) -> None:
    with pytest.raises(ValueError, match="a sweep deletes 1 to"):
        await store.sweep(most=most)


async def test_two_stores_of_one_database_see_each_others_entries(database_place: Location) -> None:
    async with open_database(database_place) as one, open_database(database_place) as other:
        first, second = KvStore(one), KvStore(other)
        async with trio.open_nursery() as nursery:
            for number in range(100):
                store = (first, second)[number % 2]
                nursery.start_soon(lambda s=store, n=number: s.put("o", "p", "", str(n), b"", quota=AMPLE))
        assert await first.usage("o", "p") == (100, await _sum(other))
        assert await second.list("o", "p", "") == await first.list("o", "p", "")
        # Versions are of the database, not of the process.
        assert await second.put("o", "p", "", "last", b"", quota=AMPLE) == 101


async def _sum(db: Database) -> int:
    return await db.read(lambda connection: connection.scalar(text("SELECT sum(size) FROM kv")) or 0)
