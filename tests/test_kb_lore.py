"""The project's own world is sound, has what it promises, and its questions share no word with what they ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from innkeeper.knowledge.bench.lore import LANGUAGES, lore_folder, read_lore
from innkeeper.knowledge.bench.overlap import overlaps, shared
from innkeeper.knowledge.bench.sets import document
from innkeeper.knowledge.model.base import BaseInfo
from innkeeper.knowledge.model.entry import ALWAYS, CRITICAL, GROUP, Entry, read_entry

DEMO = Path(__file__).resolve().parent.parent / "docs" / "demo"
PLACES = {"before_prompt", "after_prompt", "system_context", "scratchpad_notes"}


def raw(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEMO / "lore" / language / "knowledge.json").read_bytes())
    return found


def entries(language: str) -> list[Entry]:
    made = []
    for at, each in enumerate(raw(language)["entries"]):
        entry, problems = read_entry(each, f"entries[{at}]")
        assert entry is not None, problems
        made.append(entry)
    return made


def told(language: str) -> list[Entry]:
    """Entries that say something of the world: neither rules nor containers."""
    return [entry for entry in entries(language) if entry.entry_type not in (GROUP, "instruction")]


def keys(entry: Entry) -> list[str]:
    criteria = entry.activation_criteria
    return [*criteria.keywords, *(key for group in criteria.key_groups for key in group.keys)]


# The world


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_entry_is_valid_and_every_link_leads_to_another(language: str) -> None:
    whole = raw(language)
    BaseInfo.model_validate({key: value for key, value in whole.items() if key != "entries"})
    found = entries(language)
    ids = [entry.id for entry in found]
    assert len(set(ids)) == len(ids) >= 160
    names = [entry.displayName for entry in found]
    assert len(set(names)) == len(names)
    for entry in found:
        management = entry.management_metadata
        for link in (*management.child_ids, *management.related_ids):
            assert link in ids, entry.id
            assert link != entry.id
        for link in re.findall(r"\{\{\{id=([^}]+)\}\}\}", entry.text):
            assert link in ids, entry.id
        assert entry.usage_metadata.placement in PLACES


def test_both_languages_have_the_same_entries_of_the_same_kind() -> None:
    one, other = ({entry.id: entry for entry in entries(language)} for language in LANGUAGES)
    assert list(one) == list(other)
    for id, entry in one.items():
        assert entry.entry_type == other[id].entry_type
        assert entry.usage_metadata.priority == other[id].usage_metadata.priority
        assert entry.management_metadata.child_ids == other[id].management_metadata.child_ids


def test_entries_are_as_long_as_a_prompt_can_bear_and_written_in_their_language() -> None:
    for entry in told("en"):
        assert 40 <= len(entry.text.split()) <= 120, entry.id
        assert not re.search(r"[\u4e00-\u9fff]", entry.text), entry.id
    for entry in told("zh"):
        assert 60 <= len(re.sub(r"\s", "", entry.text)) <= 180, entry.id
        assert not re.search(r"[A-Za-z]", entry.text), entry.id


def test_no_two_entries_say_the_same() -> None:
    found = [set(re.findall(r"[a-z]+", entry.text.lower())) for entry in told("en")]
    for at, one in enumerate(found):
        for other in found[at + 1 :]:
            assert len(one & other) / len(one | other) < 0.4


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_world_uses_what_entries_can_do(language: str) -> None:
    found = entries(language)
    usage = [entry.usage_metadata for entry in found]
    criteria = [entry.activation_criteria for entry in found]
    assert {each.placement for each in usage} == PLACES
    assert len({each.priority for each in usage}) >= 10
    assert {group.logic for each in criteria for group in each.key_groups} >= {"OR", "NOT_ANY", "NOT_ALL"}
    assert any(key.startswith("/") for each in criteria for key in each.keywords)
    assert any(each.trigger_probability < 1 for each in criteria)
    assert any(each.use_semantic_search for each in criteria)
    assert {each.type for one in criteria for each in one.trigger_conditions} == {"variable_check"}
    assert any(each.once_per_session for each in usage)
    assert any(each.exclude_from_history for each in usage)
    assert any(each.prefix for each in usage)
    assert any(each.suffix for each in usage)
    assert len({each.depth_offset for each in usage} - {None}) >= 3
    assert sum(each.token_budget_impact == CRITICAL for each in usage) >= 2
    assert any(ALWAYS in entry.management_metadata.tags for entry in found)
    assert sum(entry.entry_type == GROUP for entry in found) >= 5
    handling = [entry.variable_handling for entry in found if entry.variable_handling]
    assert any(each.defines_variables for each in handling)
    assert any(each.uses_variables_in_content for each in handling)
    assert any("{{{" in entry.text for entry in found)
    assert sum(bool(re.search(r"[\u4e00-\u9fff]", " ".join(keys(entry)))) for entry in told(language)) >= 160
    assert any("sillytavern" in (entry.extensions or {}) for entry in found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_chat_has_twenty_messages_and_calls_for_a_good_part_of_the_world(language: str) -> None:
    messages = json.loads((DEMO / f"chat.{language}.json").read_bytes())
    assert len(messages) == 20
    assert all(set(each) == {"role", "name", "content"} for each in messages)
    text = " ".join(each["content"] for each in messages)
    named = [
        entry.id
        for entry in told(language)
        if any(
            re.search(rf"\b{re.escape(key)}\b" if key.isascii() else re.escape(key), text, re.I)
            for key in entry.activation_criteria.keywords
            if not key.startswith("/")
        )
    ]
    assert len(named) >= 35


# The questions


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_at_least_150_questions_each_about_an_entry_of_its_own(language: str) -> None:
    found = read_lore(language)
    assert len(found.questions) >= 150
    answers = [id for question in found.questions for id in question.gains]
    assert len(set(answers)) == len(answers)
    assert set(answers) == {entry.id for entry in told(language)}
    assert len({question.text for question in found.questions}) == len(found.questions)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_question_shares_a_content_word_a_stem_or_a_pair_of_characters_with_its_entry(language: str) -> None:
    assert overlaps(read_lore(language)) == {}


def test_the_world_lies_where_a_wheel_has_it_too() -> None:
    assert lore_folder() == DEMO / "lore"
    import tomllib

    project = tomllib.loads((DEMO.parent.parent / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["docs/demo/lore"] == "innkeeper/shipped/docs/demo/lore"


# The check finds what it must


@pytest.mark.parametrize(
    ("question", "text", "found"),
    [
        ("Who feeds dragons?", "The dragon sleeps.", ["dragon"]),
        ("Who burned it?", "Burning is forbidden.", ["burn"]),
        ("Where is the lighthouse keeper?", "They keep bees.", ["keeper/keep"]),
        ("Whose horse's tail?", "A tale of horses.", ["hors"]),
        ("CAFÉ?", "the café", ["cafe"]),
        ("What is it, and whose?", "It is what it is.", []),
        ("Is art long?", "The artist sleeps.", []),
        ("红龙住在哪里？", "山上有红龙。", ["红龙"]),
        ("龙，红？", "红龙", []),
        ("灯塔", "灯。塔", []),
        ("灯塔", "灯 塔", []),
        ("ﬁre", "fire", ["fire"]),
    ],
)
def test_what_is_shared_is_found_and_nothing_else(question: str, text: str, found: list[str]) -> None:
    assert shared(question, document("e", "", text)) == found


def test_names_keywords_and_keys_of_groups_count_as_the_text_does() -> None:
    entry, _ = read_entry(
        {
            "id": "e",
            "displayName": "Harbour",
            "content": {"value": "Ships."},
            "activation_criteria": {"keywords": ["mole"], "key_groups": [{"keys": ["tide"], "logic": "OR"}]},
        }
    )
    assert entry is not None
    assert shared("Harbour mole, tides and ships?", entry) == ["harbour", "mole", "ship", "tide"]


@pytest.mark.parametrize(
    ("language", "id", "met", "missed"),
    [
        ("en", "room-seven", "Put me in room 7, please", "seven rooms"),
        ("en", "coinage", "that is 30 wicks", "the wick burns"),
        ("en", "calendar", "in three nine-days", "on day nine"),
        ("zh", "room-seven", "我住7号客房", "七间房"),
        ("zh", "coinage", "三枚灯芯就够", "灯芯灭了"),
        ("zh", "calendar", "散日签的", "第十日"),
    ],
)
def test_regular_expressions_meet_what_their_author_meant(language: str, id: str, met: str, missed: str) -> None:
    (entry,) = (entry for entry in entries(language) if entry.id == id)
    (key,) = (key for key in entry.activation_criteria.keywords if key.startswith("/"))
    pattern, _, flags = key[1:].rpartition("/")
    compiled = re.compile(pattern, re.I if "i" in flags else 0)
    assert compiled.search(met)
    assert not compiled.search(missed)
