"""`innkeeper doctor --security`: each check finds what it is for, says what to do, and changes nothing."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from guests import assemble
from innkeeper.cli.main import invoke
from innkeeper.cli.security import machine, places
from innkeeper.cli.security.finding import CHECKS, STATES, Finding
from innkeeper.cli.security.report import inspect_security
from innkeeper.plugins.home import open_home
from innkeeper.sandbox import bounds
from native_homes import House, node
from wasi_scripts import write_plugin

NOTHING = assemble('(module (func (export "f")))')
OTHER = assemble('(module (func (export "g")))')
SECRET = "hunter2-is-in-no-report"
STRANGER = 65534

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="gives a file to somebody else, which only root may")


class Home:
    """A home in which nothing is wrong, but for where a test has to lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for folder in ("plugins", "manifests"):
            (path / folder).mkdir(parents=True)
            (path / folder).chmod(0o755)

    def settings(self, text: str) -> None:
        (self.path / "innkeeper.toml").write_text(text)

    def plugin(self, *capabilities: str, extra: str = "") -> None:
        write_plugin(self.path, "demo", NOTHING, requests=capabilities, grants=capabilities, extra=extra)

    def all(self, engine: tuple[str, ...] = ()) -> list[Finding]:
        return trio.run(inspect_security, open_home(self.path), list(engine))

    def found(self, check: str) -> list[Finding]:
        return [each for each in self.all() if each.check == check]

    def states(self, check: str) -> set[str]:
        return {each.state for each in self.found(check)}

    def one(self, check: str, state: str, *words: str) -> Finding:
        """The finding of this state, which says these words and what to do."""
        found = [each for each in self.found(check) if each.state == state]
        assert len(found) == 1, self.found(check)
        for word in words:
            assert word in found[0].what + found[0].advice, found[0]
        assert found[0].advice
        return found[0]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in list(os.environ):
        if name.startswith("INNKEEPER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("INNKEEPER_CACHE", "off")
    # A test has a user, a machine and limits of its own, of which nothing is said here.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, 0))
    monkeypatch.setattr(machine, "_CORE_PATTERN", tmp_path / "core_pattern")
    monkeypatch.setattr(machine, "memory_of_machine", lambda: 64 << 30)
    monkeypatch.setattr(places, "_SHARED", -1)
    tmp_path.chmod(0o755)
    made = Home(tmp_path / "home")
    made.path.chmod(0o755)
    made.settings("[bounds]\nguest_memory = '1GiB'\nlive_guests = 1000\n")
    return made


def test_where_nothing_is_wrong_each_check_says_so_once(home: Home) -> None:
    found = home.all()
    assert [(each.check, each.state) for each in found] == [(check, "ok") for check in CHECKS]
    for each in found:
        first, *more = each.what.split()
        assert first not in ("it", "they", "there", "none", "as"), "beside a check's name that says nothing"
        assert len(more) > 1, each


def test_a_home_that_is_not_there_has_nothing_wrong(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    found = trio.run(inspect_security, open_home(), [])
    assert {each.state for each in found if each.check in ("home", "state", "grants.files")} == {"ok"}
    assert not (tmp_path / "none").exists()


# --- files and folders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_home_that_others_may_write_to_is_bad(home: Home, mode: int) -> None:
    home.path.chmod(mode)
    home.one("home", "bad", "others may write", "chmod go-w")


def test_a_home_below_a_folder_that_others_may_write_to_is_bad(home: Home, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    home.one("home", "bad", "above it")


def test_a_home_below_a_folder_that_everybody_shares_is_said(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    tmp_path.chmod(0o1777)
    home.one("home", "warn", "everybody may make files", "of your own")


@needs_root
def test_what_belongs_to_a_stranger_is_said(home: Home) -> None:
    grant = home.path / "manifests" / "demo.toml"
    grant.touch()
    os.chown(grant, STRANGER, -1)
    home.one("grants.files", "bad", "another user", str(STRANGER))
    os.chown(home.path, STRANGER, -1)
    home.one("home", "warn", "another user")
    # Whoever owns the home decides there.
    assert home.states("grants.files") == {"ok"}


@pytest.mark.parametrize("name", ["manifests", "manifests/demo.toml", "manifests/trust/p.toml", "innkeeper.toml"])
def test_grants_trust_and_settings_that_others_may_write_to_are_bad(home: Home, name: str) -> None:
    path = home.path / name
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.touch()
    path.chmod(0o777 if path.is_dir() else 0o666)
    home.one("grants.files", "bad", name, "chmod go-w")


def test_links_are_followed_to_what_counts(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "demo.toml").touch(0o666)
    (elsewhere / "demo.toml").chmod(0o666)
    (home.path / "manifests" / "demo.toml").symlink_to(elsewhere / "demo.toml")
    home.one("grants.files", "bad", "demo.toml")
    (elsewhere / "demo.toml").chmod(0o644)
    elsewhere.chmod(0o777)
    home.one("grants.files", "bad", "elsewhere", "above it")
    # The folder of grants may be one, too.
    (home.path / "manifests" / "demo.toml").unlink()
    (home.path / "manifests").rmdir()
    (home.path / "manifests").symlink_to(elsewhere)
    home.one("grants.files", "bad", "elsewhere")


def test_a_tree_of_many_such_files_is_not_a_report_of_many_lines(home: Home) -> None:
    for number in range(50):
        (home.path / "manifests" / f"p{number}.toml").touch()
        (home.path / "manifests" / f"p{number}.toml").chmod(0o666)
    assert len(home.found("grants.files")) == 5


def test_plugins_that_others_may_exchange_are_bad_where_new_bytes_get_anything(home: Home) -> None:
    home.plugin()
    (home.path / "plugins" / "demo.wasm").chmod(0o666)
    home.one("plugins.files", "warn", "demo.wasm")
    home.settings("[policy]\nnew_bytes = 'same'\n")
    home.one("plugins.files", "bad", "demo.wasm")
    home.settings("native_plugins = true\n")
    home.one("plugins.files", "bad", "demo.wasm")


def test_a_state_that_others_can_get_at_is_said(home: Home) -> None:
    state = home.path / "state"
    state.mkdir(mode=0o700)
    database = state / "innkeeper.db"
    database.touch(0o600)
    assert home.states("state") == {"ok"}
    database.chmod(0o644)
    home.one("state", "warn", "others may read", "innkeeper.db")
    database.chmod(0o666)
    home.one("state", "bad", "others may write")
    database.chmod(0o600)
    (state / "innkeeper.db-wal").symlink_to(database)
    home.one("state", "bad", "-wal", "is a link")
    (state / "innkeeper.db-wal").unlink()
    os.link(database, state / "second")
    home.one("state", "bad", "hard link")
    (state / "second").unlink()
    state.chmod(0o755)
    home.one("state", "warn", "others may read")
    state.chmod(0o777)
    assert home.states("state") == {"bad"}
    assert state.stat().st_mode & 0o777 == 0o777, "it looks, and changes nothing"


@needs_root
def test_a_state_of_a_stranger_is_bad(home: Home) -> None:
    (home.path / "state").mkdir(mode=0o700)
    os.chown(home.path / "state", STRANGER, -1)
    home.one("state", "bad", "another user")


def test_a_cache_that_others_can_get_at_is_said(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "compiled"
    monkeypatch.setenv("INNKEEPER_CACHE", str(cache))
    assert home.states("cache") == {"ok"}
    assert not cache.exists()
    cache.mkdir(mode=0o700)
    assert home.states("cache") == {"ok"}
    cache.chmod(0o777)
    home.one("cache", "bad", "others may write")
    cache.rmdir()
    cache.symlink_to(tmp_path)
    home.one("cache", "bad", "is a link")


def test_a_file_of_secrets_that_the_host_does_not_use_is_said_and_not_quoted(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "secrets.toml"
    home.settings(f"[secrets]\nfile = '{file}'\n")
    home.one("secrets.file", "warn", "cannot be read")
    file.write_text(f'KEY = "{SECRET}"\n')
    file.chmod(0o644)
    home.one("secrets.file", "bad", "others may read", "no more")
    file.chmod(0o600)
    assert home.states("secrets.file") == {"ok"}
    file.write_text(f'KEY = "{SECRET}\n')
    assert SECRET not in str(home.one("secrets.file", "bad", "is not TOML"))


# --- folders for plugins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["", "home", "home/state", "home/manifests", "home/plugins"])
def test_a_folder_for_plugins_that_holds_what_is_the_hosts_is_bad(home: Home, tmp_path: Path, where: str) -> None:
    (home.path / "state").mkdir(mode=0o700)
    home.settings(f"[files.roots]\nuser = '{tmp_path / where}'\n")
    home.one("files.roots", "bad", "user://", "another folder")


def test_folders_for_plugins_that_lie_inside_of_each_other_or_are_not_there_are_said(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    home.settings(f"[files.roots]\nuser = '{tmp_path}/a'\nshared = '{tmp_path}/a/b'\n")
    assert home.states("files.roots") == {"bad"}
    home.settings(f"[files.roots]\nuser = '{tmp_path}/gone'\n")
    home.one("files.roots", "warn", "no folder", "make it")


def test_a_folder_for_plugins_that_everybody_may_write_to_is_said(home: Home, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    home.settings(f"[files.roots]\nuser = '{tmp_path}/a'\n")
    assert home.states("files.roots") == {"ok"}
    (tmp_path / "a").chmod(0o777)
    home.one("files.roots", "warn", "everybody may write")


def test_a_folder_for_plugins_that_holds_the_operators_own_is_said(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "people" / "ada").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "people" / "ada"))
    for folder in ("people", "people/ada"):
        home.settings(f"[files.roots]\nuser = '{tmp_path / folder}'\n")
        home.one("files.roots", "warn", "your own folder")


# --- rights ---------------------------------------------------------------------------------------------------------


def test_the_native_tier_is_said_and_what_changed_since_it_was_trusted_is_bad(home: Home) -> None:
    house = House.__new__(House)
    house.path = home.path
    home.settings("native_plugins = true\n")
    house.native("p", node("return {}"))
    home.one("native", "warn", "all your rights", "p")
    house.put("p/main.py", "# other code\n")
    home.one("native", "bad", "changed since you trusted it", "main.py")
    (home.path / "manifests/trust/p.toml").chmod(0o666)
    home.one("native", "bad", "others may write to it")
    (home.path / "manifests/trust/p.toml").unlink()
    home.one("native", "info", "not trusted")


@pytest.mark.parametrize(
    "capability",
    [
        "http:*",
        "http:https://*/",
        "http:https://*.example.com/*",
        "http:http://192.168.1.1/*",
        "files.read:user://",
        "files.write:shared://",
        "kb.write:*",
        "events.subscribe:**",
    ],
)
def test_a_grant_of_the_highest_risk_or_without_a_bound_is_said(home: Home, capability: str) -> None:
    home.plugin(capability)
    home.one("grants.risk", "warn", "demo has", "innkeeper revoke demo")


def test_rights_that_are_worse_together_are_said_and_narrow_ones_are_not(home: Home) -> None:
    home.plugin("kb.read:world", "files.write:user://notes", "http:https://api.example.com/*")
    home.one("grants.risk", "warn", "give away what it gets through kb.read:world")
    home.plugin("kb.write:world", "files.write:user://notes", "kb.read:*", "http:https://api.example.com/v1/*")
    write_plugin(home.path, "demo", NOTHING, requests=["http:*"], grants=["http:https://api.example.com/v1/*"])
    assert home.states("grants.risk") == {"ok"}, "what is not both requested and granted is no right"


def test_grants_for_other_bytes_are_said(home: Home) -> None:
    home.plugin("kv", extra='consent = { version = "1.0.0", asked = ["kv"] }')
    (home.path / "plugins" / "demo.wasm").write_bytes(OTHER)
    home.one("grants.bytes", "warn", "demo", "not used", "innkeeper grant demo")
    home.settings("[policy]\nnew_bytes = 'same'\n")
    home.one("grants.bytes", "warn", "policy.new_bytes")
    (home.path / "manifests" / "demo.toml").write_text("sha256 = 3\n")
    home.one("grants.bytes", "warn", "cannot be used")
    (home.path / "manifests" / "demo.toml").rename(home.path / "manifests" / "gone.toml")
    home.one("grants.bytes", "info", "there is no plugin 'gone'", "manifests/gone.toml")


def test_limits_near_the_ceiling_and_a_raised_ceiling_are_said(home: Home) -> None:
    home.plugin(extra="limits = { cpu = '50s', memory = '100MiB' }")
    found = home.one("limits", "warn", "demo", "cpu")
    assert "memory" not in found.what
    home.settings("[limits]\ncpu = '600s'\n")
    home.one("limits", "warn", "beyond", "cpu")


def placed(host: str) -> str:
    return f'secrets = {{ KEY = {{ header = "Authorization", hosts = ["{host}"] }} }}'


def test_secrets_that_a_grant_names_and_nobody_set_are_named_and_no_value_ever_is(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.plugin("secrets:KEY", extra=placed("https://api.example.com"))
    home.one("secrets.missing", "warn", "KEY", "demo")
    file = tmp_path / "secrets.toml"
    file.touch(0o600)
    file.write_text(f'KEY = "{SECRET}"\n')
    home.settings(f"[secrets]\nfile = '{file}'\n")
    assert home.states("secrets.missing") == {"ok"}
    file.write_text("")
    monkeypatch.setenv("INNKEEPER_SECRET_KEY", SECRET)
    assert home.states("secrets.missing") == {"ok"}
    home.one("secrets.environment", "info", "INNKEEPER_SECRET_KEY", "secrets.file")
    home.plugin("secrets:KEY")
    home.one("secrets.missing", "info", "no place")
    assert SECRET not in str(home.all())


@pytest.mark.parametrize("host", ["http://api.example.com", "http://192.168.1.7:8080"])
def test_a_secret_that_leaves_the_machine_in_the_clear_is_bad(home: Home, host: str) -> None:
    home.plugin("secrets:KEY", extra=placed(host))
    home.one("secrets.plain", "bad", "KEY", host, "https")


@pytest.mark.parametrize(
    "host", ["https://api.example.com", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost"]
)
def test_a_secret_that_is_encrypted_or_stays_on_the_machine_is_none_of_them(home: Home, host: str) -> None:
    home.plugin("secrets:KEY", extra=placed(host))
    assert home.states("secrets.plain") == {"ok"}


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "settings", "words"),
    [
        ("policy", "[policy]\nnew_bytes = 'same'\n", "policy.new_bytes"),
        ("policy", "[policy]\nfailures = 0\n", "never paused"),
        ("policy", "[retention]\naudit_days = 1\n", "forgotten"),
        ("journal", "[journal]\nkeep = 'all'\n", "every call"),
        ("llm", "[llm.endpoints.far]\nurl = 'http://api.example.com/v1'\n", "in the clear"),
    ],
)
def test_settings_that_help_an_attacker_are_said(home: Home, check: str, settings: str, words: str) -> None:
    home.settings(settings)
    home.one(check, "warn", words)


def test_a_key_of_a_language_model_that_travels_in_the_clear_is_bad(home: Home) -> None:
    home.settings("[llm.endpoints.far]\nurl = 'http://api.example.com/v1'\nsecret = 'KEY'\n")
    home.one("llm", "bad", "its key", "https")
    home.one("secrets.missing", "warn", "KEY", "llm.endpoints.far")
    home.settings("[llm.endpoints.near]\nurl = 'http://127.0.0.1:1234/v1'\nsecret = 'KEY'\n")
    assert home.states("llm") == {"ok"}


def test_a_misspelt_setting_and_tracebacks_are_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_POLICY_NEWBYTES", "ask")
    home.one("variables", "warn", "INNKEEPER_POLICY_NEWBYTES", "not in force")
    monkeypatch.delenv("INNKEEPER_POLICY_NEWBYTES")
    monkeypatch.setenv("INNKEEPER_TRACEBACK", "1")
    home.one("variables", "warn", "INNKEEPER_TRACEBACK")


# --- the machine ----------------------------------------------------------------------------------------------------


def test_an_engine_that_does_not_do_what_it_must_is_bad(home: Home) -> None:
    found = [each for each in home.all(engine=("it is older than 50.0.1",)) if each.check == "engine"]
    assert [(each.state, each.what) for each in found] == [("bad", "it is older than 50.0.1")]


def test_root_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    home.one("user", "warn", "root")


def test_core_files_are_said(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "core_pattern").write_text("|/usr/share/collect %p\n")
    home.one("core", "info", "core_pattern")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    home.one("core", "warn", "ulimit -c 0")


def test_more_guests_than_the_kernel_has_mappings_for_are_bad(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "most_mappings", lambda: 7999)
    home.one("mappings", "bad", "vm.max_map_count", "1,000 live guests")
    monkeypatch.setattr(machine, "most_mappings", lambda: 8000)
    assert home.states("mappings") == {"ok"}


def test_more_memory_than_there_is_is_bad(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_of_machine", lambda: 1 << 30)
    home.one("memory", "bad", "bounds.guest_memory")
    monkeypatch.setattr(machine, "memory_of_machine", lambda: 2 << 30)
    home.one("memory", "warn", "compiling")


def test_the_defaults_of_a_machine_fit_its_kernel() -> None:
    assert bounds.default_live_guests() * bounds.MAPPINGS_TAKEN <= bounds.most_mappings()


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    monkeypatch.setenv("INNKEEPER_HOME", str(home.path))

    def run(*arguments: str) -> tuple[int, str]:
        code = invoke(["doctor", "--security", *arguments])
        out, err = capfd.readouterr()
        assert err == ""
        return code, out

    return run


def test_the_command_ends_with_1_where_something_is_bad_and_shows_the_worst_first(home: Home, run: Any) -> None:
    code, out = run("--json")
    report = json.loads(out)
    assert (code, report["ok"], report["counts"]) == (0, True, {"bad": 0, "warn": 0, "info": 0, "ok": len(CHECKS)})
    (home.path / "manifests").chmod(0o777)
    code, out = run("--json")
    report = json.loads(out)
    assert (code, report["ok"], report["counts"]["bad"]) == (1, False, 1)
    assert [each["check"] for each in report["findings"]] == list(CHECKS)
    code, out = run()
    assert code == 1
    lines = out.splitlines()
    assert lines[1].startswith("bad ")
    assert "grants.files" in lines[1]
    assert "chmod go-w" in lines[1]
    assert lines[-1].startswith("1 bad, ")
    states = [line.split()[0] for line in lines[1:-1]]
    assert states == sorted(states, key=list(STATES).index)


def test_what_a_strangers_files_are_called_steers_no_terminal(home: Home, run: Any) -> None:
    name = home.path / "manifests" / "a\x1b[2J\u202eb\nok.toml"
    name.touch()
    name.chmod(0o666)
    for arguments in ((), ("--json",)):
        code, out = run(*arguments)
        assert code == 1
        assert not {"\x1b", "\u202e", "\x9b"} & set(out)
    assert not any(line.startswith("ok.toml") for line in run()[1].splitlines())


def test_it_makes_and_changes_nothing(home: Home, run: Any, tmp_path: Path) -> None:
    home.plugin("kv")
    (home.path / "plugins" / "demo.wasm").chmod(0o666)

    def seen() -> list[tuple[str, int, int]]:
        return sorted((str(path), path.stat().st_mode, path.stat().st_mtime_ns) for path in home.path.rglob("*"))

    before = seen()
    run()
    assert seen() == before
