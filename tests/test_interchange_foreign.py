"""Lorebooks of NovelAI, Agnai and RisuAI, and standalone ones of V3: nothing of them is lost."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.interchange.agnai import keyword_of
from innkeeper.knowledge.interchange.book_files import character_book, world_book
from innkeeper.knowledge.interchange.detect import Imported, read_lorebook
from innkeeper.knowledge.interchange.png import blank, with_texts
from innkeeper.knowledge.model.problems import KnowledgeError
from interchange_samples import PLAIN, TEXTS


def read(value: Any, name: str = "lore.json") -> Imported:
    found = read_lorebook(json.dumps(value).encode(), name)
    assert found is not None
    return found


NOVELAI = {
    "lorebookVersion": 5,
    "settings": {"orderByKeyLocations": True},
    "categories": [{"name": "beasts", "id": "c"}],
    "entries": [
        {
            "text": "A red dragon.", "displayName": "Ignis", "id": "n-1", "keys": ["dragon", "/ignis|fire/i"],
            "searchRange": 1000, "enabled": False, "forceActivation": True, "category": "c",
            "contextConfig": {"prefix": "[", "suffix": "]\n", "tokenBudget": 400, "budgetPriority": 800},
        }
    ],
}  # fmt: skip


def test_a_lorebook_of_novelai_keeps_what_sillytavern_loses() -> None:
    found = read(NOVELAI, "dragons.lorebook")
    assert (found.kind, found.problems, found.base.info.name) == ("novelai", [], "dragons")
    (item,) = found.base.items
    entry = item.entry
    assert (entry.id, entry.name, entry.text) == ("n-1", "Ignis", "A red dragon.")
    assert entry.activation_criteria.keywords == ["dragon", "/ignis|fire/i"]
    assert entry.management_metadata.tags == ["activation_trigger:always_active"]
    assert not entry.management_metadata.is_enabled
    assert entry.usage_metadata.priority == 800
    assert entry.usage_metadata.prefix is not None
    assert (entry.usage_metadata.prefix.text, entry.usage_metadata.prefix.is_enabled) == ("[", True)
    kept = item.document["extensions"]["novelai"]
    assert (kept["searchRange"], kept["category"], kept["contextConfig"]["tokenBudget"]) == (1000, "c", 400)
    assert found.base.document["kb_extensions"]["novelai"]["categories"] == NOVELAI["categories"]


def test_a_picture_of_novelai_holds_its_lorebook() -> None:
    text = base64.b64encode(json.dumps(NOVELAI).encode())
    found = read_lorebook(with_texts(blank(), [("naidata", text)], (), "x"), "card.png")
    assert found is not None
    assert (found.kind, len(found.base.items)) == ("novelai", 1)


def test_a_memory_book_of_agnai_keeps_its_wildcards_and_priorities() -> None:
    found = read(
        {
            "kind": "memory", "name": "Beasts", "description": "of fire", "x": 1,
            "entries": [
                {"name": "Ignis", "entry": "A dragon.", "keywords": ["drag*", "wh?le", "sea"], "priority": 7,
                 "weight": 3, "enabled": True, "selective": True, "secondaryKeys": ["red"]},
            ],
        }
    )  # fmt: skip
    (item,) = found.base.items
    assert (found.kind, found.base.info.name, found.base.info.kb_description) == ("agnai", "Beasts", "of fire")
    assert item.entry.activation_criteria.keywords == [r"/\bdrag\w*\b/i", r"/\bwh\wle\b/i", "sea"]
    assert item.entry.activation_criteria.key_groups[0].keys == ["red"]
    assert item.entry.usage_metadata.priority == 7
    kept = item.document["extensions"]
    assert (kept["agnai"]["weight"], kept["agnai"]["keywords"][0]) == (3, "drag*")
    assert kept["sillytavern"]["matchWholeWords"] is True


@given(st.text("ab*?.+(/\\ ", max_size=12))
def test_a_wildcard_never_becomes_a_pattern_that_explodes(key: str) -> None:
    made = keyword_of(key)
    assert r"\w*\w*" not in made
    if "*" not in key and "?" not in key:
        assert made == key.strip()


def test_a_lorebook_of_risuai_keeps_folders_modes_and_patterns() -> None:
    found = read(
        {
            "type": "risu", "ver": 1,
            "data": [
                {"mode": "folder", "comment": "Beasts", "key": "f1", "content": ""},
                {"key": "dragon, wyrm", "secondkey": "red,hot", "insertorder": 50, "comment": "Ignis", "content": "x",
                 "mode": "normal", "alwaysActive": False, "selective": True, "activationPercent": 30, "folder": "f1"},
                {"key": "/a,b/i", "comment": "R", "content": "y", "useRegex": True, "mode": "constant",
                 "extentions": {"risu_case_sensitive": True}},
                {"key": "c", "content": "z", "mode": "child", "id": "own"},
            ],
        }
    )  # fmt: skip
    first, second, third = found.base.items
    assert first.entry.activation_criteria.keywords == ["dragon", "wyrm"]
    assert first.entry.activation_criteria.key_groups[0].keys == ["red", "hot"]
    assert first.entry.activation_criteria.trigger_probability == 0.3
    assert "folder:Beasts" in first.entry.management_metadata.tags
    assert second.entry.activation_criteria.keywords == ["/a,b/i"]
    assert second.document["extensions"]["sillytavern"] == {"caseSensitive": True}
    assert second.entry.management_metadata.tags == ["activation_trigger:always_active"]
    assert third.entry.id == "own"
    assert "child" in str(found.problems[0])
    assert found.base.document["kb_extensions"]["risuai"]["folders"][0]["comment"] == "Beasts"


def test_a_standalone_lorebook_of_v3_is_read() -> None:
    book = {
        "name": "B",
        "extensions": {},
        "entries": [{"keys": ["dr.gon"], "content": "x", "use_regex": True, "id": "a"}],
    }
    found = read({"spec": "lorebook_v3", "data": book})
    assert found.kind == "lorebook_v3"
    assert found.base.items[0].document["extensions"]["sillytavern"]["useRegex"] is True
    assert character_book(found.base) == book


def test_use_regex_of_sillytavern_means_nothing_since_it_writes_it_always() -> None:
    entry = {
        "keys": ["c++"],
        "content": "x",
        "use_regex": True,
        "extensions": {"selectiveLogic": 0, "display_index": 1},
    }
    found = read({"entries": [entry]})
    assert "useRegex" not in found.base.items[0].document["extensions"]["sillytavern"]


ENTRY = st.dictionaries(
    st.sampled_from(["text", "keys", "key", "keywords", "entry", "content", "id", "mode", "folder", "secondkey", "name",
                     "contextConfig", "enabled", "priority", "insertorder", "extentions", "comment", "displayName"])
    | TEXTS, PLAIN, max_size=6,
)  # fmt: skip


@given(st.sampled_from(["novelai", "agnai", "risuai"]), st.lists(ENTRY | PLAIN, max_size=4), PLAIN)
@settings(deadline=None, max_examples=70)
def test_whatever_an_entry_of_another_program_is_it_is_read_or_listed(kind: str, entries: list[Any], top: Any) -> None:
    shape: dict[str, dict[str, Any]] = {
        "novelai": {"lorebookVersion": 5, "entries": entries, "settings": top},
        "agnai": {"kind": "memory", "entries": entries, "name": top},
        "risuai": {"type": "risu", "data": entries, "name": top},
    }
    found = read(shape[kind])
    folders = sum(isinstance(entry, dict) and entry.get("mode") == "folder" for entry in entries) * (kind == "risuai")
    assert len(found.base.items) + len(found.problems) + folders >= len(entries)
    assert len(world_book(found.base)["entries"]) == len(found.base.items)


def test_a_text_that_no_entry_can_hold_is_refused_and_not_cut() -> None:
    for shape in (
        {"lorebookVersion": 5, "entries": [{"text": "x" * 300_000, "keys": ["a"]}]},
        {"kind": "memory", "entries": [{"entry": "x" * 300_000}]},
        {"type": "risu", "data": [{"content": "x" * 300_000}]},
    ):
        found = read(shape)
        assert found.base.items == []
        assert any("content.value" in problem.where or "300,000" in problem.message for problem in found.problems)


def test_a_picture_whose_lorebook_is_no_base64_says_so() -> None:
    with pytest.raises(KnowledgeError, match="'naidata' is no base64"):
        read_lorebook(with_texts(blank(), [("naidata", b"!!")], (), "x"), "card.png")
