"""`innkeeper kb search`: which entries of a base answer a query, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.knowledge.keeping import bar
from innkeeper.cli.knowledge.named_bases import is_only_file
from innkeeper.cli.knowledge.opened_bases import open_bases
from innkeeper.cli.output import json_bytes, write_error, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.model.base import Base
    from innkeeper.knowledge.model.entry import Entry
    from innkeeper.knowledge.retrieval.interface import Answer, Filters, Hit, Mode
    from innkeeper.knowledge.retrieval.retriever import Retriever
    from innkeeper.plugins.home import Home

_MODES = ("hybrid", "keyword", "semantic")


@click.command()
@click.argument("base")
@click.argument("query")
@click.option("--mode", type=click.Choice(_MODES), default="hybrid", show_default=True, help="By what.")
@click.option("-k", "--k", type=click.IntRange(1, 200), default=10, show_default=True, help="How many at most.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only entries with this tag; may be repeated.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only entries of this type; may be repeated.")
@click.option("--source", "sources", multiple=True, metavar="SOURCE", help="Only entries of this source.")
@click.option("--scope", multiple=True, metavar="TAG", help="Only entries with one of these tags.")
@click.option("--disabled", is_flag=True, help="Entries that are not enabled, too.")
@json_option
@pass_settings
def search(settings: Settings, /, base: str, query: str, mode: str, k: int, disabled: bool, **filters: Any) -> None:
    """Search BASE for entries that answer QUERY, by words and by meaning.

    BASE is a knowledge base by id, name or path; one that is no base of the home is searched by words alone. Each entry
    is shown with what it shares with the query: the terms and where they are, the likeness of meaning, and how far both
    are above the base's mean, in standard deviations.
    """
    import trio

    from innkeeper.knowledge.retrieval.interface import Filters, Mode
    from innkeeper.plugins.home import open_home

    try:
        wanted = Filters(enabled=None if disabled else True, **filters)
    except ValueError as error:
        raise UsageError(str(error)) from None
    home = open_home(settings.home)
    work = _search_file if is_only_file(home, base) else _search_kept
    arguments = (home, base, query, Mode(mode), k, wanted, not settings.json)
    answer, items, kb_id = trio.run(work, *arguments, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        head = {"base": kb_id, "mode": answer.mode.value, "notes": list(answer.notes)}
        write_out(json_bytes({**head, "hits": [_object(hit, items[hit.id]) for hit in answer.hits]}, indent=2))
        return
    for note in answer.notes:
        write_error(f"innkeeper: {note}")
    if not answer.hits:
        write_line("nothing was found")
        return
    table = [
        (f"{hit.score:.2f}", items[hit.id].name, *_why(hit), _beginning(items[hit.id].text)) for hit in answer.hits
    ]
    write_table(("score", "entry", "words", "meaning", "content"), table)


_Found = tuple["Answer", "dict[str, Entry]", str]


async def _search_file(home: Home, text: str, query: str, mode: Mode, k: int, filters: Filters, shown: bool) -> _Found:
    import trio

    from innkeeper.knowledge.files.reading import read_base
    from innkeeper.knowledge.retrieval.searching import Searching

    with bar(f"reading {text}", shown) as progress:
        read = await trio.to_thread.run_sync(lambda: read_base(text, strict=False, progress=progress))
        retriever = await trio.to_thread.run_sync(_retriever, read.base)
    answer = await Searching(retriever, None, trio.CapacityLimiter(1)).search(query, k, filters=filters, mode=mode)
    return answer, {item.entry.id: item.entry for item in read.base.items}, read.base.info.kb_id


async def _search_kept(home: Home, text: str, query: str, mode: Mode, k: int, filters: Filters, shown: bool) -> _Found:
    import trio

    from innkeeper.knowledge.retrieval.searching import Searching

    # The answer says what is to be said.
    async with open_bases(home, [text], notes=False) as (knowledge, (place,)):
        with bar(f"reading {text}", shown):
            retriever = (await knowledge.bases.search(place)).retriever
        embedder, trouble = await knowledge.bases.embedder(place)
        searching = Searching(retriever, embedder, trio.CapacityLimiter(1), trouble=trouble)
        answer = await searching.search(query, k, filters=filters, mode=mode)
        live = await knowledge.bases.base(place)
        items = {hit.id: item.entry for hit in answer.hits if (item := live.item(hit.id)) is not None}
        hits = [hit for hit in answer.hits if hit.id in items]
        notes = [*knowledge.bases.library.notes(place), *answer.notes]
        return replace(answer, hits=hits, notes=notes), items, place.base


def _retriever(base: Base) -> Retriever:
    from innkeeper.knowledge.retrieval.interface import indexed
    from innkeeper.knowledge.retrieval.retriever import Retriever
    from innkeeper.knowledge.text.blob import entry_terms

    return Retriever.build([indexed(item.entry, entry_terms(item.entry)) for item in base.items])


def _why(hit: Hit) -> tuple[str, str]:
    words = ", ".join(f"{match.term} ({'+'.join(match.fields)})" for match in hit.matches[:4])
    if hit.z_keyword is not None and hit.matches:
        words += f" z {hit.z_keyword:+.1f}"
    meaning = "" if hit.cosine is None else f"{hit.cosine:.2f} z {hit.z_semantic or 0:+.1f}"
    return words or "-", meaning or "-"


def _beginning(text: str) -> str:
    text = " ".join(text[:200].split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _object(hit: Hit, entry: Entry) -> dict[str, Any]:
    return {
        "id": hit.id,
        "name": entry.displayName,
        "content": entry.text,
        "score": hit.score,
        "matches": [{"term": match.term, "fields": list(match.fields)} for match in hit.matches],
        "bm25": hit.bm25,
        "cosine": hit.cosine,
        "z_keyword": hit.z_keyword,
        "z_semantic": hit.z_semantic,
    }
