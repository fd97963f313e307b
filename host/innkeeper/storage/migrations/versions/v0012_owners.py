"""What plugins kept for `local` is the local user's, who is `default_user` everywhere from here on.

Versions before knew two names for one person: runs and schedules that a user queued were `default_user`'s, and what
plugins kept and started was `local`'s. No version before wrote anything of `default_user` into a table whose rows are
found by their owner; where somebody else did, what is `local`'s in these tables stays as it is and nothing is lost.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_OLD: Final = "local"
_NEW: Final = "default_user"

_NUMBERED: Final = ("runs", "schedules", "firings", "events")
"""Tables whose rows have a name of their own: two owners' never meet."""

_TOGETHER: Final = (
    ("kv", "kv_usage"),
    ("journals", "journals_usage"),
    ("memo", "memo_usage"),
    ("llm_usage",),
    ("subscriptions",),
)
"""Tables that go together: one counts what is in the other."""


def upgrade() -> None:
    for table in _NUMBERED:
        _rename(table)
    for tables in (*_TOGETHER, _knowledge()):
        if not any(_taken(table) for table in tables):
            for table in tables:
                _rename(table)


def downgrade() -> None:
    # Nobody could tell whose a row was before.
    raise RuntimeError("the schema 0012 cannot be taken back: put back a copy of the database")


def _knowledge() -> tuple[str, ...]:
    """Tables of knowledge bases, which refer to each other by owner and base."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    return tuple(
        name
        for name in sorted(inspector.get_table_names())
        if name.startswith("kb_") and any(column["name"] == "owner" for column in inspector.get_columns(name))
    )


def _taken(table: str) -> bool:
    query = sa.text(f"SELECT 1 FROM {table} WHERE owner = :owner LIMIT 1")  # noqa: S608 (a name of ours)
    return op.get_bind().execute(query, {"owner": _NEW}).first() is not None


def _rename(table: str) -> None:
    query = sa.text(f"UPDATE {table} SET owner = :new WHERE owner = :old")  # noqa: S608 (a name of ours)
    op.execute(query.bindparams(old=_OLD, new=_NEW))
