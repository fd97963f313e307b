"""`innkeeper run`: what people, scripts and terminals get of a workflow."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from innkeeper.cli.main import invoke
from innkeeper.cli.run_view import MOST_CHARACTERS, as_json, bounded, event_object, rendered
from innkeeper.errors import GuestError, LimitError
from node_fakes import FakeHost, text_host, workflow

INPUTS = {
    "text": {"dataFlowType": "STRING", "required": True},
    "number": {"dataFlowType": "FLOAT", "config": {"default": 1}},
}

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered in the checkout, which would be the home."""
    folder = tmp_path / "its-home"
    folder.mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(folder))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    fake = text_host()

    @asynccontextmanager
    async def open_host(home: str | None = None, **more: Any) -> AsyncIterator[FakeHost]:
        yield fake

    monkeypatch.setattr("innkeeper.bridge.host.open_host", open_host)
    return fake


@pytest.fixture
def run(host: FakeHost, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs a workflow in this process: exit code, standard output, lines of standard error."""

    def run_workflow(payload: Any, *arguments: str) -> tuple[int, str, list[str]]:
        file = tmp_path / "workflow.json"
        file.write_bytes(payload if isinstance(payload, bytes) else payload.model_dump_json(by_alias=True).encode())
        code = invoke(["run", str(file), *arguments])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode().splitlines()

    return run_workflow


def shout(**more: Any) -> Any:
    """text -> Upper -> Join with a number -> result"""
    return workflow(
        {"in": "core:GroupInput", "u": "Upper", "a": "Add", "j": "Join", "out": "core:GroupOutput"},
        [
            "in.text -> u.text", "in.number -> a.a", "in.number -> a.b", "u.out -> j.parts__0", "a.sum -> j.parts__1",
            "j.out -> out.result",
        ],
        interfaceInputs=INPUTS, interfaceOutputs={"result": {"dataFlowType": "STRING"}}, **more,
    )  # fmt: skip


def test_inputs_go_in_and_a_table_and_the_outputs_come_out_without_escapes(run: Run) -> None:
    code, out, err = run(shout(), "--input", "text=hello", "--input", "number=2.5")
    assert (code, err) == (0, [])
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "node"
    assert [line.split()[0] for line in lines[1:6]] == ["in", "u", "a", "j", "out"]
    assert lines[2].split() == [
        "u", "t:Upper", "fake-msgpack", "2.0", "ms", "1.0", "ms", "0.1", "MiB", "1", "complete",
    ]  # fmt: skip
    assert lines[-2:] == ["== result ==", "HELLO-5"]
    assert "\x1b" not in out


def test_json_is_one_object_with_status_outputs_nodes_and_id(run: Run) -> None:
    code, out, err = run(shout(), "--input", "text=hello", "--json")
    assert (code, err) == (0, [])
    value = json.loads(out)
    assert (value["status"], value["outputs"]) == ("complete", {"result": "HELLO-2"})
    assert list(value["nodes"]) == ["in", "u", "a", "j", "out"]
    assert value["nodes"]["u"]["usage"]["host_calls"] == 1
    assert value["nodes"]["u"]["error"] is None
    assert value["promptId"]


def test_events_are_lines_of_json_and_the_last_is_the_status(run: Run) -> None:
    code, out, _ = run(shout(), "--input", "text=hello", "--events")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert events[0]["type"] == "PROMPT_ACCEPTED_RESPONSE"
    assert events[-1] == {
        "type": "EXECUTION_STATUS_UPDATE",
        "seq": len(events),
        "timestamp": events[-1]["timestamp"],
        "payload": {"promptId": events[0]["payload"]["promptId"], "status": "complete"},
    }
    assert events[-2]["payload"]["output"] == {"result": "HELLO-2"}


def test_an_input_can_come_from_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfabc")
    (tmp_path / "n.json").write_bytes(b" 4\n")
    arguments = "--input-file", f"text={tmp_path / 't.txt'}", "--input-file", f"number={tmp_path / 'n.json'}"
    assert json.loads(run(shout(), *arguments, "--json")[1])["outputs"] == {"result": "ABC-8"}


def test_a_value_may_contain_equals_signs_and_be_empty(run: Run) -> None:
    assert run(shout(), "--input", "text=a=b")[1].endswith("== result ==\nA=B-2\n")
    assert run(shout(), "--input", "text=")[1].endswith("== result ==\n-2\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "txet=a"], "--input txet: this workflow has no such input; did you mean 'text'? its inputs are: "
         "text, number"),
        (["--input", "text"], "--input 'text': write KEY=VALUE"),
        (["--input", "text=a", "--input", "text=b"], "--input gives 'text' twice"),
        (["--input", "text=a", "--input-file", "text=b"], "give 'text' with --input or with --input-file, not both"),
        (["--input", "number=x"], "--input number: the slot is FLOAT and takes JSON; this is not: line 1, column 1: "
         "expecting value"),
        (["--input", 'number="x"'], "--input number: the slot is FLOAT and takes a number, not text"),
        (["--input-file", "text=/nowhere/at/all"], "--input-file /nowhere/at/all: No such file or directory"),
        (["--input-file", "text=/"], "--input-file /: Is a directory"),
        (["--input", "text=a\udcff"], "--input text: the text is not UTF-8 (character 1)"),
        (["--input", "number=\udcff"], "--input number: the text is not UTF-8 (character 0)"),
        (["--input", "\ud83d=a"], "--input: the text is not UTF-8 (character 0)"),
        (["--input-file", "\udcff=a"], "--input-file: the text is not UTF-8 (character 0)"),
        (["--json", "--events"], "give --json or --events, not both"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line_and_exit_code_2(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run(shout(), *arguments)
    assert code == 2
    if "--json" in arguments:
        assert json.loads(out)["error"]["message"] == message
    else:
        assert err == [f"innkeeper: {message}"]


def test_a_workflow_that_does_not_check_is_exit_code_2_and_a_line_per_problem(host: FakeHost, run: Run) -> None:
    payload = workflow({"u": "Upper", "x": "Nothing"})
    host.problems = ["plugins/x.wasm: it is broken"]
    lines = [
        "innkeeper: plugins/x.wasm: it is broken",
        "innkeeper: node 'x': no plugin has the node type 't:Nothing'",
        "innkeeper: node 'u' input 'text': the input is required: connect it or give it a value",
    ]
    assert run(payload) == (2, "", lines)
    code, out, _ = run(payload, "--json")
    assert code == 2
    assert [problem["node"] for problem in json.loads(out)["error"]["problems"]] == ["x", "u"]


def test_problems_of_the_home_stand_before_a_missing_type_and_nowhere_else(host: FakeHost, run: Run) -> None:
    host.problems = [f"plugins/x{number}.wasm: it is broken" for number in range(60)]
    code, _, err = run(workflow({"x": "Nothing"}))
    assert (code, len(err)) == (2, 52)
    assert err[50] == "innkeeper: and 10 more problems with files of the home; `innkeeper plugins` lists them"
    assert run(workflow({"u": "Upper"})) == (
        2,
        "",
        ["innkeeper: node 'u' input 'text': the input is required: connect it or give it a value"],
    )


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"", "line 1, column 1"), (b'{"nodes": [}', "line 1, column 12"), (b"\x00asm\x01\0\0\0", "line 1, column 1")],
)
def test_a_file_that_is_no_workflow_is_one_line_and_exit_code_2(run: Run, data: bytes, word: str) -> None:
    code, out, err = run(data)
    assert (code, out, len(err)) == (2, "", 1)
    assert word in err[0]


def test_a_file_that_is_not_there_is_one_line_and_exit_code_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", "/nowhere/w.json"]) == 2
    assert capfd.readouterr().err == "innkeeper: the workflow /nowhere/w.json: No such file or directory\n"


def test_the_exit_code_is_that_of_the_first_failed_node_and_the_rest_is_still_shown(host: FakeHost, run: Run) -> None:
    def hurt(inputs: Any, config: Any, about: Any) -> Any:
        raise (LimitError("too much", limit="cpu") if about["node"] == "b" else GuestError("it\nhurts\x1b[31m"))

    host.add("Hurt", hurt, outputs={"out": "STRING"})
    payload = workflow(
        {"b": "Hurt", "a": "Hurt", "m": "Make", "u": "Upper"},
        ["a.out -> u.text"],
        outputInterfaceMappings={
            "made": {"sourceNodeId": "m", "sourceSlotKey": "text"},
            "none": {"sourceNodeId": "u", "sourceSlotKey": "out"},
        },
    )
    code, out, err = run(payload)
    assert code == 4
    assert err == [
        "innkeeper: node 'b', plugin 'fake-msgpack', function 'Hurt': too much",
        "innkeeper: node 'a', plugin 'fake-msgpack', function 'Hurt': it\\x0ahurts\\x1b[31m",
    ]
    assert [line.rsplit("  ", 1)[-1] for line in out.splitlines()[1:5]] == [
        "error (limit)", "error (guest)", "complete", "skipped (after the failure of a)",
    ]  # fmt: skip
    assert out.endswith("== made ==\nmade\n\n== none ==\n(no value, since node 'a' failed)\n")
    code, out, _ = run(payload, "--json")
    value = json.loads(out)
    assert (code, value["status"], value["nodes"]["u"]["status"]) == (4, "error", "skipped")
    assert value["nodes"]["b"]["error"]["limit"] == "cpu"


def test_an_input_may_come_from_a_file_whose_name_is_not_utf_8(run: Run, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")
    Path(name).write_text("abc")
    assert json.loads(run(shout(), "--input-file", f"text={name}", "--json")[1])["outputs"] == {"result": "ABC-2"}


def test_outputs_that_are_too_large_together_are_exit_code_4_and_the_table_is_still_shown(
    host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innkeeper.workflow.engine.interface.MOST_BYTES", 10)
    payload = workflow(
        {"m": "Make"},
        outputInterfaceMappings={key: {"sourceNodeId": "m", "sourceSlotKey": "text"} for key in ("a", "b", "c")},
    )
    message = "the interface outputs 'a', 'b', 'c' have 15 bytes together, and a run gives 10"
    code, out, err = run(payload)
    assert (code, err) == (4, [f"innkeeper: {message}"])
    assert out.splitlines()[1].split()[-1] == "complete"
    code, out, _ = run(payload, "--json")
    value = json.loads(out)
    assert (code, value["status"], value["outputs"]) == (4, "error", {})
    assert (value["error"]["kind"], value["error"]["message"]) == ("limit", message)
    code, out, err = run(payload, "--events")
    assert (code, err) == (4, [f"innkeeper: {message}"])
    assert json.loads(out.splitlines()[-1])["payload"]["errorInfo"] == {"message": message}


def test_outputs_that_are_one_object_stay_one_on_their_way_to_json() -> None:
    value = [{"a": float("nan")}] * 3
    event = {"type": "NODE_COMPLETE", "payload": {"promptId": "p", "output": {"a": value, "b": value, "c": [b"x"]}}}
    output = event_object(event)["payload"]["output"]
    assert output == {"a": [{"a": None}] * 3, "b": [{"a": None}] * 3, "c": ["eA=="]}
    assert output["a"] is output["b"]


@pytest.mark.parametrize("options", [["--json"], ["--events"], []])
def test_ctrl_c_ends_the_run_as_interrupted_with_exit_code_6(host: FakeHost, run: Run, options: list[str]) -> None:
    async def forever(inputs: Any, config: Any, about: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        await trio.sleep_forever()

    host.add("Forever", forever)
    code, out, err = run(workflow({"f": "Forever"}), *options)
    assert code == 6
    assert err == ["innkeeper: cancelled"]
    if options:
        last = json.loads(out.splitlines()[-1])
        assert last.get("payload", last)["status"] == "interrupted"
    else:
        assert "interrupted" in out


def test_a_reader_that_goes_away_is_no_traceback(
    host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.json"
    file.write_text(workflow({"m": "Make"}).model_dump_json(by_alias=True))
    read_end, write_end = os.pipe()
    os.close(read_end)
    broken = os.fdopen(write_end, "w")
    monkeypatch.setattr("sys.stdout", broken)
    try:
        code: Any = invoke(["run", str(file), "--events"])
    except SystemExit as end:  # click's own way to end a command whose pipe is gone
        code = end.code
    assert code not in (0, 70)
    assert capfd.readouterr().err == ""
    with contextlib.suppress(BrokenPipeError):
        broken.close()


def test_the_demo_counts_what_there_is_to_count(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    folder = Path(__file__).parent.parent / "docs" / "demo"
    text = re.sub(r"^```.*?^```$", "", (folder / "text.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    assert (
        invoke(["run", str(folder / "read-the-docs.json"), "--input-file", f"text={folder / 'text.md'}", "--json"]) == 0
    )
    value = json.loads(capfdbinary.readouterr()[0])
    assert len([node for node in value["nodes"].values() if node["plugin"] is not None]) >= 8
    report = value["outputs"]["report"]
    found = re.match(r"The text has (\d+) words under (\d+) headings: about (\d+) minutes", report)
    assert found is not None
    headings = len(re.findall(r"^#+ ", text, re.MULTILINE))
    # Marks of lists and quotes are words of the prose here, and none for the workflow.
    marks = len(re.findall(r"^\s*(?:[-#>]+|\d+\.) ", prose, re.MULTILINE))
    assert (int(found[1]), int(found[2])) == (len(prose.split()) - marks, headings)
    assert int(found[3]) == math.ceil(int(found[1]) * 0.005 + headings * 0.05)
    for word, pattern in (("guest", r"guests?"), ("limit", r"limit(?:s|ed)?"), ("memory", "memory")):
        bar = next(line for line in report.splitlines() if line.startswith(f"{word} "))
        assert bar.count("\u2587") == len(re.findall(rf"\b{pattern}\b", prose, re.IGNORECASE))
    assert [message["role"] for message in json.loads(value["outputs"]["prompt"])] == ["system", "user"]


def test_messages_of_a_chat_are_shown_as_text_and_other_data_as_json() -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi\nthere"}]
    text = "[system]\nBe brief.\n\n[user]\nHi\nthere"
    assert rendered(chat) == rendered(json.dumps(chat)) == text
    assert rendered({"a": [1]}) == '{\n  "a": [\n    1\n  ]\n}'
    assert rendered("[not json") == "[not json"
    assert rendered("[1, 2]") == "[1, 2]"
    assert rendered(b"abc") == "(3 bytes)"
    assert rendered(1.5) == "1.5"
    assert as_json({"a": [float("nan"), b"\0"]}) == {"a": [None, "AA=="]}


def test_an_output_cannot_steer_the_terminal_and_is_cut_with_a_note() -> None:
    assert bounded("a\x1b[2J\tb\r\nc\u202ed") == "a\\x1b[2J    b\nc\\u202ed"
    assert bounded("x" * (MOST_CHARACTERS + 5)).endswith("x\n... and 5 more characters (--json has all of them)")
    many = bounded("line\n" * 1000)
    assert many.count("line") == 200
    assert many.endswith("... and 4,000 more characters (--json has all of them)")
