"""A page for people who open the server's address: what it is, and nothing about who uses it."""

from __future__ import annotations

from starlette.responses import HTMLResponse

from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.parts import PartsOf

router = BoundedRouter(tags=["health"])

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Innkeeper</title></head>
<body>
<h1>Innkeeper</h1>
<p>The server {state}.</p>
<p>It answers programs: <a href="/openapi.json">what it takes</a>, <a href="/healthz">whether it lives</a>,
<a href="/readyz">whether it takes requests</a>.</p>
</body>
</html>
"""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@router.get("/", response_class=HTMLResponse)
async def page(parts: PartsOf) -> HTMLResponse:
    """A page without a script."""
    state = "is stopping" if parts.stopping.is_set() else "runs"
    return HTMLResponse(_PAGE.format(state=state), headers=_HEADERS)
