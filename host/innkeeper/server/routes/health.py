"""Whether the server lives, and whether it takes work."""

from __future__ import annotations

from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.parts import PartsOf

router = BoundedRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(parts: PartsOf) -> dict[str, str]:
    """Whether requests are taken: 503 once the server is stopping."""
    if parts.stopping.is_set():
        raise AnswerError(503, "the server is stopping")
    return {"status": "ready"}
