"""The native plugin that people copy works as its page says."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from innkeeper import native
from innkeeper.native import Api
from innkeeper.plugins import documents, listing
from innkeeper.plugins import home as home_module
from innkeeper.plugins.folder_manifest import parse_folder_manifest
from innkeeper.plugins.native import hooks, snapshot, tier, version
from innkeeper.workflow.engine.run import run_workflow
from innkeeper.workflow.formats.payload import read_payload
from native_homes import House, run

DOCS = Path(__file__).resolve().parent.parent / "docs"
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


@pytest.mark.parametrize("page", ["native-plugins.md", "plugins.md"])
def test_manifests_in_yaml_that_the_pages_show_can_be_read(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        found = parse_folder_manifest(block.encode(), label="plugins/x/plugin.yaml")
        assert found.manifest(None).nodes
        assert found.kind == ("native" if page == "native-plugins.md" else "wasm")


def test_every_part_of_the_api_and_every_figure_is_on_its_page() -> None:
    page = (DOCS / "native-plugins.md").read_text(encoding="utf-8")
    names = [name for name in vars(Api) if not name.startswith("_")] + list(hooks.NAMES) + list(native.__all__)
    names += [field.name for kind in (native.Call, native.RunInfo, native.NodeInfo) for field in fields(kind)]
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []
    text = " ".join(page.split())
    for words in (
        f"with the import it has {tier.LOAD_WALL:g} s",
        f"a run waits for each, {hooks.WALL:g} s at most",
        f"(then {hooks.PARTING:g} s at most)",
        f"at most {listing.MAX_FOLDER_ENTRIES:,} files and folders, {snapshot.MAX_DEPTH} deep, and "
        f"{snapshot.MAX_BYTES >> 20} MiB",
        f"{version.THREADS} of one plugin at the same time",
    ):
        assert words in text
    assert f"{documents.MAX_YAML >> 10} KiB" in (DOCS / "plugins.md").read_text(encoding="utf-8")


async def test_the_plugin_of_the_page_runs_as_it_stands_there(house: House) -> None:
    page = (DOCS / "native-plugins.md").read_text()
    # The first of each language.
    blocks = dict(reversed(re.findall(r"```(yaml|python)\n(.*?)```", page, re.DOTALL)))
    house.put("weather-station/plugin.yaml", blocks["yaml"])
    house.put("weather-station/main.py", blocks["python"])
    house.trust("weather-station")
    async with house.host() as host:
        assert host.problems == []
        shouted = await run(host, a="weather-station:Shout")
        nodes = [{"id": "b", "fullType": "weather-station:Read"}]
        found = await run_workflow(read_payload(json.dumps({"nodes": nodes, "edges": []}).encode()), host)
    assert shouted.nodes["a"].outputs() == {"shouted": "HELLO!"}
    assert found.nodes["b"].outputs() == {"celsius": 20.0}
