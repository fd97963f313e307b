"""One table of runs, whoever submitted them; leases, events, results of nodes, and who leads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ordered = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_CARRIED = (
    *("number", "id", "owner", "plugin", "name", "status", "cancel", "generation", "schedule"),
    *("job", "submitted", "started", "ended", "outputs", "error", "size"),
)
"""Columns that `submitted_runs` had, too."""


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("number", _number, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("owner", _ordered, nullable=False),
        sa.Column("plugin", _ordered, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("offered", sa.Boolean, nullable=False),
        sa.Column("cancel", sa.Boolean, nullable=False),
        sa.Column("priority", _number, nullable=False),
        sa.Column("after_crash", sa.Text, nullable=False),
        sa.Column("crashes", _number, nullable=False),
        sa.Column("deadline", sa.Float(53)),
        sa.Column("generation", _number, nullable=False),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("attempt", _number, nullable=False),
        sa.Column("lease_until", sa.Float(53)),
        sa.Column("submitted", sa.Float(53), nullable=False),
        sa.Column("started", sa.Float(53)),
        sa.Column("ended", sa.Float(53)),
        sa.Column("seq", _number, nullable=False),
        sa.Column("gone_first", _number, nullable=False),
        sa.Column("gone_last", _number, nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("kept", _number, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("outputs", sa.LargeBinary),
        sa.Column("job", sa.LargeBinary),
        sqlite_autoincrement=True,
    )
    op.create_index("runs_account", "runs", ["owner", "plugin", "number"])
    under_way = sa.text("ended IS NULL")
    op.create_index(
        "runs_under_way",
        "runs",
        ["status", "owner", "plugin", "priority", "number", "offered"],
        sqlite_where=under_way,
        postgresql_where=under_way,
    )
    op.create_index("runs_ended", "runs", ["ended"])
    _carry_over()
    op.drop_table("submitted_runs")
    op.create_table(
        "run_events",
        sa.Column("run", _number, primary_key=True, autoincrement=False),
        sa.Column("upto", _number, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("first", _number, nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("run_events_kind", "run_events", ["run", "kind", "upto"])
    op.create_table(
        "node_results",
        sa.Column("run", _number, primary_key=True, autoincrement=False),
        sa.Column("seq", _number, primary_key=True, autoincrement=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "leaders",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("epoch", _number, nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
    )
    op.add_column("schedules", sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("schedules", sa.Column("priority", _number, nullable=False, server_default=sa.text("0")))
    op.add_column("schedules", sa.Column("after_crash", sa.Text, nullable=False, server_default=sa.text("'interrupt'")))
    op.add_column("schedules", sa.Column("lasting", sa.Float(53)))


def _carry_over() -> None:
    """Moves the rows. What is said to run ran in a host that knew no leases: its lease has run out."""
    connection = op.get_bind()
    old = sa.table("submitted_runs", *(sa.column(name) for name in _CARRIED))
    new = sa.table(
        "runs",
        *(sa.column(name) for name in _CARRIED),
        *(sa.column(name) for name in ("offered", "priority", "after_crash", "crashes", "holder", "attempt")),
        *(sa.column(name) for name in ("lease_until", "seq", "gone_first", "gone_last", "kept")),
    )
    running = old.c.status == "running"
    values = {
        "offered": sa.true(),
        "priority": sa.literal(0),
        "after_crash": sa.literal("interrupt"),
        "crashes": sa.literal(0),
        "holder": sa.case((running, sa.literal("")), else_=sa.null()),
        "attempt": sa.case((old.c.started.is_(None), 0), else_=1),
        "lease_until": sa.case((running, sa.literal(0.0)), else_=sa.null()),
        "seq": sa.literal(0),
        "gone_first": sa.literal(0),
        "gone_last": sa.literal(0),
        "kept": sa.literal(0),
    }
    moved = sa.select(*(old.c[name] for name in _CARRIED), *values.values())
    connection.execute(sa.insert(new).from_select([*_CARRIED, *values], moved))
    if connection.dialect.name == "postgresql":
        # Numbers that were given are not given again, not those of runs that were deleted either.
        last = sa.func.coalesce(sa.select(sa.func.max(new.c.number)).scalar_subquery(), 0)
        given_next = sa.func.nextval(sa.func.pg_get_serial_sequence("submitted_runs", "number"))
        sequence = sa.func.pg_get_serial_sequence("runs", "number")
        connection.execute(sa.select(sa.func.setval(sequence, sa.func.greatest(last + 1, given_next), sa.false())))
    else:
        # As above.
        counters = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
        given = sa.select(counters.c.seq).where(counters.c.name == "submitted_runs")
        counted = connection.scalar(given)
        if counted:
            connection.execute(sa.delete(counters).where(counters.c.name == "runs"))
            connection.execute(sa.insert(counters).values(name="runs", seq=counted))


def downgrade() -> None:
    # Runs of users, leases and events have no place in the older schema.
    raise RuntimeError("the schema 0010 cannot be taken back: put back a copy of the database")
