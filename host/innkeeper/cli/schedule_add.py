"""`innkeeper schedule add`: a workflow that is to run later, or again and again."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from innkeeper.cli.kept_runs import KeptRuns, on_runs
from innkeeper.cli.output import json_bytes, write_line, write_out
from innkeeper.cli.queueing import queue_options
from innkeeper.cli.schedule_actions import schedule_object, times_text
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import BusyError, UsageError

if TYPE_CHECKING:
    from innkeeper.storage.run_model import AfterCrash

MOST_AHEAD: Final = 10 * 366 * 86400.0
"""Seconds from now within which a schedule fires once."""


@click.command()
@click.argument("workflow")
@click.option(
    "--cron", metavar="EXPRESSION", help="Minute, hour, day of month, month, day of week: '30 7 * * MON-FRI'."
)
@click.option("--timezone", metavar="NAME", help="Of --cron: Europe/Berlin; UTC unless said.")
@click.option("--at", metavar="TIME", help="Once: 2030-01-31T07:30, in this machine's time zone unless it says one.")
@click.option("--in", "in_", metavar="TIME", help="Once, so long from now: 90min, 2h.")
@click.option("--input", "pairs", metavar="KEY=VALUE", multiple=True, help="An input, as innkeeper run takes it.")
@click.option("--input-file", "files", metavar="KEY=PATH", multiple=True, help="An input from a file, as it is now.")
@queue_options
@json_option
@pass_settings
def add(
    settings: Settings,
    workflow: str,
    cron: str | None,
    timezone: str | None,
    at: str | None,
    in_: str | None,
    pairs: tuple[str, ...],
    files: tuple[str, ...],
    priority: int | None,
    deadline: str | None,
    after_crash: AfterCrash | None,
    name: str | None,
) -> None:
    """Run WORKFLOW at a time, or again and again, as it is now: what the file says later does not count.

    It is checked on the plugins that are there now, and kept with its inputs. --deadline counts from each time that it
    fires. Of the times that pass while no host works, one fires afterwards.

    \b
    innkeeper schedule add report.json --cron '*/10 * * * *'
    innkeeper schedule add report.json --at 2030-01-31T07:30 --input day=31
    """
    from innkeeper.cli.queueing import checked_job, wanted
    from innkeeper.cli.workflow_files import workflow_with_inputs
    from innkeeper.storage.names import new_id
    from innkeeper.storage.run_model import USER, Account, TooManyError
    from innkeeper.storage.schedules_model import Schedule

    chosen = [option for option, value in (("--cron", cron), ("--at", at), ("--in", in_)) if value is not None]
    if len(chosen) != 1:
        raise UsageError("say when: with one of --cron, --at and --in")
    if timezone is not None and cron is None:
        raise UsageError("--timezone belongs to --cron: --at takes 2030-01-31T07:30+01:00")
    now = time.time()
    due = _due(now, cron, timezone or "UTC", at, in_)
    want = wanted(priority, deadline, after_crash, name)
    payload = workflow_with_inputs(workflow, pairs, files)
    made = Schedule(
        id=new_id(),
        account=Account(USER),
        name=want.name,
        expression=cron or "",
        timezone=(timezone or "UTC") if cron else "",
        generation=1,
        created=now,
        due=due,
        last=None,
        priority=want.priority,
        after_crash=want.after_crash,
        lasting=want.lasting,
    )

    async def main(kept: KeptRuns) -> None:
        job = await checked_job(settings.home, payload, workflow)
        try:
            await kept.schedules.add(made, job)
        except TooManyError as error:
            raise BusyError(str(error), bound="schedules") from None

    on_runs(settings.home, main, make=True)
    if settings.json:
        write_out(json_bytes(schedule_object(made)))
    else:
        write_line(f"{made.id}: {times_text(made)}")


def _due(now: float, cron: str | None, timezone: str, at: str | None, in_: str | None) -> float:
    """When it fires first.

    Raises:
        UsageError: that cannot be.
    """
    from innkeeper.bridge.cron import next_due
    from innkeeper.sandbox.limits import parse_duration

    if cron is not None:
        try:
            return next_due(cron, timezone, now)
        except ValueError as error:
            raise UsageError(f"--cron: {error}") from None
    if in_ is not None:
        try:
            due = now + parse_duration(in_)
        except UsageError as error:
            raise UsageError(f"--in: {error.message}") from None
    else:
        try:
            due = datetime.fromisoformat(str(at)).astimezone().timestamp()
        except (ValueError, OverflowError, OSError):
            raise UsageError("--at: write 2030-01-31T07:30, with a time zone as 2030-01-31T07:30+01:00") from None
        if due <= now:
            raise UsageError("--at: that has passed already")
    if due > now + MOST_AHEAD:
        raise UsageError("that is more than ten years ahead")
    return due
