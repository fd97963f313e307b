"""`innkeeper card import`: a card's lorebook and its fields become a knowledge base, or part of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from innkeeper.cli.knowledge.keeping import open_keeper, writable_registry
from innkeeper.cli.output import counted, json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError


@click.command("import")
@click.argument("file")
@click.option("--into", metavar="BASE", help="Put the entries into this base, instead of a new one.")
@click.option("--id", "base_id", metavar="ID", help="The id of the new base; by default made of the name.")
@click.option("--fields/--no-fields", default=True, help="Whether its fields become entries, beside its lorebook.")
@click.option("--embed", metavar="MODEL", help="Make its vectors with this model; innkeeper kb models lists them.")
@click.option("--no-embed", is_flag=True, help="Make no vectors: its entries are found by words.")
@click.option(
    "--existing",
    type=click.Choice(["refuse", "replace", "keep", "rename"]),
    default="refuse",
    help="With --into: what becomes of entries whose id is there.",
)
@json_option
@pass_settings
def import_(settings: Settings, /, file: str, fields: bool, **options: Any) -> None:
    """Read the character card FILE (JSON, PNG, APNG or CHARX) into a knowledge base.

    Its lorebook becomes entries, and so do description, personality, scenario, prompts, examples and greetings. The
    new base keeps the card, and innkeeper card export gives it back.
    """
    import trio

    from innkeeper.cli.knowledge.card_files import read_card_file
    from innkeeper.cli.knowledge.kb_import import Import, Options

    chosen = Options(**options, strict=False, remove_missing=False, quiet=settings.json)
    if chosen.into is not None and chosen.base_id is not None:
        raise UsageError("give --into or --id, not both")
    if chosen.embed is not None and chosen.no_embed:
        raise UsageError("give --embed or --no-embed, not both")
    if chosen.existing != "refuse" and chosen.into is None:
        raise UsageError("--existing goes with --into")
    name = Path(file).name

    async def main() -> dict[str, Any]:
        from innkeeper.cli.knowledge.import_sources import Found
        from innkeeper.knowledge.interchange.card_base import card_base

        def read() -> Found:
            data, card = read_card_file(file)
            base, problems = card_base(card, data, fields=fields)
            return Found("card", base, problems)

        home, registry = writable_registry(settings.home)
        found = await trio.to_thread.run_sync(read)
        async with open_keeper(home) as keeper:
            return await Import(registry, keeper, chosen).found(found, name)

    report = trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        write_out(json_bytes({"imported": [report]}, indent=2))
        return
    entries = f"{report['created']:,} new, {report['changed']:,} changed, {report['same']:,} as they were"
    write_line(f"{name} (card) -> {report['base']}: {entries}")
    if report["problems"]:
        write_line(f"{name}: {counted(len(report['problems']), 'problem')}, said above")
