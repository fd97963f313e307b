"""Reads a base inside of one transaction, in one state, whatever is written meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

from sqlalchemy import Connection

from innkeeper.errors import RejectedError
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.values import BaseState, Past, Step, Stored
from innkeeper.knowledge.store.writing import FoldingError
from innkeeper.storage.knowledge_model import NoSuchError, Place

_FETCHED: Final = 256
"""Rows that are there at a time: few enough that the interpreter's garbage collector, which stops all threads, is not
called for them."""

# Of a server, too, which would else send all of them before the first is looked at.
_PIECES: Final = {"yield_per": _FETCHED}


@dataclass(frozen=True, slots=True)
class Delta:
    """What became of a base since a revision.

    Attributes:
        state: the base now.
        entries: that were written since, without order.
        deleted: ids that may be gone; those among `entries` are there again.
    """

    state: BaseState
    entries: list[Stored] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


_MOST_NUMBER: Final = 1 << 62
"""Above every revision, count and size: adding to it still gives what a database can keep."""

_NUMBERS: Final = (
    "revision",
    "entries",
    "bytes",
    "agent_entries",
    "agent_bytes",
    "history_bytes",
    "embedded",
    "synced",
)
_TEXTS: Final = ("info", "model", "legs", "folding", "file", "digest", "note", "refused")


def damaged(base: str) -> RejectedError:
    """What is said where the database has something that no host wrote."""
    return RejectedError(
        f"what the database keeps of the knowledge base {base[:100]!r} is damaged: put back a copy of the database, or "
        "export the base from where it is whole"
    )


def state_of(row: Any) -> BaseState:
    """What a base's row says.

    Raises:
        RejectedError: something in it is not what a host writes there.
    """
    try:
        info, note = json.loads(row.info), json.loads(row.note) if row.note else ()
    except (TypeError, ValueError, RecursionError):
        raise damaged(str(row.base)) from None
    right = (
        isinstance(info, dict)
        and isinstance(info.get("tags") or [], list)
        and isinstance(note, list | tuple)
        and all(isinstance(each, str) for each in note)
        and all(isinstance(getattr(row, name), str) for name in _TEXTS)
        and all(isinstance(n := getattr(row, name), int) and 0 <= n < _MOST_NUMBER for name in _NUMBERS)
        and all(isinstance(at, int | float) for at in (row.created, row.updated, row.last))
    )
    if not right:
        raise damaged(str(row.base))
    return BaseState(
        row.owner,
        row.base,
        info,
        row.model,
        row.revision,
        row.entries,
        row.bytes,
        row.agent_entries,
        row.agent_bytes,
        row.history_bytes,
        row.legs,
        row.embedded,
        row.folding,
        row.file,
        row.digest,
        row.synced,
        tuple(note),
        row.refused,
        bool(row.read_only),
        bool(row.approval),
        row.created,
        row.updated,
    )


def stored_of(row: Any) -> Stored:
    """What an entry's row says.

    Raises:
        TypeError: it is of types that no host writes; `KnowledgeStore.whole` says whose row it is.
    """
    id, document, position, version, _, source, author, created, updated, digest, *_rest = row
    if not (
        type(id) is type(document) is type(source) is type(author) is type(digest) is str
        and isinstance(position, int | float)
        and isfinite(position)
        and type(version) is int
        and isinstance(created, int | float)
        and isinstance(updated, int | float)
    ):
        raise TypeError("a row of an entry is of other types")
    return Stored(*row)


def read_state(connection: Connection, place: Place, where: dict[str, Any], *, whole: bool = False) -> BaseState:
    """A base.

    Args:
        whole: its entries are read next, so that no batch may be half in place.

    Raises:
        NoSuchError: there is none.
        FoldingError: `whole`, and a batch is being put in place.
    """
    row = connection.execute(sql.BASE, where).first()
    if row is None:
        raise NoSuchError(f"there is no knowledge base {place.base!r}")
    if whole and row.folding:
        raise FoldingError(row.folding)
    return state_of(row)


def stream(connection: Connection, where: dict[str, Any], *, model: str = "", full: bool) -> Iterator[Stored]:
    """All entries in the order of the file, a few at a time.

    Args:
        model: whose vectors are wanted.
        full: with terms and vectors.
    """
    asked = {**where, "its_model": model} if full else where
    result = connection.execute(sql.ALL_FULL if full else sql.ALL, asked, execution_options=_PIECES)
    try:
        for row in result:
            yield stored_of(row)
    finally:
        # Whoever stops half-way leaves nothing open that would keep the database's log from being emptied.
        result.close()


def read_delta(connection: Connection, place: Place, where: dict[str, Any], since: int, *, full: bool) -> Delta:
    """What became of a base since a revision.

    Raises:
        NoSuchError, FoldingError: as `read_state`.
    """
    state = read_state(connection, place, where, whole=True)
    if state.revision == since:
        return Delta(state)
    asked: dict[str, Any] = {**where, "since": since}
    deleted = list(dict.fromkeys(connection.scalars(sql.DELETED, asked)))
    changed = sql.CHANGED_FULL if full else sql.CHANGED
    rows = connection.execute(changed, {**asked, "its_model": state.model}, execution_options=_PIECES)
    return Delta(state, [stored_of(row) for row in rows], deleted)


def read_touched(place: Place, where: dict[str, Any], since: int, connection: Connection) -> tuple[set[str], int]:
    """Ids of entries that somebody changed or deleted since a revision, and the revision now (int). Raises as
    `read_state`."""
    delta = read_delta(connection, place, where, since, full=False)
    return {*delta.deleted, *(entry.id for entry in delta.entries)}, delta.state.revision


def read_entry_row(connection: Connection, place: Place, where: dict[str, Any], id: str) -> Stored | None:
    """One entry, or None. Raises as `read_state`."""
    read_state(connection, place, where, whole=True)
    row = connection.execute(sql.GET, {**where, "its_id": id}).first()
    return None if row is None else stored_of(row)


def step_of(row: Any) -> Step:
    """What a step's row says."""
    info = None if row.info_before is None else json.loads(row.info_before)
    return Step(row.revision, row.at, row.reason, row.author, row.changes, info)


def past_of(row: Any) -> Past:
    """What a row of history says."""
    return Past(row.revision, row.entry, row.kind, row.at, row.author, row.position, row.before)
