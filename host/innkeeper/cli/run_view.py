"""What a person sees of a run: progress, a table of its nodes, and its outputs as readable text."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import MalformedError
from innkeeper.cli.output import (
    error_object,
    is_terminal,
    log_object,
    printable,
    usage_object,
    write_error,
    write_out,
    write_table,
)
from innkeeper.cli.run_streams import Tails, chunk_text, show_counts
from innkeeper.workflow.engine.events import INTERFACE_OUTPUTS
from innkeeper.workflow.engine.wire_json import as_json as as_json

if TYPE_CHECKING:
    from rich.progress import Task

    from innkeeper.cli.progress import CompilingLine
    from innkeeper.workflow.checking.graph import Graph
    from innkeeper.workflow.engine.events import Event
    from innkeeper.workflow.engine.outcome import NodeOutcome, RunOutcome

MOST_CHARACTERS = 20_000
MOST_LINES = 200
"""What is shown of one output; the rest is counted, and --json has all of it."""

_EACH = 0.1
"""Seconds between two chunks that are shown while a run goes on."""

_ENDS = frozenset({"NODE_COMPLETE", "NODE_ERROR", "NODE_SKIPPED", "NODE_BYPASSED"})

_COLUMNS = ("node", "type", "plugin", "time", "CPU", "memory", "host calls", "status")


def event_object(event: Event) -> dict[str, Any]:
    """An event as `--events` says it."""
    payload = dict(event["payload"])
    for key in ("output", "pseudoOutputs"):
        if key in payload:
            payload[key] = _outputs_object(payload[key])
    if "yieldedContent" in payload:
        payload["yieldedContent"] = as_json(payload["yieldedContent"])
    return {**event, "payload": payload}


def _outputs_object(outputs: Mapping[str, Any]) -> dict[str, Any]:
    # Many keys may have one object, which must not be made anew for each.
    different = {id(value): value for value in outputs.values()}
    made = {key: as_json(value) for key, value in different.items()}
    return {key: made[id(value)] for key, value in outputs.items()}


def run_object(outcome: RunOutcome) -> dict[str, Any]:
    """A run as `--json` says it. The outputs of single nodes are left to `--events`."""
    return {
        "status": outcome.status,
        "error": None if outcome.error is None else error_object(outcome.error),
        "outputs": _outputs_object(outcome.outputs),
        "nodes": {node.node: _node_object(node) for node in outcome.walk()},
        "promptId": outcome.prompt_id,
    }


def _node_object(node: NodeOutcome) -> dict[str, Any]:
    found = {
        "type": node.type,
        "plugin": node.plugin,
        "native": node.native,
        "status": node.status,
        "usage": None if node.usage is None else usage_object(node.usage),
        "log": [] if node.usage is None else log_object(node.usage),
        "error": None if node.error is None else error_object(node.error),
    }
    more: dict[str, Any] = {"handled": node.handled, "reason": node.reason, "cause": node.cause, "chunks": node.chunks}
    more |= {"turns": node.turns, "tries": node.tries if node.tries > 1 else 0}
    return found | {key: value for key, value in more.items() if value}


_LOGGED: Final = 200
"""Lines of a node's log that people are shown."""


def show_logs(outcome: RunOutcome) -> None:
    """The first lines of what each guest logged, on standard error, with the node that it came from."""
    for node in outcome.walk():
        if node.usage is not None:
            for level, text in node.usage.log[:_LOGGED]:
                write_error(f"[{level}{', native' if node.native else ''}] {node.node}: {text}")
            left = len(node.usage.log) - _LOGGED
            if left > 0:
                write_error(f"[innkeeper] {node.node}: {left:,} more lines of log are not shown; --json has them")
            if node.usage.log_dropped:
                write_error(f"[innkeeper] {node.node}: {node.usage.log_dropped} bytes of log are not shown")


def show_table(outcome: RunOutcome) -> None:
    """One row per node, in graph order, those of a loop's last turn behind it, and a line per stream."""
    write_table(_COLUMNS, [_row(node) for node in outcome.walk()])
    show_counts(outcome)


def _row(node: NodeOutcome) -> tuple[str, ...]:
    usage = node.usage
    status = f"{node.status}{_why(node)}"
    plugin = f"{node.plugin} (native)" if node.native else node.plugin or "-"
    if usage is None:
        return (node.node, node.type, plugin, "-", "-", "-", "-", status)
    return (
        node.node,
        node.type,
        plugin,
        _milliseconds(usage.wall),
        _milliseconds(usage.cpu),
        f"{usage.memory / (1 << 20):.1f} MiB",
        str(usage.host_calls),
        status,
    )


def _why(node: NodeOutcome) -> str:
    notes = []
    if node.error is not None:
        notes.append(f"{node.error.kind.value}, handled" if node.handled else node.error.kind.value)
    if node.reason == "bypassed":
        notes.append("bypassed")
    elif node.reason is not None:
        what = "after the failure of" if node.reason == "failed" else "not taken by"
        notes.append(f"{what} {printable(str(node.cause), 60)}")
    if node.tries > 1:
        notes.append(f"{node.tries} tries")
    if node.turns:
        notes.append("1 turn" if node.turns == 1 else f"{node.turns:,} turns")
    if node.usage is not None and node.usage.remembered:
        notes.append("remembered")
    return "".join(f" ({note})" for note in notes)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"


def show_outputs(outcome: RunOutcome, graph: Graph, tails: Tails) -> None:
    """The workflow's outputs, each under its name, bounded in length."""
    for key in {**graph.interface_outputs, **graph.interface_streams}:
        title = printable(key, 200)
        value = outcome.outputs.get(key)
        if key not in outcome.outputs:
            body = "(no value)"
        elif key in outcome.placed:
            flowed = tails.text(key)
            body = f"({bounded(outcome.placed[key])})" if flowed is None else bounded(flowed)
        else:
            body = bounded(rendered(value))
        write_out(f"\n== {title} ==\n{body}\n".encode())


def rendered(value: Any) -> str:
    """A value as a person reads it (str): messages of a chat as text, other data as indented JSON, text as it is."""
    data = value
    if isinstance(value, str):
        data = _messages_in(value)
        if data is None:
            return value
    if _is_chat(data):
        return "\n\n".join(f"[{message['role']}]\n{rendered(message['content'])}" for message in data)
    if isinstance(data, bytes):
        return f"({len(data):,} bytes)"
    return json.dumps(as_json(data), ensure_ascii=False, indent=2)


def _messages_in(text: str) -> Any:
    if text.lstrip()[:1] != "[":
        return None
    try:
        data = parse_json(text.encode("utf-8", "replace"))
    except MalformedError:
        return None
    return data if _is_chat(data) else None


def _is_chat(data: Any) -> bool:
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(each, dict) and isinstance(each.get("role"), str) and "content" in each for each in data)
    )


def bounded(text: str) -> str:
    """A text of any origin, safe for a terminal, cut with a note where it is long (str)."""
    lines = text[:MOST_CHARACTERS].replace("\t", "    ").replace("\r\n", "\n").split("\n")
    shown = "\n".join(printable(line) for line in lines[:MOST_LINES])
    left = len(text) - min(len(text), MOST_CHARACTERS, sum(len(line) + 1 for line in lines[:MOST_LINES]))
    return f"{shown}\n... and {left:,} more characters (--json has all of them)" if left > 0 else shown


@contextmanager
def progress(nodes: Collection[str], compiling: CompilingLine) -> Iterator[Callable[[Event], None]]:
    """Gives a receiver of events that shows how far a run is, on standard error, if that is a terminal.

    Args:
        nodes: ids of those of the run's graph.
        compiling: what keeps them waiting, which is then shown in their place.
    """
    if not is_terminal(sys.stderr):
        yield lambda event: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn
    from rich.text import Text

    class Doing(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(compiling.text or task.description)

    columns = (MofNCompleteColumn(), BarColumn(), Doing())
    running: dict[str, None] = {}
    outer = frozenset(nodes)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        seen = 0.0
        task = bar.add_task("", total=len(outer))

        def receive(event: Event) -> None:
            nonlocal seen
            if event["type"] == "NODE_YIELD":
                if time.monotonic() - seen < _EACH:
                    return
                seen = time.monotonic()
                source, text = event["payload"]["sourceNodeId"], chunk_text(event["payload"]["yieldedContent"])
                bar.update(task, description=printable(f"{source}: {text}", 60))
                return
            node = event["payload"].get("nodeId")
            if node is None or node == INTERFACE_OUTPUTS:
                return
            if event["type"] == "NODE_EXECUTING":
                running[node] = None
            elif event["type"] in _ENDS:
                running.pop(node, None)
                # Turns of loops have nodes that nobody has counted.
                if node in outer:
                    bar.advance(task)
            bar.update(task, description=printable(", ".join(list(running)[:4]), 60))

        yield receive
