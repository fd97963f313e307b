"""Jobs and the children that do them: a bound on how many at once, first in first out, one job for each key.

Guarantees:

- trio's thread waits for nothing but trio; what takes long is in a child or in a thread.
- A job runs for as long as somebody wants it. When the last who does is cancelled, its child is dead before the
  cancellation goes on.
- A child that did anything but answer is ended and never used again, and so is one whose memory did not suffice.
- What a job comes to does not depend on the jobs before it.
- After `aclose`, and when this process ends in whatever way, no child is left.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import trio

from innkeeper.errors import InnkeeperError, InternalError, UsageError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation import process, verdict
from innkeeper.sandbox.compilation.frames import Status
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.sandbox.compilation.process import Answer, Child, Death, NonsenseError
from innkeeper.sandbox.compilation.progress import CacheTrouble, Compiling, Stage, listener

WALL = 5
"""How many times its bound on processor time a job may take on the clock, on a machine that is busy otherwise."""


@dataclass(eq=False, slots=True)
class _Job:
    key: str
    wasm: bytes
    plan: bytes
    plugin: str | None
    wanted: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    artifact: bytes | None = None
    error: InnkeeperError | OSError | None = None


class Compiler:
    """Compiles modules in children. Belongs to one trio run; the listener of the context is told what it compiles.

    Args:
        fingerprint: of the settings (`settings.fingerprint`).
        bounds: the host's; `compile_jobs`, `compile_cpu` and `compile_memory` are used.
        idle: seconds after which a child without a job leaves.
    """

    def __init__(self, fingerprint: str, bounds: Bounds, *, idle: int = process.IDLE) -> None:
        self.fingerprint = fingerprint
        # The kernel counts whole seconds.
        self._cpu = max(1, round(bounds.compile_cpu))
        self._memory = bounds.compile_memory
        self._idle_seconds = idle
        self._places = trio.CapacityLimiter(bounds.compile_jobs)
        self._jobs: dict[str, _Job] = {}
        self._idle: list[Child] = []
        self._children: set[Child] = set()
        self._listener = listener.get()
        self._closed = False

    async def compile(self, key: str, wasm: bytes, plan: Plan, *, plugin: str | None = None) -> bytes:
        """The artifact of a module (bytes), made by this call or by one that wants the same and came before.

        Args:
            key: what stands for these bytes, this plan and these settings (`cache.key_of`).
            wasm: the module.
            plan: how it is rewritten.
            plugin: its id, for messages.

        Raises:
            RejectedError: it does not compile, or not within the bounds; the message says why and what to do.
            InternalError: the process that compiles cannot be started, or failed by itself.
            OSError: the system has no more of what a process takes, such as open files.
            UsageError: the compiler is closed.
        """
        if self._closed:
            raise UsageError("the engine is closed")
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(key, wasm, plan.to_bytes(), plugin)
            # Of nobody's task: whoever asked first may be cancelled while others still want it.
            trio.lowlevel.spawn_system_task(self._run, job)
        job.wanted += 1
        try:
            await job.done.wait()
        finally:
            job.wanted -= 1
            if not job.wanted and not job.done.is_set():
                self._forget(job)
                job.scope.cancel()
                with trio.CancelScope(shield=True):
                    await job.done.wait()
        if job.error is not None:
            # One error for each who asked: an exception that several tasks raise collects all of their frames.
            if isinstance(job.error, OSError):
                raise OSError(*job.error.args)
            raise type(job.error)(job.error.message, plugin=plugin)
        assert job.artifact is not None
        return job.artifact

    async def aclose(self) -> None:
        """Ends all children; jobs that still run fail."""
        self._closed = True
        with trio.CancelScope(shield=True):
            for job in list(self._jobs.values()):
                job.scope.cancel()
                await job.done.wait()
            for child in list(self._children):
                await self._end(child)

    def tell(self, event: Compiling | CacheTrouble) -> None:
        """Tells the listener; what it raises is lost, since a picture on a terminal decides nothing."""
        if self._listener is not None:
            with contextlib.suppress(Exception):
                self._listener(event)

    async def _run(self, job: _Job) -> None:
        self._tell(job, Stage.QUEUED)
        try:
            with job.scope:
                async with self._places:
                    self._tell(job, Stage.COMPILING)
                    job.artifact = await self._artifact(job)
        except (InnkeeperError, OSError) as error:
            job.error = error
        except Exception as error:
            # Nothing else is expected, and a task of the system that raises would end the whole run.
            job.error = InternalError(f"compiling failed: {type(error).__name__}: {error}")
        finally:
            if job.artifact is None and job.error is None:
                job.error = UsageError("the engine was closed while the module was compiled")
            self._forget(job)
            self._tell(job, Stage.DONE)
            job.done.set()

    async def _artifact(self, job: _Job) -> bytes:
        try:
            with trio.fail_after(self._cpu * WALL):
                outcome = await self._outcome(job)
        except trio.TooSlowError:
            raise await trio.to_thread.run_sync(verdict.stuck, job.wasm, self._cpu * WALL) from None
        except NonsenseError as error:
            raise InternalError(f"the process that compiles {error}, which makes no sense; it was ended") from None
        if isinstance(outcome, Answer) and outcome.status is Status.ARTIFACT:
            return outcome.data
        return await trio.to_thread.run_sync(self._judge, outcome, job.wasm)

    def _judge(self, outcome: Answer | Death, wasm: bytes) -> bytes:
        return verdict.judge(outcome, wasm, cpu=self._cpu, memory=self._memory)

    async def _outcome(self, job: _Job) -> Answer | Death:
        """Gives the job to a child. One that was kept may be leaving just now, or be full of what earlier jobs left:
        where it fails, another one gets the job."""
        while True:
            child = self._idle.pop() if self._idle else None
            kept = child is not None
            spoilt = True
            if child is None:
                child = await process.start(cpu=self._cpu, memory=self._memory, idle=self._idle_seconds)
                self._children.add(child)
            try:
                outcome: Answer | Death | None = None
                if not kept:
                    outcome = await child.started(self.fingerprint)
                if outcome is None:
                    outcome = await child.run(job.plan, job.wasm)
                spoilt = verdict.is_spoilt(outcome)
            finally:
                if spoilt or self._closed:
                    await self._end(child)
                else:
                    self._keep(child)
            if kept and spoilt and not verdict.is_too_long(outcome):
                continue
            return outcome

    def _keep(self, child: Child) -> None:
        self._idle.append(child)
        if child.served == 1:
            trio.lowlevel.spawn_system_task(self._watch, child)

    async def _watch(self, child: Child) -> None:
        """Forgets a child that has left; without it the child would stay in the system's table of processes."""
        try:
            await child.gone()
        finally:
            if child in self._idle:
                self._idle.remove(child)
                await self._end(child)

    async def _end(self, child: Child) -> None:
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        await child.aclose()

    def _forget(self, job: _Job) -> None:
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]

    def _tell(self, job: _Job, stage: Stage) -> None:
        self.tell(Compiling(job.key, job.plugin, len(job.wasm), stage))
