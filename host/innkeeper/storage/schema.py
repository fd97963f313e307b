"""The tables, as the newest migration leaves them. A change here needs a migration (`migrations/versions/`)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
"""Every revision of the schema, oldest first."""

metadata: Final = MetaData()

ORDERED = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text in the order of its bytes in UTF-8, which is SQLite's own."""

NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""A whole number of 64 bits. SQLite counts rows by itself only where the type is INTEGER."""

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
