"""What `innkeeper work` and `innkeeper serve` share: one process at a time has a home, says what happens, and ends in
an orderly way."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from innkeeper.cli.kept_runs import LOCK, duration_text
from innkeeper.cli.output import json_bytes, write_error, write_line, write_out
from innkeeper.errors import BusyError, InnkeeperError, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.changes import Change
    from innkeeper.plugins.home import Home
    from innkeeper.storage.process_lock import ProcessLock
    from innkeeper.workflow.scheduling.host_scheduler import HostScheduler
    from innkeeper.workflow.scheduling.worker import Step

_TRIES, _PAUSE = 10, 0.05


def drain_seconds(drain: str | None, default: float) -> float:
    """What `--drain` says, in seconds."""
    from innkeeper.sandbox.limits import parse_duration

    if drain is None:
        return default
    if drain.strip() in ("0", "0s"):
        return 0.0
    try:
        return parse_duration(drain)
    except UsageError as error:
        raise UsageError(f"--drain: {error.message}") from None


def taken(home: Home, *, shared: bool) -> ProcessLock:
    """The right to work in a home: alone, or with others who share it.

    Raises:
        BusyError: another process has it.
    """
    from innkeeper.storage.process_lock import ProcessLock

    lock = ProcessLock(home.state.absolute() / LOCK)
    for _ in range(_TRIES):
        # Whoever only looks whether somebody works has it for a moment.
        if lock.take(shared=shared):
            return lock
        time.sleep(_PAUSE)
    raise BusyError(
        f"an `innkeeper work` or `serve` runs already for the home {home.path}: its queue is executed; end "
        "that one first",
        bound="home",
    )


async def until_told(
    scheduler: HostScheduler, drain: float, said: Said, closing: Callable[[], None] | None = None
) -> None:
    """Returns when nothing is to be waited for any more.

    Args:
        scheduler: executes the queue.
        drain: seconds that runs have to end once the process is told to.
        said: is told.
        closing: called as the process is told to end.
    """
    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            break
        running = len(scheduler.worker.active)
        said.closing(running, drain)
        if closing is not None:
            closing()
        async with trio.open_nursery() as nursery:

            async def hurried() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(hurried)
            with trio.move_on_after(drain):
                await scheduler.worker.drain()
            nursery.cancel_scope.cancel()


class Said:
    """What is said while a host works.

    Attributes:
        interrupted: whether a run was broken off.
    """

    def __init__(self, json: bool, *, logs: bool = False) -> None:
        """Args:
        json: whether programs read it.
        logs: whether people read a log, which says what becomes of runs and plugins.
        """
        self._json = json
        self._logs = logs and not json
        self._began: dict[str, float] = {}
        self._failing = False
        self.interrupted = False

    def ready(self, text: str, **about: Any) -> None:
        """The host works; one line for people, an object for programs."""
        if self._json:
            self._object({"event": "ready", **about})
        else:
            write_error(f"innkeeper: {text}; Ctrl-C ends it")

    def setup(self, token: str, url: str, several: bool) -> None:
        """Nobody can log in yet; whoever reads this can make the first administrator, or set the access password."""
        if self._json:
            self._object({"event": "setup", "token": token, "url": url})
            return
        what = "make the first administrator" if several else "set the access password"
        route = "register" if several else "setup-password"
        write_error(f"innkeeper: nobody can log in yet; to {what}, send this token to {url}/api/auth/{route}: {token}")

    def closing(self, running: int, drain: float) -> None:
        """So many runs have so many seconds to end."""
        if self._json:
            self._object({"event": "closing", "running": running, "drain": drain})
        elif running:
            runs, them = ("1 run has", "it") if running == 1 else (f"{running:,} runs have", "them")
            write_error(f"innkeeper: {runs} {drain:g} s to end; Ctrl-C interrupts {them} now")

    def change(self, change: Change) -> None:
        """A plugin's files are others now. On trio's thread."""
        if self._json:
            self._object({"event": "change", "kind": change.kind, "plugin": change.plugin, "text": change.text})
        elif change.kind not in ("problem", "paused") and not self._logs:
            # Those two are warnings, which the log says.
            write_error(f"innkeeper: {change.text}")

    def step(self, step: Step) -> None:
        """A run began or ended. On trio's thread; must not raise."""
        run, now = step.run, time.monotonic()
        if step.status == "running":
            self._began[run.id] = now
        began = self._began.get(run.id, now) if step.status == "running" else self._began.pop(run.id, now)
        if step.status in (None, "queued", "interrupted"):
            self.interrupted = True
        failure = step.failure
        if self._json:
            self._object(
                {
                    "event": "run",
                    "run": run.id,
                    "name": run.name,
                    "owner": run.account.owner,
                    "plugin": run.account.plugin or None,
                    "status": step.status,
                    "attempt": run.attempt,
                    "seconds": None if step.status == "running" else round(now - began, 3),
                    "error": None
                    if failure is None
                    else {"kind": failure.kind, "message": failure.message, "node": failure.node},
                }
            )
            return
        if self._logs:
            return
        name = f" {run.name}" if run.name else ""
        whose = f" ({run.account.plugin})" if run.account.plugin else ""
        status = {None: "lost to another host", "queued": "given back"}.get(step.status, step.status)
        took = "" if step.status == "running" else f" after {duration_text(now - began)}"
        why = "" if failure is None else f": {failure.message[:200]}"
        self._line(f"{time.strftime('%H:%M:%S')} {run.id}{name}{whose}: {status}{took}{why}")

    def _object(self, value: dict[str, Any]) -> None:
        self._tried(lambda: write_out(json_bytes({"at": round(time.time(), 3), **value})))

    def _line(self, text: str) -> None:
        self._tried(lambda: write_line(text))

    def _tried(self, write: Callable[[], None]) -> None:
        """A reader that goes away must not end the host: the queue is executed all the same."""
        if self._failing:
            return
        try:
            write()
        except (OSError, InnkeeperError):
            self._failing = True
            if sys.stdout is not None:
                write_error("innkeeper: nobody reads what this says any more; it goes on")
