"""The audit log gives back what was appended, newest first, for as long and as many as it keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from innkeeper.storage.audit import MOST_DETAILS, AuditKind, AuditLog, Record
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location

DAY = 86400.0
DIGEST = "ab" * 32


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as made:
        yield made


async def stored(db: Database) -> int:
    return await db.read(lambda connection: connection.scalar(text("SELECT count(*) FROM audit")) or 0)


async def test_what_was_appended_is_read_back_newest_first(db: Database) -> None:
    now = [100.0]
    log = AuditLog(db, now=lambda: now[0])
    first = await log.append(AuditKind.GRANT, plugin="a", digest=DIGEST, details={"capabilities": ["kv"], "n": 1.5})
    now[0] = 99.0
    second = await log.append(AuditKind.REFUSAL, plugin="b")
    assert second > first
    assert await log.read() == [
        Record(second, 99.0, AuditKind.REFUSAL, "b", "", {}),
        Record(first, 100.0, AuditKind.GRANT, "a", DIGEST, {"capabilities": ["kv"], "n": 1.5}),
    ]
    assert [each.id for each in await log.read(kind=AuditKind.GRANT)] == [first]
    assert [each.id for each in await log.read(plugin="b")] == [second]
    assert [each.id for each in await log.read(before=second)] == [first]
    assert [each.id for each in await log.read(limit=1)] == [second]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=25)
@given(every=st.lists(st.dictionaries(st.text(max_size=9), JSON, max_size=4), max_size=5))
def test_details_come_back_as_they_were(every: list[dict[str, Any]], shared_place: Location) -> None:
    async def main() -> None:
        async with open_database(shared_place) as db:
            log = AuditLog(db)
            for details in every:
                await log.append(AuditKind.GRANT, plugin="p", details=details)
            found = await log.read(limit=max(len(every), 1))
            assert [each.details for each in found][: len(every)] == every[::-1]

    trio.run(main)


@pytest.mark.parametrize(
    "details",
    [{"a": float("nan")}, {"a": {1, 2}}, {"a": b"bytes"}, {"a": "x" * MOST_DETAILS}, {"a": "é" * (MOST_DETAILS // 6)}],
)
async def test_details_that_are_no_json_or_too_large_are_refused(db: Database, details: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the details of an audit record"):
        await AuditLog(db).append(AuditKind.GRANT, plugin="p", details=details)
    assert await stored(db) == 0


async def test_details_without_an_end_are_refused(db: Database) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for details in (endless, {"deep": deep}):
        with pytest.raises(ValueError, match="what JSON can say"):
            await AuditLog(db).append(AuditKind.GRANT, plugin="p", details=details)


@pytest.mark.parametrize("arguments", [{"plugin": ""}, {"plugin": "a\n"}, {"plugin": "a", "digest": "a" * 257}])
async def test_a_plugin_or_digest_that_is_no_name_is_refused(db: Database, arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"the (plugin|digest)"):
        await AuditLog(db).append(AuditKind.GRANT, **arguments)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_read_is_bounded(db: Database, limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        await AuditLog(db).read(limit=limit)


async def test_a_record_that_is_too_old_is_not_given_and_the_next_of_its_kind_deletes_it(db: Database) -> None:
    now = [0.0]
    log = AuditLog(db, now=lambda: now[0], days=30)
    await log.append(AuditKind.GRANT, plugin="old")
    now[0] = 30 * DAY
    assert [each.plugin for each in await log.read()] == ["old"]
    now[0] += 1
    assert await log.read() == []
    assert await stored(db) == 1
    assert await log.sweep() == 1
    assert await stored(db) == 0


async def test_one_kind_in_any_number_drives_no_other_out(db: Database) -> None:
    log = AuditLog(db, most=10)
    await log.append(AuditKind.GRANT, plugin="granted")
    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(lambda: log.append(AuditKind.REFUSAL, plugin="flood"))
    assert await stored(db) <= 1 + 10 + 256
    await log.sweep()
    assert await stored(db) == 11
    assert [each.plugin for each in await log.read(kind=AuditKind.GRANT)] == ["granted"]


async def test_an_id_is_not_used_again(db: Database) -> None:
    log = AuditLog(db, days=1, now=lambda: now[0])
    now = [0.0]
    first = await log.append(AuditKind.GRANT, plugin="p")
    now[0] = 2 * DAY
    await log.sweep()
    assert await stored(db) == 0
    assert await log.append(AuditKind.GRANT, plugin="p") > first


@pytest.mark.parametrize("arguments", [{"days": 0.0}, {"days": float("nan")}, {"most": 0}])
async def test_a_log_that_keeps_nothing_is_refused(db: Database, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="keeps records"):
        AuditLog(db, **arguments)
