"""The application: every route of the server, and what stands before all of them."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from innkeeper.server.answers import add_handlers
from innkeeper.server.guards.bodies import BoundedRoute, refuse_unbounded
from innkeeper.server.parts import Parts
from innkeeper.server.routes import health, metrics

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    metrics.router,
)


class Application(FastAPI):
    """The routes of a server, with its guards around all else: what the framework answers by itself passes them too."""

    def build_middleware_stack(self) -> ASGIApp:
        """As FastAPI's."""
        parts: Parts = self.state.parts
        return parts.guards.around(super().build_middleware_stack())


def make_app(parts: Parts) -> FastAPI:
    """The application of a server (FastAPI).

    Args:
        parts: what it works with.
    """
    app = Application(
        title="Innkeeper", version=version("innkeeper"), openapi_url="/openapi.json", docs_url=None, redoc_url=None
    )
    app.state.parts = parts
    app.router.route_class = BoundedRoute
    add_handlers(app)
    for router in ROUTERS:
        refuse_unbounded(router)
        app.include_router(router)
    return app
