"""The native plugin that people copy works as its page says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from innkeeper.plugins import home as home_module
from innkeeper.workflow.payload import read_payload
from innkeeper.workflow.run import run_workflow
from native_homes import House

SAMPLE = Path(__file__).resolve().parent.parent / "pdk-samples/native/word-count"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    house = House(tmp_path / "home")
    shutil.copytree(SAMPLE, house.path / "plugins/word-count", ignore=shutil.ignore_patterns("__pycache__"))
    house.trust("word-count")
    return house


async def test_the_sample_runs_in_a_workflow_and_remembers(house: House) -> None:
    text = "the guest and the keeper: guest of the inn"
    payload = json.dumps(
        {
            "interfaceInputs": {"text": {"dataFlowType": "STRING", "config": {"default": text}}},
            "interfaceOutputs": {"n": {"dataFlowType": "INTEGER"}, "top": {"dataFlowType": "ARRAY"}},
            "outputInterfaceMappings": {
                "n": {"sourceNodeId": "count", "sourceSlotKey": "ever"},
                "top": {"sourceNodeId": "top", "sourceSlotKey": "words"},
            },
            "nodes": [
                {"id": "in", "fullType": "core:GroupInput"},
                {"id": "count", "fullType": "word-count:Count"},
                {"id": "top", "fullType": "word-count:Frequent"},
            ],
            "edges": [
                {"sourceNodeId": "in", "sourceHandle": "text", "targetNodeId": node, "targetHandle": "text"}
                for node in ("count", "top")
            ],
        }
    ).encode()
    async with house.host() as host:
        assert host.problems == []
        assert host.native["word-count"].manifest.unused == {"ui_slots": ["node:header"]}
        first = await run_workflow(read_payload(payload), host)
        assert first.outputs == {"n": 9, "top": ["guest", "keeper", "inn"]}
        assert [(node.native, node.status) for node in first.nodes.values()] == [
            (False, "complete"),
            (True, "complete"),
            (True, "complete"),
        ]
        usage = first.nodes["count"].usage
        assert usage is not None
        assert usage.log == [("info", "9 words")]
        assert (await run_workflow(read_payload(payload), host)).outputs["n"] == 18
