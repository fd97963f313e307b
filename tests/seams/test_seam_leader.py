"""Leading, and schedules: two may think that they lead, and no time of a schedule fires twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from innkeeper.storage.run_model import Account
from innkeeper.storage.schedules_model import Schedule

if TYPE_CHECKING:
    from conftest import Host, World


async def test_one_leads_until_its_time_is_over_and_the_epoch_grows_with_each_change(world: World) -> None:
    one, two = await world.host(), await world.host()
    assert await one.leader.epoch() == 1
    assert await two.leader.epoch() is None
    assert await one.leader.epoch() == 1
    world.leases_run_out()
    assert await two.leader.epoch() == 2
    # Who woke up believes it for a moment; asked, the storage says otherwise.
    again = await world.host()
    again.leader._holder = "host1"
    assert await again.leader.epoch() is None
    await two.leader.resign()
    assert await again.leader.epoch() == 3


async def test_one_that_goes_on_leading_keeps_its_epoch(world: World) -> None:
    one, two = await world.host(), await world.host()
    assert await one.leader.epoch() == 1
    one.leader._asked = float("-inf")
    assert await one.leader.epoch() == 1
    assert await two.leader.epoch() is None


async def test_of_many_that_want_to_lead_one_does(world: World) -> None:
    hosts = [await world.host() for _ in range(6)]
    epochs: list[int | None] = []

    async def ask(host: Host) -> None:
        epochs.append(await host.leader.epoch())

    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(ask, host)
    assert sorted(epoch for epoch in epochs if epoch is not None) == [1]


async def test_two_that_fire_the_same_time_of_a_schedule_start_one_run(world: World) -> None:
    hosts = [await world.host() for _ in range(3)]
    account = Account("local")
    await hosts[0].schedules.add(Schedule("s", account, "", "* * * * *", "UTC", 1, 0.0, 60.0, None), b"job")
    answers: list[str] = []

    async def fire(host: Host, number: int) -> None:
        for schedule in await host.schedules.due(60.0):
            answers.append(await host.schedules.fire(schedule, f"run{number}", 60.0, 120.0))

    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for number, host in enumerate(hosts):
                nursery.start_soon(fire, host, number)
    assert answers.count("fired") == 1
    assert len(await hosts[0].store.list(60.0, schedule="s")) == 1
