"""NovelAI's lorebooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.knowledge.interchange.books import Made, new_base
from innkeeper.knowledge.interchange.coerce import Fields
from innkeeper.knowledge.interchange.foreign import document_of, top_document
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

KIND = "novelai"

_READ = frozenset({"text", "displayName", "id", "keys", "enabled", "forceActivation"})


def read_novelai(raw: Mapping[str, Any], kb_id: str, name: str) -> tuple[Base, list[Problem]]:
    """A lorebook of NovelAI as a base. What it has no field for lies under `extensions.novelai`.

    Args:
        raw: the file, plain data; never changed.
        kb_id: of the new base.
        name: of the base.

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
        fields = Fields(entry, where, str(entry.get("displayName", ""))[:100])
        document = _document(fields, index)
        made.note(fields.problems)
        made.add(document, where)
    top = {key: value for key, value in raw.items() if key != "entries"}
    return new_base(top_document(kb_id, name, KIND, top), made), made.listed()


def _document(fields: Fields, index: int) -> dict[str, Any]:
    raw = fields.raw
    config = raw.get("contextConfig")
    config = config if isinstance(config, Mapping) else {}
    around = Fields(config)
    most = bounds.MOST_PRIORITY
    usage: dict[str, Any] = {"priority": around.number("budgetPriority", 100, -most, most)}
    for key in ("prefix", "suffix"):
        text = around.text(key)
        if text:
            usage[key] = {"text": text, "is_enabled": True}
    for problem in around.problems:
        fields.wrong(f"contextConfig.{problem.where}", problem.message)
    rest = {key: value for key, value in raw.items() if key not in _READ}
    return document_of(
        fields,
        KIND,
        id_=raw.get("id"),
        index=index,
        name=fields.name("displayName"),
        content=fields.text("text"),
        keywords=fields.keys("keys"),
        usage=usage,
        enabled=fields.flag("enabled", True),
        always=fields.flag("forceActivation"),
        rest=rest,
    )
