"""One graph in execution: the run's own, or that of one turn of a loop.

Nodes run in lanes: a task that has a place among those that run, and takes one node after another while there are any
that can begin and nobody else waits for the place. A chain is one task, whatever its length.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgpack
import trio

from innkeeper.bridge.codec import encode
from innkeeper.errors import InnkeeperError
from innkeeper.sandbox.usage import Usage
from innkeeper.workflow.checking.graph import ERROR_OUTPUT, GraphNode
from innkeeper.workflow.checking.values import from_json
from innkeeper.workflow.engine import resuming
from innkeeper.workflow.engine.budgets import Budget
from innkeeper.workflow.engine.bypassing import pseudo_outputs
from innkeeper.workflow.engine.call import InputValues
from innkeeper.workflow.engine.control import branched, merged
from innkeeper.workflow.engine.events import BYPASSED, COMPLETE, ERROR, EXECUTING, RETRY, SKIPPED
from innkeeper.workflow.engine.inputs import Skip, are_heavy, gathered, skipped
from innkeeper.workflow.engine.loops import run_loop
from innkeeper.workflow.engine.node_call import call_node
from innkeeper.workflow.engine.outcome import NodeOutcome
from innkeeper.workflow.engine.plan import LOOPS, Plan
from innkeeper.workflow.engine.retrying import as_error, pause
from innkeeper.workflow.engine.slots import PARALLEL
from innkeeper.workflow.engine.streams import Flows
from innkeeper.workflow.engine.told import marks
from innkeeper.workflow.host import is_native

if TYPE_CHECKING:
    from innkeeper.workflow.engine.run import WorkflowRun

T = TypeVar("T")

_LARGE = 64 * 1024


class Frame:
    """A graph in execution.

    Attributes:
        run: the run that it belongs to.
        plan: how the graph is executed.
        prefix: what stands before the ids of its nodes.
        budget: what its outputs and logs take.
        outcomes: what becomes of its nodes, by their ids in the graph.
    """

    def __init__(
        self, run: WorkflowRun, plan: Plan, prefix: str = "", interface: Mapping[str, bytes] | None = None
    ) -> None:
        """Args:
        run: the run.
        plan: of the graph.
        prefix: "" or that of a turn.
        interface: of a turn, what the loop gives its interface inputs, as msgpack.
        """
        self.run = run
        self.plan = plan
        self.prefix = prefix
        self.budget = Budget(run.budgets)
        self.outcomes = {
            node.id: NodeOutcome(
                prefix + node.id,
                node.full_type,
                node.plugin.id if node.plugin is not None else None,
                native=is_native(node.plugin),
            )
            for node in plan.graph.nodes.values()
        }
        self._interface = interface
        self._flows = Flows(self)
        self._waiting = list(plan.waiting)
        self._left = len(self.outcomes)
        self._ready: list[int] = []
        # Lanes that run, and those that are on their way to a node: started or asked for.
        self._lanes = self._asked = self._coming = 0
        # Lanes that were cancelled while they had no place to give back.
        self._homeless = 0
        self._nursery: trio.Nursery | None = None
        self._done = trio.Event()
        self._again = frozenset[str]() if run.resume is None else resuming.flowing_again(plan, run.resume, prefix)

    async def execute(self) -> None:
        """Runs all nodes to their ends. What becomes of them is in `outcomes`; a node that fails raises nothing."""
        if not self._left:
            return
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for place, count in enumerate(self._waiting):
                    if count == 0:
                        self._begin(place)
                self._spread()
                await self._done.wait()
        finally:
            self._nursery = None

    @property
    def failures(self) -> list[NodeOutcome]:
        """The nodes that failed unhandled, in graph order."""
        return [each for each in self.outcomes.values() if each.status == "error" and not each.handled]

    # What can begin, and who runs it.

    def settle(self, node: GraphNode) -> None:
        """A node has its outcome: those that wait for it may begin."""
        for place in self.plan.behind[node.id]:
            self._waiting[place] -= 1
            if self._waiting[place] == 0:
                self._begin(place)
        self._left -= 1
        if self._left == 0:
            self._done.set()
        elif self._ready:
            self._spread()

    def _begin(self, place: int) -> None:
        unit = self.plan.units[place]
        if unit.nodes[0].role in LOOPS and self._nursery is not None:
            self._nursery.start_soon(self._loop, unit.nodes[0])
        else:
            heapq.heappush(self._ready, place)

    def _spread(self) -> None:
        """Sees to it that there is a lane for each node that can begin, as far as there is room."""
        while self._coming < len(self._ready) and self._lanes + self._asked < PARALLEL and self._nursery is not None:
            self._coming += 1
            if self.run.slots.take():
                self._lanes += 1
                self._nursery.start_soon(self._lane)
            else:
                self._asked += 1
                self.run.slots.ask(self._granted)

    def _granted(self) -> None:
        self._asked -= 1
        self._lanes += 1
        if self._nursery is None:
            self.run.slots.give()
        else:
            self._nursery.start_soon(self._lane)

    async def _lane(self) -> None:
        run = self.run
        try:
            while True:
                self._coming -= 1
                if not self._ready:
                    return
                unit = self.plan.units[heapq.heappop(self._ready)]
                if unit.flows:
                    await self._flows.run(unit.nodes)
                    self._coming += 1
                else:
                    node = unit.nodes[0]
                    await self._node(node)
                    self._coming += 1
                    self.settle(node)
                await run.pace.breathe()
                if run.slots.contended:
                    self._coming -= 1
                    return
        finally:
            self._lanes -= 1
            if self._homeless:
                self._homeless -= 1
            else:
                run.slots.give()
            if self._ready:
                self._spread()

    # One node, by its role.

    async def _node(self, node: GraphNode) -> None:
        if not self.starts(node):
            return
        if node.role == "bypassed":
            await self._bypass(node)
            return
        try:
            result = await self.called(node, lambda: self._outputs(node))
        except Exception as error:
            self.fail(node, error)
        else:
            await self.complete(node, result)

    async def _loop(self, node: GraphNode) -> None:
        await self._node(node)
        self.settle(node)

    def starts(self, node: GraphNode) -> bool:
        """Whether a node, all of whose values are there, runs now; else it has its outcome already."""
        skip = skipped(node, self.outcomes)
        if skip is not None:
            self.skip(node, skip)
            self._flows.forget(node)
            return False
        resume = self.run.resume
        if resume is None or node.id in self._again:
            return resume is None or self._may(node, resume)
        id = self.prefix + node.id
        if id in resume.results and (node.role == "plugin" or node.role in LOOPS):
            self._take(node, resume.results[id])
            self._flows.forget(node)
            return False
        if id in resume.failed and (node.role == "plugin" or node.role in LOOPS):
            self.fail(node, resuming.earlier_error(resume, id, node))
            self._flows.forget(node)
            return False
        return self._may(node, resume)

    def _may(self, node: GraphNode, resume: resuming.Resume) -> bool:
        if self.prefix + node.id not in resume.begun or resuming.is_safe(node):
            return True
        self.fail(node, resuming.refusal(node))
        self._flows.forget(node)
        return False

    def _take(self, node: GraphNode, values: Mapping[str, bytes]) -> None:
        outcome = self.outcomes[node.id]
        try:
            self.budget.keep(sum(map(len, values.values())))
        except InnkeeperError as error:
            self.fail(node, error)
            return
        outcome.encoded = values
        outcome.status = "complete"
        if node.policy.error_output:
            outcome.untaken = frozenset({ERROR_OUTPUT})

    async def called(self, node: GraphNode, work: Callable[[], Awaitable[T]]) -> T:
        """Runs a node, while everybody who wants to know of it does."""
        run, outcome = self.run, self.outcomes[node.id]
        outcome.status = "running"
        if run.listening:
            await run.room()
            self._say(node, EXECUTING, marks(outcome))
            if not resuming.is_safe(node):
                # Once its host has ended, nobody could tell whether it began.
                await run.settled()
        if outcome.plugin is None or not run.told.listening:
            return await work()
        async with run.told.node(outcome):
            return await work()

    async def _outputs(self, node: GraphNode) -> dict[str, bytes]:
        role = node.role
        if role == "plugin":
            encoded = await self.call(node)
        elif role == "input":
            encoded = await self._interface_values(node)
        elif role == "if":
            encoded, self.outcomes[node.id].untaken = await self._written(node, branched)
            return encoded
        elif role == "merge":
            return await self._written(node, merged)
        elif role in LOOPS:
            return await run_loop(self, node)
        else:
            return {}
        self.budget.keep(sum(map(len, encoded.values())))
        return encoded

    async def _written(self, node: GraphNode, work: Callable[[GraphNode, Mapping[str, NodeOutcome]], T]) -> T:
        if node.id not in self.plan.heavy:
            return work(node, self.outcomes)
        return await self.run.maybe_in_thread(_LARGE, lambda: work(node, self.outcomes))

    async def inputs(self, node: GraphNode) -> InputValues:
        """As `gathered`, in a thread where that takes long."""
        return await self._written(node, gathered)

    async def _interface_values(self, node: GraphNode) -> dict[str, bytes]:
        given = self._interface or {}
        values = self.plan.graph.interface_values.items()
        rest = {key: value for key, value in values if key not in given and key in node.outputs}

        def written() -> dict[str, bytes]:
            return {
                key: encode(from_json(value, node.outputs[key].data_flow_type), "msgpack")
                for key, value in rest.items()
            }

        made = await self.run.maybe_in_thread(_LARGE if are_heavy(rest.values()) else 0, written)
        return {key: value for key, value in given.items() if key in node.outputs} | made

    async def call(self, node: GraphNode) -> dict[str, bytes]:
        """Calls a plugin's node, again where it fails and its author wants so."""
        run, outcome, id = self.run, self.outcomes[node.id], self.prefix + node.id
        inputs = await self.inputs(node)
        while True:
            outcome.tries += 1
            try:
                return await call_node(run, node, id, inputs, lambda usage: self._used(outcome, usage))
            except Exception as failure:
                error = as_error(failure, node, id)
                seconds = pause(node.policy.retry, error, outcome.tries)
                if seconds is None:
                    raise error from error.__cause__
            details = {"message": error.message, "kind": error.kind.value}
            about = {"attempt": outcome.tries + 1, "delay": seconds, "errorDetails": details}
            self._say(node, RETRY, {**about, **marks(outcome)})
            await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        """Waits, without a place among those that run."""
        self._lanes -= 1
        self.run.slots.give()
        self._spread()
        try:
            await trio.sleep(seconds)
            await self.run.slots.wait()
        except BaseException:
            self._homeless += 1
            raise
        finally:
            self._lanes += 1

    def _used(self, outcome: NodeOutcome, usage: Usage) -> None:
        outcome.usage = usage
        self.budget.log(usage)

    async def _bypass(self, node: GraphNode) -> None:
        outcome = self.outcomes[node.id]
        try:
            outcome.encoded = await self._written(node, pseudo_outputs)
        except Exception as error:
            self.fail(node, error)
            return
        outcome.status, outcome.reason = "skipped", "bypassed"
        await self.run.prepare(outcome.encoded)
        self._say(node, BYPASSED, {}, outcome.encoded)

    # How it ends.

    async def complete(self, node: GraphNode, values: dict[str, bytes]) -> None:
        """A node gave its outputs."""
        outcome = self.outcomes[node.id]
        await self.run.prepare(values)
        outcome.encoded = values
        outcome.status = "complete"
        if node.policy.error_output:
            outcome.untaken |= {ERROR_OUTPUT}
        self._say(node, COMPLETE, marks(outcome), values)

    async def keep(self, node: GraphNode, values: dict[str, bytes]) -> None:
        """As `complete`, of outputs that have not been counted."""
        try:
            self.budget.keep(sum(map(len, values.values())))
        except InnkeeperError as error:
            self.fail(node, error)
        else:
            await self.complete(node, values)

    def fail(self, node: GraphNode, failure: Exception) -> None:
        """A node failed, which its error output may take."""
        outcome = self.outcomes[node.id]
        error = outcome.error = as_error(failure, node, self.prefix + node.id)
        outcome.status = "error"
        if isinstance(error.usage, Usage) and error.usage is not outcome.usage:
            self._used(outcome, error.usage)
        handled: dict[str, Any] = {}
        if node.policy.error_output:
            told = {"kind": error.kind.value, "message": error.message, "node": self.prefix + node.id}
            about = {**told, "plugin": error.plugin, "tries": outcome.tries}
            outcome.encoded = {ERROR_OUTPUT: msgpack.packb(about)}
            outcome.untaken = frozenset(node.outputs) - {ERROR_OUTPUT}
            outcome.handled = True
            handled = {"handled": True}
        details = {"message": error.message, "kind": error.kind.value}
        self._say(node, ERROR, {"errorDetails": details, **handled, **marks(outcome)})

    def skip(self, node: GraphNode, skip: Skip) -> None:
        """A node does not run, or what it did does not count."""
        outcome = self.outcomes[node.id]
        outcome.status, outcome.reason, outcome.cause = "skipped", skip.reason, skip.cause
        self._say(node, SKIPPED, {"reason": skip.reason, "cause": skip.cause, **marks(outcome)})

    def message(self, failure: Exception) -> str:
        """What is said of a failure (str)."""
        return failure.message if isinstance(failure, InnkeeperError) else "the host failed"

    def interface_yield(self, key: str) -> dict[str, Any]:
        """The fields that name an interface output in events of its stream."""
        for node in self.plan.graph.nodes.values():
            if node.role == "output" and key in node.inputs and node.inputs[key].display_name:
                name = node.inputs[key].display_name
                return {"interfaceOutputKey": key, "interfaceOutputDisplayName": name}
        return {"interfaceOutputKey": key}

    def _say(
        self, node: GraphNode, kind: str, fields: Mapping[str, Any], values: Mapping[str, bytes] | None = None
    ) -> None:
        run = self.run
        if not run.listening:
            return
        id = self.prefix + node.id
        resume = run.resume
        if resume is not None and node.id not in self._again and (resume.ended(id) or id in resume.said):
            # It was said before the host ended.
            return
        run.emit(kind, {"nodeId": id, **fields}, values)
