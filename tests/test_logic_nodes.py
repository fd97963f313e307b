"""logic:Compare, called through the host as a workflow calls it."""

from __future__ import annotations

import math
import operator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import innkeeper
from innkeeper.errors import GuestError

PLUGIN = Path(__file__).parent.parent / "plugins" / "logic.wasm"
ORDER = {
    "equal": operator.eq, "notEqual": operator.ne, "less": operator.lt, "lessOrEqual": operator.le,
    "greater": operator.gt, "greaterOrEqual": operator.ge,
}  # fmt: skip
TEXTS = st.text(alphabet=st.sampled_from("abé界🏠") | st.characters(codec="utf-8"), max_size=6)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats() | st.sampled_from([0, 1, 1.0, -0.0, math.nan, math.inf])


async def compared(plugin: innkeeper.Plugin, **inputs: Any) -> Any:
    data = msgpack.packb({"inputs": inputs, "config": {}, "run": {"id": "", "node": ""}})
    return msgpack.unpackb((await plugin.call("compare", data)).output)["outputs"]


async def test_numbers_and_texts_compare_as_python_does() -> None:
    examples: list[tuple[Any, Any, str]] = []

    @settings(deadline=None, max_examples=150)
    @given(st.tuples(NUMBERS, NUMBERS) | st.tuples(TEXTS, TEXTS), st.sampled_from([*ORDER]))
    def collect(pair: tuple[Any, Any], how: str) -> None:
        examples.append((*pair, how))

    collect()
    async with innkeeper.open_host() as host:
        plugin = await host.load(PLUGIN)
        for a, b, how in examples:
            assert await compared(plugin, a=a, b=b, operator=how) == {"result": ORDER[how](a, b)}, (a, how, b)


async def test_a_text_contains_what_python_finds_in_it() -> None:
    examples: list[tuple[str, str]] = [("", ""), ("a", ""), ("aab", "ab"), ("aba", "abab"), ("", "a")]

    @settings(deadline=None, max_examples=60)
    @given(st.text("ab", max_size=8), st.text("ab", max_size=3))
    def collect(text: str, part: str) -> None:
        examples.append((text, part))

    collect()
    async with innkeeper.open_host() as host:
        plugin = await host.load(PLUGIN)
        for text, part in examples:
            assert await compared(plugin, a=text, b=part, operator="contains") == {"result": part in text}


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (None, None, True), (True, True, True), (False, True, False), (None, 0, False), (1, True, False),
        ("1", 1, False), (0, False, False), ("", None, False),
    ],
)  # fmt: skip
async def test_values_of_two_kinds_are_never_equal(a: Any, b: Any, same: bool) -> None:
    async with innkeeper.open_host() as host:
        plugin = await host.load(PLUGIN)
        assert await compared(plugin, a=a, b=b) == {"result": same}
        assert await compared(plugin, b=a, a=b, operator="notEqual") == {"result": not same}


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"a": 1, "b": 2, "operator": "between"}, "input 'operator' is none of equal, notEqual"),
        ({"a": 1, "b": 2, "operator": 5}, "input 'operator' is none of equal, notEqual"),
        ({"a": [1], "b": 2}, "input 'a' is an array, which is not compared"),
        ({"a": 1, "b": {}}, "input 'b' is an object, which is not compared"),
        (
            {"a": 1, "b": "2", "operator": "less"},
            "less, which wants two texts or two numbers; a is a number, b is text",
        ),
        ({"b": 1, "operator": "less"}, "a is nothing, b is a number"),
        ({"a": True, "b": False, "operator": "greater"}, "a is a boolean, b is a boolean"),
        ({"a": 12, "b": 1, "operator": "contains"}, "contains, which wants two texts; a is a number"),
    ],
)
async def test_what_cannot_be_compared_is_said(inputs: dict[str, Any], said: str) -> None:
    async with innkeeper.open_host() as host:
        plugin = await host.load(PLUGIN)
        with pytest.raises(GuestError, match=said):
            await compared(plugin, **inputs)
