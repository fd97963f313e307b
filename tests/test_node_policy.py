"""The policy of a node: read strictly, every fault by node and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from group_samples import check, group, problems, stream_host
from innkeeper.workflow.checking.graph import ERROR_OUTPUT, Source
from innkeeper.workflow.formats import schema
from innkeeper.workflow.formats.policy import NodePolicy, Retry
from innkeeper.workflow.formats.reading import written
from node_fakes import FakeHost, workflow

ROOT = Path(__file__).parents[1]


def node(policy: Any, type_: str = "Make", **more: Any) -> dict[str, Any]:
    return {"type": type_, "configValues": {"innkeeper": policy}, **more}


def test_a_policy_is_read_with_the_names_of_the_wire() -> None:
    given_ = {
        "retry": {"tries": 3, "delay": 1, "factor": 1.5, "mostDelay": 9, "kinds": ["guest", "busy"]},
        "timeout": 2,
        "errorOutput": True,
        "afterCrash": "again",
    }
    graph = check(workflow({"a": node(given_)}))
    assert graph.nodes["a"].policy == NodePolicy(
        retry=Retry(tries=3, delay=1, factor=1.5, most_delay=9, kinds=("guest", "busy")),
        timeout=2,
        error_output=True,
        after_crash="again",
    )


@pytest.mark.parametrize("none", [None, {}])
def test_a_node_without_a_policy_has_that_which_wants_nothing(none: Any) -> None:
    assert check(workflow({"a": node(none), "b": "Make"})).nodes["a"].policy == NodePolicy()


def test_a_plugin_does_not_get_the_policy_and_a_payload_keeps_it() -> None:
    payload = workflow({"a": node({"timeout": 5})})
    assert "innkeeper" not in check(payload).nodes["a"].config
    assert written(payload)["nodes"][0]["configValues"] == {"innkeeper": {"timeout": 5}}


def test_the_output_for_errors_is_an_output_of_the_node() -> None:
    host = FakeHost()
    host.add("See", lambda i, c, r: {}, inputs={"error": "OBJECT"})
    host.add("Make", lambda i, c, r: {}, outputs={"x": "STRING"})
    graph = check(workflow({"a": node({"errorOutput": True}), "s": "See"}, [f"a.{ERROR_OUTPUT} -> s.error"]), host)
    assert graph.nodes["a"].outputs[ERROR_OUTPUT].data_flow_type == "OBJECT"
    assert graph.nodes["s"].sources == {"error": [Source("a", ERROR_OUTPUT)]}
    lines = problems(workflow({"a": "Make", "s": "See"}, [f"a.{ERROR_OUTPUT} -> s.error"]), host)
    assert lines == [f"node 'a' output '{ERROR_OUTPUT}': no such output; it has: x"]


def test_a_node_with_an_output_of_that_name_cannot_have_the_one_for_errors() -> None:
    host = FakeHost()
    host.add("Own", lambda i, c, r: {}, outputs={ERROR_OUTPUT: "STRING"})
    (line,) = problems(workflow({"a": node({"errorOutput": True}, "Own")}), host)
    assert line.startswith("node 'a' configuration 'innkeeper.errorOutput': the node has an output 'innkeeperError'")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("again", "'innkeeper': this must be an object"),
        ([], "'innkeeper': this must be an object"),
        ({"Retry": 1}, "'innkeeper.Retry': there is no such field"),
        ({"error_output": True}, "'innkeeper.error_output': there is no such field"),
        ({"errorOutput": 1}, "'innkeeper.errorOutput': this must be true or false"),
        ({"timeout": 0}, "'innkeeper.timeout': input should be greater than 0"),
        ({"timeout": 3601}, "'innkeeper.timeout': input should be less than or equal to 3600"),
        ({"timeout": "5"}, "'innkeeper.timeout': input should be a valid number"),
        ({"retry": {}}, "'innkeeper.retry.tries': this field is missing"),
        ({"retry": {"tries": 1}}, "'innkeeper.retry.tries': input should be greater than or equal to 2"),
        ({"retry": {"tries": 10**18}}, "'innkeeper.retry.tries': input should be less than or equal to 10"),
        ({"retry": {"tries": 2, "kinds": ["usage"]}}, "'innkeeper.retry.kinds[0]': input should be"),
        ({"retry": {"tries": 2, "kinds": []}}, "'innkeeper.retry.kinds': tuple should have at least 1 item"),
        ({"retry": {"tries": 2, "kinds": ["busy"] * 5}}, "'innkeeper.retry.kinds': tuple should have at most 4 items"),
        ({"afterCrash": "always"}, "'innkeeper.afterCrash': input should be 'never' or 'again'"),
    ],
)
def test_every_fault_is_named_by_node_and_field(policy: Any, words: str) -> None:
    # Of a list whose elements are wrong, its length is, too.
    line, *more = problems(workflow({"a": node(policy)}))
    assert line.startswith(f"node 'a' configuration {words}")
    assert len(more) == ("kinds[0]" in words)


def test_all_faults_of_a_policy_are_said_at_once_and_very_many_are_counted() -> None:
    assert (
        len(problems(workflow({"a": node({"retry": {"tries": 1, "delay": 0}, "timeout": "x", "afterCrash": 7})}))) == 4
    )
    lines = problems(workflow({"a": node({f"field{at}": 1 for at in range(500)})}))
    assert len(lines) == 21
    assert lines[-1] == "node 'a' configuration 'innkeeper': and 480 more problems with it"


def test_a_node_with_streams_cannot_be_called_again() -> None:
    assert problems(workflow({"a": node({"retry": {"tries": 2}}, "Source")}), stream_host()) == [
        "node 'a' configuration 'innkeeper.retry': a node with streams cannot be called again"
    ]


@pytest.mark.parametrize("type_", ["core:GroupInput", "core:GroupOutput", "innkeeper:If", "innkeeper:Merge"])
def test_the_engines_own_nodes_take_no_policy_of_calls(type_: str) -> None:
    given_ = {"retry": {"tries": 2}, "timeout": 5, "afterCrash": "again"}
    lines = problems(workflow({"a": node(given_, type_, inputs={})}))
    assert lines[:3] == [f"node 'a' configuration 'innkeeper.{field}': {type_} takes no {field}" for field in given_]


def test_a_group_has_no_policy() -> None:
    empty = {"nodes": [{"id": "m", "fullType": "t:Make"}], "edges": []}
    given_ = group("w")
    given_["configValues"]["innkeeper"] = {"timeout": 5}
    assert problems(workflow({"g": given_}), w=empty) == [
        "node 'g' configuration 'innkeeper.timeout': core:NodeGroup takes no timeout: give it to the nodes of the group"
    ]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["retry", "timeout", "errorOutput", "afterCrash", "tries", "delay", "kinds", "mostDelay"])


@given(
    st.dictionaries(fields, st.dictionaries(fields, json_values, max_size=3) | json_values, max_size=4) | json_values
)
def test_whatever_is_written_it_is_a_policy_or_a_list_of_faults(value: Any) -> None:
    payload = workflow({"a": node(value)})
    lines = problems(payload)
    assert all(line.startswith("node 'a' configuration 'innkeeper") for line in lines)
    assert all(line.isprintable() for line in lines)
    if not lines and value is not None:
        assert check(payload).nodes["a"].policy.model_dump(by_alias=True, exclude_unset=True, mode="json") == value


def test_the_schema_in_the_docs_is_that_of_the_model() -> None:
    for name, text in schema.files().items():
        assert (ROOT / "docs" / "schemas" / name).read_text(encoding="utf-8") == text, (
            "run: python -m innkeeper.workflow.formats.schema"
        )


def test_the_schema_says_what_each_field_means() -> None:
    found = schema.policy_schema()
    for part in (found, *found["$defs"].values()):
        assert all(each.get("description") for each in part["properties"].values())
    assert json.loads(json.dumps(found))["additionalProperties"] is False


def test_a_policy_made_here_takes_the_names_of_python() -> None:
    assert NodePolicy(error_output=True).error_output
    with pytest.raises(ValidationError):
        NodePolicy.model_validate({"nothing": 1})
