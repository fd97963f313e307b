"""How PostgreSQL is spoken to: what every session sets, and how its transactions begin."""

from __future__ import annotations

import time
from typing import Any, Final

from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from innkeeper.errors import UsageError
from innkeeper.storage.postgres_text import adapted
from innkeeper.storage.schema import REVISIONS
from innkeeper.storage.upgrade import upgrade

OLDEST: Final = 130000
"""The oldest version that is spoken to: 13, whose `pg_xact_status` says what became of a transaction."""

LOCK: Final = 0x496E6E6B65657072
"""The advisory lock that a transaction which writes holds from its beginning to its end."""

IDLE: Final = 5.0
"""Seconds without a statement after which the server ends a transaction: a process that was stopped stops nobody."""

WAIT: Final = 10.0
"""Seconds that a transaction waits for another host's, longer than a stopped process can hold one up."""

STATEMENT: Final = 60.0
"""Seconds that a statement may take."""

READING: Final = 120.0
"""As `IDLE`, of a transaction that reads."""

PATIENCE: Final = 30.0
"""Seconds to wait for another host that is opening the same database: its migrations may take a while."""

_SETTLED: Final = IDLE + 3.0
"""Seconds in which a server that was lost in the midst of a commit is asked what became of it: longer than a
transaction whose commit never arrived stays open."""

_PREPARED: Final = 500
"""Statements that a session keeps prepared: all there are, some of them with numbers of several sizes."""

_PING: Final = 1.0
"""Seconds for which a connection is believed to be there still."""

_TRANSACTION: Final = "innkeeper transaction"
_USED: Final = "innkeeper used"
_LIFE: Final = "innkeeper life"

# After a crash a server counts anew, and may give the number of a transaction that was lost to another.
_LIFE_OF_SERVER: Final = "SELECT coalesce(stats_reset::text, '') FROM pg_stat_bgwriter"

Mark = tuple[str, str]
"""The number of a transaction, and what names the time between two crashes of the server."""

_CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


def writing_engine(url: str) -> Engine:
    """An engine whose transactions take turns with those of all hosts."""
    # Each statement sees what was committed before it: the first waits for the lock, and those after it are to see
    # what the holder before wrote.
    engine = _engine(url, {"default_transaction_isolation": "read committed"})
    event.listen(engine, "connect", _note_life)
    event.listen(engine, "begin", _begin_writing)
    return engine


def reading_engine(url: str) -> Engine:
    """An engine whose transactions see one state of the database and cannot write."""
    settings = {
        "default_transaction_isolation": "repeatable read",
        "default_transaction_read_only": "on",
        # It keeps nobody waiting, and may make much of what it reads: the index of a large knowledge base.
        "idle_in_transaction_session_timeout": _milliseconds(READING),
        "transaction_timeout": _milliseconds(10 * READING),
    }
    engine = _engine(url, settings)
    event.listen(engine, "begin", _begin_reading)
    return engine


def _upgrading_engine(url: str) -> Engine:
    patient = {"lock_timeout": _milliseconds(PATIENCE), "statement_timeout": "0", "transaction_timeout": "0"}
    patient |= {"idle_in_transaction_session_timeout": _milliseconds(PATIENCE)}
    engine = _engine(url, {"default_transaction_isolation": "read committed", **patient})
    event.listen(engine, "begin", _begin_writing)
    return engine


def prepare(url: str, name: str, allowed: str) -> str | None:
    """Brings a database to the newest schema; hosts that do so at the same time take turns.

    Args:
        allowed: to which schema one that has rows may be brought; "yes": to the newest.

    Returns:
        The schema that it had (str) where it was upgraded, or None.

    Raises:
        RejectedError: it is another program's, or has a schema of a newer version.
        UsageError: the server is too old, or the database is not one that keeps text as UTF-8; it has rows and is to be
            upgraded, which nobody allowed.
        sqlalchemy.exc.SQLAlchemyError, psycopg.Error: as `faults.translated` knows them.
    """
    engine = _upgrading_engine(url)
    with engine.begin() as connection:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise UsageError(f"the database {name!r} keeps text as {encoding}: make one with ENCODING 'UTF8'")

        def before(revision: str) -> None:
            # Copying it is its server's business, and hosts of the version before may still use it.
            if allowed not in ("yes", REVISIONS[-1]):
                raise UsageError(
                    f"the database {name!r} has schema {revision!r}, and this version of Innkeeper needs "
                    f"{REVISIONS[-1]!r}: end all hosts that use it, copy it (pg_dump), and set [database] upgrade = "
                    f'"{REVISIONS[-1]}"; docs/upgrading.md says more'
                )

        return upgrade(connection, name, before)


def vacuum(url: str, tables: list[str]) -> None:
    """Rewrites tables without what was deleted; who wants to use one meanwhile waits.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, psycopg.Error: as `faults.translated` knows them.
    """
    engine = _engine(url, {"lock_timeout": _milliseconds(WAIT), "statement_timeout": "0", "transaction_timeout": "0"})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        quote = engine.dialect.identifier_preparer.quote
        for table in tables:
            connection.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {quote(table)}")


def mark_of(connection: Connection) -> Mark | None:
    """What names the transaction that a connection is in for `was_committed`, or None: nobody can be asked."""
    info = connection.info
    return (info[_TRANSACTION], info[_LIFE]) if _TRANSACTION in info and _LIFE in info else None


def was_committed(engine: Engine, mark: Mark) -> bool | None:
    """What became of a transaction whose connection was lost; None where nobody says in `_SETTLED` seconds, or the
    server crashed meanwhile."""
    number, life = mark
    ends = time.monotonic() + _SETTLED
    while True:
        try:
            with engine.connect() as connection:
                query = "SELECT pg_xact_status(%(number)s::xid8)"
                status = connection.exec_driver_sql(query, {"number": number}).scalar_one()
                same = connection.exec_driver_sql(_LIFE_OF_SERVER).scalar_one() == life
                if status == "committed" and not same:
                    return None
        except Exception:
            # The server may be starting again.
            status = None
        if status in ("committed", "aborted"):
            return bool(status == "committed")
        if time.monotonic() >= ends:
            return None
        time.sleep(0.1)


def _note_life(connection: Any, record: Any) -> None:
    record.info[_LIFE] = connection.execute(_LIFE_OF_SERVER).fetchone()[0]
    connection.rollback()


def _begin_writing(connection: Connection) -> None:
    connection.info.pop(_TRANSACTION, None)
    row = connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK}), pg_current_xact_id()::text").one()
    connection.info[_TRANSACTION] = row[1]


def _begin_reading(connection: Connection) -> None:
    now = time.monotonic()
    if now - connection.info.get(_USED, now) > _PING:
        # The server may have been started anew since.
        connection.exec_driver_sql("SELECT 1").close()
    connection.info[_USED] = now


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _engine(url: str, settings: dict[str, str]) -> Engine:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise UsageError(
            "the driver for PostgreSQL is not installed, or lacks its library: pip install 'innkeeper[postgres]'"
        ) from None
    every = {
        "idle_in_transaction_session_timeout": _milliseconds(IDLE),
        "idle_session_timeout": "0",
        "lock_timeout": _milliseconds(WAIT),
        "statement_timeout": _milliseconds(STATEMENT),
        # Of the server, for a host that is gone or takes no answer; without a meaning for a socket of its own machine.
        "tcp_user_timeout": _milliseconds(PATIENCE),
        "transaction_timeout": _milliseconds(2 * STATEMENT),
        **settings,
    }
    try:
        said = conninfo_to_dict(url)
    except psycopg.Error:
        # Its message shows parts of the URL.
        raise UsageError("the URL of the database cannot be read: look at [database] url") from None
    given: dict[str, Any] = {key: value for key, value in _CONNECT.items() if key not in said}
    given |= {"client_encoding": "UTF8", "fallback_application_name": "innkeeper"}

    def connect() -> Any:
        # A URL that names the driver alone: libpq reads the real one, with all that it understands.
        connection = psycopg.connect(url, context=adapted(), autocommit=True, **given)
        try:
            _set_up(connection, every)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=NullPool,
        # Errors would show what a guest wrote.
        hide_parameters=True,
        use_native_hstore=False,
    )


def _set_up(connection: Any, settings: dict[str, str]) -> None:
    connection.prepared_max = _PREPARED
    version = connection.info.server_version
    if version < OLDEST:
        raise UsageError(
            f"the database's server is PostgreSQL {version // 10000}: Innkeeper needs {OLDEST // 10000} or newer"
        )
    # Those that a version does not know would be refused.
    since = {"idle_session_timeout": 140000, "transaction_timeout": 170000}
    known = {key: value for key, value in settings.items() if version >= since.get(key, 0)}
    calls = ", ".join(["set_config(%s, %s, false)"] * len(known))
    connection.execute(f"SELECT {calls}", [each for pair in known.items() for each in pair])
