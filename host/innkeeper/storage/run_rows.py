"""The rows of submitted runs, inside of a transaction: counted against the quota, added, ended and forgotten."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from innkeeper.storage.schedules_model import (
    KEPT,
    MOST_KEPT,
    MOST_KEPT_BYTES,
    Account,
    RunStatus,
    SubmittedRun,
    TooManyError,
)
from innkeeper.storage.schema import submitted_runs as runs

COLUMNS: Final = tuple(
    runs.c[name]
    for name in (
        *("number", "id", "owner", "plugin", "name", "status", "generation", "schedule"),
        *("submitted", "started", "ended"),
    )
)
"""What `as_run` reads."""

_STEP = 256
"""Runs that one transaction forgets at most."""


def as_run(row: Any) -> SubmittedRun:
    """A run from its row."""
    return SubmittedRun(
        row.number, row.id, Account(row.owner, row.plugin), row.name, row.status, row.generation, row.schedule,
        row.submitted, row.started, row.ended,
    )  # fmt: skip


def of(account: Account) -> ColumnElement[bool]:
    """The condition that a run is theirs."""
    return and_(runs.c.owner == account.owner, runs.c.plugin == account.plugin)


def remembered(now: float) -> ColumnElement[bool]:
    """The condition that a run has not ended, or not so long ago that it is forgotten."""
    return or_(runs.c.ended.is_(None), runs.c.ended > now - KEPT)


def add_run(
    connection: Connection,
    account: Account,
    id: str,
    name: str,
    generation: int,
    job: bytes,
    now: float,
    most: int,
    schedule: str = "",
) -> None:
    """Queues a run.

    Raises:
        TooManyError: `most` are queued or running.
    """
    under_way = select(func.count()).select_from(runs).where(of(account), runs.c.ended.is_(None))
    if connection.execute(under_way).scalar_one() >= most:
        raise TooManyError("runs", most)
    connection.execute(
        insert(runs).values(
            id=id,
            owner=account.owner,
            plugin=account.plugin,
            name=name,
            status="queued",
            cancel=False,
            generation=generation,
            schedule=schedule,
            job=job,
            submitted=now,
            size=len(job),
        )
    )


def end_run(
    connection: Connection,
    number: int,
    account: Account,
    status: RunStatus,
    now: float,
    outputs: bytes | None = None,
    error: str | None = None,
) -> bool:
    """Ends a run that is under way, and forgets old ones; False if it had ended already."""
    values = {"status": status, "ended": now, "job": None, "outputs": outputs, "error": error}
    ending = update(runs).where(runs.c.number == number, runs.c.ended.is_(None))
    done = connection.execute(ending.values(**values, size=len(outputs or b"") + len(error or "")))
    if done.rowcount:
        _forget(connection, account, now)
    return bool(done.rowcount)


def _forget(connection: Connection, account: Account, now: float) -> None:
    ended = select(runs.c.number, runs.c.size, runs.c.ended).where(of(account), runs.c.ended.is_not(None))
    kept = size = 0
    forgotten = []
    for row in connection.execute(ended.order_by(runs.c.number.desc()).limit(MOST_KEPT + _STEP)):
        kept, size = kept + 1, size + row.size
        if kept > MOST_KEPT or size > MOST_KEPT_BYTES or row.ended <= now - KEPT:
            forgotten.append(row.number)
    if forgotten:
        connection.execute(delete(runs).where(runs.c.number.in_(forgotten)))


def forget_old(connection: Connection, now: float) -> int:
    """Deletes runs, of whomever, that ended too long ago; gives how many (int)."""
    old = select(runs.c.number).where(runs.c.ended <= now - KEPT).order_by(runs.c.ended).limit(_STEP)
    numbers = list(connection.scalars(old))
    if numbers:
        connection.execute(delete(runs).where(runs.c.number.in_(numbers)))
    return len(numbers)
