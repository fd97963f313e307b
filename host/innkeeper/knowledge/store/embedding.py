"""Vectors of entries: kept by model and by the digest of their texts, so that none is ever another text's.

A vector that nobody's entry has any more stays for a while: whoever takes a change back has it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio
from sqlalchemy import Connection

from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.store import reading
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.legs import check_vector, text_digest
from innkeeper.knowledge.store.limits import AT_ONCE
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.values import EDIT, Applied, Origin, Stored, Vector
from innkeeper.knowledge.store.writing import put_vectors, where_of
from innkeeper.storage.knowledge_model import Place


@dataclass(frozen=True, slots=True)
class Missing:
    """A text that has no vector yet.

    Attributes:
        id: of the entry.
        digest: under which the vector is kept.
        text: what the model is given.
    """

    id: str
    digest: str
    text: str


async def missing(
    store: KnowledgeStore, place: Place, model: str, *, after: str = "", most: int = 500
) -> list[Missing]:
    """Entries that have no vector of a model, in the order of their ids.

    Args:
        model: `ModelIdentity.key`.
        after: the last id of the page before, or "".
        most: how many at most.
    """
    where = where_of(place)

    def read(connection: Connection) -> list[Missing]:
        reading.read_state(connection, place, where, whole=True)
        asked = {**where, "its_model": model, "after": after, "most": most}
        found = []
        for row in connection.execute(sql.WITHOUT_VECTOR, asked):
            entry, _ = read_entry(json.loads(row.document))
            text = "" if entry is None else store.legs.text(entry)
            # One of an older make of terms is made again first, and then asked for.
            if entry is not None and text_digest(text) == row.digest:
                found.append(Missing(row.id, row.digest, text))
        return found

    return await store.whole(place, read)


async def keep(store: KnowledgeStore, place: Place, vectors: Mapping[str, Vector]) -> int:
    """Keeps vectors of texts that the base has; gives how many are new (int). Nobody's entry changes by it.

    Args:
        vectors: by the digest of their texts.

    Raises:
        ValueError: a vector is none.
    """
    where = where_of(place)
    items = list(vectors.items())

    def check() -> None:
        for _, vector in items:
            check_vector(vector)

    await trio.to_thread.run_sync(check)
    count = 0
    for at in range(0, len(items), AT_ONCE):

        def write(connection: Connection, some: Sequence[tuple[str, Vector]] = items[at : at + AT_ONCE]) -> int:
            reading.read_state(connection, place, where)
            digests = [digest for digest, _ in some]
            there = set(connection.scalars(sql.DIGESTS_THERE, {**where, "digests": digests}))
            wanted = {digest: vector for digest, vector in some if digest in there}
            return put_vectors(connection, place, where, wanted, store.now())

        count += await store.db.write(write)
    return count


async def finished(store: KnowledgeStore, place: Place) -> None:
    """Says that vectors were made: whoever has the base open takes them up."""
    where = where_of(place)

    def write(connection: Connection) -> None:
        state = reading.read_state(connection, place, where)
        connection.execute(sql.UPDATE_BASE, {**where, "embedded": state.embedded + 1})

    await store.db.write(write)


async def use_model(store: KnowledgeStore, place: Place, model: str, *, reason: str = EDIT) -> Applied:
    """Makes a model the base's own: one step, which changes what the base says of itself. Until then, whatever was
    kept of the model's vectors, the base goes on with those that it has."""
    info = dict((await store.state(place)).info)
    if model:
        info["embedding_model_id"] = model
    else:
        info.pop("embedding_model_id", None)
    return await store.change(place, (), Origin(reason), info=info)


async def adopt_model(store: KnowledgeStore, place: Place, model: str) -> None:
    """Makes a model the one that the base is searched with, though the base says none, or says it by another name:
    what the base says of itself stays as it is.

    Args:
        model: `ModelIdentity.key`.
    """
    where = where_of(place)

    def write(connection: Connection) -> None:
        state = reading.read_state(connection, place, where)
        connection.execute(sql.UPDATE_BASE, {**where, "model": model, "embedded": state.embedded + 1})

    await store.db.write(write)


async def vectors_of(store: KnowledgeStore, place: Place, model: str) -> dict[str, bytes]:
    """The vectors of all entries under a model, by the entries' ids: half-precision floats. For export."""
    where = where_of(place)

    def read(connection: Connection) -> dict[str, bytes]:
        reading.read_state(connection, place, where, whole=True)
        found: dict[str, bytes] = {}
        entry: Stored
        for entry in reading.stream(connection, where, model=model, full=True):
            if entry.vector is not None:
                found[entry.id] = entry.vector
        return found

    return await store.whole(place, read)
