"""The whole base that an argument BASE names: as the store of the home has it, or as it lies behind a path."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.cli.knowledge.keeping import bar
from innkeeper.cli.knowledge.opened_bases import open_bases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innkeeper.cli.settings import Settings
    from innkeeper.knowledge.files.decoding import Progress
    from innkeeper.knowledge.files.vectors import VectorSet
    from innkeeper.knowledge.joined.opening import Knowledge
    from innkeeper.knowledge.model.base import Base
    from innkeeper.knowledge.model.problems import Problem
    from innkeeper.knowledge.store.values import Overlaid
    from innkeeper.plugins.home import Home
    from innkeeper.storage.knowledge_model import Place


@dataclass(slots=True)
class Named:
    """A base that somebody named.

    Attributes:
        base: it.
        problems: what was left out of it.
        folder: below which its media lie, or None.
        vectors: of its model, where they were wanted.
        schema_version: of its file.
        read_only: whether a newer version wrote it.
        kept: whether it is a base of the home.
        changed: what a session says in its place, where one was wanted.
    """

    base: Base
    problems: list[Problem] = field(default_factory=list)
    folder: Path | None = None
    vectors: list[VectorSet] = field(default_factory=list)
    schema_version: str = ""
    read_only: bool = False
    kept: bool = False
    changed: list[Overlaid] = field(default_factory=list)


def read_named(settings: Settings, text: str, *, vectors: bool = False, session: str = "") -> Named:
    """The base that an argument means.

    Args:
        settings: of the command.
        text: id, alias, path or name.
        vectors: whether its vectors are wanted.
        session: whose changes are wanted, too, or "".

    Raises:
        KnowledgeError, UsageError: it is none, cannot be read, or is no base of the home, which alone has sessions.
    """
    import trio

    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)

    async def main() -> Named:
        with bar(f"reading {text}", not settings.json) as progress:
            return await named(home, text, vectors=vectors, session=session, progress=progress)

    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)


async def named(
    home: Home, text: str, *, vectors: bool = False, session: str = "", progress: Progress | None = None
) -> Named:
    """As `read_named`, where a loop runs already."""
    import trio

    from innkeeper.errors import UsageError

    if await trio.to_thread.run_sync(is_only_file, home, text):
        if session:
            raise UsageError(f"--session: {os.path.basename(text)} is only a file: bases of the home have sessions")
        return await trio.to_thread.run_sync(_of_path, text, vectors, progress)
    async with open_bases(home, [text]) as (knowledge, (place,)):
        return await stored(knowledge, place, vectors=vectors, session=session)


def is_only_file(home: Home, text: str) -> bool:
    """Whether a text names a file or folder that is no base of a home (bool). Blocks."""
    from innkeeper.knowledge.files.registry import Registry
    from innkeeper.knowledge.model.problems import KnowledgeError

    if not os.path.lexists(text):
        return False
    try:
        Registry(home.path, home.doubt).find(text)
    except KnowledgeError:
        return True
    return False


async def stored(knowledge: Knowledge, place: Place, *, vectors: bool = False, session: str = "") -> Named:
    """A base as the store has it, in the order of its file.

    Args:
        knowledge: of the home.
        place: of the base.
        vectors: whether its vectors are wanted.
        session: whose changes are wanted, too, or "".

    Raises:
        UsageError: the session's name is none.
    """
    import trio

    from innkeeper.errors import UsageError
    from innkeeper.knowledge.files.names import NAMES
    from innkeeper.knowledge.joined.keeper import vectors_of_base
    from innkeeper.knowledge.live.base import LiveBase
    from innkeeper.knowledge.model.base import Base, BaseInfo, Item
    from innkeeper.knowledge.model.problems import KnowledgeError, Problem

    live: LiveBase = await knowledge.bases.base(place)

    def read() -> tuple[Base, list[Problem]]:
        items, problems = [], []
        for id in live.order():
            kept = live.get(id)
            assert kept is not None
            try:
                items.append(Item(kept.plain(), kept.entry()))
            except KnowledgeError as error:
                problems += [Problem(each.where, each.message, id) for each in error.problems]
        document = {"kb_id": place.base, **live.state.info}
        return Base(document, BaseInfo.model_validate(document), items), problems

    base, problems = await trio.to_thread.run_sync(read)
    file = Path(live.state.file) if live.state.file else None
    found = Named(base, problems, kept=True, schema_version=base.info.schema_version, read_only=live.state.read_only)
    found.folder = file.parent if file is not None and file.name in NAMES else None
    if vectors:
        found.vectors = await vectors_of_base(knowledge.bases, place)
    if session:
        try:
            found.changed = await knowledge.bases.library.sessions.overlay(place, session)
        except ValueError as error:
            raise UsageError(f"--session: {error}") from None
    return found


def laid_over(base: Base, changed: Sequence[Overlaid]) -> Base:
    """A base as a session sees it: entries that it changed in their places, those that it made at the end."""
    from innkeeper.knowledge.model.base import Item
    from innkeeper.knowledge.model.entry import read_entry

    said = {each.entry: each for each in changed}
    items = []
    for item in base.items:
        if item.entry.id not in said:
            items.append(item)
            continue
        mine = said.pop(item.entry.id)
        entry = None if mine.document is None else read_entry(mine.document)[0]
        if mine.document is not None and entry is not None:
            items.append(Item(dict(mine.document), entry))
    for each in said.values():
        entry = None if each.document is None else read_entry(each.document)[0]
        if each.document is not None and entry is not None:
            items.append(Item(dict(each.document), entry))
    return replace(base, items=items)


def _of_path(text: str, vectors: bool, progress: Progress | None) -> Named:
    from innkeeper.knowledge.files.keeper import read_vectors
    from innkeeper.knowledge.files.reading import read_base

    read = read_base(text, strict=False, progress=progress)
    found = Named(read.base, read.problems, read.source.folder)
    found.schema_version, found.read_only = read.source.schema_version, read.source.read_only
    if vectors and read.source.kind == "folder":
        found.vectors = read_vectors(read.source.path, {item.entry.id for item in read.base.items})
    return found
