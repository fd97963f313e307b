"""`innkeeper kb models`: the models that make embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.knowledge.keeping import open_registry
from innkeeper.cli.output import json_bytes, write_error, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from innkeeper.knowledge.embedding.registry import Models
    from innkeeper.plugins.home import Home


@click.command()
@json_option
@pass_settings
def models(settings: Settings) -> None:
    """List the models that make embeddings, and which of them bases get that say none."""
    import trio

    home, _ = open_registry(settings.home)
    rows = trio.run(_rows, home, restrict_keyboard_interrupt_to_checkpoints=True)
    default = home.configuration.knowledge.model
    if settings.json:
        write_out(json_bytes({"default": default, "models": rows}, indent=2))
        return
    table = []
    for row in rows:
        state = "default" if row["default"] else ""
        table.append((row["name"], row["key"] or "-", row["kind"], row["problem"] or row["about"], state))
    write_table(("name", "key in bases", "kind", "what it is", ""), table)
    if not any(row["default"] for row in rows):
        write_error(f"innkeeper: the setting knowledge.model is {default!r}, and there is no such model")


async def _rows(home: Home) -> list[dict[str, Any]]:
    from innkeeper.composition.knowledge import open_models

    async with open_models(home) as models:
        return await _rows_of(models)


async def _rows_of(models: Models) -> list[dict[str, Any]]:
    from innkeeper.knowledge.embedding.interface import EmbeddingError

    rows = []
    for each in models.all:
        key, dimension, problem = None, None, None
        try:
            identity = (await models.open(each.name)).identity
            key, dimension = identity.key, identity.dimension
        except EmbeddingError as error:
            problem = str(error)
        rows.append(
            {
                "name": each.name,
                "key": key,
                "dimension": dimension,
                "kind": each.kind,
                "about": each.about,
                "default": models.default in (each.name, each.id, key),
                "problem": problem,
            }
        )
    return rows
