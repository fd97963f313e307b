"""What runs said, read by anybody: what is read is committed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgpack
from sqlalchemy import Connection, select

from innkeeper.errors import RejectedError
from innkeeper.storage.database import Database
from innkeeper.storage.run_events import CHUNKS, INTERFACE, LIFECYCLE, StoredEvent, outputs_by_key
from innkeeper.storage.runs_schema import node_results, run_events, runs

GONE: Final = "outputGone"
"""The field of an event that says that its values are not kept."""

PAGE_ROWS: Final = 16
PAGE_BYTES: Final = 1 << 20
"""Rows and bytes of them after which a page ends; one row may be larger."""

_DAMAGED: Final = (
    "what the database keeps of this run is damaged: put back a copy of the database, or do without the run"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a run's earlier attempts.

    Attributes:
        results: outputs by key (msgpack) of each node that completed, by its id.
        begun: ids of nodes that began, whether they ended or not.
        seq: number of the last event.
        failed: of nodes that failed, the kind and the message.
        said: ids of nodes that were said to be skipped or bypassed.
        tries: of nodes whose error output took their failure, how often they were called.
    """

    results: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    begun: frozenset[str] = frozenset()
    seq: int = 0
    failed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    said: frozenset[str] = frozenset()
    tries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Some events of a run.

    Attributes:
        events: in order.
        upto: the next page begins after this number.
        last: number of the run's last event so far.
        ended: whether the run has ended, so that there will be none after `last`.
        gone: first and last number between which chunks are missing, or None.
    """

    events: Sequence[StoredEvent]
    upto: int
    last: int
    ended: bool
    gone: tuple[int, int] | None


class RunReader:
    """Reads what runs said."""

    def __init__(self, db: Database) -> None:
        """Args:
        db: where it is kept.
        """
        self._db = db

    async def page(self, number: int, after: int) -> Page | None:
        """Events of a run (its number) after a number; None: the run is not kept any more.

        Raises:
            RejectedError: what is kept of it is damaged; or as `Database.read`.
        """
        return await self._db.read(lambda connection: _page(connection, number, after))

    async def lifecycle(self, number: int, after: int) -> tuple[list[StoredEvent], int]:
        """Events of a run (its number) after a number, without chunks and values: those of the next few rows, and the
        number that the next ones come after, which stays where there are none.

        Raises:
            RejectedError: what is kept of it is damaged; or as `Database.read`.
        """
        within = (run_events.c.run == number, run_events.c.kind == LIFECYCLE, run_events.c.upto > after)
        query = select(run_events.c.upto, run_events.c.body).where(*within).order_by(run_events.c.upto)

        def read(connection: Connection) -> tuple[list[StoredEvent], int]:
            rows = connection.execute(query.limit(PAGE_ROWS)).all()
            events = [StoredEvent.read(each, {}) for row in rows for each in _events(row.body, chunks=False)]
            return [each for each in events if each.seq > after], rows[-1].upto if rows else after

        return await self._db.read(read)

    async def heads(self, numbers: Collection[int]) -> dict[int, tuple[int, bool]]:
        """The number of the last event of runs (their numbers), and whether they have ended; quick."""
        query = select(runs.c.number, runs.c.seq, runs.c.ended).where(runs.c.number.in_(list(numbers)))

        def read(connection: Connection) -> dict[int, tuple[int, bool]]:
            return {row.number: (row.seq, row.ended is not None) for row in connection.execute(query)}

        return await self._db.read(read)


def _page(connection: Connection, number: int, after: int) -> Page | None:
    columns = (runs.c.seq, runs.c.ended, runs.c.gone_first, runs.c.gone_last)
    run = connection.execute(select(*columns).where(runs.c.number == number)).first()
    if run is None:
        return None
    query = select(run_events.c.upto, run_events.c.kind, run_events.c.size)
    query = query.where(run_events.c.run == number, run_events.c.upto > after).order_by(run_events.c.upto)
    heads = connection.execute(query.limit(PAGE_ROWS)).all()
    upto, size = after, 0
    # Whole flushes: a row of each kind. The last flush may be cut where there are more rows.
    whole = heads if len(heads) < PAGE_ROWS else [head for head in heads if head.upto != heads[-1].upto]
    for head in whole:
        if size >= PAGE_BYTES and head.upto != upto:
            break
        upto, size = head.upto, size + head.size
    upto = _with_results(connection, number, after, upto, whole)
    gone = (max(run.gone_first, after + 1), run.gone_last) if run.gone_last > after else None
    if upto == after:
        # Nothing is kept between here and the last one: what there was is gone.
        return Page([], run.seq, run.seq, run.ended is not None, gone)
    within = (run_events.c.run == number, run_events.c.upto > after, run_events.c.upto <= upto)
    bodies = connection.execute(select(run_events.c.kind, run_events.c.body).where(*within)).all()
    results = _results(connection, number, after, upto)
    found: list[StoredEvent] = []
    for kind, body in bodies:
        for event in _events(body, chunks=kind == CHUNKS):
            if event[0] > after:
                found.append(StoredEvent.read(event, None if kind == CHUNKS else results.get(event[0], {})))
    found.sort(key=lambda event: event.seq)
    if found and found[-1].seq == run.seq and run.ended is not None:
        found = _with_outputs(connection, number, found)
    return Page(found, upto, run.seq, run.ended is not None, gone)


def _with_results(connection: Connection, number: int, after: int, upto: int, flushes: Sequence[Any]) -> int:
    """Where a page ends (int), so that the results of nodes that are read with it have no more bytes than its rows."""
    within = (node_results.c.run == number, node_results.c.seq > after, node_results.c.seq <= upto)
    sizes = select(node_results.c.seq, node_results.c.size).where(*within).order_by(node_results.c.seq)
    size = 0
    for row in connection.execute(sizes):
        if size >= PAGE_BYTES:
            # The flush before the one that this result belongs to; a page has at least one.
            ends: list[int] = [head.upto for head in flushes]
            before = [end for end in ends if end < row.seq]
            return max(before) if before else min(end for end in ends if end >= row.seq)
        size += row.size
    return upto


def _results(connection: Connection, number: int, after: int, upto: int) -> dict[int, dict[str, bytes]]:
    within = (node_results.c.run == number, node_results.c.seq > after, node_results.c.seq <= upto)
    rows = connection.execute(select(node_results.c.seq, node_results.c.body).where(*within))
    return {row.seq: _values(row.body) for row in rows}


def _events(body: bytes, *, chunks: bool) -> list[Any]:
    """What a row of events holds: number, kind and fields of each, of chunks the chunk, and when it was."""
    found = _unpacked(body)
    types: tuple[Any, ...] = (int, str, dict, bytes) if chunks else (int, str, dict)
    timed = (*types, float | int | None)
    for each in found if isinstance(found, list) else [None]:
        wanted = timed if isinstance(each, list) and len(each) == len(timed) else types
        if not isinstance(each, list) or len(each) != len(wanted) or not all(map(isinstance, each, wanted)):
            raise RejectedError(_DAMAGED)
    return list(found)


def _values(body: bytes) -> dict[str, bytes]:
    found = _unpacked(body)
    if not isinstance(found, dict) or not all(isinstance(each, bytes) for each in found.values()):
        raise RejectedError(_DAMAGED)
    return found


def _unpacked(body: bytes) -> Any:
    try:
        return msgpack.unpackb(body, unicode_errors="surrogatepass", strict_map_key=False)
    except (ValueError, RecursionError):
        raise RejectedError(_DAMAGED) from None


def _with_outputs(connection: Connection, number: int, found: list[StoredEvent]) -> list[StoredEvent]:
    """The event that says the run's outputs, where these are kept in the run's row alone."""
    for place, event in enumerate(found):
        if event.fields.get("nodeId") == INTERFACE and not event.values:
            outputs = connection.scalar(select(runs.c.outputs).where(runs.c.number == number))
            if outputs is not None:
                try:
                    values = outputs_by_key(outputs)
                except (ValueError, TypeError, msgpack.UnpackException):
                    raise RejectedError(_DAMAGED) from None
                found[place] = replace(event, values=values)
    return found


def known_of(connection: Connection, number: int) -> Known:
    """What is kept of a run (its number), inside of a transaction.

    Raises:
        RejectedError: it is damaged.
    """
    seq = connection.scalar(select(runs.c.seq).where(runs.c.number == number)) or 0
    complete: dict[str, int] = {}
    failed: dict[str, tuple[str, str]] = {}
    begun: set[str] = set()
    said: set[str] = set()
    tries: dict[str, int] = {}
    query = select(run_events.c.body).where(run_events.c.run == number, run_events.c.kind == LIFECYCLE)
    for body in connection.scalars(query.order_by(run_events.c.upto)):
        for at, kind, fields, *_ in _events(body, chunks=False):
            node = fields.get("nodeId")
            if kind == "NODE_EXECUTING":
                # Again, in a later attempt: what it came to before counts no more.
                begun.add(node)
                complete.pop(node, None)
                failed.pop(node, None)
            elif kind == "NODE_COMPLETE" and node != INTERFACE and not fields.get(GONE):
                complete[node] = at
            elif kind == "NODE_ERROR":
                details = fields.get("errorDetails") or {}
                failed[node] = (str(details.get("kind", "guest")), str(details.get("message", "")))
                if isinstance(fields.get("tries"), int):
                    tries[node] = fields["tries"]
            elif kind in ("NODE_SKIPPED", "NODE_BYPASSED"):
                said.add(node)
    results: dict[str, Mapping[str, bytes]] = {node: {} for node in complete}
    nodes = {at: node for node, at in complete.items()}
    for row in connection.execute(select(node_results.c.seq, node_results.c.body).where(node_results.c.run == number)):
        if row.seq in nodes:
            results[nodes[row.seq]] = _values(row.body)
    return Known(results, frozenset(begun), int(seq), failed, frozenset(said), tries)
