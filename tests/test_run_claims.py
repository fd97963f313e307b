"""Which runs go next: fair between users and their plugins, by priority, within every bound, whatever waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location
from innkeeper.storage.run_claims import Waiting, fairest
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import Account, QueueBounds, RunningBounds, TooManyError
from innkeeper.storage.run_store import RunStore
from run_fakes import new_run

WIDE = RunningBounds(1000, 1000, 1000)


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as opened:
        yield opened


def line(*runs: tuple[str, str, int]) -> list[Waiting]:
    return [
        Waiting(number, Account(owner, plugin), priority) for number, (owner, plugin, priority) in enumerate(runs, 1)
    ]


def choose(waiting: list[Waiting], running: Counter[Account], bounds: RunningBounds, slots: int) -> list[int]:
    """What `fairest` chooses of all that waits."""
    lines: dict[Account, list[Waiting]] = {}
    for run in sorted(waiting, key=lambda run: (-run.priority, run.number)):
        lines.setdefault(run.account, []).append(run)

    def following(run: Waiting) -> Waiting | None:
        own = lines[run.account]
        return next(iter(own[own.index(run) + 1 :]), None)

    return fairest([own[0] for own in lines.values()], following, running, bounds, slots)


def test_the_user_with_fewest_running_comes_first() -> None:
    waiting = line(("a", "", 0), ("a", "", 0), ("b", "", 0), ("c", "", 0))
    assert choose(waiting, Counter({Account("a"): 2, Account("c"): 1}), WIDE, 3) == [3, 4, 1]
    # Each that goes counts for the next: no user gets two before all have one.
    assert choose(waiting, Counter(), WIDE, 3) == [1, 3, 4]


def test_of_one_users_plugins_that_with_fewest_running_comes_first() -> None:
    waiting = line(("a", "p", 0), ("a", "p", 0), ("a", "q", 0), ("a", "", 0))
    assert choose(waiting, Counter({Account("a", "p"): 1}), WIDE, 2) == [3, 4]


def test_priority_counts_among_the_runs_of_an_account_and_between_equals_and_pushes_nobody_out() -> None:
    waiting = line(("a", "", 0), ("a", "", 5), ("b", "", 1), ("a", "", 1000))
    assert choose(waiting, Counter(), WIDE, 10) == [4, 3, 2, 1]
    assert choose(waiting, Counter({Account("a"): 1}), WIDE, 1) == [3]


def test_bounds_hold_for_a_user_for_plugins_together_and_for_each() -> None:
    waiting = line(*[("a", "p", 0)] * 5, *[("a", "q", 0)] * 5, *[("a", "", 0)] * 5)
    chosen = choose(waiting, Counter(), RunningBounds(user=6, plugins=4, plugin=3), 100)
    kinds = Counter(waiting[number - 1].account.plugin for number in chosen)
    assert kinds == {"p": 2, "q": 2, "": 2}
    alone = choose(line(*[("a", "p", 0)] * 5), Counter(), RunningBounds(user=6, plugins=4, plugin=3), 100)
    assert len(alone) == 3


accounts = st.builds(Account, st.sampled_from("abc"), st.sampled_from(["", "p", "q"]))


@given(
    st.lists(st.tuples(accounts, st.integers(-3, 3)), max_size=30),
    st.dictionaries(accounts, st.integers(0, 5)),
    st.integers(1, 8),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 12),
)
def test_whatever_waits_no_bound_is_passed_nobody_jumps_his_own_line_and_no_slot_is_left_that_could_be_used(
    queue: list[tuple[Account, int]], running: dict[Account, int], user: int, plugins: int, plugin: int, slots: int
) -> None:
    waiting = [Waiting(number, account, priority) for number, (account, priority) in enumerate(queue)]
    bounds = RunningBounds(user, plugins, plugin)
    chosen = choose(waiting, Counter(running), bounds, slots)
    assert len(set(chosen)) == len(chosen) <= slots
    by_number = {run.number: run for run in waiting}
    now = Counter(running)
    for number in chosen:
        account = by_number[number].account
        assert room(now, account, bounds)
        least = min(of_owner(now, run.account.owner) for run in waiting if open_for(run, chosen, number, now, bounds))
        assert of_owner(now, account.owner) == least
        now[account] += 1
    for run in waiting:
        better = [each for each in waiting if each.account == run.account and each.priority > run.priority]
        if run.number in chosen:
            assert all(each.number in chosen for each in better)
        elif len(chosen) < slots:
            assert not room(now, run.account, bounds)


def of_owner(running: Counter[Account], owner: str) -> int:
    return sum(count for account, count in running.items() if account.owner == owner)


def room(running: Counter[Account], account: Account, bounds: RunningBounds) -> bool:
    if of_owner(running, account.owner) >= bounds.user:
        return False
    of_plugins = sum(count for each, count in running.items() if each.owner == account.owner and each.plugin)
    return not account.plugin or (of_plugins < bounds.plugins and running[account] < bounds.plugin)


def open_for(run: Waiting, chosen: list[int], before: int, running: Counter[Account], bounds: RunningBounds) -> bool:
    gone = chosen[: chosen.index(before)]
    return run.number not in gone and room(running, run.account, bounds)


async def test_hosts_share_the_bounds_of_a_user(db: Database) -> None:
    store, leases = RunStore(db), RunLeases(db, bounds=RunningBounds(user=3, plugins=2, plugin=2))
    for number in range(6):
        await store.submit(new_run(f"r{number}", "a"), 1.0)
    first = await leases.claim("one", 2, 100.0, 1.0)
    second = await leases.claim("two", 2, 100.0, 1.0)
    assert [each.run.id for each in (*first, *second)] == ["r0", "r1", "r2"]
    assert await leases.claim("two", 2, 100.0, 1.0) == []
    assert await leases.release(first[0].fence)
    assert [each.run.id for each in await leases.claim("two", 2, 100.0, 1.0)] == ["r0"]


async def test_one_that_waits_with_a_high_priority_goes_before_what_came_earlier(db: Database) -> None:
    store, leases = RunStore(db), RunLeases(db)
    await store.submit(new_run("low", priority=-1), 1.0)
    await store.submit(new_run("first"), 1.0)
    await store.submit(new_run("high", priority=1000), 1.0)
    order = [(await leases.claim("h", 1, 100.0, 1.0))[0].run.id for _ in range(3)]
    assert order == ["high", "first", "low"]
    with pytest.raises(ValueError, match="priority"):
        await store.submit(new_run("more", priority=1001), 1.0)


async def test_a_plugins_quota_counts_what_is_queued_and_what_runs_and_is_its_own(db: Database) -> None:
    store, leases = RunStore(db, bounds=QueueBounds(plugin=2)), RunLeases(db)
    await store.submit(new_run("a", plugin="p"), 1.0)
    await leases.claim("h", 1, 100.0, 1.0)
    await store.submit(new_run("b", plugin="p"), 1.0)
    with pytest.raises(TooManyError):
        await store.submit(new_run("c", plugin="p"), 1.0)
    assert await store.submit(new_run("b", plugin="p"), 1.0) == "known"
    assert await store.submit(new_run("c", plugin="q"), 1.0) == "accepted"
    assert await store.submit(new_run("d"), 1.0) == "accepted"


async def test_ten_thousand_that_wait_are_looked_through_in_little_time(db: Database) -> None:
    store = RunStore(db)
    job = new_run("x").job
    from sqlalchemy import insert

    from innkeeper.storage.runs_schema import runs

    row = {
        "plugin": "", "name": "", "status": "queued", "offered": True, "cancel": False, "priority": 0,
        "after_crash": "interrupt", "crashes": 0, "generation": 1, "schedule": "", "attempt": 0, "submitted": 0.0,
        "seq": 0, "gone_first": 0, "gone_last": 0, "size": 3, "kept": 0, "job": job,
    }  # fmt: skip
    rows = [{**row, "id": f"r{number}", "owner": f"user{number % 500}"} for number in range(10_000)]
    await db.write(lambda connection: connection.execute(insert(runs), rows))
    assert await store.submit(new_run("one more"), 1.0) == "busy"
    taken = await RunLeases(db).claim("h", 16, 100.0, 1.0)
    assert len({each.run.account.owner for each in taken}) == 16
