"""`innkeeper inspect`: what a .wasm file is, wants and offers, and whether it would run here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, is_plugin_id, json_option, pass_settings, plugin_of_home
from innkeeper.errors import InnkeeperError, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.manifest import Dependency, Manifest
    from innkeeper.plugins.module import Module
    from innkeeper.plugins.services import Services

_MOST_LINES = 200
"""Exports and imports that are printed; --json has all."""

_PAGE = 64
"""KiB of a page of memory."""


@click.command()
@click.argument("file")
@json_option
@pass_settings
def inspect(settings: Settings, file: str) -> int:
    """Show what FILE is: its ABI, exports, imports, memory and manifest, what it asks for, and whether it would run.

    FILE is a .wasm file in any folder or the id of a plugin in the home.
    """
    import trio

    from innkeeper.cli.progress import compiling_shown

    with compiling_shown():
        report, rejected = trio.run(
            _inspect, settings.home, file, is_plugin_id(file), restrict_keyboard_interrupt_to_checkpoints=True
        )
    if settings.json:
        write_out(json_bytes(report, indent=2))
        return 0 if rejected is None else rejected.kind.exit_code
    for line in _lines(report):
        write_line(line)
    if rejected is not None:
        raise rejected
    return 0


@asynccontextmanager
async def _importable(home: Home) -> AsyncIterator[Services]:
    """What plugins may import. Nothing of it is called."""
    from innkeeper.bridge.bridge import open_bridge
    from innkeeper.bridge.host import STATE

    async with open_bridge(home.path / STATE, home.configuration, schedules=False) as bridge:
        yield bridge


async def _inspect(home: str | None, file: str, by_id: bool) -> tuple[dict[str, Any], InnkeeperError | None]:
    from innkeeper.cli.plugins import paused_object
    from innkeeper.plugins.catalogue import read_catalogue
    from innkeeper.plugins.home import OPTIONS, open_home
    from innkeeper.plugins.host import open_host
    from innkeeper.plugins.module import read_plugin_file
    from innkeeper.plugins.paused import ALL, read_paused

    entry = None
    if by_id:
        catalogue = read_catalogue(open_home(home))
        if file in catalogue.native:
            raise UsageError(
                f"{file!r} is a native plugin, which is no module; `innkeeper plugins` and `innkeeper trust {file}` "
                "show what it is"
            )
        entry = catalogue.entries.get(file)
    # Whoever looks at a module runs no native code.
    OPTIONS.set({**OPTIONS.get(), "native_plugins": "false"})
    async with open_host(home, catalogue=by_id, watch=False, services=_importable) as host:
        path = file
        rejected: InnkeeperError | None = None
        work: Coroutine[Any, Any, Any]
        if by_id:
            plugin = plugin_of_home(host, file)
            path = str(plugin.path)
            if entry is None:
                raise UsageError(f"{plugin.label}: changed meanwhile; repeat the command")
            # Its manifest may lie elsewhere than beside the module.
            module = entry.module
            work = plugin.compile()
        else:
            module = read_plugin_file(path, label=path, size_limit=host.home.configuration.bounds.module_size)
            work = host.load(path)
        try:
            await work
        except InnkeeperError as error:
            rejected = error
    report = _report(file, module)
    if module.manifest is not None:
        report["manifest"] |= _readme(module.manifest, path)
        if by_id:
            report["manifest"]["dependencies"] = _dependencies(module.manifest, host)
    report["paused"] = None
    if by_id:
        found = read_paused(host.home.state)
        paused = found.get((file, ALL)) or found.get((file, module.digest))
        report["paused"] = paused_object(paused)
    report["runs"] = rejected is None
    report["reason"] = None if rejected is None else rejected.message
    return report, rejected


def _readme(manifest: Manifest, path: str) -> dict[str, Any]:
    """The author's text, or why it cannot be read."""
    from innkeeper.plugins.readme import read_readme

    if manifest.readme is None:
        return {"readme": None, "readme_problem": None}
    try:
        return {"readme": read_readme(manifest.readme, Path(path)), "readme_problem": None}
    except InnkeeperError as error:
        return {"readme": None, "readme_problem": error.message}


def _dependencies(manifest: Manifest, host: Host) -> list[dict[str, Any]]:
    """Each dependency, with what there is of it in the home."""
    from innkeeper.plugins.dependencies import check_dependencies

    versions = {each.id: None if each.manifest is None else each.manifest.version for each in host.plugins.values()}
    return [
        _dependency(each.dependency) | {"state": each.state, "version": each.version}
        for each in check_dependencies(manifest.dependencies, versions)
    ]


def _dependency(each: Dependency) -> dict[str, Any]:
    return {"id": each.id, "versions": each.versions, "optional": each.optional}


def _report(file: str, module: Module) -> dict[str, Any]:
    info = module.info
    imports = [
        {"module": item.module, "name": item.name, "kind": item.kind, "type": _signature(item.signature)}
        for item in info.imports
    ]
    wasi = sorted({item.name for item in info.imports if item.module.startswith("wasi_")})
    return {
        "file": file,
        "size": module.size,
        "sha256": module.digest,
        "abi": _abi({item.module for item in info.imports}, set(info.exports)),
        "wasi": wasi,
        "memories": [
            {"minimum": memory.minimum, "maximum": memory.maximum, "imported": memory.imported}
            for memory in info.memories
        ],
        "exports": [
            {"name": item.name, "kind": item.kind, "type": _signature(item.signature)} for item in info.exports.values()
        ],
        "imports": imports,
        "manifest": None if module.manifest is None else _manifest(module.manifest),
    }


def _abi(modules: set[str], exports: set[str]) -> str:
    found = []
    if any(name.startswith("extism:host/") for name in modules):
        found.append("Extism 1")
    if "_start" in exports:
        found.append("WASI command")
    return ", ".join(found) or "plain Wasm functions (no Extism import: no input or output)"


def _signature(signature: tuple[tuple[str, ...], tuple[str, ...]] | None) -> str | None:
    return None if signature is None else f"({', '.join(signature[0])}) -> ({', '.join(signature[1])})"


def _manifest(manifest: Manifest) -> dict[str, Any]:
    from innkeeper.plugins.wasi_rights import seen_as

    return {
        "id": manifest.id,
        "version": manifest.version,
        "namespace": manifest.namespace,
        "name": manifest.name,
        "description": manifest.description,
        "author": manifest.author,
        "license": manifest.license,
        "homepage": manifest.homepage,
        "repository": manifest.repository,
        "category": manifest.category,
        "keywords": list(manifest.keywords),
        "innkeeper": manifest.innkeeper,
        "config_schema": None if manifest.config_schema is None else dict(manifest.config_schema.written),
        "dependencies": [_dependency(each) for each in manifest.dependencies],
        "codec": manifest.codec,
        "instance": manifest.instance,
        "embedded": manifest.embedded,
        "limits": dict(manifest.limits),
        "capabilities": [
            {
                "name": item.name,
                "reason": item.reason,
                "optional": item.optional,
                "available": item.available,
                "folder": seen_as(item.capability),
            }
            for item in manifest.capabilities
        ],
        "nodes": [node.model_dump(mode="json", by_alias=True, exclude_unset=True) for node in manifest.nodes],
        "serve": None if manifest.serve is None else asdict(manifest.serve),
        "unknown": list(manifest.unknown),
    }


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"file      {report['file']}",
        f"size      {report['size']:,} bytes",
        f"sha256    {report['sha256']}",
        f"ABI       {report['abi']}",
        f"WASI      {', '.join(report['wasi']) or 'not used'}",
    ]
    for memory in report["memories"]:
        most = "no maximum" if memory["maximum"] is None else f"at most {memory['maximum'] * _PAGE:,} KiB"
        lines.append(f"memory    {memory['minimum'] * _PAGE:,} KiB at start, {most}")
    lines += _listed("exports", [f"{item['name']} {item['type'] or item['kind']}" for item in report["exports"]])
    lines += _listed(
        "imports", [f"{item['module']} {item['name']} {item['type'] or item['kind']}" for item in report["imports"]]
    )
    lines += _manifest_lines(report["manifest"])
    if report["paused"] is not None:
        lines.append(f"paused    {report['paused']['reason']}")
    lines.append("runs      yes" if report["runs"] else "runs      no")
    return lines


def _listed(title: str, items: list[str]) -> list[str]:
    more = [f"  and {len(items) - _MOST_LINES} more"] if len(items) > _MOST_LINES else []
    return [f"{title}   {len(items)}", *(f"  {item}" for item in items[:_MOST_LINES]), *more]


_SAID = (
    "id", "version", "innkeeper", "namespace", "name", "description", "author", "license", "homepage", "repository",
    "category",
)  # fmt: skip


def _manifest_lines(manifest: dict[str, Any] | None) -> list[str]:
    from innkeeper.plugins.rights import FREE

    if manifest is None:
        return ["manifest  none: raw bytes in and out"]
    lines = [f"manifest  {'embedded' if manifest['embedded'] else 'beside the file'}"]
    for key in (*_SAID, "codec"):
        if manifest[key]:
            lines.append(f"  {key:<12}{manifest[key]}")
    if manifest["keywords"]:
        lines.append(f"  {'keywords':<12}{', '.join(manifest['keywords'])}")
    if manifest["readme"] is not None:
        lines.append(f"  {'readme':<12}{len(manifest['readme']):,} characters (--json has it)")
    elif manifest["readme_problem"] is not None:
        lines.append(f"  {'readme':<12}{manifest['readme_problem']}")
    lines.append(f"  {'instance':<12}{manifest['instance']}")
    lines += [f"  {'node':<12}{node['namespace']}:{node['type']}" for node in manifest["nodes"]]
    for key, value in manifest["limits"].items():
        lines.append(f"  {'would like':<12}{key} = {value:,} (only a grant gives it)")
    for wanted in manifest["capabilities"]:
        state = "not available in this version"
        if wanted["available"]:
            state = "needs no grant" if wanted["name"] in FREE else "needs a grant"
        if wanted["folder"] is not None:
            state += f", the guest's {wanted['folder']}"
        lines.append(f"  {'asks for':<12}{wanted['name']} ({state}): {wanted['reason']}")
    if (serve := manifest["serve"]) is not None:
        asked = f"{' '.join(serve['methods'])} of {' '.join(serve['paths'])} below /x/{manifest['id']}"
        lines.append(f"  {'answers':<12}{asked}")
    for needed in manifest["dependencies"]:
        state = f": {needed['state']}" if "state" in needed else ""
        optional = " (optional)" if needed["optional"] else ""
        lines.append(f"  {'depends on':<12}{needed['id']} {needed['versions'] or 'in any version'}{optional}{state}")
    schema = manifest["config_schema"] or {}
    for key, wanted in schema.get("properties", {}).items():
        needs = ", required" if key in schema.get("required", ()) else ""
        words = f": {wanted['description']}" if isinstance(wanted.get("description"), str) else ""
        lines.append(f"  {'config':<12}{key} ({wanted.get('type', 'string')}{needs}){words}")
    if manifest["unknown"]:
        lines.append(f"  {'unknown':<12}{', '.join(manifest['unknown'])}")
    return lines
