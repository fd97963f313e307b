"""The rows of runs, inside of a transaction: counted against the quotas, added, ended and forgotten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, or_, select, true, update

from innkeeper.storage.run_events import Written, closing_event, write_events
from innkeeper.storage.run_model import (
    KEPT,
    MOST_KEPT,
    MOST_KEPT_BYTES,
    MOST_TRACED_BYTES,
    Account,
    Fence,
    NewRun,
    QueueBounds,
    RunStatus,
    StoredRun,
    TooManyError,
)
from innkeeper.storage.runs_schema import node_results, run_events, runs

COLUMNS: Final = tuple(
    runs.c[name]
    for name in (
        *("number", "id", "owner", "plugin", "name", "status", "cancel", "priority", "deadline", "after_crash"),
        *("generation", "schedule", "holder", "attempt", "submitted", "started", "ended", "seq"),
    )
)
"""What `as_run` reads."""

_STEP = 64
"""Runs that one transaction forgets at most."""

_WIRE: Final = {"cancelled": "interrupted"}
"""Statuses that have another name in events."""


def as_run(row: Any) -> StoredRun:
    """A run from its row."""
    return StoredRun(
        number=row.number,
        id=row.id,
        account=Account(row.owner, row.plugin),
        name=row.name,
        status=row.status,
        cancel=row.cancel,
        priority=row.priority,
        deadline=row.deadline,
        after_crash=row.after_crash,
        generation=row.generation,
        schedule=row.schedule,
        holder=row.holder,
        attempt=row.attempt,
        submitted=row.submitted,
        started=row.started,
        ended=row.ended,
        seq=row.seq,
    )


def of(account: Account | None) -> ColumnElement[bool]:
    """The condition that a run is theirs; None: anybody's."""
    if account is None:
        return true()
    return and_(runs.c.owner == account.owner, runs.c.plugin == account.plugin)


def remembered(now: float) -> ColumnElement[bool]:
    """The condition that a run is not forgotten: of plugins' runs that ended, those that did so a while ago are."""
    return or_(runs.c.ended.is_(None), runs.c.plugin == "", runs.c.ended > now - KEPT)


def fenced(fence: Fence) -> ColumnElement[bool]:
    """The condition that a host still has a run."""
    return and_(
        runs.c.number == fence.number,
        runs.c.attempt == fence.attempt,
        runs.c.holder == fence.holder,
        runs.c.status == "running",
    )


def add_run(
    connection: Connection, new: NewRun, now: float, bounds: QueueBounds, *, offered: bool = True
) -> Literal["accepted", "known", "busy"]:
    """Queues a run.

    Raises:
        TooManyError: its plugin has too many that are queued or running.
    """
    account = new.account
    if connection.scalar(select(exists().where(runs.c.id == new.id))):
        return "known"
    if account.plugin:
        own = select(func.count()).select_from(runs).where(of(account), runs.c.ended.is_(None))
        if connection.execute(own).scalar_one() >= bounds.plugin:
            raise TooManyError("runs", bounds.plugin)
    if offered and is_full(connection, account.owner, bounds):
        return "busy"
    connection.execute(
        insert(runs).values(
            id=new.id,
            owner=account.owner,
            plugin=account.plugin,
            name=new.name,
            status="queued",
            offered=offered,
            cancel=False,
            priority=new.priority,
            after_crash=new.after_crash,
            crashes=0,
            deadline=new.deadline,
            generation=new.generation,
            schedule=new.schedule,
            attempt=0,
            submitted=now,
            seq=0,
            gone_first=0,
            gone_last=0,
            size=len(new.job),
            kept=0,
            job=new.job,
        )
    )
    return "accepted"


def is_full(connection: Connection, owner: str, bounds: QueueBounds) -> bool:
    """Whether nothing more of an owner is taken into the queue."""
    queued = select(func.count()).select_from(runs)
    queued = queued.where(runs.c.status == "queued", runs.c.ended.is_(None), runs.c.offered)
    return (
        connection.execute(queued.where(runs.c.owner == owner)).scalar_one() >= bounds.user
        or connection.execute(queued).scalar_one() >= bounds.everybody
    )


def end_run(
    connection: Connection,
    run: StoredRun,
    status: RunStatus,
    now: float,
    *,
    outputs: bytes | None = None,
    error: str | None = None,
    fence: Fence | None = None,
    events: Sequence[Any] | None = None,
) -> Written | None:
    """Ends a run that is under way, with its last events.

    Args:
        connection: in a transaction.
        run: as it was read in this transaction, or as who has it knows it.
        status: how it ended.
        now: seconds since 1970.
        outputs: a msgpack map.
        error: why it failed, as JSON.
        fence: who has it; None: nobody has.
        events: its last ones; None: nobody said any, and one is made that says how it ended.

    Returns:
        What was written of events; None: it had ended already, or another host has it, and nothing was written.
    """
    own = fenced(fence) if fence is not None else and_(runs.c.number == run.number, runs.c.ended.is_(None))
    values: dict[str, Any] = {"status": status, "ended": now, "outputs": outputs, "error": error, "lease_until": None}
    more = len(outputs or b"") + len((error or "").encode())
    if run.account.plugin:
        # Nobody starts it again; and it is not the plugin's inputs that are kept for it.
        values |= {"job": None, "size": more}
    else:
        values["size"] = runs.c.size + more
    if not connection.execute(update(runs).where(own).values(**values)).rowcount:
        return None
    if events is None:
        seq = connection.execute(select(runs.c.seq).where(runs.c.number == run.number)).scalar_one()
        message = json.loads(error)["message"] if error else None
        events = [closing_event(seq + 1, _WIRE.get(status, status), message, now)]
    written = write_events(connection, run.number, events, outputs=outputs)
    if run.account.plugin:
        _forget(connection, run.account, now)
    return written


def _forget(connection: Connection, account: Account, now: float) -> None:
    columns = (runs.c.number, runs.c.size, runs.c.kept, runs.c.ended)
    ended = select(*columns).where(of(account), runs.c.ended.is_not(None))
    count = size = traced = 0
    forgotten, untraced = [], []
    for row in connection.execute(ended.order_by(runs.c.number.desc()).limit(MOST_KEPT + _STEP)):
        count, size, traced = count + 1, size + row.size, traced + row.kept
        if count > MOST_KEPT or size > MOST_KEPT_BYTES or row.ended <= now - KEPT:
            forgotten.append(row.number)
        elif traced > MOST_TRACED_BYTES and row.kept:
            untraced.append(row.number)
    forget_runs(connection, forgotten)
    if untraced:
        _forget_traces(connection, untraced)
        gone = {"kept": 0, "gone_first": 1, "gone_last": runs.c.seq}
        connection.execute(update(runs).where(runs.c.number.in_(untraced)).values(**gone))


def forget_runs(connection: Connection, numbers: Sequence[int]) -> None:
    """Deletes runs with all that is known of them."""
    if numbers:
        _forget_traces(connection, numbers)
        connection.execute(delete(runs).where(runs.c.number.in_(numbers)))


def _forget_traces(connection: Connection, numbers: Sequence[int]) -> None:
    for table in (run_events, node_results):
        connection.execute(delete(table).where(table.c.run.in_(numbers)))
