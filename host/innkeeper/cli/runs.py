"""`innkeeper runs`: what is queued, what runs, and what became of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from innkeeper.cli.kept_runs import (
    KeptRuns,
    clock_text,
    duration_text,
    failure_line,
    failure_of,
    on_runs,
    outputs_of,
    run_object,
    time_text,
)
from innkeeper.cli.output import json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import BusyError, UsageError

if TYPE_CHECKING:
    from innkeeper.cli.watch_tree import Tree
    from innkeeper.storage.run_model import Ended, StoredRun

STATUSES: Final = ("queued", "running", "complete", "error", "cancelled", "interrupted")

_SOON = 5.0
"""Seconds to wait for a host to end what was cancelled: it looks every half of one."""

_LOOK = 0.1
_MOST_NODES = 200
_LISTED = 100


@click.command()
@click.argument("action", type=click.Choice(["list", "show", "cancel", "retry"]), default="list")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--status", type=click.Choice(STATUSES), multiple=True, help="list: only those; may be repeated.")
@click.option("--limit", type=click.IntRange(1, _LISTED), default=20, help="list: how many, newest first; 20.")
@json_option
@pass_settings
def runs(settings: Settings, action: str, run: str | None, status: tuple[str, ...], limit: int) -> int:
    """List the newest runs of the queue, show what became of one, cancel one, or queue again what one was to do.

    RUN is an id, or the beginning of one. All of it goes through the database: a host that runs ends what is cancelled
    within a second.

    \b
    innkeeper runs --status running --status queued
    innkeeper runs show 4f1c09
    innkeeper runs cancel 4f1c09
    innkeeper runs retry 4f1c09
    """
    if action == "list":
        if run is not None:
            raise UsageError(f"list takes no RUN: write innkeeper runs show {run[:100]}")
        return on_runs(
            settings.home, lambda kept: _list(settings, kept, status, limit), nothing=lambda: _say(settings, [], status)
        )
    if run is None:
        raise UsageError(f"write innkeeper runs {action} RUN; `innkeeper runs` lists them")
    if status:
        raise UsageError("--status: only list takes it")
    if action == "show":
        return on_runs(settings.home, lambda kept: _show(settings, kept, run))
    if action == "cancel":
        return on_runs(settings.home, lambda kept: _cancel(settings, kept, run))
    return on_runs(settings.home, lambda kept: _retry(settings, kept, run))


async def _list(settings: Settings, kept: KeptRuns, statuses: tuple[Any, ...], limit: int) -> int:
    return _say(settings, await kept.runs.list(time.time(), statuses=statuses, limit=limit), statuses)


def _say(settings: Settings, found: list[StoredRun], statuses: tuple[Any, ...]) -> int:
    if settings.json:
        write_out(json_bytes({"runs": [run_object(run) for run in found]}, indent=2))
        return 0
    if not found:
        write_line("there are no runs" + (" like that" if statuses else ""))
        return 0
    now = time.time()
    write_table(
        ("run", "name", "status", "from", "queued", "waited", "took"),
        [
            (
                run.id,
                run.name or "-",
                f"{run.status} (is being cancelled)" if run.cancel and run.status == "running" else run.status,
                run.account.plugin or ("a schedule" if run.schedule else "you"),
                time_text(run.submitted),
                duration_text((run.started or run.ended or now) - run.submitted),
                "-" if run.started is None else duration_text((run.ended or now) - run.started),
            )
            for run in found
        ],
    )
    return 0


async def _show(settings: Settings, kept: KeptRuns, name: str) -> int:
    from innkeeper.cli.run_view import as_json

    run = await kept.find(name)
    tree = await said_of(kept, run)
    ended = await kept.runs.ended(run.id, time.time())
    if ended is None:
        raise UsageError(f"the run {run.id!r} is not kept any more")
    if settings.json:
        nodes = {
            node.id: {"status": node.status, "note": node.note or None, "began": node.began, "seconds": node.took}
            for node in tree.nodes.values()
        }
        report = run_object(ended.run) | {
            "error": failure_of(ended),
            "outputs": as_json(outputs_of(ended)),
            "nodes": nodes,
        }
        write_out(json_bytes(report, indent=2))
        return 0
    _describe(ended, tree)
    return 0


def _describe(ended: Ended, tree: Tree) -> None:
    from innkeeper.cli.watch import show_outputs

    run = ended.run
    said = {
        "run": run.id,
        "name": run.name,
        "status": run.status + (" (is being cancelled)" if run.cancel and run.ended is None else ""),
        "of": run.account.owner + (f", plugin {run.account.plugin}" if run.account.plugin else ""),
        "schedule": run.schedule,
        "priority": str(run.priority) if run.priority else "",
        "queued": time_text(run.submitted),
        "started": time_text(run.started) if run.started else "",
        "ended": time_text(run.ended) if run.ended else "",
        "deadline": time_text(run.deadline) if run.deadline else "",
        "attempts": str(run.attempt) if run.attempt > 1 else "",
        "events": f"{run.seq:,}" if run.seq else "",
        "why": failure_line(ended),
    }
    for key, text in said.items():
        if text:
            write_line(f"{key:<10}{text}")
    nodes = list(tree.nodes.values())
    if nodes:
        write_out(b"\n")
        write_table(
            ("node", "status", "began", "took", "why"),
            [
                (each.id, each.status, clock_text(each.began), duration_text(each.took), each.note or "-")
                for each in nodes[:_MOST_NODES]
            ],
        )
        left = len(nodes) - _MOST_NODES + sum(tree.dropped.values())
        if left > 0:
            write_line(f"and {left:,} more nodes; --json has all that are known one by one")
    show_outputs(ended)


async def said_of(kept: KeptRuns, run: StoredRun) -> Tree:
    """What a run said until now."""
    from innkeeper.cli.watch_tree import Tree
    from innkeeper.workflow.scheduling.seams import Gone

    tree = Tree()
    if not run.seq:
        return tree
    async with kept.events.subscribe(run.id) as events:
        async for event in events:
            if isinstance(event, Gone):
                tree.gone += event.last - event.first + 1
                continue
            tree.take(event)
            if event.seq >= run.seq:
                break
    return tree


async def _cancel(settings: Settings, kept: KeptRuns, name: str) -> int:
    import trio

    run = await kept.find(name)
    if run.ended is not None:
        raise UsageError(f"the run {run.id} has ended already: {run.status}")
    found = await kept.runs.cancel(run.id, time.time())
    # A host that runs looks within a second, and needs some time to end the guests.
    with trio.move_on_after(_SOON):
        while found is not None and found.ended is None:
            await trio.sleep(_LOOK)
            found = await kept.runs.find(run.id, time.time())
    if found is None:
        raise UsageError(f"the run {run.id} is not kept any more")
    if settings.json:
        write_out(json_bytes(run_object(found), indent=2))
    elif found.ended is None:
        write_line(f"{run.id}: is being cancelled; no host has said yet that it ended")
    else:
        write_line(f"{run.id}: {found.status}")
    return 0


async def _retry(settings: Settings, kept: KeptRuns, name: str) -> int:
    from innkeeper.storage.names import new_id
    from innkeeper.storage.run_model import NewRun, TooManyError

    run = await kept.find(name)
    if run.ended is None:
        raise UsageError(f"the run {run.id} has not ended: it is {run.status}")
    job = await kept.runs.job(run.id)
    if job is None:
        raise UsageError(f"what the run {run.id} was to do is not kept any more: queue the workflow again")
    now = time.time()
    deadline = None if run.deadline is None else now + max(1.0, run.deadline - run.submitted)
    new = NewRun(
        new_id(), run.account, job, run.name, run.priority, deadline, run.after_crash, run.generation, run.schedule
    )
    try:
        answer = await kept.runs.submit(new, now)
    except TooManyError as error:
        raise BusyError(str(error), bound="queue") from None
    if answer == "busy":
        raise BusyError("the queue is full: wait for runs to end, or cancel some", bound="queue")
    if settings.json:
        write_out(json_bytes({"run": new.id, "status": "queued", "retry_of": run.id}))
    else:
        write_line(new.id)
    return 0
