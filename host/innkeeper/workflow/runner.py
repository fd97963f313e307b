"""Executes the workflows that were submitted, those of plugins included: the `Executor` of a worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgpack
import trio

from innkeeper.bridge.runner import Failure, Job, ProblemsError, Report, unpacked
from innkeeper.errors import Kind, UsageError
from innkeeper.knowledge.settling import unsearched
from innkeeper.plugins.runs import RunBase
from innkeeper.plugins.tables import nearest, shown
from innkeeper.workflow.checking.aside import StillHost
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.graph import Graph
from innkeeper.workflow.checking.problems import WorkflowError
from innkeeper.workflow.engine.events import EventSink
from innkeeper.workflow.engine.outcome import RunOutcome
from innkeeper.workflow.engine.resuming import Resume
from innkeeper.workflow.engine.run import WorkflowRun, made
from innkeeper.workflow.engine.times import NodeTimes
from innkeeper.workflow.formats.payload import WorkflowPayload, payload_of
from innkeeper.workflow.host import NodeHost, streams_of
from innkeeper.workflow.scheduling.execution import Task

if TYPE_CHECKING:
    from innkeeper.storage.run_reading import Known

MOST_LINES: Final = 20
"""Problems of a job that are said."""

MOST_LINE: Final = 300
"""Characters of each."""

_PART: Final = 64
"""Bytes of a node or an edge, about."""


Projects = Callable[[Graph, Path, str], Awaitable[Mapping[str, RunBase]]]
"""Gives what the references of the project in a folder stand for to an owner, as far as a graph may use them.
Raises UsageError where the project has mistakes, or cannot be read."""


class WorkflowRunner:
    """Implements `scheduling.execution.Executor` on a host.

    Attributes:
        times: what the nodes of its runs took.
    """

    def __init__(self, host: NodeHost, projects: Projects | None = None) -> None:
        """Args:
        host: has the nodes.
        projects: gives what the references of a project stand for; None: here they stand for nothing.
        """
        self.times = NodeTimes()
        self._host = host
        self._projects = projects
        # Looking for what an unknown node type may have meant takes long: in a thread, one after another.
        self._checking = trio.CapacityLimiter(1)

    async def check(self, job: Job, *, confined: bool = True) -> None:
        """Makes sure that a job could run now.

        Args:
            job: what is to run.
            confined: whether a plugin wants it, which may not start native nodes; users may.

        Raises:
            ProblemsError: all that is wrong with it.
        """
        await trio.to_thread.run_sync(self._graph, job, confined, limiter=self._checking)

    async def execute(self, task: Task, sink: EventSink) -> Report:
        """As `Executor.execute`."""
        owner, confined = task.run.account.owner, bool(task.run.account.plugin)
        graph, project = await trio.to_thread.run_sync(self._read, task.job, confined, limiter=self._checking)
        bases: Mapping[str, RunBase] = {}
        if project and self._projects is not None:
            bases = await self._projects(graph, Path(project), owner)
        resume = _resume(task.known)
        streams = streams_of(self._host)
        # One that is not begun again needs not say that a node begins before it does: that is a commit for each.
        again = task.run.after_crash == "again"
        make = partial(
            WorkflowRun,
            graph,
            sink=sink,
            prompt_id=task.run.id,
            owner=owner,
            bases=bases,
            streams=streams,
            resume=resume,
            again=again,
            times=self.times,
        )
        run = await made(graph, make)
        return _report(await run.execute(), task.most_outputs)

    def _read(self, data: bytes, confined: bool) -> tuple[Graph, str]:
        # While a large graph is made the collector would search all of it several times, and trio's thread wait.
        with unsearched(len(data) // _PART):
            job = unpacked(data)
            # What a plugin says names no folder of the machine, whatever stands in the row.
            return self._checked(job, confined or job.confined), "" if confined else job.project

    def _graph(self, job: Job, confined: bool) -> Graph:
        with unsearched(_parts(job)):
            return self._checked(job, confined)

    def _checked(self, job: Job, confined: bool) -> Graph:
        try:
            payload = payload_of(dict(job.workflow))
            _give_inputs(payload, job)
            return check_workflow(payload, StillHost(self._host, confined=confined, most_unknown=MOST_LINES))
        except WorkflowError as error:
            raise _problems([str(problem) for problem in error.problems]) from None
        except UsageError as error:
            raise _problems(error.message.splitlines()) from None


def _parts(job: Job) -> int:
    """Nodes and edges of a workflow, about (int)."""
    return sum(len(found) for key in ("nodes", "edges") if isinstance(found := job.workflow.get(key), list))


def _resume(known: Known) -> Resume | None:
    if not known.seq:
        return None
    failed = {node: (Kind(kind), message) for node, (kind, message) in known.failed.items()}
    return Resume(known.results, known.begun, known.seq, failed, known.said, known.tries)


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
