"""`innkeeper work`: the host in the foreground, which executes the queue and fires schedules."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from innkeeper.cli.kept_runs import LOCK, duration_text
from innkeeper.cli.output import json_bytes, write_error, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings, say_unused
from innkeeper.errors import BusyError, InnkeeperError, Kind, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.changes import Change
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.host import Host
    from innkeeper.storage.process_lock import ProcessLock
    from innkeeper.workflow.scheduling.host_scheduler import HostScheduler
    from innkeeper.workflow.scheduling.worker import Step

_DRAIN: Final = 30.0
_TRIES, _PAUSE = 10, 0.05


@click.command()
@click.option(
    "--drain", metavar="TIME", help="At the end, wait so long for what runs: 30s unless said; 0s: not at all."
)
@json_option
@pass_settings
def work(settings: Settings, drain: str | None) -> int:
    """Execute the queue of the home and fire its schedules, until Ctrl-C or SIGTERM.

    One line for each run that begins and ends; with --json, an object. Plugins and grants that change are picked up.
    At the end nothing more begins, and what runs has 30 s (--drain) to end; then it is interrupted,
    or begins again in the next host where it was queued with --after-crash again. A second Ctrl-C does not wait.

    One `innkeeper work` at a time has the data of a home: another one ends with exit code 7. Hosts that share a
    PostgreSQL database share the queue. Exit code 0 where all that ran has ended, 6 where something was interrupted.

    \b
    innkeeper work
    innkeeper work --json --drain 5min
    """
    import trio

    from innkeeper.composition.databases import database_server
    from innkeeper.plugins.home import open_home

    seconds = _seconds(drain)
    home = open_home(settings.home)
    if home.doubt:
        raise UsageError(f"{home.path}: nothing is executed: {home.doubt}")
    # Hosts that share the database of a server share its queue, and the lock, which still keeps a restore out.
    lock = _taken(home, shared=database_server(home))
    try:
        return trio.run(_work, settings, seconds, restrict_keyboard_interrupt_to_checkpoints=True)
    finally:
        lock.release()


def _seconds(drain: str | None) -> float:
    from innkeeper.sandbox.limits import parse_duration

    if drain is None:
        return _DRAIN
    if drain.strip() in ("0", "0s"):
        return 0.0
    try:
        return parse_duration(drain)
    except UsageError as error:
        raise UsageError(f"--drain: {error.message}") from None


def _taken(home: Home, *, shared: bool) -> ProcessLock:
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
        f"an `innkeeper work` runs already for the home {home.path}: its queue is executed; end that one first",
        bound="home",
    )


async def _work(settings: Settings, drain: float) -> int:
    from innkeeper.bridge.bridge import bridge_of
    from innkeeper.composition import open_host
    from innkeeper.composition.interpreter import settle_interpreter

    said = _Said(settings.json)
    async with open_host(settings.home, on_change=said.change) as host:
        await say_unused(host.home)
        scheduler = await _scheduler(bridge_of(host))
        scheduler.told = said.step
        settle_interpreter()
        said.ready(host)
        await _until_told(scheduler, drain, said)
    return Kind.CANCELLED.exit_code if said.interrupted else 0


async def _scheduler(bridge: Any) -> HostScheduler:
    lazy = bridge.scheduler
    if lazy is None or not lazy.everything:
        raise UsageError("this home's queue is not executed here")
    scheduler: HostScheduler = await lazy.get()
    return scheduler


async def _until_told(scheduler: HostScheduler, drain: float, said: _Said) -> None:
    """Returns when nothing is to be waited for any more."""
    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            break
        running = len(scheduler.worker.active)
        said.closing(running, drain)
        async with trio.open_nursery() as nursery:

            async def hurried() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(hurried)
            with trio.move_on_after(drain):
                await scheduler.worker.drain()
            nursery.cancel_scope.cancel()


class _Said:
    """What is said while a host works.

    Attributes:
        interrupted: whether a run was broken off.
    """

    def __init__(self, json: bool) -> None:
        self._json = json
        self._began: dict[str, float] = {}
        self._failing = False
        self.interrupted = False

    def ready(self, host: Host) -> None:
        settings = host.home.configuration.runs
        if self._json:
            self._object({"event": "ready", "home": str(host.home.path), "parallel": settings.parallel})
        else:
            write_error(f"innkeeper: working in {host.home.path}, {settings.parallel} runs at a time; Ctrl-C ends it")

    def closing(self, running: int, drain: float) -> None:
        if self._json:
            self._object({"event": "closing", "running": running, "drain": drain})
        elif running:
            runs, them = ("1 run has", "it") if running == 1 else (f"{running:,} runs have", "them")
            write_error(f"innkeeper: {runs} {drain:g} s to end; Ctrl-C interrupts {them} now")

    def change(self, change: Change) -> None:
        """A plugin's files are others now. On trio's thread."""
        if self._json:
            self._object({"event": "change", "kind": change.kind, "plugin": change.plugin, "text": change.text})
        elif change.kind not in ("problem", "paused"):
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
