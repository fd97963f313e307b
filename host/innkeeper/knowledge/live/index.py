"""What search and activation keep in memory of a base, as the library calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from innkeeper.knowledge.store.values import BaseState, Stored


class LiveIndex(Protocol):
    """Something that is made of all entries of a base and follows its changes.

    `build` is called once, before anybody reads; `apply` then, one call at a time. Both are called in a thread, and
    whoever reads meanwhile, on any thread, must find what was there before or what is there afterwards.
    """

    def build(self, state: BaseState, entries: Iterator[Stored]) -> None:
        """Makes it of a base.

        Args:
            state: of the base.
            entries: all of them in the order of the file, with terms and with vectors under `state.model`. They come
                out of a transaction: what is not read when this returns is not there any more.
        """
        ...

    def apply(self, state: BaseState, changed: Sequence[Stored], deleted: Sequence[str]) -> None:
        """Follows changes.

        Args:
            state: of the base now; its model is that of `build`.
            changed: entries that are new or other than before, with terms and vectors, without order; disabled ones
                too.
            deleted: ids of entries that are there no more; some may never have been.
        """
        ...

    @property
    def cost(self) -> int:
        """Bytes that it takes, roughly."""
        ...


IndexMaker = Callable[[], LiveIndex]
"""Makes one that is empty."""
