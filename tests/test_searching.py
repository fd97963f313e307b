"""A search with its model: whatever the model does, words are searched, and the answer says what did not work."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import trio
from tests.retrieval_bases import Concepts, Failing, entry_of

from innkeeper.knowledge.embedding.interface import EmbeddingError, ModelIdentity, Vectors
from innkeeper.knowledge.retrieval.interface import Answer, Mode
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.retrieval.searching import INLINE, Searching

ENTRIES = [
    entry_of("dragon", "a dragon"),
    entry_of("inn", "an inn"),
    *(entry_of(f"f{at}", f"x{at}") for at in range(9)),
]


def searching(model: Any, retriever: Retriever | None = None, **more: Any) -> Searching:
    return Searching(retriever or Concepts({}).base(ENTRIES), model, trio.CapacityLimiter(1), **more)


async def test_a_search_asks_the_model_once_for_each_query() -> None:
    model = Concepts({"drake": "dragon"})
    found = searching(model, model.base(ENTRIES))
    for mode in (Mode.HYBRID, Mode.SEMANTIC):
        answer = await found.search("drake", mode=mode)
        assert answer.hits[0].id == "dragon"
        assert answer.notes == ()
    assert (await found.search("drake", mode=Mode.KEYWORD)).hits == []
    assert (await found.similarities("drake", least=0.5))[0].keys() == {"dragon"}
    assert model.asked == [["drake"]]


@pytest.mark.parametrize("mode", [Mode.HYBRID, Mode.SEMANTIC])
async def test_a_model_that_fails_costs_the_meaning_and_not_the_search(mode: Mode) -> None:
    found = searching(Failing(ModelIdentity("concepts", "", 16)))
    answer = await found.search("dragon", mode=mode)
    assert [hit.id for hit in answer.hits] == ["dragon"]
    assert answer.mode is Mode.KEYWORD
    assert answer.notes == ("words alone were searched: the endpoint is asleep",)
    assert await found.similarities("dragon") == ({}, ["likeness of meaning activated nothing: the endpoint is asleep"])


async def test_a_model_that_does_not_answer_costs_a_bounded_time(autojump_clock: trio.testing.MockClock) -> None:
    class Silent(Failing):
        async def embed(self, texts: Any) -> Vectors:
            await trio.sleep_forever()
            raise AssertionError

    answer = await searching(Silent(ModelIdentity("concepts", "", 16)), patience=3).search("dragon")
    assert [hit.id for hit in answer.hits] == ["dragon"]
    assert answer.notes == ("words alone were searched: the model did not answer within 3 s",)


async def test_vectors_of_another_model_are_never_compared() -> None:
    answer = await searching(Concepts({}, id="other")).search("dragon")
    assert answer.mode is Mode.KEYWORD
    assert answer.notes == ("words alone were searched: its vectors are of another model",)


async def test_a_base_whose_model_is_not_here_keeps_working_by_keywords_and_says_so() -> None:
    found = searching(None, trouble="the base was embedded with 'ada', which is not here")
    answer = await found.search("dragon")
    assert [hit.id for hit in answer.hits] == ["dragon"]
    assert answer.notes == ("words alone were searched: the base was embedded with 'ada', which is not here",)


async def test_a_quick_search_makes_no_hop_and_a_long_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    retriever = Concepts({}).base(ENTRIES)
    threads = []
    original = Retriever.search

    def noted(self: Retriever, *arguments: Any, **options: Any) -> Answer:
        threads.append(threading.current_thread())
        return original(self, *arguments, **options)

    monkeypatch.setattr(Retriever, "search", noted)
    found = searching(Concepts({}), retriever)
    for seconds in (INLINE / 2, INLINE * 2):
        monkeypatch.setattr(Retriever, "expected", lambda self, mode, seconds=seconds: seconds)
        await found.search("dragon")
    assert threads[0] is threading.current_thread()
    assert threads[1] is not threading.current_thread()


async def test_what_is_remembered_of_queries_is_bounded() -> None:
    model = Concepts({})
    found = searching(model, model.base(ENTRIES))
    for at in range(100):
        await found.search(f"query{at}")
    assert len(found._known) <= 32
    await found.search("x" * 1_000_000)
    assert max(len(text) for asked in model.asked for text in asked) <= 8000


async def test_a_model_that_gives_what_is_no_vector_does_not_end_the_search() -> None:
    class Wrong(Failing):
        async def embed(self, texts: Any) -> Vectors:
            return np.full((len(texts), 16), np.nan, np.float32)

    answer = await searching(Wrong(ModelIdentity("concepts", "", 16))).search("dragon")
    assert [hit.id for hit in answer.hits] == ["dragon"]
    assert answer.mode is Mode.KEYWORD
    assert len(answer.notes) == 1


def test_the_error_of_a_model_is_a_sentence() -> None:
    assert str(EmbeddingError("x")) == "x"
