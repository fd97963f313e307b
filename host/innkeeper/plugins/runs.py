"""Which run a call belongs to: services that live as long as a run hang on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from innkeeper.plugins.owner import present_owner


@dataclass(frozen=True, slots=True)
class RunBase:
    """A knowledge base that a run's project refers to.

    Attributes:
        own: the base's own id, which grants name.
        base: under which services have it; the same, unless it is the project's own.
    """

    own: str
    base: str


class Run:
    """One execution of a workflow, or what a program counts as one. What services keep for a run is kept by this
    object's identity, and ends with it.

    Args:
        id: its id.
        bases: what the references of its project stand for.
        owner: whose data its calls work on, whoever makes them; None: of whom the present task works for.
    """

    __slots__ = ("__weakref__", "bases", "id", "owner")

    def __init__(self, id: str, bases: Mapping[str, RunBase] | None = None, owner: str | None = None) -> None:
        self.id = id
        self.bases: Mapping[str, RunBase] = bases or {}
        self.owner = present_owner() if owner is None else owner


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a call belongs to.

    Attributes:
        run: the run.
        node: id of the node in the run's graph.
    """

    run: Run
    node: str = ""
