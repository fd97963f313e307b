"""A base that changes, always ready for activation: what the library keeps in memory beside its search index."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from innkeeper.knowledge.activation.base import CompiledBase, compile_base
from innkeeper.knowledge.model.base import BaseInfo, Item


class LiveActivation:
    """Follows the changes of one base. All methods may be called from any thread.

    A change costs nothing until somebody asks: many changes in a row are made ready together.
    """

    def __init__(self, base: str) -> None:
        """Args:
        base: id of the base.
        """
        self._base = base
        self._info: BaseInfo | None = None
        self._items: dict[str, Item] = {}
        self._made: CompiledBase | None = None
        self._changed = True
        self._items_lock = threading.Lock()
        # Held by whoever makes it ready: others wait instead of doing the same.
        self._making = threading.Lock()

    def replace(self, items: Iterable[Item], info: BaseInfo | None = None) -> None:
        """Takes all entries of the base.

        Args:
            items: in the order of the file.
            info: what the base says of itself.
        """
        found = {item.entry.id: item for item in items}
        with self._items_lock:
            self._items, self._info, self._changed = found, info, True

    def apply(self, changed: Iterable[Item], deleted: Iterable[str] = (), info: BaseInfo | None = None) -> None:
        """Follows changes.

        Args:
            changed: entries that are new or other than before; new ones come last in the order.
            deleted: ids of entries that are there no more; some may never have been.
            info: what the base says of itself now; None: as before.
        """
        with self._items_lock:
            for entry in deleted:
                self._items.pop(entry, None)
            self._items.update((item.entry.id, item) for item in changed)
            self._info, self._changed = info or self._info, True

    def compiled(self) -> CompiledBase:
        """The base as of the last change. Computes where something has changed, so it belongs into a thread: some 5
        microseconds for each entry of the base, 0.1 ms for each that is new."""
        with self._making:
            with self._items_lock:
                if self._made is not None and not self._changed:
                    return self._made
                items, info, self._changed = list(self._items.values()), self._info, False
            try:
                self._made = compile_base(self._base, items, info=info, previous=self._made)
            except BaseException:
                self._changed = True
                raise
            return self._made
