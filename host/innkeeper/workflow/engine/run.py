"""Runs a workflow: each node a guest call, nodes whose inputs are there at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import trio

from innkeeper.bridge.run_streams import RunStreams
from innkeeper.bridge.scan import CHUNK
from innkeeper.errors import LimitError
from innkeeper.plugins.owner import acting_for
from innkeeper.plugins.runs import Run, RunBase
from innkeeper.storage.names import new_id
from innkeeper.workflow.checking.aside import checked
from innkeeper.workflow.checking.graph import Graph
from innkeeper.workflow.checking.problems import listed
from innkeeper.workflow.engine import slots as slots_module
from innkeeper.workflow.engine.budgets import Budgets
from innkeeper.workflow.engine.call import plain
from innkeeper.workflow.engine.callback_sink import CallbackSink
from innkeeper.workflow.engine.events import (
    ACCEPTED,
    COMPLETE,
    ERROR,
    INTERFACE_OUTPUTS,
    STATUS,
    Event,
    EventSink,
    RunEvent,
)
from innkeeper.workflow.engine.frame import Frame
from innkeeper.workflow.engine.interface import InterfaceOutputs
from innkeeper.workflow.engine.logged import RunLog
from innkeeper.workflow.engine.outcome import RunOutcome
from innkeeper.workflow.engine.pacing import pace
from innkeeper.workflow.engine.plan import Plan
from innkeeper.workflow.engine.resuming import Resume
from innkeeper.workflow.engine.slots import HostSlots, RunSlots, host_slots
from innkeeper.workflow.engine.times import NodeTimes
from innkeeper.workflow.engine.told import Told
from innkeeper.workflow.engine.turns import turns
from innkeeper.workflow.formats.payload import WorkflowPayload
from innkeeper.workflow.host import NodeHost, streams_of

T = TypeVar("T")

FEW = 200
"""Nodes of a graph for which a run is made at once: that takes some 10 us for each."""

_DECODING = 2
"""Large values of one run that are written or read at the same time: each may take a hundred megabytes meanwhile, and
since the interpreter runs one thread at a time, more would not be faster."""

_NO_VALUES: Mapping[str, bytes] = {}


async def run_workflow(
    payload: WorkflowPayload,
    host: NodeHost,
    *,
    on_event: Callable[[Event], None] | None = None,
    prompt_id: str | None = None,
    memo: bool = True,
    bases: Mapping[str, RunBase] | None = None,
) -> RunOutcome:
    """Checks a workflow and runs it.

    Args:
        payload: the workflow.
        host: what its nodes run on.
        on_event: gets each event as it happens; must not block. What it raises ends the run.
        prompt_id: the run's id; by default a new one.
        memo: whether nodes of plugins that are `pure` may give what an equal call gave before.
        bases: what the references of the run's project stand for.

    Returns:
        What became of it, failed nodes included: a failed node is no exception.

    Raises:
        WorkflowError: the workflow does not check.
        trio.Cancelled: the run was cancelled; its guests have ended and the status "interrupted" was sent. Of one that
            had not begun yet, nothing was sent.

    Example:
        >>> async def example(host):
        ...     outcome = await run_workflow(read_payload(b'{"nodes": [], "edges": []}'), host)
        ...     print(outcome.status, outcome.outputs)
    """
    async with turns():
        graph = await checked(payload, host)
        streams = streams_of(host)
        make = partial(
            WorkflowRun, graph, on_event=on_event, prompt_id=prompt_id, memo=memo, bases=bases, streams=streams
        )
        run = await made(graph, make)
    return await run.execute()


async def made(graph: Graph, make: Callable[[], WorkflowRun]) -> WorkflowRun:
    """Makes a run of a graph, in a thread where that takes long."""
    return make() if len(graph.nodes) <= FEW else await trio.to_thread.run_sync(make)


class WorkflowRun:
    """One execution of a checked workflow.

    Attributes:
        outcome: what becomes of it. Can be read at any time, also after a cancellation.
        run: what its calls belong to.
        memo: whether what an equal call gave before will do.
        streams: where its guests find their channels.
        slots: places for its nodes.
        pace: when they give way.
        told: what native plugins hear of it.
        resume, again: what is known of earlier attempts, or None; whether there may be a further one.
        budgets: what it has in memory.
        log: how much of its nodes' logs it has told.
        turns: turns of its loops that go on.
        listening: whether anybody takes its events.
        builds: whether `prepare` may have something to do.
        times: counts what its nodes take, or None.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        on_event: Callable[[Event], None] | None = None,
        sink: EventSink | None = None,
        prompt_id: str | None = None,
        memo: bool = True,
        bases: Mapping[str, RunBase] | None = None,
        streams: RunStreams | None = None,
        slots: HostSlots | None = None,
        resume: Resume | None = None,
        again: bool = True,
        owner: str | None = None,
        times: NodeTimes | None = None,
    ) -> None:
        """Makes what executing a graph needs; may be called in a thread, where that of a large one belongs.

        Args:
            graph: the workflow.
            on_event: gets each event as clients do; must not block. What it raises ends the run.
            sink: takes the events, in place of `on_event`. What it raises ends the run.
            prompt_id: the run's id; by default a new one.
            memo: as of `run_workflow`.
            bases: as of `run_workflow`.
            streams: of the host (`streams_of`); without, its guests reach no stream.
            slots: places for the nodes of all runs of the host; by default those of this trio run.
            resume, again: what is known of earlier attempts; whether a further one may have to know what began.
            owner: whose data its nodes work on; None: of whom the present task works for.
            times: counts what its nodes take; None: nobody does.
        """
        id = prompt_id if prompt_id is not None else new_id()
        self.run = Run(id, bases, owner)
        self.memo = memo
        self.streams = streams if streams is not None else RunStreams()
        self.told = Told(graph.hooks, id)
        self.resume = resume
        self.again = again
        self.times = times
        self.budgets = Budgets()
        self.log = RunLog()
        self.turns = 0
        self._callback = CallbackSink(on_event, id) if on_event is not None and sink is None else None
        self._sink: EventSink | None = sink if sink is not None else self._callback
        self.listening = self._sink is not None
        self.builds = self._callback is not None
        self._seq = 0 if resume is None else resume.seq
        self._failure: Exception | None = None
        self._scope = trio.CancelScope()
        self._decoding = trio.CapacityLimiter(_DECODING)
        self._plans: dict[int, Plan] = {}
        self._graph = graph
        self._host_slots = slots
        self._frame = Frame(self, self.plan(graph))
        self.outcome = RunOutcome(id, "queued", {}, self._frame.outcomes)

    def plan(self, graph: Graph) -> Plan:
        """How the run's graph, or one within it, is executed."""
        found = self._plans.get(id(graph))
        if found is None:
            found = self._plans[id(graph)] = Plan(graph)
        return found

    async def execute(self) -> RunOutcome:
        """Runs it, once. Returns and raises as `run_workflow`, the check apart."""
        # What is asked for it outside of its nodes, by a hook or for its bases, is its owner's too.
        with acting_for(self.run.owner):
            return await self._execute()

    async def _execute(self) -> RunOutcome:
        outcome = self.outcome
        outcome.status = "running"
        self.pace = pace()
        self.slots = RunSlots(host_slots() if self._host_slots is None else self._host_slots, slots_module.PARALLEL)
        try:
            if self.resume is None:
                self.emit(ACCEPTED)
            self.emit(STATUS, {"status": "running"})
            await self.told.run_started(self._graph)
            with self._scope:
                await self._frame.execute()
            if self._failure is not None:
                raise self._failure
            await self._interface_outputs()
        except BaseException:
            for node in outcome.walk():
                if node.status in ("queued", "running"):
                    node.status = "interrupted"
            await self._end("interrupted")
            raise
        failed = [node.node for node in outcome.failures]
        if failed:
            await self._end("error", f"One or more nodes failed during execution: {listed(failed, 10)}")
        elif outcome.error is not None:
            await self._end("error", outcome.error.message)
        else:
            await self._end("complete")
        if self._failure is not None:
            raise self._failure
        return outcome

    async def _end(self, status: Any, message: str | None = None) -> None:
        del self._frame  # It knows its run: both would stay until a search for garbage.
        self.slots.close()
        self.streams.end(self.run)
        self.outcome.status = status
        more = {} if message is None else {"errorInfo": {"message": message}}
        self.emit(STATUS, {"status": status, **more})
        self.listening = False  # Whatever is not over yet would be a defect; it must not be heard.
        await self.told.run_ended(self._graph, self.outcome)

    def emit(
        self,
        kind: str,
        fields: Mapping[str, Any] = _NO_VALUES,
        values: Mapping[str, bytes] | None = None,
        chunk: bytes | None = None,
    ) -> None:
        """Gives out an event. Nothing happens where nobody takes it.

        Args:
            kind: its type.
            fields: its payload, which nobody may change afterwards.
            values, chunk: as of `RunEvent`.
        """
        # After its first failure the receiver gets nothing more. It fails the run from outside of the nurseries,
        # which would wrap the exception into groups.
        if self._sink is None or not self.listening:
            return
        self._seq += 1
        try:
            values = _NO_VALUES if values is None else values
            self._sink.emit(RunEvent(self._seq, kind, fields, values, chunk, time.time()))
        except Exception as error:
            self._fail(error)

    async def room(self) -> None:
        """Waits until more events may be given out."""
        if self._sink is not None:
            try:
                await self._sink.room()
            except Exception as error:
                self._fail(error)

    async def settled(self) -> None:
        """Waits until what was given out so far is kept."""
        if self._sink is not None:
            try:
                await self._sink.settled()
            except Exception as error:
                self._fail(error)
                await trio.lowlevel.checkpoint()

    async def prepare(self, values: Mapping[str, bytes]) -> None:
        """Builds values that the next event has, where somebody takes them built and that takes long."""
        if self._callback is not None:
            size = sum(map(len, values.values()))
            if size > CHUNK:
                self._callback.give(values, await self.maybe_in_thread(size, lambda: _built(values)))

    async def maybe_in_thread(self, size: int, work: Callable[[], T]) -> T:
        """Does work with so many bytes (of msgpack, about), in a thread where they are many. Where the run is cancelled
        nobody waits for the thread, so the work must change nothing."""
        if size <= CHUNK:
            return work()
        return await trio.to_thread.run_sync(work, limiter=self._decoding, abandon_on_cancel=True)

    def _fail(self, error: Exception) -> None:
        self.listening = False
        if self._failure is None:
            self._failure = error
            self._scope.cancel()

    async def _interface_outputs(self) -> None:
        found = InterfaceOutputs(self._graph, self.outcome.nodes)
        try:
            outputs, encoded = await self.maybe_in_thread(found.size, found.build)
        except LimitError as error:
            self.outcome.error = error
            details = {"message": error.message, "kind": error.kind.value}
            self.emit(ERROR, {"nodeId": INTERFACE_OUTPUTS, "errorDetails": details})
            return
        self.outcome.outputs, self.outcome.encoded, self.outcome.placed = outputs, encoded, found.placed
        if self._callback is not None:
            self._callback.give(encoded, outputs)
        self.emit(COMPLETE, {"nodeId": INTERFACE_OUTPUTS}, encoded)


def _built(values: Mapping[str, bytes]) -> dict[str, Any]:
    return {key: plain(value) for key, value in values.items()}
