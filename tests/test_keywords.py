"""Keywords are found in one pass as a search for each would find them, in all scripts, however hostile the keywords."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.keywords import index as index_module
from innkeeper.knowledge.keywords.boundaries import Mode, stands_alone
from innkeeper.knowledge.keywords.folding import composed, folded
from innkeeper.knowledge.keywords.index import KeywordIndex
from innkeeper.knowledge.keywords.keys import Pattern, pattern_of, regex_of
from innkeeper.knowledge.keywords.texts import lay


def pattern(word: str, mode: Mode = Mode.UNICODE, sensitive: bool = False) -> Pattern:
    made = pattern_of(word, sensitive=sensitive, mode=mode)
    assert made is not None
    return made


def places(word: str, *texts: str, mode: Mode = Mode.UNICODE, sensitive: bool = False) -> list[int]:
    one = pattern(word, mode, sensitive)
    found, complete = KeywordIndex([one]).find(lay(texts))
    assert complete
    return found.get(one, [])


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("龙", "红龙来了"),
        ("北京", "我住在北京市"),
        ("AI", "用AI写作"),
        ("드래곤", "드래곤이 온다"),
        ("ドラゴン", "赤いドラゴンだ"),
        ("มังกร", "มีมังกรอยู่"),
        ("café", "the cafe\u0301!"),
        ("Zoë", "ZOË's dog"),
        ("дракон", "Дракон!"),
        ("straße", "STRASSE 5"),
        ("ΟΔΟΣ", "οδος"),
        ("#hello", "say #hello now"),
        ("red dragon", "a Red Dragon."),
        ("dragon", "dragon's"),
    ],
)
def test_a_keyword_is_found_in_its_script(word: str, text: str) -> None:
    assert places(word, text) == [0]
    assert places(word, "nothing of it") == []


@pytest.mark.parametrize(
    ("word", "text"), [("AI", "ain't"), ("dragon", "dragonfly"), ("дракон", "драконий"), ("é", "écrit"), ("1", "10")]
)
def test_a_keyword_inside_of_a_longer_word_counts_as_a_substring_only(word: str, text: str) -> None:
    assert places(word, text) == []
    assert places(word, text, mode=Mode.SUBSTRING) == [0]


def test_ascii_boundaries_know_letters_of_ascii_only() -> None:
    assert places("dragon", "dragonfly", mode=Mode.ASCII) == []
    assert places("дракон", "драконий", mode=Mode.ASCII) == [0]
    assert places("AI", "éAIé", mode=Mode.ASCII) == [0]


def test_half_a_letter_is_no_match() -> None:
    assert places("s", "ß", mode=Mode.SUBSTRING) == []
    assert places("ss", "ß", mode=Mode.SUBSTRING) == [0]
    assert places("i", "İ", mode=Mode.SUBSTRING) == []
    assert places("İstanbul", "x", "ßß İSTANBUL") == [1]


def test_case_counts_where_it_is_asked_for() -> None:
    assert places("Rose", "a rose", "a Rose", sensitive=True) == [1]
    assert places("Rose", "a rose", "a Rose") == [0, 1]


def test_a_match_does_not_reach_from_one_text_into_the_next() -> None:
    assert places("ab", "a", "b", mode=Mode.SUBSTRING) == []
    assert places("a\0b", "a", "b", mode=Mode.SUBSTRING) == []
    assert places("b", "a", "b", "ab b") == [1, 2]


def test_a_blank_key_is_never_found() -> None:
    assert pattern_of("  \t", sensitive=False, mode=Mode.SUBSTRING) is None


def test_a_key_is_a_regular_expression_only_as_javascript_writes_it() -> None:
    found = regex_of(r"/a\/b+/gi")
    assert found is not None
    assert (found.pattern, found.flags) == (r"a\/b+", "gi")
    for word in ("/home/user/x", "/a", "//", "/a/gg", "/a/x", "a/b/"):
        assert regex_of(word) is None


ALPHABET = "abß İé龙\u0301A_1 ſΣς"


@settings(deadline=None)
@given(
    words=st.lists(st.text(ALPHABET, min_size=1, max_size=5), min_size=1, max_size=20),
    texts=st.lists(st.text(ALPHABET, max_size=40), min_size=1, max_size=5),
    mode=st.sampled_from(Mode),
    sensitive=st.booleans(),
    prefix=st.sampled_from([1, 2, 64]),
    chunk=st.sampled_from([1, 3, 4096]),
)
def test_one_pass_finds_what_a_search_for_each_keyword_finds(
    words: list[str], texts: list[str], mode: Mode, sensitive: bool, prefix: int, chunk: int
) -> None:
    patterns = [made for word in words if (made := pattern_of(word, sensitive=sensitive, mode=mode))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "PREFIX", prefix)
        patch.setattr(index_module, "CHUNK", chunk)
        patch.setattr(index_module, "LAYER", 3)
        found, complete = KeywordIndex(patterns).find(lay(texts))
    assert complete
    assert found == {each: there for each in patterns if (there := naive(each, texts))}


def naive(pattern: Pattern, texts: list[str]) -> list[int]:
    return [number for number, text in enumerate(texts) if occurs(pattern, text)]


def occurs(pattern: Pattern, text: str) -> bool:
    written = composed(text)
    seen = written if pattern.sensitive else folded(written)
    edges, at = {0}, 0
    for letter in written:
        at += len(letter if pattern.sensitive else letter.casefold())
        edges.add(at)
    start = seen.find(pattern.text)
    while start >= 0:
        end = start + len(pattern.text)
        if start in edges and end in edges and stands_alone(seen, start, end, pattern.mode):
            return True
        start = seen.find(pattern.text, start + 1)
    return False


@settings(deadline=None)
@given(
    before=st.sets(st.text("abc", min_size=1, max_size=3), max_size=12),
    after=st.sets(st.text("abc", min_size=1, max_size=3), max_size=12),
    text=st.text("abc ", max_size=40),
)
def test_an_index_that_took_an_older_one_over_finds_the_same(before: set[str], after: set[str], text: str) -> None:
    def patterns(words: set[str]) -> list[Pattern]:
        return [pattern(word, Mode.SUBSTRING) for word in sorted(words)]

    old = KeywordIndex(patterns(before))
    laid = lay([text])
    assert KeywordIndex(patterns(after), old).find(laid) == KeywordIndex(patterns(after)).find(laid)


def test_keywords_that_occur_everywhere_end_the_search_and_not_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MOST_HITS", 50_000)
    index = KeywordIndex([pattern("a" * length, Mode.SUBSTRING) for length in range(1, 2000)])
    since = time.process_time()
    found, complete = index.find(lay(["a" * 500_000]))
    assert not complete
    assert found
    # The hits of one piece are all there together: their number is what must be bounded.
    assert time.process_time() - since < 5


def test_fifty_thousand_keywords_are_all_found() -> None:
    words = [f"word{number}" for number in range(40_000)] + [f"词{number}" for number in range(10_000)]
    index = KeywordIndex([pattern(word) for word in words])
    found, complete = index.find(lay([" ".join(words[::500]), "词7和词77"]))
    assert complete
    assert {each.text for each in found} == {*words[::500], "词7", "词77"}


def test_marks_belong_to_their_letter() -> None:
    assert unicodedata.normalize("NFC", "q\u0301") == "q\u0301"
    assert places("q", "q\u0301") == []
