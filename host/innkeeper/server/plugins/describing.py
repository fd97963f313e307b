"""Plugins as ComfyTavern's front ends list them, without a path of the host."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from innkeeper.bridge.bridge import bridge_of
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.native.plugin import NativePlugin
from innkeeper.plugins.plugin import Plugin
from innkeeper.server.models import Model, plain
from innkeeper.server.parts import Parts
from innkeeper.server.plugins.assets import front_end_of


class FrontEnd(Model):
    """Where a plugin's scripts and styles are."""

    entry_url: str
    style_urls: list[str] = Field(default_factory=list)


class PluginInfo(Model):
    """A plugin.

    Attributes:
        name: its id.
        display_name: what its author calls it.
        is_enabled: whether it takes calls: nobody turned it off.
        config_options: what its manifest says of settings in ComfyTavern's words.
        config_schema: what its configuration may be (JSON Schema), or None for anything.
        native: whether it is Python code of the host's own process.
        digest: sha256 of its bytes.
        grant: "none", "granted", "carried", "changed" or "unusable".
        capabilities: what it may do; `missing`: what it asks for and does not get.
        nodes: full types of its nodes.
    """

    name: str
    display_name: str
    version: str | None = None
    description: str | None = None
    frontend: FrontEnd | None = None
    config_options: list[Any] | None = None
    config_schema: dict[str, Any] | None = None
    is_enabled: bool
    native: bool
    digest: str
    grant: str
    capabilities: list[str] = Field(default_factory=list)
    missing: list[str] = Field(default_factory=list)
    nodes: list[str] = Field(default_factory=list)


def is_off(parts: Parts, plugin: str) -> bool:
    """Whether somebody turned a plugin (its id) off."""
    return bridge_of(parts.host).overseer().is_off(plugin)


def plugins_of(parts: Parts) -> list[PluginInfo]:
    """All plugins in service, by id."""
    host = parts.host
    found = [_info(parts, plugin) for plugin in host.plugins.values()]
    found += [_native(plugin) for plugin in host.native.values()]
    return sorted(found, key=lambda each: (each.name, each.native))


def plugin_info(parts: Parts, plugin: Plugin) -> PluginInfo:
    """One of them."""
    return _info(parts, plugin)


def _info(parts: Parts, plugin: Plugin) -> PluginInfo:
    rights = plugin.rights
    front_end = front_end_of(plugin.manifest)
    return PluginInfo(
        **_said(plugin.id, plugin.manifest),
        frontend=None
        if front_end is None or plugin.path is None
        else FrontEnd(
            entry_url=f"/plugins/{plugin.id}/{front_end.entry}",
            style_urls=[f"/plugins/{plugin.id}/{each}" for each in front_end.styles],
        ),
        is_enabled=not is_off(parts, plugin.id),
        native=False,
        digest=plugin.digest,
        grant=plugin.grant_state,
        capabilities=[str(each) for each in rights.capabilities],
        missing=[str(each) for each in rights.missing],
    )


def _native(plugin: NativePlugin) -> PluginInfo:
    return PluginInfo(
        **_said(plugin.id, plugin.manifest),
        is_enabled=True,
        native=True,
        digest=plugin.digest,
        grant=plugin.version.entry.grant_state,
    )


def _said(id: str, manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {"name": id, "display_name": id}
    options = manifest.unused.get("configOptions", manifest.unused.get("config_options"))
    return {
        "name": id,
        "display_name": plain(manifest.name or id),
        "version": manifest.version,
        "description": plain(manifest.description),
        "config_options": plain(options) if isinstance(options, list) else None,
        "config_schema": None if manifest.config_schema is None else plain(manifest.config_schema.written),
        "nodes": [node.full_type for node in manifest.nodes],
    }
