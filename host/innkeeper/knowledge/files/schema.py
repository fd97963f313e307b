"""The JSON Schema of an entry and of a base, for editors. `python -m innkeeper.knowledge.files.schema` writes both."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from pydantic.alias_generators import to_camel

from innkeeper.knowledge.model.base import SCHEMA_VERSION, BaseInfo
from innkeeper.knowledge.model.bounds import MOST_ENTRIES
from innkeeper.knowledge.model.entry import Entry

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_FIELD = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", re.MULTILINE)
"""A field, or several, and what they mean, as docstrings have it."""


def entry_schema() -> dict[str, Any]:
    """The schema of an entry, as plain data."""
    return {"$schema": DIALECT, **described(Entry.model_json_schema()), "title": f"CAIU, an entry ({SCHEMA_VERSION})"}


def base_schema() -> dict[str, Any]:
    """The schema of the file of a base, as plain data."""
    entry = described(Entry.model_json_schema())
    parts = entry.pop("$defs")
    found = described(BaseInfo.model_json_schema())
    found["properties"]["entries"] = {"type": "array", "items": {"$ref": "#/$defs/Entry"}, "maxItems": MOST_ENTRIES}
    found["required"] = [*found["required"], "entries"]
    found["$defs"] = {**parts, "Entry": entry}
    return {"$schema": DIALECT, **found, "title": f"A knowledge base ({SCHEMA_VERSION})"}


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of pydantic's, changed in place: what the models say of their fields stands beside each field, where
    editors show it."""
    for part in (schema, *schema.get("$defs", {}).values()):
        text, _, fields = part.get("description", "").partition("\n\nAttributes:\n")
        part["description"] = text
        for names, meaning in _FIELD.findall(fields):
            for name in names.split(", "):
                name = name if name in part.get("properties", {}) else to_camel(name)
                if name in part.get("properties", {}):
                    part["properties"][name]["description"] = " ".join(meaning.split())
    return schema


def files() -> dict[str, str]:
    """The texts of both files by name."""
    found = {"entry.schema.json": entry_schema(), "base.schema.json": base_schema()}
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in found.items()}


def main(folder: Path) -> None:
    """Writes both files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas"))
