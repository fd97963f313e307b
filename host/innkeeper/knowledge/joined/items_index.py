"""A base's entries, ready to be activated, as the library keeps them in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from innkeeper.knowledge.activation.base import CompiledBase, compile_base
from innkeeper.knowledge.live.ordering import in_order
from innkeeper.knowledge.model.base import BaseInfo, Item
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.settling import settled
from innkeeper.knowledge.store.values import BaseState, Stored

ITEMS: Final = "items"
"""Its name in the library."""

_FACTOR: Final = 3
"""Bytes in memory for each of a document."""

_COST: Final = 12_000
"""Bytes that an entry takes beside them: as plain data, as a model, compiled."""


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
    """Implements `live.index.LiveIndex`. A change costs next to nothing until somebody asks: many changes in a row are
    made ready together."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[float, Item, int]] = {}
        self._state: BaseState | None = None
        self._size = 0
        self._ready: Ready | None = None
        self._lock = threading.Lock()
        # Held by whoever makes it ready: others wait instead of doing the same.
        self._making = threading.Lock()

    def build(self, state: BaseState, entries: Iterator[Stored]) -> None:
        """As `LiveIndex.build`."""
        self._take(state, entries, ())

    def apply(self, state: BaseState, changed: Sequence[Stored], deleted: Sequence[str]) -> None:
        """As `LiveIndex.apply`."""
        self._take(state, changed, deleted)

    @property
    def cost(self) -> int:
        """As `LiveIndex.cost`."""
        return _FACTOR * self._size + _COST * len(self._rows)

    @property
    def ready(self) -> Ready | None:
        """The base as it is now, where that costs nothing; None: ask `made` in a thread."""
        ready, state = self._ready, self._state
        return ready if ready is not None and state is not None and ready.revision == state.revision else None

    def made(self) -> Ready:
        """The base as it is now. For a thread: some 5 microseconds for each entry, 0.1 ms for each that is new."""
        with self._making:
            with self._lock:
                state, rows = self._state, dict(self._rows)
            assert state is not None
            if self._ready is not None and self._ready.revision == state.revision:
                return self._ready
            order = in_order(list(rows), lambda id: (rows[id][0], id))
            items = tuple(rows[id][1] for id in order)
            info = info_of(state)
            previous = None if self._ready is None else self._ready.compiled
            new = len(items) if previous is None else abs(len(items) - len(previous.entries))
            with settled(new):
                compiled = compile_base(state.base, items, info=info, previous=previous)
            self._ready = Ready(state.revision, items, compiled, info)
            return self._ready

    def _take(self, state: BaseState, changed: Iterable[Stored], deleted: Sequence[str]) -> None:
        read: dict[str, tuple[float, Item, int] | None] = dict.fromkeys(deleted)
        for stored in changed:
            try:
                item = Item(stored.plain(), stored.entry())
            except KnowledgeError:
                # Written by a newer version: it cannot be active here.
                read[stored.id] = None
            else:
                read[stored.id] = (stored.position, item, len(stored.document))
        with self._lock:
            for id, row in read.items():
                gone = self._rows.pop(id, None)
                self._size -= 0 if gone is None else gone[2]
                if row is not None:
                    self._rows[id] = row
                    self._size += row[2]
            self._state = state


def info_of(state: BaseState) -> BaseInfo | None:
    """What a base says of itself, or None where that cannot be read."""
    try:
        return BaseInfo.model_validate({"kb_id": state.base, **state.info})
    except ValueError:
        return None
