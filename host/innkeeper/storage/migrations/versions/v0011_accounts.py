"""Users, their sessions, keys and credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ordered = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("name_key", _ordered, nullable=False, unique=True),
        sa.Column("password", sa.Text),
        sa.Column("is_admin", sa.Boolean, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("avatar", sa.Text),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("updated", sa.Float(53), nullable=False),
    )
    op.create_table(
        "avatars",
        sa.Column("owner", _ordered, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "service_api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", _ordered, nullable=False),
        sa.Column("hashed_key", sa.Text, nullable=False, unique=True),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("ends", sa.Float(53)),
        sa.Column("used", sa.Float(53)),
    )
    op.create_index("service_api_keys_owner", "service_api_keys", ["owner", "created"])
    op.create_index("service_api_keys_prefix", "service_api_keys", ["prefix"])
    op.create_table(
        "external_credentials",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("service_name", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("hint_first", sa.Text, nullable=False),
        sa.Column("hint_last", sa.Text, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("master_key", _ordered, nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("encrypted", sa.LargeBinary, nullable=False),
    )
    op.create_index("external_credentials_owner", "external_credentials", ["owner", "created"])
    op.create_index("external_credentials_key", "external_credentials", ["master_key", "id"])
    op.create_table(
        "master_keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("hash", _ordered, primary_key=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("seen", sa.Float(53), nullable=False),
        sa.Column("ends", sa.Float(53), nullable=False),
    )
    op.create_index("sessions_owner", "sessions", ["owner", "created"])
    op.create_index("sessions_ends", "sessions", ["ends"])
    op.create_table(
        "invitations",
        sa.Column("id", _ordered, primary_key=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("hash", _ordered, nullable=False, unique=True),
        sa.Column("is_admin", sa.Boolean, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("ends", sa.Float(53), nullable=False),
    )
    op.create_index("invitations_ends", "invitations", ["ends"])


def downgrade() -> None:
    for name in (
        *("invitations", "sessions", "master_keys", "external_credentials", "service_api_keys", "avatars", "users"),
    ):
        op.drop_table(name)
