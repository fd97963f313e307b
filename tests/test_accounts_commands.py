"""`innkeeper user`, `innkeeper key` and `innkeeper serve`: what an operator does with users."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from accounts_servers import PASSWORD, QUICK
from innkeeper.cli.main import invoke
from innkeeper.server.accounts import passwords
from innkeeper.server.accounts.master_key import FILE, LOCK, KeyPlace
from innkeeper.server.accounts.vault import Vault
from innkeeper.storage.accounts_credentials import CredentialStore
from innkeeper.storage.database import open_database
from innkeeper.storage.process_lock import ProcessLock

Run = Callable[..., Any]
DATABASE = "innkeeper.db"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(home))
    monkeypatch.setattr(passwords, "PASSWORDS", QUICK)
    return home


def mode(home: Path, name: str) -> None:
    (home / "innkeeper.toml").write_text(f'[server]\nmode = "{name}"\n')


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with --json and gives what it printed; with `fails`, its error."""

    def command(*arguments: str, typed: str = "", fails: bool = False, json_: bool = True) -> Any:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode("utf-8", "surrogateescape"))))
        code = invoke([*arguments, "--json"] if json_ else arguments)
        said, errors = capfd.readouterr()
        assert (code != 0) == fails, said + errors
        if not json_:
            return said + errors
        found = json.loads(said)
        return found["error"]["message"] if fails else found

    return command


@contextmanager
def serving(home: Path, tmp_path: Path, *arguments: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server in a process of its own: its URL, and what it said before it was ready."""
    command = [sys.executable, "-m", "innkeeper", "serve", "--data", str(home), "--port", "0", "--json", *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("INNKEEPER_")}
    environment["INNKEEPER_CACHE"] = str(tmp_path / "cache")
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, env=environment) as child:
        try:
            assert child.stdout is not None
            said: list[dict[str, Any]] = []
            while not said or said[-1]["event"] != "ready":
                said.append(json.loads(child.stdout.readline()))
            # Once it answers it listens to signals, too.
            port = said[-1]["url"].rpartition(":")[2]
            assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=30).status_code == 200
            yield said[-1]["url"], said
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0
        finally:
            child.kill()


def test_the_first_administrator_is_made_by_the_token_that_serve_prints(home: Path, tmp_path: Path, run: Run) -> None:
    mode(home, "MultiUser")
    with serving(home, tmp_path) as (url, said), httpx.Client(base_url=url, trust_env=False) as client:
        [setup] = [each for each in said if each["event"] == "setup"]
        # From this machine alone is not enough.
        body = {"username": "Ann", "password": PASSWORD, "token": "x" * 43}
        assert client.post("/api/auth/register", json=body).status_code == 403
        assert client.post("/api/auth/register", json=body | {"token": setup["token"]}).status_code == 201
        # Commands work beside a server that runs, which knows at once.
        [ann] = run("user", "list")["users"]
        assert (ann["username"], ann["is_admin"], ann["has_password"]) == ("Ann", True, True)
        key = run("key", "new", "--user", "ann", "--scope", "admin", "--scope", "account")["secret"]
        shown = {"authorization": f"Bearer {key}"}
        assert httpx.get(f"{url}/api/admin/users", headers=shown, trust_env=False).status_code == 200
        assert run("key", "revoke", key[:13], "--user", "Ann")["done"] == "revoked"
        assert httpx.get(f"{url}/api/admin/users", headers=shown, trust_env=False).status_code == 401
        run("user", "password", "Ann", typed="another password\n")
        assert client.get("/api/users/me/service-keys").status_code == 401
    with serving(home, tmp_path) as (_, said):
        assert [each["event"] for each in said] == ["ready"]


def test_a_server_without_a_password_does_not_listen_to_others(home: Path, tmp_path: Path, run: Run) -> None:
    for name in ("LocalNoPassword", "SingleUser"):
        mode(home, name)
        assert "asks for no password" in run("serve", "--host", "0.0.0.0", "--port", "0", fails=True)
    run("user", "password", typed=PASSWORD)
    with serving(home, tmp_path, "--host", "0.0.0.0") as (url, said):
        assert [each["event"] for each in said] == ["ready"]
        port = url.rpartition(":")[2]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert client.get("/api/users/me/service-keys").status_code == 401
            assert client.post("/api/auth/login", json={"password": PASSWORD}).status_code == 200
            assert client.get("/api/users/me/service-keys").status_code == 200


def test_a_password_comes_from_a_pipe_and_never_from_the_command_line(home: Path, run: Run) -> None:
    mode(home, "LocalWithPassword")
    assert run("user", "password", typed=f"{PASSWORD}\r\nmore\n") == {"uid": "default_user", "done": "password"}
    [user] = run("user", "list")["users"]
    assert (user["uid"], user["has_password"]) == ("default_user", True)
    for typed, said in (("", "shorter"), ("short\n", "shorter"), ("x" * 300, "longer"), ("\udcff" * 9, "no text")):
        assert said in run("user", "password", typed=typed, fails=True)
    assert "unexpected extra argument" in run("user", "password", "default_user", PASSWORD, fails=True)


def test_users_are_invited_changed_and_kept_out(home: Path, run: Run) -> None:
    assert "there is one user" in run("user", "invite", fails=True)
    mode(home, "MultiUser")
    made = run("user", "invite", "--admin", "--expires", "2d")
    assert len(made["token"]) == 43
    assert made["is_admin"] is True
    assert "at most 30 days" in run("user", "invite", "--expires", "31d", fails=True)
    assert "say which one" in run("user", "password", fails=True)
    assert "no user 'Eve'" in run("user", "password", "Eve", typed=PASSWORD, fails=True)
    mode(home, "SingleUser")
    run("user", "password", typed=PASSWORD)
    # Whoever had the server alone is its administrator when there are others.
    mode(home, "MultiUser")
    assert "no administrator left" in run("user", "role", "default_user", "user", fails=True)
    assert "no administrator left" in run("user", "disable", "local user", fails=True)
    assert "enable" in run("user", "--help", json_=False)


def test_a_key_is_printed_once_and_no_list_has_it(home: Path, run: Run) -> None:
    key = run("key", "new", "--name", "editor", "--expires", "1h")
    assert (key["scopes"], key["name"], key["ends"] - key["created"]) == (["files", "nodes", "runs"], "editor", 3600)
    shown = run("key", "list", json_=False)
    assert key["prefix"] in shown
    assert key["secret"][13:] not in shown
    assert key["secret"] not in json.dumps(run("key", "list"))
    said = run("key", "revoke", "ctsk_" + "x" * 43, fails=True)
    assert "no API key has this id" in said
    # A whole key may be given, and is not said again.
    said = run("key", "revoke", key["secret"], json_=False)
    assert key["secret"][13:] not in said
    assert run("key", "list")["keys"] == []


def test_the_master_key_is_rotated_beside_a_server_and_not_twice_at_once(home: Path, run: Run) -> None:
    state = home / "state"

    async def add(text: str) -> str:
        async with open_database(state / DATABASE) as database:
            return (await Vault(CredentialStore(database), KeyPlace(state, {})).add("u", "s", "", text)).id

    async def reveal(id: str) -> str | None:
        async with open_database(state / DATABASE) as database:
            return await Vault(CredentialStore(database), KeyPlace(state, {})).reveal("u", id)

    run("user", "list")
    [name] = [path.name for path in state.iterdir() if path.suffix == ".db"]
    assert name == DATABASE
    id = trio.run(add, "secret")
    before = (state / FILE).read_text()
    assert run("key", "rotate-master") == {"rotated": 1}
    after = (state / FILE).read_text()
    assert after != before
    assert len(after.split()) == 1
    assert trio.run(reveal, id) == "secret"
    lock = ProcessLock(state / LOCK)
    assert lock.take()
    try:
        assert "another command rotates" in run("key", "rotate-master", fails=True)
    finally:
        lock.release()


def test_in_a_folder_that_is_not_believed_nobody_is_made_a_user(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    monkeypatch.delenv("INNKEEPER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    for arguments in (("user", "password"), ("key", "new"), ("key", "rotate-master"), ("user", "list")):
        assert "nothing was written" in run(*arguments, typed=PASSWORD, fails=True)
    assert not (tmp_path / "state").exists()
