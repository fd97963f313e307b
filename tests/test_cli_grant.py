"""`innkeeper grant`, `grants` and `revoke`: what is shown, when it is asked, and what is then in the home."""

from __future__ import annotations

import hashlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wasmtime import wat2wasm

from commands import Commands
from innkeeper.cli import grant as grant_module
from innkeeper.plugins import home as home_module
from innkeeper.plugins.grant import Grant, parse_grant
from innkeeper.plugins.settings import FilesSettings
from wasi_scripts import use_folders

pytestmark = pytest.mark.usefixtures("later")

WASM = bytes(wat2wasm('(module (func (export "run")))'))
NEW = bytes(wat2wasm('(module (func (export "run")) (func (export "more")))'))
DIGEST = hashlib.sha256(WASM).hexdigest()


class Home(Commands):
    """A home folder with one plugin, "demo", and how commands ended in it."""

    def __init__(self, path: Path, capture: pytest.CaptureFixture[str]) -> None:
        super().__init__(capture)
        self.path = path
        self.grant_file = path / "manifests" / "demo.toml"
        (path / "plugins").mkdir()
        self.plugin(WASM, "kv", "clock")

    def plugin(self, wasm: bytes, *names: str, required: str = "", version: str = "1.0", reason: str = "r") -> None:
        (self.path / "plugins/demo.wasm").write_bytes(wasm)
        entries = "".join(
            f"[[capabilities]]\nname = '{name}'\nreason = \"{reason}\"\noptional = {str(name != required).lower()}\n"
            for name in names
        )
        (self.path / "plugins/demo.toml").write_text(f"id = 'demo'\nversion = '{version}'\n{entries}")

    def write(self, text: str) -> None:
        self.grant_file.parent.mkdir(exist_ok=True)
        self.grant_file.write_text(text)

    def grant(self) -> Grant:
        return parse_grant(self.grant_file.read_bytes(), where="demo.toml")

    def given(self) -> list[str]:
        return [str(each) for each in self.grant().capabilities]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Home]:
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path))
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield Home(tmp_path, capfd)


def words(text: str) -> str:
    return " ".join(text.split())


# --- grant ----------------------------------------------------------------------------------------------------------


def test_what_is_asked_is_shown_with_its_reason_and_risk_before_it_is_given(home: Home) -> None:
    home.plugin(WASM, "kv", "http:https://a.example/*", "kb.read:world", "log", required="kv", reason="to remember")
    text = words(home.run("grant", "demo", "--yes"))
    assert f"demo (version 1.0, plugins/demo.wasm, sha256 {DIGEST[:8]}): it has no grant yet" in text
    assert "kv yes low new yes to remember" in text
    assert "http:https://a.example/* no medium new yes to remember" in text
    assert "log no none - yes, needs no grant to remember" in text
    assert "medium: http:https://a.example/*: it can send anything to a.example" in text
    assert "risk of what it would get: high: it can give away what it gets through kb.read:world" in text
    assert text.endswith("manifests/demo.toml: written")
    assert home.given() == ["kv", "http:https://a.example/*", "kb.read:world"]
    assert (home.grant().sha256, home.grant().version) == (DIGEST, "1.0")


def test_what_is_granted_and_cannot_be_used_yet_is_said_at_once(home: Home) -> None:
    home.plugin(WASM, "kv", "later.thing")
    assert "later.thing is not available in this version" in words(home.run("grant", "demo", "--yes"))


def test_without_a_terminal_and_without_yes_nothing_is_granted(home: Home) -> None:
    assert home.run("grant", "demo", code=2) == (
        "innkeeper: nothing was granted: there is no terminal to ask; look at what is asked for, and repeat with "
        "--yes\n"
    )
    assert not home.grant_file.exists()
    found = home.json("grant", "demo", code=2)
    assert (found["written"], found["capabilities"]) == (False, ["kv", "clock"])
    assert "repeat with --yes" in found["message"]
    assert not home.grant_file.exists()


def on_a_terminal(home: Home, answer: bytes, *arguments: str) -> tuple[int, str]:
    """Runs a command on a terminal of its own; returns its exit code and all that it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "innkeeper", "--home", str(home.path), *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown, answered, end = b"", False, time.monotonic() + 60
    try:
        while time.monotonic() < end:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                data = os.read(ours, 65_536)
            except OSError:
                break
            if not data:
                break
            shown += data
            if b"Grant this?" in shown and not answered:
                os.write(ours, answer)
                answered = True
        return process.wait(30), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_on_a_terminal_it_asks_and_only_a_yes_grants(home: Home) -> None:
    for answer, said in ((b"n\n", "nothing was granted"), (b"\n", "nothing was granted"), (b"\x04", "cancelled")):
        code, shown = on_a_terminal(home, answer, "grant", "demo")
        assert code == 6, shown
        assert said in shown
        assert not home.grant_file.exists()
    code, shown = on_a_terminal(home, b"y\n", "grant", "demo")
    assert code == 0, shown
    assert home.given() == ["kv", "clock"]


def test_a_plugin_that_will_not_work_is_not_granted_by_a_key_on_a_terminal(home: Home) -> None:
    home.plugin(WASM, "kv", required="kv")
    code, shown = on_a_terminal(home, b"y\n", "grant", "demo", "--deny", "kv")
    assert (code, "Grant this?" in shown) == (2, False)
    assert not home.grant_file.exists()


def test_what_is_denied_is_left_out_and_stays_out(home: Home) -> None:
    text = words(home.run("grant", "demo", "--yes", "--deny", "clock"))
    assert "clock no low new no r" in text
    assert home.given() == ["kv"]
    home.plugin(NEW, "kv", "clock", version="1.1")
    text = words(home.run("grant", "demo", "--yes"))
    assert "its file is another one than the grant is for" in text
    assert "clock no low same no r" in text
    assert home.given() == ["kv"]
    home.run("grant", "demo", "--yes", "--all")
    assert home.given() == ["kv", "clock"]


def test_denying_what_the_plugin_needs_says_that_it_will_not_work(home: Home) -> None:
    home.plugin(WASM, "kv", "clock", required="kv")
    assert "without kv 'demo' will not work; repeat with --yes" in home.run("grant", "demo", "--deny", "kv", code=2)
    assert not home.grant_file.exists()
    assert "it needs kv and would not get all of it" in home.run("grant", "demo", "--deny", "kv", "--yes")
    assert home.given() == ["clock"]


def test_only_what_is_said_is_given_and_shown_like_what_was_narrowed(home: Home) -> None:
    home.plugin(WASM, "kv", "http:https://a.example/*", "clock", required="clock")
    narrow = "http:https://a.example/v1/*"
    said = home.run("grant", "demo", "--only", narrow, code=2)
    assert "without clock 'demo' will not work; repeat with --yes" in said
    text = words(home.run("grant", "demo", "--only", narrow, "--only", "clock", "--yes"))
    assert f"http:https://a.example/* no medium new only {narrow} r" in text
    assert "kv no low new no r" in text
    assert "risk of what it would get: medium" in text
    assert home.given() == [narrow, "clock"]
    found = home.json("grants")["grants"][0]
    assert (found["capabilities"], found["missing"]) == ([narrow, "clock"], ["kv"])
    # It stays so for the next version, too.
    home.plugin(NEW, "kv", "http:https://a.example/*", "clock", version="1.1")
    assert f"same only {narrow} r" in words(home.run("grant", "demo", "--yes"))
    assert home.given() == [narrow, "clock"]


def test_no_part_of_what_is_given_is_cut(home: Home) -> None:
    home.plugin(WASM, "http:*")
    parts = [f"http:https://a{number}.example/{'x' * 60}" for number in range(6)]
    text = home.run("grant", "demo", "--yes", *(word for each in parts for word in ("--only", each)))
    assert all(f"of http:* it would get {each}\n" in text for each in parts)


def test_an_address_that_the_grant_names_is_shown_as_long_as_it_is_given(home: Home) -> None:
    home.plugin(WASM, "http:*")
    address = "http:http://127.0.0.1:8080/*"
    text = words(home.run("grant", "demo", "--yes", "--only", "http", "--only", address))
    assert f"yes, and {address} by name" in text
    home.plugin(NEW, "http:*")
    assert f"it keeps {address}, which the grant gives by name" in home.run("grant", "demo", "--yes")
    assert home.given() == ["http:*", address]


def test_limits_configuration_and_instance_stay(home: Home) -> None:
    home.write(
        '# mine\nsha256 = "' + "ab" * 32 + '"\ninstance = "shared"\n[limits]\nmemory = "1MiB"\n[config]\na = "b"\n'
    )
    home.run("grant", "demo", "--yes")
    found = home.grant()
    assert (found.limits, found.config, found.shared) == ({"memory": 1 << 20}, {"a": "b"}, True)
    assert home.given() == ["kv", "clock"]
    assert home.json("grants")["grants"][0]["state"] == "granted"


def test_what_changed_since_the_last_consent_is_shown(home: Home) -> None:
    home.run("grant", "demo", "--yes")
    home.plugin(NEW, "kv", "http:https://a.example/*", version="1.1")
    found = home.json("grant", "demo", "--yes")
    assert (found["file"], found["more"], found["gone"], found["written"]) == ("changed", True, ["clock"], True)
    assert [(item["name"], item["change"]) for item in found["asked"]] == [
        ("kv", "same"),
        ("http:https://a.example/*", "new"),
    ]
    assert "no longer asked for" not in home.run("grant", "demo")


def test_a_grant_that_says_all_of_it_is_left_alone_and_nobody_is_asked(home: Home) -> None:
    home.run("grant", "demo", "--yes")
    home.write(f"# a comment\n{home.grant_file.read_text()}")
    assert "all of this is granted already" in home.run("grant", "demo")
    assert home.json("grant", "demo", "--yes")["written"] is False
    assert home.grant_file.read_text().startswith("# a comment")


def test_what_an_author_writes_steers_no_terminal(home: Home) -> None:
    home.plugin(WASM, "kv", reason="\\u001b[2Jall is well\\u202e")
    text = home.run("grant", "demo", "--yes")
    assert "\\x1b[2Jall is well\\u202e" in text
    assert text.replace("\n", "").isprintable()


def test_no_part_of_a_capability_is_cut(home: Home) -> None:
    name = "http:https://a.example/" + "x" * 176 + "*"
    home.plugin(WASM, name)
    assert name in home.run("grant", "demo", "--yes")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("grant", "demmo"), "there is no plugin 'demmo'; did you mean 'demo'?"),
        (("grant", "../demo"), "'../demo' is not the id of a plugin: an id is 1 to 64 of"),
        (("grant", "gone"), "there is no plugin 'gone'; `innkeeper plugins` lists what there is"),
        (("grant", "broken"), "the plugin 'broken' cannot be used: plugins/broken.wasm: "),
        (("grant", "demo", "--deny", "random"), "'random' cannot be denied: the plugin does not ask for it"),
        (("grant", "demo", "--deny", "x\x1b[2J"), "is not a capability"),
        (("grant", "demo", "--only", "x\x1b[2J"), "is not a capability"),
        (("grant", "demo", "--only", "random"), "'random' cannot be given: the plugin does not ask for it"),
        (("grant", "demo", "--only", "kv", "--deny", "clock"), "not both"),
        (("grant", "demo", "--only", "kv", "--all"), "not both"),
        (("revoke", "demo"), "there is no grant for 'demo'; `innkeeper grants` lists what there is"),
        (("revoke", "../innkeeper"), "'../innkeeper' is not the id of a plugin"),
        (("revoke", "/etc/passwd"), "'/etc/passwd' is not the id of a plugin"),
    ],
)
def test_a_users_mistake_is_one_line(home: Home, arguments: tuple[str, ...], sentence: str) -> None:
    (home.path / "plugins/broken.wasm").write_bytes(b"not wasm")
    said = home.run(*arguments, *(["--yes"] if arguments[0] == "grant" else []), code=2)
    assert sentence in said
    assert (said.count("\n"), said[:-1].isprintable()) == (1, True)
    assert not home.grant_file.exists()


@pytest.mark.parametrize(
    "text", ["KEY=hunter2", "hunter2", "KEY=bearer:hunter2@https://a.example", "KEY=hunter2@https://a"]
)
def test_a_secret_on_the_command_line_by_mistake_is_not_repeated(home: Home, text: str) -> None:
    said = home.run("grant", "demo", "--yes", "--secret", text, code=2)
    assert "is not right" in said
    assert "hunter2" not in said


def test_a_grant_with_problems_is_neither_replaced_nor_revoked(home: Home) -> None:
    home.write("capabilities = [\n")
    for arguments in (("grant", "demo", "--yes"), ("revoke", "demo")):
        said = home.run(*arguments, code=2)
        assert "manifests/demo.toml has problems, and what it says would be lost; mend or delete it first" in said
        assert home.grant_file.read_text() == "capabilities = [\n"


def test_a_grant_that_was_edited_while_it_was_asked_is_not_overwritten(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = grant_module.show

    def edited(*arguments: Any) -> None:
        shown(*arguments)
        home.write(f'sha256 = "{DIGEST}"\n[limits]\ncpu = 1\n')

    monkeypatch.setattr(grant_module, "show", edited)
    assert "changed meanwhile, so nothing was written" in home.run("grant", "demo", "--yes", code=2)
    assert home.given() == []


# --- grants ---------------------------------------------------------------------------------------------------------


def test_all_grants_are_listed_with_their_state(home: Home) -> None:
    text = words(home.run("grants"))
    assert "demo none none - kv - clock" in text
    home.run("grant", "demo", "--yes", "--deny", "clock")
    (home.path / "manifests/other.toml").write_text(f'sha256 = "{DIGEST}"\ncapabilities = ["kv"]\n[limits]\ncpu = 1\n')
    text = words(home.run("grants"))
    assert "demo granted low kv clock -" in text
    assert "other no plugin none - - limit cpu = 1.0" in text
    assert "problem: manifests/other.toml: there is no plugin 'other'" in text
    home.plugin(NEW, "kv")
    found = home.json("grants")
    assert [(item["id"], item["state"], item["capabilities"]) for item in found["grants"]] == [
        ("demo", "changed", []),
        ("other", "no plugin", []),
    ]
    assert "the file changed since it was granted" in found["problems"][0]
    home.write("sha256 = 1\n")
    assert home.json("grants")["grants"][0]["state"] == "unusable"


def test_the_list_of_plugins_says_whether_a_plugin_has_what_it_asks_for(home: Home) -> None:
    def said() -> str:
        row = next(line for line in home.run("plugins").splitlines() if line.startswith("demo "))
        return row.partition(" fresh ")[2].split(maxsplit=1)[1]

    assert said() == "no: `innkeeper grant demo`"
    home.run("grant", "demo", "--yes", "--deny", "clock")
    assert said() == "in part"
    listed = next(item for item in home.json("plugins")["plugins"] if item["id"] == "demo")
    assert (listed["grant"], listed["has"], listed["missing"]) == ("granted", ["kv"], ["clock"])
    home.run("grant", "demo", "--yes", "--all")
    assert said() == "yes"
    home.run("revoke", "demo")
    assert said() == "nothing of what it asks for"
    home.plugin(NEW, "kv")
    assert said() == "no: the file changed since it was granted"


def test_the_list_of_grants_leaves_out_nothing_that_a_plugin_has(home: Home) -> None:
    names = [f"http:https://a{number:02}.example/{'x' * 150}" for number in range(12)]
    home.plugin(WASM, *names)
    assert words(home.run("grants")).endswith(f"demo none none - {names[0]} - {' '.join(names[1:])}")
    home.run("grant", "demo", "--yes", "--deny", names[5])
    shown = words(home.run("grants"))
    assert all(shown.count(name) == 1 for name in names)
    assert f" {names[0]} {names[5]} - {names[1]} " in shown


def test_what_a_grant_gives_beyond_the_requests_is_named(home: Home) -> None:
    home.write(f'sha256 = "{DIGEST}"\ncapabilities = ["kv", "http:*"]\n')
    text = home.run("grants")
    assert "problem: demo: http:* is granted, and not requested; it has no effect" in text
    assert words(text).startswith("id state risk has lacks also demo granted low kv clock -")


def test_what_is_granted_and_not_available_yet_is_said(home: Home) -> None:
    home.plugin(WASM, "kv", "later.thing")
    home.run("grant", "demo", "--yes")
    assert "demo has what is not available in this version: later.thing" in home.run("grants")


def test_where_the_folders_are_that_a_plugin_has_is_said(
    home: Home, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = tmp_path_factory.mktemp("user")
    use_folders(monkeypatch, user.parent / "package", FilesSettings({"user": str(user)}))
    home.plugin(WASM, "files.read:user://", "files.write:user://notes", "files.read:shared://")
    home.run("grant", "demo", "--yes")
    text = home.run("grants")
    assert f"demo has {user} as /user (read)\n" in text
    assert f"demo has {user}/notes as /user/notes (read and write)\n" in text
    assert "problem: manifests/demo.toml: shared://: granted, and not there: shared:// has no folder" in text
    assert home.json("grants")["grants"][0]["folders"] == [
        {"guest": "/user", "scope": "user://", "folder": str(user), "access": "read"},
        {"guest": "/user/notes", "scope": "user://notes", "folder": f"{user}/notes", "access": "read and write"},
    ]
    text = home.run("inspect", "demo")
    assert "files.write:user://notes (needs a grant, the guest's /user/notes): r\n" in text


def test_a_home_without_grants_says_so(home: Home) -> None:
    home.plugin(WASM)
    assert "no grants in " in home.run("grants")


# --- revoke ---------------------------------------------------------------------------------------------------------


def test_a_revocation_takes_the_capabilities_and_says_what_stays(home: Home) -> None:
    home.write(f'sha256 = "{DIGEST}"\n[limits]\ncpu = 2\n[config]\na = "b"\n')
    home.run("grant", "demo", "--yes")
    assert home.run("revoke", "demo") == (
        "manifests/demo.toml: took away kv, clock\nwhat stays: limit cpu = 2.0, config a\n"
    )
    assert home.grant() == Grant(DIGEST, limits={"cpu": 2.0}, config={"a": "b"})
    assert home.json("revoke", "demo") == {
        "id": "demo",
        "revoked": [],
        "keeps": ["limit cpu = 2.0", "config a"],
        "written": False,
    }
    assert home.json("grants")["grants"][0]["missing"] == ["kv", "clock"]


def test_a_plugin_that_is_gone_can_be_revoked(home: Home) -> None:
    home.run("grant", "demo", "--yes")
    (home.path / "plugins/demo.wasm").unlink()
    assert "nothing else stands in it" in home.run("revoke", "demo")
    assert home.given() == []


def test_after_a_revocation_all_is_asked_again(home: Home) -> None:
    home.run("grant", "demo", "--yes", "--deny", "clock")
    home.run("revoke", "demo")
    found = home.json("grant", "demo", code=2)
    assert [(item["change"], item["given"]) for item in found["asked"]] == [("new", ["kv"]), ("new", ["clock"])]
