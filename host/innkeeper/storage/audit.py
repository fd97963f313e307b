"""The audit log: what was granted, refused, consented to and loaded natively, kept for some days and in some number."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from innkeeper.storage.database import Database
from innkeeper.storage.names import check_name
from innkeeper.storage.schema import audit

MOST_DETAILS: Final = 4096
"""Bytes of a record's details as JSON."""

MOST_READ: Final = 1000
"""Records that one `read` gives."""

_STEP = 1024
"""Records that one sweep deletes at most."""

_EVERY = 256
"""Records of a kind after which a sweep is due: what there may be beyond the bound."""

_DAY = 86400.0

_CUTS = ((10, 250), (10, 50), (3, 40), (1, 10))
"""Texts of a list, and characters of each, one after the other until a record fits."""


class AuditKind(StrEnum):
    """What was done. The value is its name in the database."""

    GRANT = "grant"
    REVOKE = "revoke"
    REFUSAL = "refusal"
    NATIVE_LOAD = "native_load"
    PAUSE = "pause"
    RESUME = "resume"
    APPROVAL = "approval"


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        id: grows from record to record; never given twice.
        at: when, seconds since 1970.
        kind: what was done.
        plugin: id of the plugin.
        digest: sha256 of its bytes, 64 hexadecimal digits, or "".
        details: what else belongs to it, as JSON has it; parts may be a plugin author's words.
    """

    id: int
    at: float
    kind: AuditKind
    plugin: str
    digest: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be kept.

    Attributes:
        kind, plugin, digest, details: as of `Record`.
        at: when, seconds since 1970; None: as it is written.
        once: not where the newest record of this kind and plugin says the same.
    """

    kind: AuditKind
    plugin: str
    digest: str
    details: Mapping[str, Any]
    at: float | None = None
    once: bool = False


class AuditLog:
    """Records, of which those are kept that are neither too old nor too many of their kind.

    Each kind has a bound of its own, so that a plugin that is refused all the time drives no grant out.
    """

    def __init__(
        self, db: Database, *, now: Callable[[], float] = time.time, days: float = 90.0, most: int = 100_000
    ) -> None:
        """Args:
        db: where they are kept.
        now: seconds since 1970; called from any thread.
        days: how long a record is kept, above 0.
        most: how many of one kind are kept, at least 1; up to 256 more until the next sweep.
        """
        if not days > 0 or most < 1:
            raise ValueError("an audit log keeps records for more than 0 days, and at least 1 of a kind")
        self._db = db
        self._now = now
        self._kept = days * _DAY
        self._most = most
        # Since the last sweep; only the writer's thread touches it. The first record sweeps.
        self._due: dict[str, int] = {}

    async def append(
        self, kind: AuditKind, *, plugin: str, digest: str = "", details: Mapping[str, Any] | None = None
    ) -> int:
        """Keeps a record; gives its id (int) once it is committed.

        Raises:
            ValueError: plugin or digest cannot be a name, or the details are no JSON or above `MOST_DETAILS` bytes.
            RejectedError, BusyError, UsageError: as `Database.write`.
        """
        row = check_record(NewRecord(kind, plugin, digest, {} if details is None else details))
        return await self._db.write(lambda connection: self._add(connection, kind, {"at": self._now(), **row}))

    async def append_all(self, new: Sequence[NewRecord]) -> None:
        """Keeps several records, in their order and in one transaction, so a few at a time.

        Raises:
            ValueError, RejectedError, BusyError, UsageError: as `append`; then none is kept.
        """
        rows = [(each, check_record(each)) for each in new]

        def write(connection: Connection) -> None:
            for each, row in rows:
                if each.once:
                    own = (audit.c.kind == each.kind.value, audit.c.plugin == each.plugin)
                    newest = select(audit.c.digest, audit.c.details).where(*own).order_by(audit.c.id.desc()).limit(1)
                    found = connection.execute(newest).first()
                    if found is not None and (found.digest, found.details) == (each.digest, row["details"]):
                        continue
                self._add(connection, each.kind, {"at": self._now() if each.at is None else each.at, **row})

        await self._db.write(write)

    def _add(self, connection: Connection, kind: AuditKind, row: dict[str, Any]) -> int:
        made = connection.execute(insert(audit).values(**row)).inserted_primary_key
        assert made is not None
        due = self._due.get(kind.value, 0)
        if due == 0:
            self._sweep(connection, kind)
        self._due[kind.value] = (due + 1) % _EVERY
        return int(made[0])

    async def read(
        self,
        *,
        kind: AuditKind | None = None,
        plugin: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """Records, newest first; none that is older than is kept.

        Args:
            kind: only of this kind.
            plugin: only of this plugin.
            before: only those with a smaller id: the last one of the page before.
            limit: how many at most, 1 to `MOST_READ`.

        Raises:
            ValueError: an argument is out of bounds.
            RejectedError, BusyError, UsageError: as `Database.read`.
        """
        if not 1 <= limit <= MOST_READ:
            raise ValueError(f"the limit must be 1 to {MOST_READ}")
        query = select(audit)
        if kind is not None:
            query = query.where(audit.c.kind == kind.value)
        if plugin is not None:
            check_name(plugin, "plugin")
            query = query.where(audit.c.plugin == plugin)
        if before is not None:
            if not 0 <= before < 1 << 63:
                raise ValueError("the id to read before must be that of a record")
            query = query.where(audit.c.id < before)
        query = query.order_by(audit.c.id.desc()).limit(limit)

        def read(connection: Connection) -> list[Record]:
            rows = connection.execute(query.where(audit.c.at >= self._now() - self._kept))
            return [
                Record(row.id, row.at, AuditKind(row.kind), row.plugin, row.digest, json.loads(row.details))
                for row in rows
            ]

        return await self._db.read(read)

    async def sweep(self) -> int:
        """Deletes a bounded number of records of each kind that are too old or too many; gives how many (int)."""
        return await self._db.write(lambda connection: sum(self._sweep(connection, kind) for kind in AuditKind))

    def _sweep(self, connection: Connection, kind: AuditKind) -> int:
        ids = select(audit.c.id).where(audit.c.kind == kind.value)
        newest_too_many = connection.scalar(ids.order_by(audit.c.id.desc()).offset(self._most).limit(1))
        # Those that were kept first are looked at, and no others: there may be many of which none is too old.
        first = select(audit.c.id, audit.c.at).where(audit.c.kind == kind.value).order_by(audit.c.id).limit(_STEP)
        oldest, last = self._now() - self._kept, -1 if newest_too_many is None else newest_too_many
        found = [row.id for row in connection.execute(first) if row.at < oldest or row.id <= last]
        if found:
            connection.execute(delete(audit).where(audit.c.id.in_(found)))
        return len(found)


def fitting(details: Mapping[str, Any]) -> dict[str, Any]:
    """The details of a record, cut until they fit: of lists the first texts, with how many more there are, and of texts
    the beginnings."""
    found: dict[str, Any] = {}
    for most, length in _CUTS:
        found = {}
        for key, value in details.items():
            if isinstance(value, list | tuple):
                found[key] = [str(each)[:length] for each in value[:most]]
                if len(value) > most:
                    found[f"{key}_more"] = len(value) - most
            else:
                found[key] = value[: 2 * length] if isinstance(value, str) else value
        if len(json.dumps(found)) <= MOST_DETAILS:
            break
    return found


def check_record(new: NewRecord) -> dict[str, Any]:
    """The columns of a record but for its time.

    Raises:
        ValueError: as `AuditLog.append`.
    """
    check_name(new.plugin, "plugin")
    check_name(new.digest, "digest", empty=True)
    values = {"kind": new.kind.value, "plugin": new.plugin, "digest": new.digest}
    return {**values, "details": _encoded(dict(new.details))}


def _encoded(details: dict[str, Any]) -> str:
    try:
        text = json.dumps(details, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("the details of an audit record must be what JSON can say") from None
    if len(text) > MOST_DETAILS:
        raise ValueError(f"the details of an audit record are {len(text)} bytes: the most is {MOST_DETAILS}")
    return text
