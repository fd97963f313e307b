"""`innkeeper preset`: a chat or text preset becomes a workflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_error, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.interchange.presets import Preset

_SHOWN = 100


@click.command()
@click.argument("file")
@click.option("--out", metavar="WORKFLOW.json", help="Write the workflow into this file, instead of printing it.")
@click.option("--force", is_flag=True, help="Replace that file if it is there.")
@click.option("--stored", is_flag=True, help="As an editor stores it, instead of as an execution payload.")
@click.option("--no-llm", is_flag=True, help="Without the node that asks a model: it gives the messages.")
@click.option("--card", metavar="BASE", help="The base that innkeeper card import made of the character's card.")
@click.option("--history", metavar="FILE", help="The chat, such as user://chats/first.jsonl.")
@click.option("--lore", metavar="BASE", help="The world book: the id of a base, or a reference of the project.")
@json_option
@pass_settings
def preset(
    settings: Settings, /, file: str, out: str | None, force: bool, stored: bool, no_llm: bool, **chosen: str | None
) -> None:
    """Make a workflow of the preset FILE: its prompts become nodes, its samplers parameters of the model.

    Fields that can hold a secret are left out, and named. What no node has a place for is kept under `extensions`.
    """
    import trio

    from innkeeper.cli.knowledge.card_files import read_file_bytes
    from innkeeper.cli.knowledge.keeping import problem_object
    from innkeeper.knowledge.files.writing import replace
    from innkeeper.knowledge.interchange import node_types
    from innkeeper.knowledge.interchange.preset_workflow import workflow_of
    from innkeeper.knowledge.interchange.presets import read_preset

    target = None if out is None else Path(os.path.abspath(out))
    if target is not None and os.path.lexists(target) and not force:
        raise UsageError(f"--out: {target.name} is there already: --force replaces it")
    if target is not None and not target.parent.is_dir():
        raise UsageError(f"--out: there is no folder {target.parent.name!r} to write it into")
    kinds = {"card": node_types.CHARACTER, "history": node_types.HISTORY, "lore": node_types.LORE}
    given = {kinds[name]: value for name, value in chosen.items() if value is not None}
    read = read_preset(read_file_bytes(file), os.path.basename(file))
    payload = workflow_of(read, llm=not no_llm, chosen=given)
    made = workflow_of(read, stored=True, llm=not no_llm, chosen=given) if stored else payload
    there = {node["fullType"] for node in payload["nodes"]}
    open_ = [name for name, kind in kinds.items() if kind in there and kind not in given]
    missing, wrong = trio.run(_checked, settings.home, payload, restrict_keyboard_interrupt_to_checkpoints=True)
    if target is not None:
        replace(target, json_bytes(made, indent=2))
    if settings.json:
        report = {
            "kind": read.kind,
            "name": read.name,
            "file": None if target is None else str(target),
            "dropped": read.dropped,
            "problems": [problem_object(each) for each in read.problems],
            "kept": sorted(payload["extensions"].get("sillytavern", {})),
            "choose": open_,
            "missing": missing,
            "unfit": wrong,
            "workflow": made,
        }
        write_out(json_bytes(report, indent=2))
        return
    if target is None:
        write_out(json_bytes(made, indent=2))
    else:
        write_line(f"{target.name}: {read.name} ({read.kind} preset), {len(payload['nodes']):,} nodes")
    _say(os.path.basename(file), read, open_, missing, wrong)


def _say(name: str, read: Preset, open_: list[str], missing: list[str], wrong: list[str]) -> None:
    """Notes go to standard error: without --out the workflow itself is what is printed."""
    said = []
    if read.dropped:
        said.append(f"left out, since they can hold a secret: {_listed(read.dropped)}")
    said += [str(problem) for problem in read.problems[:_SHOWN]]
    if len(read.problems) > _SHOWN:
        said.append(f"and {len(read.problems) - _SHOWN:,} more problems; --json lists all")
    if open_:
        said.append(f"choose with {', '.join(f'--{each}' for each in open_)}, or in the workflow, what its nodes load")
    if missing:
        said.append(
            f"{_listed(missing)}: no plugin here has this node, so it runs only once there is one; "
            "--no-llm makes a workflow that gives the messages instead"
        )
    said += wrong[:_SHOWN]
    for line in said:
        write_error(f"{name}: {line}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


async def _checked(home: str | None, payload: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Node types of a workflow that no plugin of the home has, and what else is wrong with it."""
    from innkeeper.composition import open_host
    from innkeeper.workflow.checking.check import check_workflow
    from innkeeper.workflow.checking.graph import ENGINE_NODES
    from innkeeper.workflow.checking.problems import WorkflowError
    from innkeeper.workflow.formats.payload import payload_of

    async with open_host(home, watch=False, schedules=False) as host:
        missing, lacking = [], set()
        for node in payload["nodes"]:
            if node["fullType"] not in ENGINE_NODES:
                try:
                    host.node(node["fullType"])
                except UsageError:
                    missing.append(node["fullType"])
                    lacking.add(node["id"])
        try:
            check_workflow(payload_of(payload), host)
        except WorkflowError as error:
            return list(dict.fromkeys(missing)), [str(each) for each in error.problems if each.node not in lacking]
    return list(dict.fromkeys(missing)), []
