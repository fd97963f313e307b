"""`innkeeper trust` and `distrust`: which Python code may run in the host's own process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import is_terminal, json_bytes, write_line, write_out, write_table
from innkeeper.cli.records import keep_record
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import CancelledError, Kind, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.catalogue import Catalogue
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.native.entry import NativeEntry
    from innkeeper.plugins.native.snapshot import Snapshot

WARNING = (
    "This is Python code that Innkeeper does not confine.",
    "It can do everything that your user can: read and change every file of yours, use your network and your keys,",
    "start programs, and read what every other plugin and every user of this host does.",
    "A crash of it ends the host, and a loop of it that never ends stops the host, with everything that runs there.",
    "Trust it only if you have read it, or know who wrote it and that these are their files.",
)
"""What whoever trusts a native plugin agrees to."""

_OFF = "native plugins are off; `native_plugins = true` in innkeeper.toml turns them on"


@click.command()
@click.argument("folder")
@click.option("--yes", is_flag=True, help="Trust it without being asked.")
@json_option
@pass_settings
def trust(settings: Settings, folder: str, yes: bool) -> int:
    """Let the native plugin in FOLDER run, a folder of the home's plugins/ or a plugin's id.

    Shows a warning, its files and what changed since the last time; asks you to type its id. What is written into
    manifests/trust/ID.toml is the sha256 of every file: any change asks again. Without a terminal nothing is trusted
    unless --yes is given.
    """
    from innkeeper.plugins.catalogue import read_catalogue
    from innkeeper.plugins.home import open_home, refuse_doubted
    from innkeeper.plugins.native.snapshot import take_snapshot
    from innkeeper.plugins.native.trust import Trust, differences, read_trust, trust_label, write_trust

    home = open_home(settings.home)
    refuse_doubted(home.path, home.doubt)
    entry = _entry(read_catalogue(home), folder)
    # With native plugins off the catalogue has not read it. What is shown and what is written are one reading.
    snapshot = entry.folder.snapshot or take_snapshot(entry.path, label=entry.label)
    before = read_trust(home.path, entry.id)
    trusted = None if before is None else before.trust
    changes = [] if trusted is None else differences(trusted.digests, snapshot.digests)
    found = _object(home, entry, snapshot, changes)
    label = trust_label(entry.id)
    if trusted is not None and not changes:
        return _said(settings, found, written=False, sentence=f"these files are trusted already ({label})")
    if not settings.json:
        _show(entry, snapshot, changes)
    if not yes:
        if settings.json or not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
            advice = "nothing was trusted: there is no terminal to ask; read its code, and repeat with --yes"
            if settings.json:
                _said(settings, found, written=False, sentence=advice)
                return Kind.USAGE.exit_code
            raise UsageError(advice)
        if click.prompt(f"Type {entry.id} to trust it", default="", show_default=False, err=True) != entry.id:
            raise CancelledError("nothing was trusted")
    write_trust(home.path, Trust(entry.id, snapshot.digests))
    keep_record(home, "grant", entry.id, snapshot.digest, {"native": True, "folder": entry.label[:500]})
    sentence = f"{label}: written"
    if not home.configuration.native_plugins:
        sentence += f"; it is not run yet: {_OFF}"
    return _said(settings, found, written=True, sentence=sentence)


@click.command()
@click.argument("plugin_id", metavar="ID")
@json_option
@pass_settings
def distrust(settings: Settings, plugin_id: str) -> None:
    """Take the trust in the native plugin ID away. A host that runs takes it out of service within a second; what its
    code did until then, and what it keeps running by itself, stays."""
    from innkeeper.plugins.home import open_home
    from innkeeper.plugins.manifest import ID, ID_RIGHT
    from innkeeper.plugins.native.trust import remove_trust, trust_label
    from innkeeper.plugins.tables import shown

    if ID.fullmatch(plugin_id) is None:
        raise UsageError(f"{shown(plugin_id)} is not the id of a plugin: an id is {ID_RIGHT}")
    home = open_home(settings.home)
    if not remove_trust(home.path, plugin_id):
        raise UsageError(f"{plugin_id!r} is not trusted; `innkeeper plugins` lists what there is")
    keep_record(home, "revoke", plugin_id, "", {"native": True})
    if settings.json:
        write_out(json_bytes({"id": plugin_id, "removed": True}, indent=2))
    else:
        write_line(f"{trust_label(plugin_id)}: removed")


def _entry(catalogue: Catalogue, folder: str) -> NativeEntry:
    """The native plugin that FOLDER means: its id, its label, or the folder itself."""
    from innkeeper.plugins.tables import nearest, shown

    names = {folder, folder.rstrip("/")}
    for entry in catalogue.native.values():
        if names & {entry.id, entry.label}:
            return entry
    try:
        real = Path(os.path.realpath(folder))
    except (OSError, ValueError):
        raise UsageError(f"{shown(folder)} is no folder") from None
    for entry in catalogue.native.values():
        if real == Path(os.path.realpath(entry.path)):
            return entry
    stem = real.name
    causes = catalogue.causes.get(folder) or catalogue.causes.get(stem)
    if causes:
        raise UsageError(causes[0])
    if stem in catalogue.entries:
        raise UsageError(f"{stem!r} is a Wasm plugin, which runs confined: `innkeeper grant {stem}` is for it")
    hint = nearest(folder, list(catalogue.native))
    raise UsageError(f"{shown(folder)} is no native plugin of this home{hint or '; `innkeeper plugins` lists them'}")


def _show(entry: NativeEntry, snapshot: Snapshot, changes: list[str]) -> None:
    manifest = entry.folder.manifest
    write_line(f"{entry.id} (version {manifest.version}, {entry.label}, sha256 {snapshot.digest[:8]})")
    for line in WARNING:
        write_line(f"  {line}")
    write_table(
        ("file", "bytes", "sha256"),
        [(name, f"{len(snapshot.files[name]):,}", digest[:8]) for name, digest in snapshot.digests.items()],
    )
    for wanted in manifest.capabilities:
        write_line(f"it uses the host's service {wanted.name}: {wanted.reason}")
    for change in changes:
        write_line(f"since you trusted it: {change}")


def _object(home: Home, entry: NativeEntry, snapshot: Snapshot, changes: list[str]) -> dict[str, Any]:
    return {
        "id": entry.id,
        "native": True,
        "folder": entry.label,
        "version": entry.folder.manifest.version,
        "sha256": snapshot.digest,
        "files": dict(snapshot.digests),
        "changes": changes,
        "warning": " ".join(WARNING),
        "nativePlugins": home.configuration.native_plugins,
    }


def _said(settings: Settings, found: dict[str, Any], *, written: bool, sentence: str) -> int:
    if settings.json:
        write_out(json_bytes(found | {"written": written, "message": sentence}, indent=2))
    else:
        write_line(sentence)
    return 0
