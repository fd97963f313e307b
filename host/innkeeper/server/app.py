"""The application: every route of the server, and what stands before all of them."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from innkeeper.server.answers import add_handlers
from innkeeper.server.documenting import document
from innkeeper.server.guards.bodies import BoundedRoute, refuse_unbounded
from innkeeper.server.parts import Parts
from innkeeper.server.plugins.native_around import NativeAround
from innkeeper.server.plugins.native_web import NativeWeb
from innkeeper.server.routes import (
    admin_users,
    auth,
    characters,
    chat_assets,
    chat_sessions,
    chat_trees,
    files,
    health,
    metrics,
    nodes,
    page,
    plugins,
    projects,
    prompts,
    recycle,
    run_events,
    runs,
    served,
    stream,
    system,
    user_secrets,
    users,
    workflows,
    ws,
)

ROUTERS: tuple[APIRouter, ...] = (
    admin_users.router,
    auth.router,
    characters.router,
    chat_assets.router,
    chat_sessions.router,
    chat_trees.router,
    files.router,
    health.router,
    metrics.router,
    nodes.router,
    page.router,
    plugins.router,
    projects.router,
    prompts.router,
    recycle.router,
    run_events.router,
    runs.router,
    served.router,
    stream.router,
    system.router,
    user_secrets.router,
    users.router,
    workflows.router,
    ws.router,
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
        title="Innkeeper",
        version=version("innkeeper"),
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        # A redirect would go to whatever the Host header says.
        redirect_slashes=False,
    )
    app.state.parts = parts
    app.router.route_class = BoundedRoute
    add_handlers(app)
    for router in ROUTERS:
        refuse_unbounded(router)
        app.include_router(router)
    app.mount("/n", NativeWeb(parts), name="native")
    # What is added after it stands outside of it: no plugin takes away what guards the server.
    app.add_middleware(NativeAround, parts=parts)
    document(app)
    return app
