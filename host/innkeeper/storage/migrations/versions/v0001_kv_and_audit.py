"""Key-value entries with what they take, and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ordered = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "kv",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("plugin", _ordered, primary_key=True),
        sa.Column("scope", _ordered, primary_key=True),
        sa.Column("key", _ordered, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("version", _number, nullable=False),
        sa.Column("expires", sa.Float(53)),
        sa.Column("size", _number, nullable=False),
    )
    expiring = sa.text("expires IS NOT NULL")
    op.create_index("kv_expires", "kv", ["expires"], sqlite_where=expiring, postgresql_where=expiring)
    op.create_index(
        "kv_expires_plugin",
        "kv",
        ["owner", "plugin", "expires", "size"],
        sqlite_where=expiring,
        postgresql_where=expiring,
    )
    op.create_table(
        "kv_usage",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("plugin", _ordered, primary_key=True),
        sa.Column("entries", _number, nullable=False),
        sa.Column("bytes", _number, nullable=False),
        sa.Column("version", _number, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("id", _number, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("plugin", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_kind", "audit", ["kind", "id"])


def downgrade() -> None:
    for table in ("audit", "kv_usage", "kv"):
        op.drop_table(table)
