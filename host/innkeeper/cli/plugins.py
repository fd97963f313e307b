"""`innkeeper plugins`: what lies in the home, what was granted, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_line, write_out, write_table
from innkeeper.cli.records import keep_record
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.catalogue import Entry
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.native.entry import NativeEntry
    from innkeeper.plugins.paused import Paused

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
@click.argument("action", type=click.Choice(["list", "resume"]), default="list")
@click.argument("plugin_id", metavar="[ID]", required=False)
@json_option
@pass_settings
def plugins(settings: Settings, action: str, plugin_id: str | None) -> None:
    """List the plugins of the home and those that come with Innkeeper, and every problem with their files; or resume
    the plugin ID, which the host paused since too many of its calls ended in traps or limits.

    A host that runs takes calls of it again within a second.
    """
    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)
    if action == "resume":
        if plugin_id is None:
            raise UsageError("say which: innkeeper plugins resume ID")
        _resume(home, plugin_id, settings.json)
    elif plugin_id is not None:
        raise UsageError(f"write innkeeper inspect {plugin_id[:100]}")
    else:
        _list(home, settings)


def _resume(home: Home, plugin_id: str, as_json: bool) -> None:
    from innkeeper.plugins.manifest import ID, ID_RIGHT
    from innkeeper.plugins.paused import resume
    from innkeeper.plugins.tables import shown

    if ID.fullmatch(plugin_id) is None:
        raise UsageError(f"{shown(plugin_id)} is not the id of a plugin: an id is {ID_RIGHT}")
    ended = resume(home.state, plugin_id)
    if not ended:
        raise UsageError(f"{plugin_id!r} is not paused; `innkeeper plugins` says which are")
    for paused in ended:
        keep_record(home, "resume", plugin_id, paused.digest, {"reason": paused.reason})
    if as_json:
        write_out(json_bytes({"id": plugin_id, "resumed": [paused_object(each) for each in ended]}, indent=2))
    else:
        write_line(f"{plugin_id}: resumed; a host that runs takes calls of it again within a second")


def _list(home: Home, settings: Settings) -> None:
    from innkeeper.plugins.catalogue import read_catalogue
    from innkeeper.plugins.paused import ALL, advice, read_paused

    catalogue = read_catalogue(home)
    paused = read_paused(home.state)
    found = [
        _describe(entry, catalogue.versions)
        | {"paused": paused_object(paused.get((entry.id, ALL)) or paused.get((entry.id, entry.module.digest)))}
        for entry in catalogue.entries.values()
    ]
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
                    _given(item),
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
    for item in found:
        if item["paused"] is not None:
            write_line(
                f"{item['id']} is paused: {item['paused']['reason']}; {advice(item['id'], item['paused']['sha256'])}"
            )
    for problem in catalogue.problems:
        write_line(f"problem: {problem}")


def paused_object(paused: Paused | None) -> dict[str, Any] | None:
    """A pause as JSON says it, or None."""
    if paused is None:
        return None
    reason = paused.reason or "why is not known any more"
    return {"since": paused.since, "sha256": paused.digest, "reason": reason}


def _given(item: dict[str, Any]) -> str:
    """What the table says of a grant: one that is in force and gives nothing of what is asked for is no yes."""
    if item["missing"]:
        if item["grant"] == "none":
            return f"no: `innkeeper grant {item['id']}`"
        if item["grant"] == "granted":
            return "in part" if item["has"] else "nothing of what it asks for"
    return _GRANTS[item["grant"]]


def _describe(entry: Entry, versions: Mapping[str, str | None]) -> dict[str, Any]:
    from innkeeper.plugins.dependencies import check_dependencies
    from innkeeper.plugins.rights import effective

    manifest = entry.module.manifest
    rights = effective(() if manifest is None else manifest.capabilities, entry.grant)
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
        "has": [str(each) for each in rights.capabilities],
        "missing": [str(each) for each in rights.missing],
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
