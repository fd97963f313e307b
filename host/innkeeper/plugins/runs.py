"""Which run a call belongs to: services that live as long as a run hang on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class Run:
    """One execution of a workflow, or what a program counts as one. What services keep for a run is kept by this
    object's identity, and ends with it.

    Args:
        id: its id.
        bases: what the references of its project stand for: reference to the knowledge base's own id.
    """

    __slots__ = ("__weakref__", "bases", "id")

    def __init__(self, id: str, bases: Mapping[str, str] | None = None) -> None:
        self.id = id
        self.bases: Mapping[str, str] = bases or {}


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a call belongs to.

    Attributes:
        run: the run.
        node: id of the node in the run's graph.
    """

    run: Run
    node: str = ""
