"""Measures of ranking give what a hand computes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.bench.measures import ndcg, recall

IDS = st.lists(st.sampled_from("abcdefghijklmnop"), unique=True)


def test_the_only_relevant_hit_at_the_first_place_is_perfect_and_at_the_third_half_as_good() -> None:
    assert ndcg(["a", "b", "c"], {"a": 1}) == 1
    # 1 / log2(3 + 1)
    assert ndcg(["b", "c", "a"], {"a": 1}) == 0.5


def test_graded_gains_are_linear_and_measured_against_the_best_order() -> None:
    # (1 / 1 + 3 / log2 3 + 2 / 2) / (3 / 1 + 2 / log2 3 + 1 / 2)
    found = ndcg(["one", "three", "two"], {"one": 1, "two": 2, "three": 3})
    assert found == pytest.approx((1 + 3 / 1.584962500721156 + 1) / (3 + 2 / 1.584962500721156 + 0.5))
    assert found == pytest.approx(0.8174935137996162)


def test_hits_beyond_the_depth_count_for_nothing_and_the_best_order_has_no_more() -> None:
    ranked = [f"x{n}" for n in range(10)] + ["a"]
    assert ndcg(ranked, {"a": 1}) == 0
    many = {f"r{n}": 1.0 for n in range(12)}
    assert ndcg([f"r{n}" for n in range(10)], many) == 1


def test_a_hit_that_is_there_twice_counts_once() -> None:
    assert ndcg(["a", "a"], {"a": 1, "b": 1}) == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_what_nobody_called_relevant_or_called_worthless_gains_nothing() -> None:
    assert ndcg(["z", "w"], {"a": 1, "w": 0, "z": -3}) == 0


@pytest.mark.parametrize("gains", [{}, {"a": 0}, {"a": -1}])
def test_without_anything_relevant_there_is_no_measure(gains: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="nothing is relevant"):
        ndcg(["a"], gains)


def test_recall_is_the_share_that_was_found_of_what_fits() -> None:
    assert recall(["a", "x", "b"], {"a", "b", "c", "d"}) == 0.5
    assert recall(["x"], {"a"}) == 0
    assert recall([f"r{n}" for n in range(10)], {f"r{n}" for n in range(20)}) == 1
    assert recall(["a", "b"], {"a", "b"}, depth=1) == 1
    with pytest.raises(ValueError, match="nothing is relevant"):
        recall(["a"], [])


@settings(deadline=None)
@given(IDS, st.dictionaries(st.sampled_from("abcdefghijklmnop"), st.floats(0.1, 5), min_size=1))
def test_measures_stay_between_nothing_and_all_and_moving_a_relevant_hit_up_never_hurts(
    ranked: list[str], gains: dict[str, float]
) -> None:
    found = ndcg(ranked, gains)
    assert 0 <= found <= 1 + 1e-9
    assert 0 <= recall(ranked, gains) <= 1
    best = sorted(ranked, key=lambda id: -gains.get(id, 0))
    assert ndcg(best, gains) >= found - 1e-9
