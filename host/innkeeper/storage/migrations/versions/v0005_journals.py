"""Journals of calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ordered = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "journals",
        sa.Column("id", _number, primary_key=True, autoincrement=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("plugin", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("function", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("journals_owner", "journals", ["owner", "id"])
    op.create_index("journals_at", "journals", ["at"])
    op.create_table(
        "journals_usage",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("entries", _number, nullable=False),
        sa.Column("bytes", _number, nullable=False),
    )


def downgrade() -> None:
    for table in ("journals_usage", "journals"):
        op.drop_table(table)
