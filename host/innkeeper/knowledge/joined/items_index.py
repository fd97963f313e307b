"""A base's entries, ready to be activated, as the library keeps them in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from innkeeper.knowledge.activation.base import CompiledBase, compile_base
from innkeeper.knowledge.model.base import BaseInfo, Item
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.store.values import BaseState, Stored

ITEMS: Final = "items"
"""Its name in the library."""

_FACTOR: Final = 6
"""Bytes in memory for each of a document: as plain data, as a model, compiled."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A base as of one revision.

    Attributes:
        revision: of the base.
        items: its entries in the order of the file.
        compiled: the same, for activation.
        info: what the base says of itself, or None where that cannot be read.
    """

    revision: int
    items: tuple[Item, ...]
    compiled: CompiledBase
    info: BaseInfo | None


class ItemsIndex:
    """Implements `live.index.LiveIndex`.

    Attributes:
        ready: as of the newest revision; replaced whole.
    """

    ready: Ready

    def __init__(self) -> None:
        self._rows: dict[str, tuple[float, Item, int]] = {}

    def build(self, state: BaseState, entries: Iterator[Stored]) -> None:
        """As `LiveIndex.build`."""
        for stored in entries:
            self._take(stored)
        self._make(state, None)

    def apply(self, state: BaseState, changed: Sequence[Stored], deleted: Sequence[str]) -> None:
        """As `LiveIndex.apply`."""
        for id in deleted:
            self._rows.pop(id, None)
        for stored in changed:
            self._take(stored)
        self._make(state, self.ready.compiled)

    @property
    def cost(self) -> int:
        """As `LiveIndex.cost`."""
        return _FACTOR * sum(size for _, _, size in list(self._rows.values()))

    def _take(self, stored: Stored) -> None:
        try:
            entry = stored.entry()
        except KnowledgeError:
            # Written by a newer version: it cannot be active here.
            self._rows.pop(stored.id, None)
            return
        self._rows[stored.id] = (stored.position, Item(stored.plain(), entry), len(stored.document))

    def _make(self, state: BaseState, previous: CompiledBase | None) -> None:
        rows = sorted(self._rows.items(), key=lambda row: (row[1][0], row[0]))
        items = tuple(item for _, (_, item, _) in rows)
        info = info_of(state)
        compiled = compile_base(state.base, items, info=info, previous=previous)
        self.ready = Ready(state.revision, items, compiled, info)


def info_of(state: BaseState) -> BaseInfo | None:
    """What a base says of itself, or None where that cannot be read."""
    try:
        return BaseInfo.model_validate({"kb_id": state.base, **state.info})
    except ValueError:
        return None
