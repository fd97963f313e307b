"""The statements of the store, built once: building one takes as long as running it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Table, Text, and_, bindparam, delete, func, insert, not_, select, update

from innkeeper.storage.knowledge_model import PROJECT
from innkeeper.storage.knowledge_schema import kb_bases as bases
from innkeeper.storage.knowledge_schema import kb_batches as batches
from innkeeper.storage.knowledge_schema import kb_entries as entries
from innkeeper.storage.knowledge_schema import kb_history as history
from innkeeper.storage.knowledge_schema import kb_staged as staged
from innkeeper.storage.knowledge_schema import kb_steps as steps
from innkeeper.storage.knowledge_schema import kb_vectors as vectors
from innkeeper.storage.names import after_prefix


def _in(table: Table) -> Any:
    return and_(
        table.c.owner == bindparam("its_owner", type_=Text()), table.c.base == bindparam("its_base", type_=Text())
    )


# Parameters of conditions are named `its_...`, since a column's own name means the value that it gets.
BASE: Final = select(bases).where(_in(bases))
# SQLite has one writer at a time and leaves this out; on PostgreSQL writers of one base take turns.
BASE_TO_CHANGE: Final = BASE.with_for_update()
BASES: Final = select(bases).where(bases.c.owner == bindparam("its_owner")).order_by(bases.c.base).limit(1000)
_OF_OWNER: Final = select(func.count()).select_from(bases).where(bases.c.owner == bindparam("its_owner"))
_OF_PROJECTS: Final = and_(bases.c.base >= PROJECT, bases.c.base < after_prefix(PROJECT))
COUNT_BASES: Final = _OF_OWNER.where(not_(_OF_PROJECTS))
COUNT_PROJECT_BASES: Final = _OF_OWNER.where(_OF_PROJECTS)
UPDATE_BASE: Final = update(bases).where(_in(bases))
DELETE_BASE: Final = delete(bases).where(_in(bases))

_ENTRY: Final = and_(_in(entries), entries.c.id == bindparam("its_id"))
_NOW: Final = [
    entries.c[name] for name in ("id", "version", "size", "document", "position", "source", "created", "digest")
]
THERE: Final = select(*_NOW).where(_in(entries), entries.c.id.in_(bindparam("ids", expanding=True)))
INSERT: Final = insert(entries)
UPDATE: Final = update(entries).where(_ENTRY)
DELETE: Final = delete(entries).where(_ENTRY)
REMAKE: Final = update(entries).where(_ENTRY, entries.c.version == bindparam("its_version"))

# In the order of the attributes of `Stored`.
_HEAD: Final = [
    entries.c[name]
    for name in (
        *("id", "document", "position", "version", "enabled", "source", "author", "created", "updated", "digest"),
    )
]
GET: Final = select(*_HEAD).where(_ENTRY)
_OF_MODEL: Final = and_(
    vectors.c.owner == entries.c.owner,
    vectors.c.base == entries.c.base,
    vectors.c.model == bindparam("its_model", type_=Text()),
    vectors.c.digest == entries.c.digest,
)
_FULL: Final = (
    select(*_HEAD, entries.c.terms, vectors.c.vector)
    .select_from(entries.outerjoin(vectors, _OF_MODEL))
    .where(_in(entries))
)
ALL: Final = select(*_HEAD).where(_in(entries)).order_by(entries.c.position, entries.c.id)
ALL_FULL: Final = _FULL.order_by(entries.c.position, entries.c.id)
_SINCE: Final = entries.c.version > bindparam("since")
CHANGED: Final = select(*_HEAD).where(_in(entries), _SINCE)
CHANGED_FULL: Final = _FULL.where(_SINCE)
IDS: Final = select(entries.c.id).where(_in(entries))
DELETED: Final = (
    select(history.c.entry)
    .where(_in(history), history.c.revision > bindparam("since"), history.c.kind == "delete")
    .order_by(history.c.revision)
)
SOME_OLD: Final = (
    select(entries.c.id, entries.c.version, entries.c.document, entries.c.size, entries.c.terms, entries.c.source)
    .where(_in(entries), entries.c.id > bindparam("after"))
    .order_by(entries.c.id)
    .limit(bindparam("most"))
)
WITHOUT_VECTOR: Final = (
    select(entries.c.id, entries.c.digest, entries.c.document)
    .select_from(entries.outerjoin(vectors, _OF_MODEL))
    .where(_in(entries), vectors.c.digest.is_(None), entries.c.id > bindparam("after"))
    .order_by(entries.c.id)
    .limit(bindparam("most"))
)

INSERT_VECTORS: Final = insert(vectors)
VECTORS_THERE: Final = select(vectors.c.digest).where(
    _in(vectors), vectors.c.model == bindparam("its_model"), vectors.c.digest.in_(bindparam("digests", expanding=True))
)
DIGESTS_THERE: Final = select(entries.c.digest).where(
    _in(entries), entries.c.digest.in_(bindparam("digests", expanding=True))
)

INSERT_STEP: Final = insert(steps)
STEPS: Final = (
    select(steps)
    .where(_in(steps), steps.c.revision < bindparam("below"))
    .order_by(steps.c.revision.desc())
    .limit(bindparam("most"))
)
STEP: Final = select(steps).where(_in(steps), steps.c.revision == bindparam("its_revision"))
FIRST_INFO_SINCE: Final = (
    select(steps.c.info_before)
    .where(_in(steps), steps.c.revision > bindparam("since"), steps.c.info_before.is_not(None))
    .order_by(steps.c.revision)
    .limit(1)
)
_LAST_INFO: Final = (
    select(steps.c.revision)
    .where(_in(steps), steps.c.info_before.is_not(None))
    .order_by(steps.c.revision.desc())
    .limit(1)
    .offset(bindparam("infos"))
    .scalar_subquery()
)
FORGET_INFOS: Final = delete(steps).where(_in(steps), steps.c.info_before.is_not(None), steps.c.revision <= _LAST_INFO)
FORGET_STEPS: Final = delete(steps).where(_in(steps), steps.c.revision <= bindparam("its_revision"))

INSERT_HISTORY: Final = insert(history)
_PAST: Final = [
    history.c[name] for name in ("number", "revision", "entry", "kind", "at", "author", "position", "before")
]
OF_STEP: Final = (
    select(*_PAST)
    .where(_in(history), history.c.revision == bindparam("its_revision"), history.c.entry > bindparam("after"))
    .order_by(history.c.entry)
    .limit(bindparam("most"))
)
_OF_ENTRY: Final = (_in(history), history.c.entry == bindparam("its_id"), history.c.revision < bindparam("below"))
OF_ENTRY: Final = select(*_PAST).where(*_OF_ENTRY).order_by(history.c.number.desc()).limit(bindparam("most"))
# Of what was there before, whether it was: documents may be large.
MARKS_OF_ENTRY: Final = (
    select(*_PAST[:-1], func.substr(history.c.before, 1, 0).label("before"))
    .where(*_OF_ENTRY)
    .order_by(history.c.number.desc())
    .limit(bindparam("most"))
)
FIRST_SINCE: Final = (
    select(history.c.entry, history.c.before)
    .where(
        _in(history),
        history.c.number.in_(
            select(func.min(history.c.number))
            .where(_in(history), history.c.revision > bindparam("since"))
            .group_by(history.c.entry)
        ),
    )
    .order_by(history.c.entry)
)
OLDEST: Final = (
    select(history.c.number, history.c.revision, history.c.size)
    .where(_in(history))
    .order_by(history.c.number)
    .limit(bindparam("most"))
)
FORGET: Final = delete(history).where(_in(history), history.c.number <= bindparam("its_number"))

INSERT_BATCH: Final = insert(batches)
BATCH_ROW: Final = and_(_in(batches), batches.c.batch == bindparam("its_batch"))
BATCH: Final = select(batches).where(BATCH_ROW)
UPDATE_BATCH: Final = update(batches).where(BATCH_ROW)
DELETE_BATCH: Final = delete(batches).where(BATCH_ROW)
DEAD_BATCHES: Final = select(batches.c.batch).where(_in(batches), batches.c.touched < bindparam("before"))
INSERT_STAGED: Final = insert(staged)
_STAGED: Final = and_(_in(staged), staged.c.batch == bindparam("its_batch"))
COUNT_STAGED: Final = select(func.count()).select_from(staged).where(_STAGED)
SIZES_STAGED: Final = (
    select(staged.c.number, staged.c.size).where(_STAGED).order_by(staged.c.number).limit(bindparam("most"))
)
SOME_STAGED: Final = select(staged).where(_STAGED, staged.c.number <= bindparam("upto")).order_by(staged.c.number)
DELETE_STAGED: Final = delete(staged).where(_STAGED, staged.c.number <= bindparam("upto"))
