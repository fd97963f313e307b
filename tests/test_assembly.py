"""Putting prompts together: what goes where, what gives way, and what a caller is told."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.knowledge.activation.interface import Active, Message
from innkeeper.knowledge.assembly import bounds
from innkeeper.knowledge.assembly.assemble import Assembled, assemble
from innkeeper.knowledge.assembly.inputs import Inputs, active_of
from innkeeper.knowledge.assembly.plain_inputs import read_inputs
from innkeeper.knowledge.assembly.report import table
from innkeeper.knowledge.assembly.template import Template, read_template, template_schema
from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.tokens.named import counter

try:
    import rs_bpe  # noqa: F401

    TOKENIZERS = ["estimate", "words", "cl100k_base"]
except ImportError:
    TOKENIZERS = ["estimate", "words"]

WORDS = counter("words")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


def active(text: str, **more: Any) -> Active:
    values: dict[str, Any] = {
        "base": "world",
        "entry": text,
        "name": text,
        "text": text,
        "priority": 100,
        "placement": "before_prompt",
        "role": None,
        "depth": None,
        "outlet": "",
        "tokens": 0,
        "exclude_from_history": False,
    }
    return Active(**(values | more))


def template(*blocks: dict[str, Any], **more: Any) -> Template:
    named = [{"id": f"{number} {block['kind']}", **block} for number, block in enumerate(blocks)]
    return read_template({"blocks": named, "message_tokens": 0, **more})


def chat(*texts: str) -> list[Message]:
    return [Message(text, "user" if number % 2 == 0 else "assistant") for number, text in enumerate(texts)]


def said(found: Assembled) -> list[str]:
    return [message["content"] for message in found.messages]


LORE = {"kind": "entries"}
HISTORY = {"kind": "history"}
INPUT = {"kind": "user_input"}


def put(inputs: Inputs, *blocks: dict[str, Any], **more: Any) -> Assembled:
    return assemble(inputs, template(*blocks, **more), counter=WORDS)


def test_the_default_template_has_the_layout_of_a_chat() -> None:
    inputs = Inputs(
        active=[
            active("Lore before."),
            active("Lore after.", placement="after_prompt"),
            active("A rule.", placement="system_context"),
            active("A note.", placement="scratchpad_notes"),
            active("Deep.", depth=1),
            active("Top of examples.", tags=["st_content_category:pre_send_modifier"]),
        ],
        history=chat("Hello.", "Welcome."),
        user_input="Who rules here?",
        examples=["Ann: Hi!"],
        texts={"system": "You are the keeper.", "character_description": "Old.", "post_history": "Be brief."},
    )
    found = assemble(inputs)
    assert [message["role"] for message in found.messages] == [
        "system",
        "user",
        "assistant",
        "system",
        "user",
    ]
    assert said(found)[0].split("\n\n") == [
        "You are the keeper.",
        "A rule.",
        "Lore before.",
        "Old.",
        "Lore after.",
        "Top of examples.",
        "Ann: Hi!",
    ]
    assert said(found)[1:] == ["Hello.", "Welcome.", "A note.\n\nBe brief.\n\nDeep.", "Who rules here?"]
    assert (found.notes, found.over, found.tokenizer) == ([], 0, "estimate")


def test_larger_priority_stands_nearer_to_the_end_and_equals_keep_their_order() -> None:
    inputs = Inputs(active=[active("b", priority=9), active("a", priority=1), active("c", priority=9)])
    assert said(put(inputs, LORE)) == ["a\nb\nc"]
    assert said(put(inputs, {**LORE, "order": "given"})) == ["b\na\nc"]


def test_depth_counts_messages_from_the_end_with_the_users_words_as_the_last() -> None:
    inputs = Inputs(
        active=[active(f"d{depth}", depth=depth) for depth in (0, 1, 2, 3, 99)],
        history=chat("one", "two"),
        user_input="three",
    )
    assert said(put(inputs, LORE, HISTORY, INPUT)) == ["d3\nd99", "one", "d2", "two", "d1", "three", "d0"]


def test_at_one_depth_the_larger_priority_stands_nearer_to_the_end_and_roles_stay_apart() -> None:
    inputs = Inputs(
        active=[
            active("high", depth=1, priority=5),
            active("theirs", depth=1, priority=3, role="assistant"),
            active("low", depth=1, priority=1),
            active("low too", depth=1, priority=1),
        ],
        history=chat("one", "two"),
    )
    found = put(inputs, LORE, HISTORY)
    assert said(found) == ["one", "low\nlow too", "theirs", "high", "two"]
    assert [message["role"] for message in found.messages][1:4] == ["system", "assistant", "system"]


def test_depth_inside_of_a_block_counts_its_entries() -> None:
    entries = [active("a", priority=1), active("b", priority=2), active("c", priority=3)]
    deep = [active("end", depth=0), active("before c", depth=1), active("first", depth=50)]
    found = put(Inputs(active=entries + deep), {**LORE, "depth": "block"})
    assert said(found) == ["first\na\nb\nbefore c\nc\nend"]


def test_an_entry_with_a_depth_that_no_block_takes_goes_to_the_messages() -> None:
    found = put(Inputs(active=[active("deep", depth=1, placement="?")], history=chat("one", "two")), HISTORY)
    assert said(found) == ["one", "deep", "two"]


def test_depth_without_any_message_stands_where_the_history_would() -> None:
    found = put(Inputs(active=[active("deep", depth=4)], texts={"a": "A", "b": "B"}), LORE, HISTORY,
                {"kind": "text", "text": "after"})  # fmt: skip
    assert said(found) == ["deep", "after"]


def test_of_the_blocks_that_would_take_an_entry_the_one_with_more_conditions_does() -> None:
    both = active("x", tags=["t"], entry_type="e")
    any_block, tagged = {**LORE, "prefix": "any:"}, {**LORE, "tags": ["t"], "prefix": "tag:"}
    typed = {**LORE, "tags": ["t"], "types": ["e"], "bases": ["world"], "prefix": "most:"}
    assert said(put(Inputs(active=[both]), any_block, tagged, typed)) == ["most:x"]
    assert said(put(Inputs(active=[active("x", tags=["t"])]), any_block, tagged, typed)) == ["tag:x"]
    assert said(put(Inputs(active=[active("x")]), any_block, tagged, typed)) == ["any:x"]


def test_what_no_block_takes_is_reported() -> None:
    found = put(Inputs(active=[active("lost", placement="nowhere"), active("out", outlet="o")]),
                {**LORE, "placements": ["before_prompt"]}, {"kind": "text", "text": "x"})  # fmt: skip
    row = found.report[-1]
    assert [(cut.title, cut.reason) for cut in row.cut] == [
        ("lost", "no block takes the placement 'nowhere'"),
        ("out", "no block takes the outlet 'o'"),
    ]


def test_an_outlet_takes_what_goes_to_it_and_nothing_else() -> None:
    inputs = Inputs(active=[active("in", outlet="o"), active("other")])
    assert said(put(inputs, {"kind": "outlet", "outlet": "o"})) == ["in"]
    assert said(put(inputs, LORE)) == ["other"]


def test_an_entry_with_a_role_is_a_message_of_its_own_between_those_of_its_block() -> None:
    inputs = Inputs(active=[active("a"), active("b", role="assistant"), active("c")])
    found = put(inputs, {**LORE, "prefix": "<", "suffix": ">"})
    assert [(message["role"], message["content"]) for message in found.messages] == [
        ("system", "<a"),
        ("assistant", "b"),
        ("system", "c>"),
    ]


def test_a_prefix_is_never_put_into_the_mouth_of_somebody_else() -> None:
    blocks = [{**LORE, "prefix": "<", "suffix": ">"}, {**HISTORY, "prefix": "[chat]", "suffix": "[/chat]"}]
    found = put(Inputs(active=[active("b", role="assistant")], history=chat("one")), *blocks)
    assert [(message["role"], message["content"]) for message in found.messages] == [
        ("system", "<"),
        ("assistant", "b"),
        ("system", ">"),
        ("system", "[chat]"),
        ("user", "one"),
        ("system", "[/chat]"),
    ]


def test_a_block_with_nothing_in_it_leaves_neither_prefix_nor_suffix() -> None:
    assert said(put(Inputs(), {**LORE, "prefix": "<"}, {"kind": "text", "text": " \n", "suffix": ">"})) == []


def test_blocks_that_are_off_take_nothing() -> None:
    found = put(Inputs(active=[active("x")]), {**LORE, "is_enabled": False}, {"kind": "text", "text": "t"})
    assert said(found) == ["t"]
    assert found.report[-1].cut[0].title == "x"


# Budgets


def test_the_oldest_messages_go_first_whole_and_without_a_gap() -> None:
    inputs = Inputs(history=chat("a a a", "b", "c c c c", "d", "e"), user_input="u u")
    found = put(inputs, HISTORY, INPUT, budget=7)
    assert said(found) == ["d", "e", "u u"]
    assert found.tokens == 4
    assert {cut.title: cut.reason for cut in found.report[0].cut} == {
        "message 3": "the budget of the prompt is used up",
        "message 2": "a newer message did not fit, and the conversation has no gaps",
        "message 1": "a newer message did not fit, and the conversation has no gaps",
    }


def test_the_users_words_and_critical_entries_stay_whatever_the_budget_and_the_excess_is_said() -> None:
    inputs = Inputs(
        active=[active("c c c", critical=True), active("x")], history=chat("h"), user_input="u u u", texts={"s": "s"}
    )
    found = put(inputs, LORE, HISTORY, INPUT, budget=4)
    assert said(found) == ["c c c", "u u u"]
    assert found.over == 2
    assert found.notes == ["what must be there is 2 tokens longer than the budget of 4"]


def test_a_large_entry_that_does_not_fit_leaves_room_for_smaller_ones() -> None:
    inputs = Inputs(active=[active("big " * 9, priority=9), active("one", priority=1), active("two", priority=2)])
    assert said(put(inputs, LORE, budget=6)) == ["one\ntwo"]


def test_under_a_budget_the_larger_priority_is_kept_and_of_equals_the_earlier() -> None:
    inputs = Inputs(active=[active("a"), active("b"), active("c", priority=200)])
    assert said(put(inputs, LORE, budget=2)) == ["a\nc"]


def test_the_budget_of_a_block_binds_that_block_alone() -> None:
    inputs = Inputs(active=[active("a"), active("b"), active("t", tags=["t"])])
    found = put(inputs, {**LORE, "budget": 1}, {**LORE, "tags": ["t"]})
    assert said(found) == ["a", "t"]
    assert [cut.reason for cut in found.report[0].cut] == ["the budget of its block is used up"]


def test_blocks_of_a_larger_rank_are_filled_first() -> None:
    inputs = Inputs(active=[active("e e")], history=chat("h", "i"))
    assert said(put(inputs, LORE, HISTORY, budget=2)) == ["e e"]
    assert said(put(inputs, {**LORE, "rank": 1}, HISTORY, budget=2)) == ["h", "i"]


def test_examples_go_whole_and_the_last_ones_first() -> None:
    inputs = Inputs(examples=[chat("a", "b"), chat("c", "d", "e"), "f"], user_input="u")
    found = put(inputs, {"kind": "examples", "before_each": "[ex]"}, INPUT, budget=6)
    assert said(found) == ["[ex]", "a", "b", "[ex]", "f", "u"]


def test_a_text_that_is_not_required_gives_way() -> None:
    blocks = [{"kind": "text", "text": "a b c", "required": False}, {"kind": "text", "text": "d e"}, INPUT]
    assert said(put(Inputs(user_input="u"), *blocks, budget=4)) == ["d e", "u"]


def test_the_newest_messages_can_be_required() -> None:
    inputs = Inputs(history=chat("a", "b b b", "c"))
    assert said(put(inputs, {**HISTORY, "keep_last": 2}, budget=1)) == ["b b b", "c"]


def test_what_is_reserved_for_the_answer_is_not_used() -> None:
    assert said(put(Inputs(history=chat("a", "b", "c")), HISTORY, budget=5, reserve=3)) == ["b", "c"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text("ab \n龙", max_size=20), st.integers(0, 9), st.sampled_from([None, 0, 1, 5]))),
    st.lists(st.text("xy \n世", max_size=20), max_size=8),
    st.integers(0, 60),
    st.sampled_from(["none", "system", "same_role"]),
    st.sampled_from(["structured_list", "single_string"]),
    st.sampled_from(TOKENIZERS),
)
def test_a_prompt_is_never_longer_than_its_budget_unless_what_is_required_is(
    entries: list[tuple[str, int, int | None]],
    history: list[str],
    budget: int,
    squash: str,
    output: str,
    tokenizer: str,
) -> None:
    inputs = Inputs(
        active=[active(text, priority=priority, depth=depth) for text, priority, depth in entries],
        history=chat(*history),
        user_input="u u",
    )
    whole = template(LORE, HISTORY, INPUT, budget=budget, squash=squash, output=output, message_tokens=2)
    found = assemble(inputs, whole, counter=counter(tokenizer))
    assert found.tokens <= budget + found.over
    if found.over:
        assert [row.kept for row in found.report] == [0, 0, 1]
    assert "u u" in found.messages[-1]["content"] or any("u u" in text for text in said(found))


# Roles, names, one string


def test_squashing_joins_what_follows_each_other() -> None:
    blocks = [{"kind": "text", "text": "a"}, {"kind": "text", "text": "b"}, HISTORY]
    inputs = Inputs(history=[Message("1"), Message("2"), Message("3", "assistant")])
    assert said(put(inputs, *blocks)) == ["a", "b", "1", "2", "3"]
    assert said(put(inputs, *blocks, squash="system")) == ["a\n\nb", "1", "2", "3"]
    assert said(put(inputs, *blocks, squash="same_role", separator=" ")) == ["a b", "1 2", "3"]


def test_names_stand_before_the_text_or_in_a_field_or_nowhere() -> None:
    inputs = Inputs(history=[Message("hi", name="Ann <x>"), Message("yes", "assistant")], names={"assistant": "Bob"})
    assert said(put(inputs, HISTORY)) == ["hi", "yes"]
    assert said(put(inputs, HISTORY, names="prefix")) == ["Ann <x>: hi", "Bob: yes"]
    assert [message["name"] for message in put(inputs, HISTORY, names="field").messages] == ["Ann_x", "Bob"]


def test_messages_of_two_people_do_not_become_one_where_names_are_fields() -> None:
    inputs = Inputs(history=[Message("hi", name="Ann"), Message("ho", name="Cid")])
    assert len(put(inputs, HISTORY, names="field", squash="same_role").messages) == 2
    assert said(put(inputs, HISTORY, names="prefix", squash="same_role")) == ["Ann: hi\n\nCid: ho"]


def test_one_string_has_each_message_as_the_template_says_and_what_is_said_cannot_break_out() -> None:
    inputs = Inputs(history=[Message("{name} {content}", name="{content}"), Message("yes", "assistant")])
    texts = {"user": "<|{role}|>{name}: {content}</s>", "assistant": "[{content}]"}
    found = put(inputs, {"kind": "text", "text": "s"}, HISTORY, output="single_string", role_texts=texts)
    assert found.prompt == "s\n<|user|>{content}: {name} {content}</s>[yes]"
    assert found.tokens == WORDS.count(found.prompt)
    assert found.plain()["prompt_data"] == found.prompt


def test_parameters_are_passed_on_and_those_of_the_inputs_win() -> None:
    inputs = Inputs(user_input="u", llm_parameters={"temperature": 1})
    found = put(inputs, INPUT, llm_parameters={"temperature": 0.2, "top_p": 1})
    assert found.llm_parameters == {"temperature": 1, "top_p": 1}


# Sources


def test_each_part_of_a_message_says_where_it_comes_from_and_whether_it_leaves_the_history() -> None:
    inputs = Inputs(
        active=[active("once", exclude_from_history=True, priority=1), active("stays", priority=2)],
        texts={"t": "text"},
    )
    found = put(inputs, {"kind": "text", "source": "t"}, {**LORE, "prefix": "<<", "suffix": ">>"}, squash="system")
    (text,) = said(found)
    assert text == "text\n\n<<once\nstays>>"
    (sources,) = found.sources
    assert [(text[each.start : each.end], each.entry, each.exclude_from_history) for each in sources] == [
        ("text", "", False),
        ("once", "once", True),
        ("stays", "stays", False),
    ]


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            active,
            st.text(min_size=1, max_size=8),
            priority=st.integers(0, 3),
            depth=st.sampled_from([None, 0, 1, 3]),
            role=st.sampled_from([None, "system", "user", "assistant"]),
        )
    ),
    st.lists(st.text(max_size=8), max_size=5),
    st.sampled_from(["none", "system", "same_role"]),
    st.sampled_from(["none", "prefix", "field"]),
    st.sampled_from(["messages", "block"]),
)
def test_without_a_budget_everything_is_there_once_and_the_sources_say_where(
    entries: list[Active], history: list[str], squash: str, names: str, depth: str
) -> None:
    inputs = Inputs(active=entries, history=chat(*history), names={"user": "Ann"})
    found = put(inputs, {**LORE, "prefix": "(", "depth": depth}, {**HISTORY, "suffix": ")"}, squash=squash, names=names)
    parts = []
    for message, sources in zip(found.messages, found.sources, strict=True):
        parts += [message["content"][each.start : each.end] for each in sources]
    assert sorted(parts) == sorted(text for text in [*(each.text for each in entries), *history] if text.strip())


# Media


def test_an_image_becomes_a_part_as_a_data_uri() -> None:
    asked = []

    def read(base: str, path: str, most: int) -> bytes:
        asked.append((base, path, most))
        return PNG

    inputs = Inputs(active=[active("A map.", media=("media/map.png", "image/png"))])
    found = assemble(inputs, template(LORE), counter=WORDS, read_media=read)
    text, image = found.messages[0]["content"]
    assert text == {"type": "text", "text": "A map."}
    head, _, data = image["image_url"]["url"].partition(",")
    assert (image["type"], head, b64decode(data)) == ("image_url", "data:image/png;base64", PNG)
    assert asked == [("world", "media/map.png", bounds.MOST_IMAGE)]
    assert found.tokens == 802


@pytest.mark.parametrize(
    ("mime", "data", "note"),
    [
        ("image/png;base64,AAAA\r\nX: y", b"GIF89a", "it is no image/png"),
        ("text/html,<script>", PNG, "of which only the text is used"),
        ("audio/mpeg", PNG, "of which only the text is used"),
        ("image/svg+xml", b"<svg/>", "of which only the text is used"),
        ("image/webp", b"RIFFxxxxAVI ", "it is no image/webp"),
        ("image/png", PNG + bytes(bounds.MOST_IMAGE), "larger than"),
    ],
)
def test_media_that_are_not_what_they_say_stay_out_and_are_named(mime: str, data: bytes, note: str) -> None:
    inputs = Inputs(active=[active("Text.", media=("m", mime))])
    found = assemble(inputs, template(LORE), counter=WORDS, read_media=lambda *_: data)
    assert said(found) == ["Text."]
    assert note in found.notes[0]


def test_media_that_cannot_be_read_cost_their_image_and_not_the_prompt() -> None:
    def read(base: str, path: str, most: int) -> bytes:
        raise UsageError("there is no such file")

    inputs = Inputs(active=[active("Text.", media=("m.png", "image/png")), active("", media=("m.png", "image/png"))])
    found = assemble(inputs, template(LORE), read_media=read)
    assert said(found) == ["Text.\n"]
    assert found.notes == ["'m.png' of the base 'world' cannot be read: there is no such file"]
    assert assemble(inputs, template(LORE)).notes[0].endswith("without media")


def test_images_are_bounded_in_number_also_where_many_entries_have_the_same() -> None:
    asked = []

    def read(base: str, path: str, most: int) -> bytes:
        asked.append(path)
        return PNG

    many = [active(f"{number}", media=(f"{number % 40}.png", "image/png")) for number in range(80)]
    same = [active(f"{number}", media=("one.png", "image/png")) for number in range(500)]
    for entries in (many, same):
        asked.clear()
        found = assemble(Inputs(active=entries), template(LORE), read_media=read)
        assert sum(part["type"] == "image_url" for part in found.messages[0]["content"]) == bounds.MOST_IMAGES
        assert len(found.notes) <= 21
    assert asked == ["one.png"]
    assert found.notes[-1] == "and 464 more media are left out"


def test_an_image_without_a_text_is_a_message() -> None:
    found = assemble(
        Inputs(active=[active("", media=("a.png", "image/png"))]), template(LORE), read_media=lambda *_: PNG
    )
    assert [part["type"] for part in found.messages[0]["content"]] == ["image_url"]
    assert len(found.sources) == 1


def test_thousands_of_tags_are_not_looked_at_for_each_block() -> None:
    entries = [active(str(n), tags=[f"t{m}" for m in range(5000)]) for n in range(100)]
    blocks = [{**LORE, "tags": [f"x{n}"]} for n in range(198)]
    started = time.thread_time()
    found = put(Inputs(active=entries), *blocks, {**LORE, "tags": ["t7"]})
    assert time.thread_time() - started < 2
    assert found.report[-1].kept == 100


def test_titles_in_a_report_are_short() -> None:
    found = put(Inputs(active=[active("x", name="n" * 1000)]), {"kind": "text", "text": "t"})
    assert len(found.report[-1].cut[0].title) == 200


def test_entries_that_other_means_chose_are_taken_as_they_are() -> None:
    entry = Entry.model_validate(
        {
            "id": "e",
            "content": {"value": "V", "path": "media/a.png", "mime_type": "image/png"},
            "usage_metadata": {
                "role": "assistant",
                "depth_offset": 2,
                "token_budget_impact": "critical",
                "prefix": {"text": "<", "is_enabled": True},
                "suffix": {"text": ">", "is_enabled": False},
            },
        }
    )
    found = active_of("b", entry)
    assert (found.text, found.role, found.depth, found.critical) == ("<V", "assistant", 2, True)
    assert found.media == ("media/a.png", "image/png")


def test_plain_data_are_read_as_inputs_and_entries_go_behind_what_is_active() -> None:
    document = {
        "entries": [{"base": "b", "entry": {"id": "e", "content": {"value": "E"}}}],
        "history": [{"role": "user", "content": "hi", "name": "Ann"}],
        "user_input": {"role": "user", "content": "u"},
        "examples": ["x", [{"role": "assistant", "content": "y"}]],
        "texts": {"system": "s"},
        "llm_parameters": {"temperature": 1},
        "names": {"assistant": "Bob"},
    }
    found = read_inputs(document, [active("A")])
    assert [each.text for each in found.active] == ["A", "E"]
    assert found.history == [Message("hi", "user", "Ann")]
    assert found.user_input == Message("u")
    assert found.examples == ["x", [Message("y", "assistant")]]
    assert read_inputs({}) == Inputs(active=[], history=[], examples=[])


def test_plain_data_that_are_wrong_are_refused_with_everything_that_is_wrong() -> None:
    with pytest.raises(KnowledgeError) as caught:
        read_inputs({"history": [{"role": "root", "content": 5}], "text": {}, "user_input": 7})
    assert all(part in str(caught.value) for part in ("history[0].role", "history[0].content", "text", "user_input"))
    with pytest.raises(KnowledgeError, match=r"entries\[0\]\.entry\.id"):
        read_inputs({"entries": [{"base": "b", "entry": {}}]})


# What others write


def test_a_wrong_template_is_refused_with_everything_that_is_wrong() -> None:
    with pytest.raises(KnowledgeError) as caught:
        read_template({"blocks": [{"id": "a", "kind": "poem"}, {"id": "b", "kind": "text", "txt": 1}], "budget": -1})
    text = str(caught.value)
    assert "blocks[0]" in text
    assert "txt" in text
    assert "budget" in text


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({"blocks": [{"id": "a", "kind": "history"}, {"id": "b", "kind": "history"}]}, "more than one block"),
        ({"blocks": [{"id": "a", "kind": "history"}, {"id": "a", "kind": "user_input"}]}, "two blocks have the id 'a'"),
        ({"blocks": [{"id": "a", "kind": "history"}], "budget": 5, "reserve": 6}, "'reserve' (6) is more"),
        ({"blocks": [{"id": "a", "kind": "history"}], "role_texts": {"user": "{content}{content}"}}, "once"),
        ({"blocks": [{"id": "a", "kind": "entries", "separator": "x" * 201}]}, "200 characters"),
        ({"blocks": [{"id": str(n), "kind": "history"} for n in range(201)]}, "200 items"),
        ({"blocks": []}, "at least 1 item"),
    ],
)
def test_templates_that_contradict_themselves_or_swell_are_refused(document: dict[str, Any], part: str) -> None:
    with pytest.raises(KnowledgeError) as caught:
        read_template(document)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "part"),
    [
        (Inputs(history=[Message("x", "root")]), "history[0].role"),
        (Inputs(active=[active("x", role="tool")]), "'tool'"),
        (Inputs(user_input=Message("x", "")), "user_input[0].role"),
        (Inputs(examples=[[Message("x", "y")]]), "examples[0].role"),
        (Inputs(active=[active("x")] * (bounds.MOST_ACTIVE + 1)), "the most is 20,000"),
        (Inputs(history=[Message("x")] * (bounds.MOST_MESSAGES + 1)), "the most is 50,000"),
        (Inputs(examples=[[Message("x")] * 30_000] * 2), "the most is 50,000"),
        (Inputs(texts={"a": "x" * (bounds.MOST_CHARACTERS + 1)}), "characters"),
        (Inputs(texts={"a": "x" * (bounds.MOST_CHARACTERS // 4)}), "characters"),
        (Inputs(names={"user": "x" * 201}), "names.user"),
    ],
)
def test_inputs_that_are_too_many_too_long_or_of_no_role_are_refused(inputs: Inputs, part: str) -> None:
    blocks = [{"kind": "text", "source": "a"} for _ in range(5)]
    with pytest.raises(KnowledgeError) as caught:
        put(inputs, *blocks)
    assert part in str(caught.value)


def test_inputs_that_the_template_has_no_block_for_are_named() -> None:
    found = put(Inputs(history=chat("a"), user_input="u", examples=["e"]), {"kind": "text", "text": "t"})
    assert [note.split("'")[1] for note in found.notes] == ["history", "user_input", "examples"]


def test_the_schema_of_templates_names_every_kind_of_block() -> None:
    schema = template_schema()
    kinds = set(schema["properties"]["blocks"]["items"]["discriminator"]["mapping"])
    assert kinds == {"text", "entries", "outlet", "history", "examples", "user_input"}


def test_the_report_says_of_each_block_what_it_has_and_what_was_cut() -> None:
    inputs = Inputs(active=[active("a"), active("b")], history=chat("h"), user_input="u")
    found = put(inputs, {**LORE, "budget": 1}, HISTORY, INPUT)
    assert table(found.report) == [
        ["0 entries", "entries", "1", "1", "1", "1"],
        ["", "", "", "1", "", "b: the budget of its block is used up"],
        ["1 history", "history", "1", "1", "", ""],
        ["2 user_input", "user_input", "1", "1", "", ""],
    ]


def test_of_very_many_cuts_the_report_names_some_and_counts_the_rest() -> None:
    found = put(Inputs(history=chat(*["x"] * 5000)), HISTORY, budget=10)
    assert (found.report[0].kept, len(found.report[0].cut), found.report[0].more) == (10, 100, 4890)
    assert len(str(found.plain())) < 50_000


def test_ten_times_the_input_takes_about_ten_times_as_long() -> None:
    def spent(number: int) -> float:
        entries = [active(f"entry {n}", depth=n % 7 if n % 2 else None, priority=n % 13) for n in range(number)]
        inputs = Inputs(active=entries, history=chat(*[f"message {n}" for n in range(number)]), user_input="u")
        whole = template(LORE, HISTORY, INPUT, budget=number, squash="same_role")
        started = time.thread_time()
        assemble(inputs, whole)
        return time.thread_time() - started

    spent(100)
    assert spent(15_000) < 60 * spent(1500) + 0.5


def test_the_template_on_the_page_is_one() -> None:
    page = (Path(__file__).parent.parent / "docs" / "assembly.md").read_text(encoding="utf-8")
    text = page.split("```jsonc\n")[1].split("```")[0]
    assert [block.id for block in read_template(json.loads(text)).blocks] == ["rules", "lore", "chat", "input"]
