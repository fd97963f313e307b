"""Changes a base inside of one transaction: documents, terms, vectors, history and counts together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from innkeeper.knowledge.model.base import SCHEMA_VERSION
from innkeeper.knowledge.model.entry import AGENT
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.legs import Prepared, dump
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.store.values import Applied, Origin, Vector
from innkeeper.storage.knowledge_model import FullError, NoSuchError, Place, VersionError
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


@dataclass(slots=True)
class Tally:
    """What a transaction changed.

    Attributes:
        created, changed, deleted: entries.
        bytes, agent_entries, agent_bytes, history_rows, history_bytes: how many more of each.
        last: the largest position.
    """

    last: float
    created: int = 0
    changed: int = 0
    deleted: int = 0
    bytes: int = 0
    agent_entries: int = 0
    agent_bytes: int = 0
    history_rows: int = 0
    history_bytes: int = 0

    def applied(self, revision: int) -> Applied:
        """As the caller is told."""
        return Applied(revision, self.created, self.changed, self.deleted)


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
    if connection.execute(sql.COUNT_BASES, where).scalar_one() >= quota.bases:
        raise FullError("bases", quota.bases)
    counts = ("revision", "entries", "bytes", "agent_entries", "agent_bytes", "history_rows", "history_bytes")
    values: dict[str, Any] = dict.fromkeys((*counts, "forgotten", "synced", "embedded"), 0)
    values |= dict.fromkeys(("folding", "file", "digest", "note", "refused"), "")
    values |= {"owner": place.owner, "base": place.base, "info": dump(info), "model": model_of(info), "legs": legs}
    values |= {"last": 0.0, "read_only": False, "approval": False, "created": now, "updated": now}
    insert_if_missing(connection, kb_bases, values)


def model_of(info: Mapping[str, Any]) -> str:
    """The model that a base says that its vectors are of, or ""."""
    model = info.get("embedding_model_id")
    return model if isinstance(model, str) else ""


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
        (sql.DELETE, deleted), (sql.UPDATE, updated), (sql.INSERT, inserted), (sql.INSERT_HISTORY, remembered),
    ):  # fmt: skip
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


def check_quota(base: Any, tally: Tally, quota: StoreQuota, author: str) -> None:
    """Makes sure that a base has room for what was changed.

    Raises:
        FullError: it has not; the transaction is to be undone.
    """
    entries = base.entries + tally.created - tally.deleted
    # What makes something smaller is always taken.
    if entries > quota.entries and tally.created > tally.deleted:
        raise FullError("entries", quota.entries)
    if base.bytes + tally.bytes > quota.bytes and tally.bytes > 0:
        raise FullError("bytes", quota.bytes)
    if author:
        if base.agent_entries + tally.agent_entries > quota.agent_entries and tally.agent_entries > 0:
            raise FullError("entries", quota.agent_entries)
        if base.agent_bytes + tally.agent_bytes > quota.agent_bytes and tally.agent_bytes > 0:
            raise FullError("bytes", quota.agent_bytes)


def settle(
    connection: Connection,
    where: dict[str, Any],
    base: Any,
    tally: Tally,
    quota: StoreQuota,
    values: Mapping[str, Any],
    *,
    now: float,
) -> None:
    """Counts what was changed, and forgets the oldest history where there is too much of it: no more rows than twice
    what was changed, and some."""
    entries, size = base.entries + tally.created - tally.deleted, base.bytes + tally.bytes
    rows, kept = base.history_rows + tally.history_rows, base.history_bytes + tally.history_bytes
    forgotten = base.forgotten
    room = max(quota.history_bytes, 2 * size)
    if rows > quota.history_rows or kept > room:
        last = None
        for row in connection.execute(sql.OLDEST, {**where, "most": 2 * tally.history_rows + 16}):
            if rows <= quota.history_rows and kept <= room:
                break
            rows, kept, last = rows - 1, kept - row.size, row
        if last is not None:
            connection.execute(sql.FORGET, {**where, "its_number": last.number})
            connection.execute(sql.FORGET_STEPS, {**where, "its_revision": last.revision})
            forgotten = last.revision
    counts = {"entries": entries, "bytes": size, "history_rows": rows, "history_bytes": kept, "forgotten": forgotten}
    counts |= {"agent_entries": base.agent_entries + tally.agent_entries, "last": tally.last, "updated": now}
    counts["agent_bytes"] = base.agent_bytes + tally.agent_bytes
    connection.execute(sql.UPDATE_BASE, {**where, **counts, **values})


def add_step(
    connection: Connection,
    place: Place,
    revision: int,
    now: float,
    origin: Origin,
    changes: int,
    info_before: str | None,
) -> None:
    """Remembers that a step was taken."""
    values = {"owner": place.owner, "base": place.base, "revision": revision, "at": now, "changes": changes}
    values |= {"reason": origin.reason, "author": origin.author, "info_before": info_before}
    connection.execute(sql.INSERT_STEP, values)


def info_values(base: Any, info: Mapping[str, Any] | str | None) -> tuple[dict[str, Any], str | None]:
    """What a new account of itself changes in a base's row, and what it said before; nothing where it is the same."""
    if info is None:
        return {}, None
    text = info if isinstance(info, str) else dump(info)
    if text == base.info:
        return {}, None
    said = model_of(json.loads(text))
    # Where neither names a model, the one stays that somebody else chose (`embedding.adopt_model`).
    return {"info": text, "model": said if said or model_of(json.loads(base.info)) else base.model}, base.info


def legs_after(base: Any, key: str) -> str:
    """What a base says of the make of its terms after somebody wrote terms of the make `key` to it (str)."""
    if base.legs in (key, f"making {key}"):
        return str(base.legs)
    return key if base.entries == 0 else ""
