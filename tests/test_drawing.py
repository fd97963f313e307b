"""Pictures of workflows: whatever the file says, they are SVG without a script, and show where things are."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.workflow.checking.problems import Problem
from innkeeper.workflow.drawing.arranging import Picture, arranged
from innkeeper.workflow.drawing.draw import MOST_DRAWN, colour, draw, mark, too_many
from innkeeper.workflow.drawing.flat import flat
from innkeeper.workflow.drawing.layers import forward_edges, layers_of
from innkeeper.workflow.drawing.ordering import ordered
from innkeeper.workflow.drawing.placing import settled
from innkeeper.workflow.drawing.reading import sketch_of
from innkeeper.workflow.drawing.sketch import Sketch
from innkeeper.workflow.drawing.text import safe
from node_fakes import FakeHost

SVG = "{http://www.w3.org/2000/svg}"
HOST = FakeHost()
HOST.add("Up", lambda i, c, r: {}, inputs={"text": "STRING"}, outputs={"text": "STRING"})
HOST.add(
    "Join",
    lambda i, c, r: {},
    inputs={"texts": {"dataFlowType": "STRING", "multi": True}},
    outputs={"text": "STRING"},
)
HOSTILE = '</text><script>alert(1)</script>" onload="x" & \u202e \x1b[2J \ud800 \ufffe ]]>'


def define(full_type: str) -> NodeDefinition | None:
    try:
        return HOST.node(full_type)[1]
    except UsageError:
        return None


def sketched(value: Any, others: dict[str, Any] | None = None) -> Sketch:
    return sketch_of(value, define, (others or {}).get)


def parsed(svg: str) -> ET.Element:
    """The picture as whoever shows it reads it: XML of which nothing runs and nothing comes from elsewhere."""
    svg.encode()
    root = ET.fromstring(svg)
    for each in root.iter():
        assert each.tag.removeprefix(SVG) in {"svg", "style", "rect", "text", "g", "title", "path", "circle"}
        assert not [name for name in each.attrib if name.startswith("on") or "href" in name]
    return root


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in parsed(svg).iter(f"{SVG}text")]


def apart(picture: Picture) -> None:
    """No node covers another one, and all of them are in the picture."""
    boxes = picture.boxes
    for box in boxes:
        assert box.x >= 0
        assert box.y >= -0.01
        assert box.x + box.width <= picture.width + 0.01
        assert box.y + box.height <= picture.height + 0.01
    for one, other in ((a, b) for at, a in enumerate(boxes) for b in boxes[at + 1 :]):
        beside = one.x + one.width <= other.x or other.x + other.width <= one.x
        above = one.y + one.height <= other.y + 0.01 or other.y + other.height <= one.y + 0.01
        assert beside or above, (one.node.id, other.node.id)
    for inside in picture.insides.values():
        apart(inside)


def stored(nodes: dict[str, str | dict[str, Any]], edges: list[str], **more: Any) -> dict[str, Any]:
    """A workflow as an editor stores it: types by id, edges as "a.out -> b.in"."""
    made = []
    for at, edge in enumerate(edges):
        (source, out), (target, into) = (end.strip().split(".") for end in edge.split("->"))
        made.append({"id": f"e{at}", "source": source, "target": target, "sourceHandle": out, "targetHandle": into})
    full = {id: {"type": each} if isinstance(each, str) else each for id, each in nodes.items()}
    return {
        "nodes": [{"id": id, "position": {"x": 0, "y": 0}, **each} for id, each in full.items()],
        "edges": made,
    } | more


INNER = stored(
    {"in": "core:GroupInput", "work": "t:Join", "out": "core:GroupOutput"},
    ["in.text -> work.texts__0", "work.text -> out.made", "in.text -> out.same"],
    name="Inner",
    interfaceInputs={"text": {"dataFlowType": "STRING"}},
    interfaceOutputs={"made": {"dataFlowType": "STRING"}, "same": {"dataFlowType": "STRING"}},
)
GROUP = {"type": "core:NodeGroup", "configValues": {"referencedWorkflowId": "inner"}}


def ends(sketch: Sketch) -> set[tuple[str, str, str, str]]:
    return {
        (sketch.nodes[each.source].id, each.output, sketch.nodes[each.target].id, each.input) for each in sketch.edges
    }


def test_both_forms_of_a_workflow_make_the_same_picture() -> None:
    one = stored({"a": "t:Up", "b": "t:Join"}, ["a.text -> b.texts__1"])
    other = {
        "nodes": [{"id": "a", "fullType": "t:Up"}, {"id": "b", "fullType": "t:Join"}],
        "edges": [{"sourceNodeId": "a", "sourceHandle": "text", "targetNodeId": "b", "targetHandle": "texts"}],
    }
    assert draw(sketched(one), "w") == draw(sketched(other), "w")


def test_a_group_is_a_frame_around_its_nodes() -> None:
    picture = arranged(sketched(stored({"g": GROUP, "end": "t:Up"}, ["g.made -> end.text"]), {"inner": INNER}))
    apart(picture)
    frame, inside = picture.boxes[0], picture.insides[0]
    assert frame.title == "Inner (g)"
    assert [box.node.id for box in inside.boxes] == ["in", "work", "out"]
    assert inside.width < frame.width
    assert inside.height + frame.inside_y < frame.height


def test_edges_lead_through_the_groups_that_are_dissolved() -> None:
    whole = stored(
        {"a": "t:Up", "g": GROUP, "h": GROUP, "end": "t:Join"},
        ["a.text -> g.text", "g.same -> h.text", "h.made -> end.texts", "h.same -> end.texts"],
    )
    assert ends(flat(sketched(whole, {"inner": INNER}))) == {
        ("a", "text", "g/work", "texts"),
        ("a", "text", "h/work", "texts"),
        ("h/work", "text", "end", "texts"),
        ("a", "text", "end", "texts"),
    }


def test_a_workflow_that_refers_to_itself_is_drawn_once_inside_of_itself() -> None:
    loop = stored({"again": {"type": "core:NodeGroup", "configValues": {"referencedWorkflowId": "loop"}}}, [])
    made = sketched(loop, {"loop": loop})
    assert made.nodes[0].inside is not None
    assert [node.note for node in made.all_nodes()] == ["", "refers to itself"]


def test_groups_that_double_at_each_depth_end_at_the_bound_of_nodes() -> None:
    others = {
        f"w{at}": stored(
            {
                f"n{n}": {"type": "core:NodeGroup", "configValues": {"referencedWorkflowId": f"w{at + 1}"}}
                for n in range(9)
            },
            [],
        )
        for at in range(30)
    }
    made = sketched(others["w0"], others)
    assert sum(1 for _ in made.all_nodes()) <= 10_000
    assert any(node.note == "not drawn: too many nodes" for node in made.all_nodes())
    parsed(draw(made, "w"))


def test_groups_that_multiply_connections_at_each_depth_end_at_a_bound_that_is_told() -> None:
    others = {"w15": stored({"n": "t:Up", "out": "core:GroupOutput"}, ["n.text -> out.text"])}
    for at in range(15):
        inner = {"type": "core:NodeGroup", "configValues": {"referencedWorkflowId": f"w{at + 1}"}}
        others[f"w{at}"] = stored({"n": inner, "out": "core:GroupOutput"}, ["n.text -> out.text"] * 20)
    many: dict[str, str | dict[str, Any]] = {f"n{number}": "t:Up" for number in range(MOST_DRAWN)}
    made = sketched(stored({"g": {**GROUP, "configValues": {"referencedWorkflowId": "w0"}}, **many}, []), others)
    told = "its groups pass on more connections than can be followed: not all are drawn"
    assert flat(made).problems == [told]
    assert told in texts(draw(made, "w"))


def test_bypassed_and_unknown_nodes_look_so() -> None:
    value = stored(
        {"a": {"type": "t:Up", "bypassed": True}, "b": {"type": "t:Up", "data": {"bypassed": True}}, "c": "x:Nobody"},
        [],
    )
    made = sketched(value)
    assert [node.state for node in made.nodes] == ["bypassed", "bypassed", "unknown"]
    groups = [each.get("class", "").split() for each in parsed(draw(made, "w")).iter(f"{SVG}g")]
    assert sum("bypassed" in each for each in groups) == 2
    assert sum("unknown" in each for each in groups) == 1


def test_stream_edges_differ_from_value_edges() -> None:
    value = stored(
        {"in": "core:GroupInput", "x": "x:Nobody"},
        ["in.live -> x.flow", "in.text -> x.value"],
        interfaceInputs={"live": {"dataFlowType": "STREAM"}, "text": {"dataFlowType": "STRING"}},
    )
    kinds = [each.get("class") for each in parsed(draw(sketched(value), "w")).iter(f"{SVG}path")]
    assert sorted(kind for kind in kinds if kind and kind.startswith("edge")) == ["edge", "edge stream"]


def test_problems_are_marked_at_their_nodes_also_in_groups() -> None:
    made = sketched(stored({"g": GROUP}, []), {"inner": INNER})
    left = mark(made, [Problem("is odd", "work", "input 'texts'", "inner"), Problem("the workflow is", None)])
    assert [each.text for each in left] == ["the workflow is"]
    inside = made.nodes[0].inside
    assert inside is not None
    assert inside.nodes[1].problems == ["input 'texts': is odd"]
    assert "1" in texts(draw(made, "w"))


def test_what_became_of_nodes_in_a_run_is_shown_the_worst_of_all_turns() -> None:
    each = {"type": "innkeeper:ForEach", "configValues": {"referencedWorkflowId": "inner"}}
    made = sketched(stored({"a": "t:Up", "g": GROUP, "each": each}, []), {"inner": INNER})
    colour(
        made,
        {"a": "complete", "g/work": "skipped", "each": "error", "each[0]/work": "error", "each[1]/work": "complete"},
    )
    assert [node.became for node in made.nodes] == ["complete", "", "error"]
    insides = [node.inside.nodes[1].became for node in made.nodes if node.inside is not None]
    assert insides == ["skipped", "error"]
    classes = [each.get("class", "").split() for each in parsed(draw(made, "w")).iter(f"{SVG}g")]
    assert sum("became-error" in each for each in classes) == 2
    assert [node.became for node in flat(made).nodes] == ["complete", "skipped", "error"]


def test_a_cycle_is_drawn_with_an_edge_that_leads_back_below() -> None:
    value = stored({"a": "t:Join", "b": "t:Join"}, ["a.text -> b.texts", "b.text -> a.texts", "a.text -> a.texts"])
    picture = arranged(sketched(value))
    apart(picture)
    back = [curve.below for curve in picture.curves if curve.below is not None]
    assert len(back) == 2
    assert min(back) > max(box.y + box.height for box in picture.boxes)


def test_nodes_stand_where_the_editor_put_them() -> None:
    value = stored({"a": "t:Up", "b": "t:Up", "c": "t:Up"}, [])
    value["nodes"][0]["position"] = {"x": -50, "y": 900}
    value["nodes"][1]["position"] = {"x": 450, "y": 1000}
    value["nodes"][2]["position"] = {"x": "left", "y": True}
    a, b, c = arranged(sketched(value), editor=True).boxes
    assert (b.x - a.x, b.y - a.y) == (500, 100)
    assert c.y > b.y + b.height


@pytest.mark.parametrize("far", [1e300, 10**400, float("1e15")])
def test_positions_out_of_all_proportion_are_not_used(far: Any) -> None:
    value = stored({"a": "t:Up", "b": "t:Up"}, ["a.text -> b.text"])
    value["nodes"][0]["position"] = {"x": far, "y": 0}
    assert arranged(sketched(value), editor=True).width < 2000


def test_what_a_file_says_is_text_and_nothing_else() -> None:
    value = stored({HOSTILE.replace(".", ""): {"type": HOSTILE, "displayName": HOSTILE}}, [], name=HOSTILE)
    value["nodes"][0]["configValues"] = {"referencedWorkflowId": HOSTILE}
    svg = draw(sketched(value), HOSTILE, [HOSTILE])
    parsed(svg)
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert "\u202e" not in svg


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
IDS = st.sampled_from(["a", "b", "c", "d", "é\u202e", "<b>"]) | ANYTHING
NODES = st.fixed_dictionaries(
    {"id": IDS},
    optional={
        "type": st.sampled_from(["t:Up", "t:Join", "core:NodeGroup", "innkeeper:ForEach", "innkeeper:If", "x:No"])
        | ANYTHING,
        "fullType": st.sampled_from(["core:GroupInput", "core:GroupOutput"]) | ANYTHING,
        "position": st.fixed_dictionaries({"x": st.floats() | ANYTHING, "y": st.floats() | ANYTHING}) | ANYTHING,
        "configValues": st.fixed_dictionaries({"referencedWorkflowId": IDS}) | ANYTHING,
        "data": ANYTHING,
        "bypassed": ANYTHING,
    },
)
EDGES = st.fixed_dictionaries(
    {"source": IDS, "target": IDS}, optional={"sourceHandle": IDS, "targetHandle": IDS, "sourceNodeId": ANYTHING}
)
WORKFLOWS = st.fixed_dictionaries(
    {"nodes": st.lists(NODES, max_size=8), "edges": st.lists(EDGES | ANYTHING, max_size=12)},
    optional={
        "name": ANYTHING,
        "interfaceInputs": ANYTHING,
        "outputInterfaceMappings": st.dictionaries(st.text(max_size=4), ANYTHING, max_size=3) | ANYTHING,
        "innkeeper": ANYTHING,
    },
)


@settings(max_examples=150, deadline=None)
@given(value=WORKFLOWS | ANYTHING, other=WORKFLOWS, editor=st.booleans(), dissolve=st.booleans())
def test_whatever_a_file_says_a_picture_comes_of_it(value: Any, other: Any, editor: bool, dissolve: bool) -> None:
    made = sketched(value, {"a": other, "b": other})
    if dissolve:
        made = flat(made)
    if not editor:
        apart(arranged(made))
    parsed(draw(made, "any", ["a problem"], editor=editor))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 25).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_edges_lead_forward_but_those_that_close_a_cycle(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    forward = forward_edges(count, edges)
    layer = layers_of(count, forward)
    assert all(layer[source] < layer[target] for source, target in forward)
    assert set(forward) <= set(edges)
    # What was left out would close a cycle with what was kept.
    reach = {node: {node} for node in range(count)}
    for node in sorted(range(count), key=layer.__getitem__, reverse=True):
        for source, target in forward:
            if source == node:
                reach[node] |= reach[target]
    assert all(source in reach[target] for source, target in set(edges) - set(forward))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(1, 100), st.floats(0.1, 10)), min_size=1, max_size=30))
def test_boxes_of_a_layer_do_not_overlap_and_stay_where_they_can(boxes: list[tuple[float, float, float]]) -> None:
    wanted, sizes, weights = zip(*boxes, strict=True)
    tops = settled(wanted, sizes, weights)
    for (top, size), (below, _) in pairwise(zip(tops, sizes, strict=True)):
        assert below >= top + size - 1e-6
    if all(b >= a + size for (a, size, _), (b, _, _) in pairwise(boxes)):
        assert tops == pytest.approx(wanted)


def test_crossings_that_need_not_be_are_gone() -> None:
    # Two bundles that cross as the file has them.
    layers = [[0, 1, 2, 3], [4, 5, 6, 7]]
    pieces = [(0, 0.5, 7, 0.5), (1, 0.5, 6, 0.5), (2, 0.5, 5, 0.5), (3, 0.5, 4, 0.5)]
    first, second = ordered(layers, pieces)
    rank = {node: place for place, node in enumerate(second)}
    assert [rank[each] for each in (7, 6, 5, 4)] == [first.index(each) for each in (0, 1, 2, 3)]


@pytest.mark.parametrize("shape", ["chain", "fan", "random"])
def test_ten_thousand_nodes_become_levels(shape: str) -> None:
    count, chance = 10_000, random.Random(7)
    pairs = {
        "chain": [(at, at + 1) for at in range(count - 1)],
        "fan": [(0, at) for at in range(1, count)],
        "random": [(chance.randrange(count), chance.randrange(count)) for _ in range(100_000)],
    }[shape]
    value = {
        "nodes": [{"id": f"n{at}", "fullType": "t:Join"} for at in range(count)],
        "edges": [
            {"sourceNodeId": f"n{a}", "sourceHandle": "text", "targetNodeId": f"n{b}", "targetHandle": "texts"}
            for a, b in pairs
        ],
    }
    made = sketched(value)
    assert too_many(made)
    svg = draw(made, "large")
    assert len(svg) < 100_000
    shown = texts(svg)
    levels = {"chain": "10,000 levels", "fan": "2 levels", "random": ""}[shape]
    assert f"10,000 nodes at {levels}" in shown[1]


def test_the_largest_picture_that_shows_each_node_is_bounded() -> None:
    chance = random.Random(3)
    pairs = [sorted(chance.sample(range(MOST_DRAWN), 2)) for _ in range(3000)]
    value = stored({f"n{at}": "t:Join" for at in range(MOST_DRAWN)}, [f"n{a}.text -> n{b}.texts" for a, b in pairs])
    made = sketched(value)
    assert not too_many(made)
    picture = arranged(made)
    apart(picture)
    assert len(picture.curves) == 3000
    assert len(draw(made, "dense")) < 3_000_000


def test_long_text_is_cut_by_the_columns_that_it_takes() -> None:
    assert safe("abcdef", 6) == "abcdef"
    assert safe("abcdefg", 6) == "abcde…"
    assert safe("整理整理", 6) == "整理…"
    assert len(safe("x" * 10**6, 10)) == 10
