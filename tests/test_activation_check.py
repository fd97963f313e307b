"""`kb check` names what can never be active, and nothing that can."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activations import PythonRegexes, active, ask, base, item
from innkeeper.knowledge.activation.checks.check import check
from innkeeper.knowledge.activation.checks.links import _circular
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import GROUP


async def found(*items: Item, **options: Any) -> dict[str, list[str]]:
    """Messages by entry; those that mean never begin with "!"."""
    findings: dict[str, list[str]] = {}
    for each in await check(base(*items), regexes=PythonRegexes(), **options):
        findings.setdefault(each.entry, []).append(("!" if each.never else "") + f"{each.where}: {each.message}")
    return findings


NEVER = {
    "nothing": item("a"),
    "blank": item("a", " "),
    "negative": item("a", key_groups=[{"keys": ["x"], "logic": "NOT_ANY"}]),
    "empty group": item("a", key_groups=[{"keys": [], "logic": "OR"}]),
    "regex": item("a", "/(/"),
    "regex group": item("a", "x", key_groups=[{"keys": ["/(/", "y"], "logic": "AND"}]),
    "contradiction": item("a", "x", key_groups=[{"keys": ["x"], "logic": "NOT_ANY"}]),
    "probability": item("a", "x", trigger_probability=0),
    "condition": item("a", "x", trigger_conditions=[{"type": "unheard-of"}]),
    "decorator": item("a", "x", text="@@dont_activate\nx"),
    "recursion": item("a", "x", st={"delayUntilRecursion": 99}),
    "trigger": item("a", "x", st={"triggers": ["sneeze"]}),
    "threshold": item("a", use_semantic_search=True, semantic_threshold=0.95),
    "container": item("a", "x", entry_type=GROUP, child_ids=["nobody"]),
}


@pytest.mark.parametrize("entry", NEVER.values(), ids=list(NEVER))
async def test_what_can_never_be_active_is_named(entry: Item) -> None:
    assert any(text.startswith("!") for text in (await found(entry, most_likeness=0.9))["a"])
    assert active(await ask([entry], "x y")) == []


FINE = {
    "keyword": item("a", "x"),
    "group": item("a", key_groups=[{"keys": ["x"], "logic": "OR"}]),
    "always": item("a", always=True),
    "meaning": item("a", use_semantic_search=True),
    "condition": item("a", trigger_conditions=[{"type": "variable_check", "variable": "v", "operator": "not_exists"}]),
    "activate": item("a", text="@@activate\nx"),
    "off": item("a", is_enabled=False),
}


@pytest.mark.parametrize("entry", FINE.values(), ids=list(FINE))
async def test_of_what_can_be_active_nothing_is_said(entry: Item) -> None:
    assert await found(entry, most_likeness=0.9) == {}


async def test_what_others_bring_needs_no_words() -> None:
    entries = [
        item("a", "x", text="{{{Named}}}", child_ids=["part"], related_ids=["friend"]),
        item("n", displayName="Named"),
        item("part"),
        item("friend"),
    ]
    assert await found(*entries) == {}
    assert set(await found(item("a", is_enabled=False, child_ids=["part"]), item("part"))) == {"part"}


async def test_links_that_lead_nowhere_or_in_circles_are_named() -> None:
    entries = [
        item("a", "x", text="{{{Nobody}}} {{{b}}} {{{other:Base}}}", child_ids=["gone", "c"], related_ids=["gone"]),
        item("b", "x", text="{{{a}}}"),
        item("c", "x", child_ids=["a"]),
        item("d", "x", entry_type=GROUP, child_ids=["b"]),
    ]
    findings = await found(*entries)
    assert len(findings["a"]) == 5
    assert any("{{{Nobody}}} means no entry" in text for text in findings["a"])
    assert any("contains itself" in text for text in findings["c"])
    assert any("refers to itself" in text for text in findings["b"])
    assert findings["d"] == ["content.value: is a container: its own text is never inserted"]


async def test_keys_without_effect_are_named() -> None:
    entries = [
        item("a", "x", "X"),
        item("b", "drag", "dragon", extensions={"innkeeper": {"match": "substring"}}),
        item("c", "x", extensions={"innkeeper": {"match": "fuzzy"}}),
        item("d", "x", text=""),
    ]
    findings = await found(*entries)
    assert findings["a"] == ["activation_criteria.keywords: has the same key twice"]
    assert "'dragon' has no effect" in findings["b"][0]
    assert "is none of substring, ascii, unicode" in findings["c"][0]
    assert findings["d"] == ["content: is empty: nothing is inserted when it is active"]


@settings(deadline=None)
@given(links=st.lists(st.lists(st.integers(0, 6), max_size=4), min_size=7, max_size=7))
def test_circles_are_found_as_walking_finds_them(links: list[list[int]]) -> None:
    def reaches(start: int) -> bool:
        seen: set[int] = set()
        work = list(links[start])
        while work:
            at = work.pop()
            if at == start:
                return True
            if at not in seen:
                seen.add(at)
                work += links[at]
        return False

    assert _circular(links) == {start for start in range(7) if reaches(start)}


def test_a_chain_as_long_as_a_base_may_be_is_walked_without_recursion() -> None:
    assert _circular([[number + 1] for number in range(199_999)] + [[]]) == set()
