"""`innkeeper kb embed`: makes the vectors of a base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.knowledge.keeping import bar, open_registry
from innkeeper.cli.output import counted, json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from innkeeper.knowledge.files.known import Known
    from innkeeper.plugins.home import Home


@click.command()
@click.argument("base")
@click.option("--model", metavar="MODEL", help="Another model than the base's; innkeeper kb models lists them.")
@json_option
@pass_settings
def embed(settings: Settings, base: str, model: str | None) -> None:
    """Make the vectors that entries of BASE lack, so that it is searched by meaning, too.

    BASE is a global knowledge base, by id or name. What was made is kept when the command is stopped: the same command
    goes on.
    """
    import trio

    home, registry = open_registry(settings.home)
    known = registry.find(base)
    done = trio.run(_embed, home, known, model, not settings.json, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        write_out(json_bytes(done, indent=2))
    else:
        write_line(
            f"{known.name}: {counted(done['made'], 'vector')} made with {done['model']}, "
            f"{done['entries'] - done['made']:,} of {counted(done['entries'], 'vector')} were there"
        )


async def _embed(home: Home, known: Known, model: str | None, shown: bool) -> dict[str, Any]:
    from innkeeper.composition.knowledge import open_knowledge
    from innkeeper.knowledge.embedding.interface import EmbeddingError
    from innkeeper.knowledge.joined.keeper import keeper_of
    from innkeeper.knowledge.model.problems import KnowledgeError
    from innkeeper.storage.run_model import USER

    async with open_knowledge(home) as knowledge:
        try:
            if model is None:
                embedder = (await knowledge.models.choose(base=known.model or None)).embedder
            else:
                embedder = await knowledge.models.open(model)
        except EmbeddingError as error:
            raise KnowledgeError(str(error), source=known.name) from None
        key = embedder.identity.key
        keeper = keeper_of(knowledge.bases, USER)
        with bar(f"embedding {known.name}", shown) as progress:
            made = await keeper.embed(known, key, progress=progress)
        vectors = sum(len(each.ids) for each in await keeper.vectors(known) if each.model == key)
    return {"base": known.id, "model": key, "made": made, "entries": vectors}
