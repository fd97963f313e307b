"""The application: every route of the server, and what stands before all of them."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from innkeeper.server.answers import add_handlers
from innkeeper.server.parts import Parts
from innkeeper.server.routes import health, run_events, stream, ws

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    run_events.router,
    stream.router,
    ws.router,
)


def make_app(parts: Parts) -> FastAPI:
    """The application of a server (FastAPI).

    Args:
        parts: what it works with.
    """
    app = FastAPI(
        title="Innkeeper", version=version("innkeeper"), openapi_url="/openapi.json", docs_url=None, redoc_url=None
    )
    app.state.parts = parts
    add_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    return app
