"""Events of runs, whatever carries them: in order, once each, after a number, and only what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from innkeeper.errors import UsageError
from innkeeper.workflow.engine.events import COMPLETE, INTERFACE_OUTPUTS, RunEvent
from innkeeper.workflow.scheduling.seams import Gone, Lease
from run_fakes import chunk, event

if TYPE_CHECKING:
    from conftest import Host, World


async def begun(host: Host, run: str = "r") -> Lease:
    await host.submitted(run)
    (lease,) = await host.dispatch.claim(1, among=[run])
    return lease


async def read(host: Host, run: str = "r", after: int = 0) -> list[RunEvent | Gone]:
    with trio.fail_after(60):
        async with host.events.subscribe(run, after) as events:
            return [each async for each in events]


async def caught_up(told: dict[str, list[Any]], number: int) -> None:
    """Returns when everybody has read so far."""
    while min(len(each) for each in told.values()) < number:  # noqa: ASYNC110 (what another process would have read)
        await trio.sleep(0.002)


def numbers(told: list[Any]) -> list[int]:
    return [each.seq for each in told if isinstance(each, RunEvent)]


async def test_events_come_in_order_once_each_with_what_they_carry(world: World) -> None:
    host = await world.host()
    lease = await begun(host)
    given = [
        event(1, "PROMPT_ACCEPTED_RESPONSE"),
        event(2, nodeId="a", more={"deep": [1, None, "x", 2.5, True]}),
        chunk(3, b"\xa5chunk"),
        RunEvent(4, COMPLETE, {"nodeId": "a"}, {"out": b"\x01", "other": b"\xc0"}, at=1.7e9 + 0.1),
        RunEvent(5, COMPLETE, {"nodeId": "\ud800"}, {"\ud800": b"\xa1x"}),
        RunEvent(6, "NODE_YIELD", {"nodeId": "n", "slot": "out"}, {}, b"\xa1x", 1.7e9 + 0.2),
    ]
    await host.events.publish(lease, given[:3])
    await host.events.publish(lease, given[3:])
    await host.events.publish(lease, [])
    await host.end(lease)
    told = await read(await world.host())
    assert told[:-1] == given
    assert isinstance(told[-1], RunEvent)
    assert (told[-1].seq, told[-1].kind, told[-1].fields) == (7, "EXECUTION_STATUS_UPDATE", {"status": "complete"})
    # Nobody said it: it was made as the run ended, and says when.
    assert told[-1].at is not None


@pytest.mark.parametrize("after", [0, 1, 3, 7, 9, 10, 11, 500])
async def test_who_asks_for_events_after_a_number_gets_these(world: World, after: int) -> None:
    host = await world.host()
    lease = await begun(host)
    for number in range(1, 10, 3):
        await host.events.publish(lease, [event(number), chunk(number + 1), event(number + 2)])
    await host.end(lease)
    assert numbers(await read(host, after=after)) == list(range(after + 1, 11))


async def test_a_subscriber_of_this_and_one_of_another_process_get_each_event_as_it_comes(world: World) -> None:
    host, other = await world.host(), await world.host()
    lease = await begun(host)
    told: dict[str, list[Any]] = {"here": [], "there": []}
    last = 300

    async def follow(name: str, where: Host) -> None:
        async with where.events.subscribe("r") as events:
            async for each in events:
                told[name].append(each)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, "here", host)
            nursery.start_soon(follow, "there", other)
            for number in range(1, last, 3):
                await host.events.publish(lease, [event(number), event(number + 1), event(number + 2)])
                if number % 30 == 1:
                    # Each has read before the run goes on, so what comes later comes live.
                    await caught_up(told, number)
            await host.end(lease)
    assert numbers(told["here"]) == numbers(told["there"]) == list(range(1, last + 2))


async def test_nothing_is_given_out_before_it_is_kept(world: World) -> None:
    host = await world.host()
    lease = await begun(host)
    seen: list[int] = []

    async def follow() -> None:
        async with host.events.subscribe("r") as events:
            async for each in events:
                assert isinstance(each, RunEvent)
                # A process that begins now, and knows nothing but the storage, sees at least that.
                assert (await (await world.host()).find("r")).seq >= each.seq
                seen.append(each.seq)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for number in range(1, 6):
                await host.events.publish(lease, [event(number)])
                await trio.sleep(0.005)
            await host.end(lease)
    assert seen == [1, 2, 3, 4, 5, 6]


async def test_who_asks_for_chunks_that_are_not_kept_is_told_which_are_gone(world: World) -> None:
    world.chunk_bytes = 20_000
    host = await world.host()
    lease = await begun(host)
    number = 0
    for _ in range(60):
        await host.events.publish(lease, [event(number + 1), chunk(number + 2, b"\xc5\x03\xe8" + b"x" * 1000)])
        number += 2
    await host.end(lease)
    told = await read(await world.host())
    (gone,) = [each for each in told if isinstance(each, Gone)]
    kept = numbers(told)
    assert told[0] == gone
    assert gone.first == 2
    # All of the lifecycle is there, and of the chunks all after those that are gone.
    assert kept == sorted({*range(1, number, 2), *range(gone.last + 1, number + 2), number + 1})
    assert number - gone.last > 20
    assert [each for each in await read(host, after=gone.last) if isinstance(each, Gone)] == []
    (rest,) = [each for each in await read(host, after=gone.last - 4) if isinstance(each, Gone)]
    assert rest == Gone(gone.last - 3, gone.last)


async def test_what_was_gone_before_is_said_once_to_who_goes_on(world: World) -> None:
    world.chunk_bytes = 5000
    host, other = await world.host(), await world.host()
    lease = await begun(host)
    await host.events.publish(lease, [event(1)])
    told: list[Any] = []
    async with other.events.subscribe("r") as events:
        told.append(await anext(events))
        for number in range(2, 40):
            await host.events.publish(lease, [chunk(number, b"\xc5\x03\xe8" + b"x" * 1000)])
        await host.end(lease)
        with trio.fail_after(60):
            told += [each async for each in events]
    gone = [each for each in told if isinstance(each, Gone)]
    missing = {number for each in gone for number in range(each.first, each.last + 1)}
    assert missing
    assert missing.isdisjoint(numbers(told))
    assert sorted(missing | set(numbers(told))) == list(range(1, 41))


async def test_outputs_of_a_run_are_in_the_event_that_says_them_and_kept_once(world: World) -> None:
    host = await world.host()
    lease = await begun(host)
    large = b"\xc6\x00\x10\x00\x00" + b"x" * (1 << 20)
    outputs = b"\x81\xa3out" + large
    last = [
        RunEvent(2, COMPLETE, {"nodeId": INTERFACE_OUTPUTS}, {"out": large}),
        RunEvent(3, "EXECUTION_STATUS_UPDATE", {"status": "complete"}),
    ]
    await host.events.publish(lease, [event(1)])
    await host.events.end(lease, await host.find("r"), "complete", 1.0, events=last, outputs=outputs)
    assert (await read(host))[1:] == last
    assert (await read(host, after=2)) == last[1:]
    ended = await host.store.ended("r", 1.0)
    assert ended is not None
    assert ended.outputs == outputs


async def test_large_events_are_read_a_few_at_a_time(world: World) -> None:
    host = await world.host()
    lease = await begun(host)
    for number in range(1, 40):
        values = {"out": b"\xc6\x00\x03\x00\x00" + bytes([number]) * 0x30000}
        await host.events.publish(lease, [RunEvent(number, COMPLETE, {"nodeId": f"n{number}"}, values)])
    await host.end(lease)
    assert numbers(await read(host)) == list(range(1, 41))


async def test_a_run_that_nobody_knows_cannot_be_subscribed_to(world: World) -> None:
    host = await world.host()
    with pytest.raises(UsageError, match="nowhere"):
        async with host.events.subscribe("nowhere"):
            raise AssertionError


async def test_a_subscriber_of_a_run_that_is_forgotten_comes_to_an_end(world: World) -> None:
    host, other = await world.host(), await world.host()
    lease = await begun(host)
    await host.events.publish(lease, [event(1)])
    with trio.fail_after(60):
        async with other.events.subscribe("r") as events:
            assert numbers([await anext(events)]) == [1]
            await host.end(lease)
            assert await host.store.forget("r")
            assert [each async for each in events] == []


async def test_events_of_a_second_attempt_go_on_after_those_of_the_first(world: World) -> None:
    host, other = await world.host(), await world.host()
    await host.submitted("r", after_crash="again")
    (first,) = await host.dispatch.claim(1)
    done = RunEvent(3, COMPLETE, {"nodeId": "done"}, {"out": b"\x01"})
    await host.events.publish(first, [event(1, nodeId="done"), event(2, nodeId="begun"), done, chunk(4)])
    world.leases_run_out()
    await other.leases.lapse(1.0)
    (second,) = await other.dispatch.claim(1)
    known = await other.events.known(second)
    assert (known.seq, known.results, known.begun) == (4, {"done": {"out": b"\x01"}}, {"done", "begun"})
    await other.events.publish(second, [event(5)])
    await other.end(second)
    assert numbers(await read(host)) == [1, 2, 3, 4, 5, 6]
