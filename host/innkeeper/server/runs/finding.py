"""Runs for who asks: own ones, and for an administrator all. What is somebody else's is answered as what is not."""

from __future__ import annotations

import time
from typing import Annotated, Final

from fastapi import Path

from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.server.parts import Parts
from innkeeper.storage.run_model import Ended, StoredRun

RunId = Annotated[str, Path(min_length=1, max_length=64, description="a run's id, its promptId")]

MOST_ID: Final = 128
"""Characters of a run's id."""


async def find_run(parts: Parts, identity: Identity, id: str) -> StoredRun:
    """A run by its id.

    Raises:
        AnswerError: 404: there is none, or it is somebody else's, which nobody can tell from each other.
    """
    found = await parts.scheduler.store.find(id, time.time()) if _possible(id) else None
    if found is None or not owns(identity, found):
        raise unknown(id)
    return found


async def find_ended(parts: Parts, identity: Identity, id: str) -> Ended:
    """A run with what became of it, as `find_run`."""
    found = await parts.scheduler.store.ended(id, time.time()) if _possible(id) else None
    if found is None or not owns(identity, found.run):
        raise unknown(id)
    return found


def owns(identity: Identity, run: StoredRun) -> bool:
    """Whether a run is the user's to see and to end (bool)."""
    return run.account.owner == identity.uid or (identity.is_admin and identity.may("admin"))


async def interrupt(parts: Parts, identity: Identity, id: str) -> StoredRun:
    """Ends a run, wherever it is executed; what has ended stays as it is.

    Returns:
        How it stands now: one that runs may take a moment to end.

    Raises:
        AnswerError: 404: as `find_run`.
    """
    found = await find_run(parts, identity, id)
    standing = await parts.scheduler.store.cancel(found.id, time.time())
    if standing is None:
        raise unknown(id)
    # Another process that has it looks at its row within a second.
    parts.scheduler.cancel(found.id)
    parts.live.board.stir()
    return standing


def unknown(id: str) -> AnswerError:
    """What is answered about a run that is not there."""
    return AnswerError(404, f"there is no run {id[:MOST_ID]!r}")


def wire_status(run: StoredRun) -> str:
    """How a run stands, as clients know it."""
    return "interrupted" if run.status == "cancelled" else run.status


def _possible(id: str) -> bool:
    # A database would refuse texts that are none of Unicode, and bytes of zero.
    return len(id) <= MOST_ID and id.isascii() and id.isalnum()
