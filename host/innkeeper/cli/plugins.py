"""`innkeeper plugins`: what lies in the home, what was granted, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from innkeeper.plugins.catalogue import Entry
    from innkeeper.plugins.native.entry import NativeEntry

_GRANTS = {
    "none": "-",
    "granted": "yes",
    "carried": "yes: carried over from other bytes",
    "changed": "no: the file changed since it was granted",
    "unusable": "no: the grant has problems",
}


_TRUST = {
    "trusted": "yes, with all rights of the host",
    "untrusted": "no: you have not trusted it",
    "changed": "no: it changed since you trusted it",
    "unusable": "no: the record of trust is not used",
    "off": "no: native plugins are off",
}


@click.command()
@json_option
@pass_settings
def plugins(settings: Settings) -> None:
    """List the plugins of the home and those that come with Innkeeper, and every problem with their files."""
    from innkeeper.plugins.catalogue import read_catalogue
    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)
    catalogue = read_catalogue(home)
    found = [_describe(entry, catalogue.versions) for entry in catalogue.entries.values()]
    native = [_describe_native(entry) for entry in catalogue.native.values()]
    if settings.json:
        write_out(
            json_bytes(
                {"home": str(home.path), "plugins": found, "native": native, "problems": catalogue.problems}, indent=2
            )
        )
        return
    if found:
        write_table(
            ("id", "version", "nodes", "codec", "instance", "digest", "granted"),
            [
                (
                    item["id"],
                    item["version"] or "-",
                    ", ".join(node.rpartition(":")[2] for node in item["nodes"]) or "-",
                    item["codec"],
                    item["instance"] if item["instance"] == item["wants"] else f"{item['instance']} (asks for shared)",
                    item["sha256"][:8],
                    _GRANTS[item["grant"]],
                )
                for item in found
            ],
        )
    elif not native:
        write_line(f"no plugins in {home.path / 'plugins'} ({home.origin})")
    if native:
        write_table(
            ("native plugin", "version", "folder", "digest", "run"),
            [
                (item["id"], item["version"], item["file"], item["sha256"][:8] or "-", _TRUST[item["trust"]])
                for item in native
            ],
        )
    for item in (*found, *native):
        if item["unused"]:
            write_line(f"{item['id']} says what this version does not use yet: {', '.join(item['unused'])}")
    for item in found:
        for wanted in item["capabilities"]:
            if not wanted["available"]:
                write_line(f"{item['id']} asks for {wanted['name']}, not available in this version: {wanted['reason']}")
        for needed in item["dependencies"]:
            if needed["optional"] and needed["state"] == "missing":
                write_line(f"{item['id']} can also work with {needed['id']}, which is not there")
    for problem in catalogue.problems:
        write_line(f"problem: {problem}")


def _describe(entry: Entry, versions: Mapping[str, str | None]) -> dict[str, Any]:
    from innkeeper.plugins.dependencies import check_dependencies

    manifest = entry.module.manifest
    return {
        "id": entry.id,
        "version": None if manifest is None else manifest.version,
        "file": entry.label,
        "shipped": entry.shipped,
        "sha256": entry.module.digest,
        "size": entry.module.size,
        "codec": "raw" if manifest is None else manifest.codec,
        "instance": "shared" if entry.shared else "fresh",
        "wants": "fresh" if manifest is None else manifest.instance,
        "grant": entry.grant_state,
        "nodes": [] if manifest is None else [node.full_type for node in manifest.nodes],
        "capabilities": []
        if manifest is None
        else [
            {"name": item.name, "reason": item.reason, "optional": item.optional, "available": item.available}
            for item in manifest.capabilities
        ],
        "dependencies": [
            {
                "id": each.dependency.id,
                "versions": each.dependency.versions,
                "optional": each.dependency.optional,
                "state": each.state,
                "version": each.version,
            }
            for each in check_dependencies(entry.dependencies, versions)
        ],
        "limits": {} if entry.grant is None else dict(entry.grant.limits),
        "native": False,
        "unused": {} if manifest is None else dict(manifest.unused),
    }


def _describe_native(entry: NativeEntry) -> dict[str, Any]:
    manifest = entry.folder.manifest
    return {
        "id": entry.id,
        "version": manifest.version,
        "file": entry.label,
        "native": True,
        "sha256": entry.digest,
        "trust": entry.state,
        "entry": entry.folder.entry,
        "grant": entry.grant_state,
        "nodes": [node.full_type for node in manifest.nodes],
        "capabilities": [{"name": item.name, "reason": item.reason} for item in manifest.capabilities],
        "unused": dict(manifest.unused),
    }
