"""RisuAI's lorebooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.knowledge.interchange.books import Made, new_base
from innkeeper.knowledge.interchange.coerce import Fields
from innkeeper.knowledge.interchange.foreign import document_of, top_document
from innkeeper.knowledge.interchange.world_fields import SECONDARY
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

KIND = "risuai"
FOLDER = "folder:"
"""The beginning of the tag that says in which folder of the lorebook an entry was."""

_READ = frozenset({"key", "secondkey", "insertorder", "comment", "content", "alwaysActive", "selective", "id"})


def read_risuai(raw: Mapping[str, Any], kb_id: str, name: str) -> tuple[Base, list[Problem]]:
    """A lorebook of RisuAI as a base. What it has no field for lies under `extensions.risuai`.

    Args:
        raw: the file, plain data; never changed.
        kb_id: of the new base.
        name: of the base where the file says none.

    Raises:
        KnowledgeError: it has no list of entries.
    """
    entries = raw.get("data")
    if not isinstance(entries, list):
        raise KnowledgeError(Problem("data", "should be a list of entries"))
    made = Made()
    folders = [entry for entry in entries if _is_folder(entry)]
    names = {str(entry.get("key", ""))[:200]: str(entry.get("comment", ""))[:200] for entry in folders}
    for index, entry in enumerate(entries):
        where = f"data[{index}]"
        if not isinstance(entry, Mapping):
            made.note([Problem(where, "should be an object with the fields of an entry")])
            continue
        if _is_folder(entry):
            continue
        fields = Fields(entry, where, str(entry.get("comment", ""))[:100])
        document = _document(fields, index)
        folder = entry.get("folder")
        if isinstance(folder, str) and folder:
            document["management_metadata"]["tags"].append(FOLDER + (names.get(folder[:200]) or folder[:200]))
        made.note(fields.problems)
        made.add(document, where)
    top = {key: value for key, value in raw.items() if key != "data"}
    if folders:
        top["folders"] = folders
    return new_base(top_document(kb_id, name, KIND, top), made), made.listed()


def _document(fields: Fields, index: int) -> dict[str, Any]:
    raw = fields.raw
    most = bounds.MOST_PRIORITY
    regex = fields.flag("useRegex")
    keywords = _keys(fields, "key", regex)
    honoured: dict[str, Any] = {}
    if regex and any(not key.startswith("/") for key in keywords):
        honoured["useRegex"] = True
    own = raw.get("extentions")
    case = own.get("risu_case_sensitive") if isinstance(own, Mapping) else None
    if isinstance(case, bool):
        honoured["caseSensitive"] = case
    criteria: dict[str, Any] = {}
    secondary = _keys(fields, "secondkey", regex)
    if fields.flag("selective") and secondary and keywords:
        criteria["key_groups"] = [{"group_id": SECONDARY, "keys": secondary, "logic": "OR"}]
    probability = fields.number("activationPercent", 100, 0, 100)
    if probability != 100:
        criteria["trigger_probability"] = probability / 100
    if raw.get("mode") == "child":
        fields.wrong("mode", "'child' takes its keys from another entry in RisuAI; here it has only its own")
    rest = {key: value for key, value in raw.items() if key not in _READ}
    for key in ("key", "secondkey"):
        if raw.get(key) not in (None, ""):
            rest[key] = raw[key]
    return document_of(
        fields,
        KIND,
        id_=raw.get("id"),
        index=index,
        name=fields.name("comment"),
        content=fields.text("content"),
        keywords=keywords,
        usage={"priority": fields.number("insertorder", 100, -most, most)},
        enabled=True,
        always=fields.flag("alwaysActive") or raw.get("mode") == "constant",
        rest=rest,
        criteria=criteria,
        honoured=honoured,
    )


def _keys(fields: Fields, key: str, regex: bool) -> list[str]:
    value = fields.raw.get(key)
    if not isinstance(value, str):
        return fields.keys(key)
    # A comma inside of a regular expression separates nothing.
    parts = [value] if regex else value.split(",", bounds.MOST_KEYS)
    return fields.few(key, [part.strip() for part in parts if part.strip()])


def _is_folder(entry: object) -> bool:
    return isinstance(entry, Mapping) and entry.get("mode") == "folder"
