"""Large steps: staged in bounded transactions that nobody sees, then put in place, whoever is left to do so.

A step that is too large for one transaction goes through three states. Staged rows are nobody's entries: if the process
dies, they are cleaned up. One transaction then says that the batch is valid (`folding`), and from then on it happens,
whatever dies: entries are moved in bounded transactions, and whoever wants to read or change the base from the database
moves the rest first. The last one moves the base's revision. So nobody ever sees a part of it, and no transaction is
long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from innkeeper.errors import BusyError
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.legs import Prepared, dump
from innkeeper.knowledge.store.limits import AT_ONCE, BYTES_AT_ONCE, StoreQuota
from innkeeper.knowledge.store.settling import Tally, add_step, check_quota, info_values, legs_after, settle
from innkeeper.knowledge.store.values import FILE, Applied, InStep, Origin, Vector
from innkeeper.knowledge.store.writing import base_to_change, put_rows
from innkeeper.storage.knowledge_model import NoSuchError, Place, VersionError


class MovedError(Exception):
    """The base has another revision than the one at which somebody looked. `revision` (int) is what it has now."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


def begin(
    connection: Connection,
    place: Place,
    where: dict[str, Any],
    quota: StoreQuota,
    batch: str,
    now: float,
    origin: Origin,
    legs: str,
) -> int:
    """Makes room for a batch; gives the revision at which it looks at the base (int)."""
    base = base_to_change(connection, place, where, quota, now, create=legs, file=origin.reason == FILE)
    values = {"owner": place.owner, "base": place.base, "batch": batch, "touched": now, "staged": 0}
    connection.execute(sql.INSERT_BATCH, {**values, "reason": origin.reason, "author": origin.author})
    return int(base.revision)


def stage(
    connection: Connection,
    place: Place,
    where: dict[str, Any],
    batch: str,
    rows: Sequence[Prepared],
    first: int,
    now: float,
    author: str,
) -> Tally:
    """Stages rows under the numbers from `first` on; gives what they would change of the base as it is now.

    Raises:
        BusyError: the batch was cleaned up, since nobody touched it for long.
    """
    batched = {**where, "its_batch": batch}
    if connection.execute(sql.UPDATE_BATCH, {**batched, "touched": now, "staged": first + len(rows)}).rowcount != 1:
        raise _gone()
    names = {"owner": place.owner, "base": place.base, "batch": batch, "author": author}
    connection.execute(
        sql.INSERT_STAGED,
        [{**names, "number": first + number, **_staged(row)} for number, row in enumerate(rows)],
    )
    tally = Tally(0.0)
    found = connection.execute(sql.THERE, {**where, "ids": [row.id for row in rows]}).all()
    there = {row.id: row for row in found}
    for row in rows:
        old = there.get(row.id)
        if row.expect is not None and row.expect != (0 if old is None else old.version):
            raise VersionError(0 if old is None else old.version)
        if old is None and row.document is None:
            raise NoSuchError(f"the knowledge base {place.base!r} has no such entry")
        tally.created += old is None
        tally.changed += old is not None and row.document is not None
        tally.deleted += row.document is None
        tally.bytes += row.size - (0 if old is None else old.size)
    return tally


def _staged(row: Prepared) -> dict[str, Any]:
    vector = row.vector
    return {
        "id": row.id,
        "expect": row.expect,
        "position": row.position,
        "enabled": row.enabled,
        "source": row.source,
        "tags": row.tags,
        "digest": row.digest,
        "size": row.size,
        "document": row.document,
        "terms": row.terms,
        "model": None if vector is None else vector.model,
        "dimension": None if vector is None else vector.dimension,
        "vector": None if vector is None else vector.data,
    }


def switch(
    connection: Connection,
    place: Place,
    where: dict[str, Any],
    quota: StoreQuota,
    batch: str,
    *,
    seen: int,
    tally: Tally,
    author: str,
    now: float,
    info: Mapping[str, Any] | None,
    in_step: InStep | None,
    legs: str,
) -> None:
    """Makes a staged batch valid. From here on it happens.

    Args:
        seen: the revision at which the rows' expectations were looked at.
        tally: what they would change.

    Raises:
        MovedError: somebody changed the base meanwhile.
    """
    base = base_to_change(connection, place, where, quota, now, create=None, file=in_step is not None)
    batched = {**where, "its_batch": batch}
    row = connection.execute(sql.BATCH, batched).first()
    if row is None or connection.execute(sql.COUNT_STAGED, batched).scalar_one() != row.staged:
        raise _gone()
    if base.revision != seen:
        raise MovedError(base.revision)
    check_quota(base, tally, quota, author)
    values = {"info": None if info is None else dump(info), "digest": None if in_step is None else in_step.digest}
    connection.execute(sql.UPDATE_BATCH, {**batched, "touched": now, **values})
    connection.execute(sql.UPDATE_BASE, {**where, "folding": batch, "legs": legs_after(base, legs)})


def fold(
    connection: Connection, place: Place, where: dict[str, Any], quota: StoreQuota, batch: str, now: float
) -> Applied | None:
    """Puts some rows of a valid batch in place; gives what the step did when it is done, and None before.

    Whoever comes late, or twice, does no harm: what is in place is staged no more.
    """
    base = connection.execute(sql.BASE_TO_CHANGE, where).first()
    batched = {**where, "its_batch": batch}
    if base is None or base.folding != batch:
        return Applied(0 if base is None else base.revision)
    row = connection.execute(sql.BATCH, batched).first()
    if row is None:
        # Its owner is being erased, and whoever does so was interrupted.
        connection.execute(sql.UPDATE_BASE, {**where, "folding": ""})
        return Applied(base.revision)
    revision = base.revision + 1
    upto, size = None, 0
    for each in connection.execute(sql.SIZES_STAGED, {**batched, "most": AT_ONCE}).all():
        if upto is not None and size + each.size > BYTES_AT_ONCE:
            break
        upto, size = each.number, size + each.size
    tally = Tally(base.last)
    values: dict[str, Any] = {}
    if upto is None:
        values, before = info_values(base, row.info)
        add_step(connection, place, revision, now, Origin(row.reason, row.author), row.staged, before, quota.infos)
        connection.execute(sql.DELETE_BATCH, batched)
        values |= {"revision": revision, "folding": ""}
        if row.digest is not None:
            values |= {"digest": row.digest, "note": "", "refused": ""}
    else:
        some = {**batched, "upto": upto}
        rows = [_prepared(each) for each in connection.execute(sql.SOME_STAGED, some).all()]
        put_rows(connection, place, where, rows, tally, revision=revision, now=now, author=row.author)
        connection.execute(sql.DELETE_STAGED, some)
    settle(connection, where, base, tally, quota, values, now=now)
    return tally.applied(revision) if upto is None else None


def _prepared(row: Any) -> Prepared:
    # What was expected was looked at when the batch became valid, and nobody changed the base since.
    vector = None if row.vector is None else Vector(row.model, row.dimension, row.vector)
    return Prepared(
        row.id,
        row.document,
        None,
        row.position,
        bool(row.enabled),
        row.source,
        row.tags,
        row.digest,
        row.terms,
        row.size,
        vector,
    )


def clean(connection: Connection, where: dict[str, Any], batch: str) -> bool:
    """Deletes some of a batch that is not valid; True where nothing of it is left to delete."""
    base = connection.execute(sql.BASE, where).first()
    if base is not None and base.folding == batch:
        return True
    batched = {**where, "its_batch": batch}
    rows = connection.execute(sql.SIZES_STAGED, {**batched, "most": AT_ONCE}).all()
    if rows:
        connection.execute(sql.DELETE_STAGED, {**batched, "upto": rows[-1].number})
        return False
    connection.execute(sql.DELETE_BATCH, batched)
    return True


def _gone() -> BusyError:
    return BusyError(
        "what was to be changed was put aside for too long and has been cleaned up: do it again", bound="database"
    )
