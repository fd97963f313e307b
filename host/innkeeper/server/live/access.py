"""Which runs somebody may watch and interrupt: their own; an administrator those of everybody."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.storage.run_model import StoredRun

if TYPE_CHECKING:
    from innkeeper.server.parts import Parts

MOST_ID: Final = 128
"""Characters of a run's id."""


async def run_of(parts: Parts, identity: Identity, id: str) -> StoredRun:
    """A run of somebody's.

    Raises:
        AnswerError: 404: there is none with this id; one of somebody else's is none, too, so that nobody learns of it.
    """
    found = None
    # A database would refuse bytes of zero, and texts that are none of Unicode.
    if len(id) <= MOST_ID and id.isascii() and id.isalnum():
        found = await parts.scheduler.store.find(id, time.time())
    everybodys = identity.is_admin and identity.may("admin")
    if found is None or not (everybodys or found.account.owner == identity.uid):
        raise AnswerError(404, f"there is no run {id[:MOST_ID]!r}")
    return found


async def interrupt(parts: Parts, identity: Identity, id: str) -> StoredRun:
    """Ends a run of somebody's; what has ended stays as it is.

    Returns:
        How it stands now: one that runs may take a moment to end.

    Raises:
        AnswerError: 404: as `run_of`.
    """
    found = await run_of(parts, identity, id)
    standing = await parts.scheduler.store.cancel(found.id, time.time())
    if standing is None:
        raise AnswerError(404, f"there is no run {id[:MOST_ID]!r}")
    parts.scheduler.cancel(found.id)
    parts.live.board.stir()
    return standing


def wire_status(run: StoredRun) -> str:
    """How a run stands, as clients know it."""
    return "interrupted" if run.status == "cancelled" else run.status
