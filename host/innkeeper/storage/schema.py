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

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
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
