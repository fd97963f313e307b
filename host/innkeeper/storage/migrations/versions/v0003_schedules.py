"""Submitted workflows and schedules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ordered = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "submitted_runs",
        sa.Column("number", _number, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("plugin", _ordered, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("cancel", sa.Boolean, nullable=False),
        sa.Column("generation", _number, nullable=False),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("job", sa.LargeBinary),
        sa.Column("submitted", sa.Float(53), nullable=False),
        sa.Column("started", sa.Float(53)),
        sa.Column("ended", sa.Float(53)),
        sa.Column("outputs", sa.LargeBinary),
        sa.Column("error", sa.Text),
        sa.Column("size", _number, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("submitted_runs_plugin", "submitted_runs", ["owner", "plugin", "number"])
    under_way = sa.text("ended IS NULL")
    op.create_index(
        "submitted_runs_under_way",
        "submitted_runs",
        ["status", "number"],
        sqlite_where=under_way,
        postgresql_where=under_way,
    )
    op.create_index("submitted_runs_ended", "submitted_runs", ["ended"])
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("plugin", _ordered, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("expression", sa.Text, nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("generation", _number, nullable=False),
        sa.Column("job", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("due", sa.Float(53), nullable=False),
        sa.Column("looked_at", sa.Float(53), nullable=False),
        sa.Column("last", sa.Float(53)),
    )
    op.create_index("schedules_plugin", "schedules", ["owner", "plugin", "created"])
    op.create_index("schedules_looked_at", "schedules", ["looked_at"])
    op.create_table(
        "firings",
        sa.Column("schedule", sa.Text, primary_key=True),
        sa.Column("due", sa.Float(53), primary_key=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
    )
    op.create_index("firings_at", "firings", ["at"])


def downgrade() -> None:
    for table in ("firings", "schedules", "submitted_runs"):
        op.drop_table(table)
