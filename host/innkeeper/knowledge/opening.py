"""The one place that says what a library is made of: hosts and commands open the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from innkeeper.knowledge.library import Library
from innkeeper.knowledge.plain.index import PlainIndex
from innkeeper.knowledge.plain.legs import PlainLegs
from innkeeper.storage.database import Database

PLAIN: Final = "plain"
"""Name of the index of the plain search."""


def open_library(db: Database, *, now: Callable[[], float] = time.time) -> Library:
    """A library of the bases of a database; `Library.aclose` ends it."""
    return Library(db, PlainLegs(), indexes={PLAIN: PlainIndex}, now=now)
