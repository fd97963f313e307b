"""The scheduler from a guest to the nodes that it starts: real guests and workflows, each node under its own rights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from guests import assemble, text_block, wat
from innkeeper import Host, open_host
from innkeeper.bridge.bridge import FILE
from innkeeper.bridge.host import STATE
from innkeeper.bridge.host import open_host as open_host_below
from innkeeper.bridge.scheduler_desk import MOST_GENERATIONS
from innkeeper.plugins import home as home_module
from innkeeper.sandbox.interface import HostFunction, Value
from relays import ask, get, install, refused, relay

BOTH = ("scheduler.submit", "scheduler.read")
NODE = """
[[nodes]]
type = "Go"
function = "go"
[nodes.inputs.text]
dataFlowType = "STRING"
[nodes.outputs.out]
dataFlowType = "STRING"
"""


def node(call: str = "", text: str = "done", functions: Any = ()) -> bytes:
    """A node that first does `call` and then gives a text."""
    return assemble(wat(node_body(call, text), "alloc store_u8 output_set", functions=functions))


def node_body(call: str = "", text: str = "done") -> str:
    answer = msgpack.packb({"outputs": {"out": text}})
    return f"""(func (export "go") (result i32) (local $a i64) (local $b i64)
      {call} {text_block("answer", answer, "b")}
      (call $output_set (local.get $b) (i64.const {len(answer)})) (i32.const 0))"""


async def _never(data: bytes) -> bytes:
    raise AssertionError("only its type is wanted")


def asking(name: str, times: int = 1, /, **arguments: Any) -> bytes:
    """A node that asks a service for something and does not look at the answer."""
    asked = text_block("asked", msgpack.packb(arguments), "a")
    call = (asked + f"(drop (call ${name} (local.get $a)))") * times
    return node(call, functions=[HostFunction(name, _never, (Value.BYTES,), Value.BYTES)])


def flow(*types: str) -> dict[str, Any]:
    return {
        "nodes": [{"id": f"n{number}", "fullType": each} for number, each in enumerate(types)],
        "edges": [],
        "interfaceInputs": {"text": {"dataFlowType": "STRING"}},
        "interfaceOutputs": {"out": {"dataFlowType": "STRING"}},
        "outputInterfaceMappings": {"out": {"sourceNodeId": "n0", "sourceSlotKey": "out"}},
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    install(folder, "starter", relay("scheduler"), BOTH)
    install(folder, "words", node(), (), more=NODE)
    return folder


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Host]:
    with trio.fail_after(60):
        async with open_host(home, watch=False) as host:
            assert host.problems == []
            yield host


async def ended(host: Host, run: str, plugin: str = "starter") -> dict[str, Any]:
    while True:
        result: dict[str, Any] = await get(host, plugin, "result", run=run)
        if result["status"] not in ("queued", "running"):
            return result
        await trio.sleep(0.02)


async def test_a_guest_starts_a_workflow_and_reads_what_came_of_it(home: Path) -> None:
    async with opened(home) as host:
        started = await get(host, "starter", "submit", workflow=flow("words:Go"), inputs={"text": "x"}, name="mine")
        result = await ended(host, started["run"])
        assert result["error"] is None
        assert msgpack.unpackb(result["outputs"]) == {"out": "done"}
        (listed,) = (await get(host, "starter", "runs"))["runs"]
        assert (listed["name"], listed["status"]) == ("mine", "complete")


async def test_what_was_scheduled_before_a_restart_starts_without_anybody_asking(home: Path) -> None:
    async with opened(home) as host:
        await get(host, "starter", "later", workflow=flow("words:Go"), seconds=0.3, name="soon")
    async with opened(home) as host:
        while not (found := (await get(host, "starter", "runs"))["runs"]):  # noqa: ASYNC110 (another thread's work)
            await trio.sleep(0.05)
        assert found[0]["name"] == "soon"
        assert (await ended(host, found[0]["run"]))["status"] == "complete"


async def test_nodes_of_a_started_workflow_have_their_own_rights_and_none_of_who_started_it(home: Path) -> None:
    # The node asks for what the starter may do and itself may not.
    wanted = asking("innkeeper_scheduler_submit", workflow=flow("words:Go"))
    install(home, "greedy", wanted, ("scheduler.submit",), (), more=NODE)
    async with opened(home) as host:
        started = await get(host, "starter", "submit", workflow=flow("greedy:Go"))
        assert (await ended(host, started["run"]))["status"] == "complete"
        assert len((await get(host, "starter", "runs"))["runs"]) == 1
        await refused(host, "starter", "status", "not_found", run="somebody-elses")


async def test_a_node_that_starts_its_own_workflow_twice_comes_to_an_end(home: Path) -> None:
    asked = text_block("asked", msgpack.packb({"workflow": flow("starter:Go")}), "a")
    submit = "(drop (call $innkeeper_scheduler_submit (local.get $a)))"
    wasm = relay("scheduler", node_body(asked + submit * 2), "alloc store_u8")
    install(home, "starter", wasm, BOTH, more=NODE)
    async with opened(home) as host:
        await host.plugins["starter"].call("go", b"")
        for _ in range(200):
            runs = (await get(host, "starter", "runs", limit=100))["runs"]
            if runs and all(run["ended"] for run in runs):
                break
            await trio.sleep(0.05)
        # 2 at first, each of them 2, for four generations; fewer where the plugin submits too quickly.
        assert MOST_GENERATIONS < len(runs) <= 2 * (2**MOST_GENERATIONS - 1)
        assert {run["status"] for run in runs} == {"complete"}


@pytest.mark.parametrize(
    ("workflow", "word"),
    [
        ({}, "nodes"),
        ({"nodes": [{"id": "a", "fullType": "nobody:Go"}], "edges": []}, "nobody:Go"),
        ({"nodes": [{"id": "a"}], "edges": [{}]}, "fullType"),
        ({"nodes": [{"id": "a", "type": "nobody:Go", "position": {}}], "edges": []}, "nobody:Go"),
        ({"nodes": [{"id": "a", "type": 7}], "edges": [], "viewport": {}}, "nodes[0].type"),
        ({"nodes": [{"id": "a", "fullType": "core:NodeGroup"}], "edges": []}, "referencedWorkflowId"),
        ({"nodes": [{"id": f"n{n}", "fullType": f"x{n}:y"} for n in range(200)], "edges": []}, "more problems"),
    ],
)
async def test_what_is_wrong_with_a_workflow_is_said_to_the_guest_within_bounds(
    home: Path, workflow: dict[str, Any], word: str
) -> None:
    async with opened(home) as host:
        error = (await ask(host, "starter", "submit", workflow=workflow))["error"]
        assert error["kind"] == "invalid"
        assert word in error["message"]
        assert error["problems"] >= 1
        assert len(error["message"]) < 8000
        assert str(home) not in error["message"]
        assert (await get(host, "starter", "runs"))["runs"] == []


async def test_inputs_that_the_workflow_does_not_have_or_that_do_not_fit_are_refused(home: Path) -> None:
    async with opened(home) as host:
        error = await refused(
            host, "starter", "submit", "invalid", workflow=flow("words:Go"), inputs={"txet": "x", "b": 1}
        )
        assert (error["problems"], "did you mean 'text'" in error["message"]) == (2, True)
        error = await refused(host, "starter", "submit", "invalid", workflow=flow("words:Go"), inputs={"text": 5})
        assert "STRING" in error["message"]


GIANTS: dict[str, dict[str, Any]] = {
    "elements": {"workflow": {"nodes": [], "edges": [], "more": [0] * 3000}},
    "bytes": {"workflow": {"nodes": [], "edges": [], "more": "x" * (1 << 20)}},
    "no map": {"workflow": [1, 2]},
    "a long name": {"workflow": flow("words:Go"), "name": "n" * 101},
    "a terminal's control": {"workflow": flow("words:Go"), "name": "\x1b[2J"},
    "an owner": {"workflow": flow("words:Go"), "owner": "other"},
    "a generation": {"workflow": flow("words:Go"), "generation": 0},
}


@pytest.mark.parametrize("arguments", GIANTS.values(), ids=GIANTS)
async def test_giant_or_odd_arguments_never_reach_the_queue(home: Path, arguments: dict[str, Any]) -> None:
    async with opened(home) as host:
        await refused(host, "starter", "submit", "invalid", **arguments)
    assert not (home / STATE).exists() or arguments.get("name")


@pytest.mark.parametrize("grants", [(), ("scheduler.read",), ("scheduler.submit",)])
async def test_without_the_capability_a_guest_gets_a_refusal_and_nothing_happens(
    home: Path, grants: tuple[str, ...]
) -> None:
    install(home, "starter", relay("scheduler"), BOTH, grants)
    arguments: dict[str, tuple[str, dict[str, Any]]] = {
        "submit": ("scheduler.submit", {"workflow": flow("words:Go")}),
        "later": ("scheduler.submit", {"workflow": flow("words:Go"), "seconds": 1.0}),
        "cron": ("scheduler.submit", {"workflow": flow("words:Go"), "expression": "* * * * *"}),
        "cancel": ("scheduler.submit", {"run": "a"}),
        "unschedule": ("scheduler.submit", {"schedule": "a"}),
        "status": ("scheduler.read", {"run": "a"}),
        "result": ("scheduler.read", {"run": "a"}),
        "runs": ("scheduler.read", {}),
        "schedules": ("scheduler.read", {}),
    }
    async with opened(home) as host:
        for operation, (capability, more) in arguments.items():
            if capability not in grants:
                error = await refused(host, "starter", operation, "denied", **more)
                assert error["capability"] == capability


async def test_a_host_without_a_runner_refuses_and_opens_nothing(home: Path) -> None:
    async with open_host_below(home, watch=False) as host:
        await refused(host, "starter", "submit", "unavailable", workflow=flow("words:Go"))
        await refused(host, "starter", "runs", "unavailable")
    assert not (home / STATE / FILE).exists()


async def test_a_home_in_which_nothing_was_ever_scheduled_gets_no_database(home: Path) -> None:
    async with opened(home) as host:
        await host.plugins["words"].call("go", b"")
        await trio.sleep(0.05)
    assert not (home / STATE).exists()


async def test_a_home_whose_plugins_may_start_nothing_does_not_open_its_database_for_that(home: Path) -> None:
    install(home, "notes", relay("kv"), ("kv",))
    async with opened(home) as host:
        await get(host, "notes", "put", key="a", value=b"")
    install(home, "starter", relay("scheduler"), BOTH, ())
    async with opened(home) as host:
        bridge: Any = host._services
        await trio.sleep(0.05)
        assert not bridge._database.is_open


@pytest.mark.parametrize(("size", "status"), [(300, "complete"), (5000, "error")])
async def test_outputs_are_kept_up_to_a_bound_and_beyond_the_run_fails(home: Path, size: int, status: str) -> None:
    # One output of a node as many outputs of the workflow: each counts.
    payload = flow("big:Go") | {"interfaceOutputs": {}}
    payload["outputInterfaceMappings"] = {
        f"o{number}": {"sourceNodeId": "n0", "sourceSlotKey": "out"} for number in range(250)
    }
    install(home, "big", node(text="x" * size), (), more=NODE)
    async with opened(home) as host:
        started = await get(host, "starter", "submit", workflow=payload)
        result = await ended(host, started["run"])
        assert result["status"] == status
        if status == "error":
            assert (result["error"]["kind"], msgpack.unpackb(result["outputs"])) == ("limit", {})
        else:
            assert msgpack.unpackb(result["outputs"])["o249"] == "x" * size
