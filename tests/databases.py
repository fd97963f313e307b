"""Fresh databases for tests: a file of SQLite, or a database on a PostgreSQL server of the tests' own.

The server is Debian's (`postgresql`), in a temporary folder, reached by a socket in it, and ends with the session. One
database is brought to the newest schema, and each test gets a copy of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from innkeeper.storage.database import open_database
from innkeeper.storage.location import Location

PR_SET_PDEATHSIG = 1
PATIENCE = 60.0
TEMPLATE = "innkeeper_template"

Places = tuple[Location, Location]


class Server:
    """A PostgreSQL server that runs. Made by `server`."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        """The URL of a database on it."""
        return f"postgresql://innkeeper@/{database}?host={self.folder}"

    def admin(self) -> Any:
        """A connection of psycopg, beside all databases of tests."""
        import psycopg

        return psycopg.connect(self.url("postgres"), autocommit=True)

    @contextlib.contextmanager
    def database(self, template: str = TEMPLATE, options: str = "") -> Iterator[str]:
        """The URL of a new database, which goes with the block."""
        name = f"inn_{next(self._numbers)}"
        with self.admin() as admin:
            # Copying the files of a small database is quicker than logging each of its pages.
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy {options}")
        try:
            yield self.url(name)
        finally:
            with self.admin() as admin:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self, how: int = signal.SIGINT) -> None:
        """Ends it: at once for those who are connected."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)


def why_not() -> str | None:
    """Why no server of the tests' own can be started, or None."""
    try:
        import psycopg  # noqa: F401 (only whether it can be)
    except ImportError:
        return "PostgreSQL is left out: its driver is not installed (pip install 'innkeeper[postgres]')"
    if _program("initdb") is None or _program("postgres") is None:
        return "PostgreSQL is left out: it is not installed (Debian: apt-get install postgresql)"
    if os.getuid() == 0 and _other_user() is None:
        return "PostgreSQL is left out: it does not run as root, and there is no other user"
    return None


@contextlib.contextmanager
def server(*, durable: bool = False) -> Iterator[Server]:
    """A server for the time of the block.

    Args:
        durable: whether what is committed is on the disk, as it is outside of tests.
    """
    # Its socket lies in there, whose path may not be long.
    folder = Path(tempfile.mkdtemp(prefix="inn-pg-", dir="/tmp"))
    try:
        with _started(folder, durable) as process:
            made = Server(folder, process)
            try:
                yield made
            finally:
                made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _started(folder: Path, durable: bool) -> Iterator[subprocess.Popen[bytes]]:
    data = folder / "data"
    user = _other_user() if os.getuid() == 0 else None
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    identity: dict[str, Any] = {}
    if user is not None:
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    common: dict[str, Any] = {"cwd": folder, "env": environment, "stdin": subprocess.DEVNULL, **identity}
    # Names are not in the order of their bytes here, as on most servers.
    making = [_program("initdb"), "-D", data, "-U", "innkeeper", "-A", "trust", "-E", "UTF8", "--no-sync"]
    making += ["--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8"]
    done = subprocess.run(making, capture_output=True, check=False, **common)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "shared_buffers": "32MB"}
    settings |= {"autovacuum": "off", "max_connections": "60", "log_min_messages": "fatal"}
    if not durable:
        settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    command = [_program("postgres"), "-D", data, *(f"--{key}={value}" for key, value in settings.items())]
    with open(folder / "log", "wb") as log:
        # It ends with this process, however that ends; a Ctrl-C is for the tests, which end it then.
        process = subprocess.Popen(
            command, stdout=log, stderr=log, preexec_fn=_end_with_parent, start_new_session=True, **common
        )
    try:
        _wait(folder, process)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            process.wait(PATIENCE)


def _wait(folder: Path, process: subprocess.Popen[bytes]) -> None:
    import psycopg

    ends = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(f"postgresql://innkeeper@/postgres?host={folder}").close()
        except psycopg.OperationalError:
            said = (folder / "log").read_text(errors="replace")
            assert process.poll() is None, said
            assert time.monotonic() < ends, said
            time.sleep(0.05)
        else:
            return


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _program(name: str) -> str | None:
    # Debian puts them beside the way, one folder for each version.
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name)


def _other_user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The session's server, with a template of the newest schema."""
    why = why_not()
    if why is not None:
        pytest.skip(why)
    with server() as made:
        with made.admin() as admin:
            admin.execute(f"CREATE DATABASE {TEMPLATE}")
        trio.run(_filled, made.url(TEMPLATE))
        yield made


async def _filled(url: str) -> None:
    async with open_database(url, readers=1):
        pass


@pytest.fixture(params=["sqlite", "postgresql"])
def database_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """What `open_database` takes: of a database that is nobody else's."""
    folder = tmp_path / "private"
    if request.param == "sqlite":
        yield Location.of(folder / "inn.db")
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield Location.of(url, folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def two_places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Places]:
    """Two of `database_place`."""
    if request.param == "sqlite":
        yield Location.of(tmp_path / "a" / "inn.db"), Location.of(tmp_path / "b" / "inn.db")
        return
    made = request.getfixturevalue("postgres_server")
    with made.database() as one, made.database() as other:
        yield Location.of(one, tmp_path / "a"), Location.of(other, tmp_path / "b")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Location]:
    """One for all tests of a file."""
    folder = tmp_path_factory.mktemp("shared") / "private"
    if request.param == "sqlite":
        yield Location.of(folder / "inn.db")
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield Location.of(url, folder)


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL of a database with the newest schema, which is nobody else's."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL of a database without a table, which is nobody else's."""
    with postgres_server.database("template1") as url:
        yield url
