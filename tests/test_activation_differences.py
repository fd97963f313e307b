"""Each difference between the native profile and SillyTavern 1.15, seen in both on the same entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from activations import Words, active, ask, item, line, said
from innkeeper.knowledge.activation.interface import Outcome, Request
from innkeeper.knowledge.interchange.world_export import world_entry
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.worldinfo.activate import activate_st115
from innkeeper.knowledge.worldinfo.books import Books
from innkeeper.knowledge.worldinfo.timed import TimedEffects


async def tavern(items: Sequence[Item], *texts: str, effects: TimedEffects | None = None, **request: Any) -> list[str]:
    """Ids that are active under `st-1.15`, in the order in which they are inserted."""
    asked = Request(messages=said(*texts), **{"seed": 0, **request})
    books = Books([("lore", items)], world_entry)
    result = await activate_st115(books, asked, counter=Words(), regexes=None, effects=effects)
    return [each.entry for each in result.active]


DIFFERENCES: dict[str, tuple[list[Item], dict[str, Any], list[str], list[str]]] = {
    "always active entries are kept first": (
        [item("a", "x", text="one two", priority=500), item("b", always=True, text="one two", priority=1)],
        {"budget": 3},
        ["a"],
        ["b"],
    ),
    "what is as long as the budget fits": ([item("a", "x", text="one two three")], {"budget": 3}, [], ["a"]),
    "smaller entries get in after one that is too long": (
        [item("a", "x", text="1 2 3 4 5", priority=9), item("b", "x", text="1", priority=1)],
        {"budget": 3},
        [],
        ["b"],
    ),
    "what was kept calls for others though something did not fit": (
        [item("a", "x", text="deep", priority=9), item("b", "x", text="1 2 3 4 5"), item("c", "deep", text="c")],
        {"budget": 3},
        [],
        ["a", "c"],
    ),
    "each name of an active entry's groups counts": (
        [item("a", "x", text="next", st={"group": "g, h"}), item("b", "next", st={"group": "g"})],
        {},
        ["b", "a"],
        ["a"],
    ),
    "texts that prevent recursion are counted": (
        [
            item("a", "x", text="1 2 3 4", priority=9, st={"preventRecursion": True}),
            item("b", "x", text="go 2", priority=8),
            item("c", "go", text="1 2 3"),
        ],
        {"budget": 8},
        ["c", "b", "a"],
        ["b", "a"],
    ),
    "a blank key is as if not written": ([item("a", " ")], {}, ["a"], []),
    "equal priorities stand as in the file": (
        [item(name, "x") for name in "abc"],
        {},
        ["c", "b", "a"],
        ["a", "b", "c"],
    ),
    "a depth of 0 sees injected texts": ([item("a", "note")], {"scan_depth": 0, "injected": ["note"]}, [], ["a"]),
    "recursion that is off is off for all levels": (
        [item(f"a{level}", "x", st={"delayUntilRecursion": level}) for level in (1, 2)],
        {"recursion": 0},
        ["a2", "a1"],
        [],
    ),
    "a delayed entry needs no others": ([item("a", "x", st={"delayUntilRecursion": 1})], {}, [], ["a"]),
}


@pytest.mark.parametrize(("items", "request_", "theirs", "ours"), DIFFERENCES.values(), ids=list(DIFFERENCES))
async def test_the_profiles_differ_as_documented(
    items: list[Item], request_: dict[str, Any], theirs: list[str], ours: list[str]
) -> None:
    assert sorted(await tavern(items, "x", **request_)) == sorted(theirs)
    found = active(await ask(items, "x", **request_))
    assert sorted(found) == sorted(ours)
    if len({each.entry.usage_metadata.priority for each in items}) == 1:
        assert found == ours


async def test_words_with_spaces_and_letters_beyond_ascii_have_boundaries() -> None:
    whole = {"matchWholeWords": True}
    entries = [item("a", "red drag", st=whole), item("b", "café", st=whole)]
    texts = "a red dragon in caféé"
    assert sorted(await tavern(entries, texts)) == ["a", "b"]
    assert active(await ask(entries, texts)) == []


async def test_an_entry_that_is_edited_keeps_its_effects() -> None:
    before, after = (item("a", "x", text=text, st={"sticky": 5}) for text in ("before", "after"))
    effects = TimedEffects()
    await tavern([before], "x", effects=effects)
    assert await tavern([after], "x", "y", scan_depth=1, effects=effects) == []
    first = await ask([before], "x")
    assert active(await ask([after], "x", "y", scan_depth=1, remembered=first.remembered)) == ["a"]


async def test_a_cooldown_runs_whether_anybody_looks_or_not() -> None:
    entry = item("a", "x", st={"sticky": 2, "cooldown": 2})
    first = await ask([entry], "x")
    looked = await ask([entry], "x", "y", "y", scan_depth=1, remembered=first.remembered)
    for kept in (first.remembered, looked.remembered):
        assert line(await ask([entry], *["x"] * 4, remembered=kept), "a").outcome is Outcome.COOLDOWN
        assert active(await ask([entry], *["x"] * 5, remembered=kept)) == ["a"]


async def test_sticky_entries_are_kept_by_priority() -> None:
    entries = [item("a", "k", text="w", priority=1, st={"sticky": 9}), item("b", "x", text="w", priority=2)]
    first = await ask(entries, "k")
    assert active(await ask(entries, "k", "x", scan_depth=1, budget=1, remembered=first.remembered)) == ["b"]


async def test_alike_are_groups_without_luck_and_what_overflowed_entries_say() -> None:
    unlucky = [
        item(
            "a",
            "x",
            st={"group": "g", "groupOverride": True, "useProbability": True, "probability": 0},
            trigger_probability=0,
        ),
        item("b", "x", st={"group": "g"}),
    ]
    assert await tavern(unlucky, "x", seed=1) == active(await ask(unlucky, "x", seed=1)) == []
    silent = [item("a", "x", text="deep 2 3 4"), item("b", "deep", text="w")]
    assert await tavern(silent, "x", budget=3) == active(await ask(silent, "x", budget=3)) == []
