"""While a large base is made ready nobody searches through it for garbage, and nobody does afterwards."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge import settling
from innkeeper.knowledge.joined.items_index import ItemsIndex
from innkeeper.knowledge.live import ordering
from innkeeper.knowledge.settling import WORTH, settled, unsearched
from innkeeper.knowledge.store.values import BaseState, Stored


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.fixture
def searched() -> Iterator[list[int]]:
    """The generations that were searched for garbage."""
    found: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            found.append(info["generation"])

    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)


def state(entries: int) -> BaseState:
    return BaseState(
        "o", "b", {}, "", 1, entries, 0, 0, 0, 0, "", 0, "", "", "", 0, (), "", False, False, 0.0, 0.0
    )  # fmt: skip


def stored(number: int) -> Stored:
    document = {"id": f"e{number}", "content": {"value": "a dragon"}, "activation_criteria": {"keywords": ["x", "y"]}}
    return Stored(f"e{number}", json.dumps(document), float(number), 1, True, "", "", 0.0, 0.0, "")


def test_what_is_old_is_not_searched_while_much_is_made_and_what_was_made_never(searched: list[int]) -> None:
    with settled(WORTH):
        # What was there before is searched once.
        assert searched.pop() == 2
        kept = [[number] for number in range(200_000)]
    assert 2 not in searched
    assert 0 in searched
    assert gc.get_freeze_count() >= len(kept)
    assert not any(each is kept for each in gc.get_objects())


def test_a_base_that_is_made_ready_is_not_searched_for_garbage(searched: list[int]) -> None:
    index = ItemsIndex()
    with settled(2000):
        searched.clear()
        index.build(state(2000), (stored(number) for number in range(2000)))
        index.made()
    assert 2 not in searched
    known = len(gc.get_objects())
    assert known < 5000


def test_the_collector_is_as_it_was_afterwards_whatever_happens() -> None:
    gc.set_threshold(500, 7, 8)
    seen = []

    def fails() -> None:
        with settled(WORTH), settled(WORTH):
            seen.append(gc.get_threshold()[:2])
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert seen == [(500, 7)]
    assert gc.get_threshold() == (500, 7, 8)
    with settled(WORTH):
        gc.set_threshold(600, 7, 8)
    assert gc.get_threshold() == (600, 7, 8)


def test_of_the_last_who_leaves_things_are_put_back() -> None:
    before = gc.get_threshold()
    one, other = settled(WORTH), settled(WORTH)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert gc.get_threshold()[2] == settling._NEVER
    other.__exit__(None, None, None)
    assert gc.get_threshold() == before


def test_what_does_not_stay_is_not_set_aside_unless_something_else_is(searched: list[int]) -> None:
    frozen = gc.get_freeze_count()
    with unsearched(WORTH):
        kept = [[number] for number in range(200_000)]
    assert 2 not in searched
    assert gc.get_freeze_count() == frozen
    with unsearched(WORTH):
        with settled(WORTH):
            pass
        assert gc.get_freeze_count() == frozen
    assert gc.get_freeze_count() >= len(kept)


def test_for_a_small_base_nothing_is_done() -> None:
    frozen, before = gc.get_freeze_count(), gc.get_threshold()
    with settled(WORTH - 1), unsearched(WORTH - 1):
        assert gc.get_threshold() == before
    assert gc.get_freeze_count() == frozen


def test_what_was_set_aside_is_given_back_when_nobody_holds_it() -> None:
    gone: list[int] = []

    class Held:
        def __del__(self) -> None:
            gone.append(1)

    with settled(WORTH):
        held = Held()
    del held
    assert gone == [1]


def test_what_was_garbage_before_is_not_set_aside() -> None:
    gone: list[int] = []

    class Held:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            gone.append(1)

    for _ in range(100):
        held = Held()
        # Old already.
        gc.collect()
        del held
        with settled(WORTH):
            pass
    assert len(gone) == 100


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.text(max_size=3)), max_size=60), st.integers(1, 7))
def test_what_is_put_in_order_in_pieces_is_in_the_order_of_all_at_once(items: list[Any], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "_PIECE", piece)
        assert ordering.in_order(items, tuple) == sorted(items)
        assert ordering.in_order(items, lambda each: each[0]) == sorted(items, key=lambda each: each[0])
