"""What the server says to Prometheus."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.parts import PartsOf
from innkeeper.server.telemetry.collecting import CONTENT_TYPE

router = BoundedRouter(tags=["health"])

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "All metrics, in Prometheus' text"},
    403: {"description": "Neither the address nor the key may read them"},
}


@router.get("/metrics", response_class=Response, responses=_ANSWERS)
async def metrics(request: Request, parts: PartsOf) -> Response:
    """All metrics, for the addresses of `[server] metrics` and for administrators' API keys."""
    guards = parts.guards
    if not guards.reads_metrics(request):
        # Where nobody logs in, everybody is the administrator: that is no reason to show them to any address.
        found = await parts.identify(request)
        if found is None or found.how != "key" or not found.is_admin or not found.may("admin"):
            raise AnswerError(403, "[server] metrics does not list this address, and no administrator's key came along")
    # What listens says there what it counts.
    connections = getattr(request.app.state, "streams", None)
    return Response(guards.metrics.text(await guards.probe.queued(), connections), media_type=CONTENT_TYPE)
