"""The plugins of the home: what they are, turning them off and on, their configuration, their front ends."""

from __future__ import annotations

from typing import Annotated, Any

import trio
from fastapi import Path, Request
from pydantic import Field, RootModel
from starlette.responses import Response

from innkeeper.bridge.bridge import bridge_of
from innkeeper.plugins.plugin import Plugin
from innkeeper.server.answers import AnswerError
from innkeeper.server.cache.etags import conditional, etag_of
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Administrator, Identity, scoped
from innkeeper.server.models import ASKED, Model, plain, problems
from innkeeper.server.parts import Parts, PartsOf
from innkeeper.server.plugins.assets import HEADERS, front_end_of, media_of, plugin_folder, read_asset
from innkeeper.server.plugins.describing import PluginInfo, is_off, plugin_info, plugins_of
from innkeeper.server.plugins.settings import MOST_KEY, MOST_KEYS, MOST_VALUE, withheld, write_settings

router = BoundedRouter(tags=["plugins"])

Reader = Annotated[Identity, scoped("nodes")]
Name = Annotated[str, Path(min_length=1, max_length=64, description="a plugin's id")]


class WantedState(Model):
    """Whether a plugin shall take calls."""

    enabled: bool


class Reloaded(Model):
    """What became of a reload."""

    success: bool
    message: str
    reloaded_plugin_count: int
    problems: list[str]


Key = Annotated[str, Field(min_length=1, max_length=MOST_KEY)]
Text = Annotated[str, Field(max_length=MOST_VALUE)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Settings(RootModel[Annotated[dict[Key, Text | bool | Whole | float | None], Field(max_length=MOST_KEYS)]]):
    """Keys of a plugin's configuration with their values; null takes a key away."""


class KeptSettings(Model):
    """A plugin's configuration.

    Attributes:
        values: by key, as text.
        withheld: keys that have a value which is never shown.
        config_schema: what it may be (JSON Schema), or None for anything.
    """

    values: dict[str, str]
    withheld: list[str]
    config_schema: dict[str, Any] | None = None


_NAMED = {**ASKED, **problems(_404="there is no such plugin", _409="it is a native plugin")}


@router.get("/api/plugins", responses=ASKED)
async def get_plugins(parts: PartsOf, identity: Reader) -> list[PluginInfo]:
    """The plugins of the home."""
    return plugins_of(parts)


@router.post("/api/plugins/reload", responses=ASKED)
async def reload_plugins(parts: PartsOf, identity: Administrator) -> Reloaded:
    """Picks up what changed in the home's files."""
    changes = await parts.host.reload()
    count = len(parts.host.plugins) + len(parts.host.native)
    said = "nothing changed" if not changes else f"{len(changes)} changes"
    return Reloaded(
        success=True,
        message=f"{said}; there are {count} plugins",
        reloaded_plugin_count=count,
        problems=[each.text[:1000] for each in changes if each.kind == "problem"][:100],
    )


@router.put("/api/plugins/{name}/state", responses=_NAMED | problems(_409="it is native, or cannot be written down"))
async def put_state(name: Name, wanted: WantedState, parts: PartsOf, identity: Administrator) -> PluginInfo:
    """Turns a plugin off or on. One that is off takes no calls, whatever its bytes, until somebody turns it on; calls
    that run go on."""
    plugin = _plugin(parts, name)
    overseer = bridge_of(parts.host).overseer()
    async with parts.plugins.writing:
        if wanted.enabled:
            await overseer.turn_on(plugin.id, plugin.digest)
        elif not is_off(parts, plugin.id):
            await overseer.turn_off(plugin.id, plugin.digest, f"the administrator {identity.username[:100]} did so")
    return plugin_info(parts, plugin)


@router.get("/api/plugins/{name}/settings", responses=_NAMED)
async def get_settings(name: Name, parts: PartsOf, identity: Administrator) -> KeptSettings:
    """A plugin's configuration, without values that its manifest calls `writeOnly`."""
    return _kept(_plugin(parts, name))


@router.post(
    "/api/plugins/{name}/settings",
    responses=_NAMED
    | problems(
        _409="its grant has problems, or it is native",
        _413="the configuration would be too long",
        _422="its manifest does not allow it",
    ),
)
async def post_settings(name: Name, settings: Settings, parts: PartsOf, identity: Administrator) -> KeptSettings:
    """Changes keys of a plugin's configuration, which is written into its grant. The others stay."""
    plugin = _plugin(parts, name)
    await write_settings(parts, plugin, settings.root)
    return _kept(_plugin(parts, name))


@router.get(
    "/plugins/{name}/{file:path}",
    responses={
        **_NAMED,
        200: {"description": "the file", "content": {"application/octet-stream": {}}},
        304: {"description": "the client has it already"},
        **problems(_404="there is no such plugin or file", _413="the file is too large"),
    },
    response_class=Response,
)
async def get_asset(name: Name, file: str, request: Request, parts: PartsOf, identity: Reader) -> Any:
    """A file of the front end of a plugin whose grant is in force, from the one folder that its manifest names."""
    plugin = parts.host.plugins.get(name)
    front_end = None if plugin is None else front_end_of(plugin.manifest)
    granted = plugin is not None and plugin.grant_state in ("granted", "carried") and not is_off(parts, plugin.id)
    if plugin is None or front_end is None or not granted:
        raise AnswerError(404, "there is no such plugin, or it has no front end that may be served")

    def read() -> tuple[bytes, str]:
        folder = plugin_folder(plugin.path)
        if folder is None:
            raise AnswerError(404, "the plugin has no such file")
        data = read_asset(folder, front_end, file)
        return data, etag_of(data)

    data, etag = await trio.to_thread.run_sync(read, limiter=parts.plugins.files)
    return conditional(
        request.headers, data, etag, media_type=media_of(file) or "application/octet-stream", headers=HEADERS
    )


def _plugin(parts: Parts, name: str) -> Plugin:
    plugin = parts.host.plugins.get(name)
    if plugin is not None:
        return plugin
    if name in parts.host.native:
        raise AnswerError(409, "it is a native plugin: what it may do is said on the host, with `innkeeper trust`")
    raise AnswerError(404, "there is no such plugin")


def _kept(plugin: Plugin) -> KeptSettings:
    hidden = withheld(plugin.manifest)
    schema = None if plugin.manifest is None else plugin.manifest.config_schema
    return KeptSettings(
        values={key: value for key, value in plugin.config.items() if key not in hidden},
        withheld=sorted(key for key in plugin.config if key in hidden),
        config_schema=None if schema is None else plain(schema.written),
    )
