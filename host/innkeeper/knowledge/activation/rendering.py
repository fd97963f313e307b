"""The text of an entry: its references to others resolved, variables applied.

A reference that leads nowhere, in a circle, or too deep leaves a mark in the text and never an error. All work is
bounded: how deep, how many references, how many pieces, how long.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final

from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.cancelling import end_if_cancelled
from innkeeper.knowledge.activation.content import Piece, Placeholder, Reference
from innkeeper.knowledge.activation.macros import Macros
from innkeeper.knowledge.activation.state import Ref
from innkeeper.knowledge.model import bounds

MOST_NESTED: Final = 5
"""References inside of what references brought."""

MOST_REFERENCES: Final = 2000
"""Entries that the references of one activation bring, each time that they do."""

MOST_PIECES: Final = 1_000_000
"""Pieces of texts that one activation puts together, and entries that it looks at to resolve references."""

MOST_PATH: Final = 16
"""Names in the path of a reference."""

NOT_FOUND: Final = "[引用错误: {} 未找到或无法解析]"
CIRCLE: Final = "[引用循环: {}]"
TOO_DEEP: Final = "[引用深度超限: {}]"

Waiting = Generator[None, None, None]


class TooLongError(Exception):
    """A text is longer than an entry may be, or there was too much work in all."""


class Renderer:
    """Makes texts for one activation.

    Attributes:
        referred: entries that references brought, each with the entries into whose texts they did, the first one first;
            of those some may have been left out since.
    """

    def __init__(
        self,
        bases: Sequence[CompiledBase],
        macros: Macros,
        *,
        active: Callable[[Ref], bool],
        admits: Callable[[Ref], Generator[None, None, bool]],
    ) -> None:
        """Args:
        bases: all that there are.
        macros: what placeholders mean.
        active: whether an entry is active by itself so far.
        admits: whether scope and conditions of an entry let a reference bring it; waits for answers by yielding.
        """
        self.referred: dict[Ref, dict[Ref, None]] = {}
        self._bases = bases
        self._macros = macros
        self._active = active
        self._admits = admits
        self._by_id: Mapping[str, int] = {base.id: number for number, base in reversed(list(enumerate(bases)))}
        self._by_name: Mapping[str, int] = {base.name: number for number, base in reversed(list(enumerate(bases)))}
        self._references = 0
        self._pieces = 0

    def text(self, ref: Ref, pieces: Sequence[Piece]) -> Generator[None, None, str]:
        """Pieces of an entry's text, put together; waits for answers by yielding.

        Raises TooLongError.
        """
        parts: list[str] = []
        yield from self._put(pieces, ref, (ref,), parts, [0])
        return "".join(parts)

    def _put(
        self, pieces: Sequence[Piece], ref: Ref, stack: tuple[Ref, ...], parts: list[str], size: list[int]
    ) -> Waiting:
        for piece in pieces:
            if isinstance(piece, str):
                # What is nothing but text costs nothing: work that others wasted must not take it away.
                _add(piece, parts, size)
                continue
            self._work(1)
            if isinstance(piece, Reference):
                yield from self._bring(piece, ref, stack, parts, size)
            else:
                _add(self._said(piece), parts, size)

    def _work(self, amount: int) -> None:
        self._pieces += amount
        if self._pieces > MOST_PIECES:
            raise TooLongError("references and variables were too much work in all")

    def _said(self, piece: Placeholder) -> str:
        value = self._macros.text(piece.name)
        return piece.written if value is None else value

    def _bring(
        self, reference: Reference, ref: Ref, stack: tuple[Ref, ...], parts: list[str], size: list[int]
    ) -> Waiting:
        found = self._meant(reference, ref)
        if not found:
            return _add(NOT_FOUND.format(reference.written), parts, size)
        if len(stack) > MOST_NESTED or self._references + len(found) > MOST_REFERENCES:
            return _add(TOO_DEEP.format(reference.written), parts, size)
        first = True
        for each in found:
            if each in stack:
                _add(CIRCLE.format(reference.written), parts, size)
                continue
            if not (yield from self._admits(each)):
                continue
            end_if_cancelled()
            self._references += 1
            self.referred.setdefault(each, {})[stack[0]] = None
            if not first:
                _add("\n", parts, size)
            first = False
            pieces = self._bases[each[0]].entries[each[1]].pieces
            yield from self._put(pieces, each, (*stack, each), parts, size)
        return None

    def _meant(self, reference: Reference, ref: Ref) -> list[Ref]:
        """The entries that a reference means, in the order in which they stand."""
        base = ref[0]
        if reference.base:
            known = self._by_id.get(reference.base, self._by_name.get(reference.base))
            if known is None:
                return self._chosen(base, self._bases[base].named(reference.whole))
            base = known
        if reference.tag:
            tagged = self._bases[base].by_tag.get(reference.tag, ())
            self._work(len(tagged))
            # Not only the active ones: a tag means all that have it, but not the entry that asks.
            there = [position for position in tagged if (base, position) != ref and self._enabled(base, position)]
            return self._ordered(base, there)
        return self._chosen(base, self._at(base, reference.path))

    def _at(self, base: int, path: Sequence[tuple[str, str]]) -> Sequence[int]:
        compiled = self._bases[base]
        there: Sequence[int] = ()
        for number, (kind, text) in enumerate(path[:MOST_PATH]):
            if kind == "id":
                position = compiled.positions.get(text)
                named: Sequence[int] = () if position is None else (position,)
            else:
                named = compiled.named(text)
            if number:
                entries = [compiled.entries[position].entry for position in there]
                self._work(sum(len(entry.management_metadata.child_ids) for entry in entries) + len(named))
                inside = {
                    compiled.positions.get(child) for entry in entries for child in entry.management_metadata.child_ids
                }
                named = [position for position in named if position in inside]
            there = named
        return there if len(path) <= MOST_PATH else ()

    def _chosen(self, base: int, positions: Sequence[int]) -> list[Ref]:
        """Of several entries of one name those that are active, else all."""
        self._work(len(positions))
        there = [position for position in positions if self._enabled(base, position)]
        if len(there) > 1 and (active := [position for position in there if self._active((base, position))]):
            there = active
        return self._ordered(base, there)

    def _ordered(self, base: int, positions: list[int]) -> list[Ref]:
        entries = self._bases[base].entries
        ordered = sorted(positions, key=lambda position: (entries[position].entry.usage_metadata.priority, position))
        return [(base, position) for position in ordered]

    def _enabled(self, base: int, position: int) -> bool:
        return self._bases[base].entries[position].entry.management_metadata.is_enabled


def _add(text: str, parts: list[str], size: list[int]) -> None:
    size[0] += len(text)
    if size[0] > bounds.MOST_CONTENT:
        raise TooLongError(f"its text has more than {bounds.MOST_CONTENT:,} characters with references and variables")
    parts.append(text)
