"""Runs a workflow: each node a guest call, nodes whose inputs are there at the same time."""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import trio

from innkeeper.bridge.codec import encode
from innkeeper.bridge.scan import CHUNK
from innkeeper.errors import GuestError, InnkeeperError, InternalError, LimitError
from innkeeper.plugins.memo import Memo
from innkeeper.plugins.runs import Run, RunBase, RunContext
from innkeeper.sandbox.limits import MIB
from innkeeper.sandbox.usage import Usage
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.graph import GROUP_INPUT, Graph, GraphNode, Source
from innkeeper.workflow.checking.problems import listed
from innkeeper.workflow.checking.values import as_text_if_scalar, default_of, from_json
from innkeeper.workflow.engine.call import NodeCodec, plain, read_answer, size_within, write_call
from innkeeper.workflow.engine.events import INTERFACE_OUTPUTS
from innkeeper.workflow.engine.interface import InterfaceOutputs
from innkeeper.workflow.engine.outcome import NodeOutcome, RunOutcome
from innkeeper.workflow.engine.told import Told, marks
from innkeeper.workflow.engine.turns import turns
from innkeeper.workflow.formats.payload import WorkflowPayload
from innkeeper.workflow.host import NodeHost, is_native, is_pure

T = TypeVar("T")

Event = dict[str, Any]
"""An event as ComfyTavern's clients get it: {"type": ..., "payload": {...}}."""

PARALLEL = 16
"""Nodes of one run at the same time: enough for a wide graph, and no run takes all guests of a host."""

_DECODING = 2
"""Large values of one run that are written or read at the same time: each may take a hundred megabytes meanwhile, and
since the interpreter runs one thread at a time, more would not be faster."""

RUN_BYTES = 256 * MIB
"""Bytes of outputs that a run keeps, since each of them may still be an input."""

RUN_LOG = 16 * MIB
"""Bytes of log that a run keeps: that of 256 nodes at the default limit. A run may have 10,000."""

_LINE = 64
"""Bytes that a line of log counts beside its text, so that empty lines count too."""


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
        run = WorkflowRun(check_workflow(payload, host), on_event=on_event, prompt_id=prompt_id, memo=memo, bases=bases)
    return await run.execute()


class WorkflowRun:
    """One execution of a checked workflow. `outcome` can be read at any time, also after a cancellation."""

    def __init__(
        self,
        graph: Graph,
        *,
        on_event: Callable[[Event], None] | None = None,
        prompt_id: str | None = None,
        memo: bool = True,
        bases: Mapping[str, RunBase] | None = None,
    ) -> None:
        self.outcome = RunOutcome(
            prompt_id if prompt_id is not None else secrets.token_urlsafe(16),
            "queued",
            {},
            {
                node.id: NodeOutcome(
                    node.id,
                    node.full_type,
                    node.plugin.id if node.plugin is not None else None,
                    native=is_native(node.plugin),
                )
                for node in graph.nodes.values()
            },
        )
        self._run = Run(self.outcome.prompt_id, bases)
        self._graph = graph
        self._told = Told(graph.hooks, self.outcome.prompt_id)
        self._on_event = on_event
        self._memo = memo
        self._failure: Exception | None = None
        self._scope = trio.CancelScope()
        self._decoding = trio.CapacityLimiter(_DECODING)
        self._order = list(graph.nodes)
        self._rank = {node: index for index, node in enumerate(self._order)}
        self._successors: dict[str, set[str]] = {node: set() for node in graph.nodes}
        self._waiting: dict[str, int] = {}
        for node in graph.nodes.values():
            found = [each for sources in node.sources.values() for each in sources]
            origins = {each.node for each in found if isinstance(each, Source)}
            self._waiting[node.id] = len(origins)
            for origin in origins:
                self._successors[origin].add(node.id)
        self._ready: list[int] = [self._rank[node] for node, count in self._waiting.items() if count == 0]
        self._active = 0
        self._kept = 0
        self._logged = 0

    async def execute(self) -> RunOutcome:
        """Runs it, once. Returns and raises as `run_workflow`, the check apart."""
        outcome = self.outcome
        outcome.status = "running"
        try:
            self._emit("PROMPT_ACCEPTED_RESPONSE")
            self._emit("EXECUTION_STATUS_UPDATE", status="running")
            await self._told.run_started(self._graph)
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._start_ready(nursery)
            if self._failure is not None:
                raise self._failure
            await self._interface_outputs()
        except BaseException:
            for node in outcome.nodes.values():
                if node.status in ("queued", "running"):
                    node.status = "interrupted"
            outcome.status = "interrupted"
            self._emit("EXECUTION_STATUS_UPDATE", status="interrupted")
            await self._told.run_ended(self._graph, outcome)
            raise
        failed = [node.node for node in outcome.nodes.values() if node.status == "error"]
        if failed:
            outcome.status = "error"
            message = f"One or more nodes failed during execution: {listed(failed, 10)}"
            self._emit("EXECUTION_STATUS_UPDATE", status="error", errorInfo={"message": message})
        elif outcome.error is not None:
            outcome.status = "error"
            self._emit("EXECUTION_STATUS_UPDATE", status="error", errorInfo={"message": outcome.error.message})
        else:
            outcome.status = "complete"
            self._emit("EXECUTION_STATUS_UPDATE", status="complete")
        await self._told.run_ended(self._graph, outcome)
        if self._failure is not None:
            raise self._failure
        return outcome

    def _emit(self, kind: str, **fields: Any) -> None:
        # After its first failure the receiver gets nothing more. It fails the run from outside of the nursery, which
        # would wrap the exception into a group.
        if self._on_event is None or self._failure is not None:
            return
        try:
            self._on_event({"type": kind, "payload": {"promptId": self.outcome.prompt_id, **fields}})
        except Exception as error:
            self._failure = error
            self._scope.cancel()

    def _emit_error(self, node: str, error: InnkeeperError, **marks: bool) -> None:
        details = {"message": error.message, "kind": error.kind.value}
        self._emit("NODE_ERROR", nodeId=node, errorDetails=details, **marks)

    def _start_ready(self, nursery: trio.Nursery) -> None:
        if self._failure is not None:
            return
        while self._ready and self._active < PARALLEL:
            node = self._graph.nodes[self._order[heapq.heappop(self._ready)]]
            self._active += 1
            nursery.start_soon(self._run_node, node, nursery)

    async def _run_node(self, node: GraphNode, nursery: trio.Nursery) -> None:
        outcome = self.outcome.nodes[node.id]
        outcome.status = "running"
        self._emit("NODE_EXECUTING", nodeId=node.id, **marks(outcome))
        try:
            async with self._told.node(outcome):
                encoded = await self._outputs(node, outcome)
            self._keep(encoded)
            output = await self._plain(encoded) if self._on_event is not None else {}
        except Exception as error:
            self._fail(node, outcome, error)
        else:
            outcome.encoded = encoded
            outcome.status = "complete"
            self._emit("NODE_COMPLETE", nodeId=node.id, output=output, **marks(outcome))
            for successor in self._successors[node.id]:
                self._waiting[successor] -= 1
                if self._waiting[successor] == 0:
                    heapq.heappush(self._ready, self._rank[successor])
        self._active -= 1
        self._start_ready(nursery)

    def _fail(self, node: GraphNode, outcome: NodeOutcome, error: Exception) -> None:
        if not isinstance(error, InnkeeperError):
            # Its text may name paths of this machine; the cause stays for whoever looks for the defect.
            internal = InternalError(f"the host failed with {type(error).__name__}; this is a defect of Innkeeper")
            internal.__cause__ = error
            error = internal
        error.node = node.id
        if error.plugin is None and node.definition is not None:
            error.plugin, error.function = outcome.plugin, node.definition.function
        outcome.error = error
        outcome.status = "error"
        if isinstance(error.usage, Usage):
            self._keep_usage(outcome, error.usage)
        self._emit_error(node.id, error, **marks(outcome))
        behind = [node.id]
        while behind:
            for successor in self._successors[behind.pop()]:
                if self.outcome.nodes[successor].status == "queued":
                    self.outcome.nodes[successor].status = "skipped"
                    behind.append(successor)

    async def _outputs(self, node: GraphNode, outcome: NodeOutcome) -> dict[str, bytes]:
        if node.definition is None or node.plugin is None:
            if node.full_type != GROUP_INPUT:
                return {}
            slots = self._graph.interface_values.items()
            return {key: encode(from_json(value, node.outputs[key].data_flow_type), "msgpack") for key, value in slots}
        plugin, definition, manifest = node.plugin, node.definition, node.manifest
        codec: NodeCodec = "json" if manifest is not None and manifest.codec == "json" else "msgpack"
        inputs = self._inputs(node)
        size = size_within(inputs, plugin, definition.function)
        context = RunContext(self._run, node.id)

        async def written(pure: bool) -> bytes:
            # Which run it is would be all that tells equal calls apart.
            about = ("", "") if pure else (self.outcome.prompt_id, node.id)
            return await self._maybe_in_thread(size, lambda: write_call(codec, inputs, node.config, *about))

        pure = is_pure(plugin)
        data = await written(pure)
        while is_pure(plugin) != pure:
            # It changed meanwhile. From here to where the call takes the version in service nothing can change.
            pure = not pure
            data = await written(pure)
        if is_pure(plugin):
            memo: Memo = "costly" if self._memo else False
            result = await plugin.call(definition.function, data, manifest=manifest, run=context, memo=memo)
        else:
            result = await plugin.call(definition.function, data, manifest=manifest, run=context)
        self._keep_usage(outcome, result.usage)
        answer = result.output
        return await self._maybe_in_thread(len(answer), lambda: read_answer(codec, answer, node.outputs))

    def _inputs(self, node: GraphNode) -> dict[str, bytes | list[bytes]]:
        inputs: dict[str, bytes | list[bytes]] = {}
        for key, slot in node.inputs.items():
            sources = [each for each in node.sources.get(key, []) if isinstance(each, Source)]
            found = [self.outcome.nodes[source.node].encoded.get(source.slot) for source in sources]
            values = [value for value in found if value is not None and value != _NIL]
            if slot.data_flow_type == "STRING":
                values = [as_text_if_scalar(value) for value in values]
            if values:
                inputs[key] = values if slot.multi else values[0]
                continue
            given = node.presets.get(key)
            if given is None and slot.required:
                given = slot.config.get("default")
                if given is None:
                    origin = f"output {sources[0].slot!r} of node {sources[0].node!r}" if sources else "nothing"
                    raise GuestError(f"the input {key!r} is required, and {origin} gave it no value")
            elif given is None:
                given = default_of(slot)
            if given is not None:
                if slot.multi and not isinstance(given, list):
                    given = [given]
                inputs[key] = encode(from_json(given, slot.data_flow_type), "msgpack")
        return inputs

    def _keep(self, encoded: dict[str, bytes]) -> None:
        kept = self._kept + sum(map(len, encoded.values()))
        if kept > RUN_BYTES:
            raise LimitError(
                f"the outputs of this run's nodes have {kept:,} bytes together, and a run keeps {RUN_BYTES:,}",
                limit="run outputs",
                value=RUN_BYTES,
                used=kept,
            )
        self._kept = kept

    def _keep_usage(self, outcome: NodeOutcome, usage: Usage) -> None:
        outcome.usage = usage
        size = sum(len(text.encode()) for _, text in usage.log)
        logged = self._logged + size + _LINE * len(usage.log)
        if logged > RUN_LOG:
            usage.log.clear()
            usage.log_dropped += size
        else:
            self._logged = logged

    async def _plain(self, encoded: dict[str, bytes]) -> dict[str, Any]:
        size = sum(map(len, encoded.values()))
        return await self._maybe_in_thread(size, lambda: {key: plain(value) for key, value in encoded.items()})

    async def _interface_outputs(self) -> None:
        found = InterfaceOutputs(self._graph, self.outcome.nodes)
        try:
            self.outcome.outputs = await self._maybe_in_thread(found.size, found.build)
        except LimitError as error:
            self.outcome.error = error
            self._emit_error(INTERFACE_OUTPUTS, error)
        else:
            self._emit("NODE_COMPLETE", nodeId=INTERFACE_OUTPUTS, output=self.outcome.outputs)

    async def _maybe_in_thread(self, size: int, work: Callable[[], T]) -> T:
        return work() if size <= CHUNK else await trio.to_thread.run_sync(work, limiter=self._decoding)


_NIL = b"\xc0"
