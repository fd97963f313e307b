"""An entry of ours as an entry of world info."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from innkeeper.knowledge.interchange.residue import residue, restored
from innkeeper.knowledge.interchange.world_fields import (
    AT_DEPTH,
    CATEGORIES,
    CATEGORY,
    INCLUSION,
    LOGIC,
    MAPPED,
    NATIVE,
    OUTLET,
    PLACEMENTS,
    ROLES,
    SOURCE,
    TEMPLATE,
)
from innkeeper.knowledge.interchange.world_import import caiu_entry
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import ALWAYS, CRITICAL
from innkeeper.knowledge.model.sillytavern import KEY, SillyTavern, read_sillytavern

WORLD = "world_info"
"""The format of an entry that was read in a world book."""

_TYPED = frozenset(TEMPLATE) & frozenset(SillyTavern.model_fields) - {"group"}
_BY_CATEGORY = {CATEGORY + name: position for position, name in CATEGORIES.items()}


def world_entry(item: Item) -> dict[str, Any]:
    """An entry with every field of world info, each of the type that it should have.

    Args:
        item: any entry, native ones included.

    Returns:
        a new object; what SillyTavern does not know of the entry is not in it.
    """
    world = {**TEMPLATE, **kept(item.document), **mapped(item.document)}
    read = read_sillytavern(item.entry)
    for name in _TYPED:
        world[name] = getattr(read, name) if name in read.model_fields_set else TEMPLATE[name]
    for name in ("outletName", "automationId", "addMemo"):
        if not isinstance(world[name], type(TEMPLATE[name])):
            world[name] = TEMPLATE[name]
    return world


def exported_entry(item: Item, uid: int | None = None, key: str | None = None) -> dict[str, Any]:
    """An entry as a world book has it: as it was read there, edits apart, or with every field.

    Args:
        item: any entry.
        uid: its number there; None: the one that it has or had.
        key: under which it lies in the book; None: its id.

    Returns:
        a new object. What CAIU knows and world info does not lies in `extensions.innkeeper`.
    """
    document = item.document
    read = source_of(document)
    made = {**kept(document), **mapped(document)}
    imported = read.get("format") == WORLD
    world = restored(made, read.get("residue")) if imported else {**TEMPLATE, **made}
    if uid is not None:
        world["uid"] = uid
    around = None if imported else around_of(document)
    if around is not None:
        world["content"] = f"{around[0]}{world['content']}{around[1]}"
    # A key that cannot be an id gives one by its place.
    id_ = key if key is not None and 0 < len(key) <= bounds.MOST_ID else str(document["id"])
    return with_native(document, world, lambda marked: caiu_entry(marked, id_), around, imported)


def with_native(
    document: Mapping[str, Any],
    shaped: dict[str, Any],
    read: Callable[[dict[str, Any]], dict[str, Any]],
    around: tuple[str, str] | None,
    imported: bool,
) -> dict[str, Any]:
    """An exported entry, with what it does not say of the document in `extensions.innkeeper`.

    Args:
        document: the entry.
        shaped: what was exported of it.
        read: what an import makes of an exported entry.
        around: the texts that the content has around it there.
        imported: whether the entry was read in this format, so that nothing is added where nothing is lost.
    """
    given = shaped.get("extensions")
    if given is not None and not isinstance(given, Mapping):
        # Somebody else's value stands where it would go.
        if imported:
            return shaped
        shaped = {key: value for key, value in shaped.items() if key != "extensions"}
        given = None
    marker: dict[str, Any] = {} if imported else {"native": True}
    if not given:
        marker["bare"] = "absent" if "extensions" not in shaped else "null" if given is None else None
    if around is not None:
        marker["around"] = list(around)
    marked = {**shaped, "extensions": {**(given or {}), NATIVE: marker}}
    back = read(marked)
    if imported:
        # Whoever reads the book makes this record again.
        back.setdefault("extensions", {}).setdefault(KEY, {})[SOURCE] = source_of(document)
    lost = residue(document, back)
    if imported and not lost:
        return shaped
    if lost:
        marker["entry"] = lost
    return marked


def mapped(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of world info that are made from fields of CAIU."""
    given = extension_of(document)
    criteria = document.get("activation_criteria") or {}
    usage = document.get("usage_metadata") or {}
    management = document.get("management_metadata") or {}
    tags = management.get("tags") or []
    depth = usage.get("depth_offset")
    groups = criteria.get("key_groups") or []
    secondary, selective, logic = _unused(given)
    if groups:
        secondary, selective = list(groups[0].get("keys") or []), True
        logic = LOGIC.index(groups[0].get("logic", "AND"))
    probability = criteria.get("trigger_probability", 1.0)
    role = usage.get("role")
    inclusion = [tag.removeprefix(INCLUSION) for tag in tags if tag.startswith(INCLUSION)]
    return {
        "uid": uid_of(document),
        "key": list(criteria.get("keywords") or []),
        "keysecondary": secondary,
        "comment": document.get("displayName") or "",
        "content": (document.get("content") or {}).get("value") or "",
        "constant": ALWAYS in tags,
        "vectorized": criteria.get("use_semantic_search", False),
        "selective": selective,
        "selectiveLogic": logic,
        "order": usage.get("priority", 100),
        "position": _position(usage, tags, given),
        "disable": not management.get("is_enabled", True),
        "ignoreBudget": usage.get("token_budget_impact") == CRITICAL,
        "probability": _percent(probability),
        "useProbability": given.get("useProbability") is not False if probability == 1 else True,
        "depth": TEMPLATE["depth"] if depth is None else depth,
        "role": ROLES.index(role) if role in ROLES else 0,
        "group": given["group"] if isinstance(given.get("group"), str) else ",".join(inclusion),
    }


def extension_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What lies in a document's `extensions.sillytavern`, or {}."""
    found = (document.get("extensions") or {}).get(KEY)
    return found if isinstance(found, dict) else {}


def source_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Where an entry was read and what was lost then, or {}."""
    found = extension_of(document).get(SOURCE)
    return found if isinstance(found, dict) else {}


def uid_of(document: Mapping[str, Any]) -> int:
    """The `uid` that an entry's id gives, else 0."""
    id_ = source_of(document).get("key", document["id"])
    known = isinstance(id_, str) and id_.isascii() and id_.isdigit() and len(id_) < 16 and str(int(id_)) == id_
    return int(id_) if known else 0


def kept(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of world info that CAIU has no field for."""
    return {key: value for key, value in extension_of(document).items() if key not in MAPPED and key != SOURCE}


def _unused(given: Mapping[str, Any]) -> tuple[list[str], bool, int]:
    keys, selective, logic = given.get("keysecondary"), given.get("selective"), given.get("selectiveLogic")
    return (
        [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else [],
        selective if isinstance(selective, bool) else True,
        logic if isinstance(logic, int) and not isinstance(logic, bool) and 0 <= logic <= 3 else 0,
    )


def _position(usage: Mapping[str, Any], tags: list[str], given: Mapping[str, Any]) -> int:
    if usage.get("depth_offset") is not None:
        return AT_DEPTH
    placement = usage.get("placement", "before_prompt")
    for tag in tags:
        position = _BY_CATEGORY.get(tag)
        # A tag that placement contradicts is older than it.
        if position is not None and PLACEMENTS[position] == placement:
            return position
    if given.get("outletName") and placement is None:
        return OUTLET
    return {"after_prompt": 1, "scratchpad_notes": 2}.get(placement or "", 0)


def _percent(probability: float) -> int | float:
    percent = round(probability * 100, 9)
    return int(percent) if percent == int(percent) else percent


def around_of(document: Mapping[str, Any]) -> tuple[str, str] | None:
    """The prefix and the suffix that an entry's text has, or None."""
    usage = document.get("usage_metadata") or {}
    texts = []
    for key in ("prefix", "suffix"):
        affix = usage.get(key) or {}
        texts.append(affix.get("text", "") if affix.get("is_enabled", False) else "")
    return (texts[0], texts[1]) if any(texts) else None
