"""The statements of `KeywordStore`, built once: building one takes as long as running it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Text, and_, bindparam, delete, func, insert, or_, select, update

from innkeeper.storage.schema import knowledge_bases as bases
from innkeeper.storage.schema import knowledge_entries as entries
from innkeeper.storage.schema import knowledge_terms as terms

# Parameters of conditions are named `its_...`, since a column's own name means the value that it gets.
_OWNER = bindparam("its_owner", type_=Text())
_BASE = bindparam("its_base", type_=Text())
_ID = bindparam("its_id", type_=Text())
_BASE_ROW = and_(bases.c.owner == _OWNER, bases.c.base == _BASE)
_IN_BASE = and_(entries.c.owner == _OWNER, entries.c.base == _BASE)
_ENTRY = and_(_IN_BASE, entries.c.id == _ID)
_HEAD = [entries.c[name] for name in ("id", "title", "keywords", "priority", "enabled", "source", "author")]
_HEAD += [entries.c[name] for name in ("version", "created", "updated")]

BASE: Final = select(bases.c.entries, bases.c.bytes, bases.c.version).where(_BASE_ROW)
# SQLite has one writer at a time and leaves this out; on PostgreSQL writers of one base take turns.
BASE_TO_CHANGE: Final = BASE.with_for_update()
COUNT_BASES: Final = select(func.count()).where(bases.c.owner == _OWNER)
UPDATE_BASE: Final = update(bases).where(_BASE_ROW)

GET: Final = select(*_HEAD, entries.c.content, entries.c.metadata).where(_ENTRY)
MEASURE: Final = select(entries.c.version, entries.c.size, entries.c.created).where(_ENTRY)
INSERT: Final = insert(entries)
UPDATE: Final = update(entries).where(_ENTRY)
DELETE: Final = delete(entries).where(_ENTRY)

LIST: Final = (
    select(*_HEAD)
    .where(
        _IN_BASE,
        entries.c.id > bindparam("after"),
        or_(entries.c.enabled, bindparam("disabled", type_=Boolean())),
        or_(bindparam("any_source", type_=Boolean()), entries.c.source == bindparam("its_source")),
    )
    .order_by(entries.c.id)
    .limit(bindparam("most"))
)
HEADS: Final = select(*_HEAD).where(_IN_BASE, entries.c.id.in_(bindparam("ids", expanding=True)))
CONTENTS: Final = select(entries.c.id, entries.c.content).where(
    _IN_BASE, entries.c.id.in_(bindparam("ids", expanding=True))
)

POSTINGS: Final = (
    select(terms.c.entry, terms.c.rank)
    .where(terms.c.owner == _OWNER, terms.c.base == _BASE, terms.c.term == bindparam("its_term"))
    .order_by(terms.c.rank, terms.c.entry)
    .limit(bindparam("most"))
)
INSERT_TERMS: Final = insert(terms)
DELETE_TERMS: Final = delete(terms).where(terms.c.owner == _OWNER, terms.c.base == _BASE, terms.c.entry == _ID)
