"""What became of a run's nodes is told from what was kept of it, one by one up to a bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from innkeeper.errors import RejectedError
from innkeeper.server.runs import outcomes as outcomes_module
from innkeeper.server.runs.outcomes import Outcomes, outcomes_of
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location
from innkeeper.storage.run_events import StoredEvent
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import StoredRun
from innkeeper.storage.run_reading import PAGE_ROWS, RunReader
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.runs_schema import run_events
from innkeeper.workflow.engine.events import COMPLETE, ERROR, EXECUTING, INTERFACE_OUTPUTS, RETRY, RunEvent
from innkeeper.workflow.scheduling.events import SqlEvents
from innkeeper.workflow.scheduling.seams import Lease
from run_fakes import chunk, new_run


def said(seq: int, kind: str, node: str, **fields: object) -> StoredEvent:
    return StoredEvent(seq, kind, {"nodeId": node, **fields}, at=float(seq))


def test_a_node_stands_as_the_last_of_its_events_says() -> None:
    found = Outcomes()
    found.take(
        [
            said(1, EXECUTING, "a"),
            said(2, COMPLETE, "a"),
            said(3, EXECUTING, "b"),
            said(4, RETRY, "b", attempt=1),
            said(7, ERROR, "b", errorDetails={"message": "m" * 9999}),
            said(8, "NODE_SKIPPED", "c", cause="b"),
            said(9, "NODE_BYPASSED", "d"),
            said(10, EXECUTING, "e"),
            said(11, COMPLETE, INTERFACE_OUTPUTS),
        ]
    )
    found.end()
    assert {id: node.status for id, node in found.nodes.items()} == {
        "a": "complete",
        "b": "error",
        "c": "skipped",
        "d": "bypassed",
        "e": "interrupted",
    }
    assert (found.nodes["a"].seconds, found.nodes["b"].tries) == (1.0, 2)
    assert found.nodes["b"].message == "m" * 2000


def test_a_node_that_is_begun_again_after_a_crash_runs_again() -> None:
    found = Outcomes()
    found.take([said(1, EXECUTING, "a"), said(2, ERROR, "a", errorDetails="why"), said(3, EXECUTING, "a")])
    assert (found.nodes["a"].status, found.nodes["a"].message) == ("running", None)


def test_beyond_the_bound_nodes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes_module, "MOST_NODES", 3)
    found = Outcomes()
    found.take([said(seq, EXECUTING, str(seq)) for seq in range(10)])
    assert (len(found.nodes), found.more) == (3, 7)


@given(
    st.lists(
        st.builds(
            StoredEvent,
            st.integers(1, 99),
            st.sampled_from([EXECUTING, COMPLETE, ERROR, RETRY, "other"]),
            st.dictionaries(
                st.sampled_from(["nodeId", "errorDetails", "attempt"]),
                st.none() | st.integers() | st.text(max_size=5) | st.dictionaries(st.just("message"), st.integers()),
            ),
            at=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        ),
        max_size=20,
    )
)
def test_whatever_events_say_nodes_stand_in_some_way(events: list[StoredEvent]) -> None:
    found = Outcomes()
    found.take(events)
    found.end()
    assert all(node.status in ("complete", "error", "interrupted") for node in found.nodes.values())
    assert all(node.seconds is None or node.seconds >= 0 for node in found.nodes.values())


# --- from the database ------------------------------------------------------------------------------------------------


async def run_with(db: Database, flushes: int) -> StoredRun:
    """A run of which each flush says that a node began and ended, with a chunk between and one at the end."""
    store = RunStore(db)
    await store.submit(new_run("r"), 1.0)
    (taken,) = await RunLeases(db).claim("host", 1, 600.0, 1.0)
    lease = Lease("r", taken.run.number, "host", taken.run.attempt, 600.0)
    events, seq = SqlEvents(db), 0
    for number in range(flushes):
        await events.publish(
            lease,
            [
                RunEvent(seq + 1, EXECUTING, {"nodeId": str(number)}),
                chunk(seq + 2),
                RunEvent(seq + 3, COMPLETE, {"nodeId": str(number)}, {"o": b"\x01"}),
                chunk(seq + 4),
            ],
        )
        seq += 4
    found = await store.find("r", 1.0)
    assert found is not None
    return found


@pytest.mark.parametrize("flushes", [0, 1, PAGE_ROWS, PAGE_ROWS + 1, 3 * PAGE_ROWS])
async def test_all_flushes_are_read_and_chunks_are_not(database_place: Location, flushes: int) -> None:
    async with open_database(database_place) as db:
        run = await run_with(db, flushes)
        found = await outcomes_of(RunReader(db), run)
        assert {id: node.status for id, node in found.nodes.items()} == dict.fromkeys(
            map(str, range(flushes)), "complete"
        )
        assert found.more == 0


async def test_of_very_many_events_the_first_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes_module, "MOST_EVENTS", 10)
    async with open_database(tmp_path / "inn.db") as db:
        run = await run_with(db, 2 * PAGE_ROWS)
        found = await outcomes_of(RunReader(db), run)
        assert len(found.nodes) == PAGE_ROWS
        assert found.more == run.seq - 4 * PAGE_ROWS


async def test_damaged_events_are_said_to_be_damaged(tmp_path: Path) -> None:
    async with open_database(tmp_path / "inn.db") as db:
        run = await run_with(db, 1)
        damage = update(run_events).values(body=b"\xc1")
        await db.write(lambda connection: connection.execute(damage))
        with pytest.raises(RejectedError, match="damaged"):
            await outcomes_of(RunReader(db), run)


async def test_runs_under_way_are_counted(database_place: Location) -> None:
    async with open_database(database_place) as db:
        store = RunStore(db)
        assert await store.under_way() == {"queued": 0, "running": 0}
        for id in ("a", "b", "c"):
            await store.submit(new_run(id), 1.0)
        await RunLeases(db).claim("host", 1, 60.0, 1.0)
        assert await store.under_way() == {"queued": 2, "running": 1}
        await store.cancel("c", 2.0)
        assert await store.under_way() == {"queued": 1, "running": 1}
