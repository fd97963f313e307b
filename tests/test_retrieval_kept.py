"""Thresholds mean the same under every model; a search follows the store that it is made of."""

from __future__ import annotations

import gc
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval_bases import LEGS, Concepts, entry_of, item_of, vector_of

from innkeeper.knowledge.embedding.interface import ModelIdentity
from innkeeper.knowledge.retrieval import live
from innkeeper.knowledge.retrieval.calibration import (
    PERCENTILES,
    Calibration,
    calibrate,
    carried,
    read_calibration,
)
from innkeeper.knowledge.retrieval.competence import measure, presumed
from innkeeper.knowledge.retrieval.interface import Filters, Mode
from innkeeper.knowledge.retrieval.kept import KeptSearch, calibration_in, identity_of, with_calibration
from innkeeper.knowledge.retrieval.probing import calibrated, probes
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.retrieval.upkeep import serve

MODEL = ModelIdentity("m", "1", 16)


def cloud(number: int, drift: float, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal((number, 16)) + drift
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


# --- thresholds ------------------------------------------------------------------------------------------------------


def test_a_threshold_is_carried_over_to_the_same_place_of_another_background() -> None:
    narrow, wide = calibrate(MODEL, cloud(500, 3.0)), calibrate(MODEL, cloud(500, 0.0))
    assert narrow.mean > 0.7 > 0.2 > wide.mean
    for percentile in (1, 50, 95, 99.5):
        assert carried(narrow.cosine(percentile), narrow, wide) == pytest.approx(wide.cosine(percentile), abs=1e-6)
        assert carried(narrow.cosine(percentile), narrow, narrow) == pytest.approx(narrow.cosine(percentile), abs=1e-6)
    # 0.75 is below nearly everything under one, and above everything under the other.
    assert narrow.percentile(0.75) < 10
    assert wide.percentile(0.75) == 100


@settings(deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 3), st.floats(0, 3))
def test_what_is_more_like_stays_more_like_under_every_model(
    one: float, other: float, here: float, there: float
) -> None:
    of, to = calibrate(MODEL, cloud(60, here)), calibrate(MODEL, cloud(60, there, 1))
    low, high = sorted((carried(one, of, to), carried(other, of, to)))
    assert -1 <= low <= high <= 1
    assert (carried(one, of, to) <= carried(other, of, to)) or one > other


def test_a_calibration_is_the_same_each_time_and_survives_being_kept() -> None:
    made = calibrate(MODEL, cloud(500, 0.3)).with_competence({"cjk": 0.5})
    assert made == calibrate(MODEL, cloud(500, 0.3)).with_competence({"cjk": 0.5})
    assert read_calibration(json.loads(json.dumps(made.as_value()))) == made
    info = with_calibration({"kb_id": "x", "kb_extensions": {"other": 1}}, made)
    assert calibration_in(json.loads(json.dumps(info))) == made
    assert info["kb_extensions"]["other"] == 1


@pytest.mark.parametrize(
    "vectors", [np.zeros((0, 16)), np.zeros((100, 16)), cloud(3, 0), np.tile(cloud(1, 0), (50, 1))]
)
def test_a_base_of_few_or_equal_vectors_has_a_calibration_too(vectors: np.ndarray) -> None:
    made = calibrate(MODEL, vectors.astype(np.float32))
    assert np.isfinite(made.knots).all()
    assert made.deviation > 0
    assert made == read_calibration(made.as_value())
    assert -1 <= made.threshold <= 1.01


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=14) | st.dictionaries(st.text(max_size=9), inner, max_size=6),
)


@settings(deadline=None)
@given(VALUES, st.sampled_from(["version", "model", "mean", "deviation", "knots", "pairs", "competence"]))
def test_a_calibration_that_somebody_changed_is_one_or_is_refused(value: Any, key: str) -> None:
    good = calibrate(MODEL, cloud(50, 0)).as_value()
    for tried in (value, {**good, key: value}):
        try:
            found = read_calibration(tried)
        except ValueError:
            continue
        assert isinstance(found, Calibration)
        assert len(found.knots) == len(PERCENTILES)
        assert np.isfinite(carried(0.5, found, found))
        assert calibration_in({"kb_extensions": {"innkeeper.calibration": tried}}) == found
    assert calibration_in({"kb_extensions": value}) is None


async def test_the_background_leaves_out_the_entry_that_a_sentence_is_from() -> None:
    model = Concepts({})
    texts = [f"alpha{at} beta{at} gamma{at}." for at in range(40)]
    vectors = await model.embed(texts)
    made = await calibrated(model, texts, vectors)
    assert made.pairs > 100
    assert made.cosine(99.9) < 0.99, "each sentence is its whole entry"
    assert [at for at, _ in probes(texts)] == list(range(40))


def test_sentences_of_a_million_characters_are_few_and_short() -> None:
    found = probes(["x" * 1_000_000, "龙。" * 500_000, "", "a. b. c.", *["A whole sentence. Another one."] * 1000])
    assert len(found) <= 256
    assert all(len(sentence) <= 160 for _, sentence in found)


# --- competence ------------------------------------------------------------------------------------------------------


async def test_a_model_that_knows_a_language_is_told_from_one_that_does_not() -> None:
    topics = [f"t{at}" for at in range(40)]
    english = [" ".join([f"{topic}{word}" for word in "abcdefghij"] * 2) for topic in topics]
    chinese = [f"{chr(0x4E00 + 40 * at)}{chr(0x5E00 + at)}{chr(0x6E00 + at)}是什么" * 20 for at in range(40)]
    # Knows English words of a topic, and takes all that is Chinese for the same.
    model = Concepts({f"{topic}{word}": topic for topic in topics for word in "abcdefghij"})
    model.concepts |= {text[at:]: "same" for text in chinese for at in (0, len(text) // 2)}
    model.concepts |= {text[: len(text) // 2]: "same" for text in chinese}
    found = await measure(model, english + chinese + ["short"])
    assert found["latin"] > 0.9
    assert found["cjk"] < 0.3


async def test_of_few_texts_nothing_is_said() -> None:
    assert await measure(Concepts({}), ["a long text of many words " * 5] * 10) == {}
    assert await measure(Concepts({}), []) == {}
    assert presumed("unknown", "latin") == presumed("unknown", "thai")
    assert presumed("wordllama-l2-256", "latin") > presumed("wordllama-l2-256", "thai")


# --- the store -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    id: str
    document: str
    terms: bytes
    vector: bytes | None


@dataclass(frozen=True)
class State:
    model: str
    info: dict[str, Any] = field(default_factory=dict)
    entries: int = 0


def row(id: str, text: str, **more: Any) -> Row:
    entry = entry_of(id, text, **more)
    document = json.dumps(entry.model_dump(mode="json", exclude_unset=True))
    return Row(id, document, LEGS.terms(entry), vector_of(text).astype("<f2").tobytes())


def test_a_search_follows_the_rows_of_a_store() -> None:
    search = KeptSearch()
    rows = [row("a", "dragon", management_metadata={"tags": ["t"], "is_enabled": False}), row("b", "inn")]
    search.build(State("concepts/16"), iter(rows))
    assert search.retriever.model == ModelIdentity("concepts", "", 16)
    assert [hit.id for hit in search.retriever.search("dragon inn").hits] == ["b"]
    search.apply(State("concepts/16"), [row("a", "dragon")], ["b", "never"])
    answer = search.retriever.search("dragon inn", vector=vector_of("dragon"))
    assert [hit.id for hit in answer.hits] == ["a"]
    assert answer.hits[0].cosine == pytest.approx(1, abs=1e-3)
    assert search.cost > 0


@pytest.mark.parametrize("piece", [1, 3, 100])
def test_a_search_that_is_made_a_few_entries_at_a_time_is_that_of_all_at_once(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_PIECE", piece)
    rows = [row(f"e{at}", f"dragon {at} 红龙", management_metadata={"tags": ["t"] * (at % 2)}) for at in range(8)]
    rows.append(Row("none", rows[0].document, rows[0].terms, None))
    search = KeptSearch()
    search.build(State("concepts/16"), iter(rows))
    other = KeptSearch()
    other.build(State("concepts/16"), iter(()))
    other.apply(State("concepts/16"), rows, [])
    for filters in (Filters(), Filters(tags=["t"])):
        answers = [
            each.retriever.search("dragon 3 红龙", vector=vector_of("dragon 3 红龙"), filters=filters)
            for each in (search, other)
        ]
        assert answers[0] == answers[1]
        assert len(answers[0].hits) == (4 if filters.tags else 9)
    assert search.retriever.embedded == other.retriever.embedded == 8
    assert search.retriever.calibration is not None


def test_the_collector_has_nothing_to_look_at_in_a_search_however_many_entries_it_has() -> None:
    before, after = KeptSearch(), KeptSearch()
    rows = [row(f"e{at}", f"dragon {at}", management_metadata={"tags": ["t", "u"]}) for at in range(500)]
    before.build(State("concepts/16"), iter(rows[:1]))
    gc.collect()
    known = len(gc.get_objects())
    after.build(State("concepts/16"), iter(rows))
    # Once to learn that the inner ones hold nothing, once for the outer ones.
    gc.collect()
    gc.collect()
    assert len(gc.get_objects()) - known < 100
    assert len(after.retriever) == 500


def test_what_a_search_knows_of_a_row_is_what_its_entry_says() -> None:
    from innkeeper.knowledge.retrieval.kept import item_of as kept_item

    for more in (
        {},
        {"management_metadata": {"tags": ["x", "y"], "source": "agent_generated", "is_enabled": False}},
        {"usage_metadata": {"priority": -3.5}, "entry_type": "fact"},
        {"activation_criteria": {"keywords": ["k"]}},
        {"management_metadata": {}, "usage_metadata": {}, "activation_criteria": {}},
    ):
        entry = entry_of("e", "text", **more)
        document = json.dumps(entry.model_dump(mode="json", exclude_unset=True))
        assert kept_item(Row("e", document, LEGS.terms(entry), None)) == item_of(entry)


@pytest.mark.parametrize(
    ("model", "vector"),
    [
        ("concepts/16", b"x"),
        ("concepts/16", b""),
        ("concepts/8", None),
        ("ada", None),
        ("", None),
        ("concepts/x", None),
    ],
)
def test_vectors_that_do_not_fit_their_model_are_never_compared(model: str, vector: bytes | None) -> None:
    made = row("a", "dragon")
    search = KeptSearch()
    search.build(
        State(model), iter([Row(made.id, made.document, made.terms, made.vector if vector is None else vector)])
    )
    dimension = 16 if search.retriever.model is None else search.retriever.model.dimension
    answer = search.retriever.search("dragon", vector=vector_of("dragon", dimension))
    assert [hit.id for hit in answer.hits] == ["a"]
    assert answer.hits[0].cosine is None


@pytest.mark.parametrize("key", ["", "/", "x", "x/", "/5", "x/0", "x/-1", "x/9999999999999", "x/٣", "x/1e3"])
def test_what_is_no_key_names_no_model(key: str) -> None:
    assert identity_of(key) is None


def test_keys_name_their_models() -> None:
    for identity in (ModelIdentity("a", "", 3), ModelIdentity("BAAI/bge-m3", "2", 1024)):
        assert identity_of(identity.key) == identity


def test_a_base_carries_its_calibration_and_one_of_another_model_does_not_count() -> None:
    mine = calibrate(ModelIdentity("concepts", "", 16), cloud(50, 1.0))
    rows = [row(f"e{at}", f"text{at}") for at in range(20)]
    for carried_one, expected in ((mine, True), (calibrate(MODEL, cloud(50, 1.0)), False)):
        search = KeptSearch()
        search.build(State("concepts/16", with_calibration({}, carried_one)), iter(rows))
        assert search.retriever.calibration is not None
        assert search.retriever.calibration.model == "concepts/16"
        assert (search.retriever.calibration == mine) is expected


async def test_upkeep_is_done_while_the_host_runs_and_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_FROZEN", 5)
    retriever = Retriever()
    retriever.apply([item_of(entry_of(f"e{at}", "dragon")) for at in range(10)])
    assert retriever.wants_upkeep
    done = trio.Event()

    def looked() -> list[Retriever]:
        if not retriever.wants_upkeep:
            done.set()
        return [retriever]

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(looked, trio.CapacityLimiter(1), every=0.01))
            await done.wait()
            nursery.cancel_scope.cancel()
    assert len(retriever.search("dragon", mode=Mode.KEYWORD).hits) == 10


async def test_upkeep_that_takes_a_minute_does_not_hold_up_the_end_of_the_host() -> None:
    entered, told = threading.Event(), threading.Event()

    class Long:
        wants_upkeep = True

        def upkeep(self, stop: threading.Event) -> None:
            entered.set()
            if stop.wait(30):
                told.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(lambda: [Long()], trio.CapacityLimiter(1), every=0.01))  # type: ignore[list-item]
            assert await trio.to_thread.run_sync(entered.wait, 15)
            nursery.cancel_scope.cancel()
        assert await trio.to_thread.run_sync(told.wait, 15)


async def test_upkeep_that_fails_is_said_once_and_holds_up_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    kept = trio.Event()

    class Broken:
        wants_upkeep = True

        def upkeep(self, stop: threading.Event) -> None:
            raise MemoryError

    class Fine(Broken):
        rounds = 0

        def upkeep(self, stop: threading.Event) -> None:
            self.rounds += 1
            if self.rounds == 3:
                trio.from_thread.run_sync(kept.set)

    each = [Broken(), Fine()]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(lambda: each, trio.CapacityLimiter(1), every=0.01))  # type: ignore[arg-type, return-value]
            await kept.wait()
            nursery.cancel_scope.cancel()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
