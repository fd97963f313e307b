"""What is inserted: references, variables, containers, related entries; all of it bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activations import active, ask, base, item, line, text_of
from innkeeper.knowledge.activation import rendering, sweeps
from innkeeper.knowledge.activation.content import Placeholder, Reference, cut
from innkeeper.knowledge.activation.decorators import split_decorators
from innkeeper.knowledge.activation.interface import Outcome
from innkeeper.knowledge.model.entry import GROUP

AFFIXES: dict[str, Any] = {
    "prefix": {"text": "<<", "is_enabled": True},
    "suffix": {"text": ">>", "is_enabled": True},
}


async def test_prefix_and_suffix_stand_around_where_they_are_enabled() -> None:
    off = {"text": "no", "is_enabled": False}
    found = await ask([item("a", "x", text="t", **AFFIXES), item("b", "x", text="t", prefix=off)], "x")
    assert [each.text for each in found.result.active] == ["<<t>>", "t"]


async def test_variables_are_filled_in_and_unknown_ones_stay() -> None:
    variables = {"n": 5, "yes": True, "none": None, "list": [1, "é"], "text": "{{n}} {{{a}}}"}
    text = "{{n}} {{ yes }}|{{none}}|{{list}} {{text}} {{unknown}} {{char}} {{user}}"
    found = await ask([item("a", "x", text=text)], "x", variables=variables, character="Ann")
    assert text_of(found, "a") == '5 true||[1, "é"] {{n}} {{{a}}} {{unknown}} Ann {{user}}'


async def test_active_entries_define_variables_for_texts_conditions_and_the_caller() -> None:
    night = {"type": "variable_check", "variable": "night", "operator": "equals", "value": True}
    entries = [
        item("early", "x", text="It is {{dragon}}.", priority=900),
        item("definer", "x", text="d", defines={"dragon": "Ignis", "night": True}, priority=1),
        item("later", "x", trigger_conditions=[night]),
        item("unused", "y", defines={"other": 1}),
    ]
    found = await ask(entries, "x", variables={"dragon": "nobody"})
    assert text_of(found, "early") == "It is Ignis."
    assert "later" in active(found)
    assert found.result.variables == {"dragon": "Ignis", "night": True}


async def test_who_is_kept_first_defines_a_variable() -> None:
    entries = [item("a", "x", defines={"n": 1}, priority=1), item("b", "x", defines={"n": 2}, priority=2)]
    assert (await ask(entries, "x")).result.variables == {"n": 2}


async def test_an_entry_may_be_nothing_but_variables() -> None:
    kind = "application/json+comfytavern-variable-definition"
    entries = [
        item("a", "x", content={"mime_type": kind, "value": '{"hp": 9}'}),
        item("b", "x", content={"mime_type": kind, "value": '{"hp": NaN}'}),
    ]
    found = await ask(entries, "x")
    assert active(found) == []
    assert found.result.variables == {"hp": 9}


async def test_a_longer_text_with_a_variable_that_no_longer_fits_stays_as_it_was_and_says_so() -> None:
    entries = [item("a", "x", text="{{v}}", priority=900), item("b", "x", text="w", defines={"v": "one two three"})]
    found = await ask(entries, "x", budget=2)
    assert text_of(found, "a") == "{{v}}"
    assert any("has no room for it" in note for note in found.result.notes)
    assert found.result.tokens == 2


async def test_references_find_names_ids_paths_tags_and_other_bases() -> None:
    one = base(
        item("a", "x", text="{{{Red}}}|{{{id=r}}}|{{{r}}}|{{{this:Red}}}|{{{World/Red}}}|{{{World/id=r}}}"),
        item("b", "x", text="{{{tag:t}}}|{{{Two:Blue}}}|{{{two:tag:t}}}|{{{two:id=bl}}}"),
        item("c", "x", text=r"{{{A\/B}}}|{{{C\: D}}}|{{{C: D}}}"),
        item("r", displayName="Red", text="red", tags=["t"], priority=2),
        item("o", displayName="Old", text="old", tags=["t"], priority=1),
        item("w", displayName="World", child_ids=["r"]),
        item("s", displayName="A/B", text="slash"),
        item("k", displayName="C: D", text="colon"),
        id="one",
        name="One",
    )
    two = base(item("bl", displayName="Blue", text="blue", tags=["t"]), id="two", name="Two")
    found = await ask([one, two], "x")
    assert text_of(found, "a") == "red|red|red|red|red|red"
    assert text_of(found, "b") == "old\nred|blue|blue|blue"
    assert text_of(found, "c") == "slash|colon|colon"
    assert line(found, "bl").reason == "its text stands in 'b', which refers to it"


async def test_references_that_lead_nowhere_leave_a_mark() -> None:
    entries = [
        item("a", "x", text="{{{Nobody}}} {{{B}}} {{{Old/Red}}} {{{no:Red}}} {{{tag:none}}} {{{off}}}"),
        item("b", displayName="B", text="b {{{a}}}"),
        item("o", displayName="Old"),
        item("r", displayName="Red"),
        item("off", is_enabled=False),
    ]
    assert text_of(await ask(entries, "x"), "a") == (
        "[引用错误: Nobody 未找到或无法解析] b [引用循环: a] [引用错误: Old/Red 未找到或无法解析] "
        "[引用错误: no:Red 未找到或无法解析] [引用错误: tag:none 未找到或无法解析] [引用错误: off 未找到或无法解析]"
    )


async def test_references_go_so_deep_and_no_deeper() -> None:
    entries = [item(f"e{n}", *(["x"] if n == 0 else []), text=f"{n} {{{{{{e{n + 1}}}}}}}") for n in range(12)]
    assert text_of(await ask(entries, "x"), "e0") == "0 1 2 3 4 5 [引用深度超限: e6]"


async def test_of_several_entries_of_one_name_the_active_ones_are_meant_else_all() -> None:
    entries = [
        item("a", "x", text="{{{Inn}}}"),
        item("1", "day", displayName="Inn", text="open", priority=7),
        item("2", "night", displayName="Inn", text="shut", priority=7),
        item("3", displayName="Inn", text="old", priority=1),
    ]
    assert text_of(await ask(entries, "x"), "a") == "old\nopen\nshut"
    entries[0] = item("a", "x", text="{{{Inn}}}", priority=0)
    assert text_of(await ask(entries, "x night"), "a") == "shut"


async def test_what_a_reference_brought_is_active_only_where_the_text_around_it_is_inserted() -> None:
    """A text is made before anybody knows whether it fits: what stood in one that did not is nowhere."""
    entries = [
        item("large", "x", text="one two three {{{brought}}} {{{looked at}}}", priority=9),
        item("small", "x", text="w"),
        item("brought", text="four"),
        item("looked at", text="five", trigger_probability=0.5, st={"triggers": ["swipe"]}),
    ]
    found = await ask(entries, "x", budget=2, explain=["brought"])
    assert active(found) == ["small"]
    assert line(found, "large").outcome is Outcome.BUDGET
    assert line(found, "brought").outcome is Outcome.NO_MATCH
    assert [each.entry for each in found.result.trace if each.outcome is Outcome.ACTIVE] == ["small"]
    found = await ask(entries, "x")
    assert "'large'" in line(found, "brought").reason
    both = [*entries, item("other", "x", text="{{{brought}}}")]
    found = await ask(both, "x", budget=2)
    assert (line(found, "brought").outcome, "'other'" in line(found, "brought").reason) == (Outcome.ACTIVE, True)


async def test_a_reference_brings_an_entry_only_in_its_scope_and_on_its_conditions() -> None:
    condition = {"type": "variable_check", "variable": "known", "operator": "exists"}
    entries = [
        item("a", "x", text="[{{{b}}}{{{c}}}]", tags=["t"]),
        item("b", text="secret", trigger_conditions=[condition], tags=["t"]),
        item("c", text="elsewhere"),
    ]
    assert text_of(await ask(entries, "x", scope=["t"]), "a") == "[]"
    assert text_of(await ask(entries, "x", variables={"known": 1}), "a") == "[secretelsewhere]"


async def test_references_that_multiply_are_bounded() -> None:
    fan = "".join(f"{{{{{{n{number}}}}}}}" for number in range(40))
    entries = [item(f"n{number}", "x", text=f"{fan} end", priority=number) for number in range(40)]
    since = time.process_time()
    found = await ask(entries, "x", recursion=0)
    assert time.process_time() - since < 10
    assert len(found.result.trace) == 40
    assert any("引用深度超限" in each.text for each in found.result.active)


async def test_a_text_that_outgrows_an_entry_is_left_out() -> None:
    entries = [item("a", "x", text="{{v}}" * 50), item("b", "x")]
    found = await ask(entries, "x", variables={"v": "w" * 60_000})
    assert active(found) == ["b"]
    assert line(found, "a").outcome is Outcome.FAILED


async def test_work_that_says_nothing_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MOST_PIECES", 1000)
    found = await ask([item("a", "x", text="{{v}}" * 2000), item("b", "x")], "x", variables={"v": ""})
    assert line(found, "a").outcome is Outcome.FAILED
    assert line(found, "a").reason == "references and variables were too much work in all"
    assert active(found) == ["b"], "what needs no work is not kept out by those who waste it"


async def test_a_value_longer_than_any_text_leaves_its_placeholder() -> None:
    assert text_of(await ask([item("a", "x", text="{{v}}")], "x", variables={"v": "w" * 100_000}), "a") == "{{v}}"


async def test_a_container_has_its_parts_inside_in_their_order() -> None:
    entries = [
        item("g", "x", text="never seen", entry_type=GROUP, child_ids=["a", "b", "c", "nobody"], **AFFIXES),
        item("a", "other", text="one", priority=3),
        item("b", text="two", priority=2),
        item("c", "x", text="three", priority=1),
    ]
    found = await ask(entries, "x")
    assert active(found) == ["g"]
    assert text_of(found, "g") == "<<three\ntwo\none>>"
    assert line(found, "a").reason == "a part of 'g'"
    assert line(found, "c").reason == "keyword 'x' in the newest message"


async def test_parts_are_held_back_by_all_but_their_words() -> None:
    condition = {"type": "variable_check", "variable": "known", "operator": "exists"}
    entries = [
        item("g", "x", entry_type=GROUP, child_ids=["a", "b", "c", "d", "e"]),
        item("a", "other", text="fine"),
        item("b", text="no", trigger_conditions=[condition]),
        item("c", text="no", is_enabled=False),
        item("d", text="no", trigger_probability=0),
        item("e", text="no", st={"delay": 99}),
    ]
    found = await ask(entries, "x")
    assert text_of(found, "g") == "fine"
    assert {each.entry: each.outcome for each in found.result.trace} == {
        "g": Outcome.ACTIVE,
        "a": Outcome.ACTIVE,
        "b": Outcome.CONDITION,
        "c": Outcome.DISABLED,
        "d": Outcome.PROBABILITY,
        "e": Outcome.DELAY,
    }


async def test_containers_lie_in_containers_and_never_in_themselves() -> None:
    entries = [
        item("g", "x", entry_type=GROUP, child_ids=["h", "g"], prefix={"text": "(", "is_enabled": True}),
        item("h", entry_type=GROUP, child_ids=["a", "g"], suffix={"text": ")", "is_enabled": True}),
        item("a", text="deep"),
    ]
    found = await ask(entries, "x")
    assert active(found) == ["g"]
    assert text_of(found, "g") == "(deep)"


@settings(deadline=None, max_examples=60)
@given(
    children=st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=6, max_size=6),
    called=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_any_tangle_of_containers_ends_with_each_text_once(children: list[list[int]], called: list[bool]) -> None:
    import trio

    entries = [
        item(f"e{number}", *(["x"] if called[number] else []), text=f"t{number}.", child_ids=[f"e{c}" for c in inner])
        for number, inner in enumerate(children)
    ]

    async def run() -> Any:
        return await ask(entries, "x")

    found = trio.run(run)
    text = "".join(each.text for each in found.result.active)
    lines = {each.entry: each.outcome for each in found.result.trace}
    for number in range(6):
        there = text.count(f"t{number}.")
        assert there == (lines.get(f"e{number}") is Outcome.ACTIVE)
        assert there or not called[number]


async def test_an_empty_container_is_not_there_and_costs_nothing() -> None:
    entries = [
        item("g", "x", entry_type=GROUP, child_ids=["h"], prefix={"text": "one two", "is_enabled": True}),
        item("h", entry_type=GROUP, child_ids=[], prefix={"text": "three", "is_enabled": True}),
    ]
    found = await ask(entries, "x", budget=9)
    assert (active(found), found.result.tokens) == ([], 0)
    assert line(found, "g").reason.startswith("none of its parts is active")


async def test_parts_that_do_not_fit_are_left_out_of_their_container() -> None:
    entries = [
        item("g", "x", entry_type=GROUP, child_ids=["a", "b"], **AFFIXES),
        item("a", text="one two three", priority=9),
        item("b", text="w"),
    ]
    found = await ask(entries, "x", budget=2)
    assert text_of(found, "g") == "<<w>>"
    assert found.result.tokens == 2
    assert line(found, "a").outcome is Outcome.BUDGET


async def test_related_entries_come_last_and_one_step_far() -> None:
    entries = [
        item("a", "x", text="w", related_ids=["b", "nobody"]),
        item("b", "other", text="w", related_ids=["c"]),
        item("c", "other", text="w"),
        item("d", "x", text="w"),
    ]
    found = await ask(entries, "x", budget=3)
    assert set(active(found)) == {"a", "d", "b"}
    assert line(found, "b").reason == "belongs to 'a'"
    assert set(active(await ask(entries, "x", budget=2))) == {"a", "d"}
    assert set(active(await ask(entries, "x", related=False))) == {"a", "d"}


@settings(deadline=None)
@given(text=st.text("{}a:/\\tgid=x \n", max_size=60))
def test_cutting_a_text_loses_nothing(text: str) -> None:
    def written(piece: Any) -> str:
        if isinstance(piece, Reference):
            return "{{{" + piece.written + "}}}"
        return piece.written if isinstance(piece, Placeholder) else str(piece)

    assert "".join(written(piece) for piece in cut(text)) == text


@settings(deadline=None)
@given(text=st.text("@acdeht_ivp 1\n\r", max_size=60))
def test_decorators_are_read_from_any_text(text: str) -> None:
    _, rest = split_decorators(text)
    assert text.endswith(rest)


def test_texts_made_to_be_slow_are_cut_in_no_time() -> None:
    since = time.process_time()
    for text in (
        "{{{" * 80_000,
        "{{" + "a" * 200_000,
        "{{{" + "a:" * 100_000 + "}}}",
        "@@" * 100_000,
        "@@a \n" * 50_000,
    ):
        cut(text)
        split_decorators(text)
    cut("{{{" + "\\" * 499 + "}}}")
    assert time.process_time() - since < 2


async def test_links_without_end_are_looked_at_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "MOST_LINKS", 100)
    ids = [f"e{number}" for number in range(60)]
    entries = [item(id, "x", related_ids=ids, child_ids=ids) for id in ids]
    found = await ask(entries, "x")
    assert any("parts and related entries" in note for note in found.result.notes)
    assert "".join(each.text for each in found.result.active).count("text of") == 60
