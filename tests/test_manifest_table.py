"""A manifest that was read from another notation than TOML is held to the same rules, whatever its values are."""

from __future__ import annotations

import datetime
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.plugins.manifest import Manifest, parse_manifest
from innkeeper.plugins.manifest_table import parse_manifest_table
from innkeeper.plugins.tables import TableError

TEXT = """id = "demo"
version = "1.0"
capabilities = [{name = "kv", reason = "Notes"}]

[limits]
memory = "2MiB"

[[nodes]]
type = "Shout"
function = "shout"
icon = "x"

[nodes.inputs.text]
dataFlowType = "STRING"
"""


def problems(table: dict[Any, Any]) -> list[str]:
    with pytest.raises(TableError) as caught:
        parse_manifest_table(table, where="plugin.json", exports=["shout"])
    return caught.value.problems


def parse(table: dict[str, Any], exports: list[str] | None = None) -> Manifest:
    return parse_manifest_table(table, where="plugin.json", exports=exports)


def test_a_table_and_its_text_are_the_same_manifest() -> None:
    text = parse_manifest(TEXT.encode(), where="demo.toml", exports=["shout"], embedded=False)
    assert parse(tomllib.loads(TEXT), ["shout"]) == text


def test_what_is_null_is_absent() -> None:
    assert parse({"id": "demo", "version": "1", "name": None, "nodes": None}) == parse({"id": "demo", "version": "1"})


def test_functions_are_only_looked_for_where_there_is_a_module() -> None:
    table = tomllib.loads(TEXT)
    assert parse(table).nodes[0].function == "shout"
    with pytest.raises(TableError, match="which the module does not export"):
        parse(table, [])


def test_all_problems_are_said_at_once_with_their_keys() -> None:
    found = problems({"id": "No", "version": 1, "limits": {"cpu": "fast"}, "nodes": [{"type": "A", "function": "b"}]})
    assert [text.split()[1] for text in found] == ["id", "version", "limits.cpu", "nodes[0].function"]
    assert all(text.startswith("plugin.json: ") for text in found)


def test_the_table_is_not_kept_and_not_changed() -> None:
    table: dict[str, Any] = {"id": "demo", "version": "1", "nodes": [{"type": "A", "inputs": {}, "x": [None, 1]}]}
    with pytest.raises(TableError):
        parse(table)
    table["nodes"][0]["x"] = [1]
    manifest = parse(table)
    table["nodes"][0]["x"].append(2)
    assert manifest.nodes[0].model_extra == {"x": [1]}


@pytest.mark.parametrize("key", [1, None, True, ("a",), datetime.date(2026, 1, 1)])
def test_a_key_that_is_no_text_is_a_problem(key: object) -> None:
    assert "keys are text" in problems({"id": "demo", key: 1})[0]
    assert "keys are text" in problems({"id": "demo", "nodes": [{key: 1}]})[0]


def test_parts_that_stand_in_many_places_are_counted_in_each() -> None:
    bomb: list[Any] = ["x"] * 10
    for _ in range(30):
        bomb = [bomb] * 10
    assert problems({"id": "demo", "x": bomb}) == ["plugin.json: has more than 100,000 values"]
    long = "x" * 100_000
    assert problems({"id": "demo", "x": [long] * 10}) == ["plugin.json: has more than 262,144 characters of text"]


def test_a_cycle_is_nested_too_deeply() -> None:
    around: dict[str, Any] = {"id": "demo"}
    around["self"] = around
    assert "inside of each other" in problems(around)[0]


def test_half_of_a_surrogate_pair_is_a_problem() -> None:
    assert "surrogate" in problems({"id": "demo", "version": "1", "name": "\ud800"})[0]
    assert "surrogate" in problems({"id": "demo", "\udfff": 1})[0]


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
_keys = st.sampled_from(["id", "version", "namespace", "abi", "codec", "limits", "nodes", "capabilities"]) | st.text()


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(_keys, _values))
def test_any_table_is_a_manifest_or_problems(table: dict[str, Any]) -> None:
    try:
        parse({"id": "demo", "version": "1", **table})
    except TableError as error:
        "\n".join(error.problems).encode()
