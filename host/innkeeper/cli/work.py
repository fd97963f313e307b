"""`innkeeper work`: the host in the foreground, which executes the queue and fires schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from innkeeper.cli.host_process import Said, drain_seconds, taken, until_told
from innkeeper.cli.settings import Settings, json_option, pass_settings, say_unused
from innkeeper.errors import Kind, UsageError

if TYPE_CHECKING:
    from innkeeper.workflow.scheduling.host_scheduler import HostScheduler

_DRAIN: Final = 30.0


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

    seconds = drain_seconds(drain, _DRAIN)
    home = open_home(settings.home)
    if home.doubt:
        raise UsageError(f"{home.path}: nothing is executed: {home.doubt}")
    # Hosts that share the database of a server share its queue, and the lock, which still keeps a restore out.
    lock = taken(home, shared=database_server(home))
    try:
        return trio.run(_work, settings, seconds, restrict_keyboard_interrupt_to_checkpoints=True)
    finally:
        lock.release()


async def _work(settings: Settings, drain: float) -> int:
    from innkeeper.bridge.bridge import bridge_of
    from innkeeper.composition import open_host
    from innkeeper.composition.interpreter import settle_interpreter

    said = Said(settings.json)
    async with open_host(settings.home, on_change=said.change) as host:
        await say_unused(host.home)
        scheduler = await _scheduler(bridge_of(host))
        scheduler.told = said.step
        settle_interpreter()
        parallel = host.home.configuration.runs.parallel
        text = f"working in {host.home.path}, {parallel} runs at a time"
        said.ready(text, home=str(host.home.path), parallel=parallel)
        await until_told(scheduler, drain, said)
    return Kind.CANCELLED.exit_code if said.interrupted else 0


async def _scheduler(bridge: Any) -> HostScheduler:
    lazy = bridge.scheduler
    if lazy is None or not lazy.everything:
        raise UsageError("this home's queue is not executed here")
    scheduler: HostScheduler = await lazy.get()
    return scheduler
