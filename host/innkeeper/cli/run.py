"""`innkeeper run`: a workflow from a file, its result on standard output."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from innkeeper.cli.output import error_object, is_terminal, json_bytes, write_error, write_out
from innkeeper.cli.queueing import queue_options
from innkeeper.cli.settings import Settings, journal_option, json_option, pass_settings, say_unused
from innkeeper.errors import Kind, UsageError

if TYPE_CHECKING:
    from innkeeper.bridge.run_streams import RunStreams
    from innkeeper.cli.progress import CompilingLine
    from innkeeper.plugins.runs import RunBase
    from innkeeper.plugins.settings import Keep
    from innkeeper.storage.run_model import AfterCrash
    from innkeeper.workflow.checking.graph import Graph
    from innkeeper.workflow.engine.events import Event
    from innkeeper.workflow.engine.outcome import RunOutcome
    from innkeeper.workflow.formats.payload import WorkflowPayload

_INSTEAD = {
    "--events": ": use --wait --json, or innkeeper watch",
    "--journal": ": the host's settings say what is kept",
}

_MOST_PROBLEMS = 50
"""Problems of the home that stand before those of a workflow."""


@click.command()
@click.argument("workflow")
@click.option("--input", "pairs", metavar="KEY=VALUE", multiple=True, help="An input; JSON unless its slot is STRING.")
@click.option(
    "--input-file", "files", metavar="KEY=PATH", multiple=True, help="An input from a file; - is standard input."
)
@click.option("--events", is_flag=True, help="Each event as one line of JSON, as it happens; the last is the status.")
@click.option("--no-memo", is_flag=True, help="Run each node, also where an equal call of it is remembered.")
@journal_option
@click.option("--queue", is_flag=True, help="Queue it for `innkeeper work`, and say which run it is.")
@queue_options
@click.option("--wait", is_flag=True, help="With --queue: show it until it ends, as innkeeper watch does.")
@json_option
@pass_settings
def run(
    settings: Settings,
    workflow: str,
    pairs: tuple[str, ...],
    files: tuple[str, ...],
    events: bool,
    no_memo: bool,
    journal: Keep | None,
    queue: bool,
    wait: bool,
    priority: int | None,
    deadline: str | None,
    after_crash: AfterCrash | None,
    name: str | None,
) -> int:
    """Run WORKFLOW, a file with an execution payload or as an editor stores it (JSON).

    The workflows that its groups and loops refer to are looked for in its folder, by their ids.
    Shows a table of the nodes and the workflow's outputs. The exit code is that of the first failed node in graph
    order, or 2 for a workflow that does not check.

    With --queue it is checked and queued, and `innkeeper work` executes it; --priority, --deadline, --after-crash,
    --name and --wait say how.
    """
    import trio

    from innkeeper.cli.progress import compiling_shown
    from innkeeper.cli.workflow_files import workflow_with_inputs

    if events and settings.json:
        raise UsageError("give --json or --events, not both")
    if queue:
        refused = [
            option for option, given in (("--events", events), ("--no-memo", no_memo), ("--journal", journal)) if given
        ]
        if refused:
            raise UsageError(f"{refused[0]} does not go with --queue" + _INSTEAD.get(refused[0], ""))
    else:
        given = {"--priority": priority, "--deadline": deadline, "--after-crash": after_crash, "--name": name}
        alone = next((option for option, value in given.items() if value is not None), "--wait" if wait else None)
        if alone is not None:
            raise UsageError(f"{alone} belongs to --queue")
    try:
        payload = workflow_with_inputs(workflow, pairs, files)
        if queue:
            from innkeeper.cli.queueing import submit, wanted

            return submit(settings, payload, wanted(priority, deadline, after_crash, name), workflow, wait=wait)
        # Events on a terminal would mingle with a line; the bar of a run without options says it itself.
        with compiling_shown(line=settings.json or (events and not is_terminal(sys.stdout))) as compiling:
            options = _Options(events, not no_memo, journal)
            return trio.run(
                _run, settings, workflow, payload, options, compiling, restrict_keyboard_interrupt_to_checkpoints=True
            )
    except UsageError as error:
        return _refused(error, settings)


@dataclass(frozen=True)
class _Options:
    events: bool
    memo: bool
    journal: Keep | None


async def _run(
    settings: Settings, workflow: str, payload: WorkflowPayload, options: _Options, compiling: CompilingLine
) -> int:
    from innkeeper.cli.run_streams import Tails
    from innkeeper.cli.run_view import event_object, progress, run_object, show_logs, show_outputs, show_table
    from innkeeper.composition import open_host
    from innkeeper.composition.knowledge import project_bases
    from innkeeper.workflow.checking.aside import checked
    from innkeeper.workflow.checking.problems import WorkflowError
    from innkeeper.workflow.host import streams_of

    async with open_host(settings.home, watch=False, schedules=False, journal=options.journal) as host:
        said = await say_unused(host.home)
        try:
            graph = await checked(payload, host)
        except WorkflowError as error:
            if error.types_missing:
                # Their file may be one that has a problem.
                _show_problems([problem for problem in host.problems if problem not in said])
            raise
        bases = await project_bases(host, graph, workflow)
        execute = partial(_execute, graph, options.memo, bases, streams_of(host))
        if options.events:
            outcome = await execute(lambda event: write_out(json_bytes(event_object(event))))
        elif settings.json:
            outcome = await execute(None)
            write_out(json_bytes(run_object(outcome)))
        else:
            tails = Tails()
            with progress(graph.nodes, compiling) as receive:

                def shown(event: Event) -> None:
                    receive(event)
                    tails.receive(event)

                outcome = await execute(shown)
            show_logs(outcome)
            show_table(outcome)
            show_outputs(outcome, graph, tails)
    for node in outcome.failures:
        write_error(f"innkeeper: {node.error}")
    if outcome.error is not None:
        write_error(f"innkeeper: {outcome.error}")
    if outcome.status == "interrupted":
        write_error("innkeeper: cancelled")
        return Kind.CANCELLED.exit_code
    return outcome.first_error.kind.exit_code if outcome.first_error is not None else 0


async def _execute(
    graph: Graph,
    memo: bool,
    bases: Mapping[str, RunBase],
    streams: RunStreams | None,
    on_event: Callable[[Event], None] | None,
) -> RunOutcome:
    """Runs to the end or to the first Ctrl-C, which interrupts the run and leaves time to say what became of it."""
    import trio

    from innkeeper.workflow.engine.run import WorkflowRun

    run = WorkflowRun(graph, on_event=on_event, memo=memo, bases=bases, streams=streams)
    failure: list[Exception] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                await run.execute()
            except Exception as error:
                # Kept out of the nursery, which would wrap it into a group.
                failure.append(error)
            nursery.cancel_scope.cancel()
    if failure:
        raise failure[0]
    return run.outcome


def _show_problems(problems: list[str]) -> None:
    for problem in problems[:_MOST_PROBLEMS]:
        write_error(f"innkeeper: {problem}")
    if len(problems) > _MOST_PROBLEMS:
        more = len(problems) - _MOST_PROBLEMS
        write_error(f"innkeeper: and {more:,} more problems with files of the home; `innkeeper plugins` lists them")


def _refused(error: UsageError, settings: Settings) -> int:
    """Says why nothing ran, one line per problem."""
    from innkeeper.workflow.checking.problems import WorkflowError

    if settings.json:
        found = error_object(error)
        if isinstance(error, WorkflowError):
            found["problems"] = [asdict(problem) for problem in error.problems]
        write_out(json_bytes({"error": found}))
    for line in str(error).splitlines():
        write_error(f"innkeeper: {line}")
    return error.kind.exit_code
