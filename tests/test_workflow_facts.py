"""Each row of docs/workflow-facts.md, which says how graphs of ComfyTavern are met, names tests, and they exist."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from test_threat_model import ROOT, defined_in

PAGE = (ROOT / "docs/workflow-facts.md").read_text(encoding="utf-8")


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.split("\n") if line.startswith("|") and not line.startswith(("|---", "| in "))]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


ROWS = rows()


def test_no_rule_has_two_rows_and_every_row_says_kept_or_changed() -> None:
    assert len(ROWS) > 100
    assert len({row[0] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert len(row) == 3, row
        assert re.match(r"(Kept|Changed)\b", row[1]), row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_each_test_that_is_named_exists(row: Sequence[str]) -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row[2])
    assert named
    assert re.sub(r"`test_\w+\.py::test_\w+`", "", row[2]).strip(", ") == ""
    for file, name in named:
        assert name in defined_in(file), f"{file}::{name}"
