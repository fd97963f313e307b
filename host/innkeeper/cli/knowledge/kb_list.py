"""`innkeeper kb list`: the bases of the home, of a project, or the entries of one base."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.knowledge.keeping import open_registry, problem_object, say_problems
from innkeeper.cli.knowledge.named_bases import read_named
from innkeeper.cli.knowledge.opened_bases import plain_time
from innkeeper.cli.output import json_bytes, write_error, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import InnkeeperError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innkeeper.knowledge.files.known import Known
    from innkeeper.knowledge.model.entry import Entry
    from innkeeper.plugins.home import Home


@click.command("list")
@click.argument("base", required=False)
@click.option("--project", metavar="FOLDER", help="The bases that this project refers to, and where they are.")
@click.option("--session", metavar="ID", default="", help="With BASE: what this session changed in it, for itself.")
@json_option
@pass_settings
def list_(settings: Settings, base: str | None, project: str | None, session: str) -> None:
    """List the global knowledge bases, or the entries of BASE: an id, a name, or the path of a file, folder or
    archive."""
    if base is not None and project is not None:
        raise UsageError("give BASE or --project, not both")
    if session and base is None:
        raise UsageError("--session goes with BASE")
    if project is not None:
        _references(settings, project)
    elif base is None:
        _bases(settings)
    elif session:
        _changes(settings, base, session)
    else:
        _entries(settings, base)


def _bases(settings: Settings) -> None:
    home, registry = open_registry(settings.home)
    bases = [*registry.bases(), *_without_file(home)]
    if settings.json:
        rows = [
            {
                "id": known.id or None,
                "alias": known.alias or None,
                "name": known.name,
                "entries": known.entries,
                "model": known.model or None,
                "version": known.version or None,
                "origin": known.origin,
                "path": str(known.path) if known.origin != "store" else None,
                "problem": known.problem or None,
            }
            for known in bases
        ]
        write_out(json_bytes({"home": str(home.path), "doubt": home.doubt or None, "bases": rows}, indent=2))
        return
    if home.doubt:
        write_error(f"innkeeper: no knowledge base of this folder is used: {home.doubt}")
    elif not bases:
        write_line(
            "there are no knowledge bases: `innkeeper kb new NAME` makes one, `innkeeper kb import FILE` reads one"
        )
    else:
        write_table(
            ("id", "name", "entries", "model", "where", "problem"),
            [
                (
                    known.id + (f" ({known.alias})" if known.alias else ""),
                    known.name,
                    f"{known.entries:,}",
                    known.model or "-",
                    known.label if known.origin != "store" else "" if known.problem else "no file: plugins made it",
                    known.problem,
                )
                for known in bases
            ],
        )


def _without_file(home: Home) -> list[Known]:
    """The bases that only the store has; nothing is made where nothing was ever kept."""
    import trio

    from innkeeper.cli.records import open_kept
    from innkeeper.knowledge.files.known import Known
    from innkeeper.knowledge.store.values import BaseState
    from innkeeper.storage.run_model import USER

    async def read() -> list[BaseState]:
        async with open_kept(home) as database:
            if database is None:
                return []
            from innkeeper.knowledge.opening import open_library

            return await open_library(database).store.bases(USER)

    if home.doubt:
        return []
    found = []
    for state in trio.run(read, restrict_keyboard_interrupt_to_checkpoints=True):
        # A project's own base goes by another id than its file says, and is listed with the project.
        if state.file and (os.path.lexists(state.file) or state.info.get("kb_id") != state.base):
            continue
        problem = "its file is gone: put it back, or write it with `innkeeper kb export`" if state.file else ""
        name = str(state.info.get("kb_displayName") or state.base)
        version = str(state.info.get("kb_version") or "")
        path = home.path
        found.append(Known(state.base, "", name, path, path, "store", state.entries, state.model, version, problem))
    return found


def _references(settings: Settings, folder: str) -> None:
    from innkeeper.knowledge.files.project import read_project, resolve

    project = read_project(folder)
    _, registry = open_registry(settings.home)
    rows: list[dict[str, Any]] = []
    for reference in project.references:
        try:
            path, problem = str(resolve(project, reference, registry)), None
        except InnkeeperError as error:
            path, problem = None, error.message
        kind = "local" if reference.path else "global"
        rows.append({"id": reference.id, "name": reference.name, "type": kind, "path": path, "problem": problem})
    if settings.json:
        found = {"project": str(project.folder), "model": project.embedding_model or None, "references": rows}
        write_out(json_bytes(found, indent=2))
    elif not rows:
        write_line("the project refers to no knowledge base")
    else:
        keys = ("id", "name", "type", "path", "problem")
        write_table(keys, [tuple(row[key] or "" for key in keys) for row in rows])


def _entries(settings: Settings, text: str) -> None:
    read = read_named(settings, text)
    if settings.json:
        found = {
            "id": read.base.info.kb_id,
            "name": read.base.info.name,
            "model": read.base.info.embedding_model_id,
            "schema_version": read.schema_version,
            "read_only": read.read_only,
            "entries": [_object(item.entry) for item in read.base.items],
            "problems": [problem_object(problem) for problem in read.problems],
        }
        write_out(json_bytes(found, indent=2))
        return
    if read.base.items:
        write_table(
            ("id", "name", "type", "keywords", "priority", "enabled"),
            [
                (
                    entry.id,
                    entry.displayName or "",
                    entry.entry_type,
                    ", ".join(entry.activation_criteria.keywords[:8]),
                    f"{entry.usage_metadata.priority:g}",
                    "yes" if entry.management_metadata.is_enabled else "no",
                )
                for entry in (item.entry for item in read.base.items)
            ],
        )
    else:
        write_line(f"{read.base.info.name}: no entries")
    if read.read_only:
        write_error(f"innkeeper: of schema_version {read.schema_version}, which is newer than this host: read only")
    say_problems(read.base.info.name, read.problems)


def _changes(settings: Settings, text: str, session: str) -> None:
    """What a session says in place of a base."""
    read = read_named(settings, text, session=session)
    names = {item.entry.id: item.entry.name for item in read.base.items}
    rows: list[dict[str, Any]] = []
    for each in read.changed:
        what = "left out" if each.document is None else "changed" if each.entry in names else "made"
        own = (each.document or {}).get("displayName")
        name = own if isinstance(own, str) and own else names.get(each.entry, each.entry)
        said = {"id": each.entry, "name": name, "what": what, "by": each.author or None, "at": each.at}
        rows.append({**said, "version": each.version, "document": each.document})
    if settings.json:
        write_out(json_bytes({"id": read.base.info.kb_id, "session": session, "entries": rows}, indent=2))
        return
    if not rows:
        write_line(f"the session {session} changed nothing in {read.base.info.name}")
        return
    write_table(
        ("id", "name", "what", "by", "when", "says"),
        [
            (row["id"], row["name"], row["what"], row["by"] or "-", plain_time(row["at"]), _says(row["document"]))
            for row in rows
        ],
    )


def _says(document: Mapping[str, Any] | None) -> str:
    content = (document or {}).get("content")
    value = content.get("value") if isinstance(content, dict) else None
    return " ".join(value.split())[:100] if isinstance(value, str) else ""


def _object(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.displayName,
        "type": entry.entry_type,
        "keywords": entry.activation_criteria.keywords,
        "tags": entry.management_metadata.tags,
        "priority": entry.usage_metadata.priority,
        "enabled": entry.management_metadata.is_enabled,
    }
