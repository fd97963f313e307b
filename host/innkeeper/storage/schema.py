"""The tables, as the newest migration leaves them. A change here needs a migration (`migrations/versions/`)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, Index, LargeBinary, Table, Text, false, text

from innkeeper.storage import accounts_schema as accounts_schema
from innkeeper.storage import knowledge_schema as knowledge_schema
from innkeeper.storage import runs_schema as runs_schema
from innkeeper.storage.columns import NUMBER
from innkeeper.storage.columns import ORDERED as ORDERED
from innkeeper.storage.columns import metadata as metadata

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012")
"""Every revision of the schema, oldest first."""

kv: Final = Table(
    "kv",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("plugin", ORDERED, primary_key=True),
    Column("scope", ORDERED, primary_key=True),
    Column("key", ORDERED, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("version", NUMBER, nullable=False),
    Column("expires", Float(53)),
    Column("size", NUMBER, nullable=False),
)
_expiring = text("expires IS NOT NULL")
Index("kv_expires", kv.c.expires, sqlite_where=_expiring, postgresql_where=_expiring)
Index(
    "kv_expires_plugin",
    *(kv.c.owner, kv.c.plugin, kv.c.expires, kv.c.size),
    sqlite_where=_expiring,
    postgresql_where=_expiring,
)

kv_usage: Final = Table(
    "kv_usage",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("plugin", ORDERED, primary_key=True),
    # What `kv` holds, expired entries included; changed in the transactions that change `kv`.
    Column("entries", NUMBER, nullable=False),
    Column("bytes", NUMBER, nullable=False),
    # The newest version that was given out: none is given twice, even if its entry was deleted.
    Column("version", NUMBER, nullable=False),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False),
    Column("kind", Text, nullable=False),
    Column("plugin", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("details", Text, nullable=False),
    # Numbers of deleted records are not used again.
    sqlite_autoincrement=True,
)
Index("audit_kind", audit.c.kind, audit.c.id)
Index("audit_plugin", audit.c.plugin, audit.c.id)

subscriptions: Final = Table(
    "subscriptions",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("owner", Text, nullable=False),
    Column("plugin", Text, nullable=False),
    Column("pattern", Text, nullable=False),
    Column("handler", Text, nullable=False),
    # When its plugin was last there.
    Column("seen", Float(53), nullable=False),
    # What waits for it, in the queue of `events_waiting`; changed in the transactions that change that.
    Column("waiting", NUMBER, nullable=False),
    Column("bytes", NUMBER, nullable=False),
    # Events that went because there were too many or they were too old, since a delivery last said how many; and
    # events that its handler failed for too often, in all.
    Column("dropped", NUMBER, nullable=False),
    Column("failed", NUMBER, nullable=False),
    # Nothing is delivered before.
    Column("due", Float(53), nullable=False),
    # The event that is being delivered, which host does so, and until when that host's word counts.
    Column("current", NUMBER),
    Column("holder", Text),
    Column("held", Float(53), nullable=False),
    # Numbers of deleted subscriptions are not used again: a delivery that goes on belongs to nobody then.
    sqlite_autoincrement=True,
)
Index(
    "subscriptions_own",
    *(subscriptions.c.owner, subscriptions.c.plugin, subscriptions.c.pattern, subscriptions.c.handler),
    unique=True,
)
_busy = text("waiting > 0")
Index("subscriptions_waiting", subscriptions.c.id, sqlite_where=_busy, postgresql_where=_busy)

events: Final = Table(
    "events",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("owner", Text, nullable=False),
    Column("topic", Text, nullable=False),
    # In msgpack.
    Column("data", LargeBinary, nullable=False),
    Column("at", Float(53), nullable=False),
    # The plugin that published it; NULL where the host did.
    Column("publisher", Text),
    Column("hops", NUMBER, nullable=False),
    sqlite_autoincrement=True,
)
Index("events_at", events.c.at)

events_waiting: Final = Table(
    "events_waiting",
    metadata,
    Column("subscription", NUMBER, primary_key=True, autoincrement=False),
    Column("event", NUMBER, primary_key=True, autoincrement=False),
    Column("size", NUMBER, nullable=False),
    Column("attempts", NUMBER, nullable=False),
)
Index("events_waiting_event", events_waiting.c.event)

schedules: Final = Table(
    "schedules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", ORDERED, nullable=False),
    Column("plugin", ORDERED, nullable=False),
    Column("name", Text, nullable=False),
    # A cron expression and its time zone; both "" where it fires once.
    Column("expression", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("generation", NUMBER, nullable=False),
    Column("job", LargeBinary, nullable=False),
    Column("created", Float(53), nullable=False),
    # When it fires next, and when it is next looked at: later, where it could not fire.
    Column("due", Float(53), nullable=False),
    Column("looked_at", Float(53), nullable=False),
    Column("last", Float(53)),
    Column("paused", Boolean, nullable=False, server_default=false()),
    # Of the runs that it fires: their priority, what is done where their host ended, and seconds within which they
    # must have ended.
    Column("priority", NUMBER, nullable=False, server_default=text("0")),
    Column("after_crash", Text, nullable=False, server_default=text("'interrupt'")),
    Column("lasting", Float(53)),
)
Index("schedules_plugin", schedules.c.owner, schedules.c.plugin, schedules.c.created)
Index("schedules_looked_at", schedules.c.looked_at)

firings: Final = Table(
    "firings",
    metadata,
    # That there is one row for a schedule and a time is what makes it fire once.
    Column("schedule", Text, primary_key=True),
    Column("due", Float(53), primary_key=True),
    Column("owner", ORDERED, nullable=False),
    Column("at", Float(53), nullable=False),
)
Index("firings_at", firings.c.at)

journals: Final = Table(
    "journals",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("owner", ORDERED, nullable=False),
    Column("at", Float(53), nullable=False),
    Column("plugin", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("size", NUMBER, nullable=False),
    # Last, so that a list need not read past it.
    Column("body", LargeBinary, nullable=False),
    # Numbers of deleted journals are not used again.
    sqlite_autoincrement=True,
)
Index("journals_owner", journals.c.owner, journals.c.id)
Index("journals_at", journals.c.at)

journals_usage: Final = Table(
    "journals_usage",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    # What `journals` holds of the owner; changed in the transactions that change `journals`.
    Column("entries", NUMBER, nullable=False),
    Column("bytes", NUMBER, nullable=False),
)

llm_usage: Final = Table(
    "llm_usage",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("plugin", Text, primary_key=True),
    # Since 1970, in UTC.
    Column("day", NUMBER, primary_key=True, autoincrement=False),
    # Used, and set aside for what is under way.
    Column("tokens", NUMBER, nullable=False),
    # Of these, what no endpoint reported.
    Column("estimated", NUMBER, nullable=False),
    Column("requests", NUMBER, nullable=False),
)

memo: Final = Table(
    "memo",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    # sha256 of all that the result depends on, hexadecimal.
    Column("key", ORDERED, primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("used", Float(53), nullable=False),
    # Of the body, and what a row takes beside it.
    Column("size", NUMBER, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Index("memo_used", memo.c.owner, memo.c.used)
Index("memo_at", memo.c.at)

memo_usage: Final = Table(
    "memo_usage",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    # What `memo` holds of the owner; changed in the transactions that change `memo`.
    Column("entries", NUMBER, nullable=False),
    Column("bytes", NUMBER, nullable=False),
)
