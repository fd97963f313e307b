"""Cancelling a run, wherever it is: a stored wish, and a word to the process that executes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from innkeeper.workflow.scheduling.dispatch import fence_of

if TYPE_CHECKING:
    from conftest import World


async def test_a_run_that_is_cancelled_in_the_queue_never_begins_and_says_so(world: World) -> None:
    host, other = await world.host(), await world.host()
    await host.submitted("r")
    found = await other.store.cancel("r", 1.0)
    assert found is not None
    assert found.status == "cancelled"
    assert await host.dispatch.claim(1) == []
    async with host.events.subscribe("r") as events:
        (last,) = [each async for each in events]
    assert getattr(last, "fields", None) == {"status": "interrupted"}


async def test_a_run_of_this_process_is_ended_at_once(world: World) -> None:
    host = await world.host()
    await host.submitted("r")
    (lease,) = await host.dispatch.claim(1)
    with trio.fail_after(30):
        async with host.directory.executing(lease) as execution:
            assert host.directory.cancel("r")
            await trio.sleep_forever()
    assert execution.reason == "cancelled"
    assert not host.directory.cancel("r")


async def test_a_run_of_another_process_is_marked_and_its_host_finds_the_mark(world: World) -> None:
    host, other = await world.host(), await world.host()
    await host.submitted("r")
    (lease,) = await host.dispatch.claim(1)
    assert not other.directory.cancel("r")
    found = await other.store.cancel("r", 1.0)
    assert found is not None
    assert (found.status, found.cancel) == ("running", True)
    (standing,) = await host.leases.standing([fence_of(lease)])
    assert (standing.held, standing.cancel) == (True, True)
    await host.end(lease, "cancelled")
    assert (await other.find("r")).status == "cancelled"


async def test_what_was_to_end_when_its_host_died_does_not_begin_again(world: World) -> None:
    host, other = await world.host(), await world.host()
    await host.submitted("r", after_crash="again")
    await host.dispatch.claim(1)
    await other.store.cancel("r", 1.0)
    world.leases_run_out()
    assert [each.status for each in await other.leases.lapse(1.0)] == ["cancelled"]
    assert await other.dispatch.claim(1) == []


async def test_cancelling_what_has_ended_changes_nothing(world: World) -> None:
    host = await world.host()
    await host.submitted("r")
    (lease,) = await host.dispatch.claim(1)
    await host.end(lease)
    before = await host.find("r")
    assert await host.store.cancel("r", 9.0) == before
    assert await host.store.cancel("none", 9.0) is None


async def test_a_lost_lease_is_stronger_than_a_wish_to_end_and_only_its_attempt_is_lost(world: World) -> None:
    host = await world.host()
    await host.submitted("r")
    (lease,) = await host.dispatch.claim(1)
    with trio.fail_after(30):
        async with host.directory.executing(lease) as execution:
            host.directory.lose("r", lease.attempt + 1)
            assert execution.reason is None
            host.directory.cancel("r")
            host.directory.lose("r")
            await trio.sleep_forever()
    assert execution.reason == "lost"
    with pytest.raises(RuntimeError, match="its own"):
        async with host.directory.executing(lease):
            raise RuntimeError("its own")
    assert not host.directory.cancel("r")
