"""Streams in the check: where they begin, which nodes begin together, and which streams must be held meanwhile."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from group_samples import STREAM, TEXT, check, group, inner, problems, stream_host
from innkeeper.workflow.checking.graph import Graph, Source
from innkeeper.workflow.checking.problems import WorkflowError
from node_fakes import FakeHost, workflow


def streams(nodes: dict[str, Any], edges: list[str], **more: Any) -> Graph:
    return check(workflow(nodes, edges, **more), stream_host())


def test_a_stream_input_knows_where_its_stream_begins() -> None:
    graph = streams({"a": "Source", "b": "Relay", "c": "Sink"}, ["a.s -> b.s", "b.s -> c.s"])
    assert graph.nodes["b"].streams == {"s": Source("a", "s")}
    assert graph.nodes["c"].streams == {"s": Source("b", "s")}
    assert graph.nodes["c"].sources == {}
    assert graph.stream_groups == (("a", "b", "c"),)
    assert graph.late == frozenset()


def test_nodes_that_no_stream_connects_are_in_no_group() -> None:
    graph = streams(
        {"m": "Source", "a": "Source", "b": "Sink", "c": "Source", "d": "Sink"},
        ["m.done -> a.text", "a.s -> b.s", "c.s -> d.s"],
    )
    assert graph.stream_groups == (("a", "b"), ("c", "d"))


def test_a_stream_is_late_where_a_value_leads_from_its_producer_to_its_consumer() -> None:
    graph = streams({"a": "Source", "b": "Relay"}, ["a.s -> b.s", "a.done -> b.text"])
    assert graph.late == {("b", "s")}
    assert graph.stream_groups == ()


def test_a_stream_is_late_where_the_value_goes_through_a_node_that_a_stream_leads_to() -> None:
    edges = ["a.s -> c.s", "c.done -> x.text", "a.s -> x.s"]
    graph = streams({"a": "Source", "c": "Sink", "x": "Sink"}, edges)
    assert graph.late == {("x", "s")}
    assert graph.stream_groups == (("a", "c"),)


def test_a_stream_is_late_where_nodes_that_begin_together_would_wait_for_each_other() -> None:
    # a and b would begin with r; b's value is for p, whose stream is for q, which begins with a.
    edges = ["r.s -> a.s", "r.s -> b.s", "b.done -> p.text", "p.s -> q.s", "a.s -> q2.s", "q.done -> q2.text"]
    graph = streams({"r": "Source", "a": "Relay", "b": "Relay", "p": "Source", "q": "Sink", "q2": "Sink"}, edges)
    assert graph.late == {("q2", "s")}
    assert graph.stream_groups == (("r", "a", "b"), ("p", "q"))


def test_a_stream_passes_a_bypassed_node() -> None:
    graph = streams(
        {"a": "Source", "b": {"type": "Relay", "bypassed": True}, "c": "Sink"}, ["a.s -> b.s", "b.s -> c.s"]
    )
    assert graph.nodes["c"].streams == {"s": Source("a", "s")}
    assert graph.nodes["b"].streams == {}
    assert graph.stream_groups == (("a", "c"),)


def test_a_stream_that_a_bypassed_node_does_not_have_ends_at_once_also_where_it_is_required() -> None:
    graph = streams({"b": {"type": "Relay", "bypassed": True}, "c": "Sink"}, ["b.s -> c.s"])
    assert graph.nodes["c"].streams == {}


def test_a_muted_node_passes_no_stream_on() -> None:
    host = stream_host()
    for type_, behaviour in (("Mute", "mute"), ("Swap", {"passThrough": {"s": "t"}})):
        slots = {"s": STREAM, "t": STREAM}
        host.add(type_, lambda i, c, r: {}, inputs=slots, outputs=slots, bypassBehavior=behaviour)
    nodes = {"a": "Source", "b": "Source", "x": {"type": "Mute", "bypassed": True}, "c": "Sink"}
    edges = ["a.s -> x.s", "b.s -> x.t", "x.s -> c.s"]
    assert check(workflow(nodes, edges), host).nodes["c"].streams == {}
    nodes["x"] = {"type": "Swap", "bypassed": True}
    assert check(workflow(nodes, edges), host).nodes["c"].streams == {"s": Source("b", "s")}


def test_bypassed_nodes_give_each_stream_to_one_output() -> None:
    host = stream_host()
    two = {"s": STREAM, "t": STREAM}
    host.add("Two", lambda i, c, r: {}, inputs=two, outputs=two)
    graph = check(
        workflow(
            {"a": "Source", "x": {"type": "Two", "bypassed": True}, "c": "Sink", "d": "Sink"},
            ["a.s -> x.t", "x.s -> c.s", "x.t -> d.s"],
        ),
        host,
    )
    assert graph.nodes["c"].streams == {"s": Source("a", "s")}
    assert graph.nodes["d"].streams == {}


def test_an_interface_output_may_be_a_stream() -> None:
    graph = streams(
        {"a": "Source", "out": "core:GroupOutput"},
        ["a.s -> out.live"],
        interfaceOutputs={"live": STREAM},
        outputInterfaceMappings={"other": {"sourceNodeId": "a", "sourceSlotKey": "s"}},
    )
    assert graph.interface_streams == {"live": Source("a", "s"), "other": Source("a", "s")}
    assert graph.interface_outputs == {}


def test_the_legacy_type_is_a_stream_of_anything() -> None:
    host = stream_host()
    host.add("Old", lambda i, c, r: {}, inputs={"x": "STREAM"}, outputs={"y": "STREAM"})
    graph = check(workflow({"a": "Source", "o": "Old", "c": "Sink"}, ["a.s -> o.x", "o.y -> c.s"]), host)
    assert graph.stream_groups == (("a", "o", "c"),)


# --- what is wrong --------------------------------------------------------------------------------------------------


def test_a_stream_input_takes_one_stream_and_a_required_one_needs_it() -> None:
    host = stream_host()
    nodes = {"a": "Source", "b": "Source", "c": "Sink", "d": "Sink"}
    assert problems(workflow(nodes, ["a.s -> c.s", "b.s -> c.s"]), host) == [
        "node 'c' input 's': takes one stream, and 2 end there",
        "node 'd' input 's': the input is a stream and required: connect it",
    ]


def test_a_required_stream_that_comes_from_the_interface_is_named() -> None:
    nodes = {"in": "core:GroupInput", "c": "Sink"}
    (line,) = problems(workflow(nodes, ["in.s -> c.s"], interfaceInputs={"s": STREAM}), stream_host())
    assert line.startswith("node 'c' input 's': the input is a stream and required, and nothing flows into")
    through = inner({"c": "Sink"}, ["in.s -> c.s"], inputs={"s": STREAM}, outputs={})
    (line,) = problems(workflow({"g": group("through")}), stream_host(), through=through)
    assert line.startswith("workflow 'through' node 'c' input 's': ")


def test_streams_may_not_run_in_a_circle() -> None:
    edges = ["a.s -> b.s", "b.s -> a.s"]
    assert problems(workflow({"a": "Relay", "b": "Relay"}, edges), stream_host()) == [
        "the nodes form a cycle: 'a' -> 'b' -> 'a'"
    ]
    bypassed = {node: {"type": "Relay", "bypassed": True} for node in "ab"}
    lines = problems(workflow({**bypassed, "c": "Relay"}, [*edges, "a.s -> c.s"]), stream_host())
    assert lines == ["the nodes form a cycle: 'b' -> 'a' -> 'b'"]


def test_streams_and_the_nodes_that_they_connect_are_bounded() -> None:
    nodes = {"a": "Source", **{f"c{at}": "Sink" for at in range(256)}}
    edges = [f"a.s -> c{at}.s" for at in range(256)]
    assert problems(workflow(nodes, edges), stream_host()) == [
        "node 'a': streams connect 257 nodes, which all run at the same time; at most 256 may"
    ]
    nodes = {"a": "Source", **{f"c{at}": "Sink" for at in range(1001)}}
    (line,) = problems(workflow(nodes, [f"a.s -> c{at}.s" for at in range(1001)]), stream_host())
    assert "1,001 streams" in line


# --- against the definition -----------------------------------------------------------------------------------------


def _reachable(ways: Mapping[str, set[tuple[str, bool]]], first: str) -> set[tuple[str, bool]]:
    found = {(first, False)}
    ahead = [(first, False)]
    while ahead:
        node, value = ahead.pop()
        for target, is_value in ways.get(node, ()):
            state = (target, value or is_value)
            if state not in found:
                found.add(state)
                ahead.append(state)
    return found


def _all_begin(graph: Graph) -> bool:
    """Whether every node gets to begin: groups when the values of all their nodes are there, late streams held."""
    groups = [*graph.stream_groups, *((id_,) for id_ in graph.nodes if not any(id_ in g for g in graph.stream_groups))]
    ended: set[str] = set()
    progress = True
    while progress:
        progress = False
        for each in groups:
            if each[0] in ended:
                continue
            needs = {
                s.node for id_ in each for ss in graph.nodes[id_].sources.values() for s in ss if isinstance(s, Source)
            }
            if needs <= ended:
                ended |= set(each)
                progress = True
    return ended == set(graph.nodes)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10**9), st.integers(2, 9))
def test_no_group_waits_for_itself_and_only_streams_that_must_be_are_late(seed: int, count: int) -> None:
    rng = random.Random(seed)
    host = FakeHost()
    many = {**TEXT, "multi": True}
    inputs = {"s0": STREAM, "s1": STREAM, "v": many}
    host.add("N", lambda i, c, r: {}, inputs=inputs, outputs={"s": STREAM, "v": TEXT})
    edges = []
    for at in range(1, count):
        for key in ("s0", "s1"):
            if rng.random() < 0.6:
                edges.append(f"n{rng.randrange(at)}.s -> n{at}.{key}")
        edges += [f"n{rng.randrange(at)}.v -> n{at}.v" for _ in range(rng.choice((0, 0, 1, 2)))]
    graph = check(workflow({f"n{at}": "N" for at in range(count)}, edges), host)
    assert _all_begin(graph)
    ways: dict[str, set[tuple[str, bool]]] = {}
    for node in graph.nodes.values():
        for sources in node.sources.values():
            for source in sources:
                assert isinstance(source, Source)
                ways.setdefault(source.node, set()).add((node.id, True))
        for key, source in node.streams.items():
            ways.setdefault(source.node, set()).add((node.id, False))
            if (node.id, key) not in graph.late:
                ways.setdefault(node.id, set()).add((source.node, False))
    for node in graph.nodes.values():
        for key, source in node.streams.items():
            late = (node.id, True) in _reachable(ways, source.node)
            # One that is not late has no way with a value; one that is late has one.
            assert late == ((node.id, key) in graph.late)


@pytest.mark.parametrize("edges", [[], ["n0.s -> n1.s"]])
def test_a_graph_as_large_as_may_be_with_streams_checks(edges: list[str]) -> None:
    host = FakeHost()
    host.add(
        "N", lambda i, c, r: {}, inputs={"s": STREAM, "v": {**TEXT, "multi": True}}, outputs={"s": STREAM, "v": TEXT}
    )
    count = 2000
    edges = edges + [f"n{at - 1}.v -> n{at}.v" for at in range(2, count)]
    edges += [f"n{at - 7}.s -> n{at}.s" for at in range(7, 900)]
    try:
        graph = check(workflow({f"n{at}": "N" for at in range(count)}, edges), host)
    except WorkflowError as error:
        pytest.fail(error.message[:300])
    assert len(graph.late) > 800
