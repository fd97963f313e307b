"""Names and logical paths of clients: what cannot be one is refused, and none means a place elsewhere."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.server.files.logical import MOST_DEPTH, ROOTS, LogicalPath, logical_path
from innkeeper.server.files.names import MOST_NAME, checked_name, safe_name, why_no_name
from innkeeper.server.files.problems import FileError

ANY = st.text(st.characters(exclude_categories=()), max_size=300)
"""Half surrogate pairs as well: JSON can hold them."""


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "a\u202eb",
        "a\u2028b",
        "a\ud800b",
        "C:",
        "a:stream",
        "what?",
        "*",
        "<a>",
        "a|b",
        'a"b',
        "a.",
        "a ",
        " a",
        "...",
        "con",
        "CON",
        "Con.txt",
        "con .txt",
        "nul.tar.gz",
        "com1",
        "COM¹",
        "lpt9.x",
        "CONIN$",
        "a" * 256,
        "é" * 128,
        ".innkeeper-staging",
        ".INNKEEPER",
    ],
)
def test_a_name_that_some_system_takes_for_another_is_refused(name: str) -> None:
    with pytest.raises(FileError) as refused:
        checked_name(name)
    assert refused.value.reason == "name"
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    "name", ["a", ".hidden", "console", "灯火客栈.json", "a b", "می\u200cخواهم", "x" * 255, "é" * 127]
)
def test_a_name_that_every_system_can_have_is_taken_as_it_is(name: str) -> None:
    assert checked_name(name) == name


def test_letters_that_look_the_same_are_the_same_name() -> None:
    assert checked_name("cafe\u0301") == "caf\u00e9"


@given(ANY)
def test_any_text_becomes_a_name_that_can_be_one_and_stays_it(text: str) -> None:
    for suffix in ("", ".json"):
        name = safe_name(text, suffix)
        assert checked_name(name) == name
        assert name.endswith(suffix)
        plain = unicodedata.normalize("NFC", text)
        if not why_no_name(plain) and not plain.startswith(".") and len((plain + suffix).encode()) < MOST_NAME:
            assert name == plain + suffix


@given(st.one_of(ANY, st.tuples(st.sampled_from([*ROOTS, "user:/", "file://", "system://sdk"]), ANY).map("/".join)))
def test_a_path_means_names_below_a_root_or_nothing(text: str) -> None:
    try:
        path = logical_path(text)
    except FileError as refused:
        assert refused.reason == "name"  # noqa: PT017
        return
    assert path.root in ROOTS
    assert len(path.parts) <= MOST_DEPTH
    for part in path.parts:
        assert why_no_name(part) == ""
        assert "/" not in part
        assert part not in (".", "..")
    assert logical_path(str(path)) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("user://", LogicalPath("user://")),
        ("user:/", LogicalPath("user://")),
        ("user://a/b/", LogicalPath("user://", ("a", "b"))),
        ("user:/a", LogicalPath("user://", ("a",))),
        ("shared://library", LogicalPath("shared://library")),
        ("shared:/library/a", LogicalPath("shared://library", ("a",))),
    ],
)
def test_a_path_is_read_with_one_slash_or_two(text: str, path: LogicalPath) -> None:
    assert logical_path(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "/etc/passwd",
        "user:",
        "user",
        "user:///a",
        "user://a//b",
        "user://../x",
        "user://a/./b",
        "shared://",
        "shared://other",
        "system://sdk",
        "system://sdk/config.json",
        "file:///etc/passwd",
        "user://" + "/".join("a" * (MOST_DEPTH + 1)),
        "user://" + "a" * 5000,
    ],
)
def test_what_is_no_path_of_a_root_is_refused(text: str) -> None:
    with pytest.raises(FileError) as refused:
        logical_path(text)
    assert refused.value.reason == "name"
