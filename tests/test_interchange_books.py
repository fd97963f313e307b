"""What was imported and is exported again is what it was, and what somebody edited in between shows."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.interchange.book_files import character_book, world_book
from innkeeper.knowledge.interchange.books import read_character_book, read_world_book
from innkeeper.knowledge.interchange.detect import read_lorebook
from innkeeper.knowledge.interchange.residue import residue, restored
from innkeeper.knowledge.interchange.world_export import world_entry
from innkeeper.knowledge.interchange.world_fields import TEMPLATE
from innkeeper.knowledge.interchange.world_import import caiu_entry
from innkeeper.knowledge.model.base import Base, Item
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.model.problems import KnowledgeError
from interchange_samples import TEXTS, base_of, character_books, native_bases, world_books

KB = "kb"


def same(one: Any, other: Any) -> None:
    """Equal as JSON, apart from the order of keys: 1, 1.0 and true are three."""
    assert json.dumps(one, sort_keys=True, ensure_ascii=False) == json.dumps(other, sort_keys=True, ensure_ascii=False)


def edited(base: Base, at: int, change: dict[str, dict[str, Any]]) -> Base:
    document = copy.deepcopy(base.items[at].document)
    for part, fields in change.items():
        document.setdefault(part, {}).update(fields)
    entry, problems = read_entry(document)
    assert entry is not None, problems
    items = [*base.items[:at], Item(document, entry), *base.items[at + 1 :]]
    return Base(base.document, base.info, items)


@given(world_books())
@settings(deadline=None, max_examples=70)
def test_a_world_book_imported_and_exported_again_is_equal_field_by_field(raw: dict[str, Any]) -> None:
    before = copy.deepcopy(raw)
    base, problems = read_world_book(raw, KB, "book")
    same(raw, before)
    lost = len(raw["entries"]) - len(base.items)
    assert lost <= len(problems)
    kept = {key: value for key, value in raw["entries"].items() if not lost or key in world_book(base)["entries"]}
    same(world_book(base), {**raw, "entries": kept})


@given(world_books(), TEXTS, st.lists(TEXTS, max_size=3))
@settings(deadline=None, max_examples=50)
def test_an_edit_of_content_or_keywords_shows_in_the_world_book_and_nothing_else_does(
    raw: dict[str, Any], text: str, keywords: list[str]
) -> None:
    base, _ = read_world_book(raw, KB, "book")
    if not base.items:
        return
    changed = edited(base, 0, {"content": {"value": text}, "activation_criteria": {"keywords": keywords}})
    first, second = world_book(base)["entries"], world_book(changed)["entries"]
    key = next(iter(first))
    entry = base.items[0].entry
    if entry.text != text:
        assert second[key]["content"] == text
    if entry.activation_criteria.keywords != keywords:
        assert second[key]["key"] == keywords
    again, _ = read_world_book({**raw, "entries": second}, KB, "book")
    same(again.items[0].document["content"]["value"], text)
    same(again.items[0].document["activation_criteria"]["keywords"], keywords)
    for name in first[key].keys() - {"content", "key", "extensions"}:
        same(second[key][name], first[key][name])


@given(character_books())
@settings(deadline=None, max_examples=70)
def test_a_character_book_imported_and_exported_again_is_equal_field_by_field(raw: dict[str, Any]) -> None:
    base, problems = read_character_book(raw, KB, "book")
    lost = len(raw["entries"]) - len(base.items)
    assert lost <= len(problems)
    if not lost:
        same(character_book(base), raw)


@given(native_bases())
@settings(deadline=None, max_examples=70)
def test_a_native_base_comes_back_from_a_world_book_and_from_a_character_book(base: Base) -> None:
    for write, read in ((world_book, read_world_book), (character_book, read_character_book)):
        written = json.loads(json.dumps(write(base)))
        back, problems = read(written, "other", "other")
        assert problems == []
        same(back.document, base.document)
        same([item.document for item in back.items], [item.document for item in base.items])


@given(world_books())
@settings(deadline=None, max_examples=40)
def test_a_world_book_survives_the_way_through_a_card(raw: dict[str, Any]) -> None:
    base, _ = read_world_book(raw, KB, "book")
    back, problems = read_character_book(json.loads(json.dumps(character_book(base))), "other", "other")
    assert problems == []
    same([item.document for item in back.items], [item.document for item in base.items])
    same(world_book(back), world_book(base))


@given(world_books())
@settings(deadline=None, max_examples=40)
def test_every_entry_has_all_fields_of_world_info_with_their_types(raw: dict[str, Any]) -> None:
    base, _ = read_world_book(raw, KB, "book")
    for item in base.items:
        world = world_entry(item)
        assert world.keys() >= TEMPLATE.keys()
        for name in ("key", "keysecondary", "triggers"):
            assert all(isinstance(each, str) for each in world[name])
        for name, default in TEMPLATE.items():
            if isinstance(default, bool):
                assert isinstance(world[name], bool), name
            elif isinstance(default, str):
                assert isinstance(world[name], str), name
            elif isinstance(default, int):
                assert isinstance(world[name], int | float), name


@given(
    st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 2) | st.text(max_size=200)),
    st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 2) | st.text(max_size=200)),
)
@settings(deadline=None)
def test_what_a_translation_loses_returns(own: dict[str, Any], made: dict[str, Any]) -> None:
    same(restored(made, json.loads(json.dumps(residue(own, made)))), own)
    assert residue(own, own) == {}


@pytest.mark.parametrize(
    "rest", [None, 1, [], {"a": 1}, {"a": {"in": 3}}, {"a": {"in": {"b": []}}}, {"a": {"made": []}}]
)
def test_a_residue_that_somebody_invented_changes_nothing(rest: Any) -> None:
    assert restored({"a": {"b": 1}}, rest) == {"a": {"b": 1}}


FULL = {
    **TEMPLATE, "uid": 7, "key": ["dragon", "/re[dx]/i"], "keysecondary": ["cave", "hill"], "selectiveLogic": 2,
    "comment": "Ignis", "content": "A red dragon.", "constant": True, "vectorized": True, "order": 250, "position": 4,
    "depth": 2, "role": 1, "probability": 40, "group": "beasts, red", "sticky": 3, "ignoreBudget": True,
    "characterFilter": {"isExclude": True, "names": ["Ada"], "tags": []},
}  # fmt: skip


def test_each_field_of_world_info_goes_where_the_table_says() -> None:
    document = caiu_entry(FULL)
    assert document["id"] == "7"
    assert document["displayName"] == document["management_metadata"]["author_notes"] == "Ignis"
    assert document["activation_criteria"] == {
        "keywords": ["dragon", "/re[dx]/i"],
        "key_groups": [{"group_id": "secondary", "keys": ["cave", "hill"], "logic": "NOT_ANY"}],
        "use_semantic_search": True,
        "trigger_probability": 0.4,
    }
    usage = document["usage_metadata"]
    assert (usage["priority"], usage["depth_offset"], usage["role"]) == (250, 2, "user")
    assert usage["token_budget_impact"] == "critical"
    assert document["management_metadata"]["tags"] == [
        "activation_trigger:always_active", "st_inclusion_group:beasts", "st_inclusion_group:red",
    ]  # fmt: skip
    extension = document["extensions"]["sillytavern"]
    assert (extension["sticky"], extension["group"]) == (3, "beasts, red")
    assert extension["characterFilter"]["names"] == ["Ada"]
    entry, problems = read_entry(document)
    assert problems == []
    assert entry is not None
    same(world_entry(Item(document, entry)), FULL)


@pytest.mark.parametrize("position", range(8))
def test_each_position_returns(position: int) -> None:
    document = caiu_entry({**TEMPLATE, "key": ["a"], "position": position})
    entry, _ = read_entry(document)
    assert entry is not None
    assert world_entry(Item(document, entry))["position"] == position


def test_secondary_keys_that_sillytavern_does_not_look_at_hold_nothing_back() -> None:
    for fields in ({"key": ["a"], "selective": False}, {"key": [], "selective": True}):
        document = caiu_entry({**TEMPLATE, **fields, "keysecondary": ["b"]})
        assert "key_groups" not in document["activation_criteria"]
        assert document["extensions"]["sillytavern"]["keysecondary"] == ["b"]


def test_half_a_world_book_is_imported_and_the_rest_is_listed_with_entry_and_field() -> None:
    raw = {
        "entries": {
            "0": {"key": ["a"], "content": "sound"},
            "1": "nothing",
            "2": {"comment": "odd", "key": "x, y", "order": "many", "content": "kept"},
            "3": {"comment": "long", "content": "x" * 300_000},
        }
    }
    base, problems = read_world_book(raw, KB, "book")
    assert [item.entry.id for item in base.items] == ["0", "2"]
    assert base.items[1].entry.activation_criteria.keywords == ["x", "y"]
    told = "\n".join(map(str, problems))
    for words in ("entries.1: should be an object", "entries.2.key (entry 'odd')", "entries.2.order (entry 'odd')",
                  "entries.3.content (entry 'long')"):  # fmt: skip
        assert words in told


def test_ties_stand_in_the_order_in_which_javascript_goes_through_them() -> None:
    base, _ = read_world_book({"entries": {"b": {}, "10": {}, "2": {}, "a": {}}}, KB, "book")
    assert [item.entry.id for item in base.items] == ["2", "10", "b", "a"]


def test_an_edit_of_an_exported_text_takes_prefix_and_suffix_with_it() -> None:
    native = {
        "id": "n",
        "content": {"value": "middle"},
        "usage_metadata": {"prefix": {"text": "<", "is_enabled": True}, "suffix": {"text": ">", "is_enabled": True}},
    }
    written = world_book(base_of({"kb_id": "k"}, [native]))
    assert written["entries"]["0"]["content"] == "<middle>"
    written["entries"]["0"]["content"] = "<other>"
    back = read_world_book(written, "x", "x")[0].items[0].document
    assert back["content"]["value"] == "other"
    assert back["usage_metadata"]["prefix"]["is_enabled"]
    written["entries"]["0"]["content"] = "all new"
    back = read_world_book(written, "x", "x")[0].items[0].document
    assert back["content"]["value"] == "all new"
    assert "prefix" not in back["usage_metadata"]


def test_a_world_book_of_three_and_a_half_megabytes_is_read_whole() -> None:
    entries = {str(at): {**TEMPLATE, "uid": at, "key": [f"word{at}"], "content": "text " * 65} for at in range(3000)}
    data = json.dumps({"entries": entries}).encode()
    assert len(data) > 3_500_000
    read = read_lorebook(data, "big.json")
    assert read is not None
    assert (read.kind, len(read.base.items), read.problems) == ("world_info", 3000, [])


def test_equal_ids_are_told_apart_and_said() -> None:
    book = {"entries": [{"id": 1, "keys": ["a"], "content": "x"}] * 3}
    base, problems = read_character_book(book, KB, "book")
    assert [item.entry.id for item in base.items] == ["1", "1-2", "1-3"]
    assert len(problems) == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"entries": {"0": ', "is not JSON"),
        (b'{"entries": ' + b"[" * 100, "inside each other"),
        (b'{"entries": {"\xff": 1}}', "UTF-8"),
        (b'{"lorebookVersion": 5, "entries": 3}', "entries: should be a list"),
        (b'{"spec": "lorebook_v3", "data": []}', "data: should be an object"),
        (b'{"type": "risu", "data": {}}', "data: should be a list"),
        (b'{"kind": "memory"}', "entries: should be a list"),
        (b'{"entries": {"0": {"order": NaN}}}', "NaN"),
        (b'{"entries": {"0": {"order": 1e999}}}', "out of range"),
        (b'{"entries": [' + b"1," * 1_100_000 + b"1]}", "values"),
    ],
)
def test_a_crafted_lorebook_ends_in_one_clear_error(data: bytes, words: str) -> None:
    with pytest.raises(KnowledgeError) as raised:
        read_lorebook(data, "bad.json")
    assert words in str(raised.value)
    assert "bad.json" in str(raised.value)


@pytest.mark.parametrize(
    "data", [b"", b"text", b"[1]", b'{"kb_id": "a", "entries": []}', b'{"nodes": []}', b"PK\x03\x04"]
)
def test_what_is_no_lorebook_is_somebody_elses(data: bytes) -> None:
    assert read_lorebook(data, "file") is None


def test_halves_of_surrogate_pairs_and_huge_numbers_become_what_can_be_kept() -> None:
    data = b'{"entries": {"0": {"content": "a\\ud83d", "x": 99999999999999999999999}}}'
    read = read_lorebook(data, "a.json")
    assert read is not None
    document = read.base.items[0].document
    assert document["content"]["value"] == "a\ufffd"
    assert document["extensions"]["sillytavern"]["x"] == 1e23


def test_many_equal_ids_and_many_mistakes_cost_no_more_than_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    book = {"entries": [{"id": 1, "keys": 5, "content": []} for _ in range(4000)]}
    before = time.thread_time()
    base, problems = read_character_book(book, KB, "book")
    assert time.thread_time() - before < 20
    assert len({item.entry.id for item in base.items}) == 4000
    assert len(problems) == 1001
    assert "problems more" in str(problems[-1])
    monkeypatch.setattr("innkeeper.knowledge.model.bounds.MOST_ENTRIES", 10)
    base, problems = read_character_book({"entries": [{"keys": ["a"]}] * 30}, KB, "book")
    assert len(base.items) == 10
    assert "at most 10 entries" in str(problems[0])


def test_a_key_of_nothing_but_commas_is_no_list_of_millions() -> None:
    base, problems = read_world_book({"entries": {"0": {"key": "," * 900_000 + "a"}}}, KB, "book")
    assert base.items[0].entry.activation_criteria.keywords == []
    assert problems


@pytest.mark.parametrize(
    "marker",
    [
        {"native": True, "entry": {"id": {"made": "0"}}},
        {"native": True, "entry": {"id": {"made": "0", "own": [1]}, "content": {"in": {"value": {"made": "c"}}}}},
        {"native": True, "around": ["a"], "entry": 7},
        {"native": True, "around": ["", ""], "entry": {"usage_metadata": {"own": 3}, "extensions": {"own": []}}},
        {"entry": {"management_metadata": {"in": {"tags": {"made": [], "own": "x"}}}}},
        {"bare": "null", "native": "yes"},
    ],
)
def test_a_marker_that_somebody_invented_makes_an_entry_or_a_problem(marker: dict[str, Any]) -> None:
    raw = {"entries": {"0": {"content": "c", "extensions": {"innkeeper": marker}}}, "extensions": {"innkeeper": marker}}
    base, problems = read_world_book(raw, KB, "book")
    assert len(base.items) == 1 or problems
    assert world_book(base)["entries"].keys() <= {"0"} | {item.entry.id for item in base.items}


def test_the_entries_of_a_base_are_never_taken_from_a_marker() -> None:
    marker = {"native": True, "base": {"entries": {"own": [1]}, "kb_id": {"own": "mine"}}}
    base, _ = read_world_book({"entries": {}, "extensions": {"innkeeper": marker}}, KB, "book")
    assert "entries" not in base.document
    assert base.info.kb_id == "mine"


def test_what_a_file_says_does_not_steer_a_terminal() -> None:
    with pytest.raises(KnowledgeError) as raised:
        read_lorebook(b'{"type": "risu", "data": {}, "name": "\x1b"}', "a\x1b[31m.json")
    assert "\x1b" not in str(raised.value)
