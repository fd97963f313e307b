"""Workflows of tests, run by the command in a home with knowledge bases, with grants and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from commands import Commands
from innkeeper.cli.main import invoke

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
"""A picture of one point, as PNG."""


def entry(id: str, value: str, *keywords: str, **usage: Any) -> dict[str, Any]:
    return {
        "id": id,
        "displayName": id.title(),
        "content": {"mime_type": "text/plain", "value": value},
        "activation_criteria": {"keywords": list(keywords)},
        "usage_metadata": usage,
    }


WORLD = [
    entry("gate", "The iron gate is shut at dusk.", "gate", priority=9),
    entry("inn", "The inn sells soup to {{user}}.", "inn", "soup", priority=5),
    entry("bell", "The bell rings for strangers.", "bell", priority=7, depth_offset=1, role="user"),
    entry("map", "A map of the valley.", "map", priority=3),
    {**entry("old", "A ruin stood here.", "gate"), "management_metadata": {"is_enabled": False}},
]
WORLD[3]["content"] = {"mime_type": "image/png", "path": "media/map.png", "value": "A map of the valley."}
WORLD[0]["usage_metadata"]["prefix"] = {"text": "[Gate] ", "is_enabled": True}
WORLD[0]["management_metadata"] = {"tags": ["place"]}


class Workflows:
    """A home with the base `world`, and what its workflows give."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[str] | None = None) -> None:
        self.home = home
        self._capture = capture

    def innkeeper(self, *arguments: str) -> None:
        """Runs a command that is to go well."""
        assert invoke(["--home", str(self.home), *arguments]) == 0

    def json(self, *arguments: str) -> Any:
        """What a command says with --json."""
        assert self._capture is not None
        self._capture.readouterr()
        return Commands(self._capture).json("--home", str(self.home), *arguments)

    def base(self, name: str, entries: Sequence[Mapping[str, Any]], *options: str) -> None:
        """A base that is imported from a folder with a picture."""
        folder = self.home.parent / f"{name}-source"
        (folder / "media").mkdir(parents=True)
        (folder / "media/map.png").write_bytes(PIXEL)
        info = {"kb_id": name, "kb_displayName": name.title(), "schema_version": "1.1", "kb_version": "1.0.0"}
        (folder / "knowledge.json").write_text(json.dumps({**info, "entries": list(entries)}))
        self.innkeeper("kb", "import", str(folder), *(options or ("--no-embed",)))

    def grant(self, plugin: str, *capabilities: str) -> None:
        only = [word for each in capabilities for word in ("--only", each)]
        self.innkeeper("grant", plugin, "--yes", *only)

    def write(self, workflow: Mapping[str, Any], folder: Path | None = None) -> str:
        path = (folder or self.home.parent) / "workflow.json"
        path.write_text(json.dumps(workflow))
        return str(path)

    def run(self, workflow: Mapping[str, Any], *options: str, code: int = 0, folder: Path | None = None) -> Any:
        """What `innkeeper run --json` says of a workflow, which lies in a folder of its own if one is given."""
        assert self._capture is not None
        self._capture.readouterr()
        ended = invoke(["--home", str(self.home), "run", self.write(workflow, folder), "--json", *options])
        out, err = self._capture.readouterr()
        assert (ended, "Traceback" in err) == (code, False), out + err
        return json.loads(out)

    def node(self, type: str, config: Mapping[str, Any] | None = None, /, **inputs: Any) -> dict[str, Any]:
        """All outputs of a node that is alone in its workflow."""
        given = self.run({"nodes": [one("n", type, config, **inputs)], "edges": [], **self._all(type)})
        outputs: dict[str, Any] = given["outputs"]
        return outputs

    def failure(self, type: str, config: Mapping[str, Any] | None = None, /, **inputs: Any) -> str:
        """What a node that is alone in its workflow says of why it failed."""
        workflow = {"nodes": [one("n", type, config, **inputs)], "edges": [], **self._all(type)}
        return str(self.run(workflow, code=1)["nodes"]["n"]["error"]["message"])

    def _all(self, type: str) -> dict[str, Any]:
        from innkeeper.plugins.manifest import parse_manifest

        root = Path(__file__).parent.parent / "pdk-samples" / "javascript"
        for path in root.glob("*/manifest.toml"):
            manifest = parse_manifest(path.read_bytes(), where=path.parent.name, exports=None)
            for node in manifest.nodes:
                if f"{manifest.namespace}:{node.type}" == type:
                    keys = list(node.outputs)
                    return {"outputInterfaceMappings": {k: {"sourceNodeId": "n", "sourceSlotKey": k} for k in keys}}
        raise AssertionError(f"there is no node {type}")


def one(id: str, type: str, config: Mapping[str, Any] | None = None, /, **inputs: Any) -> dict[str, Any]:
    """A node of a workflow."""
    return {"id": id, "fullType": type, "inputs": inputs, "configValues": dict(config or {})}


def edges(*wires: str) -> list[dict[str, str]]:
    """Edges of texts such as "a.out > b.in"."""
    found = []
    for wire in wires:
        (source, output), (target, slot) = (side.strip().split(".") for side in wire.split(">"))
        found.append({"sourceNodeId": source, "sourceHandle": output, "targetNodeId": target, "targetHandle": slot})
    return found


def outputs(**mappings: str) -> dict[str, Any]:
    """Interface outputs of texts such as "node.slot"."""
    pairs = {key: place.split(".") for key, place in mappings.items()}
    return {key: {"sourceNodeId": node, "sourceSlotKey": slot} for key, (node, slot) in pairs.items()}
