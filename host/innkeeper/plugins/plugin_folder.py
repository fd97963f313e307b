"""Reading a folder that is one plugin: its plugin.json or plugin.yaml, and the entry that this names."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.errors import RejectedError
from innkeeper.plugins.files import read_file
from innkeeper.plugins.folder_manifest import FolderManifest, parse_folder_manifest
from innkeeper.plugins.listing import FOLDER_MANIFESTS, WasmFile
from innkeeper.plugins.module import Module, PluginBytes, parse_plugin
from innkeeper.plugins.tables import MAX_BYTES, ManifestError, TableError
from innkeeper.sandbox.known import remembered

if TYPE_CHECKING:
    from innkeeper.plugins.manifest import Manifest
    from innkeeper.plugins.native.entry import NativeFolder


@dataclass(frozen=True, slots=True)
class FoundFolder:
    """What a folder holds: a module, or a native plugin.

    Attributes:
        content: tells it from another.
        label: the plugin's own file as messages name it, or the folder of a native plugin.
        path: where that is.
        module: the module, or None.
        native: the native plugin, or None.
    """

    content: str
    label: str
    path: str
    module: Module | None = None
    native: NativeFolder | None = None


def read_plugin_folder(file: WasmFile, *, size_limit: int, native: bool) -> FoundFolder:
    """Reads a plugin's folder. Blocks on its files.

    Args:
        file: the folder.
        size_limit: most bytes of a module.
        native: whether the files of native plugins are read, which are nobody's business as long as those are off.

    Raises:
        ManifestError: its manifest has problems, or a native plugin's folder has.
        UsageError: a file cannot be read.
        RejectedError: there are two manifests; a module is none that this host runs.
    """
    data, manifest = _manifest(file)
    if manifest.kind == "native":
        return _native(file, data, manifest, native)
    path = os.path.join(file.path, *manifest.entry.split("/"))
    label = f"{file.label}/{manifest.entry}"
    # Neither the file nor a folder on the way to it may be a link: that could lead anywhere.
    if os.path.realpath(path) != os.path.join(os.path.realpath(file.path), *manifest.entry.split("/")):
        raise RejectedError(f"{label}: is a link or lies behind one, which is not followed; copy the file instead")
    wasm = read_file(path, most=size_limit, label=label, follow=False)
    known = remembered(wasm)
    digest = hashlib.sha256(wasm).hexdigest() if known is None else known.digest
    module = parse_plugin(PluginBytes(wasm, digest, None), label=label, size_limit=size_limit)
    exports = {name for name, export in module.info.exports.items() if export.kind == "func"}
    own = _parsed(manifest, exports)
    inside = module.manifest
    if inside is not None and replace(inside, embedded=False, unknown=(), unused={}) != replace(
        own, unknown=(), unused={}
    ):
        raise RejectedError(f"{label}: carries a manifest of its own, and {manifest.label} differs: make them equal")
    module.manifest = own
    return FoundFolder(PluginBytes(b"", digest, data).content, label, path, module)


def _manifest(file: WasmFile) -> tuple[bytes, FolderManifest]:
    there = [name for name in FOLDER_MANIFESTS if os.path.lexists(os.path.join(file.path, name))]
    if len(there) > 1:
        raise RejectedError(f"{file.label}: has both {' and '.join(there)}: remove one")
    # If it went since the folder was listed, the sentence says so.
    name = there[0] if there else FOLDER_MANIFESTS[0]
    label = f"{file.label}/{name}"
    data = read_file(os.path.join(file.path, name), most=MAX_BYTES, label=label, follow=False)
    return data, _parse(data, label)


def _parse(data: bytes, label: str) -> FolderManifest:
    try:
        return parse_folder_manifest(data, label=label)
    except TableError as error:
        raise ManifestError(error) from None


def _parsed(manifest: FolderManifest, exports: set[str] | None) -> Manifest:
    try:
        return manifest.manifest(exports)
    except TableError as error:
        raise ManifestError(error) from None


def _native(file: WasmFile, data: bytes, manifest: FolderManifest, read: bool) -> FoundFolder:
    from innkeeper.plugins.native.entry import NativeFolder
    from innkeeper.plugins.native.snapshot import take_snapshot

    if not read:
        own = _parsed(manifest, None)
        content = hashlib.sha256(data).hexdigest()
        return FoundFolder(content, file.label, file.path, native=NativeFolder(own, manifest.entry, None))
    snapshot = take_snapshot(Path(file.path), label=file.label)
    # The manifest among the files that were digested counts: what was read before may be another by now.
    name = manifest.label.rpartition("/")[2]
    if name not in snapshot.files or any(other in snapshot.files for other in FOLDER_MANIFESTS if other != name):
        raise RejectedError(f"{file.label}: changed while it was read")
    manifest = _parse(snapshot.files[name], manifest.label)
    if manifest.kind != "native":
        raise RejectedError(f"{file.label}: changed while it was read")
    native = NativeFolder(_parsed(manifest, None), manifest.entry, snapshot)
    return FoundFolder(snapshot.digest, file.label, file.path, native=native)
