"""The tables of runs, of what is known of them, and of who leads."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, Index, LargeBinary, Table, Text, text

from innkeeper.storage.columns import NUMBER, ORDERED, metadata

runs: Final = Table(
    "runs",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("owner", ORDERED, nullable=False),
    # The plugin that submitted it, and "" where somebody else did.
    Column("plugin", ORDERED, nullable=False),
    Column("name", Text, nullable=False),
    # queued, running, complete, error, cancelled (somebody wanted it), interrupted (its host ended)
    Column("status", Text, nullable=False),
    # Whether hosts may take it: a dispatcher accepted it.
    Column("offered", Boolean, nullable=False),
    # Somebody wants it to end; whoever runs it looks here.
    Column("cancel", Boolean, nullable=False),
    Column("priority", NUMBER, nullable=False),
    # What is done where its host ended: interrupt, again.
    Column("after_crash", Text, nullable=False),
    # How often a host ended while it had this run.
    Column("crashes", NUMBER, nullable=False),
    # By when it must have ended, seconds since 1970 by the database's clock.
    Column("deadline", Float(53)),
    # How many runs it descends from, itself included.
    Column("generation", NUMBER, nullable=False),
    # The schedule that it comes from, and "" where it was submitted.
    Column("schedule", Text, nullable=False),
    # Which host has it, for which time, and until when by the database's clock. Every write about a run that runs
    # names holder and attempt.
    Column("holder", Text),
    Column("attempt", NUMBER, nullable=False),
    Column("lease_until", Float(53)),
    Column("submitted", Float(53), nullable=False),
    Column("started", Float(53)),
    Column("ended", Float(53)),
    # The number of its last event, and between which chunks of streams are not kept any more.
    Column("seq", NUMBER, nullable=False),
    Column("gone_first", NUMBER, nullable=False),
    Column("gone_last", NUMBER, nullable=False),
    # Of this row; and of its events and results.
    Column("size", NUMBER, nullable=False),
    Column("kept", NUMBER, nullable=False),
    # Why it failed, as JSON.
    Column("error", Text),
    # Outputs as msgpack; and workflow and inputs as msgpack. Last, so that a list need not read past them.
    Column("outputs", LargeBinary),
    Column("job", LargeBinary),
    # Numbers of deleted runs are not used again.
    sqlite_autoincrement=True,
)
Index("runs_account", runs.c.owner, runs.c.plugin, runs.c.number)
_under_way = text("ended IS NULL")
Index(
    "runs_under_way",
    *(runs.c.status, runs.c.owner, runs.c.plugin, runs.c.priority, runs.c.number, runs.c.offered),
    sqlite_where=_under_way,
    postgresql_where=_under_way,
)
Index("runs_ended", runs.c.ended)

run_events: Final = Table(
    "run_events",
    metadata,
    # A row holds the events of one kind of one flush: a run's lifecycle, or chunks of its streams.
    Column("run", NUMBER, primary_key=True, autoincrement=False),
    # The number of the last event of the flush.
    Column("upto", NUMBER, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    # The number of the first event in the row.
    Column("first", NUMBER, nullable=False),
    # Bytes of the row.
    Column("size", NUMBER, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Index("run_events_kind", run_events.c.run, run_events.c.kind, run_events.c.upto)

node_results: Final = Table(
    "node_results",
    metadata,
    Column("run", NUMBER, primary_key=True, autoincrement=False),
    # The number of the event that says it, and of which node. One that ran in two attempts may have two.
    Column("seq", NUMBER, primary_key=True, autoincrement=False),
    Column("size", NUMBER, nullable=False),
    # Its outputs by key, each as msgpack.
    Column("body", LargeBinary, nullable=False),
)

leaders: Final = Table(
    "leaders",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    # Grows with each change of leader.
    Column("epoch", NUMBER, nullable=False),
    # By the database's clock.
    Column("until", Float(53), nullable=False),
)
