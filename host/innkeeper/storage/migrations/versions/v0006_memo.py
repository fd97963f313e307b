"""Remembered results of pure calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ordered = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "memo",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("key", _ordered, primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("used", sa.Float(53), nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("memo_used", "memo", ["owner", "used"])
    op.create_index("memo_at", "memo", ["at"])
    op.create_table(
        "memo_usage",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("entries", _number, nullable=False),
        sa.Column("bytes", _number, nullable=False),
    )


def downgrade() -> None:
    for table in ("memo_usage", "memo"):
        op.drop_table(table)
