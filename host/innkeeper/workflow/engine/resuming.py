"""Going on with a run whose host ended in its midst: what is known of it, and what must not be done twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from innkeeper.errors import CancelledError, InnkeeperError, Kind
from innkeeper.workflow.engine.events import BYPASSED, COMPLETE, ERROR, EXECUTING, INTERFACE_OUTPUTS, SKIPPED, RunEvent
from innkeeper.workflow.host import is_pure

if TYPE_CHECKING:
    from innkeeper.workflow.checking.graph import GraphNode
    from innkeeper.workflow.engine.plan import Plan


class EarlierError(InnkeeperError):
    """The failure of a node before its run's host ended, as it was kept.

    Attributes:
        kind: what kind it was.
    """

    def __init__(self, kind: Kind, message: str, plugin: str | None = None) -> None:
        super().__init__(message, plugin=plugin)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Resume:
    """What is known of the earlier attempts of a run. Ids are those of the events: `LOOP[TURN]/INNER` in a loop.

    Attributes:
        results: the outputs (msgpack, by key) of nodes that completed.
        begun: ids of nodes that began, whether they ended or not.
        seq: number of the last event.
        failed: of nodes that failed, the kind and the message.
        said: ids of nodes that need no further event, since they were said to be skipped or bypassed.
        tries: of nodes whose error output took their failure, how often they were called.
    """

    results: Mapping[str, Mapping[str, bytes]]
    begun: Collection[str]
    seq: int = 0
    failed: Mapping[str, tuple[Kind, str]] = field(default_factory=dict)
    said: Collection[str] = frozenset()
    tries: Mapping[str, int] = field(default_factory=dict)

    def ended(self, node: str) -> bool:
        """Whether a node came to its end (bool)."""
        return node in self.results or node in self.failed


def resume_of(events: Iterable[RunEvent]) -> Resume:
    """What the events of earlier attempts say, where all of them were kept.

    Args:
        events: of the run, in order; chunks may be missing.
    """
    results: dict[str, Mapping[str, bytes]] = {}
    begun: set[str] = set()
    failed: dict[str, tuple[Kind, str]] = {}
    said: set[str] = set()
    tries: dict[str, int] = {}
    seq = 0
    for event in events:
        seq = max(seq, event.seq)
        node = event.fields.get("nodeId")
        if node is None or node == INTERFACE_OUTPUTS:
            continue
        if event.kind == EXECUTING:
            begun.add(node)
        elif event.kind == COMPLETE:
            results[node] = event.values
            failed.pop(node, None)
        elif event.kind == ERROR:
            details = event.fields["errorDetails"]
            failed[node] = Kind(details["kind"]), details["message"]
            tries[node] = event.fields.get("tries", 0)
            results.pop(node, None)
        elif event.kind in (SKIPPED, BYPASSED):
            said.add(node)
    return Resume(results, begun, seq, failed, said, tries)


def is_safe(node: GraphNode) -> bool:
    """Whether calling a node again, where nobody knows how far it came, does no harm (bool)."""
    plugin = node.plugin
    return plugin is None or is_pure(plugin) or node.policy.after_crash == "again"


def refusal(node: GraphNode) -> InnkeeperError:
    """Why a node is not called again."""
    return CancelledError(
        "its host ended while it ran, and calling it again might do twice what it does; if that is harmless, give it "
        'configValues.innkeeper.afterCrash = "again"',
        plugin=None if node.plugin is None else node.plugin.id,
    )


def earlier_error(resume: Resume, id: str, node: GraphNode) -> InnkeeperError:
    """The error of a node that failed in an earlier attempt."""
    kind, message = resume.failed[id]
    return EarlierError(kind, message, None if node.plugin is None else node.plugin.id)


def flowing_again(plan: Plan, resume: Resume, prefix: str) -> frozenset[str]:
    """Nodes that are called again although they ended, since what flowed between them and others is lost.

    Args:
        plan: of their graph.
        resume: what is known.
        prefix: what stands before their ids.

    Returns:
        frozenset[str]: their ids in the graph.
    """
    neighbours: dict[str, set[str]] = {}
    for source, consumers in plan.consumers.items():
        for consumer in consumers:
            neighbours.setdefault(source.node, set()).add(consumer.node)
            neighbours.setdefault(consumer.node, set()).add(source.node)
    found: set[str] = set()
    seen: set[str] = set()
    for first in neighbours:
        if first in seen:
            continue
        together = {first}
        stack = [first]
        while stack:
            for other in neighbours[stack.pop()] - together:
                together.add(other)
                stack.append(other)
        seen |= together
        if not all(_over(prefix + each, resume) for each in together):
            found |= together
    return frozenset(found)


def _over(node: str, resume: Resume) -> bool:
    return resume.ended(node) or node in resume.said
