"""Do text, keywords, full text, vectors and counts of a base agree? And making terms again where they are of an older
make."""

from __future__ import annotations

import json
import math
import struct
from functools import partial
from typing import Any, Final

import trio
from sqlalchemy import Connection, func, select

from innkeeper.knowledge.model.entry import AGENT, read_entry
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.store import reading
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.legs import dump, made_of
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.values import Report, Stored
from innkeeper.knowledge.store.writing import where_of
from innkeeper.storage.knowledge_model import Place
from innkeeper.storage.knowledge_schema import kb_entries, kb_history, kb_vectors

_MOST_SAID: Final = 20
_SOME: Final = 100


async def verify(store: KnowledgeStore, place: Place) -> Report:
    """Compares all that is kept of a base with its documents, in one state; reads everything, changes nothing.

    Raises:
        NoSuchError: there is no such base.
    """
    where = where_of(place)
    return await store.whole(place, lambda connection: _verify(store, connection, place, where))


def _verify(store: KnowledgeStore, connection: Connection, place: Place, where: dict[str, Any]) -> Report:
    state = reading.read_state(connection, place, where, whole=True)
    if state.legs != store.legs.key:
        return Report(state.entries, 0, ["full text is of another make: it is made again when the base is opened"])
    problems: list[str] = []
    entries = embedded = agents = 0
    for stored in reading.stream(connection, where, model=state.model, full=True):
        entries += 1
        agents += stored.source == AGENT
        embedded += stored.vector is not None
        problem = _problem(store, stored, state.revision)
        if problem and len(problems) < _MOST_SAID:
            problems.append(f"entry {stored.id!r}: {problem}")
    dimensions = _dimensions(connection, place, state.model)
    if len(dimensions) > 1:
        problems.append(f"vectors of the model {state.model!r} have {len(dimensions)} dimensions")
    size = _sum(connection, kb_entries, place)
    rows, kept = _count(connection, kb_history, place), _sum(connection, kb_history, place)
    row = connection.execute(sql.BASE, where).one()
    for what, counted, there in (
        ("entries", row.entries, entries),
        ("bytes", row.bytes, size),
        ("entries of plugins", row.agent_entries, agents),
        ("rows of history", row.history_rows, rows),
        ("bytes of history", row.history_bytes, kept),
    ):
        if counted != there:
            problems.append(f"{counted:,} {what} are counted, and {there:,} are there")
    return Report(entries, embedded, problems)


def _problem(store: KnowledgeStore, stored: Stored, revision: int) -> str:
    entry, wrong = read_entry(json.loads(stored.document))
    if entry is None:
        return str(wrong[0])
    if entry.id != stored.id:
        return f"its document calls it {entry.id[:100]!r}"
    if stored.version > revision:
        return f"its version {stored.version} is newer than the base's"
    management = entry.management_metadata
    if (management.is_enabled, management.source) != (stored.enabled, stored.source):
        return "what filters ask for is not what its document says"
    terms, digest = made_of(entry, store.legs)
    if terms != stored.terms:
        return "its full text is not that of its document"
    if digest != stored.digest:
        return "its vector is that of another text"
    if stored.vector is not None and len(stored.vector) % 2:
        return "its vector is cut"
    if stored.vector is not None and not all(map(math.isfinite, _numbers(stored.vector))):
        return "its vector has a number that is not finite"
    return ""


def _numbers(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 2}e", vector)


def _dimensions(connection: Connection, place: Place, model: str) -> set[int]:
    own = (kb_vectors.c.owner == place.owner, kb_vectors.c.base == place.base, kb_vectors.c.model == model)
    wrong = connection.scalars(select(kb_vectors.c.dimension).where(*own).distinct().limit(3))
    return set(wrong)


def _sum(connection: Connection, table: Any, place: Place) -> int:
    own = (table.c.owner == place.owner, table.c.base == place.base)
    return int(connection.scalar(select(func.coalesce(func.sum(table.c.size), 0)).where(*own)) or 0)


def _count(connection: Connection, table: Any, place: Place) -> int:
    own = (table.c.owner == place.owner, table.c.base == place.base)
    return int(connection.scalar(select(func.count()).select_from(table).where(*own)) or 0)


async def remake(store: KnowledgeStore, place: Place) -> int:
    """Makes terms and digests of a base again if they are of another make than `store.legs`; gives how many entries
    were looked at (int). In bounded transactions; killed between them, whoever opens the base next goes on.

    Entries stay as they are, and so do their versions.
    """
    where = where_of(place)
    key = store.legs.key
    state = await store.state(place)
    if state.legs == key:
        return 0
    after, count = "", 0
    # Whoever writes terms of yet another make meanwhile replaces this word, and then not all are of one make.
    under_way = f"making {key}"
    await store.db.write(lambda connection: connection.execute(sql.UPDATE_BASE, {**where, "legs": under_way}))

    def read(after: str, connection: Connection) -> list[Any]:
        reading.read_state(connection, place, where, whole=True)
        return list(connection.execute(sql.SOME_OLD, {**where, "after": after, "most": _SOME}).all())

    def make(rows: list[Any]) -> list[dict[str, Any]]:
        made = []
        for row in rows:
            entry, problems = read_entry(json.loads(row.document))
            if entry is None:
                raise KnowledgeError(problems, source=place.base)
            terms, digest = made_of(entry, store.legs)
            size = len(row.document.encode()) + len(terms)
            tags = dump(entry.management_metadata.tags)
            made.append(
                {**where, "its_id": row.id, "its_version": row.version, "terms": terms, "digest": digest}
                | {"size": size, "tags": tags, "more": size - row.size, "agent": row.source == AGENT}
            )
        return made

    while True:
        rows = await store.whole(place, partial(read, after))
        if not rows:
            break
        made = await trio.to_thread.run_sync(make, rows)

        def write(connection: Connection, made: list[dict[str, Any]] = made) -> None:
            base = connection.execute(sql.BASE_TO_CHANGE, where).one()
            more = agents = 0
            for each in made:
                size, agent = each["more"], each["agent"]
                values = {name: value for name, value in each.items() if name not in ("more", "agent")}
                # One that somebody changed meanwhile is made already.
                if connection.execute(sql.REMAKE, values).rowcount == 1:
                    more += size
                    agents += size if agent else 0
            counts = {"bytes": base.bytes + more, "agent_bytes": base.agent_bytes + agents}
            connection.execute(sql.UPDATE_BASE, {**where, **counts})

        await store.db.write(write)
        count += len(rows)
        after = rows[-1].id

    def done(connection: Connection) -> None:
        if connection.execute(sql.BASE_TO_CHANGE, where).one().legs == under_way:
            connection.execute(sql.UPDATE_BASE, {**where, "legs": key})

    await store.db.write(done)
    return count
