"""Whether the server lives, and whether it takes work."""

from __future__ import annotations

from typing import Any, Final

from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.parts import PartsOf

router = BoundedRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


_UNREADY: Final[dict[int | str, dict[str, Any]]] = {503: {"description": "No requests are taken"}}


@router.get("/readyz", responses=_UNREADY)
async def readyz(parts: PartsOf) -> dict[str, str]:
    """Whether requests are taken: 503 once the server is stopping, and while its database does not answer."""
    if parts.stopping.is_set():
        raise AnswerError(503, "the server is stopping")
    if await parts.guards.probe.queued() is None:
        raise AnswerError(503, "the database does not answer")
    return {"status": "ready"}
