"""Which runs go next: whoever has fewest running comes first, so that who submits much delays himself."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from innkeeper.storage.run_model import Account, RunningBounds
from innkeeper.storage.runs_schema import runs

MOST_AMONG: Final = 1000
"""Ids that one query names at most."""


_Place = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that may go.

    Attributes:
        number: the run's.
        account: whose it is.
        priority: of it.
    """

    number: int
    account: Account
    priority: int


def heads(connection: Connection, among: Collection[str] | None) -> list[Waiting]:
    """The run of each account that goes first, of those that wait."""
    waiting = _waiting(among)
    best = select(runs.c.owner, runs.c.plugin, func.max(runs.c.priority).label("priority"))
    best = best.where(*waiting).group_by(runs.c.owner, runs.c.plugin)
    top = best.subquery()
    same = (top.c.owner == runs.c.owner) & (top.c.plugin == runs.c.plugin) & (top.c.priority == runs.c.priority)
    first = select(func.min(runs.c.number).label("number"), runs.c.owner, runs.c.plugin, runs.c.priority)
    query = first.select_from(runs).join(top, same).where(*waiting)
    query = query.group_by(runs.c.owner, runs.c.plugin, runs.c.priority)
    return [_as_waiting(row) for row in connection.execute(query)]


def following(connection: Connection, after: Waiting, among: Collection[str] | None) -> Waiting | None:
    """The next run of an account after one of it, or None."""
    later = (runs.c.priority < after.priority) | ((runs.c.priority == after.priority) & (runs.c.number > after.number))
    own = (runs.c.owner == after.account.owner, runs.c.plugin == after.account.plugin)
    query = select(runs.c.number, runs.c.owner, runs.c.plugin, runs.c.priority).where(*_waiting(among), *own, later)
    row = connection.execute(query.order_by(runs.c.priority.desc(), runs.c.number).limit(1)).first()
    return None if row is None else _as_waiting(row)


def _waiting(among: Collection[str] | None) -> tuple[ColumnElement[bool], ...]:
    waiting = (runs.c.status == "queued", runs.c.ended.is_(None), runs.c.offered)
    return waiting if among is None else (*waiting, runs.c.id.in_(list(among)[:MOST_AMONG]))


def _as_waiting(row: Any) -> Waiting:
    return Waiting(row.number, Account(row.owner, row.plugin), row.priority)


def running(connection: Connection) -> Counter[Account]:
    """How many runs of each account hosts have."""
    query = select(runs.c.owner, runs.c.plugin, func.count().label("count"))
    query = query.where(runs.c.status == "running", runs.c.ended.is_(None)).group_by(runs.c.owner, runs.c.plugin)
    return Counter({Account(row.owner, row.plugin): row.count for row in connection.execute(query)})


def fairest(
    heads: Iterable[Waiting],
    following: Callable[[Waiting], Waiting | None],
    running: Counter[Account],
    bounds: RunningBounds,
    slots: int,
) -> list[int]:
    """Numbers of the runs that go now.

    Of the users those with fewest running come first, of these the plugin with fewest ("" being the user himself), then
    the higher priority, then who came first. Each that goes counts for the next.

    Args:
        heads: the first of each account.
        following: gives the next of the same account.
        running: what runs, by account; stays as it is.
        bounds: how many may run.
        slots: how many may go at most.
    """
    of_account = Counter(running)
    of_owner: Counter[str] = Counter()
    of_plugins: Counter[str] = Counter()
    for account, count in running.items():
        of_owner[account.owner] += count
        of_plugins[account.owner] += count if account.plugin else 0

    def may_go(account: Account) -> bool:
        if of_owner[account.owner] >= bounds.user:
            return False
        return not account.plugin or (
            of_plugins[account.owner] < bounds.plugins and of_account[account] < bounds.plugin
        )

    def place(run: Waiting) -> _Place:
        return of_owner[run.account.owner], of_account[run.account], -run.priority, run.number

    chosen: list[int] = []
    line = [(place(run), run) for run in heads]
    heapq.heapify(line)
    while line and len(chosen) < slots:
        noted, run = heapq.heappop(line)
        if not may_go(run.account):
            # Nor later: what runs only grows here.
            continue
        if noted != (now := place(run)):
            # Another of this user went since, which puts him further back, and never forward.
            heapq.heappush(line, (now, run))
            continue
        chosen.append(run.number)
        of_account[run.account] += 1
        of_owner[run.account.owner] += 1
        of_plugins[run.account.owner] += 1 if run.account.plugin else 0
        if len(chosen) < slots and may_go(run.account) and (after := following(run)) is not None:
            heapq.heappush(line, (place(after), after))
    return chosen
