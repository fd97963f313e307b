"""Resolves the names of a workflow and of those that its groups and loops refer to, each once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.errors import UsageError
from innkeeper.plugins.tables import shown
from innkeeper.workflow.checking.connect import connect
from innkeeper.workflow.checking.graph import (
    ENGINE_NODES,
    FOR_EACH,
    GROUP_INPUT,
    GROUP_OUTPUT,
    IF,
    MERGE,
    NODE_GROUP,
    WHILE,
)
from innkeeper.workflow.checking.interface import interface_outputs, results, values_fit
from innkeeper.workflow.checking.nodes import PluginNodes, presets_fit
from innkeeper.workflow.checking.own import loop_config, place_branch, place_group, place_interface, place_loop
from innkeeper.workflow.checking.placed import GroupNode, Placed, Template
from innkeeper.workflow.checking.policies import policy_of
from innkeeper.workflow.checking.problems import Problems
from innkeeper.workflow.formats.parts import MAX_EDGES, MAX_NODES
from innkeeper.workflow.formats.payload import ExecutionNode, WorkflowPayload, payload_of, read_payload
from innkeeper.workflow.formats.references import REFERENCE, reference
from innkeeper.workflow.formats.sources import WorkflowSource

MOST_DEPTH = 16
"""Workflows within each other, as groups or as turns of loops."""

_TOO_DEEP = f"workflows may be {MOST_DEPTH} deep within each other"


class Templates:
    """Makes templates."""

    def __init__(
        self,
        payload: WorkflowPayload,
        source: WorkflowSource | None,
        plugins: PluginNodes,
        problems: Problems,
    ) -> None:
        """Args:
        payload: the workflow that was submitted; what it brings goes before what the source has.
        source: has further workflows.
        plugins: places the nodes of plugins.
        problems: gets what is wrong.
        """
        self._payload = payload
        self._brought: Mapping[str, Any] = payload.innkeeper.workflows if payload.innkeeper is not None else {}
        self._source = source
        self._plugins = plugins
        self._problems = problems
        # None: it is there and cannot be used, which is a problem by then.
        self._known: dict[str, Template | None] = {}
        # Looked for once: thousands of nodes may name one that is too large, and reading it takes a while.
        self._refused: dict[str, str] = {}
        self._path: list[str] = []
        self._nodes = 0
        self._edges = 0

    def top(self) -> Template:
        """The template of the workflow that was submitted."""
        if self._payload.workflow_id is not None:
            self._path.append(self._payload.workflow_id)
        return self._made(Template(None, self._payload))

    def _made(self, template: Template) -> Template:
        payload, problems = template.payload, self._problems
        self._nodes += len(payload.nodes)
        self._edges += len(payload.edges)
        template.inputs = payload.interface_inputs
        if template.id is not None:
            values_fit(payload, problems)
        left_out: set[str] = set()
        interface: set[str] = set()
        for node in payload.nodes:
            if node.id in template.nodes or node.id in template.unresolved or node.id in left_out:
                problems.add("there is more than one node with this id", node.id)
                continue
            if node.full_type in interface:
                problems.add(f"a workflow has one {node.full_type}, and there is another before this one", node.id)
                template.unresolved.add(node.id)
                continue
            if node.full_type in (GROUP_INPUT, GROUP_OUTPUT):
                interface.add(node.full_type)
            if node.full_type not in ENGINE_NODES and self._plugins.is_ui_node(node.full_type):
                left_out.add(node.id)
                continue
            placed = self._placed(node, template)
            if placed is None:
                template.unresolved.add(node.id)
            else:
                template.nodes[node.id] = placed
        connect(payload.edges, template.nodes, template.unresolved | left_out, problems)
        template.results = results(template, problems)
        template.outputs = interface_outputs(template)
        groups = [node.template for node in template.nodes.values() if isinstance(node, GroupNode)]
        template.height = 1 + max((each.height for each in (*groups, *template.loops.values())), default=0)
        template.size = len(payload.nodes) + sum(group.size for group in groups)
        template.edges = len(payload.edges) + sum(group.edges for group in groups)
        own = sum(len(node.streams) for node in template.nodes.values())
        template.stream_edges = own + sum(group.stream_edges for group in groups)
        return template

    def _placed(self, node: ExecutionNode, template: Template) -> Placed | None:
        problems = self._problems
        if node.full_type in (GROUP_INPUT, GROUP_OUTPUT):
            return place_interface(node, template, problems)
        if node.full_type in (IF, MERGE):
            return place_branch(node, problems)
        if node.full_type in (FOR_EACH, WHILE):
            body = self._referred(node)
            if body is None:
                loop_config(node, problems)
                return None
            loop = place_loop(node, body, problems)
            if loop.role != "bypassed":
                template.loops[node.id] = body
            return loop
        if node.full_type == NODE_GROUP:
            loop_config(node, problems)
            policy_of(node, problems)
            inner = self._referred(node)
            if inner is None:
                return None
            presets_fit(node, inner.inputs, set(), problems)
            return place_group(node, inner)
        return self._plugins.place(node)

    def _referred(self, node: ExecutionNode) -> Template | None:
        """The workflow that a group or a loop refers to; None: a problem says why not."""
        id_ = reference(node)
        place = f"configuration {REFERENCE!r}"
        if id_ is None:
            if isinstance(node.config_values.get(REFERENCE), str):
                self._problems.add("this is no id of a workflow", node.id, place)
            return None
        if id_ in self._path:
            names = [shown(each) for each in (*self._path[self._path.index(id_) :], id_)]
            if len(names) > 12:
                names = [*names[:10], f"{len(names) - 11} more", names[-1]]
            self._problems.add(f"the workflows refer to each other: {' -> '.join(names)}", node.id, place)
            return None
        if id_ not in self._known:
            if len(self._path) >= MOST_DEPTH:
                self._problems.add(_TOO_DEEP, node.id, place)
                return None
            payload = self._refused[id_] if id_ in self._refused else self._found(id_)
            if isinstance(payload, str):
                self._refused[id_] = payload
                self._problems.add(payload, node.id, place)
                return None
            if payload is None:
                self._known[id_] = None
            else:
                self._path.append(id_)
                with self._problems.inside(id_):
                    self._known[id_] = self._made(Template(id_, payload))
                self._path.pop()
        found = self._known[id_]
        if found is None:
            self._problems.add(f"the workflow {shown(id_)} cannot be used", node.id, place)
        elif len(self._path) + found.height > MOST_DEPTH:
            # It was resolved where it was not as deep.
            self._problems.add(_TOO_DEEP, node.id, place)
            return None
        return found

    def _found(self, id_: str) -> WorkflowPayload | str | None:
        """A workflow by its id; None where it has problems of its own, a text where it cannot be looked for."""
        found: Any = self._brought.get(id_)
        if found is None and self._source is not None:
            try:
                found = self._source.find(id_)
            except UsageError as error:
                return error.message
        if found is None:
            return f"there is no workflow with the id {shown(id_)}, in innkeeper.workflows or in a file beside this one"
        try:
            payload = read_payload(found) if isinstance(found, bytes) else payload_of(dict(found))
        except UsageError as error:
            with self._problems.inside(id_):
                for line in error.message.splitlines():
                    self._problems.add(line)
            return None
        if self._nodes + len(payload.nodes) > MAX_NODES or self._edges + len(payload.edges) > MAX_EDGES:
            return f"the workflow has with those that it refers to more than {MAX_NODES:,} nodes or {MAX_EDGES:,} edges"
        return payload
