"""The nodes that workflows can have."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import Path, Request
from starlette.responses import Response

from innkeeper.server.answers import AnswerError
from innkeeper.server.cache.etags import conditional
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Administrator, Identity, scoped
from innkeeper.server.models import ASKED, Model, problems
from innkeeper.server.parts import PartsOf
from innkeeper.server.plugins.describing import is_off

router = BoundedRouter(tags=["nodes"])

Reader = Annotated[Identity, scoped("nodes")]
Named = Annotated[str, Path(min_length=1, max_length=64)]


class Reloaded(Model):
    """What became of a reload."""

    success: bool
    message: str
    count: int


@router.get(
    "/api/nodes",
    responses={
        **ASKED,
        200: {
            "description": "a list of NodeDefinition",
            "content": {"application/json": {"schema": {"type": "array"}}},
        },
        304: {"description": "the client has it already"},
    },
    response_class=Response,
)
async def get_nodes(request: Request, parts: PartsOf, identity: Reader) -> Any:
    """The definitions of all nodes, those of plugins that are turned off left out."""
    text, etag = await parts.plugins.nodes.text(parts.host, partial(is_off, parts))
    return conditional(request.headers, text, etag, media_type="application/json")


@router.post("/api/nodes/reload", responses=ASKED)
async def reload_nodes(parts: PartsOf, identity: Administrator) -> Reloaded:
    """Picks up what changed in the home's files."""
    changes = await parts.host.reload()
    count = len(parts.host.definitions)
    said = "nothing changed" if not changes else f"{len(changes)} changes"
    return Reloaded(success=True, message=f"{said}; there are {count} nodes of plugins", count=count)


@router.get(
    "/api/nodes/{namespace}/{type}/client-script/{file:path}",
    responses=ASKED | problems(_404="there are no scripts of nodes here"),
)
async def get_client_script(namespace: Named, type: Named, file: str, parts: PartsOf, identity: Reader) -> None:
    """Scripts of nodes, which would run in the editor's page with all of its rights: there are none here."""
    if f"{namespace}:{type}" not in parts.host.definitions:
        raise AnswerError(404, "there is no such node")
    raise AnswerError(404, "this node has no client script: a plugin's front end is under /plugins/")
