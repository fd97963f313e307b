"""Requests that plugins of Wasm answer, below /x/ID."""

from __future__ import annotations

import logging
from typing import Annotated, Final

import trio
from fastapi import Path, Request
from starlette.responses import Response

from innkeeper.bridge.scan import CHUNK
from innkeeper.errors import InnkeeperError, Kind
from innkeeper.plugins.owner import acting_for
from innkeeper.plugins.plugin import Plugin
from innkeeper.plugins.serving import CAPABILITY, METHODS, Serve
from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.bodies import BoundedRouter, takes
from innkeeper.server.identity import Identity, current
from innkeeper.server.parts import Parts, PartsOf
from innkeeper.server.plugins.exchange import MOST_BODY, answer, question
from innkeeper.storage.run_model import USER

logger = logging.getLogger("innkeeper.server")

# What lies there is the plugins', and not the same on two servers.
router = BoundedRouter(include_in_schema=False)

_MOST_PATH: Final = 1024

Name = Annotated[str, Path(min_length=1, max_length=64)]


@router.api_route("/x/{plugin_id}/{path:path}", methods=list(METHODS))
@takes(MOST_BODY)
async def serve_plugin(plugin_id: Name, path: str, request: Request, parts: PartsOf) -> Response:
    """Has a plugin answer a request. Anybody is answered where its grant says `http.serve:public`, else whoever may use
    the host."""
    plugin, serve = _serving(parts, plugin_id)
    public = plugin is not None and plugin.rights.allows(CAPABILITY, "public")
    asking = await _asking(parts, request, public=public)
    if plugin is None or serve is None or not plugin.rights.allows(CAPABILITY):
        raise AnswerError(404, "no plugin answers here")
    path = _checked(path)
    if not serve.takes(path):
        raise AnswerError(404, "the plugin answers no requests for this path")
    if request.method not in serve.methods:
        raise AnswerError(
            405, f"the plugin answers {', '.join(serve.methods)}", headers={"Allow": ", ".join(serve.methods)}
        )
    body = await _body(request)
    codec = "raw" if plugin.manifest is None else plugin.manifest.codec
    asked = question(
        serve,
        request.method,
        path,
        request.query_params,
        request.headers,
        body,
        authenticated=asking is not None,
        codec=codec,
    )
    with parts.plugins.places.one(plugin.id):
        try:
            # What it keeps for whoever is known is theirs; all others share what is the operator's.
            with acting_for(USER if asking is None else asking.uid):
                given = (await plugin.call(serve.function, asked)).output
            if len(given) <= CHUNK:
                return answer(given, codec, public=public)
            return await trio.to_thread.run_sync(
                lambda: answer(given, codec, public=public), limiter=parts.plugins.files
            )
        except InnkeeperError as error:
            # What a plugin says of its failure is for who installed it, not for whoever asks.
            logger.info("the plugin %s did not answer %s /x: %s", plugin.id, request.method, error)
            if error.kind is Kind.BUSY:
                raise AnswerError(
                    503, "the plugin is busy, paused or turned off", headers={"Retry-After": "5"}
                ) from None
            raise AnswerError(502, "the plugin failed to answer") from None


def _serving(parts: Parts, plugin_id: str) -> tuple[Plugin | None, Serve | None]:
    plugin = parts.host.plugins.get(plugin_id)
    manifest = None if plugin is None else plugin.manifest
    return plugin, None if manifest is None else manifest.serve


async def _asking(parts: Parts, request: Request, *, public: bool) -> Identity | None:
    """Who asks, if it is somebody who may use the host.

    Raises:
        AnswerError: 401, 403: nobody does, and the plugin is not for anybody.
    """
    if public:
        found = await parts.identify(request)
        return found if found is not None and found.may("runs") else None
    identity = await current(request)
    identity.require("runs")
    return identity


def _checked(path: str) -> str:
    if len(path) > _MOST_PATH or not path.isprintable() or any(part in (".", "..") for part in path.split("/")):
        raise AnswerError(400, "this path is none that a plugin is given")
    return f"/{path}"


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        if len(data) + len(chunk) > MOST_BODY:
            raise AnswerError(413, f"a plugin is given at most {MOST_BODY:,} bytes")
        data += chunk
    return bytes(data)
