"""`innkeeper card show`: what a character card says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import counted, json_bytes, write_error, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from innkeeper.knowledge.interchange.cards import Card

_SHOWN = 160
"""Characters of a field that the table shows; --json has all."""


@click.command()
@click.argument("file")
@json_option
@pass_settings
def show(settings: Settings, file: str) -> None:
    """Show what the character card FILE says (JSON, PNG, APNG or CHARX); --json shows the whole card."""
    from innkeeper.cli.knowledge.card_files import read_card_file

    data, card = read_card_file(file)
    if settings.json:
        write_out(json_bytes(_object(card, len(data)), indent=2))
        return
    write_table(("field", "value"), [(name, text) for name, text in _rows(card)])
    for problem in card.problems:
        write_error(f"{Path(file).name}: {problem}")


def _object(card: Card, size: int) -> dict[str, Any]:
    from innkeeper.cli.knowledge.keeping import problem_object

    return {
        "version": card.version,
        "container": card.container,
        "name": card.name,
        "bytes": size,
        "entries": len(_entries(card)),
        "files": card.files,
        "problems": [problem_object(problem) for problem in card.problems],
        "card": card.document,
    }


def _rows(card: Card) -> list[tuple[str, str]]:
    from innkeeper.knowledge.interchange.cards import LISTS, TEXTS

    rows = [("card", f"V{card.version}, {card.container}")]
    for key in TEXTS:
        text = card.text(key)
        if text:
            shown = " ".join(text[: _SHOWN + 1].split())
            rows.append((key, f"{shown[:_SHOWN]} ... ({len(text):,} characters)" if len(text) > _SHOWN else shown))
    for key in LISTS:
        texts = card.texts(key)
        if texts:
            rows.append((key, ", ".join(texts) if key in ("tags", "source") else counted(len(texts), "text")))
    book = card.book
    if book is not None:
        name = book.get("name")
        called = f" {name!r}" if isinstance(name, str) and name else ""
        rows.append(("lorebook", f"{len(_entries(card)):,} entries{called}"))
    extensions = card.data.get("extensions")
    if isinstance(extensions, dict) and extensions:
        rows.append(("extensions", ", ".join(sorted(str(key) for key in extensions))))
    rows += [("file", f"{path} ({size:,} bytes)") for path, size in list(card.files.items())[:50]]
    if len(card.files) > 50:
        rows.append(("file", f"and {len(card.files) - 50:,} more (--json lists all)"))
    return rows


def _entries(card: Card) -> list[Any]:
    entries = (card.book or {}).get("entries")
    if isinstance(entries, dict):
        return list(entries.values())
    return entries if isinstance(entries, list) else []
