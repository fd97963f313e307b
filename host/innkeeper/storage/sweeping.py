"""What has had its time, table by table: one list of the steps that delete it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from innkeeper.storage.audit import AuditLog
from innkeeper.storage.database import Database
from innkeeper.storage.events import EventStore
from innkeeper.storage.journals import JournalStore
from innkeeper.storage.knowledge_sweeping import KnowledgeSweeps
from innkeeper.storage.kv import KvStore
from innkeeper.storage.llm_usage import LlmUsageStore
from innkeeper.storage.memo import MemoStore
from innkeeper.storage.retention import BYTES, DAYS, RunRetention
from innkeeper.storage.schedules import ScheduleStore


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long things are kept.

    Attributes:
        audit_days: records of the audit log.
        event_days: events that nobody took.
        journal_days: journals of calls.
        memo_days: remembered results of pure calls.
        run_days: runs that have ended.
        run_bytes: that all runs of one owner may have; the oldest go first.
    """

    audit_days: float
    event_days: float
    journal_days: float
    memo_days: float
    run_days: float = DAYS
    run_bytes: int = BYTES


@dataclass(frozen=True, slots=True)
class Sweep:
    """What deletes one kind of thing.

    Attributes:
        name: of the things, for the log.
        step: deletes a bounded number of them in one transaction, and gives how many (int); 0: there is no more.
    """

    name: str
    step: Callable[[], Awaitable[int]]


def sweeps(database: Database, kept: Kept, *, now: Callable[[], float] = time.time) -> Sequence[Sweep]:
    """All sweeps of a database. Each may run in several processes at the same time.

    Args:
        database: an open one.
        kept: for how long.
        now: seconds since 1970; called from any thread.
    """
    knowledge = KnowledgeSweeps(database, now=now)
    events, schedules = EventStore(database, now=now), ScheduleStore(database)
    runs = RunRetention(database, days=kept.run_days, most_bytes=kept.run_bytes)
    return (
        Sweep("entries of kv", KvStore(database, now=now).sweep),
        Sweep("records of the audit log", AuditLog(database, now=now, days=kept.audit_days).sweep),
        Sweep("events", lambda: events.sweep(kept.event_days)),
        Sweep("journals", JournalStore(database, now=now, days=kept.journal_days).sweep),
        Sweep("remembered results", MemoStore(database, now=now, days=kept.memo_days).sweep),
        Sweep("counts of tokens", LlmUsageStore(database, now=now).sweep),
        Sweep("runs", lambda: runs.sweep(now())),
        Sweep("firings of schedules", lambda: schedules.sweep(now())),
        Sweep("old changes of knowledge bases", knowledge.history),
        Sweep("sessions of knowledge bases", knowledge.sessions),
        Sweep("proposals for knowledge bases", knowledge.proposals),
        Sweep("batches of knowledge bases", knowledge.batches),
        Sweep("vectors without an entry", knowledge.vectors),
    )
