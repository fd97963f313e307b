"""Entries of knowledge bases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ordered = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "knowledge_bases",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("entries", _number, nullable=False),
        sa.Column("bytes", _number, nullable=False),
        sa.Column("version", _number, nullable=False),
    )
    op.create_table(
        "knowledge_entries",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("id", _ordered, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("keywords", sa.Text, nullable=False),
        sa.Column("metadata", sa.LargeBinary, nullable=False),
        sa.Column("priority", _number, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("version", _number, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("updated", sa.Float(53), nullable=False),
        sa.Column("size", _number, nullable=False),
    )
    op.create_table(
        "knowledge_terms",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("term", _ordered, primary_key=True),
        sa.Column("rank", _number, primary_key=True),
        sa.Column("entry", _ordered, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("knowledge_terms_entry", "knowledge_terms", ["owner", "base", "entry"])


def downgrade() -> None:
    for table in ("knowledge_terms", "knowledge_entries", "knowledge_bases"):
        op.drop_table(table)
