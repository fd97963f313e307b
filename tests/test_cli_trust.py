"""`innkeeper trust` and `distrust`: the warning, the question, what is written, and how lists and runs mark it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import Commands
from fakes import module
from innkeeper.cli.main import invoke
from innkeeper.cli.trust import WARNING
from innkeeper.plugins import home as home_module
from native_homes import House, node, workflow


class Home(House, Commands):
    """A home with the native plugin "p", and how commands ended in it."""

    def __init__(self, path: Path, capture: pytest.CaptureFixture[str]) -> None:
        House.__init__(self, path)
        Commands.__init__(self, capture)
        self.record = path / "manifests/trust/p.toml"
        self.native("p", node("api.log.info('here')\nreturn {'out': 1}"), trust=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Home]:
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield Home(tmp_path / "home", capfd)


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_warning_says_plainly_what_it_means() -> None:
    text = " ".join(WARNING)
    assert "everything that your user can" in text
    assert "A crash of it ends the host" in text
    assert "a loop of it that never ends stops the host" in text


def test_trusting_shows_the_warning_and_every_file_and_records_their_digests(home: Home) -> None:
    text = home.run("trust", "p", "--yes")
    for line in WARNING:
        assert line in text
    assert "main.py" in text
    assert "plugin.json" in text
    assert "manifests/trust/p.toml: written" in text
    record = tomllib.loads(home.record.read_text())
    assert sorted(record["files"]) == ["main.py", "plugin.json"]
    assert home.record.stat().st_mode & 0o777 == 0o644
    assert "these files are trusted already" in home.run("trust", "p")


@pytest.mark.parametrize("name", ["p", "plugins/p", "plugins/p/", "absolute"])
def test_the_folder_may_be_named_in_several_ways(home: Home, name: str) -> None:
    folder = str(home.path / "plugins/p") if name == "absolute" else name
    home.run("trust", folder, "--yes")
    assert home.record.exists()


def test_without_a_terminal_nothing_is_trusted_unless_yes_is_given(home: Home) -> None:
    assert "nothing was trusted: there is no terminal to ask" in home.run("trust", "p", code=2)
    found = home.json("trust", "p", code=2)
    assert (found["written"], found["native"], found["changes"]) == (False, True, [])
    assert WARNING[0] in found["warning"]
    assert not home.record.exists()


@pytest.mark.parametrize(("typed", "trusted"), [("p\r", True), ("yes\r", False)])
def test_on_a_terminal_the_name_must_be_typed(home: Home, typed: str, trusted: bool) -> None:
    ours, theirs = pty.openpty()
    program = "from innkeeper.cli.main import main; main()"
    command = [sys.executable, "-c", program, "trust", "p"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([ours], [], [], 1)
        if ready:
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
            if b"Type p to trust it" in seen and typed:
                os.write(ours, typed.encode())
                typed = ""
    os.close(ours)
    assert process.wait(timeout=60) == (0 if trusted else 6), seen
    assert b"Traceback" not in seen
    assert home.record.exists() is trusted


def test_a_change_is_shown_before_it_is_trusted_again(home: Home) -> None:
    home.run("trust", "p", "--yes")
    home.put("p/more.py", "x = 1\n")
    home.put("p/main.py", node("return {'out': 2}"))
    assert words("p 1.0 plugins/p") in words(home.run("plugins"))
    assert "no: it changed since you trusted it" in home.run("plugins")
    text = home.run("trust", "p", "--yes")
    assert "since you trusted it: main.py differs" in text
    assert "since you trusted it: more.py is new" in text


def test_lists_and_runs_mark_what_is_native(home: Home, tmp_path: Path) -> None:
    home.run("trust", "p", "--yes")
    assert "yes, with all rights of the host" in home.run("plugins")
    listed = home.json("plugins")
    assert [(item["id"], item["native"], item["trust"]) for item in listed["native"]] == [("p", True, "trusted")]
    assert not any(item["native"] for item in listed["plugins"])
    file = tmp_path / "w.json"
    file.write_bytes(workflow(a="p:N"))
    assert invoke(["run", str(file)]) == 0
    out, err = home._capture.readouterr()
    assert "p (native)" in out
    assert "[info, native] a: here" in err
    assert home.json("run", str(file))["nodes"]["a"]["native"] is True


def test_an_exception_in_native_code_is_one_line_with_its_name(home: Home, tmp_path: Path) -> None:
    home.native("p", node("raise ValueError('no such word')"))
    file = tmp_path / "w.json"
    file.write_bytes(workflow(a="p:N"))
    text = home.run("run", str(file), code=1)
    assert "node 'a', plugin 'p', function 'N': native code failed: ValueError: no such word" in text


def test_with_native_plugins_off_trust_says_so(home: Home) -> None:
    (home.path / "innkeeper.toml").unlink()
    assert "it is not run yet: native plugins are off" in home.run("trust", "p", "--yes")
    assert "no: native plugins are off" in home.run("plugins")


def test_trust_can_be_taken_away(home: Home) -> None:
    home.run("trust", "p", "--yes")
    assert "manifests/trust/p.toml: removed" in home.run("distrust", "p")
    assert "no: you have not trusted it" in home.run("plugins")
    assert "'p' is not trusted" in home.run("distrust", "p", code=2)
    assert "is not the id of a plugin" in home.run("distrust", "../p", code=2)


def test_what_is_no_native_plugin_cannot_be_trusted(home: Home) -> None:
    home.put("w.wasm", module("run"))
    assert "is a Wasm plugin, which runs confined: `innkeeper grant w`" in home.run("trust", "w", "--yes", code=2)
    assert "is no native plugin of this home" in home.run("trust", "/nowhere", "--yes", code=2)
    home.put("b/plugin.json", "{")
    assert "plugins/b/plugin.json: is not JSON" in home.run("trust", "b", "--yes", code=2)


def test_a_native_plugin_cannot_be_called_from_the_command_line(home: Home) -> None:
    home.run("trust", "p", "--yes")
    assert "'p' is a native plugin: its nodes run in workflows" in home.run("call", "p", "N", code=2)
    assert "'p' is a native plugin, which has all rights" in home.run("grant", "p", "--yes", code=2)


def test_inspect_runs_no_native_code_and_says_what_a_native_plugin_is(home: Home, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    home.native("p", f"open({str(mark)!r}, 'w').close()\ndef setup(api): pass\n")
    home.put("w.wasm", module("run"))
    assert home.json("inspect", "w")["runs"]
    assert "'p' is a native plugin, which is no module" in home.run("inspect", "p", code=2)
    assert not mark.exists()


def test_the_grant_of_a_native_plugin_is_listed_as_what_it_is(home: Home) -> None:
    home.trust("p")
    digest = home.json("plugins")["native"][0]["sha256"]
    grant = home.path / "manifests/p.toml"
    grant.write_text(f'sha256 = "{digest}"\n[config]\nmark = "?"\n')
    assert "p native, granted highest - - config mark" in words(home.run("grants"))
    grant.write_text(f'sha256 = "{"ab" * 32}"\n[config]\nmark = "?"\n')
    text = words(home.run("grants"))
    assert "p native, changed highest" in text
    assert "problem: manifests/p.toml: the file changed since it was granted" in text
    home.record.unlink()
    (found,) = home.json("grants")["grants"]
    assert (found["state"], found["risk"]["level"]) == ("native, not run", "none")
