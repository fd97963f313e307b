"""Groups vanish into the workflow that has them: nothing is left of them but the ids of their nodes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from group_samples import PASS, STREAM, TEXT, UPPER, check, group, inner, loop, problems, stream_host
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.graph import Constant, Passed, Source
from innkeeper.workflow.checking.problems import WorkflowError
from innkeeper.workflow.formats.parts import MAX_NODES
from node_fakes import text_host, workflow


def test_the_nodes_of_a_group_stand_in_its_place() -> None:
    graph = check(
        workflow({"m": "Make", "g": group("w"), "u": "Upper"}, ["m.text -> g.text", "g.result -> u.text"]), w=UPPER
    )
    assert list(graph.nodes) == ["m", "g/u", "u"]
    assert graph.nodes["g/u"].sources == {"text": [Source("m", "text")]}
    assert graph.nodes["u"].sources == {"text": [Source("g/u", "out")]}
    assert graph.nodes["g/u"].node.id == "g/u"


def test_two_groups_of_one_workflow_have_nodes_of_their_own() -> None:
    graph = check(
        workflow({"m": "Make", "a": group("w"), "b": group("w")}, ["m.text -> a.text", "a.result -> b.text"]), w=UPPER
    )
    assert graph.nodes["b/u"].sources == {"text": [Source("a/u", "out")]}
    assert graph.nodes["a/u"].sources == {"text": [Source("m", "text")]}


def test_all_edges_behind_an_input_and_an_output_of_a_group_count() -> None:
    fan = inner(
        {"u": "Upper", "v": "Upper"},
        ["in.text -> u.text", "in.text -> v.text", "u.out -> out.result"],
        inputs={"text": TEXT},
        outputs={"result": TEXT},
    )
    graph = check(
        workflow(
            {"m": "Make", "g": group("fan"), "x": "Upper", "y": "Upper"},
            ["m.text -> g.text", "g.result -> x.text", "g.result -> y.text"],
        ),
        fan=fan,
    )
    assert graph.nodes["g/u"].sources == graph.nodes["g/v"].sources == {"text": [Source("m", "text")]}
    assert graph.nodes["x"].sources == graph.nodes["y"].sources == {"text": [Source("g/u", "out")]}


def test_a_group_in_a_group_and_one_that_passes_through_are_resolved() -> None:
    outer = inner(
        {"g": group("w"), "p": group("p")},
        ["in.text -> p.text", "p.result -> g.text", "g.result -> out.result"],
        inputs={"text": TEXT},
        outputs={"result": TEXT},
    )
    graph = check(
        workflow({"m": "Make", "o": group("outer"), "u": "Upper"}, ["m.text -> o.text", "o.result -> u.text"]),
        outer=outer,
        w=UPPER,
        p=PASS,
    )
    assert list(graph.nodes) == ["m", "o/g/u", "u"]
    assert graph.nodes["o/g/u"].sources == {"text": [Source("m", "text")]}
    assert graph.nodes["u"].sources == {"text": [Source("o/g/u", "out")]}


@pytest.mark.parametrize(
    ("preset", "default", "value"),
    [("p", "d", "p"), ("p", None, "p"), (None, "d", "d"), (None, None, None)],
)
def test_an_input_of_a_group_has_its_preset_else_the_default_of_the_interface(
    preset: str | None, default: str | None, value: str | None
) -> None:
    slot = {**TEXT, "config": {"default": default}} if default is not None else TEXT
    free = inner({"j": "Join"}, ["in.text -> j.separator"], inputs={"text": slot}, outputs={})
    free["nodes"][1]["inputs"] = {"parts": ["x"]}
    presets = {"text": preset} if preset is not None else {}
    graph = check(workflow({"g": group("free", inputs=presets)}), free=free)
    sources = graph.nodes["g/j"].sources
    assert sources == ({"separator": [Constant(value, "STRING")]} if value is not None else {})


def test_an_edge_into_a_group_goes_before_its_preset() -> None:
    graph = check(workflow({"m": "Make", "g": group("w", inputs={"text": "p"})}, ["m.text -> g.text"]), w=UPPER)
    assert graph.nodes["g/u"].sources == {"text": [Source("m", "text")]}


def test_a_preset_passes_through_a_group_to_the_interface() -> None:
    graph = check(
        workflow(
            {"g": group("p", inputs={"text": "x"})},
            outputInterfaceMappings={"o": {"sourceNodeId": "g", "sourceSlotKey": "result"}},
        ),
        p=PASS,
    )
    assert graph.interface_outputs == {"o": Constant("x", "STRING")}


def test_several_edges_into_an_input_of_a_group_keep_their_order() -> None:
    multi = {**TEXT, "multi": True}
    joins = inner({"j": "Join"}, ["in.parts -> j.parts__0"], inputs={"parts": multi}, outputs={})
    nodes: dict[str, Any] = {
        **dict.fromkeys("abc", "Make"),
        "g": {**group("joins"), "inputConnectionOrders": {"parts": ["e2", "e0", "e1"]}},
    }
    graph = check(workflow(nodes, [f"{node}.text -> g.parts" for node in "abc"]), joins=joins)
    assert [each.node for each in graph.nodes["g/j"].sources["parts"] if isinstance(each, Source)] == ["c", "a", "b"]


def test_several_values_do_not_reach_an_input_for_one_through_a_group() -> None:
    wide = inner({"u": "Upper"}, ["in.parts -> u.text"], inputs={"parts": {**TEXT, "multi": True}}, outputs={})
    payload = workflow({"m": "Make", "g": group("wide")}, ["m.text -> g.parts__0", "m.text -> g.parts__1"])
    assert problems(payload, wide=wide) == [
        "workflow 'wide' node 'u' input 'text': takes one value, and 2 reach it through a group"
    ]


def test_streams_flow_through_groups() -> None:
    through = inner({"r": "Relay"}, ["in.s -> r.s", "r.s -> out.s"], inputs={"s": STREAM}, outputs={"s": STREAM})
    graph = check(
        workflow({"a": "Source", "g": group("through"), "z": "Sink"}, ["a.s -> g.s", "g.s -> z.s"]),
        stream_host(),
        through=through,
    )
    assert graph.nodes["g/r"].streams == {"s": Source("a", "s")}
    assert graph.nodes["z"].streams == {"s": Source("g/r", "s")}
    assert graph.stream_groups == (("a", "g/r", "z"),)


def test_a_bypassed_group_is_one_node_with_the_slots_of_its_interface() -> None:
    graph = check(
        workflow(
            {"m": "Make", "g": group("w", bypassed=True), "u": "Upper"}, ["m.text -> g.text", "g.result -> u.text"]
        ),
        w=UPPER,
    )
    assert list(graph.nodes) == ["m", "g", "u"]
    assert graph.nodes["g"].role == "bypassed"
    assert graph.nodes["g"].bypass == {"result": Passed(("text",), "")}
    assert graph.nodes["u"].sources == {"text": [Source("g", "result")]}


def test_ids_stay_apart_whatever_an_author_calls_his_nodes() -> None:
    outer = inner({"b": group("w"), "b/u": "Make"}, ["in.text -> b.text"], inputs={"text": TEXT}, outputs={})
    graph = check(
        workflow(
            {"a": group("outer", inputs={"text": "1"}), "a/b/u": "Make", "a/b": group("w", inputs={"text": "2"})},
        ),
        outer=outer,
        w=UPPER,
    )
    assert len(graph.nodes) == 4
    assert graph.nodes["a/b/u"].full_type == "t:Make"
    assert all(node.node.id == id_ for id_, node in graph.nodes.items())
    origins = [each for node in graph.nodes.values() for sources in node.sources.values() for each in sources]
    assert {each.value for each in origins if isinstance(each, Constant)} == {"1", "2"}


def test_a_workflow_brings_the_workflows_of_its_groups() -> None:
    payload = workflow({"g": group("w", inputs={"text": "x"})}, innkeeper={"workflows": {"w": UPPER}})
    assert list(check_workflow(payload, text_host()).nodes) == ["g/u"]


def test_an_edge_without_handles_means_the_only_slots_that_there_are() -> None:
    payload = workflow({"a": "Upper", "b": "Upper"}, ["a.out -> b.text"])
    payload.nodes[0].inputs = {"text": "x"}
    payload.edges[0].source_handle = payload.edges[0].target_handle = None
    assert check(payload).nodes["b"].sources == {"text": [Source("a", "out")]}
    payload = workflow({"m": "Make", "b": "Join"}, ["m.text -> b.parts"])
    payload.edges[0].source_handle = payload.edges[0].target_handle = None
    assert problems(payload)[:2] == [
        "node 'm': an edge names no output of it, and it has 4",
        "node 'b': an edge names no input of it, and it has 2",
    ]


# --- what is wrong --------------------------------------------------------------------------------------------------


def test_a_fault_in_a_group_is_said_once_with_the_workflow_and_the_id_there() -> None:
    bad = inner({"u": "Uper", "v": "Upper"}, ["in.text -> v.txt"], inputs={"text": TEXT}, outputs={})
    with pytest.raises(WorkflowError) as caught:
        check(workflow({"a": group("bad"), "b": group("bad")}), bad=bad)
    assert caught.value.message.splitlines() == [
        "workflow 'bad' node 'u': no plugin has the node type 't:Uper'",
        "workflow 'bad' node 'v' input 'txt': no such input; did you mean 'text'?",
        "workflow 'bad' node 'v' input 'text': the input is required: connect it or give it a value",
    ]
    assert caught.value.problems[0].workflow == "bad"


def test_a_required_input_that_a_groups_open_input_feeds_is_named() -> None:
    assert problems(workflow({"g": group("w")}), w=UPPER) == [
        "workflow 'w' node 'u' input 'text': the input is required, and nothing is connected to the group's input that "
        "it comes from"
    ]
    needs = inner({"u": "Upper"}, ["in.text -> u.text"], inputs={"text": {**TEXT, "required": True}}, outputs={})
    assert problems(workflow({"g": group("needs")}), needs=needs)[-1] == (
        "node 'g' input 'text': the input is required: connect it or give it a value"
    )


def test_slots_and_presets_of_a_group_are_those_of_its_workflows_interface() -> None:
    payload = workflow(
        {"m": "Make", "g": group("w", inputs={"text": 7, "txt": "x"}), "u": "Upper"},
        ["m.list -> g.text", "m.text -> g.nothing", "g.rsult -> u.text"],
    )
    assert problems(payload, w=UPPER)[:5] == [
        "node 'g' input 'text': the slot is STRING and takes text, not a number",
        "node 'g' input 'txt': there is no such input; did you mean 'text'?",
        "node 'g' input 'text': takes STRING, and output 'list' of node 'm' gives ARRAY",
        "node 'g' input 'nothing': no such input; it has: text",
        "node 'g' output 'rsult': no such output; did you mean 'result'?",
    ]


def test_a_workflow_that_does_not_exist_or_cannot_be_read_is_named_at_the_group() -> None:
    place = "node 'g' configuration 'referencedWorkflowId'"
    assert problems(workflow({"g": group("gone")})) == [
        f"{place}: there is no workflow with the id 'gone', in innkeeper.workflows or in a file beside this one"
    ]
    assert problems(workflow({"g": group("")})) == [f"{place}: this is no id of a workflow"]
    assert problems(workflow({"g": group("bad"), "h": group("bad")}), bad={"nodes": 7}) == [
        "workflow 'bad': the workflow's nodes: this must be an array",
        "workflow 'bad': the workflow's edges: this field is missing",
        f"{place}: the workflow 'bad' cannot be used",
        "node 'h' configuration 'referencedWorkflowId': the workflow 'bad' cannot be used",
    ]


def test_workflows_that_refer_to_each_other_are_named_in_a_circle() -> None:
    a, b = inner({"g": group("b")}), inner({"f": loop("While", "a")})
    place = "configuration 'referencedWorkflowId': the workflows refer to each other:"
    assert problems(workflow({"x": group("a")}), a=a, b=b)[0] == f"workflow 'b' node 'f' {place} 'a' -> 'b' -> 'a'"
    assert problems(workflow({"x": group("me")}, workflowId="me")) == [f"node 'x' {place} 'me' -> 'me'"]


def test_groups_may_be_sixteen_deep() -> None:
    def chain(depth: int) -> dict[str, Any]:
        return {f"w{at}": inner({"g": group(f"w{at + 1}")}) for at in range(depth - 1)} | {
            f"w{depth - 1}": inner({"m": "Make"})
        }

    assert list(check(workflow({"g": group("w0")}), **chain(16)).nodes) == ["/".join(["g"] * 16) + "/m"]
    assert problems(workflow({"g": group("w0")}), **chain(17)) == [
        "workflow 'w15' node 'g' configuration 'referencedWorkflowId': workflows may be 16 deep within each other"
    ]


@pytest.mark.parametrize("wide", [2, 100])
def test_groups_that_would_make_very_many_nodes_are_refused_before_any_is_made(
    wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr("innkeeper.workflow.checking.graphs._Making.graph", lambda self: made.append("graph"))
    workflows = {f"w{at}": inner({f"g{n}": group(f"w{at + 1}") for n in range(wide)}) for at in range(15)}
    workflows["w15"] = inner({"m": "Make"})
    (line,) = problems(workflow({"g": group("w0")}), **workflows)
    assert line.startswith("with its groups and loops put in the workflow has ")
    assert f"at most {MAX_NODES:,}" in line
    assert len(line) < 300
    assert made == []


def test_values_that_groups_multiply_are_followed_within_a_bound() -> None:
    many = {**TEXT, "multi": True}
    edges = [f"in.parts -> g.parts__{n}" for n in range(40)]
    workflows = {
        f"w{at}": inner({"g": group(f"w{at + 1}")}, edges, inputs={"parts": many}, outputs={}) for at in range(14)
    }
    workflows["w14"] = inner({"j": "Join"}, ["in.parts -> j.parts"], inputs={"parts": many}, outputs={})
    lines = problems(workflow({"m": "Make", "g": group("w0")}, ["m.text -> g.parts"]), **workflows)
    assert "its groups pass on more connections and values than can be followed" in lines


def test_a_circle_that_only_groups_form_is_a_cycle() -> None:
    payload = workflow({"a": group("p"), "b": group("p")}, ["a.result -> b.text", "b.result -> a.text"])
    payload.output_interface_mappings.update(
        workflow(
            {}, outputInterfaceMappings={"o": {"sourceNodeId": "a", "sourceSlotKey": "result"}}
        ).output_interface_mappings
    )
    (line,) = problems(payload, p=PASS)
    assert line.startswith("the nodes form a cycle: ")
    assert "'a'" in line
    assert "'b'" in line


def test_a_circle_through_a_group_is_a_cycle_of_its_nodes() -> None:
    payload = workflow({"a": group("w"), "b": "Upper"}, ["a.result -> b.text", "b.out -> a.text"])
    assert problems(payload, w=UPPER) == ["the nodes form a cycle: 'a/u' -> 'b' -> 'a/u'"]


def test_groups_that_pass_through_may_be_as_many_as_a_workflow_has_nodes() -> None:
    count = 3000
    nodes: dict[str, Any] = {"m": "Make", **{f"g{at}": group("p") for at in range(count)}, "u": "Upper"}
    edges = ["m.text -> g0.text", *(f"g{at}.result -> g{at + 1}.text" for at in range(count - 1))]
    graph = check(workflow(nodes, [*edges, f"g{count - 1}.result -> u.text"]), p=PASS)
    assert graph.nodes["u"].sources == {"text": [Source("m", "text")]}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_whatever_groups_refer_to_the_graph_is_sound_or_the_answer_is_a_list_of_problems(data: st.DataObject) -> None:
    names = ["a", "b", "c", "a/b", "a/b/c", "a~2"]
    kinds = st.sampled_from(["Make", "Upper", "w0", "w1", "w2", "Each"])

    def made(interface: bool) -> Any:
        chosen = data.draw(st.dictionaries(st.sampled_from(names), kinds, max_size=4))
        nodes: dict[str, Any] = {}
        for name, kind in chosen.items():
            bypassed = data.draw(st.booleans()) and data.draw(st.booleans())
            if kind == "Each":
                nodes[name] = loop("ForEach", "w2", inputs={"items": [1]}, bypassed=bypassed)
            elif kind.startswith("w"):
                nodes[name] = group(kind, bypassed=bypassed)
            else:
                nodes[name] = {"type": kind, "bypassed": bypassed}
        ends = [*chosen, *(["in", "out"] if interface else [])]
        edges = []
        for _ in range(data.draw(st.integers(0, 5)) if ends else 0):
            source, target = data.draw(st.sampled_from(ends)), data.draw(st.sampled_from(ends))
            kind, other = chosen.get(source), chosen.get(target)
            output = "text" if kind in (None, "Make") else "out" if kind == "Upper" else "result"
            edges.append(f"{source}.{output} -> {target}.{'result' if other is None else 'text'}")
        if interface:
            return inner(nodes, edges, inputs={"text": TEXT}, outputs={"result": TEXT})
        return workflow(nodes, edges)

    payload = made(False)
    try:
        graph = check(payload, **{f"w{at}": made(True) for at in range(3)})
    except WorkflowError:
        return
    place = {id_: at for at, id_ in enumerate(graph.nodes)}
    for id_, node in graph.nodes.items():
        assert node.node.id == id_
        assert node.full_type != "core:NodeGroup" or node.role == "bypassed"
        for sources in node.sources.values():
            for source in sources:
                if isinstance(source, Source):
                    assert place[source.node] < place[id_]
                    assert source.slot in graph.nodes[source.node].outputs
    assert {node.id for node in payload.nodes if node.full_type.startswith("t:")} <= set(graph.nodes)
