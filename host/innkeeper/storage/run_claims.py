"""Which runs go next: whoever has fewest running comes first, so that who submits much delays himself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from innkeeper.storage.run_model import Account, RunningBounds
from innkeeper.storage.runs_schema import runs

MOST_AMONG: Final = 1000
"""Ids that one query names at most."""


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


def candidates(connection: Connection, slots: int, among: Collection[str] | None) -> list[Waiting]:
    """The first runs of each account that are queued, so many of each."""
    place = func.row_number().over(
        partition_by=(runs.c.owner, runs.c.plugin), order_by=(runs.c.priority.desc(), runs.c.number)
    )
    columns = (runs.c.number, runs.c.owner, runs.c.plugin, runs.c.priority)
    waiting = select(*columns, place.label("place")).where(
        runs.c.status == "queued", runs.c.ended.is_(None), runs.c.offered
    )
    if among is not None:
        waiting = waiting.where(runs.c.id.in_(list(among)[:MOST_AMONG]))
    ranked = waiting.subquery()
    query = select(ranked.c.number, ranked.c.owner, ranked.c.plugin, ranked.c.priority).where(ranked.c.place <= slots)
    return [
        Waiting(row.number, Account(row.owner, row.plugin), row.priority)
        for row in connection.execute(query.order_by(ranked.c.number))
    ]


def running(connection: Connection) -> Counter[Account]:
    """How many runs of each account hosts have."""
    query = select(runs.c.owner, runs.c.plugin, func.count().label("count"))
    query = query.where(runs.c.status == "running", runs.c.ended.is_(None)).group_by(runs.c.owner, runs.c.plugin)
    return Counter({Account(row.owner, row.plugin): row.count for row in connection.execute(query)})


def fairest(waiting: list[Waiting], running: Counter[Account], bounds: RunningBounds, slots: int) -> list[int]:
    """Numbers of the runs that go now.

    Of the users those with fewest running come first, of these the plugin with fewest ("" being the user himself), then
    the higher priority, then who came first. Each that goes counts for the next.

    Args:
        waiting: what may go.
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
    lines: dict[Account, list[Waiting]] = {}
    for run in sorted(waiting, key=lambda run: (run.priority, -run.number)):
        # The next of an account is the last of its list.
        lines.setdefault(run.account, []).append(run)

    def may_go(account: Account) -> bool:
        if of_owner[account.owner] >= bounds.user:
            return False
        return not account.plugin or (
            of_plugins[account.owner] < bounds.plugins and of_account[account] < bounds.plugin
        )

    chosen: list[int] = []
    while len(chosen) < slots:
        heads = [line[-1] for account, line in lines.items() if line and may_go(account)]
        if not heads:
            break
        run = min(
            heads, key=lambda run: (of_owner[run.account.owner], of_account[run.account], -run.priority, run.number)
        )
        lines[run.account].pop()
        chosen.append(run.number)
        of_account[run.account] += 1
        of_owner[run.account.owner] += 1
        of_plugins[run.account.owner] += 1 if run.account.plugin else 0
    return chosen
