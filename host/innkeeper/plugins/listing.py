"""One look at the folders of a home: which files lie there, and a signature of each. Opens no file.

A signature tells a changed file from an unchanged one for the price of a `stat`. Polling sees every file system
alike: network and bind mounts, and folders that do not exist yet.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.plugins.configuration import FILE_NAME
from innkeeper.plugins.home import Home, Place

MAX_FILES = 1000
MAX_DEPTH = 8
MAX_ENTRIES = 20_000

FOLDER_MANIFESTS = ("plugin.json", "plugin.yaml")
"""Names of the file that makes a folder of `plugins/` one plugin."""

TRUST = "trust"
"""The folder of `manifests/` in which stands which native plugins are trusted."""

MAX_FOLDER_ENTRIES = 2000
"""Files and folders in a folder that is one plugin."""

_MOST_READ = 64 << 20
"""Bytes that are read of a folder: a module, or the files of a native plugin. Pictures and films beside it are not."""

Signature = tuple[int, ...]
"""Device, inode, size and times in ns of a file, and of the manifest beside it, or of all that is in a folder; equal as
long as nobody touches it."""


@dataclass(frozen=True, slots=True)
class WasmFile:
    """A file that may be a plugin, or a folder that says it is one.

    Attributes:
        label: its name in messages, such as "plugins/shout.wasm"; no other file of the home has it.
        path: where it is.
        shipped: whether it came with Innkeeper.
        signature: of it and of the manifest beside it; of a folder, of all that is in it.
        folder: whether it is a folder with one of `FOLDER_MANIFESTS`.
    """

    label: str
    path: str
    shipped: bool
    signature: Signature
    folder: bool = False


@dataclass(slots=True)
class Listing:
    """What lies in a home.

    Attributes:
        files: by label, place by place, in a stable order.
        grants: for each place, the signatures of its grants by the id that they are for.
        trust: signatures of the records of trusted native plugins, by the id that they are for.
        refused: (label, sentence) of links that would be plugins and are not followed.
        unreadable: labels of folders that cannot be read: nobody knows what is in them.
        problems: a sentence for whatever else is not looked at.
    """

    files: dict[str, WasmFile] = field(default_factory=dict)
    grants: list[dict[str, Signature]] = field(default_factory=list)
    trust: dict[str, Signature] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def list_home(home: Home) -> Listing:
    """Looks at all places of a home. Blocks; its work is bounded by the constants of this module."""
    listing = Listing()
    for place in home.places:
        for file in _wasm_files(place, listing):
            listing.files[file.label] = file
        listing.grants.append(_signatures(place.manifests, listing) if place.believed else {})
    # The operator's own words only: what ships with Innkeeper trusts nobody.
    if home.believed:
        listing.trust = _signatures(home.path / "manifests" / TRUST, listing)
    listing.problems += unused_decisions(home)
    return listing


def unused_decisions(home: Home) -> list[str]:
    """`Home.doubt`, where there is something in the home that would count without it (list of one str, or of none).
    Blocks; opens no file."""
    if home.believed:
        return []
    manifests, scratch = home.path / "manifests", Listing()
    there = os.path.lexists(home.path / FILE_NAME) or any(
        _signatures(folder, scratch) for folder in (manifests, manifests / TRUST)
    )
    return [home.doubt] if there else []


def newest(signature: Signature) -> int:
    """When the last of a signature's files was touched, in ns since 1970 (int), as its file system says."""
    return max((*signature[3::5], *signature[4::5]), default=0)


def size_of(file: WasmFile) -> int:
    """Bytes of the file itself, or what is read of a folder at most (int)."""
    return min(sum(file.signature[2::5]), _MOST_READ) if file.folder else file.signature[2]


def _sign(status: os.stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _wasm_files(place: Place, listing: Listing) -> Iterator[WasmFile]:
    """The .wasm files of a place. Hidden files and folders are skipped, and folders whose names begin with "_": what is
    in there is no plugin. Links are not followed: one that stays inside would show a file twice, one that leads outside
    could be anything."""
    prefix = "shipped plugins" if place.shipped else "plugins"
    root = os.path.realpath(place.plugins)
    pending = [(root, prefix, 0)]
    entries = files = 0
    while pending:
        folder, label, depth = pending.pop()
        items: list[os.DirEntry[str]] = []
        try:
            with os.scandir(folder) as found:
                for item in found:
                    entries += 1
                    if entries > MAX_ENTRIES:
                        listing.problems.append(
                            f"{prefix}: has more than {MAX_ENTRIES} entries; the rest is not looked at"
                        )
                        return
                    if not item.name.startswith("."):
                        items.append(item)
        except (FileNotFoundError, NotADirectoryError):
            # A home needs no plugins, and a folder may go while it is looked at.
            continue
        except OSError as error:
            listing.problems.append(f"{label}: cannot be read: {error.strerror}")
            listing.unreadable.append(label)
            continue
        items.sort(key=lambda item: item.name)
        if (named := [item for item in items if item.name in FOLDER_MANIFESTS]) and depth > 0:
            files += 1
            if files > MAX_FILES:
                listing.problems.append(f"{prefix}: has more than {MAX_FILES} plugins; the rest is not loaded")
                return
            signature, inside = _sign_folder(folder)
            entries += inside
            if entries > MAX_ENTRIES:
                # All of them are looked at again and again.
                listing.problems.append(f"{prefix}: has more than {MAX_ENTRIES} entries; the rest is not looked at")
                return
            if signature is None:
                what = f"{label}: has more than {MAX_FOLDER_ENTRIES} files and folders, so it is not used"
                listing.refused.append((label, f"{what}; keep only the plugin in it"))
            else:
                yield WasmFile(label, folder, place.shipped, signature, folder=True)
            continue
        for item in named:
            listing.problems.append(f"{label}/{item.name}: is not looked at; put the plugin into a folder of its own")
        beside = {item.name: item for item in items if item.name.endswith(".toml")}
        folders: list[tuple[str, str, int]] = []
        for item in items:
            name = f"{label}/{item.name}"
            is_wasm = item.name.endswith(".wasm")
            try:
                if item.is_symlink():
                    target = os.path.realpath(item.path)
                    inside = (target + os.sep).startswith(root + os.sep)
                    if not inside and (is_wasm or os.path.isdir(target)):
                        listing.refused.append(
                            (name, f"{name}: is a link out of the folder and is not followed; copy the file instead")
                        )
                elif item.is_dir(follow_symlinks=False):
                    if item.name.startswith("_"):
                        continue
                    if depth + 1 > MAX_DEPTH:
                        listing.problems.append(f"{name}: is more than {MAX_DEPTH} folders deep and is not looked at")
                    else:
                        folders.append((item.path, name, depth + 1))
                elif is_wasm:
                    files += 1
                    if files > MAX_FILES:
                        listing.problems.append(f"{prefix}: has more than {MAX_FILES} plugins; the rest is not loaded")
                        return
                    signature = _sign(item.stat(follow_symlinks=False))
                    manifest = beside.get(f"{item.name.removesuffix('.wasm')}.toml")
                    if manifest is not None:
                        signature += _sign(manifest.stat(follow_symlinks=False))
                    yield WasmFile(name, item.path, place.shipped, signature)
            except OSError:
                # Gone since the folder was read: the next look knows.
                continue
        pending.extend(reversed(folders))


def _sign_folder(root: str) -> tuple[Signature | None, int]:
    """The signature of all that is in a folder, links themselves and not what they lead to; None if that is too much.
    And how many entries were looked at. The folders count too: their times tell of names that came and went."""
    signature: list[int] = []
    pending, entries = [root], 0
    while pending:
        folder = pending.pop()
        names: list[str] = []
        try:
            signature += _sign(os.lstat(folder))
            with os.scandir(folder) as found:
                for item in found:
                    entries += 1
                    if entries > MAX_FOLDER_ENTRIES:
                        return None, entries
                    names.append(item.name)
        except OSError:
            # Gone since it was found, or not readable: who reads what is in it says so.
            continue
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
            else:
                signature += _sign(status)
    return tuple(signature), entries


def _signatures(folder: Path, listing: Listing) -> dict[str, Signature]:
    """Of the .toml files of a folder, by the ids that they are for."""
    found: dict[str, Signature] = {}
    try:
        with os.scandir(folder) as items:
            for position, item in enumerate(items):
                if position == MAX_ENTRIES:
                    listing.problems.append(f"{folder.name}: has more than {MAX_ENTRIES} entries; the rest is not used")
                    break
                if item.name.endswith(".toml") and not item.name.startswith("."):
                    try:
                        # A grant may be a link: what it leads to is what counts.
                        signature = _sign(item.stat())
                    except OSError:
                        signature = ()
                    found[item.name.removesuffix(".toml")] = signature
    except OSError:
        # A home needs no grants, and none that cannot be read is in force.
        return {}
    return dict(sorted(found.items()))
