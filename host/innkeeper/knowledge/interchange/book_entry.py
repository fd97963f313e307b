"""An entry of a `character_book` (cards V2 and V3, `lorebook_v3`) as one of world info, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.knowledge.interchange.world_fields import BOOK_EXTENSIONS, TEMPLATE

BOOK = "character_book"
"""The format of an entry that was read in a `character_book`."""

_PLAIN = {
    "keys": "key",
    "secondary_keys": "keysecondary",
    "comment": "comment",
    "content": "content",
    "constant": "constant",
    "selective": "selective",
    "insertion_order": "order",
}
"""Keys of an entry that are fields of world info under another name."""

_MADE_BY_SILLYTAVERN = frozenset({"selectiveLogic", "display_index", "exclude_recursion", "useProbability"})


def world_of_book(entry: Mapping[str, Any], index: int) -> dict[str, Any]:
    """An entry of world info with what an entry of a `character_book` says.

    Args:
        entry: as it was read; never changed.
        index: its place in the book, from 0.
    """
    given = entry.get("extensions")
    extensions: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    world: dict[str, Any] = {name: entry[key] for key, name in _PLAIN.items() if key in entry}
    if not entry.get("selective"):
        # The opposite of what absence means in world info.
        world["selective"] = False
    if not world.get("comment") and isinstance(entry.get("name"), str):
        world["comment"] = entry["name"]
    id_ = entry.get("id")
    world["uid"] = id_ if isinstance(id_, int | str) and not isinstance(id_, bool) else index
    if entry.get("enabled") is not None:
        world["disable"] = not entry["enabled"] if isinstance(entry["enabled"], bool | int) else entry["enabled"]
    if entry.get("position") is not None:
        world["position"] = entry["position"]
    for key, name in BOOK_EXTENSIONS.items():
        if key in extensions and (key != "position" or _is_number(extensions[key])):
            world[name] = extensions[key]
    if "caseSensitive" not in world and isinstance(entry.get("case_sensitive"), bool):
        world["caseSensitive"] = entry["case_sensitive"]
    if entry.get("use_regex") is True and not made_by_sillytavern(entry):
        # SillyTavern writes it always and never reads it.
        world["useRegex"] = True
    rest = {key: value for key, value in extensions.items() if key not in BOOK_EXTENSIONS}
    if rest:
        world["extensions"] = rest
    return world


def book_of_world(world: Mapping[str, Any], *, whole: bool = True) -> dict[str, Any]:
    """An entry of a `character_book` with what an entry of world info says.

    Args:
        world: with every field of world info.
        whole: whether fields that say their default are written to `extensions`, as SillyTavern does.
    """
    position = world["position"]
    entry: dict[str, Any] = {"id": world["uid"]}
    entry.update((key, world[name]) for key, name in _PLAIN.items())
    entry["enabled"] = not world["disable"]
    entry["position"] = "before_char" if position == 0 else "after_char"
    entry["use_regex"] = whole or world.get("useRegex") is True
    given = world.get("extensions")
    entry["extensions"] = dict(given) if isinstance(given, Mapping) else {}
    for key, name in BOOK_EXTENSIONS.items():
        value = world.get(name, TEMPLATE.get(name))
        if name not in world and name not in TEMPLATE:
            continue
        plain = position in (0, 1) if name == "position" else value == TEMPLATE.get(name)
        if whole or not plain:
            entry["extensions"][key] = value
    return entry


def made_by_sillytavern(entry: Mapping[str, Any]) -> bool:
    """Whether an entry has what only SillyTavern writes."""
    given = entry.get("extensions")
    return isinstance(given, Mapping) and not _MADE_BY_SILLYTAVERN.isdisjoint(given)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
