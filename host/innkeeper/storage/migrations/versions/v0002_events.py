"""Subscriptions to events, and events that wait for a handler."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", _number, primary_key=True, autoincrement=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("plugin", sa.Text, nullable=False),
        sa.Column("pattern", sa.Text, nullable=False),
        sa.Column("handler", sa.Text, nullable=False),
        sa.Column("seen", sa.Float(53), nullable=False),
        sa.Column("waiting", _number, nullable=False),
        sa.Column("bytes", _number, nullable=False),
        sa.Column("dropped", _number, nullable=False),
        sa.Column("failed", _number, nullable=False),
        sa.Column("due", sa.Float(53), nullable=False),
        sa.Column("current", _number),
        sa.Column("holder", sa.Text),
        sa.Column("held", sa.Float(53), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("subscriptions_own", "subscriptions", ["owner", "plugin", "pattern", "handler"], unique=True)
    busy = sa.text("waiting > 0")
    op.create_index("subscriptions_waiting", "subscriptions", ["id"], sqlite_where=busy, postgresql_where=busy)
    op.create_table(
        "events",
        sa.Column("id", _number, primary_key=True, autoincrement=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("publisher", sa.Text),
        sa.Column("hops", _number, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_at", "events", ["at"])
    op.create_table(
        "events_waiting",
        sa.Column("subscription", _number, primary_key=True, autoincrement=False),
        sa.Column("event", _number, primary_key=True, autoincrement=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("attempts", _number, nullable=False),
    )
    op.create_index("events_waiting_event", "events_waiting", ["event"])


def downgrade() -> None:
    for table in ("events_waiting", "events", "subscriptions"):
        op.drop_table(table)
