"""Executes the workflows that were submitted, those of plugins included: the `Executor` of a worker."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import msgpack
import trio

from innkeeper.bridge.runner import Failure, Job, ProblemsError, Report
from innkeeper.errors import Kind, UsageError
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.plugins.tables import nearest, shown
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.graph import Graph
from innkeeper.workflow.checking.problems import WorkflowError
from innkeeper.workflow.engine.events import EventSink
from innkeeper.workflow.engine.outcome import RunOutcome
from innkeeper.workflow.engine.resuming import Resume
from innkeeper.workflow.engine.run import WorkflowRun, made
from innkeeper.workflow.formats.payload import WorkflowPayload, payload_of
from innkeeper.workflow.host import Hooked, NodeHost, NodePlugin, is_native, streams_of
from innkeeper.workflow.scheduling.execution import Task

if TYPE_CHECKING:
    from innkeeper.plugins.native.hooks import Hooks
    from innkeeper.storage.run_reading import Known

MOST_LINES: Final = 20
"""Problems of a job that are said."""

MOST_LINE: Final = 300
"""Characters of each."""


class WorkflowRunner:
    """Implements `scheduling.execution.Executor` on a host."""

    def __init__(self, host: NodeHost) -> None:
        """Args:
        host: has the nodes.
        """
        self._host = host
        # Looking for what an unknown node type may have meant takes long: in a thread, one after another.
        self._checking = trio.CapacityLimiter(1)

    async def check(self, job: Job) -> None:
        """Makes sure that a job could run now.

        Raises:
            ProblemsError: all that is wrong with it.
        """
        await trio.to_thread.run_sync(self._graph, job, True, limiter=self._checking)

    async def execute(self, task: Task, sink: EventSink) -> Report:
        """As `Executor.execute`."""
        confined = bool(task.run.account.plugin)
        graph = await trio.to_thread.run_sync(self._graph, task.job, confined, limiter=self._checking)
        resume = _resume(task.known)
        streams = streams_of(self._host)
        # One that is not begun again needs not say that a node begins before it does: that is a commit for each.
        again = task.run.after_crash == "again"
        make = partial(
            WorkflowRun, graph, sink=sink, prompt_id=task.run.id, streams=streams, resume=resume, again=again
        )
        run = await made(graph, make)
        return _report(await run.execute(), task.most_outputs)

    def _graph(self, given: Job | bytes, confined: bool) -> Graph:
        job = given if isinstance(given, Job) else Job(**msgpack.unpackb(given))
        try:
            payload = payload_of(dict(job.workflow))
            _give_inputs(payload, job)
            return check_workflow(payload, _Still(self._host, confined))
        except WorkflowError as error:
            raise _problems([str(problem) for problem in error.problems]) from None
        except UsageError as error:
            raise _problems(error.message.splitlines()) from None


def _resume(known: Known) -> Resume | None:
    if not known.seq:
        return None
    failed = {node: (Kind(kind), message) for node, (kind, message) in known.failed.items()}
    return Resume(known.results, known.begun, known.seq, failed, known.said)


def _give_inputs(payload: WorkflowPayload, job: Job) -> None:
    slots = payload.interface_inputs
    unknown = [key for key in job.inputs if key not in slots]
    if unknown:
        raise UsageError(
            "\n".join(
                f"the workflow has no interface input {shown(key)}{nearest(key, slots)}" for key in unknown[:MOST_LINES]
            )
        )
    for key, value in job.inputs.items():
        # The check that follows says what does not fit.
        slots[key] = slots[key].model_copy(update={"config": {**slots[key].config, "default": value}})


def _problems(lines: list[str]) -> ProblemsError:
    said = [line[:MOST_LINE] for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        said.append(f"and {len(lines) - MOST_LINES:,} more problems")
    return ProblemsError(said, len(lines))


def _report(outcome: RunOutcome, most: int) -> Report:
    """What became of a run. The outputs' bytes pass as they are: nothing large is built."""
    found = dict(outcome.encoded)
    packer = msgpack.Packer()
    size = sum(len(key.encode()) + len(value) for key, value in found.items())
    error = outcome.first_error
    failure = None if error is None else Failure(error.kind.value, error.message, error.node, error.plugin)
    # Each key has at most 5 bytes around it, and the map itself as many.
    if size + 5 * (len(found) + 1) > most:
        if failure is None:
            message = f"the outputs have {size:,} bytes together, and {most:,} are kept of a submitted run"
            failure = Failure(Kind.LIMIT.value, message)
        found = {}
    parts: list[bytes] = [packer.pack_map_header(len(found))]
    for key, value in found.items():
        parts += [packer.pack(key), value]
    return Report("complete" if failure is None else "error", b"".join(parts), failure)


class _Still:
    """A host for one check, asked from a thread while trio's thread may put other plugins into service. For confined
    plugins it has no native nodes: what nothing confines is not for them to start, whose author chooses its inputs."""

    def __init__(self, host: NodeHost, confined: bool) -> None:
        self._host = host
        self._confined = confined
        self._unknown = 0

    @property
    def hooks(self) -> Hooks | None:
        """As `Hooked.hooks`: native plugins see these runs like all others."""
        return self._host.hooks if isinstance(self._host, Hooked) else None

    def node(self, full_type: str) -> tuple[NodePlugin, NodeDefinition]:
        """As `NodeHost.node`, while nothing but what is said is looked for."""
        if self._unknown >= MOST_LINES:
            # Looking for what was meant takes milliseconds each time, and others' workflows wait to be checked.
            raise UsageError("its type was not looked up, since so much is wrong before it")
        try:
            found = self._host.node(full_type)
        except (KeyError, RuntimeError):
            raise UsageError(f"the plugin of {shown(full_type)} is being replaced: try again") from None
        except UsageError:
            self._unknown += 1
            raise
        if self._confined and is_native(found[0]):
            raise UsageError(f"the node type {shown(full_type)} is native code, which no plugin may start")
        return found
