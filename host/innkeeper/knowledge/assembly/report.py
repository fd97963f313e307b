"""What became of each block: what it has, what it costs, what was cut and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_CUTS = 100
"""Cuts of one block that are named; the rest are counted."""

MOST_TITLE = 200
"""Characters of what a cut is called."""

HEADERS = ("block", "kind", "kept", "tokens", "budget", "cut")


@dataclass(frozen=True, slots=True)
class Cut:
    """Something that is not in the prompt.

    Attributes:
        title: what people call it.
        base, entry: ids, or "" where it is no entry.
        tokens: that it would have cost.
        reason: why it is not there.
    """

    title: str
    base: str
    entry: str
    tokens: int
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """A block.

    Attributes:
        block: its id; "" for what no block takes.
        kind: its kind, or "".
        kept: how many entries, messages or examples are in the prompt.
        tokens: of their texts, prefix and suffix.
        budget: of the block, or None.
        cut: what is not in the prompt, at most `MOST_CUTS`, the most important first.
        more: how many more were cut.
    """

    block: str
    kind: str
    kept: int
    tokens: int
    budget: int | None
    cut: Sequence[Cut]
    more: int = 0

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "block": self.block,
            "kind": self.kind,
            "kept": self.kept,
            "tokens": self.tokens,
            "budget": self.budget,
            "cut": [
                {"title": cut.title, "base": cut.base, "entry": cut.entry, "tokens": cut.tokens, "reason": cut.reason}
                for cut in self.cut
            ],
            "more": self.more,
        }


def table(rows: Sequence[Row]) -> list[list[str]]:
    """The report as cells under `HEADERS`: a line for each block that has or lost something, one for each cut below."""
    found = []
    for row in rows:
        if not row.kept and not row.cut:
            continue
        budget = "" if row.budget is None else str(row.budget)
        lost = str(len(row.cut) + row.more) if row.cut else ""
        found.append([row.block or "(no block)", row.kind, str(row.kept), str(row.tokens), budget, lost])
        found += [["", "", "", str(cut.tokens), "", f"{cut.title}: {cut.reason}"] for cut in row.cut]
        if row.more:
            found.append(["", "", "", "", "", f"and {row.more:,} more"])
    return found
