"""`innkeeper kb undo`: takes the last change of an entry or a base back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.knowledge.opened_bases import applied_object, plain_time, with_base
from innkeeper.cli.output import json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.joined.opening import Knowledge
    from innkeeper.knowledge.library import Library
    from innkeeper.knowledge.store.values import Applied
    from innkeeper.storage.knowledge_model import Place

MOST_LISTED = 50
"""Steps, or changes, that are listed."""


@click.command()
@click.argument("base")
@click.argument("entry", required=False)
@click.option("--list", "listed", is_flag=True, help="Change nothing; show what can be taken back.")
@click.option("--step", type=click.IntRange(1), metavar="N", help="Take back step N of --list, not the last one.")
@json_option
@pass_settings
def undo(settings: Settings, base: str, entry: str | None, listed: bool, step: int | None) -> None:
    """Take back the last step of the knowledge base BASE, an import as a whole, or the last change of its ENTRY.

    That is a step, too: undo again, and it is as it was. A step is not taken back where something that it changed was
    changed since.
    """
    if listed and step is not None:
        raise UsageError("--list and --step: one of them")
    if entry is not None and step is not None:
        raise UsageError("--step N takes back a step of the whole base: leave ENTRY out")
    if listed:
        rows = with_base(settings.home, base, lambda knowledge, place: _rows(knowledge.bases.library, place, entry))
        _show(settings, base, entry, rows)
        return

    async def work(knowledge: Knowledge, place: Place) -> Applied:
        return await knowledge.bases.library.undo(place, entry, revision=step)

    applied = with_base(settings.home, base, work)
    if settings.json:
        write_out(json_bytes(applied_object(base, applied), indent=2))
        return
    counts = ((applied.created, "made again"), (applied.changed, "changed back"), (applied.deleted, "deleted"))
    done = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    write_line(f"{base}: {done or 'taken back'}; step {applied.revision}")


async def _rows(library: Library, place: Place, entry: str | None) -> list[dict[str, Any]]:
    if entry is None:
        return [
            {"step": step.revision, "at": step.at, "what": step.reason, "by": step.author, "changes": step.changes}
            for step in await library.store.steps(place, most=MOST_LISTED)
        ]
    return [
        {"step": past.revision, "at": past.at, "what": past.kind, "by": past.author, "changes": 1}
        for past in await library.store.history(place, entry, most=MOST_LISTED)
    ]


def _show(settings: Settings, base: str, entry: str | None, rows: list[dict[str, Any]]) -> None:
    if settings.json:
        write_out(json_bytes({"base": base, "entry": entry, "steps": rows}, indent=2))
        return
    if not rows:
        write_line("nothing is remembered that could be taken back")
        return
    write_table(
        ("step", "when", "what", "by", "entries"),
        [
            (str(row["step"]), plain_time(row["at"]), row["what"], row["by"] or "-", f"{row['changes']:,}")
            for row in rows
        ],
    )
