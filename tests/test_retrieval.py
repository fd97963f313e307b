"""A search finds the right entries, says why, and never more than it may; changes are seen by the next one."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval_bases import DIMENSION, Concepts, entry_of, item_of, vector_of

from innkeeper.knowledge.embedding.interface import ModelIdentity
from innkeeper.knowledge.retrieval import live as live_module
from innkeeper.knowledge.retrieval.calibration import calibrate
from innkeeper.knowledge.retrieval.fusion import WEIGHT, balance
from innkeeper.knowledge.retrieval.interface import MOST_HITS, MOST_TAGS, Change, Filters, Match, Mode, Removed
from innkeeper.knowledge.retrieval.retriever import Retriever

WORLD = [
    entry_of("dragon", "It sleeps on gold below Mount Cinder.", "Red dragon", ["dragon", "红龙"]),
    entry_of("smith", "Ysolde forges swords in the upper town.", "Blacksmith"),
    entry_of("inn", "The inn at the crossroads sells ale. A dragon's skull hangs above the door.", "Crossroads inn"),
    entry_of("temple", "红龙睡在金山下面。", "金山"),
    entry_of("plague", "Fever took the old king's sons in one winter.", "Plague"),
]


def ids(retriever: Retriever, query: str, **options: object) -> list[str]:
    return [hit.id for hit in retriever.search(query, mode=Mode.KEYWORD, **options).hits]  # type: ignore[arg-type]


def base(**more: object) -> Retriever:
    return Retriever.build([item_of(each) for each in WORLD])


def test_what_an_author_says_an_entry_is_about_comes_before_what_only_mentions_it() -> None:
    assert ids(base(), "dragons") == ["dragon", "inn"]
    assert ids(base(), "红龙") == ["dragon", "temple"]
    assert ids(base(), "nothing of this") == []


def test_a_hit_says_which_terms_it_shares_and_where_they_are() -> None:
    hit = base().search("a red dragon on gold", mode=Mode.KEYWORD).hits[0]
    assert hit.id == "dragon"
    assert set(hit.matches) == {
        Match("dragon", ("name", "keywords")),
        Match("red", ("name",)),
        Match("gold", ("content",)),
    }
    assert hit.bm25 is not None
    assert hit.bm25 > 0
    assert hit.cosine is None


def test_a_base_without_vectors_is_searched_by_words_and_says_so() -> None:
    answer = base().search("dragon", vector=vector_of("x"), mode=Mode.HYBRID)
    assert answer.mode is Mode.KEYWORD
    assert answer.hits
    assert any("no vectors" in note for note in answer.notes)


@pytest.mark.parametrize("k", [0, -1, MOST_HITS + 1])
def test_how_many_hits_there_are_is_bounded(k: int) -> None:
    with pytest.raises(ValueError, match="hits"):
        base().search("dragon", k)


def test_an_empty_base_finds_nothing_and_takes_entries() -> None:
    retriever = Retriever(ModelIdentity("m", "", DIMENSION))
    for mode in Mode:
        assert retriever.search("dragon", vector=vector_of("dragon"), mode=mode).hits == []
    assert retriever.similarities(vector_of("x")) == {}
    retriever.apply([item_of(WORLD[0], vector_of("dragon"))])
    assert [hit.id for hit in retriever.search("dragon", vector=vector_of("dragon")).hits] == ["dragon"]


# --- filters ---------------------------------------------------------------------------------------------------------


def tagged(
    id: str, *tags: str, type: str = "lore_detail", source: str = "manual_entry", enabled: bool = True
) -> object:
    return item_of(
        entry_of(
            id,
            "a dragon",
            entry_type=type,
            management_metadata={"tags": list(tags), "source": source, "is_enabled": enabled},
        ),
        vector_of(id),
    )


FILTERED = [
    tagged("a", "fire", "north"),
    tagged("b", "fire", type="fact"),
    tagged("c", "north", source="agent_generated"),
    tagged("d", enabled=False),
]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), "abc"),
        (Filters(enabled=None), "abcd"),
        (Filters(enabled=False), "d"),
        (Filters(tags=["fire"]), "ab"),
        (Filters(tags=["fire", "north"]), "a"),
        (Filters(scope=["fire", "north"]), "abc"),
        (Filters(scope=["nobody"]), ""),
        (Filters(tags=["nobody"]), ""),
        (Filters(types=["fact", "other"]), "b"),
        (Filters(types=["other"]), ""),
        (Filters(sources=["agent_generated"]), "c"),
        (Filters(sources=["manual_entry"], tags=["fire"], types=["lore_detail"]), "a"),
    ],
)
@pytest.mark.parametrize("mode", list(Mode))
def test_each_filter_must_let_an_entry_through(filters: Filters, found: str, mode: Mode) -> None:
    retriever = Retriever.build(FILTERED, ModelIdentity("m", "", DIMENSION))  # type: ignore[arg-type]
    answer = retriever.search("dragon", vector=vector_of("a"), filters=filters, mode=mode)
    assert sorted(hit.id for hit in answer.hits) == sorted(found)


def test_a_filter_has_a_bounded_number_of_words() -> None:
    with pytest.raises(ValueError, match="tags"):
        Filters(tags=["x"] * (MOST_TAGS + 1))


def test_what_is_filtered_out_does_not_keep_others_out() -> None:
    many = [item_of(entry_of(f"n{number}", "dragon dragon dragon")) for number in range(300)]
    rare = item_of(entry_of("rare", "one dragon among many other words", management_metadata={"tags": ["t"]}))
    assert ids(Retriever.build([*many, rare]), "dragon", k=1, filters=Filters(tags=["t"])) == ["rare"]


def test_equal_entries_come_by_priority_and_then_in_the_order_of_the_file() -> None:
    entries = [
        item_of(entry_of(f"e{number}", "dragon", usage_metadata={"priority": 10 if number == 40 else 1}))
        for number in range(60)
    ]
    assert ids(Retriever.build(entries), "dragon", k=3) == ["e40", "e0", "e1"]


# --- meaning ---------------------------------------------------------------------------------------------------------


def test_an_entry_that_shares_no_word_is_found_by_its_meaning() -> None:
    model = Concepts({"drake": "wyrm", "wyrms": "wyrm", "lizard": "wyrm"})
    filler = [entry_of(f"f{number}", f"thing{number} other{number} more{number}") for number in range(40)]
    retriever = model.base([entry_of("wyrm", "wyrms"), *filler])
    answer = retriever.search("lizard", vector=model.vector("lizard"))
    assert answer.mode is Mode.HYBRID
    assert answer.hits[0].id == "wyrm"
    assert answer.hits[0].matches == ()
    assert answer.hits[0].cosine == pytest.approx(1, abs=1e-5)
    assert answer.hits[0].z_semantic is not None
    assert answer.hits[0].z_semantic > 1
    assert len(answer.hits) < 10, "what is like nothing of the query is no hit"


def test_a_query_of_signs_alone_is_searched_by_meaning() -> None:
    retriever = Retriever.build([item_of(WORLD[0], vector_of("!"))], ModelIdentity("m", "", DIMENSION))
    answer = retriever.search("!?", vector=vector_of("!"))
    assert answer.mode is Mode.SEMANTIC
    assert [hit.id for hit in answer.hits] == ["dragon"]


def test_a_model_that_does_not_know_the_language_is_left_out_and_the_answer_says_so() -> None:
    model = ModelIdentity("m", "", DIMENSION)
    items = [item_of(each, vector_of(each.id)) for each in WORLD]
    calibration = calibrate(model, np.array([vector_of(str(number)) for number in range(20)])).with_competence(
        {"cjk": 0.2, "latin": 1.0}
    )
    retriever = Retriever.build(items, model, calibration)
    chinese = retriever.search("红龙在哪里", vector=vector_of("smith"))
    assert chinese.mode is Mode.KEYWORD
    assert "smith" not in [hit.id for hit in chinese.hits]
    assert any("cjk" in note for note in chinese.notes)
    assert retriever.search("the red dragon", vector=vector_of("smith")).mode is Mode.HYBRID


def test_meaning_counts_more_where_words_find_little_and_only_if_the_model_knows_the_language() -> None:
    assert balance(1.0, 0.5).keyword == 1.0
    assert balance(1.0, 0.1).keyword < 0.1
    assert balance(0.7, 0.1).keyword == 1.0
    assert balance(0.3, 0.1).semantic == 0.0
    assert balance(1.0, 0.0).semantic == WEIGHT


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 3e38])
def test_a_vector_that_is_not_finite_is_never_among_the_nearest(number: float) -> None:
    poisoned = np.full(DIMENSION, number, np.float32)
    items = [item_of(WORLD[0], poisoned), item_of(WORLD[1], vector_of("smith")), item_of(WORLD[2], np.zeros(DIMENSION))]
    retriever = Retriever.build(items, ModelIdentity("m", "", DIMENSION))
    answer = retriever.search("dragon", vector=vector_of("smith"), mode=Mode.SEMANTIC)
    known = [hit.id for hit in answer.hits]
    assert known[0] == "smith"
    assert "inn" not in known
    assert all(hit.cosine is not None and -1.001 <= hit.cosine <= 1.001 for hit in answer.hits)
    assert ids(retriever, "dragon")[0] == "dragon", "its words are found"
    if not np.isfinite(number):
        assert retriever.embedded == 1
        with pytest.raises(ValueError, match="finite"):
            retriever.search("dragon", vector=poisoned)


def test_vectors_of_another_dimension_are_left_out_and_such_a_query_is_refused() -> None:
    retriever = Retriever.build([item_of(WORLD[0], vector_of("x", 8))], ModelIdentity("m", "", DIMENSION))
    assert retriever.embedded == 0
    retriever.apply([item_of(WORLD[1], vector_of("x"))])
    with pytest.raises(ValueError, match="shape"):
        retriever.search("dragon", vector=vector_of("x", 8))
    answer = retriever.search("dragon", vector=np.zeros(DIMENSION, np.float32))
    assert answer.mode is Mode.KEYWORD
    assert any("nothing to say" in note for note in answer.notes)


def test_an_entry_that_has_no_vector_yet_is_still_found_by_its_words() -> None:
    model = ModelIdentity("m", "", DIMENSION)
    items = [item_of(each, vector_of(each.id)) for each in WORLD[1:]]
    retriever = Retriever.build([item_of(WORLD[0]), *items], model)
    hits = retriever.search("red dragon", vector=vector_of("smith")).hits
    assert "dragon" in [hit.id for hit in hits]
    assert next(hit for hit in hits if hit.id == "dragon").cosine is None


def test_likeness_of_meaning_activates_enabled_entries_that_ask_for_it_alone() -> None:
    model = ModelIdentity("m", "", DIMENSION)
    plain = entry_of("plain", "x", activation_criteria={"use_semantic_search": False})
    off = entry_of("off", "x", management_metadata={"is_enabled": False})
    items = [item_of(each, vector_of("same")) for each in (WORLD[0], plain, off)]
    retriever = Retriever.build([*items, item_of(WORLD[1], vector_of("else"))], model)
    found = retriever.similarities(vector_of("same"))
    assert found == {
        "dragon": pytest.approx(1, abs=1e-5),
        "smith": pytest.approx(float(vector_of("same") @ vector_of("else")), abs=1e-5),
    }
    assert set(retriever.similarities(vector_of("same"), least=0.99)) == {"dragon"}


# --- changes ---------------------------------------------------------------------------------------------------------


def test_the_next_search_sees_a_change_and_never_what_was_there_before() -> None:
    retriever = base()
    retriever.apply([item_of(entry_of("dragon", "It moved to the icy sea."))])
    assert ids(retriever, "cinder") == []
    assert ids(retriever, "icy") == ["dragon"]
    retriever.apply([Removed("dragon"), Removed("nobody")])
    assert ids(retriever, "icy") == []
    assert "dragon" not in retriever
    assert len(retriever) == len(WORLD) - 1


def test_terms_that_cannot_be_read_change_nothing() -> None:
    retriever = base()
    broken = item_of(entry_of("new", "x"))
    with pytest.raises(ValueError, match="terms"):
        retriever.apply([Removed("dragon"), type(broken)("bad", b"\x02")])
    assert "dragon" in retriever


WORDS = ["dragon", "sea", "king", "gold", "ice"]
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 12), st.lists(st.sampled_from(WORDS), max_size=6)),
        st.tuples(st.just("remove"), st.integers(0, 12), st.just([])),
        st.tuples(st.just("keep"), st.just(0), st.just([])),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(CHANGES, st.booleans())
def test_whatever_was_changed_the_answers_are_those_of_a_base_that_is_built_anew(
    changes: list[tuple[str, int, list[str]]], many: bool
) -> None:
    model = ModelIdentity("m", "", DIMENSION)
    names = ("_FROZEN", "_MANY", "_DEAD", "_SPARE", "_ROUND")
    before = [getattr(live_module, name) for name in names]
    try:
        # So small that each run merges and packs.
        for name, value in zip(names, (3, 4 if many else 10**9, 2, 0, 2), strict=True):
            setattr(live_module, name, value)
        retriever = Retriever(model)
        truth: dict[str, list[str]] = {}
        waiting: list[Change] = []
        for kind, number, words in changes:
            id = f"e{number}"
            if kind == "keep":
                retriever.apply(waiting)
                waiting = []
                retriever.upkeep()
                assert not retriever.wants_upkeep
            elif kind == "put":
                truth.pop(id, None)
                truth[id] = words
                waiting.append(item_of(entry_of(id, " ".join(words)), vector_of(id + "".join(words))))
            else:
                truth.pop(id, None)
                waiting.append(Removed(id))
        retriever.apply(waiting)
        anew = Retriever.build(
            [item_of(entry_of(id, " ".join(words)), vector_of(id + "".join(words))) for id, words in truth.items()],
            model,
        )
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(live_module, name, value)
    assert len(retriever) == len(anew) == len(truth)
    for query in ("dragon", "sea king", "gold ice dragon"):
        for mode in Mode:
            one = retriever.search(query, 50, vector=vector_of(query), mode=mode)
            other = anew.search(query, 50, vector=vector_of(query), mode=mode)
            assert [hit.id for hit in one.hits] == [hit.id for hit in other.hits] or mode is not Mode.KEYWORD
            assert {hit.id: pytest.approx(hit.score, abs=1e-3) for hit in one.hits} == {
                hit.id: hit.score for hit in other.hits
            }
            assert {hit.id: hit.matches for hit in one.hits} == {hit.id: hit.matches for hit in other.hits}
    for query in ("dragon", "sea"):
        assert retriever.similarities(vector_of(query)) == pytest.approx(anew.similarities(vector_of(query)), abs=1e-5)


def test_searches_changes_and_upkeep_go_on_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_FROZEN", 16), ("_DEAD", 20), ("_SPARE", 0)):
        monkeypatch.setattr(live_module, name, value)
    retriever = Retriever(ModelIdentity("m", "", DIMENSION))
    retriever.apply([item_of(entry_of("stays", "lighthouse"), vector_of("lighthouse"))])
    stop, failures = threading.Event(), []

    def guarded(work: object) -> None:
        try:
            while not stop.is_set():
                work()  # type: ignore[operator]
        except BaseException as error:  # the test says which
            failures.append(error)

    def search() -> None:
        for mode in Mode:
            found = [hit.id for hit in retriever.search("lighthouse", vector=vector_of("lighthouse"), mode=mode).hits]
            assert found[0] == "stays"

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (search, search, retriever.upkeep)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 1.5
    number = 0
    while time.monotonic() < end and not failures:
        number += 1
        id = f"e{number % 50}"
        retriever.apply(
            [item_of(entry_of(id, f"dragon word{number}"), vector_of(id)), Removed(f"e{(number + 25) % 50}")]
        )
        assert ids(retriever, f"word{number}") == [id], "a change is seen at once"
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not failures
    assert number > 20


def test_a_guess_of_how_long_a_search_takes_follows_what_it_took() -> None:
    retriever = base()
    for _ in range(20):
        retriever.search("dragon", mode=Mode.KEYWORD)
    assert 0 < retriever.expected(Mode.KEYWORD) < 0.5
