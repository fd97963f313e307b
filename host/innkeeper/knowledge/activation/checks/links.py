"""References, parts and related entries that lead nowhere or in circles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.checks.finding import Finding
from innkeeper.knowledge.activation.compiled import CompiledEntry
from innkeeper.knowledge.activation.content import Piece, Reference

_CONTENT = "content.value"
_CHILDREN = "management_metadata.child_ids"
_MOST_FOUND = 100
"""Entries of one name or tag that are looked at: more of them say nothing new."""

_RELATED = "management_metadata.related_ids"


class Links:
    """What entries of a base bring each other.

    Attributes:
        brought: positions of entries that others bring: as a part, as related, or by a reference.
    """

    def __init__(self, base: CompiledBase) -> None:
        self._base = base
        self._children = [self._positions(entry.entry.management_metadata.child_ids) for entry in base.entries]
        self._referred = [self._meant(entry) for entry in base.entries]
        self.brought: set[int] = set()
        for position, entry in enumerate(base.entries):
            if entry.entry.management_metadata.is_enabled:
                related = self._positions(entry.entry.management_metadata.related_ids)
                self.brought.update({*self._children[position], *related, *self._referred[position]} - {position})
        self._circular_children = _circular(self._children)
        self._circular_references = _circular(self._referred)

    def findings(self, position: int) -> Iterator[Finding]:
        """What is the matter with the links of one entry."""
        entry = self._base.entries[position]
        for where, ids in (
            (_CHILDREN, entry.entry.management_metadata.child_ids),
            (_RELATED, entry.entry.management_metadata.related_ids),
        ):
            if missing := [each for each in ids if each not in self._base.positions]:
                yield _finding(entry, where, f"names entries that are not there: {_some(missing)}")
        if position in self._circular_children:
            yield _finding(entry, _CHILDREN, "contains itself, over its parts; one of them is left out")
        if position in self._circular_references:
            yield _finding(entry, _CONTENT, "refers to itself, over others; a mark stands in its place")
        for reference in _references(entry.pieces):
            if self._is_own(reference) and not self._found(reference):
                text = f"{{{{{{{reference.written}}}}}}} means no entry that is switched on; a mark stands in its place"
                yield _finding(entry, _CONTENT, text)
        if entry.is_group and not any(self._is_on(child) for child in self._children[position]):
            yield _finding(entry, _CHILDREN, "is a container without parts that are switched on", never=True)
        elif entry.is_group and entry.entry.text.strip():
            yield _finding(entry, _CONTENT, "is a container: its own text is never inserted")

    def _positions(self, ids: Sequence[str]) -> list[int]:
        return [self._base.positions[each] for each in ids if each in self._base.positions]

    def _is_on(self, position: int) -> bool:
        return self._base.entries[position].entry.management_metadata.is_enabled

    def _is_own(self, reference: Reference) -> bool:
        return not reference.base or reference.base in (self._base.id, self._base.name)

    def _meant(self, entry: CompiledEntry) -> list[int]:
        found: list[int] = []
        for reference in _references(entry.pieces):
            if self._is_own(reference) and not reference.tag:
                found += self._found(reference)
        return found

    def _found(self, reference: Reference) -> list[int]:
        if reference.tag:
            there = self._base.by_tag.get(reference.tag, ())
        elif reference.path:
            kind, text = reference.path[-1]
            # The way to it is not looked at: what has the last name is near enough for a hint.
            there = self._base.named(text) if kind == "name" else self._positions([text])
        else:
            there = ()
        return [position for position in there[:_MOST_FOUND] if self._is_on(position)]


def _references(pieces: Sequence[Piece]) -> list[Reference]:
    return [piece for piece in pieces if isinstance(piece, Reference)]


def _circular(links: Sequence[Sequence[int]]) -> set[int]:
    """Positions that lie on a circle; linear in the number of links (Tarjan, without recursion)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    open_: list[int] = []
    is_open: set[int] = set()
    found: set[int] = set()
    for root in range(len(links)):
        if root in number:
            continue
        work = [(root, 0)]
        while work:
            at, next_ = work.pop()
            if next_ == 0:
                number[at] = low[at] = len(number)
                open_.append(at)
                is_open.add(at)
            for place in range(next_, len(links[at])):
                other = links[at][place]
                if other not in number:
                    work += [(at, place + 1), (other, 0)]
                    break
                if other in is_open:
                    low[at] = min(low[at], number[other])
            else:
                if low[at] == number[at]:
                    members: list[int] = []
                    while not members or members[-1] != at:
                        members.append(open_.pop())
                        is_open.discard(members[-1])
                    if len(members) > 1 or at in links[at]:
                        found.update(members)
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[at])
    return found


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return ", ".join(repr(each) for each in ids[:5]) + more


def _finding(entry: CompiledEntry, where: str, message: str, *, never: bool = False) -> Finding:
    return Finding(entry.id, entry.entry.name, where, message, never)
