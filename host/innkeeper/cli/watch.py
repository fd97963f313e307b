"""`innkeeper watch`: a run as it goes on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from innkeeper.cli.kept_runs import (
    KeptRuns,
    clock_text,
    damaged,
    duration_text,
    exit_code,
    failure_line,
    on_runs,
    outputs_of,
)
from innkeeper.cli.output import is_terminal, json_bytes, printable, write_error, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from innkeeper.cli.run_streams import Tails
    from innkeeper.cli.watch_tree import Tree
    from innkeeper.storage.run_model import Ended, StoredRun
    from innkeeper.workflow.engine.events import RunEvent
    from innkeeper.workflow.scheduling.seams import Gone

_TICK: Final = 0.1
"""Seconds after which a picture hears that time passes."""

_CHUNK = 200


@click.command()
@click.argument("run")
@click.option("--after", type=click.IntRange(0), default=0, metavar="N", help="Only the events after number N.")
@json_option
@pass_settings
def watch(settings: Settings, run: str, after: int) -> int:
    """Show the run RUN as it goes on, until it ends: its nodes with those of groups and turns of loops, how long they
    take, and the ends of its streams. Then its outputs.

    RUN is an id that `innkeeper run --queue` or `innkeeper runs` said, or the beginning of one. Without a terminal each
    event is a line; with --json each is an object with its number `seq`, after which --after goes on. Ctrl-C ends the
    watching and not the run. The exit code is that of the run.

    \b
    innkeeper watch 4f1c09
    innkeeper watch 4f1c09 --json --after 120
    """

    async def main(kept: KeptRuns) -> int:
        found = await kept.find(run)
        return await follow(settings, kept, found.id, after)

    return on_runs(settings.home, main)


async def follow(settings: Settings, kept: KeptRuns, run: str, after: int) -> int:
    """Shows a run until it ends (its id); gives the exit code that says how it ended."""
    import time

    from innkeeper.cli.run_streams import Tails

    found = await kept.find(run)
    tails = Tails()
    async with kept.events.subscribe(found.id, after) as told:
        events = _remembered(told, found.id, tails)
        if settings.json:
            await _objects(found, events)
        else:
            with _showing(found) as view:
                await _shown(events, view)
    ended = await kept.runs.ended(found.id, time.time())
    if ended is None:
        write_error("innkeeper: the run is not kept any more")
        return 0
    if not settings.json:
        show_outputs(ended, tails)
    line = failure_line(ended)
    if line:
        write_error(f"innkeeper: {line}")
    return exit_code(ended)


async def _remembered(events: AsyncIterator[RunEvent | Gone], run: str, tails: Tails) -> AsyncIterator[RunEvent | Gone]:
    """The events, of whose streams the ends are kept."""
    from innkeeper.workflow.engine.events import INTERFACE_YIELD, wire_event
    from innkeeper.workflow.scheduling.seams import Gone

    async for event in events:
        if not isinstance(event, Gone) and event.kind == INTERFACE_YIELD:
            # A chunk that is damaged is said where events are shown.
            with suppress(ValueError):
                tails.receive(wire_event(event, run))
        yield event


def show_outputs(ended: Ended, tails: Tails | None = None) -> None:
    """A run's outputs, each under its name, bounded in length; of streams what was seen of them."""
    from innkeeper.cli.run_view import bounded, rendered

    for key, value in outputs_of(ended).items():
        flowed = None if tails is None else tails.text(key)
        body = flowed or (f"({value['message']})" if _is_placeholder(value) else rendered(value))
        write_out(f"\n== {printable(key, 200)} ==\n{bounded(body)}\n".encode())


def _is_placeholder(value: object) -> bool:
    kinds = ("stream_placeholder", "error_placeholder")
    return isinstance(value, dict) and value.keys() == {"type", "message"} and value["type"] in kinds


def event_line(event: RunEvent | Gone, run: str) -> dict[str, Any]:
    """An event as a line of JSON has it."""
    from innkeeper.cli.run_view import as_json
    from innkeeper.workflow.engine.events import wire_event
    from innkeeper.workflow.scheduling.seams import Gone

    if isinstance(event, Gone):
        return {"type": "EVENTS_GONE", "payload": {"promptId": run, "first": event.first, "last": event.last}}
    try:
        found: dict[str, Any] = as_json(wire_event(event, run))
    except ValueError:
        raise damaged(run) from None
    return found


async def _objects(run: StoredRun, events: AsyncIterator[RunEvent | Gone]) -> None:
    async for event in events:
        write_out(json_bytes(event_line(event, run.id)))


class _View(Protocol):
    def event(self, tree: Tree, event: RunEvent) -> None: ...

    def gone(self, gone: Gone) -> None: ...

    def tick(self) -> None: ...


async def _shown(events: AsyncIterator[RunEvent | Gone], view: _View) -> None:
    import trio

    from innkeeper.cli.watch_tree import Tree
    from innkeeper.workflow.scheduling.seams import Gone

    tree = Tree()

    async def ticking() -> None:
        while True:
            await trio.sleep(_TICK)
            view.tick()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ticking)
        async for event in events:
            if isinstance(event, Gone):
                tree.gone += event.last - event.first + 1
                view.gone(event)
                continue
            tree.take(event)
            view.event(tree, event)
        nursery.cancel_scope.cancel()


@contextmanager
def _showing(run: StoredRun) -> Iterator[_View]:
    if not is_terminal(sys.stdout):
        yield _Plain()
        return
    from innkeeper.cli.watch_live import Live

    with Live(run.name or run.id) as live:
        yield live


class _Plain:
    """One line for each event, with the time of day at which it was said."""

    def event(self, tree: Tree, event: RunEvent) -> None:
        for line in self._lines(tree, event):
            write_line(f"{clock_text(event.at)} {line}")

    def _lines(self, tree: Tree, event: RunEvent) -> Iterator[str]:
        from innkeeper.cli.watch_tree import chunk_text
        from innkeeper.workflow.engine.events import INTERFACE_OUTPUTS, INTERFACE_YIELD, LOG, STATUS, YIELD, wire_event

        fields = event.fields
        if event.kind == STATUS:
            yield f"run: {tree.status}"
        elif event.kind in (YIELD, INTERFACE_YIELD):
            if not fields.get("isLastChunk"):
                where = fields.get("sourceNodeId") or fields.get("interfaceOutputKey")
                slot = f".{fields['slot']}" if fields.get("slot") else ""
                yield f"{where}{slot}> {printable(chunk_text(event.chunk), _CHUNK)}"
        elif event.kind == LOG:
            with suppress(ValueError, TypeError, KeyError):
                said = wire_event(event, "")["payload"]
                yield printable(f"[{said['level']}] {said['nodeId']}: {said['text']}", _CHUNK)
        elif (node := tree.nodes.get(str(fields.get("nodeId")))) is not None and node.id != INTERFACE_OUTPUTS:
            note = f" ({printable(node.note, _CHUNK)})" if node.note else ""
            took = "" if node.took is None else f" {duration_text(node.took)}"
            yield f"{node.id}: {node.status}{took}{note}"

    def gone(self, gone: Gone) -> None:
        write_error(f"innkeeper: chunks between the events {gone.first:,} and {gone.last:,} are not kept any more")

    def tick(self) -> None:
        """Lines say nothing of the time that passes."""
