"""The application: every route of the server, and what stands before all of them."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from innkeeper.server.answers import add_handlers
from innkeeper.server.documenting import document
from innkeeper.server.parts import Parts
from innkeeper.server.plugins.native_around import NativeAround
from innkeeper.server.plugins.native_web import NativeWeb
from innkeeper.server.routes import health, nodes, page, plugins, prompts, runs, served, system

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    nodes.router,
    page.router,
    plugins.router,
    prompts.router,
    runs.router,
    served.router,
    system.router,
)


def make_app(parts: Parts) -> FastAPI:
    """The application of a server (FastAPI).

    Args:
        parts: what it works with.
    """
    app = FastAPI(
        title="Innkeeper",
        version=version("innkeeper"),
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        # A redirect would go to whatever the Host header says.
        redirect_slashes=False,
    )
    app.state.parts = parts
    add_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/n", NativeWeb(parts), name="native")
    # What is added after it stands outside of it: no plugin takes away what guards the server.
    app.add_middleware(NativeAround, parts=parts)
    document(app)
    return app
