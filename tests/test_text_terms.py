"""Under which terms a text is found, whatever it is written in and whoever wrote it."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.model.entry import Entry, read_entry
from innkeeper.knowledge.text import terms
from innkeeper.knowledge.text.blob import FIELDS, entry_terms, read_many, read_terms
from innkeeper.knowledge.text.folding import folded, without_accents
from innkeeper.knowledge.text.scripts import UNSPACED, main_script, runs
from innkeeper.knowledge.text.terms import content_terms, entry_keys, name_terms, query_terms, term_id

TEXTS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("aZé龙红ไทยกิ가나ロー・ー々〇_-'.0123 \n\u0301\u0300\ufdfaДдёΣςأبहि\u200dß"),
    ),
    max_size=200,
)
IN_FILES = TEXTS.map(lambda text: text.encode("utf-8", "ignore").decode())
"""No entry has half a character of UTF-16."""


def entry(**fields: object) -> Entry:
    found, problems = read_entry({"id": "e", **fields})
    assert found is not None, problems
    return found


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("dragon", "Three DRAGONS sleep."),
        ("running", "She runs."),
        ("cafe", "Das Café am Markt"),
        ("café", "Das CAFE am Markt"),
        ("красный дракон", "красные драконы"),
        ("ежик", "Ёжик в тумане"),
        ("龙", "红龙来了"),
        ("红龙", "红龙来了"),
        ("ＡＢＣ", "abc"),
        ("ドラゴン", "赤いドラゴンが来た"),
        ("미르", "붉은 미르가 왔다"),
        ("มังกร", "มังกรแดงมาแล้ว"),
        ("दुनिया", "यह दुनिया है"),
        ("x_y", "x y"),
    ],
)
def test_a_query_finds_the_words_of_a_text_in_another_form(query: str, text: str) -> None:
    assert set(query_terms(query)) & set(content_terms(text))


def test_a_tone_of_vietnamese_is_another_word_and_an_accent_elsewhere_is_not() -> None:
    assert set(query_terms("mạ")).isdisjoint(content_terms("ma mã mả"))
    assert without_accents("ёлка") == "елка"
    # A mark of Hindi is a vowel.
    assert without_accents("कि") == "कि"


def test_a_part_of_a_word_without_spaces_is_found_and_another_word_is_not() -> None:
    assert set(query_terms("龙来")) & set(content_terms("红龙来了"))
    assert set(query_terms("来龙")).isdisjoint(content_terms("红龙来了"))


def test_stop_words_are_looked_for_where_a_query_has_nothing_else_and_found_in_names() -> None:
    assert query_terms("who is the dragon") == query_terms("dragon")
    assert query_terms("The Who") == list(name_terms("The Who"))
    assert "the" not in set(content_terms("the dragon"))


def test_a_query_has_a_bounded_number_of_terms_however_long_it_is() -> None:
    many = " ".join(f"word{number}" for number in range(10_000))
    assert len(query_terms(many)) == terms.MOST_QUERY_TERMS
    assert len(query_terms("龙虎" * 100_000)) <= terms.MOST_QUERY_TERMS


def test_regular_expressions_are_no_words_that_a_search_finds() -> None:
    found = entry(
        activation_criteria={
            "keywords": ["red dragon", "/dr[a-z]+on/i", "/"],
            "key_groups": [{"keys": ["cave"], "logic": "OR"}, {"keys": ["sea"], "logic": "NOT_ANY"}],
        }
    )
    assert entry_keys(found) == ["red dragon", "/", "cave"]


def test_bytes_of_terms_say_how_often_a_term_is_in_which_field() -> None:
    found = entry(
        displayName="Red Dragon",
        content={"value": "The dragon sleeps. Dragons sleep."},
        activation_criteria={"keywords": ["dragon"]},
    )
    read = read_terms(entry_terms(found))
    at = int(np.flatnonzero(read.ids == term_id("dragon"))[0])
    assert dict(zip(FIELDS, read.counts[:, at].tolist(), strict=True)) == {"name": 1, "keywords": 1, "content": 2}
    assert read.length == 2 + 1 + 4


@settings(deadline=None)
@given(IN_FILES, IN_FILES, st.lists(IN_FILES.filter(lambda text: len(text) < 100), max_size=3))
def test_every_entry_has_terms_and_reading_gives_them_back(name: str, content: str, keys: list[str]) -> None:
    found = entry(displayName=name, content={"value": content}, activation_criteria={"keywords": keys})
    data = entry_terms(found)
    read = read_terms(data)
    assert data == entry_terms(found)
    assert bool((read.ids[1:] > read.ids[:-1]).all())
    wanted = {
        *name_terms(name),
        *content_terms(content),
        *(term for key in entry_keys(found) for term in name_terms(key)),
    }
    assert set(read.ids.tolist()) == {term_id(term) for term in wanted}
    assert all(query in wanted for query in query_terms(content) if query not in terms.ENGLISH) or not query_terms(
        content
    )


@settings(deadline=None)
@given(TEXTS)
def test_a_folded_text_stays_as_it_is_when_it_is_folded_again(text: str) -> None:
    once = folded(text)
    assert folded(once) == once
    assert len(once) <= 4 * len(text) + 256 + 5000


@settings(deadline=None)
@given(TEXTS)
def test_words_consist_of_letters_digits_and_marks_alone(text: str) -> None:
    for unspaced, run in runs(folded(text)):
        assert run
        for each in run:
            assert each.isalnum() or unicodedata.category(each)[0] == "M" or 0x20000 <= ord(each) <= 0x3FFFF
            inside = any(first <= ord(each) <= last for first, last in UNSPACED)
            assert inside == unspaced


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80))
def test_bytes_that_are_no_terms_are_refused(data: bytes) -> None:
    try:
        read = read_terms(data)
    except ValueError:
        return
    assert len(data) == 12 + 11 * len(read.ids)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<B3xII", 2, 0, 0),
        struct.pack("<B3xII", 1, 1_000_000_000, 0),
        struct.pack("<B3xII", 1, 2, 0) + struct.pack("<QQ", 2, 1) + bytes(6),
        struct.pack("<B3xII", 1, 1, 0) + bytes(10),
    ],
)
def test_terms_of_another_version_or_length_or_order_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="terms of an entry"):
        read_terms(data)


def test_an_entry_of_a_hundred_thousand_different_words_keeps_the_first_ones() -> None:
    found = entry(content={"value": " ".join(f"w{number}" for number in range(30_000))})
    read = read_terms(entry_terms(found))
    assert len(read.ids) == terms.MOST_TERMS
    assert term_id("w0") in read.ids.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "a" + "\u0301\u0323" * 100_000,
        "\ufdfa" * 100_000,
        "é" * 200_000,
        "龙" * 200_000,
        "_" * 200_000,
        "a_" * 100_000,
        "กิ" * 100_000,
        "x" * 250_000,
    ],
)
def test_terms_are_made_in_time_that_grows_with_the_text_alone(text: str) -> None:
    def seconds(part: str) -> float:
        began = time.process_time()
        sum(1 for _ in content_terms(part))
        return time.process_time() - began

    seconds(text[:1000])
    # Generous: quadratic work would take hundreds of times longer.
    assert seconds(text) < 64 * max(seconds(text[: len(text) // 8]), 0.01)


def test_what_is_remembered_of_words_is_bounded_in_number_and_length() -> None:
    for at in range(30):
        list(content_terms(f"{at}" + "x" * 100_000))
    for at in range(70_000):
        terms._stem_of(f"w{at}")
        term_id(f"w{at}")
    assert len(terms._stems) <= 1 << 16
    assert len(terms._ids) <= 1 << 16
    assert max(map(len, terms._stems)) <= terms.MOST_TERM


def test_the_script_of_a_text_is_that_of_most_of_its_words() -> None:
    assert main_script("") == "latin"
    assert main_script("the dragon") == "latin"
    assert main_script("龙 dragon 在哪里") == "cjk"
    assert main_script("где дракон") == "cyrillic"
    assert main_script("มังกร") == "thai"
    assert main_script("용은 어디에") == "hangul"


def test_terms_have_the_same_numbers_in_every_process() -> None:
    code = "from innkeeper.knowledge.text.terms import term_id; print([term_id('dragon'), term_id('龙')])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    assert json.loads(said) == [term_id("dragon"), term_id("龙")]


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=5))
def test_terms_that_are_read_together_are_those_that_are_read_one_by_one(texts: list[str]) -> None:
    blobs = [entry_terms(entry(content={"value": text.encode("utf-8", "replace").decode()})) for text in texts]
    many, each = read_many(blobs), [read_terms(blob) for blob in blobs]
    ends = np.cumsum(many.sizes)[:-1]
    assert many.lengths.tolist() == [one.length for one in each]
    assert [part.tolist() for part in np.split(many.ids, ends)][: len(each)] == [one.ids.tolist() for one in each]
    counts = [part.tolist() for part in np.split(many.counts, ends, axis=1)][: len(each)]
    assert counts == [one.counts.tolist() for one in each]


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 2), st.booleans())
def test_what_is_refused_of_one_entry_is_refused_among_many(data: bytes, at: int, begun: bool) -> None:
    good = [entry_terms(entry(content={"value": text})) for text in ("a red dragon", "", "an inn")]
    bad = struct.pack("<B3xII", 1, len(data) // 11, 5) + data if begun else data
    try:
        read_terms(bad)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)):
            read_many([*good[:at], bad, *good[at:]])
    else:
        assert len(read_many([*good[:at], bad, *good[at:]]).sizes) == 4
