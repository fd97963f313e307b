"""One graph in execution: the run's own, or that of one turn of a loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgpack

from innkeeper.errors import InnkeeperError
from innkeeper.sandbox.usage import Usage
from innkeeper.workflow.checking.graph import ERROR_OUTPUT, GraphNode
from innkeeper.workflow.engine import resuming
from innkeeper.workflow.engine.budgets import Budget
from innkeeper.workflow.engine.bypassing import pseudo_outputs
from innkeeper.workflow.engine.call import InputValues
from innkeeper.workflow.engine.control import branched, merged
from innkeeper.workflow.engine.events import BYPASSED, COMPLETE, ERROR, EXECUTING, LOG, RETRY, SKIPPED
from innkeeper.workflow.engine.inputs import Skip, are_heavy, gathered, interface_values, new_bytes, skipped
from innkeeper.workflow.engine.lanes import Lanes
from innkeeper.workflow.engine.loops import run_loop
from innkeeper.workflow.engine.node_call import call_node
from innkeeper.workflow.engine.outcome import NodeOutcome
from innkeeper.workflow.engine.plan import LOOPS, Plan
from innkeeper.workflow.engine.retrying import as_error, pause
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
        self.budget = Budget(run.budgets, len(plan.graph.nodes))
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
        self._lanes: Lanes | None = None
        self._again = frozenset[str]() if run.resume is None else resuming.flowing_again(plan, run.resume, prefix)

    async def execute(self) -> None:
        """Runs all nodes to their ends. What becomes of them is in `outcomes`; a node that fails raises nothing."""
        self._lanes = Lanes(self.plan, self.run.slots, self.run.pace, self._node, self._flows.run)
        try:
            await self._lanes.run()
        finally:
            self._flows.close()
            # They know the frame: with them it would stay, and all that the run has, until a search for garbage.
            del self._flows, self._lanes

    @property
    def failures(self) -> list[NodeOutcome]:
        """The nodes that failed unhandled, in graph order."""
        return [each for each in self.outcomes.values() if each.status == "error" and not each.handled]

    def settle(self, node: GraphNode) -> None:
        """A node has its outcome: those that wait for it may begin."""
        assert self._lanes is not None
        self._lanes.settle(node)

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
            self.outcomes[node.id].tries = resume.tries.get(id, 0)
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
            if run.again and not resuming.is_safe(node):
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
            encoded, untaken = await self._written(node, branched)
            self.budget.keep(new_bytes(node, encoded, self.outcomes))
            self.outcomes[node.id].untaken = untaken
            return encoded
        elif role == "merge":
            encoded = await self._written(node, merged)
            self.budget.keep(new_bytes(node, encoded, self.outcomes))
            return encoded
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
        rest = {key: value for key, value in self.plan.graph.interface_values.items() if key not in given}
        size = _LARGE if are_heavy(rest.values()) else 0
        return await self.run.maybe_in_thread(size, lambda: interface_values(node, given, rest))

    async def call(self, node: GraphNode) -> dict[str, bytes]:
        """Calls a plugin's node, again where it fails and its author wants so."""
        run, outcome, id = self.run, self.outcomes[node.id], self.prefix + node.id
        inputs = await self.inputs(node)
        while True:
            outcome.tries += 1
            try:
                return await call_node(run, node, id, inputs, lambda usage: self._used(node, usage))
            except Exception as failure:
                error = as_error(failure, node, id)
                seconds = pause(node.policy.retry, error, outcome.tries)
                if seconds is None:
                    raise error from error.__cause__
            if isinstance(error.usage, Usage) and error.usage is not outcome.usage:
                self._say_log(node, error.usage)
            details = {"message": error.message, "kind": error.kind.value}
            about = {"attempt": outcome.tries + 1, "delay": seconds, "errorDetails": details}
            self._say(node, RETRY, {**about, **marks(outcome)})
            assert self._lanes is not None
            await self._lanes.pause(seconds)

    def _used(self, node: GraphNode, usage: Usage) -> None:
        outcome = self.outcomes[node.id]
        outcome.usage = usage
        if self.run.times is not None and outcome.plugin is not None:
            self.run.times.add(outcome.plugin, usage)
        if usage.log:
            self._say_log(node, usage)
            self.budget.log(usage)

    def _say_log(self, node: GraphNode, usage: Usage) -> None:
        if self.run.listening:
            for chunk in self.run.log.chunks(usage):
                self.run.emit(LOG, {"nodeId": self.prefix + node.id}, chunk=chunk)

    async def _bypass(self, node: GraphNode) -> None:
        outcome = self.outcomes[node.id]
        try:
            encoded = await self._written(node, pseudo_outputs)
            self.budget.keep(new_bytes(node, encoded, self.outcomes))
        except Exception as error:
            self.fail(node, error)
            return
        outcome.encoded = encoded
        outcome.status, outcome.reason = "skipped", "bypassed"
        if node.policy.error_output:
            # It did not fail.
            outcome.untaken = frozenset({ERROR_OUTPUT})
        await self.run.prepare(outcome.encoded)
        self._say(node, BYPASSED, {}, outcome.encoded)

    async def complete(self, node: GraphNode, values: dict[str, bytes]) -> None:
        """A node gave its outputs."""
        outcome = self.outcomes[node.id]
        if self.run.builds:
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
            self._used(node, error.usage)
        handled: dict[str, Any] = {}
        if node.policy.error_output:
            told = {"kind": error.kind.value, "message": error.message, "node": self.prefix + node.id}
            about = {**told, "plugin": error.plugin, "tries": outcome.tries}
            outcome.encoded = {ERROR_OUTPUT: msgpack.packb(about)}
            outcome.untaken = frozenset(node.outputs) - {ERROR_OUTPUT}
            outcome.handled = True
            handled = {"handled": True, "tries": outcome.tries}
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
        name = self.plan.named.get(key)
        return {"interfaceOutputKey": key} | ({"interfaceOutputDisplayName": name} if name else {})

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
