"""Knowledge bases as documents, with versions, history, vectors, overlays and proposals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from innkeeper.storage.migrations.knowledge_documents import carry_over

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ordered = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "kb_bases",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("info", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("revision", _number, nullable=False),
        sa.Column("entries", _number, nullable=False),
        sa.Column("bytes", _number, nullable=False),
        sa.Column("agent_entries", _number, nullable=False),
        sa.Column("agent_bytes", _number, nullable=False),
        sa.Column("history_rows", _number, nullable=False),
        sa.Column("history_bytes", _number, nullable=False),
        sa.Column("forgotten", _number, nullable=False),
        sa.Column("last", sa.Float(53), nullable=False),
        sa.Column("legs", sa.Text, nullable=False),
        sa.Column("embedded", _number, nullable=False),
        sa.Column("folding", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("synced", _number, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("refused", sa.Text, nullable=False),
        sa.Column("read_only", sa.Boolean, nullable=False),
        sa.Column("approval", sa.Boolean, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("updated", sa.Float(53), nullable=False),
    )
    op.create_table(
        "kb_entries",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("id", _ordered, primary_key=True),
        sa.Column("position", sa.Float(53), nullable=False),
        sa.Column("version", _number, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("updated", sa.Float(53), nullable=False),
        sa.Column("digest", _ordered, nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("terms", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "kb_vectors",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("model", _ordered, primary_key=True),
        sa.Column("digest", _ordered, primary_key=True),
        sa.Column("dimension", _number, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "kb_steps",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("revision", _number, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("changes", _number, nullable=False),
        sa.Column("info_before", sa.Text),
    )
    op.create_table(
        "kb_history",
        sa.Column("number", _number, primary_key=True, autoincrement=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("base", _ordered, nullable=False),
        sa.Column("revision", _number, nullable=False),
        sa.Column("entry", _ordered, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("position", sa.Float(53), nullable=False),
        sa.Column("before", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "kb_batches",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("batch", _ordered, primary_key=True),
        sa.Column("touched", sa.Float(53), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("staged", _number, nullable=False),
        sa.Column("info", sa.Text),
        sa.Column("digest", sa.Text),
    )
    op.create_table(
        "kb_staged",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("batch", _ordered, primary_key=True),
        sa.Column("number", _number, primary_key=True, autoincrement=False),
        sa.Column("id", _ordered, nullable=False),
        sa.Column("expect", _number),
        sa.Column("position", sa.Float(53)),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("document", sa.Text),
        sa.Column("terms", sa.LargeBinary, nullable=False),
        sa.Column("model", sa.Text),
        sa.Column("dimension", _number),
        sa.Column("vector", sa.LargeBinary),
    )
    op.create_table(
        "kb_overlays",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("session", _ordered, primary_key=True),
        sa.Column("entry", _ordered, primary_key=True),
        sa.Column("document", sa.Text),
        sa.Column("version", _number, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("size", _number, nullable=False),
    )
    op.create_table(
        "kb_sessions",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("base", _ordered, primary_key=True),
        sa.Column("session", _ordered, primary_key=True),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("version", _number, nullable=False),
        sa.Column("entries", _number, nullable=False),
        sa.Column("bytes", _number, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("size", _number, nullable=False),
    )
    op.create_table(
        "kb_proposals",
        sa.Column("number", _number, primary_key=True, autoincrement=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("base", _ordered, nullable=False),
        sa.Column("entry", _ordered, nullable=False),
        sa.Column("document", sa.Text),
        sa.Column("expect", _number, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("size", _number, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("kb_entries_order", "kb_entries", ["owner", "base", "position", "id"])
    op.create_index("kb_entries_version", "kb_entries", ["owner", "base", "version"])
    op.create_index("kb_entries_digest", "kb_entries", ["owner", "base", "digest"])
    op.create_index("kb_vectors_at", "kb_vectors", ["at"])
    op.create_index("kb_steps_at", "kb_steps", ["at"])
    op.create_index("kb_history_step", "kb_history", ["owner", "base", "revision", "entry"])
    op.create_index("kb_history_entry", "kb_history", ["owner", "base", "entry", "number"])
    op.create_index("kb_history_number", "kb_history", ["owner", "base", "number"])
    op.create_index("kb_history_at", "kb_history", ["at"])
    op.create_index("kb_batches_touched", "kb_batches", ["touched"])
    op.create_index("kb_sessions_at", "kb_sessions", ["at"])
    op.create_index("kb_proposals_base", "kb_proposals", ["owner", "base", "number"])
    op.create_index("kb_proposals_at", "kb_proposals", ["at"])
    carry_over(op.get_bind())
    for table in ("knowledge_terms", "knowledge_entries", "knowledge_bases"):
        op.drop_table(table)


def downgrade() -> None:
    # What the older schema held is not made again of documents: who needs it has a copy of the file.
    raise RuntimeError("the schema 0009 cannot be taken back: put back a copy of the database")
