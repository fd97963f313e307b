"""Files change while a workflow runs: a node is called as the check found it, or fails and says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import trio

import innkeeper
from fakes import FakeGuest
from innkeeper.bridge.codec import decode, encode
from innkeeper.plugins import home as home_module
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.engine.outcome import RunOutcome
from innkeeper.workflow.engine.run import WorkflowRun
from node_fakes import workflow
from reload_homes import LONG, Inn

WAIT = """id = "first"
version = "1.0"
[[nodes]]
type = "Wait"
function = "wait"
[nodes.outputs.text]
dataFlowType = "STRING"
"""

SHOUT = """id = "second"
version = "1.0"
codec = "{codec}"
[[nodes]]
type = "Shout"
function = "shout"
[nodes.inputs.text]
dataFlowType = "STRING"
[nodes.outputs.{output}]
dataFlowType = "STRING"
"""

WORKFLOW = workflow(
    {"wait": "first:Wait", "shout": "second:Shout"},
    ["wait.text -> shout.text"],
    interfaceOutputs={"loud": {"dataFlowType": "STRING"}},
    outputInterfaceMappings={"loud": {"sourceNodeId": "shout", "sourceSlotKey": "loud"}},
)


class House:
    """A home with a node that waits and one behind it that shouts."""

    def __init__(self, inn: Inn) -> None:
        self.inn = inn
        self.began = trio.Event()
        self.may_go_on = trio.Event()
        inn.put("plugins/first.wasm", inn.engine.program({"wait": self._wait}, manifest=WAIT))
        self.file = inn.put("plugins/second.wasm", self.shouting("!"))

    async def _wait(self, _: FakeGuest, __: bytes) -> bytes:
        self.began.set()
        await self.may_go_on.wait()
        return encode({"outputs": {"text": "who is there"}}, "msgpack")

    def shouting(self, end: str, codec: Literal["msgpack", "json"] = "msgpack", output: str = "loud") -> bytes:
        """Bytes of a plugin that ends its shouts with that."""

        async def shout(_: FakeGuest, data: bytes) -> bytes:
            text = decode(data, codec)["inputs"]["text"].upper() + end
            return encode({"outputs": {output: text}}, codec)

        manifest = SHOUT.format(codec=codec, output=output)
        return self.inn.engine.program({"shout": shout}, salt=f"{end} {codec}", manifest=manifest)

    async def run(self, host: innkeeper.Host, meanwhile: Callable[[], object]) -> RunOutcome:
        """A run in the midst of which, between its two nodes, files change."""
        run = WorkflowRun(check_workflow(WORKFLOW, host))
        with trio.fail_after(LONG):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run.execute)
                await self.began.wait()
                meanwhile()
                assert await host.reload()
                self.may_go_on.set()
        return run.outcome


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return House(Inn(tmp_path / "home"))


async def test_new_bytes_with_the_same_nodes_are_what_the_rest_of_a_run_calls(house: House) -> None:
    async with house.inn.host() as host:
        outcome = await house.run(host, lambda: house.file.write_bytes(house.shouting("?")))
        assert (outcome.status, outcome.outputs) == ("complete", {"loud": "WHO IS THERE?"})


@pytest.mark.parametrize(("codec", "output"), [("json", "loud"), ("msgpack", "shouted")])
async def test_a_node_that_became_another_fails_by_name_and_the_next_run_has_the_new_one(
    house: House, codec: Literal["msgpack", "json"], output: str
) -> None:
    async with house.inn.host() as host:
        outcome = await house.run(host, lambda: house.file.write_bytes(house.shouting("?", codec, output)))
        assert outcome.status == "error"
        assert {node: found.status for node, found in outcome.nodes.items()} == {"wait": "complete", "shout": "error"}
        error = outcome.nodes["shout"].error
        assert isinstance(error, innkeeper.UsageError)
        assert (error.node, error.plugin, error.function) == ("shout", "second", "shout")
        assert "the plugin changed since the call was made ready" in error.message
        assert "a workflow is to be started again" in error.message
        if output == "loud":
            again = await WorkflowRun(check_workflow(WORKFLOW, host)).execute()
            assert again.outputs == {"loud": "WHO IS THERE?"}


async def test_a_plugin_that_goes_fails_the_nodes_that_still_need_it_with_the_reason(house: House) -> None:
    async with house.inn.host() as host:
        outcome = await house.run(host, house.file.unlink)
        error = outcome.nodes["shout"].error
        assert isinstance(error, innkeeper.UsageError)
        assert "plugins/second.wasm: was removed" in error.message


async def test_a_file_that_breaks_does_not_disturb_a_run(house: House) -> None:
    async with house.inn.host() as host:
        outcome = await house.run(host, lambda: house.file.write_bytes(b"spilt coffee"))
        assert (outcome.status, outcome.outputs) == ("complete", {"loud": "WHO IS THERE!"})
