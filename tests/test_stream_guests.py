"""Streams from a guest through three others: everything arrives, and memory stays what it is."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import msgpack
import pytest
import trio

from bridge_guests import home, opened
from innkeeper.bench import stream_guests
from innkeeper.bench.stream_guests import SLOT
from innkeeper.bridge.bridge import Bridge
from innkeeper.bridge.channel import ITEMS, SIZE, Channel
from innkeeper.bridge.pump import pump
from innkeeper.errors import GuestError, LimitError
from innkeeper.plugins.host import Host
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.sandbox.limits import MIB, Limits
from innkeeper.sandbox.usage import Usage
from measure.machine import Memory

__all__ = ["home"]

CALL = msgpack.packb({"inputs": {}, "config": {}, "run": {"id": "r", "node": "n"}})
LIMITS = Limits(cpu=60.0, wall=3600.0, host_call=600.0, host_calls=100_000)
READERS = ("one", "two", "three")


def install(home: Path, chunks: Sequence[object], calls: int, limits: Sequence[int] = (ITEMS, 64, 1)) -> None:
    stream_guests.install(home, "writes", stream_guests.writer(chunks, calls), writes=True)
    for name, limit in zip(READERS, limits, strict=True):
        stream_guests.install(home, name, stream_guests.reader(limit), writes=False)


class Flow:
    """A writer, a pump and three readers, with a look at all channels each time that something passes."""

    def __init__(self, host: Host, bridge: Bridge) -> None:
        self.run = Run("r")
        self.host, self.bridge = host, bridge
        self.source = bridge.streams.connect(self.run, writer=("writes", SLOT))
        self.targets = [bridge.streams.connect(self.run, reader=(name, SLOT)) for name in READERS]
        self.passed = 0
        self.most = 0
        self.resident: list[int] = []
        self.usages: dict[str, Usage] = {}

    async def go(self, *, look_every: int) -> None:
        def seen(items: Sequence[bytes]) -> None:
            if self.passed // look_every < (self.passed + len(items)) // look_every:
                gc.collect()
                self.resident.append(Memory.now().resident)
            self.passed += len(items)
            channels: list[Channel] = [self.source, *self.targets]
            self.most = max(self.most, len(items) + sum(len(each._items) for each in channels))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: pump(self.source, self.targets, seen=seen))
            for name in ("writes", *READERS):
                nursery.start_soon(self._call, name)
        self.bridge.streams.end(self.run)

    async def _call(self, name: str) -> None:
        result = await self.host.plugins[name].call("flow", CALL, run=RunContext(self.run, name), limits=LIMITS)
        self.usages[name] = result.usage
        self.bridge.streams.release(self.run, name)


async def test_a_hundred_thousand_chunks_reach_three_readers_with_flat_memory(home: Path) -> None:
    install(home, ["a word"] * 1000, 100, (ITEMS, 64, 16))
    async with opened(home) as (host, bridge):
        flow = Flow(host, bridge)
        with trio.fail_after(300):
            await flow.go(look_every=20_000)
    assert flow.passed == 100_000
    assert flow.most <= (1 + len(READERS)) * ITEMS
    assert max(flow.resident) - flow.resident[0] < 32 * MIB
    assert all(usage.memory < MIB for usage in flow.usages.values())


@pytest.mark.soak
async def test_ten_million_chunks_reach_three_readers_with_flat_memory(home: Path) -> None:
    install(home, ["a word"] * 1000, 10_000, (ITEMS, ITEMS, 512))
    async with opened(home) as (host, bridge):
        flow = Flow(host, bridge)
        begun = trio.current_time()
        await flow.go(look_every=500_000)
        seconds = trio.current_time() - begun
    print(f"{flow.passed:,} chunks in {seconds:.1f} s; resident {[each // MIB for each in flow.resident]} MiB")
    assert flow.passed == 10_000_000
    assert flow.most <= (1 + len(READERS)) * ITEMS
    assert max(flow.resident) - flow.resident[0] < 10 * MIB


async def test_chunks_of_many_kinds_and_sizes_arrive_as_they_were_written(home: Path) -> None:
    chunks = ["", {"type": "text_chunk", "content": "é" * 300}, None, [1, [2.5, b"\0"]], "x" * 20_000, -1]
    install(home, chunks, 50)
    got: list[bytes] = []
    async with opened(home) as (host, bridge):
        run = Run("r")
        source = bridge.streams.connect(run, writer=("writes", SLOT))
        await trio.lowlevel.checkpoint()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    await host.plugins["writes"].call("flow", CALL, run=RunContext(run, "writes"), limits=LIMITS)
                    bridge.streams.release(run, "writes")

                nursery.start_soon(write)
                while not (source.ended and source.empty):
                    if source.empty:
                        await source.changed()
                    got += source.take(5, SIZE)
    assert got == [msgpack.packb(chunk) for chunk in chunks] * 50


async def test_a_writer_whose_readers_all_left_ends_by_a_refusal_that_it_can_see(home: Path) -> None:
    install(home, ["a word"] * 1000, 1000)
    async with opened(home) as (host, bridge):
        run = Run("r")
        channel = bridge.streams.connect(run, writer=("writes", SLOT))
        channel.abandon()
        with trio.fail_after(60), pytest.raises(GuestError, match="nobody reads 'chunks' any more"):
            await host.plugins["writes"].call("flow", CALL, run=RunContext(run, "writes"), limits=LIMITS)


async def test_a_writer_without_an_end_reaches_its_limit_and_nobody_else_is_the_worse_for_it(home: Path) -> None:
    install(home, ["a word"] * 1000, 2_000_000_000)
    async with opened(home) as (host, bridge):
        run = Run("r")
        channel = bridge.streams.connect(run, writer=("writes", SLOT))
        limits = Limits(host_calls=50, cpu=60.0, wall=600.0)

        async def drain() -> None:
            while not channel.ended:
                channel.take(ITEMS, SIZE)
                await channel.changed()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain)
                with pytest.raises(LimitError) as caught:
                    await host.plugins["writes"].call("flow", CALL, run=RunContext(run, "writes"), limits=limits)
                bridge.streams.release(run, "writes")
        assert caught.value.limit == "host_calls"


async def test_a_cancelled_flow_leaves_no_guest_and_no_waiting_task(home: Path) -> None:
    install(home, ["a word"] * 1000, 10_000)
    async with opened(home) as (host, bridge):
        for moment in (0.0, 0.001, 0.01, 0.05):
            flow = Flow(host, bridge)
            with trio.fail_after(60), trio.move_on_after(moment):
                await flow.go(look_every=10**9)
            bridge.streams.end(flow.run)
            assert all(each.ended and each.abandoned for each in flow.targets)
        # The plugins answer as before.
        flow = Flow(host, bridge)
        flow.source.end()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, flow.source, flow.targets)
                for name in READERS:
                    nursery.start_soon(flow._call, name)
        assert set(flow.usages) == set(READERS)
