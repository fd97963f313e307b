"""Whole books: world info and `character_book` as bases, and bases as either."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from innkeeper.knowledge.files.bounds import MOST_PROBLEMS
from innkeeper.knowledge.interchange.book_entry import BOOK, book_of_world, made_by_sillytavern, world_of_book
from innkeeper.knowledge.interchange.residue import residue
from innkeeper.knowledge.interchange.tops import base_document
from innkeeper.knowledge.interchange.world_export import WORLD, kept, mapped, world_entry
from innkeeper.knowledge.interchange.world_fields import NATIVE, SOURCE
from innkeeper.knowledge.interchange.world_import import translated, without_native
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import Base, BaseInfo, Item
from innkeeper.knowledge.model.entry import problems_of, read_entry
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.knowledge.model.sillytavern import KEY


@dataclass
class Made:
    """Entries that an importer has made so far, and what was wrong with the others.

    Attributes:
        items: sound entries; no id is there twice.
        problems: everything that is wrong.
    """

    items: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)
    _numbers: dict[str, int] = field(default_factory=dict)
    _more: int = 0
    _full: bool = False

    def add(self, document: dict[str, Any], where: str, finish: Callable[[Item], dict[str, Any]] | None = None) -> None:
        """Takes an entry, if it is sound.

        Args:
            document: of the entry; its id is changed where another has it.
            where: its place in its file.
            finish: gives what `extensions.sillytavern` gets besides, of the entry as it was read.
        """
        if len(self.items) >= bounds.MOST_ENTRIES:
            self._too_many(where)
            return
        id_ = document["id"]
        if isinstance(id_, str) and id_ in self._ids:
            document["id"] = self._free(id_)
            said = f"another entry has the id {id_!r}; this one is {document['id']!r}"
            self.note([Problem(where, said[:300], _name(document))])
        entry, problems = read_entry(document, where)
        if entry is None:
            self.note(problems)
            return
        item = Item(document, entry)
        if finish is not None:
            given = finish(item)
            extension = {**(document.get("extensions") or {}).get(KEY, {}), **given}
            document = {**document, "extensions": {**(document.get("extensions") or {}), KEY: extension}}
            entry = entry.model_copy(update={"extensions": document["extensions"]})
            item = Item(document, entry)
        size = len(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        if size > bounds.MOST_ENTRY:
            said = f"the entry has {size:,} bytes; at most {bounds.MOST_ENTRY:,} are possible"
            self.note([Problem(where, said, _name(document))])
            return
        self._ids.add(entry.id)
        self.items.append(item)

    def note(self, problems: Sequence[Problem]) -> None:
        """Adds to what is wrong, up to `MOST_PROBLEMS`; the others are counted."""
        fit = max(0, MOST_PROBLEMS - len(self.problems))
        self.problems += problems[:fit]
        self._more += len(problems[fit:])

    def listed(self) -> list[Problem]:
        """Everything that is wrong; the last says how much more there is."""
        return [*self.problems, Problem("", f"and {self._more:,} problems more")] if self._more else self.problems

    def _free(self, id_: str) -> str:
        start = id_[:100]
        # Goes on where it ended last: many equal ids do not make it quadratic.
        number = self._numbers.get(start, 2)
        while f"{start}-{number}" in self._ids:
            number += 1
        self._numbers[start] = number + 1
        return f"{start}-{number}"

    def _too_many(self, where: str) -> None:
        if not self._full:
            said = f"at most {bounds.MOST_ENTRIES:,} entries are possible; the rest is left out"
            self.problems.append(Problem(where, said))
        self._full = True


def read_world_book(raw: Mapping[str, Any], kb_id: str, name: str) -> tuple[Base, list[Problem]]:
    """A world book as a base.

    Args:
        raw: the file, plain data; never changed.
        kb_id: of the new base.
        name: of the base where the file gives none.

    Returns:
        the base of what is sound, and what is wrong.

    Raises:
        KnowledgeError: it has no entries at all, but something else.
    """
    entries = raw.get("entries")
    if not isinstance(entries, Mapping):
        raise KnowledgeError(Problem("entries", "should be an object of entries by their uid"))
    made = Made()
    for key in sorted(entries, key=_place):
        world = entries[key]
        where = f"entries.{key[:100]}"
        if not isinstance(world, Mapping):
            made.note([Problem(where, "should be an object with the fields of an entry")])
            continue
        good = 0 < len(key) <= bounds.MOST_ID
        document, problems = translated(world, key if good else f"entry-{len(made.items)}", where)
        made.note(problems)
        made.add(document, where, None if _is_native(world) else _of_world(world, None if good else key))
    return new_base(base_document(raw, kb_id, name, WORLD), made), made.listed()


def read_character_book(raw: Mapping[str, Any], kb_id: str, name: str, where: str = "") -> tuple[Base, list[Problem]]:
    """A `character_book`, or the `data` of a `lorebook_v3`, as a base.

    Args:
        raw: the book, plain data; never changed.
        kb_id: of the new base.
        name: of the base where the book gives none.
        where: its place in its file.

    Raises:
        KnowledgeError: it has no list of entries.
    """
    entries = raw.get("entries")
    at = f"{where}.entries" if where else "entries"
    if entries is None:
        entries = []
    if isinstance(entries, Mapping):
        # Some write it as world info does.
        entries = list(entries.values())
    if not isinstance(entries, list):
        raise KnowledgeError(Problem(at, "should be a list of entries"))
    made = Made()
    for index, entry in enumerate(entries):
        place = f"{at}[{index}]"
        if not isinstance(entry, Mapping):
            made.note([Problem(place, "should be an object with the fields of an entry")])
            continue
        world = world_of_book(entry, index)
        id_ = str(world["uid"])[: bounds.MOST_ID] or str(index)
        document, problems = translated(world, id_, place, whole=False)
        made.note(problems)
        made.add(document, place, None if _is_native(entry) else _of_book(entry))
    return new_base(base_document(raw, kb_id, name, BOOK), made), made.listed()


def new_base(document: dict[str, Any], made: Made) -> Base:
    """A base of what an importer has made.

    Raises:
        KnowledgeError: its top level cannot be read.
    """
    try:
        return Base(document, BaseInfo.model_validate(document), made.items)
    except ValidationError as error:
        raise KnowledgeError(problems_of(error, "")) from None


def _of_world(world: Mapping[str, Any], key: str | None) -> Callable[[Item], dict[str, Any]]:
    def finish(item: Item) -> dict[str, Any]:
        lost = residue(without_native(world), {**kept(item.document), **mapped(item.document)})
        return {
            SOURCE: {"format": WORLD, **({"residue": lost} if lost else {}), **({} if key is None else {"key": key})}
        }

    return finish


def _of_book(entry: Mapping[str, Any]) -> Callable[[Item], dict[str, Any]]:
    def finish(item: Item) -> dict[str, Any]:
        whole = made_by_sillytavern(entry)
        lost = residue(without_native(entry), book_of_world(world_entry(item), whole=whole))
        return {SOURCE: {"format": BOOK, "whole": whole, **({"residue": lost} if lost else {})}}

    return finish


def _place(key: str) -> int:
    # JavaScript goes through the keys of an object by number first, and SillyTavern's ties hang on it.
    number = int(key) if key.isascii() and key.isdigit() and len(key) <= 10 else -1
    return number if 0 <= number < (1 << 32) - 1 and str(number) == key else 1 << 32


def _is_native(entry: Mapping[str, Any]) -> bool:
    given = entry.get("extensions")
    marker = given.get(NATIVE) if isinstance(given, Mapping) else None
    return isinstance(marker, Mapping) and marker.get("native") is True


def _name(document: Mapping[str, Any]) -> str:
    return str(document.get("displayName") or document["id"])[:100]
