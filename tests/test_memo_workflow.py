"""Nodes of workflows are remembered by what they are given, and by nothing that only tells runs apart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fakes import FakeEngine, FakeGuest
from innkeeper import Host, open_host
from innkeeper.bridge.codec import decode, encode
from innkeeper.bridge.scan import CHUNK
from innkeeper.cli.main import invoke
from innkeeper.plugins import home as home_module
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.engine.run import WorkflowRun, run_workflow
from node_fakes import workflow

MANIFEST = """id = "{id}"
version = "1.0"
{more}
[[nodes]]
type = "Show"
function = "show"
[nodes.inputs.text]
dataFlowType = "STRING"
[nodes.outputs.run]
dataFlowType = "STRING"
"""
CLOCK = '[[capabilities]]\nname = "clock"\nreason = "it tells the time"\noptional = true\n'


class Steady(FakeEngine):
    fingerprint = "steady"


class Inn:
    """A home with a pure node and one that may see the clock; both show which run they were told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.runs = 0
        self.engine = Steady()
        (home / "plugins").mkdir(parents=True)
        (home / "manifests").mkdir()
        self.digests: dict[str, str] = {}
        for name, more in (("pure", ""), ("seeing", CLOCK)):
            wasm = self.engine.program({"show": self._show}, manifest=MANIFEST.format(id=name, more=more))
            (home / "plugins" / f"{name}.wasm").write_bytes(wasm)
            from hashlib import sha256

            self.digests[name] = sha256(wasm).hexdigest()
        self.grant("seeing")

    def grant(self, name: str) -> None:
        text = f'sha256 = "{self.digests[name]}"\ncapabilities = ["clock"]\n'
        (self.home / "manifests" / f"{name}.toml").write_text(text)

    async def _show(self, guest: FakeGuest, data: bytes) -> bytes:
        self.runs += 1
        run = decode(data, "msgpack")["run"]
        guest.log("info", "shown")
        return encode({"outputs": {"run": f"{run['id']}/{run['node']}"}}, "msgpack")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Host]:
        async with open_host(self.home, engine=self.engine, watch=False) as host:
            assert host.problems == []
            yield host


@pytest.fixture
def inn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inn:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return Inn(tmp_path / "home")


def shown(*nodes: str, plugin: str = "pure", text: str = "same") -> Any:
    return workflow({node: {"type": f"{plugin}:Show", "inputs": {"text": text}} for node in nodes})


async def said(host: Host, payload: Any, **more: Any) -> dict[str, tuple[str, bool]]:
    """Per node which run it was told, and whether it was remembered."""
    outcome = await run_workflow(payload, host, prompt_id="the-run", **more)
    assert outcome.status == "complete"
    found = {}
    for name, node in outcome.nodes.items():
        assert node.usage is not None
        assert node.usage.log == [("info", "shown")]
        found[name] = (node.outputs()["run"], node.usage.remembered)
    return found


async def test_an_equal_node_of_a_later_run_is_remembered_with_its_log(inn: Inn) -> None:
    async with inn.open() as host:
        assert await said(host, shown("a")) == {"a": ("/", False)}
        assert await said(host, shown("a")) == {"a": ("/", True)}
        assert await said(host, shown("another")) == {"another": ("/", True)}
        assert await said(host, shown("a", text="other")) == {"a": ("/", False)}
    assert inn.runs == 2


@pytest.mark.parametrize("memo", [True, False])
async def test_what_a_pure_node_is_told_does_not_depend_on_whether_it_is_remembered(memo: bool, inn: Inn) -> None:
    async with inn.open() as host:
        for _ in range(2):
            assert (await said(host, shown("a"), memo=memo))["a"][0] == "/"
    assert inn.runs == (1 if memo else 2)


async def test_a_node_with_a_capability_is_told_its_run_and_never_remembered(inn: Inn) -> None:
    async with inn.open() as host:
        for _ in range(2):
            assert await said(host, shown("a", plugin="seeing")) == {"a": ("the-run/a", False)}
    assert inn.runs == 2


async def test_a_plugin_that_gets_a_capability_while_its_call_is_written_is_told_its_run(
    inn: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inn.home / "manifests" / "seeing.toml").unlink()
    async with inn.open() as host:
        assert host.plugins["seeing"].pure
        # What is small is written at once, and nothing can change meanwhile.
        workflow = shown("a", plugin="seeing", text="t" * 2 * CHUNK)
        run = WorkflowRun(check_workflow(workflow, host), prompt_id="the-run")
        real = run.maybe_in_thread
        granted = False

        async def slowly(size: int, work: Any) -> Any:
            nonlocal granted
            found = await real(size, work)
            if not granted:
                granted = True
                inn.grant("seeing")
                await host.reload()
            return found

        monkeypatch.setattr(run, "maybe_in_thread", slowly)
        outcome = await run.execute()
        assert outcome.nodes["a"].outputs() == {"run": "the-run/a"}


async def test_what_a_run_drops_of_its_log_is_still_there_for_the_next(
    inn: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inn.open() as host:
        with monkeypatch.context() as patch:
            patch.setattr("innkeeper.workflow.engine.budgets.RUN_LOG", 1)
            outcome = await run_workflow(shown("a"), host)
            assert outcome.nodes["a"].usage is not None
            assert outcome.nodes["a"].usage.log == []
        assert (await said(host, shown("a")))["a"][1]


async def test_a_large_run_of_equal_nodes_ends_well_and_can_be_cancelled(inn: Inn) -> None:
    async with inn.open() as host:
        payload = shown(*(f"n{number}" for number in range(300)))
        found = await said(host, payload)
        assert set(found.values()) <= {("/", True), ("/", False)}
        # Those that began before the first was done ran too, and nobody else.
        assert inn.runs <= 16
        with trio.CancelScope() as scope:
            scope.cancel()
            await said(host, payload)
        assert scope.cancelled_caught


# Commands

MERGE = {
    "interfaceOutputs": {"text": {"dataFlowType": "STRING"}},
    "outputInterfaceMappings": {"text": {"sourceNodeId": "merge", "sourceSlotKey": "merged_text"}},
    "nodes": [
        {"id": "merge", "fullType": "core:TextMerge", "inputs": {"text_inputs": ["a", "b"], "separator": "-"}},
    ],
    "edges": [],
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "inn"
    (folder / "plugins").mkdir(parents=True)
    (folder / "innkeeper.toml").write_text('[memo]\ndisk_after = "0s"\n')
    (folder / "merge.json").write_text(json.dumps(MERGE))
    monkeypatch.chdir(folder)
    return folder


def test_run_says_which_nodes_were_remembered(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def run(*options: str) -> str:
        assert invoke(["--home", ".", "run", "merge.json", *options]) == 0
        return capfd.readouterr().out

    assert "(remembered)" not in run()
    assert "complete (remembered)" in run()
    assert "(remembered)" not in run("--no-memo")
    usage = json.loads(run("--json"))["nodes"]["merge"]["usage"]
    assert usage["remembered"] is True
    assert json.loads(run("--json", "--no-memo"))["nodes"]["merge"]["usage"]["remembered"] is False


def test_call_remembers_when_it_is_asked_however_brief_the_call_is(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "innkeeper.toml").unlink()
    from test_memo import GUEST

    (home / "guest.wasm").write_bytes(GUEST)

    def call(*options: str) -> dict[str, Any]:
        assert invoke(["--home", ".", "call", "guest.wasm", "logs", "--input", "hi", "--json", *options]) == 0
        found: dict[str, Any] = json.loads(capfd.readouterr().out)
        assert (found["output"], found["log"]) == ("hi", [{"level": "info", "text": "hi"}])
        return found

    assert not call("--memo")["usage"]["remembered"]
    assert not call()["usage"]["remembered"]
    assert call("--memo")["usage"]["remembered"]
    assert not call("--memo", "--memory", "32MiB")["usage"]["remembered"]


def test_the_oracle_is_not_remembered_and_says_so(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--home", ".", "call", "guest.wasm", "echo", "--memo", "--engine", "extism"]) == 2
    assert "--memo: nothing is known of what the engine 'extism' answers" in capfd.readouterr().err


def test_a_journal_of_what_was_remembered_says_that_no_guest_ran(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert invoke(["--home", ".", "run", "merge.json", "--journal", "all"]) == 0
    capfd.readouterr()
    assert invoke(["--home", ".", "replay", "1"]) == 0
    assert invoke(["--home", ".", "replay", "2"]) == 2
    assert "its result was remembered, so no guest ran" in capfd.readouterr().err


def test_what_is_on_disk_is_counted_and_erased(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def memo(*options: str) -> Any:
        assert invoke(["--home", ".", "memo", *options]) == 0
        return capfd.readouterr().out

    assert memo() == "0 results, 0.0 of 256 MiB, each for 30 days\n"
    assert json.loads(memo("erase", "--json")) == {"erased": 0}
    assert not (home / "state").exists()
    assert invoke(["--home", ".", "run", "merge.json"]) == 0
    capfd.readouterr()
    found = json.loads(memo("--json"))
    assert (found["entries"], found["max_size"], found["days"]) == (1, 256 << 20, 30)
    assert 0 < found["size"] < 2000
    assert memo("erase") == "erased 1 result; hosts that run still have theirs in memory\n"
    assert json.loads(memo("--json"))["size"] == 0
    assert invoke(["--home", ".", "run", "merge.json"]) == 0
    assert "(remembered)" not in capfd.readouterr().out
