"""What calls for an entry: words, groups, regular expressions, likeness, conditions; and what the trace says of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from activations import PythonRegexes, Scores, active, ask, base, item, line
from innkeeper.errors import GuestError, UsageError
from innkeeper.knowledge.activation import answering
from innkeeper.knowledge.activation.interface import Message, Outcome
from innkeeper.knowledge.activation.questions import Likeness
from innkeeper.knowledge.keywords import index


async def test_a_keyword_in_the_newest_message_says_so() -> None:
    found = await ask([item("a", "dragon"), item("b", "castle")], "A dragon!", explain=["b"])
    assert active(found) == ["a"]
    assert line(found, "a").reason == "keyword 'dragon' in the newest message"
    assert line(found, "b").outcome is Outcome.NO_MATCH
    assert line(found, "b").reason == "its keyword 'castle' is not in the last 4 messages"
    assert found.result.looked_at == 2


async def test_scan_depth_of_the_request_and_of_the_entry() -> None:
    entries = [item("a", "old"), item("b", "old", st={"scanDepth": 3}), item("c", "old", text="@@scan_depth 3\nx")]
    found = await ask(entries, "old", "two", "three", scan_depth=2, explain=["a"])
    assert active(found) == ["b", "c"]
    assert line(found, "b").reason == "keyword 'old' in message 3 from the end"


async def test_injected_texts_and_what_entries_say_are_looked_at_even_without_messages() -> None:
    entries = [item("a", "note", text="the cave"), item("b", "cave", st={"scanDepth": 0})]
    found = await ask(entries, "note cave", injected=["a note"], scan_depth=0)
    assert active(found) == ["a", "b"]
    assert line(found, "b").reason == "keyword 'cave' in what the entry 'a' says"


async def test_other_texts_are_looked_at_by_entries_that_ask_for_them() -> None:
    entries = [item("a", "knight"), item("b", "knight", st={"matchPersonaDescription": True})]
    found = await ask(entries, "hello", texts={"persona_description": "a knight"})
    assert active(found) == ["b"]
    assert "the user's description" in line(found, "b").reason


async def test_the_name_of_who_speaks_is_looked_at() -> None:
    assert active(await ask([item("a", "Ann")], Message("hello", name="Ann"))) == ["a"]


@pytest.mark.parametrize(
    ("logic", "texts"),
    [
        ("AND", {"m s": False, "m": False, "m s t": True}),
        ("OR", {"m s": True, "m": False, "m s t": True}),
        ("NOT_ANY", {"m s": False, "m": True, "m s t": False}),
        ("NOT_ALL", {"m s": True, "m": True, "m s t": False}),
    ],
)
async def test_groups_hold_beside_the_keywords(logic: str, texts: dict[str, bool]) -> None:
    entry = item("a", "m", key_groups=[{"group_id": "g", "keys": ["s", "t"], "logic": logic}])
    for text, expected in texts.items():
        assert (active(await ask([entry], text)) == ["a"]) is expected, text
    assert active(await ask([entry], "s t")) == []


async def test_groups_alone_call_for_an_entry_but_negative_ones_do_not() -> None:
    entries = [
        item("and", key_groups=[{"keys": ["x", "y"], "logic": "AND"}]),
        item("or", key_groups=[{"keys": ["x", "y"], "logic": "OR"}]),
        item("not", key_groups=[{"keys": ["z"], "logic": "NOT_ANY"}]),
    ]
    assert active(await ask(entries, "x y")) == ["and", "or"]
    assert active(await ask(entries, "y")) == ["or"]


async def test_a_group_that_fails_is_explained_in_its_own_words() -> None:
    group = {"group_id": "dragon_location", "keys": ["cave", "mountain"], "logic": "OR"}
    found = await ask([item("a", "dragon", key_groups=[group])], "dragon")
    expected = "needs 'cave' or 'mountain' (group dragon_location), neither is in the last 4 messages"
    assert line(found, "a").reason == expected


async def test_blank_keys_are_as_if_not_written() -> None:
    entries = [item("a", " "), item("b", "", "x"), item("c", "x", key_groups=[{"keys": [" "], "logic": "AND"}])]
    assert active(await ask(entries, "anything x")) == ["b", "c"]
    assert active(await ask(entries, "anything")) == []


async def test_an_entry_and_a_base_choose_where_keywords_count() -> None:
    substring = {"innkeeper": {"match": "substring"}}
    entries = [
        item("whole", "drag"),
        item("part", "drag", st={"matchWholeWords": False}),
        item("own", "drag", extensions=substring),
    ]
    assert active(await ask(entries, "dragons")) == ["part", "own"]
    assert active(await ask(base(*entries, **substring), "dragons")) == ["whole", "part", "own"]
    assert active(await ask([item("a", "Drag", st={"caseSensitive": True})], "drag")) == []


async def test_regular_expressions_see_the_messages_with_a_mark_before_each() -> None:
    engine = PythonRegexes()
    entries = [item("a", r"/\x01Ann:[^\x01]*hello/"), item("b", "/HELLO/"), item("c", "/HELLO/i")]
    messages = [Message("hello", name="Ann"), Message("bye", name="Bob")]
    found = await ask(entries, *messages, regexes=engine)
    assert active(found) == ["a", "c"]
    assert engine.asked[0][1] == "\x01Bob: bye\n\x01Ann: hello"
    assert len(engine.asked) == len(set(engine.asked)) + 1, "each is tested once; flags make another one"


async def test_a_regular_expression_in_recursion_sees_what_other_entries_say() -> None:
    entries = [item("a", "x", text="the cave"), item("b", "/c.ve/"), item("c", "/c.ve/", st={"excludeRecursion": True})]
    assert active(await ask(entries, "x")) == ["a", "b"]


async def test_regular_expressions_that_fail_are_named_and_count_as_not_met() -> None:
    entries = [item("a", "/(/"), item("b", "/explodes/"), item("c", "x", "/(/")]
    found = await ask(entries, "x")
    assert active(found) == ["c"]
    assert any("'a' does not compile" in note for note in found.result.notes)
    assert any("'b' took too long" in note for note in found.result.notes)


async def test_without_an_engine_keywords_still_work() -> None:
    class Broken:
        async def test(self, regexes: object, text: str) -> list[Any]:
            raise RuntimeError("secret")

    found = await ask([item("a", "/x/"), item("b", "x")], "x", regexes=Broken())
    assert active(found) == ["b"]
    assert "secret" not in " ".join(found.result.notes)


async def test_all_regular_expressions_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        async def test(self, regexes: object, text: str) -> list[Any]:
            await trio.sleep_forever()
            return []

    monkeypatch.setattr(answering, "REGEX_SECONDS", 0.05)
    found = await ask([item("a", "/x/"), item("b", "x")], "x", regexes=Endless())
    assert active(found) == ["b"]
    assert any("some were not tested" in note for note in found.result.notes)


async def test_macros_in_keys_mean_what_the_request_says() -> None:
    entries = [
        item("a", "{{char}}"),
        item("b", "/^\\x01{{user}}:/"),
        item("c", "{{nobody}}"),
        item("d", "{{town}} gate"),
    ]
    found = await ask(
        entries,
        Message("Alice at the Oslo gate", name="A.b"),
        character="Alice",
        user="A.b",
        variables={"town": "Oslo"},
    )
    assert active(found) == ["a", "b", "d"]
    assert active(await ask([entries[1]], Message("hi", name="Axb"), user="A.b")) == [], "a value is no pattern"


async def test_likeness_reaches_a_threshold_of_the_entry_or_of_the_model() -> None:
    entries = [
        item("own", use_semantic_search=True, semantic_threshold=0.3),
        item("model", use_semantic_search=True),
        item("both", "word", use_semantic_search=True),
        item("off", semantic_threshold=0.1),
    ]
    scores = Scores({"own": 0.3, "model": 0.49, "both": 0.2, "off": 1.0}, model="m")
    found = await ask(entries, "one", "two", "a word", semantic=scores, explain=["model"])
    assert active(found) == ["own", "both"]
    assert line(found, "own").score == 0.3
    assert line(found, "model").reason == "likeness 0.49 is below its threshold 0.50, the default of m"
    assert scores.queries == ["two\na word"]


async def test_a_threshold_is_carried_over_to_another_model_and_both_are_said() -> None:
    scores = Scores({"a": 0.4}, model="small", recorded="large", carried=lambda threshold: threshold / 2)
    found = await ask([item("a", use_semantic_search=True, semantic_threshold=0.75)], "x", semantic=scores)
    expected = "likeness 0.40 reaches its threshold 0.38 (0.75 under large, carried over to small)"
    assert line(found, "a").reason == expected


async def test_a_model_that_is_not_there_leaves_the_keywords_and_says_so() -> None:
    class Missing:
        async def likeness(self, base: str, query: str) -> Likeness | None:
            raise UsageError("the model 'big' is not installed")

    found = await ask([item("a", "x", use_semantic_search=True)], "x", semantic=Missing())
    assert active(found) == ["a"]
    assert found.result.notes == ["lore: by keywords only, not by meaning: the model 'big' is not installed"]


def check(variable: str, operator: str, value: Any = None) -> dict[str, Any]:
    return {"type": "variable_check", "variable": variable, "operator": operator, "value": value}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (check("n", "equals", 5), True),
        (check("n", "equals", "5"), True),
        (check("n", "equals", True), False),
        (check("yes", "equals", True), True),
        (check("yes", "equals", "true"), True),
        (check("yes", "equals", 1), False),
        (check("name", "not_equals", "Bob"), True),
        (check("missing", "not_equals", "Bob"), True),
        (check("missing", "equals", None), False),
        (check("n", "greater_than", 4), True),
        (check("n", "greater_than", 5), False),
        (check("n", "less_than", "5.5"), True),
        (check("n", "at_least", 5), True),
        (check("n", "at_most", 4), False),
        (check("name", "greater_than", 1), False),
        (check("name", "contains", "li"), True),
        (check("list", "contains", 2), True),
        (check("map", "contains", "key"), True),
        (check("list", "not_contains", 2), False),
        (check("missing", "not_contains", 2), True),
        (check("n", "exists"), True),
        (check("missing", "exists"), False),
        (check("missing", "not_exists"), True),
        (check("name", "in", ["Bob", "Alice"]), True),
        (check("n", "in", [1, 2]), False),
        (check("map.key", "equals", "v"), True),
        (check("name", "matches", "/^ali/i"), True),
        (check("name", "matches", "^ali"), False),
        ({"type": "all", "conditions": [check("n", "exists"), check("yes", "exists")]}, True),
        ({"type": "any", "conditions": [check("missing", "exists"), check("yes", "exists")]}, True),
        ({"type": "not", "condition": check("n", "exists")}, False),
        ({"type": "not", "condition": {"type": "unheard-of"}}, False),
        ({"type": "any", "conditions": []}, False),
        ({"type": "unheard-of"}, False),
        (check("n", "resembles", 5), False),
        ({"type": "variable_check"}, False),
    ],
)
async def test_conditions_on_variables(condition: dict[str, Any], expected: bool) -> None:
    variables = {"n": 5, "yes": True, "name": "Alice", "list": [1, 2], "map": {"key": "v"}}
    entry = item("a", "x", trigger_conditions=[condition])
    assert (active(await ask([entry], "x", variables=variables)) == ["a"]) is expected


async def test_a_condition_that_does_not_hold_is_said_with_the_value() -> None:
    entry = item("a", "x", trigger_conditions=[check("is_night", "equals", True)])
    found = await ask([entry], "x", variables={"is_night": False})
    assert line(found, "a").outcome is Outcome.CONDITION
    assert line(found, "a").reason.startswith(
        "its condition does not hold: variable 'is_night' is true, it is false (keyword 'x'"
    )


async def test_conditions_alone_call_for_an_entry() -> None:
    entry = item("a", trigger_conditions=[check("night", "exists")])
    assert active(await ask([entry], "x", variables={"night": 1})) == ["a"]
    assert active(await ask([entry], "x")) == []


class Plugins:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, Mapping[str, Any]]] = []

    async def check(self, plugin: str, function: str, payload: Mapping[str, Any]) -> bool:
        self.asked.append((plugin, function, payload))
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: bool = self.answer
        return answer


ASKS = {"type": "plugin", "plugin": "weather", "function": "rains", "arguments": {"at": "sea"}, "variables": ["town"]}


async def test_a_plugin_decides_and_is_told_no_more_than_it_needs() -> None:
    plugins = Plugins(True)
    entry = item("a", "x", trigger_conditions=[ASKS, ASKS])
    found = await ask([entry], "x", plugins=plugins, variables={"town": "Oslo", "password": "secret"}, session="s")
    assert active(found) == ["a"]
    ((plugin, function, payload),) = plugins.asked
    assert (plugin, function) == ("weather", "rains")
    assert payload == {
        "arguments": {"at": "sea"},
        "variables": {"town": "Oslo"},
        "base": "lore",
        "entry": "a",
        "session": "s",
        "trigger": "normal",
    }


@pytest.mark.parametrize(
    "answer", [False, 1, "yes", RuntimeError("secret"), GuestError("secret"), UsageError("no such plugin")]
)
async def test_a_plugin_that_fails_or_says_something_else_keeps_the_entry_back(answer: Any) -> None:
    found = await ask([item("a", "x", trigger_conditions=[ASKS])], "x", plugins=Plugins(answer))
    assert active(found) == []
    assert line(found, "a").outcome is Outcome.CONDITION
    assert "secret" not in " ".join(found.result.notes)
    assert bool(found.result.notes) is isinstance(answer, Exception)


async def test_nobody_is_asked_for_an_entry_that_its_words_or_variables_keep_back() -> None:
    plugins = Plugins(True)
    entries = [
        item("a", "y", trigger_conditions=[ASKS]),
        item("b", "x", trigger_conditions=[ASKS, check("n", "exists")]),
    ]
    assert active(await ask(entries, "x", plugins=plugins)) == []
    assert plugins.asked == []


async def test_plugins_are_asked_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MOST_CHECKS", 3)
    plugins = Plugins(True)
    entries = [item(f"e{number}", "x", trigger_conditions=[ASKS]) for number in range(9)]
    found = await ask(entries, "x", plugins=plugins)
    assert len(plugins.asked) == len(active(found)) == 3
    assert any("only 3 questions" in note for note in found.result.notes)


async def test_conditions_nested_without_end_are_refused() -> None:
    nested: dict[str, Any] = check("n", "exists")
    for _ in range(60):
        nested = {"type": "not", "condition": nested}
    assert active(await ask([item("a", "x", trigger_conditions=[nested])], "x", variables={"n": 1})) == []


async def test_a_message_that_is_too_long_hides_neither_itself_nor_the_entry() -> None:
    found = await ask([item("a", "dragon")], "dragon " + "x" * 1_200_000, regexes=PythonRegexes())
    assert active(found) == ["a"]
    assert any("characters were looked at" in note for note in found.result.notes)


async def test_many_scan_depths_do_not_copy_the_chat_without_end() -> None:
    engine = PythonRegexes()
    entries = [item(f"e{number}", "/needle/", st={"scanDepth": number}) for number in range(1, 200)]
    found = await ask(entries, *["x" * 5000] * 200, regexes=engine)
    assert sum(len(text) for _, text in engine.asked) <= 8_000_000
    assert any("too many different parts" in note for note in found.result.notes)


async def test_variables_of_megabytes_cost_a_bounded_amount() -> None:
    huge = ["a" * 100] * 200_000
    conditions = [check("huge", "contains", "b"), {**ASKS, "variables": ["huge"]}]
    entries = [item(f"e{number}", "x", trigger_conditions=conditions) for number in range(500)]
    since = time.process_time()
    found = await ask(entries, "x", variables={"huge": huge}, plugins=Plugins(True))
    assert active(found) == []
    assert time.process_time() - since < 10
    assert all(len(each.reason) < 1000 for each in found.result.trace)
    assert any("compare too much" in note for note in found.result.notes)


async def test_a_key_with_a_macro_counts_where_each_entry_says() -> None:
    entries = [item("a", "{{char}}"), item("b", "{{char}}", st={"matchWholeWords": False})]
    assert active(await ask(entries, "Annabel", character="Ann")) == ["b"]


async def test_a_base_whose_keywords_occur_everywhere_takes_nothing_from_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index, "MOST_HITS", 1000)
    hostile = base(item("a", *("a" * length for length in range(1, 60)), st={"matchWholeWords": False}), id="hostile")
    found = await ask([hostile, base(item("b", "word"))], "word " + "a" * 5000)
    assert [each.entry for each in found.result.active][-1] == "b"
    assert any("occur so often" in note for note in found.result.notes)


async def test_names_without_end_make_no_reasons_without_end() -> None:
    entry = item("a", "x", trigger_conditions=[check("v" * 100_000, "exists")])
    assert len(line(await ask([entry], "x"), "a").reason) <= 1000
