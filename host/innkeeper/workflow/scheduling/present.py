"""Which run the present task executes, for whoever writes a line about it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

present_run: Final[ContextVar[str]] = ContextVar("innkeeper_run", default="")
"""Its id, "" outside of a run. Set once for each run; what it starts inherits it."""
