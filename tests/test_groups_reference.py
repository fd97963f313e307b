"""A graph with its groups put in means what the workflow means, read group by group without putting anything in."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from group_samples import TEXT, check, group, inner
from innkeeper.workflow.checking.graph import Constant, Graph, Source
from innkeeper.workflow.formats.payload import WorkflowPayload, payload_of
from node_fakes import FakeHost, workflow

Term = str | None
"""What a value is made of, written down; None: there is none."""


def term_host() -> FakeHost:
    host = FakeHost()
    host.add("Make", lambda i, c, r: {}, outputs={"out": "STRING"})
    host.add("Take", lambda i, c, r: {}, inputs={"text": "STRING"}, outputs={"out": "STRING"})
    host.add("Join", lambda i, c, r: {}, inputs={"text": {**TEXT, "multi": True}}, outputs={"out": "STRING"})
    return host


def made(kind: str, name: str, values: list[str]) -> str:
    return f"{kind}:{name}({','.join(values)})"


_SLOTS: dict[str, tuple[list[str], list[str]]] = {
    "t:Make": ([], ["out"]),
    "core:NodeGroup": (["text", "more"], ["result", "second"]),
}

# --- the reference: a group is a call -------------------------------------------------------------------------------


class Reading:
    """A workflow with the values of its interface inputs."""

    def __init__(self, payload: WorkflowPayload, workflows: Mapping[str, WorkflowPayload], given_: Mapping[str, str]):
        self.payload = payload
        self.workflows = workflows
        self.given = given_
        self.nodes = {node.id: node for node in payload.nodes}
        self.known: dict[tuple[str, str], Term] = {}

    def inputs(self, node: str, slot: str) -> list[str]:
        edges = [
            e for e in self.payload.edges if e.target_node_id == node and str(e.target_handle).split("__")[0] == slot
        ]
        edges.sort(
            key=lambda edge: int(str(edge.target_handle).split("__")[1]) if "__" in str(edge.target_handle) else 0
        )
        found = [self.output(edge.source_node_id, str(edge.source_handle)) for edge in edges]
        values = [value for value in found if value is not None]
        preset = self.nodes[node].inputs.get(slot)
        return values or ([preset] if preset is not None else [])

    def output(self, node: str, slot: str) -> Term:
        if (node, slot) not in self.known:
            self.known[node, slot] = self._output(node, slot)
        return self.known[node, slot]

    def _output(self, id_: str, slot: str) -> Term:
        node = self.nodes[id_]
        if node.full_type == "core:GroupInput":
            return self.given.get(slot)
        if node.bypassed:
            # Each output has the first input that is left.
            inputs, outputs = _SLOTS.get(node.full_type, (["text"], ["out"]))
            values = [value for key in inputs for value in self._first(id_, key)]
            at = outputs.index(slot)
            return values[at] if at < len(values) else ""
        if node.full_type == "core:NodeGroup":
            return self.group(id_).result(slot)
        return made(node.full_type, str(node.config_values.get("name")), self.inputs(id_, "text"))

    def _first(self, id_: str, key: str) -> list[str]:
        values = self.inputs(id_, key)[:1]
        if not values and self.nodes[id_].full_type == "core:NodeGroup":
            default = self._inner(id_).interface_inputs[key].config.get("default")
            values = [default] if default is not None else []
        return values

    def _inner(self, id_: str) -> WorkflowPayload:
        return self.workflows[self.nodes[id_].config_values["referencedWorkflowId"]]

    def group(self, id_: str) -> Reading:
        payload = self._inner(id_)
        values = {}
        for key, slot in payload.interface_inputs.items():
            found = self.inputs(id_, key) or [slot.config.get("default")]
            if found[0] is not None:
                values[key] = found[0]
        return Reading(payload, self.workflows, values)

    def result(self, key: str) -> Term:
        mapping = self.payload.output_interface_mappings.get(key)
        if mapping is not None:
            return self.output(mapping.source_node_id, mapping.source_slot_key)
        found = [node.id for node in self.payload.nodes if node.full_type == "core:GroupOutput"]
        values = self.inputs(found[0], key) if found else []
        return values[0] if values else None


# --- the graph ------------------------------------------------------------------------------------------------------


def terms(graph: Graph) -> dict[tuple[str, str], Term]:
    found: dict[tuple[str, str], Term] = {}
    for node in graph.nodes.values():
        values: dict[str, list[str]] = {}
        for key in node.inputs:
            origins = node.sources.get(key, [])
            each = [o.value if isinstance(o, Constant) else found.get((o.node, o.slot)) for o in origins]
            preset = node.presets.get(key, node.inputs[key].config.get("default"))
            values[key] = [value for value in each if value is not None] or ([preset] if preset is not None else [])
        if node.role == "bypassed":
            used: list[str] = []
            for slot, passed in node.bypass.items():
                key = next((key for key in passed.candidates if values[key] and key not in used), None)
                used += [key] if key is not None else []
                found[node.id, slot] = values[key][0] if key is not None else passed.empty
        elif node.role == "plugin":
            name = str(node.config.get("name"))
            found[node.id, "out"] = made(node.full_type, name, values.get("text", []))
    return found


def random_nodes(rng: random.Random, references: list[str], *, interface: bool) -> tuple[dict[str, Any], list[str]]:
    nodes: dict[str, Any] = {}
    edges: list[str] = []
    outputs = ["in.text", "in.more"] if interface else []
    for at in range(rng.randrange(0 if interface else 1, 6)):
        id_ = rng.choice((f"n{at}", f"g{at}/n0", f"g{at}"))
        kind = rng.choice(["Make", "Take", "Join", *(["group"] * 2 if references else [])])
        node = group(rng.choice(references)) if kind == "group" else {"type": kind, "configValues": {"name": f"{id_}"}}
        if rng.random() < 0.3 and kind in ("Take", "group"):
            node["inputs"] = {"text": f"preset {id_}"}
        if rng.random() < 0.2:
            node["bypassed"] = True
        nodes[id_] = node
        slots = {"Make": [], "Take": ["text"], "Join": ["text__0", "text__2", "text__1"], "group": ["text", "more"]}[
            kind
        ]
        edges += [f"{rng.choice(outputs)} -> {id_}.{slot}" for slot in slots if outputs and rng.random() < 0.7]
        outputs += [f"{id_}.result", f"{id_}.second"] if kind == "group" else [f"{id_}.out"]
    if interface and outputs:
        edges += [f"{rng.choice(outputs)} -> out.{slot}" for slot in ("result", "second") if rng.random() < 0.8]
    return nodes, edges


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10**9))
def test_a_graph_gives_what_its_workflow_gives_group_by_group(seed: int) -> None:
    rng = random.Random(seed)
    workflows: dict[str, dict[str, Any]] = {}
    for name in ("w2", "w1", "w0"):
        default = {"config": {"default": f"default of {name}"}} if rng.random() < 0.5 else {}
        nodes, edges = random_nodes(rng, list(workflows), interface=True)
        ends = {"inputs": {"text": {**TEXT, **default}, "more": TEXT}, "outputs": {"result": TEXT, "second": TEXT}}
        workflows[name] = inner(nodes, edges, **ends)
    nodes, edges = random_nodes(rng, list(workflows), interface=False)
    payload = workflow(nodes, edges)
    mappings = {}
    for at, node in enumerate(payload.nodes):
        slots = ["result", "second"] if node.full_type == "core:NodeGroup" else ["out"]
        mappings |= {f"{slot} {at}": {"sourceNodeId": node.id, "sourceSlotKey": slot} for slot in slots}
    payload = workflow(nodes, edges, outputInterfaceMappings=mappings)
    graph = check(payload, term_host(), **workflows)
    found = terms(graph)
    reading = Reading(payload, {name: payload_of(value) for name, value in workflows.items()}, {})
    for key in mappings:
        origin = graph.interface_outputs.get(key)
        value = (
            origin.value if isinstance(origin, Constant) else found.get((origin.node, origin.slot)) if origin else None
        )
        assert value == reading.result(key)
    assert all(
        isinstance(each, Source | Constant)
        for node in graph.nodes.values()
        for s in node.sources.values()
        for each in s
    )
