"""`innkeeper schedule`: workflows that run at a time, or again and again."""

from __future__ import annotations

import click

from innkeeper.cli.lazy import LazyGroup

_COMMANDS = {
    "add": "Run a workflow later, or again and again.",
    "list": "List the schedules.",
    "remove": "Remove a schedule.",
    "pause": "Keep a schedule from firing.",
    "resume": "Let a paused schedule fire again.",
    "run": "Run what a schedule runs, now.",
}


@click.command(
    cls=LazyGroup,
    room="innkeeper.cli",
    lines=_COMMANDS,
    modules={name: "schedule_add" if name == "add" else "schedule_actions" for name in _COMMANDS},
)
def schedule() -> None:
    """Workflows that run at a time, or again and again; `innkeeper work` runs them.

    \b
    innkeeper schedule add report.json --cron '30 7 * * MON-FRI' --timezone Europe/Berlin
    innkeeper schedule add report.json --in 2h --name once
    innkeeper schedule list
    """
