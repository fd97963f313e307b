"""`innkeeper kb add`: a base that stays where it is becomes a global one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from innkeeper.cli.knowledge.keeping import open_keeper, open_registry, writable_registry
from innkeeper.cli.output import json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError


@click.command()
@click.argument("base", metavar="FOLDER")
@click.option("--id", "alias", metavar="ID", help="Also find it under this id.")
@click.option("--project", metavar="FOLDER", help="Refer to the global base FOLDER (a path or an id) in this project.")
@click.option("--forget", is_flag=True, help="Take its registration back; the base itself stays.")
@json_option
@pass_settings
def add(settings: Settings, base: str, alias: str | None, project: str | None, forget: bool) -> None:
    """Register FOLDER, or a single .json or .ckb, as a global knowledge base that stays where it is."""
    if forget and (alias or project):
        raise UsageError("--forget stands alone")
    if forget:
        gone = writable_registry(settings.home)[1].forget(base)
        _answer(settings, {"path": str(gone), "forgotten": True}, f"{gone}: forgotten; the base itself stays")
    elif project is not None and not os.path.exists(base):
        _refer(settings, base, project, alias or "")
    else:
        _register(settings, base, alias or "", project)


def _register(settings: Settings, base: str, alias: str, project: str | None) -> None:
    import trio

    home, registry = writable_registry(settings.home)
    known = registry.add(Path(base), alias)

    async def follow() -> None:
        async with open_keeper(home) as keeper:
            await keeper.follow(known)

    trio.run(follow, restrict_keyboard_interrupt_to_checkpoints=True)
    if project is not None:
        _refer(settings, known.id, project, "")
        return
    found = {"id": known.id, "alias": known.alias or None, "path": str(known.path), "entries": known.entries}
    told = f" (also {known.alias})" if known.alias else ""
    _answer(
        settings,
        found,
        f"{known.id}{told}: {known.name}, {known.entries:,} {'entry' if known.entries == 1 else 'entries'}",
    )


def _refer(settings: Settings, text: str, project: str, reference_id: str) -> None:
    from innkeeper.knowledge.files.project import add_reference, read_project

    _, registry = open_registry(settings.home)
    known = registry.find(text)
    target, reference = add_reference(read_project(project), known.id, name=known.name, reference_id=reference_id)
    found = {"id": known.id, "reference": reference.id, "project": str(target.folder)}
    _answer(settings, found, f"{known.id}: the project refers to it as {reference.id!r}")


def _answer(settings: Settings, found: Mapping[str, object], sentence: str) -> None:
    if settings.json:
        write_out(json_bytes(found, indent=2))
    else:
        write_line(sentence)
