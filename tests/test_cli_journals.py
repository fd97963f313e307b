"""`innkeeper journals` and `innkeeper replay`: what was kept, shown safely, and run again."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from guests import assemble, wat
from innkeeper.bridge.host import STATE
from innkeeper.bridge.journal.format import read_journal, write_journal
from innkeeper.bridge.journal.model import Given
from innkeeper.bridge.offer import operations
from innkeeper.cli.main import invoke
from innkeeper.cli.replay import DEPARTS
from innkeeper.plugins import home as home_module
from innkeeper.sandbox.interface import HostFunction, Value

ESCAPE = "\x1b[2J\x1b]0;owned\x07\u202egnp"


async def _never(data: bytes) -> bytes:
    raise AssertionError


KV = [
    HostFunction(each.import_name, _never, (Value.BYTES,), Value.BYTES) for each in operations() if each.service == "kv"
]


def notes(*keys: str, log: str = "a line") -> bytes:
    """A guest that keeps its input under each of these keys' names, and gives the last answer back."""
    blocks, calls = "", ""
    for key in keys:
        packed = msgpack.packb({"key": key, "value": b"v"})
        text = "".join(f"\\{byte:02x}" for byte in packed)
        at = 64 + len(blocks) * 0 + 256 * keys.index(key)
        blocks += f'(data (i32.const {at}) "{text}")'
        calls += f"(local.set $b (call $innkeeper_kv_put (call $own (i32.const {at}) (i64.const {len(packed)}))))"
    logged = "".join(f"\\{byte:02x}" for byte in log.encode())
    own = """(func $own (param $at i32) (param $n i64) (result i64) (local $b i64) (local $i i64)
      (local.set $b (call $alloc (local.get $n)))
      (loop (call $store_u8 (i64.add (local.get $b) (local.get $i))
          (i32.load8_u (i32.add (local.get $at) (i32.wrap_i64 (local.get $i)))))
        (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (local.get $n))))
      (local.get $b))"""
    return assemble(
        wat(
            f"""(memory (export "memory") 1) {blocks} (data (i32.const 0) "{logged}") {own}
            (func (export "run") (local $b i64)
              (call $log_info (call $own (i32.const 0) (i64.const {len(log.encode())})))
              {calls} (call $output_set (local.get $b) (call $length (local.get $b))))
            (func (export "fails") (unreachable))""",
            "alloc store_u8 length output_set log_info",
            functions=KV,
        )
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    for name in ("plugins", "manifests"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("INNKEEPER_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    wasm = notes("a", "b")
    (folder / "plugins" / "notes.wasm").write_bytes(wasm)
    (folder / "plugins" / "notes.toml").write_text(
        'id = "notes"\nversion = "1.2.0"\n[[capabilities]]\nname = "kv"\nreason = "it keeps notes"\n'
    )
    (folder / "manifests" / "notes.toml").write_text(
        f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\ncapabilities = ["kv"]\n'
    )
    return folder


def said(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert invoke(list(arguments)) == code
    captured = capfd.readouterr()
    return captured.out if code in (0, DEPARTS) and captured.out else captured.err


def object_of(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    return json.loads(said(capfd, *arguments, "--json", code=code))


def test_a_call_is_kept_listed_shown_run_again_exported_and_deleted(
    home: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said(capfd, "call", "notes", "run", "--journal", "all", "--config", "mode=x", "--input", "hello")
    lines = said(capfd, "journals").splitlines()
    assert lines[0].split() == ["journal", "when", "plugin", "sha256", "function", "outcome", "size"]
    assert lines[1].split()[0] == "1"
    assert lines[-1].startswith("1 journal, ")
    shown = said(capfd, "journals", "show", "1")
    assert '1  innkeeper_kv_put({"key":"a","value":"dg=="}) -> {"ok":{"version":1}}' in shown
    assert "mode=" in shown
    assert "notes 1.2.0, sha256" in shown
    assert "[info] a line" in shown
    assert said(capfd, "replay", "1") == (
        "the same: notes run, 2 of 2 calls of the host, the log and the outcome (output) bit for bit\n"
    )
    found = object_of(capfd, "replay", "1")
    assert (found["same"], found["whole"], found["calls"]) == (True, True, {"same": 2, "recorded": 2})
    said(capfd, "journals", "export", "1", "kept.journal")
    file = tmp_path / "kept.journal"
    assert file.stat().st_mode & 0o777 == 0o600
    assert said(capfd, "replay", "kept.journal").startswith("the same")
    assert "cannot be made" in said(capfd, "journals", "export", "1", "kept.journal", code=2)
    assert said(capfd, "journals", "delete", "1") == "deleted journal 1\n"
    assert "there is no journal 1" in said(capfd, "replay", "1", code=2)
    assert object_of(capfd, "journals") == {"journals": [], "count": 0, "bytes": 0}
    # A file needs no home's journals.
    assert said(capfd, "journals", "show", "kept.journal").startswith("plugin  notes 1.2.0")


def test_a_changed_plugin_is_shown_where_it_departs(
    home: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said(capfd, "call", "notes", "run", "--journal", "all")
    (tmp_path / "other.wasm").write_bytes(notes("a", f"c{ESCAPE}"))
    text = said(capfd, "replay", "1", "--wasm", "other.wasm", code=DEPARTS)
    assert text.splitlines()[:3] == [
        "another: notes run, 1 of 2 calls of the host the same",
        "departs at call 2",
        '  recorded: innkeeper_kv_put({"key":"b","value":"dg=="})',
    ]
    assert "\x1b" not in text
    assert "\u202e" not in text
    raw = said(capfd, "replay", "1", "--wasm", "other.wasm", "--json", code=DEPARTS)
    assert "\x1b" not in raw
    assert "\u202e" not in raw
    found = json.loads(raw)
    assert found["departs"]["call"] == 2
    assert found["departs"]["recorded"]["name"] == "innkeeper_kv_put"
    (tmp_path / "loud.wasm").write_bytes(notes("a", "b", log="another line"))
    text = said(capfd, "replay", "1", "--wasm", "loud.wasm", code=DEPARTS)
    assert "the log is another\n  recorded: line 1: [info] a line\n  now:      line 1: [info] another line\n" in text
    # The home's own file is another one now.
    (home / "plugins" / "notes.wasm").write_bytes((tmp_path / "other.wasm").read_bytes())
    text = said(capfd, "replay", "1", code=2)
    assert "no plugin of the home has the module that was recorded" in text
    # What it advises works from any folder.
    advised = shlex.split(text[text.rindex("--wasm ") :])
    assert "departs at call 2" in said(capfd, "replay", "1", *advised, code=DEPARTS)
    assert "to compare with plugins/notes.wasm, which is another one by now" in text


def test_a_replay_leaves_the_home_as_it_was(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said(capfd, "call", "notes", "run", "--journal", "all")
    for _ in range(2):
        object_of(capfd, "call", "notes", "run")
    before = object_of(capfd, "journals")
    said(capfd, "replay", "1")
    # The version of the key would have moved on.
    said(capfd, "call", "notes", "run", "--journal", "all", "--json")
    assert len(object_of(capfd, "journals")["journals"]) == len(before["journals"]) + 1
    shown = object_of(capfd, "journals", "show", "2")
    assert json.loads(shown["calls"][0]["answer"]["text"]) == {"ok": {"version": 7}}


def test_a_run_follows_the_policy_too(home: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said(capfd, "call", "notes", "fails", "--journal", "errors", code=1)
    said(capfd, "call", "notes", "run", "--journal", "errors")
    said(capfd, "call", "notes", "fails", code=1)
    assert [each["function"] for each in object_of(capfd, "journals")["journals"]] == ["fails"]
    assert said(capfd, "replay", "1").startswith("the same: notes fails")
    assert "the outcome (guest) bit for bit" in said(capfd, "replay", "1")


def test_the_nodes_of_a_run_are_kept_with_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "workflows.md").read_text()
    (tmp_path / "hello.json").write_text(page.split("```json\n")[1].split("```")[0])
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    said(capfd, "run", "hello.json", "--input", "name=Ada", "--json", "--journal", "all")
    journals = object_of(capfd, "journals")["journals"]
    assert journals
    for each in journals:
        shown = object_of(capfd, "journals", "show", str(each["id"]))
        assert shown["run"]
        assert shown["node"]
        assert said(capfd, "replay", str(each["id"])).startswith("the same")


def test_a_file_that_is_called_directly_is_kept_and_run_again_from_that_file(
    home: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wasm = assemble(
        wat(
            '(func (export "echo") (call $output_set (call $input_offset) (call $input_length)))',
            "input_offset input_length output_set",
        )
    )
    (tmp_path / "echo.wasm").write_bytes(wasm)
    said(capfd, "call", "echo.wasm", "echo", "--input", "x", "--journal", "all")
    assert "give its file with --wasm" in said(capfd, "replay", "1", code=2)
    assert said(capfd, "replay", "1", "--wasm", "echo.wasm").startswith("the same: echo echo")


def test_what_somebody_sent_is_shown_without_steering_the_terminal(
    home: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said(capfd, "call", "notes", "run", "--journal", "all")
    said(capfd, "journals", "export", "1", "-")
    said(capfd, "journals", "export", "1", "sent")
    sent = read_journal((tmp_path / "sent").read_bytes())
    hostile = replace(
        sent,
        plugin=ESCAPE,
        host=ESCAPE,
        run=ESCAPE,
        node=ESCAPE,
        rights=(ESCAPE,),
        config={ESCAPE: ESCAPE},
        log=((ESCAPE, ESCAPE * 1000), *[("info", "x")] * 2000),
        limits={**sent.limits, "wall": float("inf")},
        at=1e300,
        calls=tuple(replace(call, answer=Given(ESCAPE.encode() * 10_000)) for call in sent.calls),
        ending=replace(sent.ending, kind="guest", message=ESCAPE * 1000),
    )
    (tmp_path / "sent").write_bytes(write_journal(hostile))
    for more in ((), ("--json",)):
        text = said(capfd, "journals", "show", "sent", *more)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert len(text) < 60_000 or more
    text = said(capfd, "replay", "sent", "--wasm", "home/plugins/notes.wasm", code=DEPARTS)
    assert "\x1b" not in text
    assert len(text) < 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replay", "77"), "there is no journal 77"),
        (("replay", "nowhere"), "No such file"),
        (("replay", "home/plugins/notes.toml"), "is not a journal"),
        (("journals", "show"), "say which"),
        (("journals", "export", "1"), "say where to"),
        (("journals", "show", "1", "x"), "no second argument"),
        (("journals", "delete", "x"), "is not the number of a journal"),
        (("journals", "delete", "7"), "there is no journal 7"),
        (("journals", "list", "7"), "journals show 7"),
        (("journals", "--all"), "journals delete --all"),
        (("call", "notes", "run", "--journal", "sometimes"), "journal"),
        (("call", "notes", "run", "--journal", "all", "--engine", "extism"), "cannot record"),
    ],
)
def test_a_slip_is_said_in_one_line(
    home: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    text = said(capfd, *arguments, code=2)
    assert message in text
    assert text.count("\n") == 1
    assert not os.path.lexists(home / STATE)


def test_all_of_an_owner_can_be_deleted(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        said(capfd, "call", "notes", "run", "--journal", "all")
    assert said(capfd, "journals", "delete", "--all") == "deleted 3 journals\n"
    assert said(capfd, "journals") == "0 journals, 0 B\n"


def test_a_call_is_run_again_with_the_cache_that_an_option_names(
    home: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(capfd, "call", "notes", "run", "--journal", "all")
    monkeypatch.setenv("INNKEEPER_CACHE", str(tmp_path / "of-the-variable"))
    assert said(capfd, "--set", f"cache={tmp_path / 'of-the-option'}", "replay", "1").startswith("the same")
    assert (tmp_path / "of-the-option").is_dir()
    assert not (tmp_path / "of-the-variable").exists()
