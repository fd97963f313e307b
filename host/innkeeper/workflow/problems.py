"""What is wrong with a workflow: everything at once, one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from innkeeper.errors import UsageError

_SHOWN = 100
_CANDIDATES = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        text: what is wrong and what would be right.
        node: id of the node, or None where it concerns the workflow.
        slot: "input 'a'", "output 'b'" or another place within the node, or None.
    """

    text: str
    node: str | None = None
    slot: str | None = None

    def __str__(self) -> str:
        place = [f"node {self.node!r}"] if self.node is not None else []
        place += [self.slot] if self.slot is not None else []
        return f"{' '.join(place)}: {self.text}" if place else self.text


class WorkflowError(UsageError):
    """A workflow that does not check.

    Attributes:
        problems: all that is wrong with it; the message has a line for each of the first hundred.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        lines = [str(problem) for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"and {len(problems) - _SHOWN:,} more problems")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)


def known(names: Sequence[str], wanted: str) -> str:
    """The end of a sentence about a name that does not exist (str): what comes close, and what there is."""
    if not names:
        return "it has none"
    close = get_close_matches(wanted, names[:_CANDIDATES], n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    listed = ", ".join(names[:12])
    return f"it has: {listed}{', ...' if len(names) > 12 else ''}"
