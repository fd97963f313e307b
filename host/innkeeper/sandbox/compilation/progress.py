"""What happens while modules are compiled, for whoever shows it to a user."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """Where a module is on its way."""

    QUEUED = "queued"
    COMPILING = "compiling"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Compiling:
    """A module that is not in the cache went on to a stage.

    Attributes:
        key: of its artifact; the same for all stages of one job.
        plugin: the plugin's id, or None.
        size: bytes of its Wasm.
        stage: where it is now; `DONE` comes however the job ended.
    """

    key: str
    plugin: str | None
    size: int
    stage: Stage


@dataclass(frozen=True, slots=True)
class CacheTrouble:
    """The cache cannot be used, or no longer be written; said once. `reason` (str) is a sentence."""

    reason: str


Listener = Callable[["Compiling | CacheTrouble"], None]
"""Called on trio's thread, so it must be quick; what it raises is lost."""

listener: ContextVar[Listener | None] = ContextVar("innkeeper compilation listener", default=None)
"""Who is told by the compilers that are made in this context."""
