"""One attempt at a run: executed, followed, and what became of it written down."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from innkeeper.bridge.runner import Failure, ProblemsError, Report, failed
from innkeeper.errors import InnkeeperError, Kind
from innkeeper.plugins.settings import RunsSettings
from innkeeper.storage.run_model import MOST_OUTPUTS, RunStatus, StoredRun, Taken
from innkeeper.storage.run_reading import Known
from innkeeper.workflow.scheduling.directory import Directory, Executing
from innkeeper.workflow.scheduling.dispatch import seconds_or_none
from innkeeper.workflow.scheduling.execution import Executor, Task
from innkeeper.workflow.scheduling.journal import Journal, Keeper
from innkeeper.workflow.scheduling.present import present_run
from innkeeper.workflow.scheduling.seams import Dispatch, Lease, LeaseLostError

logger = logging.getLogger("innkeeper.workflow")

CLOSING: Final = 5.0
"""Seconds for writing down, as the host closes, what became of a run."""

_PAUSE: Final = 0.5
_TRIES: Final = 10


class Records(Keeper, Protocol):
    """Keeps what is known of runs, as `events.SqlEvents` does."""

    async def known(self, lease: Lease) -> Known:
        """What is kept of the run's earlier attempts."""
        ...

    def leave(self, lease: Lease) -> None:
        """Nothing more is published under a lease."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a run in this host.

    Attributes:
        run: the run, as it was taken.
        status: "running" as it begins; how it ended; "queued" where it was given back; None where its lease was lost.
        failure: why it failed, or None.
    """

    run: StoredRun
    status: RunStatus | None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Means:
    """What a host executes runs with.

    Attributes:
        dispatch: hands them out.
        directory: of the runs of this process.
        records: keeps what they say.
        executor: executes them.
        settings: how many and how long.
        permitted: whether a plugin may start workflows now.
        told: is told of each that begins and ends here, or None.
        now: seconds since 1970.
    """

    dispatch: Dispatch
    directory: Directory
    records: Records
    executor: Executor
    settings: RunsSettings
    permitted: Callable[[str], bool]
    told: Callable[[Step], None] | None
    now: Callable[[], float]


class Attempt:
    """One attempt at a run."""

    def __init__(
        self, means: Means, lease: Lease, taken: Taken, known: Known, *, refused: InnkeeperError | None = None
    ) -> None:
        """Args:
        means: what the host executes with.
        lease: the right to the run.
        taken: the run.
        known: what earlier attempts left.
        refused: why nothing is executed, and the run fails; None: it is executed.
        """
        self._means = means
        self._lease = lease
        self._run = taken.run
        self._taken = taken
        self._known = known
        self._refused = refused
        self._journal = Journal(means.records, lease, lost=self._lost, seq=known.seq)
        self._longest = means.settings.longest or math.inf

    def _lost(self) -> None:
        self._means.directory.lose(self._lease.run, self._lease.attempt)

    async def run(self) -> None:
        """Executes it. Where it is cancelled, what became of it is written down, if that can be done soon."""
        # For the rest of its task, which is for this run alone.
        present_run.set(self._run.id)
        self._tell("running")
        report: Report | None = None
        execution = Executing(self._lease)
        closing = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._journal.run)
                try:
                    async with self._means.directory.executing(self._lease) as execution:
                        report = await self._report()
                finally:
                    self._journal.leave()
            closing = False
        finally:
            with trio.CancelScope(shield=True):
                await self._over(execution, report, closing)

    async def _report(self) -> Report:
        run, settings = self._run, self._means.settings
        if self._refused is not None:
            return failed(self._refused.kind, self._refused.message)
        if run.account.plugin and not self._means.permitted(run.account.plugin):
            return failed(Kind.DENIED, "the plugin may not start workflows any more")
        outputs = min(MOST_OUTPUTS, settings.outputs) if run.account.plugin else settings.outputs
        left = seconds_or_none(self._taken.left)
        try:
            with trio.fail_after(min(left, self._longest)):
                task = Task(run, self._taken.job, outputs, self._known)
                return await self._means.executor.execute(task, self._journal)
        except ProblemsError as error:
            return failed(Kind.USAGE, str(error))
        except trio.TooSlowError:
            if left < self._longest:
                return failed(Kind.LIMIT, "the run did not end before its deadline")
            return failed(Kind.LIMIT, f"the run took more than {self._longest:g} seconds")
        except InnkeeperError as error:
            return failed(error.kind, error.message)
        except Exception:
            logger.exception("the run %s failed", run.id)
            return failed(Kind.INTERNAL, "the host failed; its log says more")

    async def _over(self, execution: Executing, report: Report | None, closing: bool) -> None:
        run, status = self._run, self._status(execution, report)
        if execution.reason == "lost":
            self._tell(None)
            return
        again = status == "interrupted" and run.after_crash == "again"
        failure = None if report is None else report.failure
        for _ in range(_TRIES):
            try:
                with trio.move_on_after(CLOSING if closing else self._means.settings.lease) as limit:
                    if again:
                        # Without what it did last, it would have to be done again, or could not be.
                        await self._journal.flush()
                        await self._means.dispatch.release(self._lease)
                        status = "queued"
                    else:
                        await self._journal.end(
                            run,
                            status,
                            self._means.now(),
                            outputs=None if report is None else report.outputs,
                            error=None if failure is None else failure.as_json(),
                        )
                        await self._means.dispatch.finish(self._lease)
                if not limit.cancelled_caught:
                    self._tell(status, failure)
                    return
            except LeaseLostError:
                self._tell(None)
                return
            except InnkeeperError as error:
                logger.warning("the end of the run %s could not be written down: %s", run.id, error)
                await trio.sleep(_PAUSE)
            if closing:
                break
        # Its lease runs out, and then somebody says that it was interrupted.
        self._tell(None)

    @staticmethod
    def _status(execution: Executing, report: Report | None) -> RunStatus:
        if report is not None:
            return report.status
        return "cancelled" if execution.reason == "cancelled" else "interrupted"

    def _tell(self, status: RunStatus | None, failure: Failure | None = None) -> None:
        if self._means.told is not None:
            self._means.told(Step(self._run, status, failure))
