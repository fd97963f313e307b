"""`innkeeper grants`: every grant of the home, whether it is in force, and what was asked for in vain."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.grant import counting
from innkeeper.cli.grant_view import kept, risk_object
from innkeeper.cli.output import json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from innkeeper.plugins.catalogue import Catalogue, Entry
    from innkeeper.plugins.grant import Grant
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.native.entry import NativeEntry
    from innkeeper.plugins.rights import Rights


@click.command()
@json_option
@pass_settings
def grants(settings: Settings) -> None:
    """List the grants of the home, whether they are in force, and what was asked and not given."""
    from innkeeper.plugins.catalogue import read_catalogue
    from innkeeper.plugins.home import open_home
    from innkeeper.plugins.listing import unused_decisions

    home = open_home(settings.home)
    catalogue = read_catalogue(home)
    found = [_granted(home, catalogue, entry) for entry in catalogue.entries.values() if _matters(entry)]
    native = [entry for entry in catalogue.native.values() if entry.id in catalogue.grants]
    found += [_native(entry, catalogue.grants[entry.id].grant) for entry in native]
    found += [_lonely(home, name) for name, _ in catalogue.unused if name]
    problems = unused_decisions(home)
    problems += [text for texts in catalogue.grant_problems.values() for text in texts]
    problems += [text for entry in native for text in entry.problems]
    problems += [text for _, text in catalogue.unused]
    problems += [f"{item['id']}: {text}" for item in found for text in item["ignored"]]
    if settings.json:
        write_out(json_bytes({"home": str(home.path), "grants": found, "problems": problems}, indent=2))
        return
    if found:
        write_table(
            ("id", "state", "risk", "has", "lacks", "also"),
            [row for item in found for row in _rows(item)],
        )
    else:
        write_line(f"no grants in {home.path / 'manifests'}, and no plugin asks for one ({home.origin})")
    for item in found:
        if item["unavailable"]:
            write_line(f"{item['id']} has what is not available in this version: {', '.join(item['unavailable'])}")
    for item in found:
        for folder in item["folders"]:
            write_line(f"{item['id']} has {folder['folder']} as {folder['guest']} ({folder['access']})")
    for problem in problems:
        write_line(f"problem: {problem}")


def _rows(item: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for each capability: a table cuts long cells, and nothing that a plugin has may be left out."""
    lists = [item[key] or ["-"] for key in ("capabilities", "missing", "keeps")]
    first = (item["id"], item["state"], item["risk"]["level"])
    for number, each in enumerate(zip_longest(*lists, fillvalue="")):
        yield (*(first if number == 0 else ("", "", "")), *each)


def _matters(entry: Entry) -> bool:
    from innkeeper.plugins.rights import FREE

    manifest = entry.module.manifest
    asks = manifest is not None and any(each.capability.name not in FREE for each in manifest.capabilities)
    return asks or entry.grant_state != "none"


def _granted(home: Home, catalogue: Catalogue, entry: Entry) -> dict[str, Any]:
    from innkeeper.plugins.rights import effective
    from innkeeper.plugins.risk import risk_of_all

    manifest = entry.module.manifest
    rights = effective(() if manifest is None else manifest.capabilities, entry.grant)
    return {
        "id": entry.id,
        "state": entry.grant_state,
        "version": None if entry.grant is None else entry.grant.version,
        "risk": risk_object(risk_of_all(rights.capabilities)),
        "capabilities": [str(each) for each in rights.capabilities],
        "unavailable": [str(each) for each in rights.capabilities if not each.kind.available],
        "missing": [str(each) for each in rights.missing],
        "ignored": list(rights.problems),
        "keeps": kept(entry.grant),
        "folders": _folders(home, rights),
    }


def _folders(home: Home, rights: Rights) -> list[dict[str, str]]:
    """Where the guest's folders are."""
    if not rights.wasi:
        return []
    from innkeeper.plugins.wasi_rights import MOST_FOLDERS, placed

    return [
        {"guest": each.name, "scope": each.scope.text, "folder": str(root / each.beneath), "access": each.access}
        for each, root in placed(rights, home.folders)[:MOST_FOLDERS]
    ]


def _native(entry: NativeEntry, held: Grant | None) -> dict[str, Any]:
    """The grant of a native plugin, which is for its limits and its configuration: it has all rights by itself."""
    from innkeeper.plugins.risk import NATIVE

    if entry.state != "trusted":
        return _nothing(entry.id, "native, not run", held)
    return _nothing(entry.id, f"native, {entry.grant_state}", held) | {"risk": risk_object(NATIVE)}


def _lonely(home: Home, plugin_id: str) -> dict[str, Any]:
    """A grant whose plugin is not there: it gives nothing."""
    found = counting(home, plugin_id)
    return _nothing(plugin_id, "no plugin", None if found is None else found.grant)


def _nothing(plugin_id: str, state: str, held: Grant | None) -> dict[str, Any]:
    from innkeeper.plugins.risk import NOTHING

    return {
        "id": plugin_id,
        "state": state,
        "version": None if held is None else held.version,
        "risk": risk_object(NOTHING),
        "capabilities": [],
        "unavailable": [],
        "missing": [],
        "ignored": [],
        "keeps": kept(held),
        "folders": [],
    }
