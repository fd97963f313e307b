"""Names are bounded and readable; a prefix is found by a range, in which no character has a meaning."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.storage.names import MOST_BYTES, after_prefix, check_name, new_id

TEXT = st.text(max_size=8)
EDGES = st.text(alphabet="a%_\\\ud7ff\ue000\U0010ffff\U0010fffe\uffff\U00010000\x7f\x80", max_size=5)


@given(prefix=TEXT | EDGES, other=TEXT | EDGES)
def test_a_text_is_in_the_range_of_a_prefix_exactly_if_it_begins_with_it(prefix: str, other: str) -> None:
    end = after_prefix(prefix)
    for each in (other, prefix + other):
        as_bytes = each.encode()
        inside = as_bytes >= prefix.encode() and (end is None or as_bytes < end.encode())
        assert inside == each.startswith(prefix)


@given(st.text(max_size=MOST_BYTES + 8))
def test_a_name_is_taken_exactly_if_it_is_short_and_has_no_control_character(text: str) -> None:
    size = len(text.encode())
    right = 0 < size <= MOST_BYTES and not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in text)
    if right:
        assert check_name(text, "key") == size
    else:
        with pytest.raises(ValueError, match="the key"):
            check_name(text, "key")


def test_the_bound_is_in_bytes() -> None:
    assert check_name("é" * 128, "key") == 256
    with pytest.raises(ValueError, match="longer than 256 bytes"):
        check_name("é" * 129, "key")
    with pytest.raises(ValueError, match="longer than 256 bytes"):
        check_name("a" * 10_000_000, "key")


def test_half_of_a_surrogate_pair_is_no_name() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        check_name("a\ud800", "key")


def test_only_what_may_be_empty_is() -> None:
    assert check_name("", "scope", empty=True) == 0
    with pytest.raises(ValueError, match="the key is empty"):
        check_name("", "key")


@pytest.mark.parametrize("text", ["secret\n", "secret\x00", "secret\x9b", "s" * 300, "secret\udfff"])
def test_a_refusal_does_not_show_the_name(text: str) -> None:
    with pytest.raises(ValueError, match="the key") as caught:
        check_name(text, "key")
    assert "secret" not in str(caught.value)
    assert "sss" not in str(caught.value)


def test_an_id_is_a_word_that_no_shell_takes_for_anything_else() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in ids)
