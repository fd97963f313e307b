"""A plain keyword store of knowledge bases: entries found by the words of a query, and nothing cleverer."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from typing import Any, Final

import msgpack
import trio
from sqlalchemy import Connection

from innkeeper.storage.database import Database
from innkeeper.storage.knowledge_model import (
    MOST_CONTENT,
    MOST_HITS,
    MOST_KEYWORD,
    MOST_KEYWORDS,
    MOST_LISTED,
    MOST_METADATA,
    MOST_PRIORITY,
    MOST_QUERY,
    MOST_TITLE,
    BaseQuota,
    Draft,
    Entry,
    Filters,
    FullError,
    Head,
    Hit,
    NoSuchError,
    Place,
    VersionError,
)
from innkeeper.storage.knowledge_search import MOST_QUERY_TERMS, head, search
from innkeeper.storage.knowledge_statements import (
    BASE,
    BASE_TO_CHANGE,
    COUNT_BASES,
    DELETE,
    DELETE_TERMS,
    GET,
    INSERT,
    INSERT_TERMS,
    LIST,
    MEASURE,
    UPDATE,
    UPDATE_BASE,
)
from innkeeper.storage.knowledge_terms import query_terms, terms_of_fields
from innkeeper.storage.names import check_name
from innkeeper.storage.schema import knowledge_bases
from innkeeper.storage.statements import insert_if_missing

_PER_TERM: Final = 32
"""Bytes that a term counts."""

_TERMS_AT_ONCE: Final = 256
"""Terms that one statement writes. Some ten thousand values that are there together would have the interpreter's
garbage collector look at everything that the process has, which stops all threads."""

_FEW = 100
"""Characters whose terms are found in no time."""


class KeywordStore:
    """Implements `bridge.knowledge.KnowledgeBases`.

    A base is there from its first entry on. All that one call does happens in one transaction. All methods raise
    ValueError for arguments out of bounds, and what `Database.write` and `Database.read` raise.
    """

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time, quota: BaseQuota | None = None) -> None:
        """Args:
        db: where they are kept.
        now: seconds since 1970; called from any thread.
        quota: what an owner's bases may have.
        """
        self._db = db
        self._now = now
        self._quota = quota or BaseQuota()
        # The writer is everybody's: one change of a base at a time, so that others' writes come in between. Searches
        # leave half of the readers to others.
        self._changing = trio.CapacityLimiter(1)
        self._searching = trio.CapacityLimiter(2)
        self._reading_text = trio.CapacityLimiter(1)

    async def search(self, place: Place, query: str, *, k: int, filters: Filters) -> list[Hit]:
        """As `KnowledgeBases.search`."""
        where = _where(place)
        if len(query) > MOST_QUERY or not 1 <= k <= MOST_HITS:
            raise ValueError(f"a query has at most {MOST_QUERY} characters, and gives 1 to {MOST_HITS} entries")
        _check_source(filters)
        if len(query) <= _FEW:
            terms = query_terms(query, MOST_QUERY_TERMS)
        else:
            terms = await trio.to_thread.run_sync(query_terms, query, MOST_QUERY_TERMS, limiter=self._reading_text)

        def read(connection: Connection) -> list[Hit]:
            base = _existing(connection, place, where)
            return search(connection, where, terms, base.entries, k, filters)

        async with self._searching:
            return await self._db.read(read)

    async def get(self, place: Place, id: str) -> Entry:
        """As `KnowledgeBases.get`."""
        where = {**_where(place), "its_id": _checked_id(id)}

        def read(connection: Connection) -> Entry:
            _existing(connection, place, where)
            row = connection.execute(GET, where).first()
            if row is None:
                raise NoSuchError(f"the knowledge base {place.base!r} has no such entry")
            return Entry(head(row), row.content, msgpack.unpackb(row.metadata))

        return await self._db.read(read)

    async def list(self, place: Place, *, after: str, limit: int, filters: Filters) -> list[Head]:
        """As `KnowledgeBases.list`."""
        where = _where(place)
        check_name(after, "id to go on after", empty=True)
        if not 1 <= limit <= MOST_LISTED:
            raise ValueError(f"the limit must be 1 to {MOST_LISTED}")
        _check_source(filters)
        values: dict[str, object] = {"after": after, "most": limit, "disabled": filters.disabled}
        values |= {"any_source": filters.source is None, "its_source": filters.source or ""}

        def read(connection: Connection) -> list[Head]:
            _existing(connection, place, where)
            return [head(row) for row in connection.execute(LIST, {**where, **values})]

        async with self._searching:
            return await self._db.read(read)

    async def put(
        self, place: Place, id: str, draft: Draft, *, source: str, author: str, expect: int | None = None
    ) -> Head:
        """As `KnowledgeBases.put`."""
        where = {**_where(place), "its_id": _checked_id(id)}
        check_name(source, "source")
        check_name(author, "author", empty=True)
        if expect is not None and not 0 <= expect < 1 << 63:
            raise ValueError("the expected version must be 0 or the version of an entry")
        metadata, size = _checked(draft)
        async with self._changing:
            fields = ("\n".join(draft.keywords), draft.title, draft.content)
            terms = await trio.to_thread.run_sync(terms_of_fields, fields, limiter=self._reading_text)
            size += len(id.encode()) + _PER_TERM * len(terms)
            quota = self._quota

            def write(connection: Connection) -> Head:
                base = self._to_change(connection, place, where, create=expect in (None, 0))
                row = connection.execute(MEASURE, where).first()
                current = 0 if row is None else row.version
                if expect is not None and expect != current:
                    raise VersionError(current)
                entries = base.entries + (row is None)
                stored = base.bytes + size - (0 if row is None else row.size)
                if entries > quota.entries:
                    raise FullError("entries", quota.entries)
                # What makes an entry smaller is always taken.
                if stored > quota.bytes and stored > base.bytes:
                    raise FullError("bytes", quota.bytes)
                now = self._now()
                made = Head(
                    id, draft.title, draft.keywords, draft.priority, draft.enabled, source, author,
                    base.version + 1, now if row is None else row.created, now,
                )  # fmt: skip
                values = {**asdict(made), "keywords": json.dumps(draft.keywords, ensure_ascii=False)}
                values |= {"content": draft.content, "metadata": metadata, "size": size}
                names = {"owner": place.owner, "base": place.base}
                if row is None:
                    connection.execute(INSERT, {**names, **values})
                else:
                    connection.execute(DELETE_TERMS, where)
                    connection.execute(UPDATE, {**where, **values})
                pairs = iter(terms.items())
                while part := [*islice(pairs, _TERMS_AT_ONCE)]:
                    connection.execute(
                        INSERT_TERMS, [{**names, "term": term, "rank": rank, "entry": id} for term, rank in part]
                    )
                _count(connection, where, entries, stored, made.version)
                return made

            return await self._db.write(write)

    async def delete(self, place: Place, id: str, *, expect: int | None = None) -> None:
        """As `KnowledgeBases.delete`."""
        where = {**_where(place), "its_id": _checked_id(id)}

        def write(connection: Connection) -> None:
            base = self._to_change(connection, place, where, create=False)
            row = connection.execute(MEASURE, where).first()
            if row is None:
                raise NoSuchError(f"the knowledge base {place.base!r} has no such entry")
            if expect is not None and expect != row.version:
                raise VersionError(row.version)
            connection.execute(DELETE_TERMS, where)
            connection.execute(DELETE, where)
            # The version grows here too: what is put under the same id later never has an old one.
            _count(connection, where, base.entries - 1, base.bytes - row.size, base.version + 1)

        async with self._changing:
            await self._db.write(write)

    def _to_change(self, connection: Connection, place: Place, where: dict[str, object], *, create: bool) -> Any:
        row = connection.execute(BASE_TO_CHANGE, where).first()
        if row is None and create:
            count = connection.execute(COUNT_BASES, where).scalar_one()
            if count >= self._quota.bases:
                raise FullError("bases", self._quota.bases)
            values = {"owner": place.owner, "base": place.base, "entries": 0, "bytes": 0, "version": 0}
            insert_if_missing(connection, knowledge_bases, values)
            row = connection.execute(BASE_TO_CHANGE, where).first()
        if row is None:
            raise NoSuchError(f"there is no knowledge base {place.base!r}")
        return row


def _existing(connection: Connection, place: Place, where: dict[str, object]) -> Any:
    row = connection.execute(BASE, where).first()
    if row is None:
        raise NoSuchError(f"there is no knowledge base {place.base!r}")
    return row


def _count(connection: Connection, where: dict[str, object], entries: int, size: int, version: int) -> None:
    connection.execute(UPDATE_BASE, {**where, "entries": entries, "bytes": size, "version": version})


def _where(place: Place) -> dict[str, object]:
    check_name(place.owner, "owner")
    check_name(place.base, "base")
    return {"its_owner": place.owner, "its_base": place.base}


def _checked_id(id: str) -> str:
    check_name(id, "id")
    return id


def _check_source(filters: Filters) -> None:
    if filters.source is not None:
        check_name(filters.source, "source")


def _checked(draft: Draft) -> tuple[bytes, int]:
    """The metadata as msgpack, and the bytes that the draft counts.

    Raises:
        ValueError: something is out of bounds.
    """
    size = len(draft.content.encode()) if len(draft.content) <= MOST_CONTENT else MOST_CONTENT + 1
    if len(draft.title) > MOST_TITLE or size > MOST_CONTENT:
        raise ValueError(f"a title has at most {MOST_TITLE} characters, and a content {MOST_CONTENT} bytes")
    _check_line(draft.title, "title")
    if "\0" in draft.content:
        raise ValueError("the content has a NUL character: leave it out")
    if len(draft.keywords) > MOST_KEYWORDS or any(len(each) > MOST_KEYWORD for each in draft.keywords):
        raise ValueError(f"an entry has at most {MOST_KEYWORDS} keywords of at most {MOST_KEYWORD} characters")
    for keyword in draft.keywords:
        _check_line(keyword, "keyword")
        if not keyword:
            raise ValueError("a keyword must have at least one character")
    if not -MOST_PRIORITY <= draft.priority <= MOST_PRIORITY:
        raise ValueError(f"the priority must be -{MOST_PRIORITY} to {MOST_PRIORITY}")
    metadata: bytes = msgpack.packb(dict(draft.metadata))
    if len(metadata) > MOST_METADATA:
        raise ValueError(f"the metadata has {len(metadata)} bytes as msgpack: the most is {MOST_METADATA}")
    size += len(draft.title.encode()) + len(metadata) + sum(len(each.encode()) for each in draft.keywords)
    return metadata, size


def _check_line(text: str, what: str) -> None:
    # It is shown to people, in terminals too.
    if any(unicodedata.category(character) == "Cc" for character in text[:MOST_TITLE]):
        raise ValueError(f"the {what} has a control character: leave it out")
