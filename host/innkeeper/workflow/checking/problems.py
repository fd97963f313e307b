"""What is wrong with a workflow: everything at once, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

from innkeeper.errors import UsageError

_SHOWN = 100
_KEPT = 1000
_CANDIDATES = 100
_COMPARED = 60
"""Characters of a name that are compared: looking for what was meant takes time with the square of its length."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        text: what is wrong and what would be right.
        node: id of the node, or None where it concerns the workflow.
        slot: "input 'a'", "output 'b'" or another place within the node, or None.
        workflow: id of the workflow where the node is, if it is one that a group or a loop refers to, or None. The node
            then has the id that it has there.
    """

    text: str
    node: str | None = None
    slot: str | None = None
    workflow: str | None = None

    def __str__(self) -> str:
        place = [f"workflow {self.workflow!r}"] if self.workflow is not None else []
        place += [f"node {self.node!r}"] if self.node is not None else []
        place += [self.slot] if self.slot is not None else []
        return f"{' '.join(place)}: {self.text}" if place else self.text


class Problems:
    """What a check finds. A payload can have a million things wrong: of very many, only the number is kept.

    Attributes:
        kept: the first thousand.
        count: all.
        types_missing: whether a node's type is one that the host does not have.
    """

    def __init__(self) -> None:
        self.kept: list[Problem] = []
        self.count = 0
        self.types_missing = False
        self._workflow: str | None = None
        self._once: set[Problem] = set()

    def add(self, text: str, node: str | None = None, slot: str | None = None, *, once: bool = False) -> None:
        """Adds one.

        Args:
            text: as of `Problem`, as are node and slot.
            node: its id.
            slot: the place within it.
            once: whether it is left out if the same is there: a group may be in a workflow many times.
        """
        problem = Problem(text, node, slot, self._workflow)
        if once:
            if problem in self._once:
                return
            if len(self._once) < _KEPT:
                self._once.add(problem)
        self.count += 1
        if self.count <= _KEPT:
            self.kept.append(problem)

    @contextmanager
    def inside(self, workflow: str | None) -> Iterator[None]:
        """Whatever is added within a `with` of it belongs to that workflow."""
        before, self._workflow = self._workflow, workflow
        try:
            yield
        finally:
            self._workflow = before

    @property
    def enough(self) -> bool:
        """Whether no further one would be shown to a person (bool), so that it need not say what was meant."""
        return self.count >= _SHOWN

    def known(self, names: Sequence[str], wanted: str) -> str:
        """As the function `known`, while there are not enough problems."""
        return "there is none of this name" if self.enough else known(names, wanted)


class WorkflowError(UsageError):
    """A workflow that does not check.

    Attributes:
        problems: what is wrong with it (tuple of Problem), at most the first thousand; the message has a line for each
            of the first hundred.
        types_missing: whether a node's type is one that the host does not have (bool).
    """

    def __init__(self, problems: Problems) -> None:
        lines = [str(problem) for problem in problems.kept[:_SHOWN]]
        if problems.count > _SHOWN:
            lines.append(f"and {problems.count - _SHOWN:,} more problems")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems.kept)
        self.types_missing = problems.types_missing


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in a sentence (str): those beyond `most` are only counted."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def known(names: Sequence[str], wanted: str) -> str:
    """The end of a sentence about a name that does not exist (str): what comes close, and what there is."""
    if not names:
        return "it has none"
    candidates = [name for name in names[:_CANDIDATES] if len(name) <= _COMPARED]
    close = get_close_matches(wanted[:_COMPARED], candidates, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    listed = ", ".join(names[:12])
    return f"it has: {listed}{', ...' if len(names) > 12 else ''}"
