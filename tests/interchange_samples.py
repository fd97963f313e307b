"""Strategies and samples of what other programs write."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from innkeeper.knowledge.interchange.world_fields import BOOK_EXTENSIONS, TEMPLATE
from innkeeper.knowledge.model.base import Base, BaseInfo, Item
from innkeeper.knowledge.model.entry import read_entry

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
KEYS = st.lists(TEXTS, max_size=3)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
"""Anything that JSON can say."""

_GOOD: dict[str, st.SearchStrategy[Any]] = {
    "uid": st.integers(0, 99),
    "key": KEYS,
    "keysecondary": KEYS,
    "comment": TEXTS,
    "content": TEXTS,
    "constant": st.booleans(),
    "vectorized": st.booleans(),
    "selective": st.booleans(),
    "selectiveLogic": st.integers(0, 3),
    "order": st.integers(-100, 10_000),
    "position": st.integers(0, 7),
    "disable": st.booleans(),
    "ignoreBudget": st.booleans(),
    "probability": st.integers(0, 100) | st.floats(0, 100),
    "useProbability": st.booleans(),
    "depth": st.integers(0, 20),
    "role": st.none() | st.integers(0, 2),
    "group": st.sampled_from(["", "g", "g,h", " g , h "]),
    "sticky": st.none() | st.integers(0, 9),
    "characterFilter": st.fixed_dictionaries({"isExclude": st.booleans(), "names": KEYS, "tags": KEYS}),
    "displayIndex": st.integers(0, 99),
    "outletName": TEXTS,
    "extensions": st.dictionaries(TEXTS, PLAIN, max_size=2),
}


@st.composite
def world_entries(draw: st.DrawFn) -> dict[str, Any]:
    """An entry of world info: most fields as they should be, some odd, some absent, some that nobody knows."""
    entry = copy.deepcopy(TEMPLATE) if draw(st.booleans()) else {}
    for key in draw(st.sets(st.sampled_from(sorted(_GOOD)))):
        entry[key] = draw(_GOOD[key])
    for key in draw(st.sets(st.sampled_from(sorted({*TEMPLATE, *_GOOD})), max_size=2)):
        if draw(st.booleans()):
            entry[key] = draw(PLAIN)
        else:
            entry.pop(key, None)
    entry.update(draw(st.dictionaries(TEXTS, PLAIN, max_size=2)))
    return entry


@st.composite
def world_books(draw: st.DrawFn) -> dict[str, Any]:
    """A whole world book."""
    entries = draw(st.lists(world_entries(), max_size=4))
    keys = draw(
        st.lists(st.integers(0, 99).map(str) | TEXTS, min_size=len(entries), max_size=len(entries), unique=True)
    )
    for key, entry in zip(keys, entries, strict=True):
        if key.isdecimal() and key.isascii() and draw(st.booleans()):
            entry["uid"] = int(key)
    top = draw(st.dictionaries(TEXTS.filter(lambda key: key != "kb_id"), PLAIN, max_size=2))
    for key in draw(st.sets(st.sampled_from(["name", "description", "originalData", "extensions"]))):
        top[key] = draw(PLAIN)
    return {**top, "entries": dict(zip(keys, entries, strict=True))}


@st.composite
def book_entries(draw: st.DrawFn) -> dict[str, Any]:
    """An entry of a `character_book`."""
    entry: dict[str, Any] = {"keys": draw(KEYS), "content": draw(TEXTS), "extensions": {}, "enabled": True}
    plain: dict[str, st.SearchStrategy[Any]] = {
        "id": st.integers(0, 99) | TEXTS,
        "secondary_keys": KEYS,
        "comment": TEXTS,
        "name": TEXTS,
        "constant": st.booleans(),
        "selective": st.booleans(),
        "insertion_order": st.integers(-5, 500),
        "enabled": st.booleans(),
        "position": st.sampled_from(["before_char", "after_char"]),
        "use_regex": st.booleans(),
        "case_sensitive": st.none() | st.booleans(),
        "priority": st.integers(0, 20),
    }
    for key in draw(st.sets(st.sampled_from(sorted(plain)))):
        entry[key] = draw(plain[key])
    for key in draw(st.sets(st.sampled_from(sorted(BOOK_EXTENSIONS)))):
        name = BOOK_EXTENSIONS[key]
        entry["extensions"][key] = draw(_GOOD[name]) if name in _GOOD else copy.deepcopy(TEMPLATE[name])
    entry["extensions"].update(draw(st.dictionaries(TEXTS, PLAIN, max_size=2)))
    for key in draw(st.sets(st.sampled_from(sorted({*plain, "extensions", "keys", "content"})), max_size=2)):
        if draw(st.booleans()):
            entry[key] = draw(PLAIN)
        else:
            entry.pop(key, None)
    entry.update(draw(st.dictionaries(TEXTS, PLAIN, max_size=1)))
    return entry


@st.composite
def character_books(draw: st.DrawFn) -> dict[str, Any]:
    """A whole `character_book`."""
    top = draw(st.dictionaries(TEXTS.filter(lambda key: key != "kb_id"), PLAIN, max_size=2))
    for key in draw(st.sets(st.sampled_from(["name", "description", "scan_depth", "token_budget", "extensions"]))):
        top[key] = draw(PLAIN)
    return {**top, "entries": draw(st.lists(book_entries(), max_size=4))}


@st.composite
def native_entries(draw: st.DrawFn) -> dict[str, Any]:
    """An entry of ours that never was anywhere else."""
    groups = st.lists(
        st.fixed_dictionaries(
            {"group_id": TEXTS, "keys": KEYS, "logic": st.sampled_from(["AND", "OR", "NOT_ANY", "NOT_ALL"])}
        ),
        max_size=2,
    )
    affix = st.fixed_dictionaries({"text": TEXTS, "is_enabled": st.booleans()})
    document: dict[str, Any] = {"id": draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9))}
    parts: dict[str, st.SearchStrategy[Any]] = {
        "version": st.integers(1, 3),
        "entry_type": TEXTS,
        "displayName": st.none() | TEXTS,
        "content": st.fixed_dictionaries(
            {}, optional={"mime_type": TEXTS, "value": st.none() | TEXTS, "path": st.none() | TEXTS, "x": PLAIN}
        ),
        "activation_criteria": st.fixed_dictionaries(
            {},
            optional={
                "keywords": KEYS,
                "key_groups": groups,
                "use_semantic_search": st.booleans(),
                "semantic_threshold": st.none() | st.floats(-1, 1),
                "trigger_probability": st.floats(0, 1),
                "trigger_conditions": st.lists(st.fixed_dictionaries({"type": TEXTS, "variable": TEXTS}), max_size=1),
            },
        ),
        "usage_metadata": st.fixed_dictionaries(
            {},
            optional={
                "priority": st.integers(-9, 999) | st.floats(0, 99),
                "placement": st.none() | st.sampled_from(["before_prompt", "after_prompt", "system_context", "x"]),
                "role": st.none() | st.sampled_from(["system", "user", "assistant"]),
                "depth_offset": st.none() | st.integers(0, 9),
                "token_budget_impact": st.none() | st.just("critical") | st.integers(0, 9),
                "once_per_session": st.booleans(),
                "prefix": st.none() | affix,
                "suffix": st.none() | affix,
            },
        ),
        "management_metadata": st.fixed_dictionaries(
            {},
            optional={
                "tags": st.lists(
                    TEXTS | st.sampled_from(["activation_trigger:always_active", "st_inclusion_group:a,b"]), max_size=3
                ),
                "source": TEXTS,
                "is_enabled": st.booleans(),
                "author_notes": st.none() | TEXTS,
                "child_ids": st.lists(st.just("a"), max_size=1),
            },
        ),
        "variable_handling": st.none() | st.just({"defines_variables": {"a": 1}}),
        "extensions": st.none()
        | st.dictionaries(TEXTS, PLAIN, max_size=2)
        | st.fixed_dictionaries(
            {"sillytavern": st.dictionaries(st.sampled_from(["sticky", "group", "depth", "a", "selective"]), PLAIN)}
        ),
        "unknown": PLAIN,
    }
    for key in draw(st.sets(st.sampled_from(sorted(parts)))):
        document[key] = draw(parts[key])
    return document


@st.composite
def native_bases(draw: st.DrawFn) -> Base:
    """A base of ours that never was anywhere else."""
    documents = draw(st.lists(native_entries(), max_size=4, unique_by=lambda document: document["id"]))
    document: dict[str, Any] = {"kb_id": draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9))}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "kb_displayName": st.none() | TEXTS,
        "kb_description": st.none() | TEXTS,
        "tags": KEYS,
        "author": st.none() | TEXTS,
        "kb_extensions": st.none() | st.dictionaries(TEXTS, PLAIN, max_size=2),
        "unknown": PLAIN,
    }
    for key in draw(st.sets(st.sampled_from(sorted(optional)))):
        document[key] = draw(optional[key])
    return base_of(document, documents)


def base_of(document: dict[str, Any], documents: list[dict[str, Any]]) -> Base:
    """A base of documents that are sound."""
    items = []
    for each in documents:
        entry, problems = read_entry(each)
        assert entry is not None, problems
        items.append(Item(each, entry))
    return Base(document, BaseInfo.model_validate(document), items)
