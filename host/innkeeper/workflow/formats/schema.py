"""The JSON Schema of a node's policy, for editors. `python -m innkeeper.workflow.formats.schema` writes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from innkeeper.knowledge.files.schema import DIALECT, described
from innkeeper.workflow.formats.policy import KEY, NodePolicy


def policy_schema() -> dict[str, Any]:
    """The schema of `configValues["innkeeper"]`, as plain data."""
    return {
        "$schema": DIALECT,
        **described(NodePolicy.model_json_schema(by_alias=True)),
        "title": f'Policy of a node, configValues["{KEY}"]',
    }


def files() -> dict[str, str]:
    """The text of the file by its name."""
    return {"node-policy.schema.json": json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"}


def main(folder: Path) -> None:
    """Writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas"))
