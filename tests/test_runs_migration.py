"""Runs that an older version kept are there afterwards, each as it stood, and what ran then is interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, column, insert, table

from innkeeper.storage import postgres
from innkeeper.storage.database import open_database
from innkeeper.storage.engines import turn_on_wal, writing_engine
from innkeeper.storage.location import Location
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import Account
from innkeeper.storage.run_reading import RunReader
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.storage.upgrade import MIGRATIONS
from run_fakes import new_run

_NAMES = (
    *("number", "id", "owner", "plugin", "name", "status", "cancel", "generation", "schedule"),
    *("job", "submitted", "started", "ended", "outputs", "error", "size"),
)
_PLACE = ("id", "owner", "plugin", "name", "expression", "timezone", "generation", "job", "created", "due", "looked_at")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Where no table is."""
    if request.param == "sqlite":
        return Location.of(tmp_path / "state" / "inn.db")
    return Location.of(request.getfixturevalue("empty_postgres_url"), upgrade="yes")


def older(place: Location, *runs: dict[str, Any], schedules: int = 0) -> None:
    """A database as the version before left it."""
    engine = opened(place)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0009")
        for run in runs:
            connection.execute(insert(table("submitted_runs", *map(column, _NAMES))).values(**run))
            if place.path is None:
                # Where the database gives a number itself, it counts it too.
                counter = "pg_get_serial_sequence('submitted_runs', 'number')"
                connection.exec_driver_sql(f"SELECT setval({counter}, {int(run['number'])})")
        for number in range(schedules):
            row = dict.fromkeys(_PLACE, "") | {"id": f"s{number}", "owner": "o", "plugin": "p", "expression": ""}
            row |= {"generation": 1, "job": b"job", "created": 1.0, "due": 5.0, "looked_at": 5.0}
            connection.execute(insert(table("schedules", *map(column, _PLACE))).values(**row))
    engine.dispose()


def opened(place: Location) -> Engine:
    """An engine that writes, as the host has it."""
    if place.path is None:
        return postgres.writing_engine(place.url)
    place.path.parent.mkdir(mode=0o700, exist_ok=True)
    place.path.touch(mode=0o600)
    engine = writing_engine(place.path)
    assert turn_on_wal(engine)
    return engine


def run(number: int, status: str, **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = dict.fromkeys(_NAMES)
    fields |= {"number": number, "id": f"r{number}", "owner": "o", "plugin": "p", "name": "n", "status": status}
    fields |= {"cancel": False, "generation": 2, "schedule": "s", "submitted": 1.0, "size": 3}
    return {**fields, **more}


async def test_runs_of_an_older_version_go_on_as_they_stood(place: Location) -> None:
    older(
        place,
        run(3, "complete", started=2.0, ended=3.0, outputs=b"\x80"),
        run(5, "error", started=2.0, ended=3.0, error='{"message": "x"}'),
        run(7, "running", started=2.0, job=b"job"),
        run(8, "running", started=2.0, job=b"job", cancel=True),
        run(9, "queued", job=b"job"),
        schedules=1,
    )
    async with open_database(place) as db:
        store, leases, account = RunStore(db), RunLeases(db), Account("o", "p")
        listed = await store.list(10.0, account)
        assert [(each.id, each.status) for each in listed] == [
            ("r9", "queued"),
            ("r8", "running"),
            ("r7", "running"),
            ("r5", "error"),
            ("r3", "complete"),
        ]
        assert {(each.name, each.generation, each.schedule, each.submitted) for each in listed} == {("n", 2, "s", 1.0)}
        first, second = await store.ended("r3", 10.0), await store.ended("r5", 10.0)
        assert first is not None
        assert second is not None
        assert (first.outputs, second.error) == (b"\x80", '{"message": "x"}')
        # Their host is gone, and knew nothing of leases.
        lapsed = await leases.lapse(10.0)
        assert [(each.id, each.status) for each in lapsed] == [("r7", "interrupted"), ("r8", "cancelled")]
        (taken,) = await leases.claim("host", 5, 10.0, 10.0)
        loaded = await leases.load(taken.fence)
        assert loaded is not None
        assert (loaded.run.id, loaded.run.attempt, loaded.job) == ("r9", 1, b"job")
        page = await RunReader(db).page(7, 0)
        assert page is not None
        assert [each.fields for each in page.events] == [{"status": "interrupted"}]
        (schedule,) = await ScheduleStore(db).due(5.0)
        assert (schedule.id, schedule.paused, schedule.priority, schedule.after_crash, schedule.lasting) == (
            "s0", False, 0, "interrupt", None
        )  # fmt: skip


async def test_numbers_that_were_given_before_are_not_given_again(place: Location) -> None:
    older(place, run(41, "queued", job=b"job"))
    engine = opened(place)
    with engine.begin() as connection:
        # The newest was forgotten before the upgrade.
        connection.exec_driver_sql("DELETE FROM submitted_runs")
    engine.dispose()
    async with open_database(place) as db:
        await RunStore(db).submit(new_run("r"), 1.0)
        (found,) = await RunStore(db).list(1.0)
        assert found.number == 42


async def test_a_database_without_runs_is_upgraded_too(place: Location) -> None:
    older(place)
    async with open_database(place) as db:
        await RunStore(db).submit(new_run("r"), 1.0)
        assert [each.number for each in await RunStore(db).list(1.0)] == [1]
