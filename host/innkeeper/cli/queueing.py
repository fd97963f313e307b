"""`innkeeper run --queue`: a workflow goes into the queue, and a host executes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from innkeeper.cli.output import json_bytes, write_error, write_line, write_out
from innkeeper.cli.settings import Settings, say_unused
from innkeeper.errors import BusyError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from innkeeper.storage.run_model import AfterCrash
    from innkeeper.workflow.formats.payload import WorkflowPayload

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a run is to be queued.

    Attributes:
        priority: larger goes first among the runs of one user; -1,000 to 1,000.
        lasting: seconds from now within which it must have ended, or None.
        after_crash: what is done where its host ended.
        name: what it is called; may be empty.
    """

    priority: int = 0
    lasting: float | None = None
    after_crash: AfterCrash = "interrupt"
    name: str = ""


def queue_options(command: _Command) -> _Command:
    """Adds --priority, --deadline, --after-crash and --name, the arguments `priority`, `deadline`, `after_crash` and
    `name`; each is None where it is not given."""
    options = [
        click.option(
            "--priority",
            type=click.IntRange(-1000, 1000),
            help="Larger goes first among your runs; 0 unless said, -1000 to 1000.",
        ),
        click.option("--deadline", metavar="TIME", help="It must have ended so long after it was queued: 10min, 2h."),
        click.option(
            "--after-crash",
            type=click.Choice(["interrupt", "again"]),
            help="Where its host ends: interrupt it, or begin again with what is known.",
        ),
        click.option("--name", metavar="TEXT", help="What you call it."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def wanted(priority: int | None, deadline: str | None, after_crash: AfterCrash | None, name: str | None) -> Wanted:
    """What the options of `queue_options` say.

    Raises:
        UsageError: one of them is no time, or no name.
    """
    from innkeeper.sandbox.limits import parse_duration
    from innkeeper.storage.names import check_name

    lasting = None
    if deadline is not None:
        try:
            lasting = parse_duration(deadline)
        except UsageError as error:
            raise UsageError(f"--deadline: {error.message}") from None
    if name is not None:
        try:
            check_name(name, "name")
        except ValueError as error:
            raise UsageError(f"--name: {error}") from None
    return Wanted(priority or 0, lasting, after_crash or "interrupt", name or "")


def job_of(payload: WorkflowPayload, project: Path | None) -> bytes:
    """A workflow and the values of its inputs as the queue keeps them (msgpack).

    Args:
        payload: the workflow; the values are what `give_inputs` put in.
        project: the folder of the project that it belongs to.

    Raises:
        UsageError: it is more than a run in the queue may have.
    """
    from innkeeper.bridge.runner import Job
    from innkeeper.bridge.scan import DEFAULT_BOUNDS

    inputs: dict[str, Any] = {}
    slots = {}
    for key, slot in payload.interface_inputs.items():
        value = slot.config.get("default")
        if isinstance(value, bytes):
            # JSON has no bytes: they go beside the workflow, which stays what a file could hold.
            inputs[key] = value
            slots[key] = slot.model_copy(update={"config": {k: v for k, v in slot.config.items() if k != "default"}})
    if slots:
        payload = payload.model_copy(update={"interface_inputs": {**payload.interface_inputs, **slots}})
    workflow = payload.model_dump(mode="json", by_alias=True, exclude_unset=True)
    data = Job(workflow, inputs, "" if project is None else str(project)).packed()
    most = 2 * DEFAULT_BOUNDS.size
    if len(data) > most:
        raise UsageError(f"the workflow and its inputs have {len(data):,} bytes: the queue takes {most:,}")
    return data


async def checked_job(home: str | None, payload: WorkflowPayload, workflow: str) -> bytes:
    """Makes sure that a workflow could run now on the plugins of a home.

    Args:
        home: as `open_home`.
        payload: the workflow.
        workflow: name of its file.

    Returns:
        As `job_of`.

    Raises:
        WorkflowError: all that is wrong with it.
        UsageError: its project has mistakes; or as `job_of`.
    """
    from innkeeper.composition import open_host
    from innkeeper.composition.knowledge import bases_of_project, project_folder
    from innkeeper.workflow.checking.aside import checked

    async with open_host(home, watch=False, schedules=False) as host:
        await say_unused(host.home)
        graph = await checked(payload, host)
        project = await project_folder(workflow)
        if project is not None:
            await bases_of_project(host, graph, project)
        return job_of(payload, project)


def submit(settings: Settings, payload: WorkflowPayload, want: Wanted, workflow: str, *, wait: bool) -> int:
    """Queues a workflow, says which run it is, and waits for it if that is wanted; gives the exit code.

    Raises:
        WorkflowError: it does not check.
        BusyError: the queue is full.
        UsageError: the home does not count.
    """
    import trio

    from innkeeper.cli.kept_runs import open_runs, works
    from innkeeper.plugins.home import open_home, refuse_doubted
    from innkeeper.storage.names import new_id
    from innkeeper.storage.run_model import USER, Account, NewRun

    home = open_home(settings.home)
    refuse_doubted(home.path, home.doubt)

    async def main() -> int:
        job = await checked_job(settings.home, payload, workflow)
        async with open_runs(home, make=True) as kept:
            assert kept is not None
            now = time.time()
            deadline = None if want.lasting is None else now + want.lasting
            new = NewRun(new_id(), Account(USER), job, want.name, want.priority, deadline, want.after_crash)
            if await kept.runs.submit(new, now) == "busy":
                raise BusyError(
                    "the queue is full: wait for runs to end, cancel some (innkeeper runs), or raise runs.queued",
                    bound="queue",
                )
            if not settings.json or wait:
                said = write_error if settings.json else write_line
                said(new.id)
            if not await trio.to_thread.run_sync(works, home):
                write_error("innkeeper: no `innkeeper work` runs here for this home; the run waits for one")
            if wait:
                from innkeeper.cli.watch import follow

                return await follow(settings, kept, new.id, 0)
            if settings.json:
                write_out(json_bytes({"run": new.id, "status": "queued"}))
            return 0

    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
