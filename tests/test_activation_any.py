"""Whatever entries say, an activation ends with one line for each and the same answer again."""

from __future__ import annotations

from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from activations import PythonRegexes, Scores, Words, base, said
from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.checks.check import check
from innkeeper.knowledge.activation.interface import Outcome, Request
from innkeeper.knowledge.activation.native import Activation, activate
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import ALWAYS, read_entry

IDS = ["e0", "e1", "e2", "e3", "e4"]
KEYS = st.lists(st.sampled_from(["a", "b", "龙", "/a|b/", "/(/", " ", "{{v}}", "e1 says"]), max_size=3)
TEXTS = st.lists(
    st.sampled_from(["a", "b龙", "{{v}}", "{{w}}", "{{{e1}}}", "{{{e0/e2}}}", "{{{tag:t}}}", "{{{two:e1}}}", "\n"]),
    max_size=4,
).map(" ".join)
DECORATORS = st.sampled_from(["", "", "@@activate\n", "@@depth 2\n", "@@exclude_keys b\n", "@@ignore_on_max_context\n"])
LINKS = st.lists(st.sampled_from([*IDS, "nobody"]), max_size=3)
CONDITIONS = st.lists(
    st.sampled_from(
        [
            {"type": "variable_check", "variable": "v", "operator": "equals", "value": "a"},
            {"type": "variable_check", "variable": "w", "operator": "exists"},
            {"type": "variable_check", "variable": "v", "operator": "matches", "value": "/a/"},
            {"type": "not", "condition": {"type": "variable_check", "variable": "w", "operator": "exists"}},
            {"type": "plugin", "plugin": "p", "function": "f"},
            {"type": "?"},
        ]
    ),
    max_size=1,
)
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "sticky": st.integers(0, 3),
        "cooldown": st.integers(0, 3),
        "delay": st.integers(0, 3),
        "group": st.sampled_from(["g", "g,h", "h"]),
        "groupOverride": st.booleans(),
        "useGroupScoring": st.booleans(),
        "groupWeight": st.integers(0, 2),
        "scanDepth": st.integers(0, 3),
        "matchWholeWords": st.booleans(),
        "excludeRecursion": st.booleans(),
        "preventRecursion": st.booleans(),
        "delayUntilRecursion": st.integers(0, 3) | st.booleans(),
    },
)


@st.composite
def items(draw: st.DrawFn, id: str) -> Item:
    document = {
        "id": id,
        "entry_type": draw(st.sampled_from(["lore_detail", "lore_detail", "group_container"])),
        "content": {"value": draw(DECORATORS) + draw(TEXTS)},
        "activation_criteria": {
            "keywords": draw(KEYS),
            "key_groups": draw(
                st.lists(
                    st.fixed_dictionaries(
                        {"keys": KEYS, "logic": st.sampled_from(["AND", "OR", "NOT_ANY", "NOT_ALL"])}
                    ),
                    max_size=1,
                )
            ),
            "use_semantic_search": draw(st.booleans()),
            "trigger_conditions": draw(CONDITIONS),
            "trigger_probability": draw(st.sampled_from([1.0, 1.0, 0.5, 0.0])),
        },
        "usage_metadata": {
            "priority": draw(st.integers(0, 2)),
            "once_per_session": draw(st.booleans()),
            "token_budget_impact": draw(st.sampled_from([None, None, 3, "critical"])),
            "prefix": {"text": "<{{v}}", "is_enabled": draw(st.booleans())},
        },
        "management_metadata": {
            "tags": draw(st.lists(st.sampled_from(["t", ALWAYS]), max_size=1)),
            "is_enabled": draw(st.sampled_from([True, True, True, False])),
            "child_ids": draw(LINKS),
            "related_ids": draw(LINKS),
        },
        "variable_handling": {"defines_variables": draw(st.dictionaries(st.just("w"), st.integers(0, 1)))},
        "extensions": {"sillytavern": draw(EXTRAS)},
    }
    entry, problems = read_entry(document)
    assert entry is not None, problems
    return Item(document, entry)


BOOKS = st.tuples(*(items(id) for id in IDS)).map(list)
CHATS = st.lists(st.sampled_from(["a", "b", "龙", "x"]), max_size=3)


async def once(bases: list[CompiledBase], request: Request, remembered: Any) -> Activation:
    return await activate(
        bases,
        request,
        counter=Words(),
        regexes=PythonRegexes(),
        semantic=Scores({"e0": 0.9, "e3": 0.4}),
        remembered=remembered,
    )


@settings(deadline=None, max_examples=25)
@given(one=BOOKS, two=BOOKS, chat=CHATS, budget=st.none() | st.integers(0, 12), recursion=st.integers(0, 3))
def test_any_entries_end_in_one_line_each_and_the_same_answer_again(
    one: list[Item], two: list[Item], chat: list[str], budget: int | None, recursion: int
) -> None:
    critical = any(each.entry.usage_metadata.token_budget_impact == "critical" for each in (*one, *two))

    async def run() -> None:
        bases = [base(*one, id="one", name="One"), base(*two, id="two", name="Two")]
        remembered: Any = None
        for length in range(len(chat) + 1):
            request = Request(
                messages=said(*chat[:length]),
                variables={"v": "a"},
                seed=3,
                budget=budget,
                recursion=recursion,
                unmatched=100,
            )
            found = await once(bases, request, remembered)
            assert await once(bases, request, remembered) == found
            look(found, budget, critical)
            remembered = found.remembered
        for each in bases:
            await check(each, regexes=PythonRegexes())

    trio.run(run)


def look(found: Activation, budget: int | None, critical: bool) -> None:
    result = found.result
    lines = {(each.base, each.entry): each for each in result.trace}
    assert len(lines) == len(result.trace) == result.looked_at == 10
    assert all(each.reason for each in result.trace), result.trace
    for each in result.active:
        assert lines[each.base, each.entry].outcome is Outcome.ACTIVE
    assert [each.priority for each in result.active] == sorted(each.priority for each in result.active)
    # The parts of a container stand in it and are counted with it.
    assert sum(each.tokens for each in result.active) <= result.tokens
    kept = [each for each in result.trace if each.outcome is Outcome.ACTIVE and each.tokens is not None]
    assert result.tokens == sum(each.tokens or 0 for each in kept)
    if budget is not None and not critical:
        assert result.tokens <= budget
