"""Puts templates into graphs: groups become the nodes that are in them, and loops get the graph of a turn."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from innkeeper.workflow.checking.graph import Graph, GraphNode, Origin, Source
from innkeeper.workflow.checking.interface import interface_values
from innkeeper.workflow.checking.order import in_order
from innkeeper.workflow.checking.origins import Instance, Origins
from innkeeper.workflow.checking.placed import GroupNode, Template
from innkeeper.workflow.checking.problems import Problems
from innkeeper.workflow.checking.required import Required, is_interface
from innkeeper.workflow.checking.streams import MAX_STREAM_EDGES, plan_streams
from innkeeper.workflow.formats.parts import MAX_EDGES, MAX_NODES

if TYPE_CHECKING:
    from innkeeper.plugins.native.hooks import Hooks

_TURN = re.compile(r"\[[0-9]+\]/")


class Graphs:
    """Makes graphs of templates."""

    def __init__(self, problems: Problems, hooks: Hooks | None) -> None:
        """Args:
        problems: gets what is wrong.
        hooks: what native plugins want to know of runs, or None.
        """
        self._problems = problems
        self._hooks = hooks
        self._bodies: dict[Template, Graph] = {}
        self._nodes = 0

    def of(self, template: Template, *, body: bool = False, reserved: Collection[str] = ()) -> Graph:
        """The graph of a workflow, empty where it would be too large, which is a problem.

        Args:
            template: the workflow.
            body: whether it is the turn of a loop, whose inputs have their values later.
            reserved: ids that its nodes must not have.
        """
        # Counted before anything is built: groups in groups make many nodes of few.
        self._nodes += template.size
        if self._nodes > MAX_NODES or template.edges > MAX_EDGES or template.stream_edges > MAX_STREAM_EDGES:
            self._problems.add(
                f"with its groups and loops put in the workflow has {_said(self._nodes)} nodes, "
                f"{_said(template.edges)} edges and {_said(template.stream_edges)} streams; at most {MAX_NODES:,}, "
                f"{MAX_EDGES:,} and {MAX_STREAM_EDGES:,} are taken",
                once=True,
            )
            return Graph({}, {}, {})
        return _Making(self, template, body=body, reserved=reserved).graph()

    def body(self, template: Template, reserved: Collection[str]) -> Graph:
        """The graph of a turn. Loops over the same workflow share it."""
        with self._problems.inside(template.id):
            if reserved:
                return self.of(template, body=True, reserved=reserved)
            if template not in self._bodies:
                self._bodies[template] = self.of(template, body=True)
            return self._bodies[template]

    @property
    def problems(self) -> Problems:
        """What is wrong."""
        return self._problems

    @property
    def hooks(self) -> Hooks | None:
        """What native plugins want to know of runs."""
        return self._hooks


class _Making:
    """One graph."""

    def __init__(self, graphs: Graphs, template: Template, *, body: bool, reserved: Collection[str]) -> None:
        self._graphs = graphs
        self._problems = graphs.problems
        self._body = body
        self._origins = Origins(self._problems)
        # An author's own ids stay as they are, whatever the nodes of groups would be called.
        self._taken = {*template.nodes, *template.unresolved, *reserved}
        self._placed: list[tuple[Instance, GraphNode]] = []
        ids = {id_: self._free(id_) if id_ in reserved else id_ for id_ in template.nodes}
        self._top = Instance(template, ids=ids)
        self._put(self._top)
        # Most workflows have no groups, and may have a hundred thousand edges.
        self._plain = not self._top.inner and not reserved
        self._values = interface_values(template.inputs)

    def graph(self) -> Graph:
        nodes = {instance.ids[node.id]: self._resolved(instance, node) for instance, node in self._placed}
        required = Required(self._top, self._values, self._origins, self._problems, body=self._body)
        for instance, placed in self._placed:
            required.of_node(instance, placed, nodes[instance.ids[placed.id]].sources)
        for instance in self._instances(self._top):
            required.of_groups(instance)
        self._give_bodies(nodes)
        outputs: dict[str, Origin] = {}
        streams: dict[str, Source] = {}
        for key, result in self._top.template.results.items():
            origins = self._origins.of_output(self._top, result)
            if not origins:
                continue
            if self._top.template.nodes[result.node].outputs[result.slot].is_stream:
                if isinstance(origins[0], Source) and nodes[origins[0].node].role == "plugin":
                    streams[key] = origins[0]
            else:
                outputs[key] = origins[0]
        successors: dict[str, set[str]] = {}
        for node in nodes.values():
            for source in _sources(node):
                successors.setdefault(source.node, set()).add(node.id)
        order = in_order(list(nodes), successors, self._problems)
        ordered = {id_: nodes[id_] for id_ in order}
        plan = plan_streams(ordered, self._problems)
        return Graph(
            ordered,
            self._values,
            outputs,
            interface_inputs=self._top.template.inputs,
            interface_streams=streams,
            stream_groups=plan.stream_groups,
            late=plan.late,
            hooks=self._graphs.hooks,
        )

    def _put(self, instance: Instance) -> None:
        """Gives ids to all that is in an instance. As deep as groups are within each other, at most 16."""
        for node in instance.template.nodes.values():
            if isinstance(node, GroupNode):
                group = instance.ids[node.id]
                inner = Instance(node.template, instance, node.id)
                inner.ids = {id_: self._free(f"{group}/{id_}") for id_ in node.template.nodes}
                instance.inner[node.id] = inner
                self._put(inner)
            elif instance.outer is None or node.role not in ("input", "output"):
                self._placed.append((instance, node))

    def _free(self, wanted: str) -> str:
        id_, at = wanted, 1
        while id_ in self._taken:
            at += 1
            id_ = f"{wanted}~{at}"
        self._taken.add(id_)
        return id_

    def _instances(self, instance: Instance) -> Iterable[Instance]:
        yield instance
        for inner in instance.inner.values():
            yield from self._instances(inner)

    def _resolved(self, instance: Instance, node: GraphNode) -> GraphNode:
        """A node with the ids of the graph."""
        if self._plain and instance.template.id is None and not node.streams:
            # It is as it was placed, and nobody else has it.
            return node
        id_ = instance.ids[node.id]
        sources = node.sources if self._plain else self._sources(instance, node)
        streams = {}
        for key in node.streams if node.role == "plugin" else ():
            for origin in self._origins.of_input(instance, node.id, key)[:1]:
                # Nothing flows into an interface from outside.
                if isinstance(origin, Source) and not is_interface(self._top, origin):
                    streams[key] = origin
        submitted = node.node if id_ == node.id else node.node.model_copy(update={"id": id_})
        return replace(node, node=submitted, sources=sources, streams=streams)

    def _sources(self, instance: Instance, node: GraphNode) -> dict[str, list[Origin]]:
        found = {}
        for key, given in node.sources.items():
            origins = self._origins.of_input(instance, node.id, key)
            if len(origins) > 1 and len(given) == 1 and not node.inputs[key].multi:
                with self._problems.inside(instance.template.id):
                    text = f"takes one value, and {len(origins)} reach it through a group"
                    self._problems.add(text, node.id, f"input {key!r}", once=True)
            if origins:
                found[key] = list(origins)
        return found

    def _give_bodies(self, nodes: dict[str, GraphNode]) -> None:
        loops = {
            instance.ids[placed.id]: body
            for instance, placed in self._placed
            if (body := instance.template.loops.get(placed.id)) is not None
        }
        reserved = self._reserved(loops)
        for id_, body in loops.items():
            nodes[id_].body = self._graphs.body(body, reserved.get(id_, ()))

    def _reserved(self, loops: Collection[str]) -> dict[str, set[str]]:
        """Per loop, ids that its nodes must not have: with the turn's number before them, others have them."""
        found: dict[str, set[str]] = {}
        lengths = set(map(len, loops))
        for id_ in self._taken if loops else ():
            for turn in _TURN.finditer(id_):
                if turn.start() in lengths and id_[: turn.start()] in loops:
                    found.setdefault(id_[: turn.start()], set()).add(id_[turn.end() :])
        return found


def _sources(node: GraphNode) -> Iterator[Source]:
    for sources in node.sources.values():
        for source in sources:
            if isinstance(source, Source):
                yield source
    yield from node.streams.values()


def _said(number: int) -> str:
    return f"{number:,}" if number < 10**9 else "billions of"
