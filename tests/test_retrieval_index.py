"""The index of a large base finds what looking at each vector finds, and is never in the way of a search."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from tests.retrieval_bases import entry_of

from innkeeper.knowledge.embedding.interface import ModelIdentity
from innkeeper.knowledge.retrieval import live, nearest, vectors
from innkeeper.knowledge.retrieval.interface import Filters, Indexed, Mode, Removed
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.text.blob import entry_terms

NUMBER, DIMENSION = 3000, 32
MODEL = ModelIdentity("m", "", DIMENSION)
BLANK = entry_terms(entry_of("x"))


def clustered(number: int, seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((60, DIMENSION))
    made = centres[chance.integers(0, 60, number)] + 0.6 * chance.standard_normal((number, DIMENSION))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


VECTORS = clustered(NUMBER)
QUERIES = clustered(40, seed=1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a base of 1,000 vectors were large."""
    monkeypatch.setattr(vectors, "EXACT", 1000 * DIMENSION)


def item(number: int, *, tags: tuple[str, ...] = (), version: int = 0) -> Indexed:
    vector = VECTORS[number] if version == 0 else clustered(NUMBER, seed=version + 10)[number]
    return Indexed(f"e{number}", BLANK, vector, tags=tags, semantic=True)


@pytest.fixture
def large(small: None) -> Retriever:
    retriever = Retriever.build([item(at, tags=("few",) if at % 10 == 0 else ()) for at in range(NUMBER)], MODEL)
    assert retriever.wants_upkeep
    retriever.upkeep()
    assert not retriever.wants_upkeep
    return retriever


def found(retriever: Retriever, query: np.ndarray, k: int = 10, **options: object) -> list[str]:
    answer = retriever.search("", k, vector=query, mode=Mode.SEMANTIC, **options)  # type: ignore[arg-type]
    return [hit.id for hit in answer.hits]


def recall(retriever: Retriever, **options: object) -> float:
    pairs = [(found(retriever, query, **options), found(retriever, query, exact=True, **options)) for query in QUERIES]
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in pairs]))


def test_the_index_finds_nearly_all_that_is_nearest(large: Retriever) -> None:
    assert not large.search("", vector=QUERIES[0], mode=Mode.SEMANTIC).exact
    assert recall(large) >= 0.99
    missing = [at for at in range(0, NUMBER, 7) if found(large, VECTORS[at], 1) != [f"e{at}"]]
    assert len(missing) <= 2


def test_before_there_is_an_index_every_vector_is_looked_at(small: None) -> None:
    retriever = Retriever.build([item(at) for at in range(NUMBER)], MODEL)
    answer = retriever.search("", vector=QUERIES[0], mode=Mode.SEMANTIC)
    assert answer.exact
    assert len(answer.hits) == 10


def test_a_filtered_search_looks_at_each_entry_that_is_left(large: Retriever) -> None:
    answer = large.search("", 20, vector=QUERIES[0], mode=Mode.SEMANTIC, filters=Filters(tags=["few"]))
    assert answer.exact
    order = np.argsort(-(VECTORS[::10] @ QUERIES[0]), kind="stable")[:20]
    assert [hit.id for hit in answer.hits] == [f"e{10 * at}" for at in order]


def test_what_is_newer_than_the_index_is_found_and_what_was_removed_is_not(large: Retriever) -> None:
    before = found(large, QUERIES[0], 5)
    large.apply([Removed(id) for id in before])
    assert not set(before) & set(found(large, QUERIES[0], 50))
    large.apply([Indexed("new", BLANK, QUERIES[0])])
    answer = large.search("", 1, vector=QUERIES[0], mode=Mode.SEMANTIC)
    assert [hit.id for hit in answer.hits] == ["new"]
    assert not answer.exact


def test_an_index_most_of_which_was_removed_still_gives_as_many_hits_as_there_are(large: Retriever) -> None:
    large.apply([Removed(f"e{at}") for at in range(NUMBER) if at % 3])
    assert len(found(large, QUERIES[0], 100)) == 100
    assert recall(large) >= 0.99


def test_after_every_entry_was_replaced_a_new_index_has_them_all(large: Retriever) -> None:
    for version in (1, 2):
        fresh = clustered(NUMBER, seed=version + 10)
        large.apply([Indexed(f"e{at}", BLANK, fresh[at]) for at in range(NUMBER)])
        large.upkeep()
    assert len(large) == NUMBER
    assert not large.wants_upkeep
    assert recall(large) >= 0.99
    missing = [at for at in range(0, NUMBER, 7) if found(large, fresh[at], 1) != [f"e{at}"]]
    assert len(missing) <= 2


def test_searches_and_changes_go_on_while_an_index_is_built(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = threading.Event(), threading.Event()
    build = live.build_nearest

    def slow(*arguments: object) -> object:
        entered.set()
        assert leave.wait(30)
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(live, "build_nearest", slow)
    retriever = Retriever.build([item(at) for at in range(NUMBER)], MODEL)
    thread = threading.Thread(target=retriever.upkeep)
    thread.start()
    try:
        assert entered.wait(30)
        retriever.apply([Indexed("new", BLANK, QUERIES[0]), Removed("e0")])
        assert found(retriever, QUERIES[0], 1) == ["new"]
        retriever.upkeep()  # another one at the same time does nothing
    finally:
        leave.set()
        thread.join(60)
    assert found(retriever, QUERIES[0], 1) == ["new"]
    assert found(retriever, VECTORS[0], 1) != ["e0"]
    assert not retriever.search("", vector=QUERIES[0], mode=Mode.SEMANTIC).exact


def test_upkeep_that_is_stopped_leaves_the_search_as_it_was(small: None) -> None:
    retriever = Retriever.build([item(at) for at in range(NUMBER)], MODEL)
    stop = threading.Event()
    stop.set()
    retriever.upkeep(stop)
    assert retriever.search("", vector=QUERIES[0], mode=Mode.SEMANTIC).exact
    assert retriever.wants_upkeep


def test_hybrid_search_with_an_index_gives_what_it_gives_without(large: Retriever) -> None:
    texts = ["dragon", "sea king", "gold"]
    for at in range(200):
        entry = entry_of(f"t{at}", texts[at % 3] + f" word{at}")
        large.apply([Indexed(entry.id, entry_terms(entry), clustered(200, seed=5)[at])])
    for at, query in enumerate(QUERIES[:10]):
        one = large.search(texts[at % 3], 10, vector=query)
        other = large.search(texts[at % 3], 10, vector=query, exact=True)
        assert not one.exact
        assert len({hit.id for hit in one.hits} & {hit.id for hit in other.hits}) >= 9


def test_an_index_that_misses_too_much_is_not_used_and_not_built_again(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "RECALL", 1.1)
    retriever = Retriever.build([item(at) for at in range(NUMBER)], MODEL)
    retriever.upkeep()
    assert not retriever.wants_upkeep
    assert retriever.search("", vector=QUERIES[0], mode=Mode.SEMANTIC).exact
    assert recall(retriever) == 1
    retriever.apply([Indexed(f"more{at}", BLANK, VECTORS[at % NUMBER]) for at in range(NUMBER + 1)])
    assert retriever.wants_upkeep
    monkeypatch.setattr(nearest, "RECALL", 0.9)
    retriever.upkeep()
    assert not retriever.search("", vector=QUERIES[0], mode=Mode.SEMANTIC).exact


def test_an_index_keeps_as_many_candidates_as_it_needs_to_find_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(3)
    hard = chance.standard_normal((2000, 64)).astype(np.float32) + 2
    hard /= np.linalg.norm(hard, axis=1, keepdims=True)
    asked: list[int] = []
    recall_of = nearest._recall

    def counted(index: Any, *arguments: Any) -> float:
        asked.append(index.expansion_search)
        return recall_of(index, *arguments)

    monkeypatch.setattr(nearest, "_recall", counted)
    monkeypatch.setattr(nearest, "EF", (10, 1000))
    made = nearest.build_nearest(hard, np.arange(2000, dtype=np.int32), 2000, lambda: False)
    assert made is not None
    assert made.usable
    assert asked == [10, 1000]


def test_a_base_whose_vectors_were_all_removed_needs_no_index() -> None:
    made = nearest.build_nearest(VECTORS, np.zeros(0, np.int32), 0, lambda: False)
    assert made is not None
    assert not made.usable


def test_the_same_vectors_make_the_same_index() -> None:
    slots = np.arange(500, dtype=np.int32)
    one, other = (nearest.build_nearest(VECTORS[:500], slots, 500, lambda: False) for _ in range(2))
    assert one is not None
    assert other is not None
    for query in QUERIES:
        assert one.search(query, 20).tolist() == other.search(query, 20).tolist()


def test_a_base_has_no_more_vectors_in_memory_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "MOST_NUMBERS", 100 * DIMENSION)
    retriever = Retriever.build([item(at) for at in range(150)], MODEL)
    assert retriever.embedded == 100
    assert len(retriever) == 150


def test_a_model_of_the_largest_vectors_takes_no_more_memory_than_a_base_may() -> None:
    wide = vectors.Vectors(8192, 250_000)
    assert wide.rows.nbytes <= 8 * vectors.MOST_NUMBERS
    assert not wide.put(200_000, np.ones(8192, np.float32))


def test_rows_grow_with_the_base() -> None:
    held = vectors.Vectors(4, 1)
    for slot in range(100):
        assert held.put(slot, np.eye(4, dtype=np.float32)[slot % 4])
    rows, has = held.read(200)
    assert has[:100].all()
    assert rows[99].tolist() == [0, 0, 0, 1]


def test_neither_usearch_nor_a_model_is_imported_for_a_search_of_a_small_base() -> None:
    code = (
        "import sys, innkeeper.knowledge.retrieval.searching as s; "
        "from innkeeper.knowledge.retrieval.retriever import Retriever; Retriever().search('x'); "
        "print([m for m in ('usearch', 'wordllama', 'tokenizers', 'safetensors', 'sqlalchemy') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60, text=True).stdout
    assert said.strip() == "[]"
