"""What a person sees of a run: progress, a table of its nodes, and its outputs as readable text."""

from __future__ import annotations

import json
import math
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
from innkeeper.workflow.engine.events import INTERFACE_OUTPUTS

if TYPE_CHECKING:
    from rich.progress import Task

    from innkeeper.cli.progress import CompilingLine
    from innkeeper.workflow.checking.graph import Graph
    from innkeeper.workflow.engine.outcome import NodeOutcome, RunOutcome
    from innkeeper.workflow.engine.run import Event

MOST_CHARACTERS = 20_000
MOST_LINES = 200
"""What is shown of one output; the rest is counted, and --json has all of it."""

_COLUMNS = ("node", "type", "plugin", "time", "CPU", "memory", "host calls", "status")


def as_json(value: Any) -> Any:
    """A value as JSON has it: bytes become base64 text, NaN and the infinities null, as JavaScript writes them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value


def event_object(event: Event) -> dict[str, Any]:
    """An event as `--events` says it."""
    payload = event["payload"]
    if "output" not in payload:
        return event
    return {"type": event["type"], "payload": {**payload, "output": _outputs_object(payload["output"])}}


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
        "nodes": {
            node.node: {
                "type": node.type,
                "plugin": node.plugin,
                "native": node.native,
                "status": node.status,
                "usage": None if node.usage is None else usage_object(node.usage),
                "log": [] if node.usage is None else log_object(node.usage),
                "error": None if node.error is None else error_object(node.error),
            }
            for node in outcome.nodes.values()
        },
        "promptId": outcome.prompt_id,
    }


def show_logs(outcome: RunOutcome) -> None:
    """What the guests logged, on standard error, with the node that it came from."""
    for node in outcome.nodes.values():
        if node.usage is not None:
            for level, text in node.usage.log:
                write_error(f"[{level}{', native' if node.native else ''}] {node.node}: {text}")
            if node.usage.log_dropped:
                write_error(f"[innkeeper] {node.node}: {node.usage.log_dropped} bytes of log are not shown")


def show_table(outcome: RunOutcome) -> None:
    """One row per node, in graph order, and a line with the sum."""
    write_table(_COLUMNS, [_row(node) for node in outcome.nodes.values()])


def _row(node: NodeOutcome) -> tuple[str, ...]:
    usage = node.usage
    status = node.status if node.error is None else f"{node.status} ({node.error.kind.value})"
    if usage is not None and usage.remembered:
        status = f"{status} (remembered)"
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


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"


def show_outputs(outcome: RunOutcome, graph: Graph) -> None:
    """The workflow's outputs, each under its name, bounded in length."""
    for key in graph.interface_outputs:
        if key in outcome.outputs:
            title = printable(key, 200)
            body = bounded(rendered(outcome.outputs[key]))
        else:
            title, body = printable(key, 200), "(no value)"
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
def progress(nodes: int, compiling: CompilingLine) -> Iterator[Callable[[Event], None]]:
    """Gives a receiver of events that shows how far a run is, on standard error, if that is a terminal.

    Args:
        nodes: how many the run has.
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
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=nodes)

        def receive(event: Event) -> None:
            node = event["payload"].get("nodeId")
            if node is None or node == INTERFACE_OUTPUTS:
                return
            if event["type"] == "NODE_EXECUTING":
                running[node] = None
            else:
                running.pop(node, None)
                bar.advance(task)
            bar.update(task, description=printable(", ".join(list(running)[:4]), 60))

        yield receive
