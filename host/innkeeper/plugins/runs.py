"""Which run a call belongs to: services that live as long as a run hang on it."""

from __future__ import annotations

from dataclasses import dataclass


class Run:
    """One execution of a workflow, or what a program counts as one. What services keep for a run is kept by this
    object's identity, and ends with it.

    Args:
        id: its id.
    """

    __slots__ = ("__weakref__", "id")

    def __init__(self, id: str) -> None:
        self.id = id


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a call belongs to.

    Attributes:
        run: the run.
        node: id of the node in the run's graph.
    """

    run: Run
    node: str = ""
