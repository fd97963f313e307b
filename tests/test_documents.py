"""JSON and YAML of others: what is read is plain and bounded, and what is not is refused before it costs anything."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.plugins.documents import MAX_YAML, parse_json, parse_yaml
from innkeeper.plugins.tables import MAX_BYTES, TableError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
TABLES = st.dictionaries(st.text(), VALUES, max_size=5)


def problem(data: bytes, *, yaml: bool) -> str:
    with pytest.raises(TableError) as found:
        (parse_yaml if yaml else parse_json)(data, "f")
    assert len(found.value.problems) == 1
    return found.value.problems[0]


@given(TABLES)
@settings(deadline=None, max_examples=50)
def test_what_json_says_is_read_as_it_is(table: dict[str, object]) -> None:
    assert parse_json(json.dumps(table).encode(), "f") == table


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), VALUES, max_size=5))
@settings(deadline=None, max_examples=50)
def test_json_of_plain_characters_means_the_same_as_yaml(table: dict[str, object]) -> None:
    text = json.dumps(table, indent=1)
    # YAML has no pairs of surrogates, and takes 1e5 without a dot for text.
    if "\\ud" not in text and "e" not in "".join(c for c in text if c in "0123456789e+-.") and "\\u" not in text:
        assert parse_yaml(text.encode(), "f") == table


def outcome(parse: Callable[[bytes, str], dict[str, object]], data: bytes) -> dict[str, object] | list[str]:
    try:
        return parse(data, "f")
    except TableError as error:
        return error.problems


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_a_table_or_a_sentence(data: bytes) -> None:
    for found in (outcome(parse_json, data), outcome(parse_yaml, data)):
        assert isinstance(found, dict) or all(text.startswith("f: ") and "\n" not in text for text in found)


@given(st.text(alphabet="[]{}:,-?&*!|>'\"%@#a1 \n\t.<~", max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_marks_of_yaml_are_a_table_or_a_sentence(text: str) -> None:
    found = outcome(parse_yaml, text.encode())
    assert isinstance(found, dict) or all(line.startswith("f: ") for line in found)


@given(st.text(alphabet="0123456789abfxeE_:.+-", max_size=60), st.integers(1, 300))
@settings(deadline=None, max_examples=300)
def test_whatever_looks_like_a_number_is_a_value_that_can_be_shown_or_a_sentence(text: str, times: int) -> None:
    found = outcome(parse_yaml, b"a: 1" + text.encode() * times)
    if isinstance(found, dict):
        json.dumps(found)


def test_a_billion_laughs_are_not_expanded() -> None:
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert problem("\n".join(lines).encode(), yaml=True) == (
        "f: line 2: has the alias *a0, which is not followed; write its value out"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice"),
        ("a: {x: 1, x: 2}", "the key 'x' is there twice"),
        ("1: a", "the key 1 is no text"),
        ("? [a]\n: b", "is no text"),
        ("a: !!python/object/apply:os.system [id]", "has the tag"),
        ("a: !!python/name:os.system x", "which is no plain data"),
        ("a: !!binary aGk=", "which is no plain data"),
        ("a: !local {x: 1}", "has the tag"),
        ("<<: {a: 1}", "which is no plain data"),
        ("a: .inf", "no number that JSON has"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("- a", "must hold keys with values"),
        ("", "must hold keys with values"),
        ("a: {", "is not YAML"),
        ("a: " + "[" * 30_000, "nested too deeply"),
        ("- " * 30_000, "nested too deeply"),
        ("a: 1" + "0" * 5000, "is not YAML"),
        ("a: 1" + ":0" * 200 + ".5", "too large a number"),
        ("a: 1" + ":0" * 30_000, "too large a number"),
        ("a: 0x" + "f" * 6000, "too large a number"),
        ("a: 0b1" + "0" * 6000, "too large a number"),
    ],
)
def test_yaml_that_is_more_than_plain_data_is_refused(text: str, words: str) -> None:
    assert words in problem(text.encode(), yaml=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is there twice"),
        ('{"a": NaN}', "NaN is no number that JSON has"),
        ('{"a": 1e999}', "too large a number"),
        ('{"a": ' + "[" * 33 + "]" * 33 + "}", "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "must hold keys with values"),
        ('{"a": 1' + "0" * 5000 + "}", "is not JSON"),
        ("{", "is not JSON"),
    ],
)
def test_json_that_is_more_than_plain_data_is_refused(text: str, words: str) -> None:
    assert words in problem(text.encode(), yaml=False)


def test_size_and_encoding_are_looked_at_first() -> None:
    assert "the most is" in problem(b" " * (MAX_BYTES + 1), yaml=False)
    assert "the most is" in problem(b" " * (MAX_YAML + 1), yaml=True)
    assert problem(b"a: \xff", yaml=True) == "f: is not UTF-8 text (byte 3)"


def test_what_looks_like_a_date_is_the_text_that_it_is() -> None:
    assert parse_yaml(b"version: 2024-01-02", "f") == {"version": "2024-01-02"}


@pytest.mark.parametrize(
    "text", ["[" * 60_000, "a: &a " * 9000, "{" * 31 + "a," * 30_000, "? " * 30_000, "'" + "\n" * 60_000]
)
def test_nothing_of_this_size_takes_long(text: str) -> None:
    # Processor time, not the clock: generous for a busy machine, and far from what a square of 64 KiB would take.
    before = time.process_time()
    with pytest.raises(TableError):
        parse_yaml(text.encode(), "f")
    assert time.process_time() - before < 10
