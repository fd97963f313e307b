"""What the store knows of the file that a base is bound to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from innkeeper.knowledge.store import reading
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.writing import where_of
from innkeeper.storage.knowledge_model import Place

_MOST_NOTES = 50
_MOST_NOTE = 400


async def bind(store: KnowledgeStore, place: Place, file: str, *, read_only: bool = False) -> None:
    """Binds a base to a file, or to none; the file is what counts when both differ, until both were once in step.

    Args:
        file: absolute path, or "".
        read_only: whether nothing changes the base: a newer version wrote the file.
    """
    if file and not os.path.isabs(file):
        raise ValueError("a base is bound to the whole path of its file")
    values = {"file": file, "digest": "", "synced": 0, "note": "", "refused": "", "read_only": read_only}
    await _update(store, place, values)


async def written(store: KnowledgeStore, place: Place, digest: str, revision: int) -> None:
    """Says that the file has this digest and is the base at this revision."""
    where = where_of(place)

    def write(connection: Connection) -> None:
        state = reading.read_state(connection, place, where)
        # Of two that say so at the same time the newer is right.
        if revision >= state.synced:
            connection.execute(sql.UPDATE_BASE, {**where, "digest": digest, "synced": revision})

    await store.db.write(write)


async def refuse(store: KnowledgeStore, place: Place, digest: str, notes: Sequence[str]) -> None:
    """Says that the file with this digest cannot be read, and why; the base stays as it is."""
    await _update(store, place, {"note": _notes(notes), "refused": digest})


async def remark(store: KnowledgeStore, place: Place, notes: Sequence[str]) -> None:
    """Says what somebody should know of how file and base were brought in step; replaces what was said before."""
    await _update(store, place, {"note": _notes(notes)})


async def mark_read_only(store: KnowledgeStore, place: Place, read_only: bool) -> None:
    """Says whether nothing but its file changes a base."""
    await _update(store, place, {"read_only": read_only})


async def info_since(store: KnowledgeStore, place: Place, revision: int) -> Mapping[str, Any] | None:
    """What the base said of itself at a revision; None where that did not change since."""
    where = where_of(place)

    def read(connection: Connection) -> Mapping[str, Any] | None:
        text = connection.scalar(sql.FIRST_INFO_SINCE, {**where, "since": revision})
        found: Mapping[str, Any] | None = None if text is None else json.loads(text)
        return found

    return await store.db.read(read)


async def _update(store: KnowledgeStore, place: Place, values: dict[str, Any]) -> None:
    where = where_of(place)

    def write(connection: Connection) -> None:
        reading.read_state(connection, place, where)
        connection.execute(sql.UPDATE_BASE, {**where, **values})

    await store.db.write(write)


def _notes(notes: Sequence[str]) -> str:
    kept = [note[:_MOST_NOTE] for note in notes[:_MOST_NOTES]]
    if len(notes) > _MOST_NOTES:
        kept.append(f"and {len(notes) - _MOST_NOTES} more")
    return json.dumps(kept, ensure_ascii=False) if kept else ""
