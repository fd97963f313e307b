"""Changes a base inside of one transaction: documents, terms, vectors, history and counts together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from innkeeper.knowledge.model.base import SCHEMA_VERSION
from innkeeper.knowledge.model.entry import AGENT
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.legs import Prepared, dump
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.store.settling import Tally, model_of
from innkeeper.knowledge.store.values import Vector
from innkeeper.storage.knowledge_model import PROJECT, FullError, NoSuchError, Place, VersionError
from innkeeper.storage.knowledge_schema import kb_bases
from innkeeper.storage.names import check_name
from innkeeper.storage.statements import insert_if_missing

_ROW: Final = 160
"""Bytes that a row of history counts beside its document."""


class FoldingError(Exception):
    """A batch is being put in place: whoever wants to change the base finishes that first. `batch` (str) names it."""

    def __init__(self, batch: str) -> None:
        super().__init__(batch)
        self.batch = batch


class ReadOnlyError(ValueError):
    """The base takes no changes. The message is a sentence."""


def where_of(place: Place) -> dict[str, Any]:
    """The parameters that name a base.

    Raises:
        ValueError: a name is none.
    """
    check_name(place.owner, "owner")
    check_name(place.base, "base")
    return {"its_owner": place.owner, "its_base": place.base}


def base_to_change(
    connection: Connection,
    place: Place,
    where: dict[str, Any],
    quota: StoreQuota,
    now: float,
    *,
    create: str | None,
    file: bool = False,
) -> Any:
    """The row of a base, locked for this transaction.

    Args:
        create: `Legs.key`, where a base that is missing is made; None where it is not.
        file: whether what changes it is its own file, which may change a base that is read-only otherwise.

    Raises:
        NoSuchError, FullError, FoldingError, ReadOnlyError: as their names say.
    """
    row = connection.execute(sql.BASE_TO_CHANGE, where).first()
    if row is None:
        if create is None:
            raise NoSuchError(f"there is no knowledge base {place.base!r}")
        info = {"kb_id": place.base, "schema_version": SCHEMA_VERSION}
        make_base(connection, place, where, quota, now, info, create)
        row = connection.execute(sql.BASE_TO_CHANGE, where).one()
    if row.folding:
        raise FoldingError(row.folding)
    if row.read_only and not file:
        raise ReadOnlyError(
            f"the knowledge base {place.base!r} is read-only: a newer version wrote its file; export a copy and change "
            "that, or use the newer version"
        )
    return row


def make_base(
    connection: Connection,
    place: Place,
    where: dict[str, Any],
    quota: StoreQuota,
    now: float,
    info: Mapping[str, Any],
    legs: str,
) -> None:
    """Makes an empty base; leaves alone one that is there.

    Raises:
        FullError: there are too many.
    """
    # Whoever makes projects takes no place of what their owner keeps.
    of_project = place.base.startswith(PROJECT)
    count, most = (sql.COUNT_PROJECT_BASES, quota.project_bases) if of_project else (sql.COUNT_BASES, quota.bases)
    if connection.execute(count, where).scalar_one() >= most:
        raise FullError("bases", most)
    counts = ("revision", "entries", "bytes", "agent_entries", "agent_bytes", "history_rows", "history_bytes")
    values: dict[str, Any] = dict.fromkeys((*counts, "forgotten", "synced", "embedded"), 0)
    values |= dict.fromkeys(("folding", "file", "digest", "note", "refused"), "")
    values |= {"owner": place.owner, "base": place.base, "info": dump(info), "model": model_of(info), "legs": legs}
    values |= {"last": 0.0, "read_only": False, "approval": False, "created": now, "updated": now}
    insert_if_missing(connection, kb_bases, values)


def put_rows(
    connection: Connection,
    place: Place,
    where: dict[str, Any],
    rows: Sequence[Prepared],
    tally: Tally,
    *,
    revision: int,
    now: float,
    author: str,
    created: float | None = None,
) -> None:
    """Changes entries, and remembers what they were.

    Args:
        rows: `limits.AT_ONCE` at most; each id once.
        tally: counts what is done.
        revision: that the step leads to.
        now: seconds since 1970.
        author: id of the plugin, or "".
        created: when new entries were made, in place of `now`.

    Raises:
        VersionError: an entry has another version than was expected.
        NoSuchError: an entry that is to be deleted is not there.
    """
    names = {"owner": place.owner, "base": place.base}
    found = connection.execute(sql.THERE, {**where, "ids": [row.id for row in rows]}).all()
    there: dict[str, Any] = {row.id: row for row in found}
    inserted, updated, deleted, remembered = [], [], [], []
    for row in rows:
        old = there.get(row.id)
        if row.expect is not None and row.expect != (0 if old is None else old.version):
            raise VersionError(0 if old is None else old.version)
        if old is None and row.document is None:
            raise NoSuchError(f"the knowledge base {place.base!r} has no such entry")
        kind = "create" if old is None else "delete" if row.document is None else "change"
        before = None if old is None else old.document
        size = _ROW + len(row.id) + (0 if before is None else len(before.encode()))
        remembered.append(
            {**names, "revision": revision, "entry": row.id, "kind": kind, "at": now, "author": author, "size": size}
            | {"position": 0.0 if old is None else old.position, "before": before}
        )
        tally.history_rows += 1
        tally.history_bytes += size
        if old is not None:
            tally.bytes -= old.size
            if old.source == AGENT:
                tally.agent_entries -= 1
                tally.agent_bytes -= old.size
        if row.document is None:
            tally.deleted += 1
            deleted.append({**where, "its_id": row.id})
            continue
        position = row.position
        if position is None:
            position = tally.last + 1.0 if old is None else old.position
        tally.last = max(tally.last, position)
        tally.bytes += row.size
        if row.source == AGENT:
            tally.agent_entries += 1
            tally.agent_bytes += row.size
        values = {"position": position, "version": revision, "enabled": row.enabled, "source": row.source}
        values |= {"tags": row.tags, "author": author, "updated": now, "digest": row.digest, "size": row.size}
        values |= {"document": row.document, "terms": row.terms}
        if old is None:
            tally.created += 1
            inserted.append({**names, "id": row.id, "created": now if created is None else created, **values})
        else:
            tally.changed += 1
            updated.append({**where, "its_id": row.id, **values})
    for statement, each in (
        (sql.DELETE, deleted),
        (sql.UPDATE, updated),
        (sql.INSERT, inserted),
        (sql.INSERT_HISTORY, remembered),
    ):
        if each:
            connection.execute(statement, each)
    put_vectors(connection, place, where, {row.digest: row.vector for row in rows if row.vector is not None}, now)


def put_vectors(
    connection: Connection, place: Place, where: dict[str, Any], made: Mapping[str, Vector], now: float
) -> int:
    """Keeps vectors by the digest of their texts; those that are there stay. Gives how many are new (int)."""
    models: dict[str, list[str]] = {}
    for digest, vector in made.items():
        models.setdefault(vector.model, []).append(digest)
    count = 0
    for model, digests in models.items():
        asked = {**where, "its_model": model, "digests": digests}
        there = set(connection.scalars(sql.VECTORS_THERE, asked))
        new = [digest for digest in digests if digest not in there]
        if new:
            row = {"owner": place.owner, "base": place.base, "model": model, "at": now}
            connection.execute(
                sql.INSERT_VECTORS,
                [
                    {**row, "digest": digest, "dimension": made[digest].dimension, "vector": made[digest].data}
                    | {"size": _ROW + len(made[digest].data)}
                    for digest in new
                ],
            )
            count += len(new)
    return count
