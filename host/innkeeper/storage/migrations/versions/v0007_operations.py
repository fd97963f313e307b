"""The audit log of one plugin is read without reading all others'."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("audit_plugin", "audit", ["plugin", "id"])


def downgrade() -> None:
    op.drop_index("audit_plugin", "audit")
