"""Tokens of language models that were used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "llm_usage",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("plugin", sa.Text, primary_key=True),
        sa.Column("day", _number, primary_key=True, autoincrement=False),
        sa.Column("tokens", _number, nullable=False),
        sa.Column("estimated", _number, nullable=False),
        sa.Column("requests", _number, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("llm_usage")
