"""Nodes that streams connect: they run together, each consumer reads at its own end, and ends follow their causes.

Guarantees: a chunk goes to every consumer that still reads, in order, before the next one does, so the slowest sets
the pace and no list grows; a consumer's end, good or bad, counts only once those that it reads from have ended well,
so what becomes of a run does not depend on who is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final

import trio

from innkeeper.bridge.channel import Channel
from innkeeper.bridge.pump import HoldFullError, pump
from innkeeper.errors import CancelledError, GuestError, InnkeeperError
from innkeeper.workflow.checking.graph import GraphNode, Source
from innkeeper.workflow.engine import chunks
from innkeeper.workflow.engine.budgets import held_too_much
from innkeeper.workflow.engine.events import INTERFACE_YIELD, YIELD
from innkeeper.workflow.engine.inputs import Skip, skipped

if TYPE_CHECKING:
    from innkeeper.workflow.engine.frame import Frame

PASSED: Final = 128
"""Chunks that are given out as events in one go: some tenths of a millisecond."""

_GOING: Final = ("queued", "running")


class Flows:
    """The streams of one frame.

    Args:
        frame: it.
    """

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._held: dict[tuple[str, str], Channel] = {}
        # What cancels nodes that run, and what those that wait for the end of one are told by.
        self.scopes: dict[str, trio.CancelScope] = {}
        self._over: dict[str, trio.Event] = {}

    def held(self, consumer: str, key: str) -> Channel:
        """What a late consumer reads, whoever of the two comes first."""
        found = self._held.get((consumer, key))
        if found is None:
            found = self._held[consumer, key] = Channel(self._frame.run.budgets.hold)
        return found

    def forget(self, node: GraphNode) -> None:
        """A node has ended or will not begin: nothing is held for it any more."""
        for key in node.streams:
            # One that was not asked for yet is made, so that the producer learns that nobody will read.
            if (node.id, key) in self._frame.plan.graph.late:
                self.held(node.id, key).abandon()

    def close(self) -> None:
        """The frame is over."""
        for held in self._held.values():
            held.abandon()

    async def run(self, nodes: tuple[GraphNode, ...]) -> None:
        """Runs nodes that begin together to their ends."""
        begun: list[tuple[GraphNode, dict[str, Channel]]] = []
        readers: dict[tuple[str, str], Channel] = {}
        undecided: dict[str, GraphNode] = {}
        for node in nodes:
            if self._is_undecided(node, undecided):
                undecided[node.id] = node
                self.forget(node)
                continue
            if not self._frame.starts(node):
                self._settle(node)
                continue
            try:
                begun.append((node, self._connect(node, readers)))
            except InnkeeperError as error:
                self._frame.fail(node, error)
                self.forget(node)
                self._settle(node)
        try:
            async with trio.open_nursery() as nursery:
                for node, channels in begun:
                    counts = dict.fromkeys(channels, 0)
                    self._frame.outcomes[node.id].chunks = counts
                    outlets = [_Outlet(self, node, key, each, readers, counts) for key, each in channels.items()]
                    nursery.start_soon(self._node, node, outlets)
                for node in undecided.values():
                    nursery.start_soon(self._decide, node)
        finally:
            # A turn that was cancelled leaves nothing, though its run goes on.
            for node, _ in begun:
                self._frame.run.streams.forget(self._frame.run.run, self._frame.prefix + node.id)

    def _is_undecided(self, node: GraphNode, others: Collection[str]) -> bool:
        """Whether a node will not run, and those whose streams it reads have yet to show why: it is on a branch that
        was not taken, unless one of them fails, which goes before that.

        Args:
            node: the node.
            others: ids of nodes of which this is known to be so.
        """
        producers = {source.node for source in node.streams.values()}
        if not producers.isdisjoint(others):
            return True
        if all(self._frame.outcomes[each].status not in _GOING for each in producers):
            return False
        skip = skipped(node, self._frame.outcomes)
        return skip is not None and skip.reason == "untaken"

    async def _decide(self, node: GraphNode) -> None:
        await self._ends_of_producers(node)
        skip = skipped(node, self._frame.outcomes)
        assert skip is not None
        self._frame.skip(node, skip)
        self._settle(node)

    async def _ends_of_producers(self, node: GraphNode) -> None:
        for source in node.streams.values():
            if self._frame.outcomes[source.node].status in _GOING:
                await self._over.setdefault(source.node, trio.Event()).wait()

    def _connect(self, node: GraphNode, readers: dict[tuple[str, str], Channel]) -> dict[str, Channel]:
        run = self._frame.run
        id = self._frame.prefix + node.id
        for key, slot in node.inputs.items():
            if not slot.is_stream:
                continue
            if (node.id, key) in self._frame.plan.graph.late:
                held = self.held(node.id, key)
                run.streams.connect(run.run, reader=(id, key), channel=held)
                held.begin()
                continue
            channel = readers[node.id, key] = run.streams.connect(run.run, reader=(id, key))
            if key not in node.streams:
                channel.end()
        outputs = [key for key, slot in node.outputs.items() if slot.is_stream]
        return {key: run.streams.connect(run.run, writer=(id, key)) for key in outputs}

    async def _node(self, node: GraphNode, outlets: list[_Outlet]) -> None:
        frame = self._frame
        result: dict[str, bytes] | Exception
        try:
            result = await frame.called(node, lambda: self._flow(node, outlets))
        except Exception as error:
            result = error
        # However it ended, nobody waits for it any more; it may have to wait for others.
        frame.run.streams.release(frame.run.run, frame.prefix + node.id)
        self.forget(node)
        await self._ends_of_producers(node)
        skip = skipped(node, frame.outcomes)
        frame.run.streams.forget(frame.run.run, frame.prefix + node.id)
        for outlet in outlets:
            outlet.close(skip, result)
        if skip is not None:
            frame.skip(node, skip)
        elif isinstance(result, Exception):
            frame.fail(node, result)
        else:
            await frame.keep(node, result)
        self.scopes.pop(node.id, None)
        self._settle(node)

    def _settle(self, node: GraphNode) -> None:
        """A node has its outcome: what flowed from one that failed is not to be used."""
        outcome = self._frame.outcomes[node.id]
        for key, slot in node.outputs.items():
            if slot.is_stream and (outcome.failed or outcome.untook(key)):
                for each in self._frame.plan.consumers.get(Source(node.id, key), ()):
                    scope = self.scopes.get(each.node)
                    if scope is not None:
                        scope.cancel()
        over = self._over.pop(node.id, None)
        if over is not None:
            over.set()
        self._frame.settle(node)

    async def _flow(self, node: GraphNode, outlets: list[_Outlet]) -> dict[str, bytes]:
        frame = self._frame
        failure: Exception | None = None
        encoded: dict[str, bytes] = {}
        with trio.CancelScope() as scope:
            self.scopes[node.id] = scope
            if skipped(node, frame.outcomes) is not None:
                scope.cancel()
            async with trio.open_nursery() as nursery:

                def failed(error: Exception) -> None:
                    nonlocal failure
                    failure = failure or error
                    nursery.cancel_scope.cancel()

                for outlet in outlets:
                    nursery.start_soon(outlet.pump, failed)
                try:
                    encoded = await frame.call(node)
                except Exception as error:
                    failed(error)
                else:
                    # Its pumps come to an end as soon as they have passed on the rest.
                    frame.run.streams.release(frame.run.run, frame.prefix + node.id)
        if failure is not None:
            raise failure
        if scope.cancelled_caught:
            raise CancelledError("a node whose stream it reads did not succeed")
        return encoded


class _Outlet:
    """One stream output of a node that runs: what it writes goes to every consumer, and out as events."""

    def __init__(
        self,
        flows: Flows,
        node: GraphNode,
        key: str,
        channel: Channel,
        readers: dict[tuple[str, str], Channel],
        counts: dict[str, int],
    ) -> None:
        self.source = Source(node.id, key)
        self._frame = frame = flows._frame
        self._channel = channel
        self._closed = False
        self._counts = counts
        self._targets: list[Channel] = []
        for each in frame.plan.consumers.get(self.source, ()):
            if each.late:
                self._targets.append(flows.held(each.node, each.key))
            elif (each.node, each.key) in readers:
                self._targets.append(readers[each.node, each.key])
        self._events = [(YIELD, {"sourceNodeId": frame.prefix + node.id, "slot": key, "isLastChunk": False})]
        self._events += [
            (INTERFACE_YIELD, {**frame.interface_yield(each), "isLastChunk": False})
            for each in frame.plan.interface.get(self.source, ())
        ]

    async def pump(self, failed: Callable[[Exception], None]) -> None:
        """Passes on what the guest writes, until it ends."""
        try:
            await self._pump()
        except Exception as error:
            failed(error)

    async def _pump(self) -> None:
        run = self._frame.run
        try:
            if run.listening:
                await pump(self._channel, self._targets, room=run.room, seen=self._seen, most=PASSED)
            else:
                await pump(self._channel, self._targets, seen=self._seen)
        except HoldFullError:
            raise held_too_much(self.source.slot) from None
        self._last(chunks.LAST)

    def _seen(self, items: Sequence[bytes]) -> None:
        emit, events = self._frame.run.emit, self._events if self._frame.run.listening else ()
        for item in items:
            type = chunks.typed(item)
            if type == chunks.ERROR_CHUNK:
                raise GuestError(chunks.said(item))
            self._counts[self.source.slot] += 1
            for kind, fields in events:
                emit(kind, fields, chunk=chunks.payload_of(item, type))

    def close(self, skip: Skip | None, result: object) -> None:
        """The node has ended: who listens to the stream learns it, if it did not end before."""
        if skip is not None:
            self._last(chunks.last_of_failed("a node that it needs did not succeed"))
        elif isinstance(result, Exception):
            self._last(chunks.last_of_failed(self._frame.message(result)))

    def _last(self, payload: bytes) -> None:
        if not self._closed:
            self._closed = True
            for kind, fields in self._events:
                self._frame.run.emit(kind, {**fields, "isLastChunk": True}, chunk=payload)
