"""docs/threat-model.md says what is so: each test that it names exists, each bound is the constant of the code, and its
checks are those of `innkeeper doctor --security`."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from innkeeper.cli.security.finding import CHECKS
from innkeeper.sandbox.limits import parse_duration, parse_size

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def cells(heading: str, page: str = PAGE) -> list[list[str]]:
    """The cells of all tables below a heading, without their heads."""
    part = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.split("\n") if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


VECTORS = [row for row in cells("Vectors") if row[0] != "vector"]


@cache
def defined_in(name: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / name).read_text(encoding="utf-8"))
    return frozenset(each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def test_there_is_a_row_for_each_vector() -> None:
    assert len(VECTORS) > 50
    assert len({row[0] for row in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row[0])
def test_each_test_that_is_named_exists(row: list[str]) -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row[3])
    assert named
    assert re.sub(r"`test_\w+\.py::test_\w+`", "", row[3]).strip(", ") == ""
    for file, name in named:
        assert name in defined_in(file), f"{file}::{name}"


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row[0])
def test_each_bound_is_that_of_the_code(row: list[str]) -> None:
    modules = []
    for path in re.findall(r"`([^`]+)`", row[2]):
        assert (ROOT / "host/innkeeper" / path).is_file(), path
        modules.append(import_module("innkeeper." + path.removesuffix(".py").replace("/", ".")))
    assert modules
    for name, text in re.findall(r"`([A-Za-z_.]+)` = ([\d.,]*\d(?: (?:[KMG]iB|ms|s|days)\b)?)", row[1]):
        assert value(modules, name) == amount(text), f"{name} = {text}"
    bounds = re.findall(r"`([A-Z][A-Za-z_.]+)`", row[1])
    assert len(bounds) == row[1].count("` = "), "a constant without its value"


def value(modules: list[Any], name: str) -> Any:
    first, *rest = name.split(".")
    found = next(getattr(module, first) for module in modules if hasattr(module, first))
    # Bounds that are settings: their defaults.
    found = found() if isinstance(found, type) else found
    for part in rest:
        found = getattr(found, part)
    return found


def amount(text: str) -> float:
    if text.endswith("iB"):
        return parse_size(text)
    if text.endswith("s"):
        return parse_duration(text)
    return float(text.replace(",", ""))


def test_the_checks_are_those_of_the_command() -> None:
    found = {row[0].strip("`"): row[1] for row in cells("Checking a host") if row[0] != "check"}
    assert found == CHECKS


def test_every_file_of_tests_that_is_named_as_holding_a_promise_is_there() -> None:
    for page in (PAGE, SECURITY):
        for name in re.findall(r"\btest_[\w*]+\.py\b", page):
            assert list((ROOT / "tests").rglob(name)), name
