"""docs/bridge.md and docs/bridge.json say what the services declare."""

from __future__ import annotations

import json
from pathlib import Path

from innkeeper.bridge.offer import operations
from innkeeper.bridge.reference import as_json, as_markdown
from innkeeper.plugins.capabilities import KINDS
from innkeeper.plugins.rights import WASI
from innkeeper.plugins.serving import CAPABILITY

DOCS = Path(__file__).parent.parent / "docs"


def test_the_reference_is_what_the_declarations_make() -> None:
    assert (DOCS / "bridge.md").read_text("utf-8") == as_markdown(), "python -m innkeeper.bridge md > docs/bridge.md"
    assert (DOCS / "bridge.json").read_text("utf-8") == as_json(), "python -m innkeeper.bridge json > docs/bridge.json"


def test_every_operation_belongs_to_a_capability_that_this_version_has() -> None:
    available = {name for name, kind in KINDS.items() if kind.available}
    # With that the server asks a plugin, and the plugin nobody.
    assert {each.capability for each in operations()} == available - WASI - {CAPABILITY}


def test_names_of_imports_are_told_apart_and_fit_every_language() -> None:
    names = [each["import"] for each in json.loads(as_json())["operations"]]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name.isascii() for name in names)
