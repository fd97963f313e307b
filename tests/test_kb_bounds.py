"""docs/kb.md says what is so: each bound in its table is the constant of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from innkeeper.bridge import kb, kb_arguments, kb_context
from innkeeper.bridge.operation import operations_of
from innkeeper.bridge.scan import DataBounds
from innkeeper.knowledge.joined import answers, asking, guests, jobs, projects
from innkeeper.knowledge.store import limits
from innkeeper.storage import knowledge_model

PAGE = (Path(__file__).parent.parent / "docs/kb.md").read_text(encoding="utf-8")
TABLE = PAGE.split("\n## Bounds\n")[1].split("\n\n")[0]
ROWS = [
    (names, text)
    for line in TABLE.splitlines()
    if line.startswith("| `")
    for names, text in [[cell.strip() for cell in line.strip("|").split("|")]]
]
MODULES = (knowledge_model, kb, kb_arguments, kb_context, limits, answers, asking, guests, projects)


def value(name: str) -> Any:
    if name.startswith("jobs."):
        return getattr(jobs, name.partition(".")[2])
    first, *rest = name.split(".")
    found = next(getattr(module, first) for module in MODULES if hasattr(module, first))
    found = found() if isinstance(found, type) else found
    for part in rest:
        found = getattr(found, part)
    return found


def spelled(number: float) -> set[str]:
    """The ways in which the page may say a number."""
    whole = f"{number:,.0f}"
    said = {whole, f"{whole} s"}
    for size, unit in ((1 << 10, "KiB"), (1 << 20, "MiB")):
        if number >= size and number % size == 0:
            said.add(f"{number / size:,.0f} {unit}")
    return said


def test_there_is_a_row_for_each_kind_of_bound() -> None:
    assert len(ROWS) > 15


@pytest.mark.parametrize(("names", "text"), ROWS, ids=[names for names, _ in ROWS])
def test_each_bound_is_that_of_the_code(names: str, text: str) -> None:
    found = re.findall(r"`([^`]+)`", names)
    assert found
    for name in found:
        bound = value(name)
        for number in bound if isinstance(bound, tuple) else (bound,):
            words = "|".join(re.escape(each) for each in spelled(number))
            assert re.search(rf"(?<![\d,.])(?:{words})(?![\d,]\d)", text), f"{name} is {number}"


def test_every_operation_has_bounds_for_all_that_it_is_given() -> None:
    for operation in operations_of(kb.KbService, "kb"):
        assert isinstance(operation.bounds, DataBounds)
        schema = operation.arguments.model_json_schema()
        for name, said in schema["properties"].items():
            kinds = said.get("anyOf", [said])
            for kind in kinds:
                if kind.get("type") == "string" and "enum" not in kind:
                    assert "maxLength" in kind, f"{operation.full_name}: {name}"
                if kind.get("type") == "array":
                    assert "maxItems" in kind, f"{operation.full_name}: {name}"
                if kind.get("type") == "integer":
                    assert {"maximum", "exclusiveMaximum"} & set(kind), f"{operation.full_name}: {name}"
