"""The commands: what goes where, which exit code, and never a traceback for what a user or a guest did."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from wasmtime import wat2wasm

from innkeeper.cli.group import BROKEN_PIPE
from innkeeper.cli.main import invoke
from innkeeper.cli.output import MOST_ERROR, innkeeper_error, json_bytes, printable
from innkeeper.errors import CancelledError, InternalError, UsageError

pytestmark = pytest.mark.usefixtures("later")

GUEST = r"""
(module
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/env" "log_info" (func $log_info (param i64)))
  (import "extism:host/env" "config_get" (func $config_get (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $input (result i64) (local $block i64) (local $i i64)
    (local.set $block (call $alloc (call $input_length)))
    (block $done
      (loop $next
        (br_if $done (i64.ge_u (local.get $i) (call $input_length)))
        (call $store_u8 (i64.add (local.get $block) (local.get $i)) (call $input_load_u8 (local.get $i)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $next)))
    (local.get $block))
  (func $give (param $block i64) (call $output_set (local.get $block) (call $length (local.get $block))))
  (func (export "echo") (result i32) (call $give (call $input)) (i32.const 0))
  (func (export "log") (result i32) (call $log_info (call $input)) (i32.const 0))
  (func (export "config") (result i32) (call $give (call $config_get (call $input))) (i32.const 0))
  (func (export "fail") (result i32)
    (call $log_info (call $input)) (call $error_set (call $input)) (i32.const 1))
  (func (export "big") (result i32)
    (call $output_set (call $alloc (i64.const 1000000)) (i64.const 1000000)) (i32.const 0))
  (func (export "spin") (loop $again (br $again))))
"""

DENIED = """
(module
  (import "extism:host/env" "http_request" (func $http (param i64 i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "run") (result i32) (drop (call $http (i64.const 0) (i64.const 0))) (i32.const 0)))
"""

COMMAND = r"""
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (data (i32.const 16) "hello\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const CODE))))
"""

MISSING = '(module (import "env" "nothing" (func (param i32))) (func (export "run")))'

ESCAPE = "\x1b]0;title\x07\x9b31m\u202ered\r\nnext"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with guest.wasm; the home is empty."""
    (tmp_path / "home" / "plugins").mkdir(parents=True)
    (tmp_path / "home" / "manifests").mkdir()
    (tmp_path / "guest.wasm").write_bytes(wat2wasm(GUEST))
    (tmp_path / "denied.wasm").write_bytes(wat2wasm(DENIED))
    (tmp_path / "missing.wasm").write_bytes(wat2wasm(MISSING))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INNKEEPER_TRACEBACK", raising=False)
    return tmp_path


class Ended:
    """How a command ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code, self.out, self.err = code, out, err.decode()

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    def run(*arguments: str) -> Ended:
        code = invoke(arguments)
        out, err = capfdbinary.readouterr()
        return Ended(code, out, err)

    return run


def start(*arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "innkeeper", *arguments], **more)


# --- call -----------------------------------------------------------------------------------------------------------


def test_the_output_is_the_guests_bytes_and_nothing_else(run: Any, folder: Path) -> None:
    data = bytes(range(256))
    (folder / "input").write_bytes(data)
    ended = run("call", "guest.wasm", "echo", "--input-file", "input")
    assert (ended.code, ended.out, ended.err) == (0, data, "")
    ended = run("call", "guest.wasm", "echo", "--input", "grüße")
    assert (ended.code, ended.out) == (0, "grüße".encode())
    assert run("call", "guest.wasm", "echo").out == b""


def test_the_input_may_come_from_standard_input(folder: Path) -> None:
    process = start("call", "guest.wasm", "echo", "--input-file", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = process.communicate(b"\0piped\xff")
    assert (process.returncode, out) == (0, b"\0piped\xff")


def test_the_log_goes_to_standard_error_and_steers_no_terminal(run: Any) -> None:
    ended = run("call", "guest.wasm", "log", "--input", "\x1b[31mred\x9b\u202e")
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err == "[info] \\x1b[31mred\\x9b\\u202e\n"


@pytest.mark.parametrize(("code", "last"), [(0, []), (3, ["the guest exited with code 3"])])
def test_a_wasi_command_is_called_by_its_start_and_its_standard_output_is_log(
    run: Any, folder: Path, code: int, last: list[str]
) -> None:
    (folder / "command.wasm").write_bytes(wat2wasm(COMMAND.replace("CODE", str(code))))
    ended = run("call", "command.wasm", "_start")
    assert (ended.code, ended.out) == (1 if code else 0, b"")
    lines = ended.err.splitlines()
    assert lines[:1] == ["[info] hello"]
    assert [line.rpartition(": ")[2] for line in lines[1:]] == last


def test_an_input_that_is_too_large_is_refused_with_its_real_size_where_it_has_one(run: Any, folder: Path) -> None:
    (folder / "home/innkeeper.toml").write_text("[defaults]\ninput = 10\n")
    (folder / "input").write_bytes(b"x" * 10)
    assert run("call", "guest.wasm", "echo", "--input-file", "input").code == 0
    (folder / "input").write_bytes(b"x" * 25)
    ended = run("call", "guest.wasm", "echo", "--input-file", "input")
    assert ended.code == 4
    assert ended.err == (
        "innkeeper: plugin 'guest', function 'echo': the input has 25 bytes; the limit 'input' is 10\n"
    )
    process = start(
        "call", "guest.wasm", "echo", "--input-file", "-", "--json", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    out, _ = process.communicate(b"x" * 25)
    error = json.loads(out)["error"]
    assert error["message"] == "the input has more than 10 bytes; the limit 'input' is 10"
    assert (process.returncode, error["value"], error["used"]) == (4, 10, None)


def test_configuration_reaches_the_guest(run: Any) -> None:
    assert run("call", "guest.wasm", "config", "--input", "a", "--config", "a=1=2", "--config", "b=").out == b"1=2"


def test_an_error_is_one_line_on_standard_error_whatever_the_guest_says(run: Any) -> None:
    ended = run("call", "guest.wasm", "fail", "--input", ESCAPE)
    assert (ended.code, ended.out) == (1, b"")
    lines = ended.err.splitlines()
    assert lines[-1].startswith("innkeeper: plugin 'guest', function 'fail': ")
    assert all(line.startswith(("innkeeper: ", "[info] ")) for line in lines)
    assert ended.err.replace("\n", "").isprintable()
    ended = run("call", "guest.wasm", "fail", "--input", "x" * 100_000)
    assert len(ended.err.splitlines()[-1]) < MOST_ERROR + 100


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (1, ("guest.wasm", "fail", "--input", "no"), "no"),
        (2, ("guest.wasm", "ecco"), "exports no function 'ecco'; did you mean 'echo'?"),
        (3, ("missing.wasm", "run"), "'env' 'nothing'"),
        (4, ("guest.wasm", "spin", "--cpu", "20ms"), "'cpu'"),
        (4, ("guest.wasm", "spin", "--wall", "20ms"), "'wall'"),
        (5, ("denied.wasm", "run"), "http"),
    ],
)
def test_each_kind_of_failure_has_its_exit_code_and_names_what_it_was(
    run: Any, code: int, arguments: tuple[str, ...], words: str
) -> None:
    ended = run("call", *arguments)
    assert (ended.code, ended.out) == (code, b"")
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_a_bound_of_the_host_ends_with_busy(run: Any, folder: Path) -> None:
    (folder / "home/innkeeper.toml").write_text('[bounds]\nguest_memory = "64KiB"\n')
    ended = run("call", "guest.wasm", "echo", "--wall", "100ms")
    assert ended.code == 7
    assert "guest" in ended.err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"not wasm", "not Wasm"),
        (b"\x7fELF\2\1\1" + b"\0" * 60, "ELF"),
        (b"(module)", "wat2wasm"),
        (b"\0asm\x0d\0\1\0", "component"),
        (b"\0asm\1\0\0\0\xff\xff", ""),
        (bytes(range(256)) * 10, "not Wasm"),
    ],
)
@pytest.mark.parametrize("command", ["call", "inspect"])
def test_a_file_that_is_no_plugin_is_rejected_in_one_sentence(
    run: Any, folder: Path, command: str, data: bytes, words: str
) -> None:
    (folder / "x.wasm").write_bytes(data)
    ended = run(command, "x.wasm", *(["run"] if command == "call" else []))
    assert (ended.code, ended.out) == (3, b"")
    assert ended.err.startswith("innkeeper: x.wasm: ")
    assert ended.err.count("\n") == 1
    assert words in ended.err


def test_a_file_that_is_too_large_is_rejected(run: Any, folder: Path) -> None:
    (folder / "home/innkeeper.toml").write_text("[bounds]\nmodule_size = 100\n")
    ended = run("call", "guest.wasm", "echo")
    assert ended.code == 3
    assert "the most is 100" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("call",), "Missing argument 'FILE'"),
        (("call", "guest.wasm"), "Missing argument 'FUNCTION'"),
        (("call", "gone.wasm", "echo"), "gone.wasm: no such file"),
        (("call", "./gone", "echo"), "./gone: no such file"),
        (("call", "gone", "echo"), "there is no plugin 'gone'; `innkeeper plugins` lists what there is"),
        (("call", "guest", "echo"), "there is no plugin 'guest'; for the file write guest.wasm"),
        (("inspect", "guest"), "there is no plugin 'guest'; for the file write guest.wasm"),
        (("call", "home", "echo"), "home: is a folder, not a file"),
        (("call", "guest.wasm/x", "echo"), "no such file"),
        (("call", "guest.wasm", "echo", "--input", "a", "--input-file", "b"), "not both"),
        (("call", "guest.wasm", "echo", "--input-file", "gone"), "--input-file gone: No such file"),
        (("call", "guest.wasm", "echo", "--input-file", "home"), "--input-file home: Is a directory"),
        (("call", "guest.wasm", "echo", "--config", "novalue"), "--config 'novalue': write KEY=VALUE"),
        (("call", "guest.wasm", "echo", "--config", "a=1", "--config", "a=2"), "twice"),
        (("call", "guest.wasm", "echo", "--memory", "lots"), "--memory: 'lots' is not a size"),
        (("call", "guest.wasm", "echo", "--memory", "64GiB"), "above the host's own: memory"),
        (("call", "guest.wasm", "echo", "--cpu", "-1"), "--cpu: '-1' is not a duration"),
        (("call", "guest.wasm", "echo", "--wall", ""), "--wall: '' is not a duration"),
        (("call", "guest.wasm", "echo", "--colour"), "No such option"),
        (("call", "guest.wasm", "echo", "more"), "unexpected extra argument"),
        (("cal",), "No such command 'cal'"),
        (("--home", "gone", "plugins"), "--home: 'gone' is not a folder"),
        (("inspect", "gone.wasm"), "gone.wasm: no such file"),
        (("call", "", "echo"), "innkeeper: '': no such file"),
        (("call", "guest.wasm", "echo", "--input-file", ""), "--input-file '': No such file"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(run: Any, arguments: tuple[str, ...], words: str) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, b"")
    assert ended.err.startswith("innkeeper: ")
    assert ended.err.count("\n") == 1
    assert words in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "k=a\udcff"), "--config k: the text is not UTF-8 (character 1)"),
        (("--config", "\udcff=a"), "--config: the text is not UTF-8 (character 0)"),
        (("--input", "\udcff"), "--input: the text is not UTF-8 (character 0); --input-file takes any bytes"),
    ],
)
def test_an_option_that_is_not_text_is_a_users_mistake(run: Any, arguments: tuple[str, ...], message: str) -> None:
    ended = run("call", "guest.wasm", "echo", *arguments)
    assert (ended.code, ended.out, ended.err) == (2, b"", f"innkeeper: {message}\n")
    ended = run("call", "guest.wasm", "echo", *arguments, "--json")
    assert (ended.code, ended.json()["error"]["message"]) == (2, message)


def test_a_byte_of_the_command_line_that_is_not_utf_8_is_a_users_mistake(folder: Path) -> None:
    process = start("call", "guest.wasm", "echo", "--config", b"k=\xff", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert err == b"innkeeper: --config k: the text is not UTF-8 (character 0)\n"


def test_the_problems_of_a_file_are_a_list_in_json(run: Any, folder: Path) -> None:
    (folder / "guest.toml").write_text('id = "My Id"\n')
    ended = run("call", "guest.wasm", "echo", "--json")
    assert (ended.code, ended.err) == (3, "")
    assert [problem["text"].split(" is ")[0] for problem in ended.json()["error"]["problems"]] == [
        "guest.toml: id",
        "guest.toml: version",
    ]
    toml = folder / "home/innkeeper.toml"
    toml.write_text("bound = 3\n[limits]\nwal = 1\n")
    expected = [
        "innkeeper.toml: bound is not a key here; did you mean 'bounds'?",
        "innkeeper.toml: limits.wal is not a key here; did you mean 'wall'?",
    ]
    (folder / "w.json").write_text('{"nodes": [], "edges": []}')
    for command in (
        ("call", "guest.wasm", "echo"),
        ("plugins",),
        ("doctor",),
        ("inspect", "guest.wasm"),
        ("run", "w.json"),
    ):
        ended = run(*command, "--json")
        assert ended.code == 2
        error = ended.json()["error"]
        assert error["problems"] == [{"text": text, "node": None, "slot": None} for text in expected]
        assert error["message"] == "\n".join(expected)
    for text in ("[", '[defaults]\ncpu = "2h"\n'):
        toml.write_text(text)
        error = run("plugins", "--json").json()["error"]
        assert [problem["text"] for problem in error["problems"]] == [error["message"]]


def test_an_unreadable_configuration_stops_every_command_with_a_sentence(run: Any, folder: Path) -> None:
    (folder / "home/innkeeper.toml").write_text("[bounds]\nlive_gests = 3\n")
    for command in (("call", "guest.wasm", "echo"), ("plugins",), ("doctor",), ("inspect", "guest.wasm")):
        ended = run(*command)
        assert ended.code == 2
        assert ended.err == (
            "innkeeper: innkeeper.toml: bounds.live_gests is not a key here; did you mean 'live_guests'?\n"
        )


def test_several_problems_of_one_file_are_a_line_each(run: Any, folder: Path) -> None:
    (folder / "guest.toml").write_text('id = "My\\nId"\n')
    for command in (("call", "guest.wasm", "echo"), ("inspect", "guest.wasm")):
        ended = run(*command)
        assert (ended.code, ended.out) == (3, b"")
        assert [line.split(" is ")[0] for line in ended.err.splitlines()] == [
            "innkeeper: guest.toml: id",
            "innkeeper: guest.toml: version",
        ]
    (folder / "home/innkeeper.toml").write_text("bound = 3\n[limits]\nwal = 1\n")
    ended = run("plugins")
    assert ended.code == 2
    assert ended.err.splitlines() == [
        "innkeeper: innkeeper.toml: bound is not a key here; did you mean 'bounds'?",
        "innkeeper: innkeeper.toml: limits.wal is not a key here; did you mean 'wall'?",
    ]


def test_a_plugin_that_does_not_load_is_named_with_its_file(run: Any, folder: Path) -> None:
    (folder / "home/plugins/file.wasm").write_bytes((folder / "missing.wasm").read_bytes())
    (folder / "home/plugins/file.toml").write_text(
        'id = "demo"\nversion = "1"\n[[nodes]]\ntype = "T"\nfunction = "run"\n'
    )
    (folder / "w.json").write_text('{"nodes": [{"id": "n", "fullType": "demo:T"}], "edges": []}')
    ended = run("run", "w.json")
    assert ended.code == 3
    assert ended.err.startswith("innkeeper: node 'n', plugin 'demo': plugins/file.wasm: ")
    assert "'env' 'nothing'" in ended.err


def test_inspect_knows_the_functions_that_a_manifest_requests(run: Any, folder: Path) -> None:
    wasm = wat2wasm(
        '(module (import "extism:host/user" "innkeeper_kv_get" (func (param i64) (result i64))) (func (export "run")))'
    )
    request = {"name": "kv", "reason": "r"}
    toml = 'id = "keeper"\nversion = "1"\n[[capabilities]]\nname = "kv"\nreason = "r"\n'
    for place in (folder, folder / "home/plugins"):
        (place / "keeper.wasm").write_bytes(wasm)
        (place / "keeper.toml").write_text(toml)
    (folder / "home/plugins/box/bin").mkdir(parents=True)
    (folder / "home/plugins/box/bin/m.wasm").write_bytes(wasm)
    manifest = {"id": "boxed", "version": "1", "wasm": "bin/m.wasm", "capabilities": [request]}
    (folder / "home/plugins/box/plugin.json").write_text(json.dumps(manifest))
    for name in ("keeper.wasm", "keeper", "boxed"):
        found = run("inspect", name, "--json").json()
        assert (found["runs"], found["reason"]) == (True, None), name
        assert [each["name"] for each in found["manifest"]["capabilities"]] == ["kv"]
    # Nothing was asked, so nothing was made.
    assert not (folder / "home/state").exists()
    (folder / "keeper.toml").unlink()
    ended = run("inspect", "keeper.wasm")
    assert ended.code == 3
    assert "those that begin with innkeeper_ are there if the manifest requests their capability" in ended.err


def test_inspect_and_call_agree_whether_a_file_runs(run: Any, folder: Path) -> None:
    (folder / "guest.toml").write_text(
        'id = "demo"\nversion = "1"\n[[capabilities]]\nname = "later.thing"\nreason = "r"\noptional = false\n'
    )
    for command in (("inspect", "guest.wasm"), ("call", "guest.wasm", "echo")):
        ended = run(*command)
        assert ended.code == 3
        assert "guest.wasm: needs the capability 'later.thing', which is not available in this version" in ended.err


def test_json_is_one_object_with_output_usage_and_log(run: Any, folder: Path) -> None:
    ended = run("call", "guest.wasm", "echo", "--input", "héllo", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = ended.json()
    assert (found["output"], found["output_base64"], found["log"]) == ("héllo", "aMOpbGxv", [])
    assert found["usage"]["bytes_in"] == found["usage"]["bytes_out"] == 6
    assert found["usage"]["memory"] >= 65_536
    (folder / "input").write_bytes(b"\xff\xfe")
    found = run("call", "guest.wasm", "echo", "--input-file", "input", "--json").json()
    assert (found["output"], found["output_base64"]) == (None, "//4=")
    found = run("call", "guest.wasm", "log", "--input", ESCAPE, "--json").json()
    assert [line["level"] for line in found["log"]] == ["info"] * len(found["log"])


def test_json_errors_are_an_object_too(run: Any) -> None:
    ended = run("call", "guest.wasm", "spin", "--cpu", "20ms", "--json")
    assert (ended.code, ended.err) == (4, "")
    error = ended.json()["error"]
    assert (error["kind"], error["plugin"], error["function"]) == ("limit", "guest", "spin")
    assert (error["limit"], error["value"]) == ("cpu", 0.02)
    error = run("call", "gone.wasm", "echo", "--json").json()["error"]
    assert (error["kind"], error["message"]) == ("usage", "gone.wasm: no such file")
    ended = run("call", "--json", "--colour")
    assert (ended.code, ended.json()["error"]["kind"]) == (2, "usage")


def test_json_is_harmless_on_a_terminal_and_still_the_same_text() -> None:
    text = ESCAPE + "\udc80日本"
    data = json_bytes({"x": text})
    assert json.loads(data) == {"x": text}
    assert "日本" in data.decode()
    assert data.decode().replace("\n", "").isprintable()


def test_a_plugin_of_the_home_is_called_by_its_id_under_its_grant(run: Any, folder: Path) -> None:
    wasm = (folder / "guest.wasm").read_bytes()
    (folder / "home/plugins/my-guest.wasm").write_bytes(wasm)
    digest = run("plugins", "--json").json()["plugins"]
    digest = next(item["sha256"] for item in digest if item["id"] == "my-guest")
    (folder / "home/manifests/my-guest.toml").write_text(f'sha256 = "{digest}"\n[config]\ngreeting = "hei"\n')
    assert run("call", "my-guest", "config", "--input", "greeting").out == b"hei"
    assert run("call", "my-guest", "config", "--input", "greeting", "--config", "greeting=hallo").out == b"hallo"


# --- the other commands ---------------------------------------------------------------------------------------------


def test_inspect_shows_what_a_file_is_wants_and_offers(run: Any, folder: Path) -> None:
    (folder / "guest.toml").write_text(
        'id = "demo"\nversion = "1.0"\ncodec = "json"\ninstance = "shared"\nlimits.memory = "1MiB"\n'
        '[[capabilities]]\nname = "later.thing"\nreason = "to know\\u001b[31m"\n'
        '[[nodes]]\ntype = "Echo"\nfunction = "echo"\n'
    )
    found = run("inspect", "guest.wasm", "--json").json()
    assert (found["abi"], found["wasi"], found["runs"], found["reason"]) == ("Extism 1", [], True, None)
    assert {"name": "echo", "kind": "func", "type": "() -> (i32)"} in found["exports"]
    assert {"module": "extism:host/env", "name": "alloc", "kind": "func", "type": "(i64) -> (i64)"} in found["imports"]
    assert found["memories"] == [{"minimum": 1, "maximum": None, "imported": False}]
    assert found["manifest"]["id"] == "demo"
    assert found["manifest"]["nodes"][0]["type"] == "Echo"
    text = run("inspect", "guest.wasm").out.decode()
    assert "asks for    later.thing (not available in this version): to know\\x1b[31m" in text
    assert "would like  memory = 1,048,576" in text
    assert text.endswith("runs      yes\n")


def test_inspect_of_a_file_that_does_not_run_shows_it_and_says_what_is_missing(run: Any, folder: Path) -> None:
    ended = run("inspect", "missing.wasm")
    assert ended.code == 3
    assert "  env nothing (i32) -> ()" in ended.out.decode()
    assert "runs      no" in ended.out.decode()
    assert "'env' 'nothing'" in ended.err
    ended = run("inspect", "missing.wasm", "--json")
    assert (ended.code, ended.err) == (3, "")
    assert "'env' 'nothing'" in ended.json()["reason"]
    (folder / "guest.toml").write_text(
        'id = "demo"\nversion = "1.0"\n[[capabilities]]\nname = "later.thing"\nreason = "r"\noptional = false\n'
    )
    ended = run("inspect", "guest.wasm", "--json")
    assert (ended.code, ended.json()["runs"]) == (3, False)
    assert "needs the capability 'later.thing'" in ended.json()["reason"]


def test_plugins_lists_what_is_there_and_every_problem(run: Any, folder: Path) -> None:
    (folder / "home/plugins/good.wasm").write_bytes((folder / "guest.wasm").read_bytes())
    (folder / "home/plugins/bad.wasm").write_bytes(b"bad\x1b")
    (folder / "home/manifests/good.toml").write_text(f'sha256 = "{"0" * 64}"\n')
    ended = run("plugins")
    assert ended.code == 0
    text = ended.out.decode()
    assert "no: the file changed since it was granted" in next(line for line in text.splitlines() if "good" in line)
    assert "problem: plugins/bad.wasm: " in text
    assert "problem: manifests/good.toml: the file changed since it was granted" in text
    # A plugin that nobody granted anything needs nothing either, as far as can be seen.
    assert next(line for line in text.splitlines() if "core-basics" in line).split()[-1] == "-"
    found = run("plugins", "--json").json()
    good = next(item for item in found["plugins"] if item["id"] == "good")
    assert (good["grant"], good["codec"], good["shipped"]) == ("changed", "raw", False)
    assert len(found["problems"]) == 2


def test_doctor_checks_the_engine_and_says_where_each_bound_comes_from(run: Any, folder: Path) -> None:
    (folder / "home/innkeeper.toml").write_text("[bounds]\nlive_guests = 77\n")
    ended = run("doctor", "--json")
    assert ended.code == 0
    found = ended.json()
    assert found["self_check"] == {"ok": True, "problems": []}
    assert found["home"]["origin"] == "INNKEEPER_HOME"
    bound = next(item for item in found["settings"] if item["name"] == "live_guests")
    assert (bound["value"], bound["from"]) == (77, "innkeeper.toml")
    text = run("doctor").out.decode()
    assert "self-check  ok" in text
    assert "live_guests" in text
    assert re.search(r"^  stack +512 KiB  fixed$", text, re.MULTILINE)
    assert found["packages"].keys() >= {"innkeeper", "wasmtime", "extism", "trio"}
    assert re.search(r"^packages .* extism ", text, re.MULTILINE)


def test_doctor_shows_the_cache_and_why_it_is_not_used(run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_CACHE", str(folder / "compiled"))
    ended = run("doctor", "--json")
    wanted = {"folder": str(folder / "compiled"), "origin": "INNKEEPER_CACHE", "problem": None, "size": 0}
    assert (ended.code, ended.json()["cache"]) == (0, wanted)
    (folder / "compiled").chmod(0o777)
    problem = run("doctor", "--json").json()["cache"]["problem"]
    assert problem == f"the cache is not used: others may write to {folder}/compiled; remove it, it will be made anew"
    ended = run("doctor")
    assert ended.code == 0
    assert f"cache       {folder}/compiled (INNKEEPER_CACHE)\n  {problem}\n" in ended.out.decode()
    monkeypatch.setenv("INNKEEPER_CACHE", "off")
    assert "cache       off (INNKEEPER_CACHE)\n" in run("doctor").out.decode()
    monkeypatch.setenv("INNKEEPER_CACHE", "somewhere")
    ended = run("doctor")
    assert (ended.code, ended.out) == (2, b"")
    assert ended.err == "innkeeper: INNKEEPER_CACHE: is 'somewhere': it must be an absolute path, or \"off\"\n"


def test_doctor_ends_with_70_when_the_engine_does_not_do_what_it_must(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from innkeeper.cli import selfcheck

    async def broken(_: object) -> list[str]:
        return ["an echo gave other bytes"]

    monkeypatch.setattr(selfcheck, "check_engine", broken)
    ended = run("doctor", "--json")
    assert (ended.code, ended.json()["self_check"]["ok"]) == (70, False)


def test_help_and_version_need_no_home(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_HOME", "gone")
    for arguments in (("--help",), ("call", "--help"), ("--version",)):
        ended = run(*arguments)
        assert ended.code == 0
        assert b"innkeeper" in ended.out
    ended = run()
    assert ended.code == 2
    assert "Commands:" in ended.err


# --- the process ----------------------------------------------------------------------------------------------------


def test_an_exception_that_nobody_expected_is_a_defect_in_one_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("boom\x1b")

    from innkeeper.cli import call

    monkeypatch.setattr(call, "_call", broken)
    ended = run("call", "guest.wasm", "echo")
    assert (ended.code, ended.err.count("\n")) == (70, 1)
    assert ended.err.startswith("innkeeper: RuntimeError: boom\\x1b - this is a defect of Innkeeper, please report it")
    monkeypatch.setenv("INNKEEPER_TRACEBACK", "1")
    assert "Traceback" in run("call", "guest.wasm", "echo").err


def test_of_a_group_of_exceptions_the_cancellation_counts_first_then_the_defect() -> None:
    usage, bug, stop = UsageError("u"), ValueError("v"), KeyboardInterrupt()
    assert innkeeper_error(ExceptionGroup("", [usage, ExceptionGroup("", [usage])])) is usage
    assert isinstance(innkeeper_error(ExceptionGroup("", [usage, bug])), InternalError)
    assert isinstance(innkeeper_error(BaseExceptionGroup("", [bug, usage, stop])), CancelledError)


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_ends_a_call_with_6_and_no_traceback(folder: Path, as_json: bool) -> None:
    os.mkfifo(folder / "pipe")
    arguments = ["call", "guest.wasm", "spin", "--input-file", "pipe", "--cpu", "60s", *(["--json"] if as_json else [])]
    process = start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # The pipe can be opened once the command reads its input; what comes after is the call.
    while process.poll() is None:
        try:
            os.close(os.open(folder / "pipe", os.O_WRONLY | os.O_NONBLOCK))
            break
        except OSError:
            time.sleep(0.01)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 6, err
    if as_json:
        assert (json.loads(out)["error"]["kind"], err) == ("cancelled", b"")
    else:
        assert (out, err) == (b"", b"innkeeper: cancelled\n")


def test_a_reader_that_goes_away_is_no_error_to_talk_about(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start("call", "guest.wasm", "big", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, err = process.communicate()
    assert (process.returncode, err) == (BROKEN_PIPE, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_a_sentence(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = start("call", "guest.wasm", "echo", "--input", "x", stdout=full, stderr=subprocess.PIPE)
        _, err = process.communicate()
    assert process.returncode == 2
    assert err.startswith(b"innkeeper: standard output cannot be written: ")


def test_what_a_call_compiled_is_loaded_from_the_cache_by_the_next(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "compiled"
    monkeypatch.setenv("INNKEEPER_CACHE", str(place))
    assert run("call", "guest.wasm", "echo", "--input", "x").out == b"x"
    (entry,) = place.glob("*.cwasm")
    before = entry.stat()
    for command in (("call", "guest.wasm", "echo", "--input", "y"), ("inspect", "guest.wasm")):
        assert run(*command).code == 0
    assert [path.name for path in place.glob("*.cwasm")] == [entry.name]
    assert (entry.stat().st_ino, entry.stat().st_size) == (before.st_ino, before.st_size)
    listed = run("cache", "list", "--json").json()
    assert [(item["plugin"], item["state"]) for item in listed["entries"]] == [("guest", "current")]


def test_a_call_says_when_the_cache_cannot_be_used_and_works_without(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "compiled").mkdir(mode=0o700)
    (folder / "compiled").chmod(0o777)
    monkeypatch.setenv("INNKEEPER_CACHE", str(folder / "compiled"))
    ended = run("call", "guest.wasm", "echo", "--input", "x")
    assert (ended.code, ended.out) == (0, b"x")
    assert ended.err == (
        f"innkeeper: the cache is not used: others may write to {folder}/compiled; remove it, it will be made anew\n"
    )


def test_a_call_imports_nothing_that_it_does_not_need(folder: Path) -> None:
    code = (
        "import sys\nfrom innkeeper.cli.main import invoke\n"
        "assert invoke(['call', 'guest.wasm', 'echo', '--input', 'x']) == 0\n"
        "heavy = {'pydantic', 'rich', 'numpy', 'asyncio', 'httpx', 'extism', 'platformdirs', 'multiprocessing',\n"
        "         'innkeeper.bench', 'innkeeper.plugins.reload', 'innkeeper.sandbox.oracle'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["call", "--help"]])
def test_what_runs_no_guest_imports_no_engine(arguments: list[str]) -> None:
    code = (
        f"import sys\nfrom innkeeper.cli.main import invoke\nassert invoke({arguments}) == 0\n"
        "heavy = {'trio', 'wasmtime', 'ctypes', 'msgpack', 'pydantic', 'rich', 'subprocess', 'innkeeper.bench',\n"
        "         'innkeeper.plugins'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_text_is_made_safe_and_bounded() -> None:
    assert printable("a\tb\x1b\x7f\x9b\u2028\u2066ü日") == "a\\x09b\\x1b\\x7f\\x9b\\u2028\\u2066ü日"
    assert printable("\udc80") == "\\udc80"
    assert printable("x" * 10, 3) == "xxx ..."
