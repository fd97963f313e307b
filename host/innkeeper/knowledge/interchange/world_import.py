"""An entry of world info as an entry of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.knowledge.interchange.coerce import Fields
from innkeeper.knowledge.interchange.residue import restored
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
    SECONDARY,
    SOURCE,
    TEMPLATE,
)
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.entry import ALWAYS, CRITICAL
from innkeeper.knowledge.model.problems import Problem
from innkeeper.knowledge.model.sillytavern import KEY

FROM_SILLYTAVERN = "st_import_v1"
"""The source of what came from SillyTavern."""


def caiu_entry(world: Mapping[str, Any], id_: str | None = None) -> dict[str, Any]:
    """An entry's document of an entry of world info, whatever is wrong with that.

    Args:
        world: its fields; never changed.
        id_: the entry's id; None: its `uid`, else "entry".

    Returns:
        a new document. What CAIU has no field for lies in `extensions.sillytavern` under its own name.
    """
    return translated(world, id_)[0]


def translated(
    world: Mapping[str, Any], id_: str | None = None, where: str = "", *, whole: bool = True
) -> tuple[dict[str, Any], list[Problem]]:
    """As `caiu_entry`, and what is wrong with the entry.

    Args:
        world: its fields; never changed.
        id_: the entry's id.
        where: its place in its file, for problems.
        whole: whether fields that say their default are kept, too.
    """
    given = world.get("extensions")
    native = given.get(NATIVE) if isinstance(given, Mapping) else None
    native = native if isinstance(native, Mapping) else None
    if native is not None:
        world = without_native(world)
        whole = whole and native.get("native") is not True
    if id_ is None:
        uid = world.get("uid")
        id_ = str(uid) if isinstance(uid, int | str) and 0 < len(str(uid)[:200]) <= bounds.MOST_ID else "entry"
    fields = Fields(world, where, _called(world))
    document = _document(fields, id_, whole)
    if native is not None:
        document = _with_native(document, native)
    return document, fields.problems


def without_native(world: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of world info as it was before this host added what world info does not know."""
    given = world.get("extensions")
    if not isinstance(given, Mapping) or not isinstance(given.get(NATIVE), Mapping):
        return dict(world)
    rest = {key: value for key, value in given.items() if key != NATIVE}
    bare = given[NATIVE].get("bare")
    if rest or bare is None:
        return {**world, "extensions": rest}
    # There were none before, or null.
    before: dict[str, Any] = {key: value for key, value in world.items() if key != "extensions"}
    return before if bare == "absent" else {**world, "extensions": None}


def _called(world: Mapping[str, Any]) -> str:
    for key in ("comment", "uid"):
        value = world.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)[:100]
    return ""


def _document(fields: Fields, id_: str, whole: bool) -> dict[str, Any]:
    extension = _extension(fields, whole)
    name = fields.name("comment")
    content = fields.text("content")
    if content is None:
        # Whoever reads the document refuses it for the same reason.
        content = fields.raw["content"]
    document: dict[str, Any] = {"id": id_, "version": 1, "entry_type": "lore_detail"}
    if name:
        document["displayName"] = name
    document["content"] = {"mime_type": "text/plain", "value": content}
    document["activation_criteria"] = _criteria(fields, extension)
    document["usage_metadata"], tags = _usage(fields, extension)
    management: dict[str, Any] = {"tags": tags, "source": FROM_SILLYTAVERN, "is_enabled": not fields.flag("disable")}
    if fields.flag("constant"):
        tags.insert(0, ALWAYS)
    group = fields.name("group") if isinstance(fields.raw.get("group"), str) else ""
    tags += [INCLUSION + part.strip()[:900] for part in group.split(",")[:100] if part.strip()]
    if group:
        extension["group"] = group
    if name:
        management["author_notes"] = str(fields.raw["comment"])[: bounds.MOST_CONTENT]
    document["management_metadata"] = management
    if extension:
        document["extensions"] = {KEY: extension}
    return document


def _extension(fields: Fields, whole: bool) -> dict[str, Any]:
    kept = {
        key: value
        for key, value in fields.raw.items()
        if key not in MAPPED and key != SOURCE and (whole or key not in TEMPLATE or value != TEMPLATE[key])
    }
    if not whole and not kept.get("extensions", True):
        del kept["extensions"]
    return kept


def _criteria(fields: Fields, extension: dict[str, Any]) -> dict[str, Any]:
    criteria: dict[str, Any] = {"keywords": fields.keys("key")}
    secondary = fields.keys("keysecondary")
    selective = fields.flag("selective", True)
    logic = int(fields.number("selectiveLogic", 0, 0, 3))
    if selective and secondary and criteria["keywords"]:
        criteria["key_groups"] = [{"group_id": SECONDARY, "keys": secondary, "logic": LOGIC[logic]}]
    else:
        # Keys that SillyTavern would not look at.
        for key, value, default in (
            ("keysecondary", secondary, []),
            ("selective", selective, True),
            ("selectiveLogic", logic, 0),
        ):
            if value != default:
                extension[key] = value
    if fields.flag("vectorized"):
        criteria["use_semantic_search"] = True
    probability = fields.number("probability", 100, 0, 100)
    if fields.flag("useProbability", True):
        if probability != 100:
            criteria["trigger_probability"] = probability / 100
    else:
        extension["useProbability"] = False
    return criteria


def _usage(fields: Fields, extension: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    most = bounds.MOST_PRIORITY
    usage: dict[str, Any] = {"priority": fields.number("order", 100, -most, most)}
    tags: list[str] = []
    position = _position(fields)
    usage["placement"] = PLACEMENTS[position]
    if position in CATEGORIES:
        tags.append(CATEGORY + CATEGORIES[position])
    if position == AT_DEPTH:
        usage["depth_offset"] = int(fields.number("depth", 4, 0, 1_000_000))
        role = fields.raw.get("role")
        if isinstance(role, str) and role.lower() in ROLES:
            usage["role"] = role.lower()
        elif role is not None:
            usage["role"] = ROLES[int(fields.number("role", 0, 0, 2))]
    if position == OUTLET and not isinstance(extension.get("outletName", ""), str):
        fields.wrong("outletName", "should be text; the entry goes to no outlet")
    if fields.flag("ignoreBudget"):
        usage["token_budget_impact"] = CRITICAL
    return usage, tags


def _position(fields: Fields) -> int:
    value = fields.raw.get("position")
    if value in ("before_char", "after_char"):
        return 0 if value == "before_char" else 1
    return int(fields.number("position", 0, 0, OUTLET))


def _with_native(document: dict[str, Any], native: Mapping[str, Any]) -> dict[str, Any]:
    around = native.get("around")
    torn = False
    if isinstance(around, list) and len(around) == 2 and all(isinstance(each, str) for each in around):
        prefix, suffix = around
        made = document["content"]["value"]
        torn = not (len(made) >= len(prefix) + len(suffix) and made.startswith(prefix) and made.endswith(suffix))
        if not torn:
            inner = made[len(prefix) : len(made) - len(suffix)]
            document = {**document, "content": {**document["content"], "value": inner}}
    # Whatever the residue says, it is an entry with an id.
    back = {"id": document["id"], **restored(document, native.get("entry"))}
    usage = back.get("usage_metadata")
    if torn and isinstance(usage, dict):
        # Somebody edited them where they are a part of the text: they are not to come twice.
        back["usage_metadata"] = {key: value for key, value in usage.items() if key not in ("prefix", "suffix")}
    return back
