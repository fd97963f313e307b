"""`innkeeper graph`: a workflow as a picture."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_error, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.nodes import NodeDefinition
    from innkeeper.workflow.checking.problems import Problem
    from innkeeper.workflow.drawing.sketch import Sketch
    from innkeeper.workflow.formats.sources import WorkflowSource
    from innkeeper.workflow.host import NodeHost

_SHOWN = 100

_BLANK = {"INTEGER": 0, "FLOAT": 0.0, "BOOLEAN": False, "OBJECT": {}, "ARRAY": []}
"""A value that fits a slot of each type; text fits the others."""


@click.command()
@click.argument("workflow")
@click.option("-o", "--out", metavar="FILE.svg", help="Write the picture into this file, instead of printing it.")
@click.option("--force", is_flag=True, help="Replace that file if it is there.")
@click.option("--flat", is_flag=True, help="As it runs: groups dissolved, inner nodes named GROUP/NODE.")
@click.option("--editor", is_flag=True, help="Nodes stand where the editor put them; groups stay closed.")
@click.option("--run", "run", metavar="RUN", help="What became of each node in this run of the queue.")
@click.option("--strict", is_flag=True, help="End with exit code 2 where the workflow does not check.")
@json_option
@pass_settings
def graph(
    settings: Settings,
    workflow: str,
    out: str | None,
    force: bool,
    flat: bool,
    editor: bool,
    run: str | None,
    strict: bool,
) -> int:
    """Draw WORKFLOW, a JSON file in either form, as SVG; - is standard input.

    The workflows that its groups and loops refer to are looked for in its folder. What is wrong with it is marked
    in the picture and said on standard error. Of a workflow with more than 400 nodes or 3,000 edges the picture
    shows its levels.

    \b
    innkeeper graph chat.json -o chat.svg
    innkeeper graph chat.json --flat --strict > chat.svg
    """
    import trio

    from innkeeper.workflow.drawing.draw import draw, too_many

    if flat and editor:
        raise UsageError("give --flat or --editor, not both: what runs has no places in an editor")
    target = _target(out, force)
    value = _read(workflow)
    became = {} if run is None else _became(settings, run)
    sketch, problems = trio.run(
        _look, settings.home, workflow, value, flat, editor, became, restrict_keyboard_interrupt_to_checkpoints=True
    )
    said = [*map(str, problems), *sketch.problems]
    name = sketch.name or ("standard input" if workflow == "-" else os.path.basename(workflow))
    svg = draw(sketch, name, said, editor=editor)
    if target is not None:
        from innkeeper.knowledge.files.writing import replace

        replace(target, svg.encode())
    if settings.json:
        report = {
            "name": name,
            "file": None if target is None else str(target),
            "nodes": sum(1 for _ in sketch.all_nodes()),
            "levels_only": too_many(sketch),
            "problems": [asdict(each) for each in problems]
            + [{"text": each, "node": None, "slot": None, "workflow": None} for each in sketch.problems],
            **({"svg": svg} if target is None else {}),
        }
        write_out(json_bytes(report))
    elif target is None:
        write_out(svg.encode())
    else:
        write_line(f"{target.name}: {name}, {sum(1 for _ in sketch.all_nodes()):,} nodes")
    if not settings.json:
        for line in said[:_SHOWN]:
            write_error(f"innkeeper: {line}")
        if len(said) > _SHOWN:
            write_error(f"innkeeper: and {len(said) - _SHOWN:,} more problems")
    return 2 if strict and said else 0


def _target(out: str | None, force: bool) -> Path | None:
    if out is None:
        return None
    target = Path(os.path.abspath(out))
    if os.path.lexists(target) and not force:
        raise UsageError(f"--out: {target.name} is there already: --force replaces it")
    if not target.parent.is_dir():
        raise UsageError(f"--out: there is no folder {target.parent.name!r} to write it into")
    return target


def _read(workflow: str) -> Any:
    from innkeeper.bridge.codec import parse_json
    from innkeeper.bridge.scan import MalformedError
    from innkeeper.cli.run_inputs import read_file
    from innkeeper.workflow.formats.payload import PAYLOAD_BOUNDS

    data = read_file("the workflow", workflow, PAYLOAD_BOUNDS.size)
    try:
        value = parse_json(data.removeprefix(b"\xef\xbb\xbf"), PAYLOAD_BOUNDS)
    except MalformedError as error:
        raise UsageError(f"the workflow is not JSON that can be read: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("nodes"), list):
        raise UsageError("this is no workflow: a JSON object with the lists 'nodes' and 'edges'")
    return value


def _became(settings: Settings, run: str) -> dict[str, str]:
    """What became of the nodes of a run, by id."""
    from innkeeper.cli.kept_runs import KeptRuns, on_runs
    from innkeeper.cli.runs import said_of

    async def main(kept: KeptRuns) -> dict[str, str]:
        tree = await said_of(kept, await kept.find(run))
        return {node.id: node.status for node in tree.nodes.values()}

    return on_runs(settings.home, main)


async def _look(
    home: str | None, workflow: str, value: Any, flat: bool, editor: bool, became: dict[str, str]
) -> tuple[Sketch, list[Problem]]:
    """What is drawn, with its problems at the nodes, and all problems."""
    from innkeeper.cli.workflow_files import source_beside
    from innkeeper.composition import open_host
    from innkeeper.workflow.drawing.draw import colour, mark
    from innkeeper.workflow.drawing.flat import flat as flattened
    from innkeeper.workflow.drawing.reading import sketch_of

    source = source_beside(workflow)

    async with open_host(home, watch=False, schedules=False) as host:

        def define(full_type: str) -> NodeDefinition | None:
            try:
                return host.node(full_type)[1]
            except UsageError:
                return None

        def find(id: str) -> object:
            # What cannot be found is said by the check.
            with suppress(UsageError):
                return None if source is None else source.find(id)
            return None

        sketch = sketch_of(value, define, find)
        problems = _problems(value, host, source)
    mark(sketch, problems)
    colour(sketch, became)
    if editor:
        for node in sketch.nodes:
            node.inside = None
    return (flattened(sketch) if flat else sketch), problems


def _problems(value: Any, host: NodeHost, source: WorkflowSource | None) -> list[Problem]:
    from innkeeper.workflow.checking.check import check_workflow
    from innkeeper.workflow.checking.problems import Problem, WorkflowError
    from innkeeper.workflow.formats.payload import payload_of

    try:
        payload = payload_of(value)
        for key, slot in payload.interface_inputs.items():
            if slot.config.get("default") is None:
                # Its value comes with a run.
                blank = _BLANK.get(slot.data_flow_type, "")
                payload.interface_inputs[key] = slot.model_copy(update={"config": {**slot.config, "default": blank}})
        check_workflow(payload, host, source)
    except WorkflowError as error:
        return list(error.problems)
    except UsageError as error:
        return [Problem(line) for line in error.message.splitlines()]
    return []
