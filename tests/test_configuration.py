"""What an operator decides: innkeeper.toml, variables over it, options over both; and every mistake said at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.cli.main import invoke
from innkeeper.errors import UsageError
from innkeeper.plugins import comfytavern, units
from innkeeper.plugins.configuration import (
    Configuration,
    parse_configuration,
    read_configuration,
)
from innkeeper.plugins.configuration_sources import root, strange_variables
from innkeeper.plugins.effective import effective_settings
from innkeeper.plugins.setting_keys import Found, Leaf, Section, dotted, leaf_of, leaf_of_variable, leaves, shape_of
from innkeeper.plugins.settings import LlmEndpoint
from innkeeper.plugins.tables import SettingsError, Table
from innkeeper.sandbox.limits import GIB, MIB

FULL = """
native_plugins = true

[policy]
new_bytes = "same"
failures = 0

[journal]
keep = "errors"
days = 7
most_bytes = "1MiB"
total_bytes = 0

[memo]
memory = "0"
disk = 4096
days = 0.5

[secrets]
file = "/run/secrets.toml"

[files]
quota = "1GiB"
entries = 3

[files.roots]
user = "/home/../srv/notes"
shared = "~/shared"

[llm]
tokens_per_day = 5
cache = "5min"
embeddings = "2MiB"

[llm.endpoints.local]
url = "http://127.0.0.1:8080/v1"

[llm.endpoints.far]
url = "https://api.example.com/v1"
secret = "FAR_KEY"
models = { small = "far-small-2", "gpt-4.1" = "x" }

[retention]
audit_days = 1
event_days = 2
"""


def problems(
    text: str = "", environment: dict[str, str] | None = None, options: dict[str, str] | None = None
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_configuration(text.encode(), environment=environment, options=options)
    return caught.value.problems


# --- the file ---------------------------------------------------------------------------------------------------------


def test_every_section_is_read() -> None:
    found = parse_configuration(FULL.encode())
    assert found.native_plugins
    assert (found.policy.new_bytes, found.policy.failures) == ("same", 0)
    journal = found.journal
    assert (journal.keep, journal.days, journal.most_bytes, journal.total_bytes) == ("errors", 7.0, MIB, 0)
    assert (found.memo.memory, found.memo.disk, found.memo.days) == (0, 4096, 0.5)
    assert found.secrets.file == "/run/secrets.toml"
    assert found.files.roots == {"user": "/srv/notes", "shared": os.path.expanduser("~/shared")}
    assert (found.files.quota, found.files.entries) == (GIB, 3)
    assert found.llm.endpoints == {
        "local": LlmEndpoint("http://127.0.0.1:8080/v1"),
        "far": LlmEndpoint("https://api.example.com/v1", "FAR_KEY", {"small": "far-small-2", "gpt-4.1": "x"}),
    }
    assert (found.llm.tokens_per_day, found.llm.cache, found.llm.embeddings) == (5, 300.0, 2 * MIB)
    assert (found.retention.audit_days, found.retention.event_days) == (1.0, 2.0)
    assert set(found.origins.values()) == {"innkeeper.toml"}


def test_an_empty_file_is_the_built_in_configuration() -> None:
    assert parse_configuration(b"") == Configuration()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[journals]", "journals is not a key here; did you mean 'journal'?"),
        ("[journal]\nkeeps = 'all'", "journal.keeps is not a key here; did you mean 'keep'?"),
        ("journal = 3", "journal must be a table, written [journal]"),
        ("native_plugins = 1", "native_plugins is 1: it must be true or false"),
        ("[policy]\nnew_bytes = 'yes'", "policy.new_bytes is 'yes': it must be 'ask' or 'same'"),
        ("[policy]\nnew_bytes = ['ask']", "policy.new_bytes is ['ask']: it must be 'ask' or 'same'"),
        ("[policy]\nfailures = -1", "policy.failures is -1: it must be a whole number, 0 or more"),
        ("[policy]\nfailures = true", "policy.failures is True: it must be a whole number, 0 or more"),
        ("[journal]\ndays = 0", "journal.days is 0: it must be a number of days above 0 and at most 36525"),
        ("[journal]\ndays = nan", "journal.days is nan: it must be a number of days above 0 and at most 36525"),
        ("[journal]\ndays = 1e9", "journal.days is 1000000000.0: it must be a number of days above 0"),
        ("[memo]\nmemory = '0.1B'", "memo.memory is '0.1B': it must be bytes"),
        ("[memo]\nmemory = -1", "memo.memory is -1: it must be bytes"),
        ("[memo]\nmemory = '9e99GiB'", "memo.memory is '9e99GiB': it must be bytes"),
        ("[journal]\ndays = 1" + "0" * 400, "journal.days is 1000"),
        ("[llm]\ncache = 1" + "0" * 400, "llm.cache is 1000"),
        ("[memo]\nmemory = 1" + "0" * 400, "memo.memory is 1000"),
        ("[memo]\nmemory = 0x" + "f" * 9000, "memo.memory is a number of thousands of digits: it must be"),
        ("[bounds]\nworkers = 0x" + "f" * 9000, "bounds.workers is a number of thousands of digits: it must be"),
        ("[llm]\ncache = inf", "llm.cache is inf: it must be seconds"),
        ("[secrets]\nfile = 'here'", "secrets.file is 'here': it must be an absolute path"),
        ('[secrets]\nfile = "/a\\u0000"', "secrets.file is '/a\\x00': it must be an absolute path"),
        ("[files.roots]\nuser = 'x'", "files.roots.user is 'x': it must be an absolute path"),
        ("[files.roots]\n'a b' = '/x'", "files.roots.a b is not right: it must be a name of 1 to 64"),
        ("[llm.endpoints]\nlocal = 'http://x'", "llm.endpoints.local must be a table, written [llm.endpoints.local]"),
        ("[llm.endpoints.local]", "llm.endpoints.local.url is missing: it must be a URL"),
        ("[llm.endpoints.local]\nurl = 3", "llm.endpoints.local.url is not right: it must be a URL"),
        ("[llm.endpoints.l]\nurl = 'http://x'\nmodels = {'a b' = 'c'}", "llm.endpoints.l.models.a b is not right"),
        ("[llm.endpoints.l]\nurl = 'http://x'\nmodels = {a = 1}", "llm.endpoints.l.models.a is 1: it must be text"),
        (
            "[llm.endpoints]\nl = {url = 'http://x', models = {a = 'b'}}\nm = {url = 'http://y', models = {a = 'c'}}",
            "llm.endpoints.m.models.a is a model that llm.endpoints.l has; give it another name",
        ),
    ],
)
def test_a_wrong_value_is_one_sentence_with_its_key(text: str, sentence: str) -> None:
    (found,) = problems(text)
    assert found.startswith(f"innkeeper.toml: {sentence}")


def test_all_problems_of_all_sources_are_said_at_once() -> None:
    found = problems(
        "[journal]\nkeep = 1\ndays = 0\n[memos]\n[llm.endpoints.x]\n",
        {"INNKEEPER_BOUNDS_WORKERS": "none", "INNKEEPER_MEMO_DAYS": "-"},
        {"policy.failures": "x", "polcy.failures": "1"},
    )
    assert [text.split(" is ")[0] for text in found] == [
        "innkeeper.toml: memos",
        "innkeeper.toml: journal.keep",
        "innkeeper.toml: journal.days",
        "INNKEEPER_BOUNDS_WORKERS:",
        "INNKEEPER_MEMO_DAYS:",
        "--set policy.failures:",
        "--set: 'polcy.failures'",
        "innkeeper.toml: llm.endpoints.x.url",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[llm.endpoints.x]\nurl = 'https://user:hunter2@api.example.com'",
        "[llm.endpoints.x]\nurl = 'https://api.example.com/v1?key=hunter2'",
        "[llm.endpoints.x]\nurl = 'https://api.example.com/v1#hunter2'",
        "[llm.endpoints.x]\nurl = 'hunter2'",
        "[llm.endpoints]\nx = 'https://user:hunter2@api.example.com'",
        "[llm.endpoints.x]\nurl = 'https://api.example.com'\nsecret = 'sk-hunter2'",
    ],
)
def test_what_may_be_a_secret_in_the_wrong_place_is_refused_and_not_shown(text: str) -> None:
    assert all("hunter2" not in each for each in problems(text))


# --- variables and options --------------------------------------------------------------------------------------------


def test_variables_go_before_the_file_and_options_before_both() -> None:
    found = read_configuration(
        b"[journal]\nkeep = 'all'\ndays = 1\n[llm.endpoints.local]\nurl = 'http://127.0.0.1'\n",
        environment={"INNKEEPER_JOURNAL_KEEP": "errors", "INNKEEPER_LLM_ENDPOINTS_LOCAL_SECRET": "KEY"},
        options={"journal.keep": "never", 'llm.endpoints.local.models."gpt-4.1"': "here"},
    )
    assert (found.journal.keep, found.journal.days) == ("never", 1.0)
    assert found.llm.endpoints == {"local": LlmEndpoint("http://127.0.0.1", "KEY", {"gpt-4.1": "here"})}
    assert found.origins == {
        "journal.keep": "--set",
        "journal.days": "innkeeper.toml",
        "llm.endpoints.local.url": "innkeeper.toml",
        "llm.endpoints.local.secret": "INNKEEPER_LLM_ENDPOINTS_LOCAL_SECRET",
        'llm.endpoints.local.models."gpt-4.1"': "--set",
    }


def test_only_the_file_turns_native_plugins_on_and_everything_may_turn_them_off() -> None:
    on, variable = "native_plugins = true\n", "INNKEEPER_NATIVE_PLUGINS"
    for text in ("", "native_plugins = false\n", "cache = 'off'\n"):
        for who, environment, options in (
            (variable, {variable: "true"}, None),
            ("--set", None, {"native_plugins": "true"}),
            ("--set", {variable: "true"}, {"native_plugins": "true"}),
        ):
            (found,) = problems(text, environment, options)
            assert found == f"{who}: native_plugins is true: only innkeeper.toml itself can turn native plugins on"
    assert read_configuration(on.encode(), environment={variable: "true"}).native_plugins
    assert not read_configuration(on.encode(), environment={variable: "false"}).native_plugins
    assert not read_configuration(on.encode(), options={"native_plugins": "false"}).native_plugins


def test_variables_mean_every_kind_of_value() -> None:
    found = read_configuration(
        None,
        environment={
            "INNKEEPER_CACHE": "off",
            "INNKEEPER_NATIVE_PLUGINS": "false",
            "INNKEEPER_BOUNDS_LIVE_GUESTS": "7",
            "INNKEEPER_BOUNDS_GUEST_MEMORY": "2GiB",
            "INNKEEPER_LIMITS_WALL": "2h",
            "INNKEEPER_DEFAULTS_CPU": "0.25",
            "INNKEEPER_MEMO_DISK": "0",
            "INNKEEPER_RETENTION_AUDIT_DAYS": "1.5",
            "INNKEEPER_FILES_ROOTS_USER_NOTES": "/srv/notes",
            "INNKEEPER_LLM_ENDPOINTS_MY_OWN_URL": "http://[::1]:1/v1",
            "INNKEEPER_JOURNAL_KEEP": "",
        },
    )
    assert (found.cache, found.native_plugins) == ("off", False)
    assert (found.bounds.live_guests, found.bounds.guest_memory) == (7, 2 * GIB)
    assert (found.ceiling.wall, found.defaults.cpu, found.memo.disk) == (7200.0, 0.25, 0)
    assert (found.retention.audit_days, found.files.roots) == (1.5, {"user_notes": "/srv/notes"})
    assert found.llm.endpoints == {"my_own": LlmEndpoint("http://[::1]:1/v1")}
    assert found.journal.keep == "never"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("INNKEEPER_JOURNAL_KEEP", "some", "is 'some': it must be 'never' or 'errors' or 'all'"),
        ("INNKEEPER_NATIVE_PLUGINS", "yes", "is 'yes': it must be true or false"),
        ("INNKEEPER_BOUNDS_WORKERS", "1_0", "is '1_0': it must be a whole number above 0"),
        ("INNKEEPER_BOUNDS_WORKERS", "9" * 5000, "is '999"),
        ("INNKEEPER_SECRETS_FILE", "\udcff", "is '\\udcff': it must be an absolute path"),
        ("INNKEEPER_LLM_ENDPOINTS_A_SECRET", "sk-123", "is not right: it must be the name of a secret"),
    ],
)
def test_a_wrong_variable_is_an_error_that_names_it(name: str, text: str, sentence: str) -> None:
    (found,) = problems("", {name: text})
    assert found.startswith(f"{name}: {sentence}")
    assert len(found) < 300


def test_an_endpoint_that_only_a_variable_names_lacks_its_url() -> None:
    (found,) = problems("", {"INNKEEPER_LLM_ENDPOINTS_A_SECRET": "KEY"})
    assert found.startswith("INNKEEPER_LLM_ENDPOINTS_A_SECRET: llm.endpoints.a.url is missing: it must be a URL")


def test_a_default_above_a_limit_names_who_said_so() -> None:
    (found,) = problems("[limits]\ncpu = 2\n", {"INNKEEPER_DEFAULTS_CPU": "3"})
    assert found == (
        "innkeeper.toml and INNKEEPER_DEFAULTS_CPU: defaults has limits above the host's own: cpu 3.0 (at most 2.0)"
    )


def test_a_variable_that_is_no_setting_is_a_warning_with_a_near_miss_and_never_an_error() -> None:
    environment = {
        "INNKEEPER_JURNAL_KEEP": "hunter2",
        "INNKEEPER_HOME": "/",
        "INNKEEPER_TRACEBACK": "1",
        "INNKEEPER_SECRET_API_KEY": "hunter2",
        "INNKEEPER_JOURNAL": "x",
        "INNKEEPER_llm_cache": "x",
        "INNKEEPER_\x1b[2J": "x",
        "PATH": "x",
    }
    assert read_configuration(None, environment=environment) == Configuration()
    said = strange_variables(environment)
    assert said[2] == ("the variable INNKEEPER_JURNAL_KEEP is not a setting; did you mean 'INNKEEPER_JOURNAL_KEEP'?")
    assert len(said) == 4
    assert all("hunter2" not in each and "\x1b" not in each for each in said)


@pytest.mark.parametrize(
    "key",
    ["", "journal", "journal.keep.x", "journal.keep = 1\nx", "a" * 10_000, "." * 200, "#", "llm.endpoints", "\udcff"],
)
def test_a_key_that_is_no_setting_is_a_sentence(key: str) -> None:
    (found,) = problems("", None, {key: "1"})
    assert found.startswith("--set: ")
    assert len(found) < 300


def test_each_setting_has_one_key_and_one_variable_and_both_lead_to_it() -> None:
    for key, leaf in leaves(root()):
        named = tuple("local" if part == "NAME" else part for part in key)
        assert leaf_of(root(), dotted(named)) == (named, leaf)
        if key.count("NAME") < 2:
            assert leaf_of_variable(root(), "INNKEEPER_" + "_".join(named).upper()) == (named, leaf)


# --- what a section may be made of ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    word: Literal["a", "b"] = "a"
    count: int = 1
    share: float = 0.5
    flag: bool = False
    text: str | None = None
    hosts: tuple[str, ...] = ()
    named: dict[str, int] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wrong:
    words: set[str] = field(default_factory=set)


def test_a_new_field_needs_no_more_than_its_line() -> None:
    shape, found = shape_of(Sample), Found()
    assert isinstance(shape, Section)
    data = {"word": "b", "count": 0, "share": 1, "flag": True, "text": "t", "hosts": ["x", "y"], "named": {"a": 1}}
    found.read_table(Table(data, "f", found.problems), shape, "f")
    found.read_line(("others", "b"), Leaf(units.unit_of(int)), "2", "V", "V")
    assert found.problems == []
    assert found.build(shape, ()) == Sample("b", 0, 1.0, True, "t", ("x", "y"), {"a": 1}, {"b": 2})
    assert Found().build(shape, ()) == Sample()
    with pytest.raises(TypeError, match="a setting cannot have the type"):
        shape_of(Wrong)


def test_lists_come_from_a_line_with_commas() -> None:
    assert units.read_text(units.unit_of(tuple[str, ...]), "a, b,") == ("a", "b")


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([leaf for _, leaf in leaves(root())]), st.text(max_size=30))
def test_any_text_is_a_value_or_wrong(leaf: Any, text: str) -> None:
    try:
        value = units.read_text(leaf.unit, text)
    except ValueError:
        return
    assert isinstance(leaf.unit.show(value), str)


_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_words = st.sampled_from(
    ["llm", "endpoints", "x", "url", "models", "files", "roots", "journal", "keep", "bounds", "cpu"]
)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(_words, st.dictionaries(_words, st.dictionaries(_words, _values, max_size=3) | _values)))
def test_any_table_is_a_configuration_or_problems(data: dict[str, Any]) -> None:
    found = Found()
    found.read_table(Table(data, "f", found.problems), root(), "f")
    for name, shape in root().fields.items():
        if isinstance(shape, Section) and shape.make is not None:
            assert found.build(shape, (name,)) is not None


# --- innkeeper config -------------------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.delenv("INNKEEPER_CACHE")
    monkeypatch.setenv("INNKEEPER_HOME", str(folder))
    return folder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = invoke(arguments)
        return code, *capfd.readouterr()

    return call


def test_every_setting_is_listed_with_where_it_comes_from(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "innkeeper.toml").write_text(FULL)
    monkeypatch.setenv("INNKEEPER_MEMO_DAYS", "3")
    monkeypatch.setenv("INNKEEPER_SECRET_FAR_KEY", "hunter2")
    monkeypatch.setenv("INNKEEPER_MEMO_DAIS", "hunter2")
    code, out, _ = run("--set", "policy.failures=9", "config")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["policy.failures", "9", "--set"] in lines
    assert ["memo.days", "3", "days", "INNKEEPER_MEMO_DAYS"] in lines
    assert ["journal.keep", "errors", "innkeeper.toml"] in lines
    assert ["bounds.calls_per_plugin", "64", "built", "in"] in lines
    assert lines[-1][0] == "warning:"
    assert "hunter2" not in out
    code, out, _ = run("--set", "policy.failures=9", "config", "--json")
    report = json.loads(out)
    assert {"key": "policy.failures", "value": 9, "from": "--set"} in report["settings"]
    assert {"key": "files.roots.user", "value": "/srv/notes", "from": "innkeeper.toml"} in report["settings"]
    assert report["file"] == str(home / "innkeeper.toml")
    assert len(report["warnings"]) == 1


def test_one_setting_can_be_asked_for(home: Path, run: Run) -> None:
    assert run("config", "get", "journal.keep") == (0, "never\n", "")
    assert run("--set", "native_plugins=false", "config", "get", "native_plugins") == (0, "false\n", "")
    assert run("config", "get", "secrets.file") == (0, "\n", "")
    code, out, _ = run("--set", "llm.cache=5min", "config", "get", "--json", "llm.cache")
    assert (code, json.loads(out)) == (0, {"key": "llm.cache", "value": 300.0, "from": "--set"})
    assert run("config", "get", "journal.kep") == (
        2,
        "",
        "innkeeper: 'journal.kep' is not a setting; did you mean 'journal.keep'?\n",
    )
    assert run("config", "get", "files.roots.user") == (2, "", "innkeeper: files.roots.user is not set\n")


def test_an_option_counts_for_every_command_and_for_one_command_only(home: Path, run: Run) -> None:
    code, out, _ = run("--set", "bounds.workers=1", "--set", "cache=off", "doctor", "--json")
    report = json.loads(out)
    assert code == 0
    assert {"section": "bounds", "name": "workers", "value": 1, "from": "--set"} in report["settings"]
    assert report["cache"]["origin"] == "--set"
    assert run("config", "get", "cache") == (0, "\n", "")
    code, _, err = run("--set", "bounds.workers=0", "plugins")
    assert (code, err) == (2, "innkeeper: --set bounds.workers: is '0': it must be a whole number above 0\n")
    assert run("--set", "x", "plugins")[0] == 2


def test_an_option_for_the_cache_goes_before_the_variable(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNKEEPER_CACHE", str(home / "one"))
    report = json.loads(run("--set", f"cache={home / 'two'}", "cache", "--json")[1])
    assert (report["folder"], report["origin"]) == (str(home / "two"), "--set")


# --- config.json ------------------------------------------------------------------------------------------------------

CONFIG_JSON = {
    "server": {"backend": {"port": 3233}, "frontend": {"port": 5573}},
    "execution": {"max_concurrent_workflows": 5, "logDir": "logs/\x1b[2J\nkeep = 1\x7f"},
    "customPluginsPaths": ["/srv/a", "." * 1000],
    "userManagement": {"multiUserMode": False, "accessPasswordHash": "hunter2"},
    "security": {
        "enableCredentialEncryption": True,
        "masterEncryptionKeyValue": "hunter2",
        "corsAllowedOrigins": ["http://u:hunter2@h"],
        "panelDevOrigins": [],
        "backendPanel": {"enableAuth": True, "username": "hunter2", "password": {"deep": "hunter2"}},
    },
    "other": {"apiKey": "hunter2"},
}


def test_config_json_becomes_an_innkeeper_toml_and_each_field_is_said(home: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG_JSON))
    code, out, err = run("config", "import", str(file))
    written = (home / "innkeeper.toml").read_text()
    assert (code, err) == (0, "")
    assert "hunter2" not in out + written
    for name in (*comfytavern._KNOWN, *comfytavern._SECRET, "other.apiKey"):
        assert name in out
        assert f"# {name}" in written
    assert "# server.backend.port = 3233: no counterpart yet" in written
    assert parse_configuration(written.encode()) == Configuration()
    assert sorted(os.listdir(home)) == ["innkeeper.toml"]
    code, out, err = run("config", "import", str(file))
    assert (code, out) == (2, "")
    assert "is there already, so nothing was written" in err
    assert (home / "innkeeper.toml").read_text() == written


def test_a_link_is_not_written_through(home: Path, run: Run, tmp_path: Path) -> None:
    (home / "innkeeper.toml").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "config.json").write_text("{}")
    assert run("config", "import", str(tmp_path / "config.json"))[0] == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"[]", "is not a config.json of ComfyTavern"),
        (b"{", "is not JSON"),
        (b'{"a": "\xff"}', "is not JSON"),
        (b"[" * 30_000, "is nested too deeply"),
        (json.dumps({str(i): 1 for i in range(201)}).encode(), "has more than 200 fields"),
    ],
)
def test_a_file_that_is_no_config_json_is_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        comfytavern.read_config_json(data, where="config.json")


def test_a_large_or_missing_config_json_is_a_sentence(home: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b" " * 70_000)
    assert "too large" in run("config", "import", str(tmp_path / "large"))[2]
    assert "No such file" in run("config", "import", str(tmp_path / "missing"))[2]
    assert not (home / "innkeeper.toml").exists()


def test_every_row_can_be_shown() -> None:
    rows = effective_settings(parse_configuration(FULL.encode()))
    assert len({row.key for row in rows}) == len(rows)
    assert all(row.shown for row in rows)
