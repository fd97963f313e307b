"""A working directory is a home by itself, and believed only if its user accepted it: whoever filled it gains nothing
by being stood in."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio

import innkeeper
from guests import assemble
from innkeeper.bridge import host as bridge_host
from innkeeper.cli.home import LATER
from innkeeper.cli.main import invoke
from innkeeper.cli.security.places import check_places
from innkeeper.errors import UsageError
from innkeeper.plugins.accepted_homes import MAX_BYTES, accept_home, forget_home, read_accepted
from innkeeper.plugins.home import Home, open_home, shipped_place
from innkeeper.plugins.settings import FilesSettings, MemoSettings
from native_homes import House, node

NOT_USED = "the grants and settings of this folder are not used, since "
NOT_ACCEPTED = "you have not accepted it as a home: `innkeeper home accept`, or name it with --home"
STRANGER = 65534
WASM = assemble('(module (func (export "f")))')

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="gives a file to somebody else, which only root may")


class Clone(House):
    """A folder that somebody else filled, as the working directory.

    Attributes:
        list: the list of accepted homes, which is not there.
        ran: a file that its native plugin makes when it is run.
    """

    def __init__(self, path: Path, list: Path) -> None:
        super().__init__(path)
        self.list, self.ran = list, path.parent / "ran"
        (path / "manifests").mkdir()
        (path / "innkeeper.toml").write_text('native_plugins = true\n[files.roots]\nuser = "/home"\n')
        self.native("bad", node("return {'out': 1}", before=f"open({str(self.ran)!r}, 'w').close()"))
        self.put("thief.wasm", WASM)
        self.put(
            "thief.toml",
            'id = "thief"\nversion = "1.0.0"\n[[capabilities]]\nname = "kv"\nreason = "to have it"\n',
        )
        (path / "manifests/thief.toml").write_text(
            f'sha256 = "{hashlib.sha256(WASM).hexdigest()}"\ncapabilities = ["kv"]\n'
        )

    def bare(self) -> None:
        """Takes away all that would count."""
        for file in ("innkeeper.toml", "manifests/thief.toml", "manifests/trust/bad.toml"):
            (self.path / file).unlink()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    tmp_path.chmod(0o755)
    (tmp_path / "config").mkdir(mode=0o755)
    monkeypatch.setenv("INNKEEPER_HOMES", str(tmp_path / "config/homes"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "300")
    made = Clone(tmp_path / "clone", tmp_path / "config/homes")
    monkeypatch.chdir(made.path)
    return made


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def run(*arguments: str, code: int = 0) -> str:
        """What a command printed, errors first."""
        with open(os.devnull) as nothing, monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", nothing)
            ended = invoke(arguments)
        out, err = capfd.readouterr()
        assert (ended, "Traceback" in err) == (code, False), out + err
        return err + out

    return run


def doubted(home: Home) -> bool:
    """Whether nothing counts that it says; it is all or nothing."""
    counts = {
        home.believed,
        home.configuration.native_plugins,
        home.configuration.files != FilesSettings(),
        home.configuration.memo == MemoSettings(),
        home.places[0].believed,
    }
    assert len(counts) == 1
    return counts == {False}


# --- what is believed -----------------------------------------------------------------------------------------------


async def test_nothing_counts_that_a_folder_says_of_itself(clone: Clone) -> None:
    async with innkeeper.open_host(watch=False) as host:
        assert doubted(host.home)
        thief = host.plugins["thief"]
        assert (thief.grant_state, list(thief.rights.capabilities)) == ("none", [])
        await thief.call("f", b"")
        assert not host.native
        assert not clone.ran.exists()
        assert host.problems.count(NOT_USED + NOT_ACCEPTED) == 1
    accept_home(clone.path)
    async with innkeeper.open_host(watch=False) as host:
        assert not doubted(host.home)
        assert [str(each) for each in host.plugins["thief"].rights.capabilities] == ["kv"]
        assert clone.ran.exists()
        assert not any(problem.startswith(NOT_USED) for problem in host.problems)


@pytest.mark.parametrize("way", ["argument", "variable", "platform"])
def test_a_home_that_somebody_named_is_believed(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "variable":
        monkeypatch.setenv("INNKEEPER_HOME", ".")
    elif way == "platform":
        (tmp_path / "data").mkdir()
        clone.path.rename(tmp_path / "data/innkeeper")
        monkeypatch.chdir(tmp_path / "data/innkeeper")
    assert not doubted(open_home("." if way == "argument" else None))


def test_a_folder_below_or_above_an_accepted_one_or_of_a_like_name_is_not_accepted(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in (tmp_path, tmp_path / "clon", clone.path / "plugins", tmp_path / "clone2"):
        other.mkdir(exist_ok=True)
        if other != tmp_path:
            accept_home(other)
    clone.list.write_text(
        clone.list.read_text() + "clone\n.\n*\n../clone\n" + f"{clone.path}/\n{clone.path}/../clone\n"
    )
    assert doubted(open_home())


def test_an_accepted_folder_is_the_same_by_whatever_way_one_comes_there(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(clone.path)
    accept_home(tmp_path / "link")
    assert read_accepted().homes == (str(clone.path),)
    monkeypatch.chdir(tmp_path / "link")
    assert not doubted(open_home())


@pytest.mark.parametrize("way", ["list", "link to the list", "link above the list", "plugins of innkeeper"])
def test_a_folder_does_not_vouch_for_itself(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    own = clone.path / "config/homes"
    own.parent.mkdir(mode=0o755)
    own.write_text(f"{clone.path}\n")
    own.chmod(0o644)
    if way == "list":
        monkeypatch.setenv("INNKEEPER_HOMES", str(own))
    elif way == "link to the list":
        clone.list.symlink_to(own)
    elif way == "link above the list":
        clone.list.parent.rmdir()
        clone.list.parent.symlink_to(own.parent)
    else:
        (clone.path / "plugins").rename(tmp_path / "old")
        (clone.path / "plugins").symlink_to(shipped_place().plugins)
        home = open_home()
        assert (home.believed, home.configuration.native_plugins) == (False, False)
        return
    assert doubted(open_home())
    with pytest.raises(UsageError, match=r"lies in it|is not used, nor changed"):
        accept_home(clone.path)


def test_a_checkout_whose_own_code_runs_needs_no_accepting(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, run: Callable[..., str]
) -> None:
    monkeypatch.chdir(shipped_place().plugins.parent)
    assert open_home().believed
    assert NOT_USED not in run("plugins") + run("home") + run("config")


# --- the list -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("group", "others may write to it"),
        ("everybody", "others may write to it"),
        ("folder", "others may write to"),
        ("link", "it is a link"),
        ("pipe", "it is not a regular file"),
        ("directory", "it is not a regular file"),
        ("long", f"it has more than {MAX_BYTES:,} bytes"),
        ("relative", "it must be an absolute path"),
        ("nul", "cannot be"),
        pytest.param("stranger", "it belongs to another user", marks=needs_root),
    ],
)
def test_a_list_that_somebody_else_could_have_written_accepts_nothing(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., str], way: str, sentence: str
) -> None:
    accept_home(clone.path)
    assert not doubted(open_home())
    file = clone.list
    if way in ("group", "everybody"):
        file.chmod(0o664 if way == "group" else 0o646)
    elif way == "folder":
        file.parent.chmod(0o777)
    elif way == "link":
        file.symlink_to(file.rename(tmp_path / "elsewhere"))
    elif way == "pipe":
        file.unlink()
        os.mkfifo(file)
    elif way == "directory":
        file.unlink()
        file.mkdir()
    elif way == "long":
        file.write_text(f"{clone.path}\n" + "#" * MAX_BYTES)
    elif way == "relative":
        monkeypatch.setenv("INNKEEPER_HOMES", "../config/homes")
    elif way == "stranger":
        os.chown(file, STRANGER, -1)
    else:
        monkeypatch.setattr("innkeeper.plugins.accepted_homes._file", lambda: Path("/nowhere\0/homes"))
        sentence = "not a file name"
    home = open_home()
    assert doubted(home)
    assert sentence in home.doubt
    assert sentence in run("plugins")
    before = file.read_bytes() if file.is_file() else None
    for change in (accept_home, forget_home):
        with pytest.raises(UsageError, match=r"^the list of accepted homes, "):
            change(clone.path)
    assert (file.read_bytes() if file.is_file() else None) == before


@needs_root
def test_a_folder_of_another_user_is_not_believed_though_the_list_has_its_name(clone: Clone) -> None:
    accept_home(clone.path)
    os.chown(clone.path, STRANGER, -1)
    home = open_home()
    assert doubted(home)
    assert "it belongs to another user: name it with --home" in home.doubt
    forget_home(clone.path)
    with pytest.raises(UsageError, match="cannot be accepted, since it belongs to another user"):
        accept_home(clone.path)


@pytest.mark.parametrize("part", ["", "plugins", "manifests"])
def test_a_folder_that_others_can_fill_is_not_believed_though_it_was_accepted(clone: Clone, part: str) -> None:
    assert accept_home(clone.path)
    assert open_home().believed
    (clone.path / part).chmod(0o777)
    found = open_home()
    assert not found.believed
    assert f"others may write to {clone.path / part}" in found.doubt
    forget_home(clone.path)
    with pytest.raises(UsageError, match="others may write to"):
        accept_home(clone.path)


async def test_a_folder_that_is_not_believed_pauses_nothing(clone: Clone) -> None:
    paused = clone.path / "state/paused"
    paused.mkdir(parents=True, mode=0o700)
    record = {"plugin": "thief", "sha256": hashlib.sha256(WASM).hexdigest(), "since": 1.0, "reason": "send me money"}
    (paused / f"thief@{record['sha256']}.json").write_text(json.dumps(record))
    async with innkeeper.open_host(watch=False) as host:
        assert (await host.plugins["thief"].call("f")).output == b""


def test_many_that_change_the_list_at_once_undo_nothing_of_each_other(clone: Clone, tmp_path: Path) -> None:
    folders = [tmp_path / f"home{number}" for number in range(20)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(accept_home, folders))
        assert sorted(read_accepted().homes) == sorted(map(str, folders))
        assert all(threads.map(forget_home, folders))
    assert read_accepted().homes == ()


def test_the_list_is_made_where_only_its_user_can_write(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNKEEPER_HOMES", str(tmp_path / "new/deep/homes"))
    before = os.umask(0)
    try:
        assert accept_home(clone.path)
        assert not accept_home(clone.path)
    finally:
        os.umask(before)
    assert read_accepted().homes == (str(clone.path),)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "new/deep")} == {0o700}


def test_a_list_that_is_full_stays_as_it_is(clone: Clone) -> None:
    clone.list.write_text("/x\n" * (MAX_BYTES // 3))
    clone.list.chmod(0o644)
    with pytest.raises(UsageError, match="not written: a list has at most"):
        accept_home(clone.path)
    assert len(read_accepted().homes) == MAX_BYTES // 3


def test_a_name_that_would_be_two_lines_is_not_accepted(clone: Clone) -> None:
    strange = clone.path.parent / f"x\n{clone.path}".replace("/", "_")
    strange.mkdir()
    with pytest.raises(UsageError, match="cannot be shown; name it with --home"):
        accept_home(strange)
    assert doubted(open_home())


# --- a host that runs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_running_host_keeps_the_decision_of_its_start(clone: Clone, accepted: bool) -> None:
    if accepted:
        accept_home(clone.path)
    async with innkeeper.open_host(watch=False) as host:
        await trio.to_thread.run_sync(forget_home if accepted else accept_home, clone.path)
        (clone.path / "innkeeper.toml").touch()
        (clone.path / "manifests/thief.toml").touch()
        clone.put("another.wasm", assemble('(module (func (export "g")))'))
        await host.reload()
        assert "another" in host.plugins
        assert host.plugins["thief"].grant_state == ("granted" if accepted else "none")
        assert clone.ran.exists() == accepted


async def test_a_grant_that_comes_later_is_said_and_not_used(clone: Clone) -> None:
    grant = (clone.path / "manifests/thief.toml").read_bytes()
    clone.bare()
    async with innkeeper.open_host(watch=False) as host:
        assert not any(problem.startswith(NOT_USED) for problem in host.problems)
        (clone.path / "manifests/thief.toml").write_bytes(grant)
        await host.reload()
        assert host.problems.count(NOT_USED + NOT_ACCEPTED) == 1
        assert host.plugins["thief"].grant_state == "none"


@pytest.mark.parametrize("accepted", [False, True])
async def test_what_lies_scheduled_in_a_folder_is_run_only_if_it_is_believed(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, accepted: bool
) -> None:
    if accepted:
        accept_home(clone.path)
    asked: list[bool] = []
    original = bridge_host.open_bridge

    def opening(*arguments: Any, schedules: bool, **more: Any) -> Any:
        asked.append(schedules)
        return original(*arguments, schedules=schedules, **more)

    monkeypatch.setattr(bridge_host, "open_bridge", opening)
    async with innkeeper.open_host(watch=False, schedules=True):
        assert asked == [accepted]


# --- commands -------------------------------------------------------------------------------------------------------


def test_commands_say_it_once_and_only_where_something_would_count(clone: Clone, run: Callable[..., str]) -> None:
    workflow = clone.path.parent / "w.json"
    workflow.write_text(json.dumps({"nodes": [], "edges": []}))
    merge = {"id": "a", "fullType": "core:TextMerge", "inputs": {}}
    missing = clone.path.parent / "missing.json"
    missing.write_text(json.dumps({"nodes": [merge, {"id": "b", "fullType": "no:Such"}], "edges": []}))
    commands = (
        (("call", "thief", "f"), 0),
        (("run", str(missing)), 2),
        (("plugins",), 0),
        (("grants",), 0),
        (("config",), 0),
        (("config", "get", "native_plugins"), 0),
        (("doctor",), 0),
    )
    for command, code in commands:
        assert run(*command, code=code).count(NOT_USED + NOT_ACCEPTED) == 1, command
    assert not (clone.path / "state").exists()
    clone.bare()
    for command, code in commands:
        assert NOT_USED not in run(*command, code=code), command
    assert not clone.ran.exists()


@pytest.mark.parametrize(
    "command", ["audit", "audit --json", "journals", "journals show 1", "replay 1", "owner show local", "memo"]
)
def test_records_of_a_folder_that_is_not_believed_are_not_shown_without_a_remark(
    clone: Clone, run: Callable[..., str], command: str
) -> None:
    clone.bare()
    # Where nothing was kept, nothing can mislead.
    assert NOT_USED not in run("audit") + run("journals") + run("memo")
    run("--home", str(clone.path), "call", "thief", "f", "--journal", "all")
    run("--home", str(clone.path), "grant", "thief", "--yes")
    (clone.path / "manifests/thief.toml").unlink()
    remark = f"innkeeper: what is kept in {clone.path / 'state'} may be somebody else's invention: {NOT_USED}"
    assert run(*command.split()).count(remark + NOT_ACCEPTED + "\n") == 1
    assert remark not in run("--home", str(clone.path), *command.split())
    accept_home(clone.path)
    assert remark not in run(*command.split())


@pytest.mark.parametrize("command", ["grant thief --yes", "trust bad --yes", "revoke thief", "config import x.json"])
def test_nothing_is_decided_in_a_folder_that_is_not_believed(
    clone: Clone, run: Callable[..., str], command: str
) -> None:
    clone.bare()
    (clone.path / "x.json").write_text("{}")
    before = sorted(clone.path.rglob("*"))
    said = run(*command.split(), code=2)
    assert said == f"innkeeper: {clone.path}: nothing was written: {NOT_USED}{NOT_ACCEPTED}\n"
    assert sorted(clone.path.rglob("*")) == before


def test_settings_of_a_folder_that_is_not_believed_are_not_even_read(clone: Clone, run: Callable[..., str]) -> None:
    (clone.path / "innkeeper.toml").write_text("this is = [ not TOML")
    assert "self-check  ok" in run("doctor")
    run("call", "thief", "f")
    assert "is not TOML" in run("home", "accept", "--yes", code=2)
    assert read_accepted().homes == ()


def test_accepting_says_what_would_count_and_asks(clone: Clone, run: Callable[..., str]) -> None:
    said = run("home", "accept", code=2)
    assert "nothing was accepted: there is no terminal to ask" in said
    for words in (
        'settings in innkeeper.toml: native_plugins = true, files.roots.user = "/home"'.replace('"', ""),
        "grants: 1 (thief)",
        "trusted native plugins, with all rights of the host: 1 (bad)",
        LATER,
    ):
        assert words in said.replace('"', "")
    found = json.loads(run("home", "accept", "--json", code=2))
    assert (found["written"], found["grants"], found["trusted"]) == (False, ["thief"], ["bad"])
    assert found["settings"].keys() == {"native_plugins", "files.roots.user"}
    assert read_accepted().homes == ()
    assert f"{clone.path}: accepted; " in run("home", "accept", "--yes")
    assert "accepted already" in run("home", "accept", str(clone.path), "--yes")
    assert json.loads(run("home", "--json"))["believed"] is True
    assert not clone.ran.exists()
    assert "forgotten" in run("home", "forget")
    assert "is not accepted as a home" in run("home", "forget", code=2)
    assert doubted(open_home())


@pytest.mark.parametrize(("answer", "accepted"), [("y", True), ("n", False), ("", False)])
def test_only_a_yes_at_the_terminal_accepts(clone: Clone, answer: str, accepted: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        command = [sys.executable, "-m", "innkeeper", "home", "accept"]
        ended = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, timeout=60, check=False)
    finally:
        os.close(theirs)
        os.close(ours)
    assert ended.returncode == (0 if accepted else 6)
    assert (read_accepted().homes == (str(clone.path),)) == accepted


def test_a_folder_that_is_gone_can_be_forgotten_and_one_that_never_was_not_accepted(
    clone: Clone, tmp_path: Path, run: Callable[..., str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    run("home", "accept", str(gone), "--yes")
    gone.rmdir()
    assert "is not a folder" in run("home", "accept", str(gone), "--yes", code=2)
    assert "forgotten" in run("home", "forget", str(gone))
    assert "write innkeeper --home FOLDER home" in run("home", "show", str(gone), code=2)


def test_names_in_an_unbelieved_folder_steer_no_terminal(clone: Clone, run: Callable[..., str]) -> None:
    (clone.path / "manifests/\x1b]0;x\x07.toml").touch()
    said = run("home", "accept", code=2) + run("home") + run("plugins")
    assert "\x1b" not in said


# --- doctor ---------------------------------------------------------------------------------------------------------


def found(home: Home | None = None) -> list[tuple[str, str]]:
    findings = check_places(home or open_home())
    return [(each.state, each.what + each.advice) for each in findings if each.check == "home.accepted"]


def test_doctor_says_whether_the_home_is_believed(clone: Clone, run: Callable[..., str]) -> None:
    report: Any = json.loads(run("doctor", "--json"))["home"]
    assert (report["believed"], report["problems"]) == (False, [NOT_USED + NOT_ACCEPTED])
    assert [state for state, _ in found()] == ["info"]
    assert "innkeeper home accept" in found()[0][1]
    accept_home(clone.path)
    assert json.loads(run("doctor", "--json"))["home"]["believed"] is True
    clone.path.chmod(0o755)
    assert [state for state, _ in found()] == ["ok"]


def test_doctor_finds_an_accepted_folder_or_a_list_that_others_can_write_to(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    accept_home(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    accept_home(clone.path)
    clone.path.chmod(0o777)
    states = found()
    # It counts for nothing as long as others can write to it.
    assert [state for state, _ in states] == ["bad", "info", "info"]
    assert "innkeeper home forget" in states[1][1]
    assert "others may write to" in states[2][1]
    clone.list.chmod(0o666)
    # The home itself is not the matter here.
    assert ("bad", True) in [(state, "others may write to it" in text) for state, text in found(open_home("."))]
