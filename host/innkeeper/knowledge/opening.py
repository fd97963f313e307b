"""The one place that says what a library is made of: hosts and commands open the same."""

from __future__ import annotations

import time
from collections.abc import Callable

from innkeeper.knowledge.files.step import StepFiles
from innkeeper.knowledge.joined.items_index import ITEMS, ItemsIndex
from innkeeper.knowledge.library import Library
from innkeeper.knowledge.live.index import IndexMaker
from innkeeper.knowledge.retrieval.kept import KeptSearch
from innkeeper.knowledge.retrieval.legs import TextLegs
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.storage.database import Database

SEARCH = "search"
"""Name of the index that searches."""


def open_library(db: Database, *, now: Callable[[], float] = time.time, quota: StoreQuota | None = None) -> Library:
    """A library of the bases of a database; `Library.aclose` ends it.

    Args:
        db: where they are kept.
        now: seconds since 1970; called from any thread.
        quota: what an owner's bases may have.
    """
    indexes: dict[str, IndexMaker] = {SEARCH: KeptSearch, ITEMS: ItemsIndex}
    return Library(db, TextLegs(), indexes=indexes, files=StepFiles(), now=now, quota=quota)
