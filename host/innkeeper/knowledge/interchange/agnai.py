"""Agnai's memory books."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from innkeeper.knowledge.interchange.books import Made, new_base
from innkeeper.knowledge.interchange.coerce import Fields
from innkeeper.knowledge.interchange.foreign import document_of, top_document
from innkeeper.knowledge.interchange.world_fields import SECONDARY
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

KIND = "agnai"

MOST_WILD = 8
"""Wildcards of one key; one with more is taken as it is written, since each makes a pattern slower."""

_READ = frozenset({"name", "entry", "id", "keywords", "enabled", "priority", "constant"})


def read_agnai(raw: Mapping[str, Any], kb_id: str, name: str) -> tuple[Base, list[Problem]]:
    """A memory book of Agnai as a base. What it has no field for lies under `extensions.agnai`.

    Args:
        raw: the file, plain data; never changed.
        kb_id: of the new base.
        name: of the base where the file says none.

    Raises:
        KnowledgeError: it has no list of entries.
    """
    entries = raw.get("entries")
    if not isinstance(entries, list):
        raise KnowledgeError(Problem("entries", "should be a list of entries"))
    made = Made()
    for index, entry in enumerate(entries):
        where = f"entries[{index}]"
        if not isinstance(entry, Mapping):
            made.note([Problem(where, "should be an object with the fields of an entry")])
            continue
        fields = Fields(entry, where, str(entry.get("name", ""))[:100])
        document = _document(fields, index)
        made.note(fields.problems)
        made.add(document, where)
    top = {key: value for key, value in raw.items() if key != "entries"}
    return new_base(top_document(kb_id, name, KIND, top), made), made.listed()


def _document(fields: Fields, index: int) -> dict[str, Any]:
    raw = fields.raw
    most = bounds.MOST_PRIORITY
    written = fields.keys("keywords")
    keywords = fields.few("keywords", [keyword_of(key) for key in written])
    rest = {key: value for key, value in raw.items() if key not in _READ}
    if keywords != raw.get("keywords"):
        rest["keywords"] = raw.get("keywords")
    if fields.flag("selective") and keywords:
        secondary = fields.keys("secondaryKeys")
        groups = [{"group_id": SECONDARY, "keys": secondary, "logic": "OR"}] if secondary else []
    else:
        groups = []
    # Agnai keeps by priority and places by weight; here one number does both.
    order = "priority" if raw.get("priority") is not None else "weight"
    return document_of(
        fields,
        KIND,
        id_=raw.get("id"),
        index=index,
        name=fields.name("name"),
        content=fields.text("entry"),
        keywords=keywords,
        usage={"priority": fields.number(order, 0, -most, most)},
        enabled=fields.flag("enabled", True),
        always=fields.flag("constant"),
        rest=rest,
        criteria={"key_groups": groups} if groups else None,
        honoured={"matchWholeWords": True},
    )


def keyword_of(key: str) -> str:
    """A key of Agnai's, where `*` is any letters and `?` is one, as a keyword of ours."""
    key = key.strip()
    wild = sum(map(key.count, "*?"))
    if not 0 < wild <= MOST_WILD:
        return key
    pattern = "".join(r"\w*" if letter == "*" else r"\w" if letter == "?" else _escaped(letter) for letter in key)
    pattern = re.sub(r"(?:\\w\*)+", r"\\w*", pattern)
    return rf"/\b{pattern}\b/i"


def _escaped(letter: str) -> str:
    return f"\\{letter}" if letter in r"\^$.|()[]{}+/" else letter
