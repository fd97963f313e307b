"""`innkeeper card export`: a card as a file, with the lorebook that a base has now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from innkeeper.knowledge.interchange.cards import Card
    from innkeeper.knowledge.model.base import Base


@click.command()
@click.argument("source", metavar="BASE|FILE")
@click.option("--to", "to", type=click.Choice(["v2", "v3"]), default="v3", help="As which version; PNG has both.")
@click.option("--out", "out", metavar="FILE", required=True, help="A .json, a .png or a .charx.")
@click.option("--picture", metavar="PNG", help="The picture of the card; by default that of FILE, or a blank one.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@json_option
@pass_settings
def export(settings: Settings, source: str, to: str, out: str, picture: str | None, force: bool) -> None:
    """Write a character card: the one of FILE, or the one that BASE (an id, a name or a path) was made of, or a new
    one with nothing but the entries of BASE as its lorebook."""
    import trio

    from innkeeper.cli.knowledge.card_files import looks_like_card, out_file, read_card_file, read_file_bytes

    file = out_file(out, force)
    version = int(to[1:])

    async def main() -> dict[str, Any]:
        from innkeeper.cli.knowledge.named_bases import named
        from innkeeper.plugins.home import open_home

        if await trio.to_thread.run_sync(looks_like_card, source):
            data, card = await trio.to_thread.run_sync(read_card_file, source)
            book = None
        else:
            base = (await named(open_home(settings.home), source)).base
            data = b""
            card, book = await trio.to_thread.run_sync(_of_base, base)
        shown = None if picture is None else await trio.to_thread.run_sync(read_file_bytes, picture)
        name = Path(picture or source).name
        return await trio.to_thread.run_sync(lambda: _write(file, card, book, version, data, shown, name))

    report = trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        write_out(json_bytes(report, indent=2))
        return
    write_line(f"{file.name}: {report['name']}, {report['to']}, {report['bytes']:,} bytes")


def _of_base(base: Base) -> tuple[Card, Base | None]:
    from innkeeper.knowledge.interchange.card_base import card_of_base, has_book
    from innkeeper.knowledge.interchange.card_export import new_card

    card, book = card_of_base(base)
    if card is None:
        return new_card(base.info.name, book), None
    return card, book if has_book(base) else None


def _write(
    file: Path, card: Card, book: Base | None, version: int, data: bytes, picture: bytes | None, name: str
) -> dict[str, Any]:
    from innkeeper.knowledge.files.writing import replace
    from innkeeper.knowledge.interchange.card_export import card_charx, card_document, card_picture, card_png
    from innkeeper.knowledge.interchange.cards import written

    ending = file.suffix.lower()
    if ending == ".png":
        made = card_png(card, book, picture if picture is not None else card_picture(card, data, name), name)
    elif ending == ".charx":
        made = card_charx(card, book, data if card.container == "charx" else None, name)
    else:
        made = written(card_document(card, version, book))
    replace(file, made)
    told = {".png": "v2 and v3", ".charx": "v3"}.get(ending, f"v{version}")
    return {"file": str(file), "name": card.name, "to": told, "bytes": len(made)}
