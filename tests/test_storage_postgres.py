"""What a server can do to a host that a file cannot: be away, go away, keep others waiting, be somebody else's."""

# Nothing else runs on this loop of trio that short calls of the system could hold up.
# ruff: noqa: ASYNC220

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select, text

from databases import Server, server, why_not
from innkeeper.errors import BusyError, InnkeeperError, RejectedError, UsageError
from innkeeper.storage import postgres
from innkeeper.storage.clock import database_now
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.kv import KvStore
from innkeeper.storage.kv_model import Quota
from innkeeper.storage.location import Location, check_url
from innkeeper.storage.owners import OwnerStore, clean
from innkeeper.storage.postgres_text import escaped, unescaped
from innkeeper.storage.schema import REVISIONS, kv, kv_usage
from postgres_proxy import Proxy

AMPLE = Quota(10_000, 1 << 24)
SECRET = "hunter2secret"
PATIENCE = 60.0


def adding(owner: str) -> Any:
    row = {"owner": owner, "plugin": "p", "entries": 0, "bytes": 0, "version": 0}
    return lambda connection: connection.execute(insert(kv_usage).values(row)).close()


async def owners(db: Database) -> list[str]:
    query = select(kv_usage.c.owner).order_by(kv_usage.c.owner)
    return await db.read(lambda connection: [*connection.scalars(query)])


# --- connections ----------------------------------------------------------------------------------------------------


async def _end_all(url: str) -> None:
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"{query} AND pid <> pg_backend_pid()")


async def test_connections_that_a_server_ended_are_made_anew(postgres_url: str) -> None:
    async with open_database(postgres_url, readers=1) as db:
        await db.write(adding("before"))
        assert await owners(db) == ["before"]
        await _end_all(postgres_url)
        # A reader's connection is believed to be there for a while.
        await trio.sleep(postgres._PING + 0.1)
        await db.write(adding("later"))
        assert await owners(db) == ["before", "later"]


def _dying(times: int, then: Callable[[Connection], Any]) -> Callable[[Connection], Any]:
    left = times

    def dies(connection: Connection) -> Any:
        nonlocal left
        found = then(connection)
        if left:
            left -= 1
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())").close()
        return found

    return dies


async def test_what_a_lost_connection_took_with_it_is_done_once_more_on_another(postgres_url: str) -> None:
    async with open_database(postgres_url, readers=1) as db, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(db.write, adding(f"before{number}"))
        nursery.start_soon(db.write, _dying(1, adding("dies")))
        nursery.start_soon(db.write, adding("later"))
    query = select(kv_usage.c.owner)
    async with open_database(postgres_url, readers=1) as db:
        found = await db.read(_dying(1, lambda connection: [*connection.scalars(query)]))
    assert sorted(found) == ["before0", "before1", "before2", "before3", "before4", "dies", "later"]


async def test_a_transaction_whose_connection_is_lost_again_leaves_nothing_and_says_so(postgres_url: str) -> None:
    async with open_database(postgres_url) as db:
        with pytest.raises(BusyError, match="cannot be reached, or ended the connection"):
            await db.write(_dying(2, adding("dies")))
        with pytest.raises(BusyError, match="ended the connection"):
            await db.read(_dying(2, lambda connection: None))
        await db.write(adding("lives"))
        assert await owners(db) == ["lives"]


@pytest.fixture
def proxy(postgres_server: Server) -> Iterator[Proxy]:
    with Proxy(postgres_server.folder / ".s.PGSQL.5432") as made:
        yield made


async def test_a_commit_that_was_done_counts_even_if_its_answer_was_lost(proxy: Proxy, postgres_url: str) -> None:
    async with open_database(proxy.url(postgres_url)) as db:
        await db.write(adding("first"))
        proxy.cut("answer")
        await db.write(adding("second"))
        assert proxy.cuts == 1
        assert db.commits == 2
        assert await owners(db) == ["first", "second"]


async def test_a_commit_that_did_not_arrive_is_done_again(proxy: Proxy, postgres_url: str) -> None:
    async with open_database(proxy.url(postgres_url)) as db:
        await db.write(adding("first"))
        proxy.cut("commit")
        await db.write(adding("second"))
        assert proxy.cuts == 1
        assert db.commits == 2
        assert await owners(db) == ["first", "second"]


async def test_a_commit_that_arrives_neither_time_is_said_not_to_be_there(proxy: Proxy, postgres_url: str) -> None:
    def cuts(connection: Connection) -> None:
        adding("second")(connection)
        proxy.cut("commit")

    async with open_database(proxy.url(postgres_url)) as db:
        await db.write(adding("first"))
        with pytest.raises(BusyError, match="ended the connection"):
            await db.write(cuts)
        assert proxy.cuts == 2
        assert await owners(db) == ["first"]


async def test_where_nobody_knows_whether_it_is_there_the_error_says_that(
    proxy: Proxy, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_SETTLED", 0.2)
    async with open_database(proxy.url(postgres_url)) as db:
        proxy.cut("answer", for_good=True)
        with pytest.raises(BusyError, match="look whether it is there"):
            await db.write(adding("perhaps"))
        proxy.mend()
        assert await owners(db) == ["perhaps"]


async def test_nobody_believes_a_server_that_crashed_what_became_of_a_transaction(postgres_url: str) -> None:
    """It may have given its number to another since."""
    writing, reading = postgres.writing_engine(postgres_url), postgres.reading_engine(postgres_url)
    with writing.connect() as connection:
        with connection.begin():
            adding("a")(connection)
            mark = postgres.mark_of(connection)
        assert mark is not None
        assert postgres.was_committed(reading, mark) is True
        with connection.begin() as transaction:
            undone = postgres.mark_of(connection)
            transaction.rollback()
        assert undone is not None
        assert undone != mark
        assert postgres.was_committed(reading, undone) is False
    assert postgres.was_committed(reading, (mark[0], "of an earlier life")) is None
    # Whichever had the number: what was undone is not there.
    assert postgres.was_committed(reading, (undone[0], "of an earlier life")) is False


def test_a_crash_of_the_server_begins_another_life() -> None:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    with server() as own:
        before = _life_of(own)
        assert before
        with psycopg.connect(own.url("postgres")) as connection:
            # As the kernel does when there is no memory left: the whole server begins anew.
            os.kill(connection.info.backend_pid, signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        ends = time.monotonic() + PATIENCE
        while (now := _life_of(own)) is None and time.monotonic() < ends:
            time.sleep(0.05)
        assert now is not None
        assert now != before


def _life_of(own: Server) -> str | None:
    try:
        with psycopg.connect(own.url("postgres")) as connection:
            row = connection.execute(postgres._LIFE_OF_SERVER).fetchone()
    except psycopg.OperationalError:
        return None
    return None if row is None else str(row[0])


async def test_what_waits_for_another_host_too_long_is_told_so(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "WAIT", 0.2)
    async with open_database(postgres_url) as db:
        with psycopg.connect(postgres_url) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [postgres.LOCK])
            with pytest.raises(BusyError, match="busy for too long"):
                await db.write(adding("a"))
            # Who reads waits for nobody.
            assert await owners(db) == []
        await db.write(adding("b"))
        assert await owners(db) == ["b"]


async def test_every_session_has_its_bounds_whatever_the_server_or_the_user_has(
    postgres_server: Server, postgres_url: str
) -> None:
    name = postgres_url.partition("@/")[2].partition("?")[0]
    with postgres_server.admin() as admin:
        for setting in ("default_transaction_isolation = serializable", "statement_timeout = 0", "lock_timeout = 0"):
            admin.execute(f"ALTER DATABASE {name} SET {setting}")
    names = ("application_name", "transaction_isolation", "transaction_read_only", "client_encoding", "lock_timeout")
    names += ("statement_timeout", "idle_in_transaction_session_timeout")
    query = "SELECT " + ", ".join(f"current_setting('{each}')" for each in names)

    def ask(connection: Connection) -> tuple[str, ...]:
        return tuple(connection.exec_driver_sql(query).one())

    async with open_database(postgres_url) as db:
        assert await db.write(ask) == ("innkeeper", "read committed", "off", "UTF8", "10s", "1min", "5s")
        assert await db.read(ask) == ("innkeeper", "repeatable read", "on", "UTF8", "10s", "1min", "2min")
    # What the URL says of itself stays.
    async with open_database(f"{postgres_url}&application_name=mine") as db:
        assert (await db.read(ask))[0] == "mine"


async def test_a_statement_without_an_end_is_ended(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "STATEMENT", 0.2)
    async with open_database(postgres_url, readers=1) as db:
        for ask in (db.read, db.write):
            with pytest.raises(BusyError, match="busy for too long"):
                await ask(lambda connection: connection.exec_driver_sql("SELECT pg_sleep(60)"))
        assert await owners(db) == []


HOLDS = """
import sys, time, trio
from innkeeper.storage import postgres
from innkeeper.storage.database import open_database
from sqlalchemy import text

postgres.IDLE = 0.5

def slow(connection):
    connection.execute(text("INSERT INTO kv_usage VALUES ('stopped', 'p', 0, 0, 0)"))
    print("writes", flush=True)
    sys.stdin.readline()
    connection.execute(text("SELECT 1"))

async def main():
    async with open_database(sys.argv[1]) as db:
        await db.write(slow)

trio.run(main)
"""


async def test_a_process_that_is_stopped_in_the_midst_of_a_write_stops_nobody_and_writes_again(
    postgres_url: str,
) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLDS, postgres_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writes\n"
        os.kill(child.pid, signal.SIGSTOP)
        async with open_database(postgres_url) as db:
            await db.write(adding("other"))
            assert await owners(db) == ["other"]
            os.kill(child.pid, signal.SIGCONT)
            said, _ = child.communicate(b"go on\n", PATIENCE)
            # The server had ended its transaction.
            assert said == b"writes\n"
            assert child.returncode == 0
            assert await owners(db) == ["other", "stopped"]
    finally:
        child.kill()
        child.wait()


async def test_many_hosts_write_at_once_and_no_count_is_lost(postgres_url: str) -> None:
    """Read, then write: as safe as where one process has the file for itself."""

    def count(connection: Connection) -> None:
        number = connection.scalar(select(kv_usage.c.entries))
        connection.execute(kv_usage.update().values(entries=number + 1))

    async with open_database(postgres_url) as first:
        await first.write(adding("o"))

        async def host() -> None:
            async with open_database(postgres_url, readers=1) as db, trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(db.write, count)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(host)
        assert await first.read(lambda connection: connection.scalar(select(kv_usage.c.entries))) == 200


async def test_a_read_sees_one_state_whatever_is_written_meanwhile(database_place: Location) -> None:
    gate, read = threading.Event(), threading.Event()

    def twice(connection: Connection) -> tuple[list[str], list[str]]:
        query = select(kv_usage.c.owner)
        first = [*connection.scalars(query)]
        read.set()
        assert gate.wait(PATIENCE)
        return first, [*connection.scalars(query)]

    async with open_database(database_place) as db, trio.open_nursery() as nursery:

        async def reader() -> None:
            first, second = await db.read(twice)
            assert first == second == ["before"]

        await db.write(adding("before"))
        nursery.start_soon(reader)
        assert await trio.to_thread.run_sync(read.wait, PATIENCE)
        await db.write(adding("meanwhile"))
        gate.set()
    async with open_database(database_place) as db:
        assert await owners(db) == ["before", "meanwhile"]


# --- opening --------------------------------------------------------------------------------------------------------


OPENS = """
import sys, trio
from innkeeper.storage import upgrade
from innkeeper.storage.database import open_database

async def main():
    async with open_database(sys.argv[1]):
        print("alembic" in sys.modules)

trio.run(main)
"""


def test_hosts_that_start_at_once_migrate_once(empty_postgres_url: str) -> None:
    command = [sys.executable, "-c", OPENS, empty_postgres_url]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    said = sorted(child.communicate(timeout=PATIENCE)[0] for child in children)
    assert said == [b"False\n", b"False\n", b"True\n"]
    with psycopg.connect(empty_postgres_url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISIONS[-1],)]


async def refusal(where: Any, kind: type[InnkeeperError]) -> str:
    with pytest.raises(kind) as caught:
        async with open_database(where):
            pass
    assert SECRET not in str(caught.value)
    return str(caught.value)


async def test_what_is_another_programs_or_of_a_newer_version_is_refused(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("CREATE TABLE theirs (a int)")
    assert "is another program's" in await refusal(empty_postgres_url, RejectedError)
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("DROP TABLE theirs")
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    assert "which a newer version of Innkeeper wrote" in await refusal(empty_postgres_url, RejectedError)


async def test_a_database_that_does_not_keep_every_text_is_refused(postgres_server: Server) -> None:
    options = "ENCODING 'LATIN1' LOCALE_PROVIDER 'libc' LC_COLLATE 'C' LC_CTYPE 'C'"
    with postgres_server.database("template0", options) as url:
        assert "keeps text as LATIN1" in await refusal(url, UsageError)


async def test_what_is_not_there_is_said_without_the_password(postgres_server: Server, tmp_path: Path) -> None:
    def url(rest: str) -> str:
        return f"postgresql://innkeeper:{SECRET}@/{rest}"

    said = await refusal(url(f"none?host={postgres_server.folder}"), UsageError)
    assert said.startswith("there is no database 'postgresql:///none'")
    said = await refusal(url(f"none?host={tmp_path}"), BusyError)
    assert "cannot be reached" in said
    # Nobody listens there, since the port is none that a service has.
    said = await refusal(f"postgresql://innkeeper:{SECRET}@127.0.0.1:1/none", BusyError)
    assert "'postgresql://127.0.0.1:1/none' cannot be reached" in said
    assert "cannot be read" in await refusal(url("none?sslmode=perhaps&no_such_option=1"), UsageError)


async def test_a_user_who_may_not_is_told_so(postgres_server: Server, postgres_url: str) -> None:
    with postgres_server.admin() as admin:
        admin.execute("DROP ROLE IF EXISTS stranger")
        admin.execute("CREATE ROLE stranger LOGIN")
    name = postgres_url.partition("@/")[2]
    assert "look at the rights of its user" in await refusal(f"postgresql://stranger@/{name}", UsageError)
    assert "refuses the user" in await refusal(f"postgresql://nobody_at_all:{SECRET}@/{name}", UsageError)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://h/d",
        f"postgresql://u:{SECRET}",
        f"postgresql://u:{SECRET}/x@h/d",
        f"postgresql://u:{SECRET}?@h/d",
        f"postgresql://h/{SECRET}@",
        f"postgresql://u:{SECRET}@h/d#x",
        f"host=h password={SECRET}",
        f"postgresql://u:{SECRET}@h/d\n",
        "postgresql://u@h/" + "d" * 1000,
    ],
)
async def test_a_url_that_is_none_is_refused_and_not_shown(url: str) -> None:
    assert "must be like" in await refusal(url, UsageError)


_WORD = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=9)


@given(_WORD, _WORD, _WORD, _WORD)
def test_no_part_of_a_url_that_is_secret_is_ever_shown(user: str, password: str, host: str, database: str) -> None:
    url = f"postgresql://<{user}>:<{password}>@{host}/{database}?password=<{password}>"
    assert check_url(url) == Location.of(url).name == f"postgresql://{host}/{database}"
    assert f"<{password}>" not in repr(Location.of(url))


@given(st.text(max_size=60))
def test_whatever_a_url_is_what_is_shown_of_it_has_no_user(rest: str) -> None:
    try:
        shown = check_url(f"postgresql://{rest}")
    except ValueError:
        return
    assert "@" not in shown
    assert "?" not in shown
    assert check_url(shown) == shown


# --- text -----------------------------------------------------------------------------------------------------------

_ODD = st.text(st.sampled_from("\0\1\2\3a\u00e9\U0001f600"), max_size=12)


@settings(max_examples=500)
@given(_ODD, _ODD)
def test_escaped_text_comes_back_and_keeps_its_order(one: str, other: str) -> None:
    assert unescaped(escaped(one)) == one
    assert "\0" not in escaped(one)
    assert (one < other) == (escaped(one) < escaped(other))


@given(_ODD)
def test_text_that_nobody_escaped_is_read_all_the_same(found: str) -> None:
    assert isinstance(unescaped(found), str)


@settings(deadline=None, max_examples=30)
@given(found=st.lists(_ODD | st.text(st.characters(exclude_categories=["Cs"]), max_size=9), unique=True, max_size=9))
def test_every_text_is_kept_and_ordered_by_its_bytes(found: list[str], shared_place: Location) -> None:
    async def main() -> None:
        async with open_database(shared_place, readers=1) as db:
            await db.write(lambda connection: connection.execute(kv_usage.delete()).close())
            for each in found:
                await db.write(adding(each))
            assert await owners(db) == sorted(found, key=str.encode)
            for each in found:
                one = select(kv_usage.c.plugin).where(kv_usage.c.owner == each)
                assert await db.read(lambda connection, one=one: connection.scalar(one)) == "p"

    trio.run(main)


# --- the clock ------------------------------------------------------------------------------------------------------


async def test_the_clock_of_the_database_says_seconds_since_1970(database_place: Location) -> None:
    def ask(connection: Connection) -> tuple[float, float, bool]:
        first, same = connection.execute(select(database_now(), database_now() - database_now())).one()
        time.sleep(0.01)
        later = connection.scalar(select(database_now()))
        assert isinstance(first, float)
        assert same == 0
        return first, later - first, bool(connection.scalar(select(database_now() + 60 > first)))

    async with open_database(database_place) as db:
        for each in (db.read, db.write):
            # The server is on this machine.
            before = time.time()
            now, passed, ahead = await each(ask)
            assert before - 0.002 <= now <= time.time() + 0.002
            assert passed >= 0.008
            assert ahead


async def test_a_time_that_a_statement_writes_is_of_the_database(database_place: Location) -> None:
    def write(connection: Connection) -> None:
        row = {"owner": "o", "plugin": "p", "scope": "", "key": "k", "value": b"", "version": 1, "size": 1}
        connection.execute(text("DELETE FROM kv"))
        connection.execute(insert(kv).values(**row, expires=database_now() + 60))

    async with open_database(database_place) as db:
        await db.write(write)
        expires = await db.read(lambda connection: connection.scalar(text("SELECT expires FROM kv")))
        assert abs(expires - time.time() - 60) < PATIENCE / 2


# --- erasing --------------------------------------------------------------------------------------------------------


async def test_what_was_deleted_is_not_in_the_tables_files_afterwards(
    postgres_server: Server, postgres_url: str
) -> None:
    place = Location.of(postgres_url)
    word = b"a word that nobody else writes"
    async with open_database(place) as db:
        await KvStore(db).put("o", "p", "", "k", word * 20, quota=AMPLE)
        await KvStore(db).put("other", "p", "", "k", b"stays", quota=AMPLE)
        with postgres_server.admin() as admin:
            admin.execute("CHECKPOINT")
        assert _found(postgres_server.folder, place, word)
        await OwnerStore(db).erase("o")
        await trio.to_thread.run_sync(partial(clean, place))
        with postgres_server.admin() as admin:
            admin.execute("CHECKPOINT")
        assert not _found(postgres_server.folder, place, word)
        assert await KvStore(db).get("other", "p", "", "k") is not None


def _found(folder: Path, place: Location, word: bytes) -> bool:
    with psycopg.connect(place.url) as connection:
        row = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    assert row is not None
    return any(word in path.read_bytes() for path in (folder / "data" / "base" / str(row[0])).iterdir())


# --- many rows ------------------------------------------------------------------------------------------------------


async def test_a_read_in_pieces_takes_no_more_of_a_server_than_it_looks_at(database_place: Location) -> None:
    """A large base is not in memory twice while it is read."""
    rows = [{"owner": f"{number:05}", "plugin": "p", "entries": 0, "bytes": 0, "version": 0} for number in range(2000)]
    declared: list[str] = []

    def read(connection: Connection) -> int:
        result = connection.execute(select(kv_usage.c.owner), execution_options={"yield_per": 100})
        first = result.first()
        assert first is not None
        if connection.dialect.name == "postgresql":
            assert isinstance(result.context.cursor, psycopg.ServerCursor)
            declared.append(result.context.cursor.name)
        return len([*connection.execute(select(kv_usage.c.owner), execution_options={"yield_per": 100})])

    async with open_database(database_place) as db:
        await db.write(lambda connection: connection.execute(insert(kv_usage), rows).close())
        assert await db.read(read) == 2000
    assert bool(declared) == (database_place.path is None)
