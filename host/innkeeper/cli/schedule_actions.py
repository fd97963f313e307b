"""`innkeeper schedule list`, `remove`, `pause`, `resume` and `run`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.kept_runs import KeptRuns, on_runs, time_text
from innkeeper.cli.output import json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import BusyError, UsageError

if TYPE_CHECKING:
    from innkeeper.storage.schedules_model import Schedule


def schedule_object(schedule: Schedule) -> dict[str, Any]:
    """A schedule as JSON says it."""
    return {
        "schedule": schedule.id,
        "name": schedule.name,
        "owner": schedule.account.owner,
        "plugin": schedule.account.plugin or None,
        "expression": schedule.expression or None,
        "timezone": schedule.timezone or None,
        "paused": schedule.paused,
        "due": schedule.due,
        "last": schedule.last,
        "priority": schedule.priority,
        "after_crash": schedule.after_crash,
        "lasting": schedule.lasting,
    }


def times_text(schedule: Schedule) -> str:
    """When a schedule fires, for people."""
    when = f"{schedule.expression} ({schedule.timezone})" if schedule.expression else "once"
    return f"{when}, {'paused' if schedule.paused else f'next {time_text(schedule.due)}'}"


@click.command("list")
@json_option
@pass_settings
def list_(settings: Settings) -> None:
    """List the schedules, those of plugins included: when each fires, and when it last did."""

    async def main(kept: KeptRuns) -> None:
        _say(settings, await kept.schedules.list())

    on_runs(settings.home, main, nothing=lambda: _say(settings, []))


def _say(settings: Settings, found: list[Schedule]) -> None:
    if settings.json:
        write_out(json_bytes({"schedules": [schedule_object(each) for each in found]}, indent=2))
        return
    if not found:
        write_line("there are no schedules")
        return
    write_table(
        ("schedule", "name", "of", "when", "next", "last"),
        [
            (
                each.id,
                each.name or "-",
                each.account.plugin or "you",
                f"{each.expression} ({each.timezone})" if each.expression else "once",
                "paused" if each.paused else time_text(each.due),
                time_text(each.last),
            )
            for each in found
        ],
    )


@click.command()
@click.argument("schedule")
@json_option
@pass_settings
def remove(settings: Settings, schedule: str) -> None:
    """Remove SCHEDULE: its id, the beginning of it, or its name. What it has queued goes on."""

    async def main(kept: KeptRuns) -> None:
        found = await kept.find_schedule(schedule)
        await kept.schedules.remove(None, found.id)
        _done(settings, found.id, "removed")

    on_runs(settings.home, main)


@click.command()
@click.argument("schedule")
@json_option
@pass_settings
def pause(settings: Settings, schedule: str) -> None:
    """Keep SCHEDULE from firing until it is resumed."""

    async def main(kept: KeptRuns) -> None:
        found = await kept.find_schedule(schedule)
        await kept.schedules.pause(found.id)
        _done(settings, found.id, "paused")

    on_runs(settings.home, main)


@click.command()
@click.argument("schedule")
@json_option
@pass_settings
def resume(settings: Settings, schedule: str) -> None:
    """Let SCHEDULE fire again, the next time that it is due from now on; what has passed is left out."""

    async def main(kept: KeptRuns) -> None:
        import trio

        from innkeeper.bridge.cron import next_due

        found = await kept.find_schedule(schedule)
        if not found.paused:
            raise UsageError(f"the schedule {found.id} is not paused")
        now, due = time.time(), found.due
        if found.expression:
            try:
                due = await trio.to_thread.run_sync(next_due, found.expression, found.timezone, now)
            except ValueError as error:
                raise UsageError(f"the schedule {found.id} cannot fire: {error}") from None
        await kept.schedules.resume(found.id, max(due, now))
        _done(settings, found.id, "resumed")

    on_runs(settings.home, main)


@click.command()
@click.argument("schedule")
@json_option
@pass_settings
def run(settings: Settings, schedule: str) -> None:
    """Queue what SCHEDULE runs, now; its times stay as they are."""
    from innkeeper.storage.names import new_id

    async def main(kept: KeptRuns) -> None:
        found = await kept.find_schedule(schedule)
        id = new_id()
        answer = await kept.schedules.start(found.id, id, time.time())
        if answer == "full":
            raise BusyError("the queue is full: wait for runs to end, or cancel some", bound="queue")
        if answer == "gone":
            raise UsageError(f"the schedule {found.id} is gone")
        if settings.json:
            write_out(json_bytes({"run": id, "schedule": found.id, "status": "queued"}))
        else:
            write_line(id)

    on_runs(settings.home, main)


def _done(settings: Settings, id: str, what: str) -> None:
    if settings.json:
        write_out(json_bytes({"schedule": id, "done": what}))
    else:
        write_line(f"{id}: {what}")
