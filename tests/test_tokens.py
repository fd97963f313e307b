"""Counting tokens: about right without a tokenizer, exactly with one, in linear time, and once for each text."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.knowledge.tokens import bpe, estimate, named
from innkeeper.knowledge.tokens.cached import CachedCounter
from innkeeper.knowledge.tokens.estimate import Estimate
from innkeeper.knowledge.tokens.words import Words
from measure import tokens as measured

try:
    import rs_bpe  # noqa: F401

    EXACT = True
except ImportError:
    EXACT = False

needs_bpe = pytest.mark.skipif(not EXACT, reason="the extra 'tokens' is not installed")

MIB = 1 << 20
HOSTILE = ["a", " ", "\n", " \n", "\t ", "aA", "a1", "!", "龙", "é", "  a", "😀", "e\u0301", "'s", "\u00a0", "\ud800"]


class Counting:
    """Counts how often it is asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def count(self, text: str) -> int:
        self.asked += 1
        return len(text)


@needs_bpe
@pytest.mark.parametrize("encoding", bpe.ENCODINGS)
@pytest.mark.parametrize("language", measured.TEXTS)
def test_the_estimate_is_within_what_the_page_says(language: str, encoding: str) -> None:
    mean, ratio = measured.errors(language, encoding)
    most = 0.15 if language in ("English", "code") else 0.45
    assert mean <= most
    assert 0.7 <= ratio <= 1.45


@needs_bpe
@pytest.mark.parametrize("language", measured.TEXTS)
def test_the_estimate_lies_between_the_two_encodings_or_close_to_one(language: str) -> None:
    sums = [measured.errors(language, encoding)[1] for encoding in bpe.ENCODINGS]
    assert min(sums) <= 1.1
    assert max(sums) >= 0.9


def test_chinese_is_not_charged_as_if_it_were_english() -> None:
    text = measured.TEXTS["Chinese"][0]
    assert named.counter().count(text) >= 0.8 * len(text)


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("name", [name for name in named.NAMES if EXACT or name not in bpe.ENCODINGS])
def test_a_megabyte_of_anything_costs_sixteen_times_what_a_sixteenth_costs(unit: str, name: str) -> None:
    inner = bpe.Encoding(name) if name in bpe.ENCODINGS else Estimate() if name == "estimate" else Words()
    inner.count("ready")
    small, large = unit * (MIB // 16 // len(unit)), unit * (MIB // len(unit))
    spent = []
    for text in (small, large):
        started = time.thread_time()
        inner.count(text)
        spent.append(time.thread_time() - started)
    # Quadratic time would be 256 times as much; what is short is noise.
    assert spent[1] < 0.1 or spent[1] < 80 * spent[0]


@needs_bpe
def test_names_of_special_tokens_are_text_like_any_other() -> None:
    assert named.counter("cl100k_base").count("<|endoftext|>") > 1


@needs_bpe
def test_known_counts() -> None:
    assert [named.counter(name).count("hello world") for name in bpe.ENCODINGS] == [2, 2]
    assert named.counter("cl100k_base").count("") == 0


@needs_bpe
def test_lone_surrogates_are_counted_and_not_refused() -> None:
    assert named.counter("o200k_base").count("a\ud800b") >= 2


def test_words_are_what_white_space_of_javascript_parts() -> None:
    count = Words().count
    assert count("one two  three\n") == 3
    assert count("") == count(" \ufeff\u3000") == 0
    assert count("a\ufeffb") == 2
    assert count("a\x1cb\x85c") == 1


def test_an_unknown_tokenizer_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"there is no tokenizer 'cl100k'; there are estimate, .*'cl100k_base'"):
        named.counter("cl100k")


def test_a_tokenizer_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rs_bpe.bpe", None)
    with pytest.raises(UsageError, match=r"innkeeper\[tokens\].*'estimate'"):
        bpe.Encoding("cl100k_base")


def test_a_text_is_counted_once() -> None:
    inner = Counting()
    cached = CachedCounter(inner)
    text = "The same entry, a hundred times over."
    assert {cached.count(text) for _ in range(100)} == {len(text)}
    assert inner.asked == 1


def test_the_memory_of_counts_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    inner = Counting()
    cached = CachedCounter(inner, most=3)
    texts = [letter * 100 for letter in "abc"]
    for text in texts:
        cached.count(text)
    cached.count(texts[0])
    cached.count("d" * 100)
    assert cached.kept == 3
    asked = inner.asked
    cached.count(texts[0])
    assert inner.asked == asked
    cached.count(texts[1])
    assert inner.asked == asked + 1


def test_threads_that_count_at_once_count_the_same() -> None:
    names = [name for name in named.NAMES if EXACT or name not in bpe.ENCODINGS]
    text = "Some text of the world, 世界的文字, that all of them count."
    found: list[list[int]] = []

    def count() -> None:
        found.append([named.counter(name).count(text) for name in names])

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(each == found[0] for each in found)


@settings(deadline=None)
@given(st.text(st.characters()))
def test_every_text_has_a_count_and_more_text_has_no_lower_estimate(text: str) -> None:
    for name in ("estimate", "words"):
        assert named.counter(name).count(text) >= 0
    assert Estimate().count(text + " more words") >= Estimate().count(text)


@needs_bpe
@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from([*"aZ é龙。、 \n\t'1.!/-", "\u0301", "'s", "'LL ", " \n", "😀", "中文", "don't", "\u00a0"]),
        max_size=60,
    )
)
def test_a_text_that_is_counted_in_stretches_has_the_count_of_the_whole(parts: list[str]) -> None:
    from rs_bpe.bpe import openai

    text = "".join(parts)
    for name in bpe.ENCODINGS:
        whole = getattr(openai, name)().count(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bpe, "STRETCH", 3)
            assert bpe.Encoding(name).count(text) == whole


def test_a_long_text_is_counted_in_stretches_that_let_other_threads_run(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The ferry leaves at six, and nobody sees the other bank. " * 20_000
    lengths: list[int] = []

    def cost(part: str) -> float:
        lengths.append(len(part))
        return 1.0

    monkeypatch.setattr(estimate, "_cost", cost)
    Estimate().count(text)
    assert max(lengths) <= estimate.STRETCH
    assert sum(lengths) == len(text)
    if EXACT:
        lengths.clear()
        encoding = bpe.Encoding("o200k_base")
        encoding.count("ready")
        monkeypatch.setattr(encoding, "_tokenizer", SimpleNamespace(count=lambda part: lengths.append(len(part)) or 0))
        encoding.count(text)
        assert max(lengths) <= bpe.STRETCH + 100
        assert sum(lengths) == len(text)
