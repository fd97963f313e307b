"""Dispatching runs, whatever does it: at least once, to one host at a time, and no more than there is room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from innkeeper.errors import UsageError
from innkeeper.workflow.scheduling.seams import Lease, LeaseLostError
from run_fakes import event

if TYPE_CHECKING:
    from conftest import World


async def test_a_run_that_is_submitted_twice_is_queued_once(world: World) -> None:
    host, other = await world.host(), await world.host()
    await host.put("r")
    assert await host.dispatch.submit("r") == "accepted"
    assert await host.dispatch.submit("r") == "known"
    assert await other.dispatch.submit("r") == "known"
    (lease,) = await host.dispatch.claim(10)
    assert await other.dispatch.submit("r") == "known"
    assert await other.dispatch.claim(10) == []
    await host.end(lease)
    assert await other.dispatch.submit("r") == "known"
    assert await other.dispatch.claim(10) == []


async def test_a_run_that_is_not_in_storage_cannot_be_submitted(world: World) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        await (await world.host()).dispatch.submit("nowhere")


async def test_what_was_not_submitted_is_not_handed_out(world: World) -> None:
    host = await world.host()
    await host.put("r")
    assert await host.dispatch.claim(10) == []


async def test_of_many_that_claim_each_run_goes_to_one(world: World) -> None:
    world.queued = world.queued_by_all = 1000
    hosts = [await world.host() for _ in range(4)]
    await hosts[0].submitted(*(f"r{number}" for number in range(40)))
    claimed: list[Lease] = []

    async def claim(number: int) -> None:
        while leases := await hosts[number % 4].dispatch.claim(3):
            claimed.extend(leases)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(claim, number)
    assert sorted(lease.run for lease in claimed) == sorted(f"r{number}" for number in range(40))
    assert {lease.attempt for lease in claimed} == {1}


async def test_who_asks_for_some_runs_gets_no_other(world: World) -> None:
    host = await world.host()
    await host.submitted("a", "b", "c")
    assert await host.dispatch.claim(5, among=[]) == []
    assert [lease.run for lease in await host.dispatch.claim(5, among=["b", "none"])] == ["b"]
    assert await host.dispatch.claim(0) == []


async def test_when_a_holder_dies_another_claims_with_the_next_attempt(world: World) -> None:
    dead, other = await world.host(), await world.host()
    await dead.submitted("r", after_crash="again")
    (old,) = await dead.dispatch.claim(1)
    assert await other.leases.lapse(1.0) == []
    assert await other.dispatch.claim(1) == []
    world.leases_run_out()
    assert [each.status for each in await other.leases.lapse(1.0)] == ["queued"]
    (new,) = await other.dispatch.claim(1)
    assert (new.run, new.attempt) == ("r", old.attempt + 1)


async def test_what_must_not_begin_again_is_interrupted_when_its_holder_dies(world: World) -> None:
    dead, other = await world.host(), await world.host()
    await dead.submitted("r")
    await dead.dispatch.claim(1)
    world.leases_run_out()
    assert [each.status for each in await other.leases.lapse(1.0)] == ["interrupted"]
    assert await other.dispatch.claim(1) == []
    assert (await other.find("r")).status == "interrupted"


async def test_a_run_that_makes_its_hosts_die_is_interrupted_in_the_end(world: World) -> None:
    host = await world.host()
    await host.submitted("r", after_crash="again")
    statuses = []
    for _ in range(3):
        assert len(await host.dispatch.claim(1)) == 1
        world.leases_run_out()
        statuses += [each.status for each in await host.leases.lapse(1.0)]
    assert statuses == ["queued", "queued", "interrupted"]


async def test_whoever_extends_keeps_the_run_and_whoever_lost_it_learns_so(world: World) -> None:
    host, other = await world.host(), await world.host()
    await host.submitted("a", "b", after_crash="again")
    (a,) = await host.dispatch.claim(1, among=["a"])
    (b,) = await host.dispatch.claim(1, among=["b"])
    world.leases_run_out()
    assert await host.dispatch.extend([a]) == [a]
    assert [each.id for each in await other.leases.lapse(1.0)] == ["b"]
    assert await host.dispatch.extend([a, b]) == [a]
    assert await host.dispatch.extend([]) == []


async def test_nothing_of_a_host_that_was_paused_is_kept_once_another_has_its_run(world: World) -> None:
    paused, other = await world.host(), await world.host()
    await paused.submitted("r", after_crash="again")
    (old,) = await paused.dispatch.claim(1)
    await paused.events.publish(old, [event(1)])
    world.leases_run_out()
    await other.leases.lapse(1.0)
    # It wakes up while nobody has the run, and again when another has it, and when that one is done.
    await _refused(world, old)
    (new,) = await other.dispatch.claim(1)
    await _refused(world, old)
    await other.events.publish(new, [event(2)])
    assert await other.dispatch.extend([new]) == [new]
    await other.end(new)
    await _refused(world, old)
    async with other.events.subscribe("r") as events:
        told = [each async for each in events]
    assert [getattr(each, "seq", each) for each in told] == [1, 2, 3]
    assert (await other.find("r")).status == "complete"


async def _refused(world: World, lease: Lease) -> None:
    host = await world.host()
    before = await host.find(lease.run)
    assert await host.dispatch.extend([lease]) == []
    with pytest.raises(LeaseLostError):
        await host.events.publish(lease, [event(before.seq + 1, nodeId="late")])
    with pytest.raises(LeaseLostError):
        await host.events.end(lease, before, "error", 1.0, events=[], error='{"message": "late"}')
    await host.dispatch.finish(lease)
    await host.dispatch.release(lease)
    assert await host.find(lease.run) == before


async def test_a_run_that_was_given_back_is_taken_at_once_and_counts_as_no_crash(world: World) -> None:
    host, other = await world.host(), await world.host()
    await host.submitted("r")
    for attempt in range(1, 6):
        (lease,) = await host.dispatch.claim(1)
        assert lease.attempt == attempt
        await host.dispatch.release(lease)
    (lease,) = await other.dispatch.claim(1)
    assert (await other.find("r")).holder == "host2"


async def test_at_the_bound_of_the_queue_it_answers_busy_and_nothing_is_queued(world: World) -> None:
    host = await world.host()
    await host.submitted(*(f"r{number}" for number in range(world.queued)))
    await host.put("more")
    assert await host.dispatch.submit("more") == "busy"
    assert "more" not in {lease.run for lease in await host.dispatch.claim(2)}
    # What runs is no longer in the queue.
    assert await host.dispatch.submit("more") == "accepted"


async def test_another_users_full_queue_is_nobody_elses_until_all_of_it_is_full(world: World) -> None:
    host = await world.host()
    await host.submitted(*(f"r{number}" for number in range(world.queued)))
    answers = []
    for number in range(world.queued_by_all - world.queued + 1):
        await host.put(f"other{number}", owner=f"user{number}")
        answers.append(await host.dispatch.submit(f"other{number}"))
    assert answers == ["accepted"] * (world.queued_by_all - world.queued) + ["busy"]


async def test_who_waits_is_woken_by_a_run_of_this_and_of_another_process(world: World) -> None:
    host, other = await world.host(), await world.host()
    for submitter, run in ((host, "a"), (other, "b")):
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.dispatch.wait, 1000.0)
                await submitter.submitted(run)
        assert [lease.run for lease in await host.dispatch.claim(1)] == [run]
    with trio.fail_after(30):
        await host.dispatch.wait(0.01)
