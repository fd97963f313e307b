"""Every plugin of a home, with its manifest and its grant; what is wrong is collected, and hides nothing else."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from innkeeper.errors import InnkeeperError, RejectedError
from innkeeper.plugins.files import read_file, read_optional
from innkeeper.plugins.grant import Grant, parse_grant
from innkeeper.plugins.home import Home, Place
from innkeeper.plugins.manifest import ID, ID_RIGHT, SECTION, Manifest, read_manifest
from innkeeper.plugins.tables import MAX_BYTES, shown
from innkeeper.sandbox.admission import admit
from innkeeper.sandbox.limits import GIB, Limits
from innkeeper.sandbox.wasm import ModuleInfo

if TYPE_CHECKING:
    from innkeeper.plugins.nodes import NodeDefinition

MAX_FILES = 1000
MAX_DEPTH = 8
MAX_ENTRIES = 20_000
MAX_TOTAL = GIB
"""Bytes of all modules of one home: they are kept until each is compiled."""

RESERVED_NAMESPACE = "core"

GrantState = Literal["none", "granted", "changed", "unusable"]


@dataclass(frozen=True, slots=True)
class Module:
    """A file's bytes, read once: what is hashed is what is compiled.

    Attributes:
        wasm: the bytes.
        digest: their sha256, as hexadecimal digits.
        info: what the module says of itself.
        manifest: its author's words, or None.
    """

    wasm: bytes
    digest: str
    info: ModuleInfo
    manifest: Manifest | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A plugin of the catalogue.

    Attributes:
        id: the manifest's id, or the file's stem.
        label: the file as messages name it, such as "plugins/shout.wasm".
        path: the file.
        module: what it holds.
        shipped: whether it came with Innkeeper.
        grant: the grant in force, or None.
        grant_state: "none"; "granted"; "changed" (the file is not the one that was granted); "unusable".
        limits: of a call for which nobody says more.
    """

    id: str
    label: str
    path: Path
    module: Module
    shipped: bool
    grant: Grant | None
    grant_state: GrantState
    limits: Limits

    @property
    def shared(self) -> bool:
        """Whether it has one guest that stays (bool): its manifest asks for it and its grant allows it."""
        manifest = self.module.manifest
        return manifest is not None and manifest.instance == "shared" and self.grant is not None and self.grant.shared


@dataclass(slots=True)
class Catalogue:
    """What a home holds.

    Attributes:
        entries: plugins by id.
        nodes: (plugin's id, definition) by full type.
        refused_types: types that several plugins define, with the sentence that says so.
        problems: one text per file or clash.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    nodes: dict[str, tuple[str, NodeDefinition]] = field(default_factory=dict)
    refused_types: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_module(wasm: bytes, *, label: str, beside: bytes | None, size_limit: int) -> Module:
    """Looks at a module and its manifest; compiles nothing.

    Args:
        wasm: the module's bytes.
        label: its file's name, for messages.
        beside: contents of NAME.toml, or None.
        size_limit: most bytes of a module.

    Raises:
        RejectedError: it is not a module that this host runs, or its manifest has problems.
    """
    info = admit(wasm, plugin=None, size_limit=size_limit)
    if SECTION in info.custom_dropped:
        raise RejectedError(f"{label}: its section {SECTION!r} is too large: the most is {MAX_BYTES} bytes")
    exports = {name for name, export in info.exports.items() if export.kind == "func"}
    manifest = read_manifest(info.custom.get(SECTION, []), beside, where=label, exports=exports)
    return Module(wasm, hashlib.sha256(wasm).hexdigest(), info, manifest)


def check_capabilities(manifest: Manifest | None, label: str) -> None:
    """Refuses a plugin that says it does not work without a capability which this version does not have.

    Raises:
        RejectedError: it does; the message names the capability.
    """
    for wanted in manifest.capabilities if manifest is not None else ():
        if not wanted.optional and not wanted.available:
            raise RejectedError(
                f"{label}: needs the capability {shown(wanted.name)}, which is not available in this version"
            )


def read_catalogue(home: Home) -> Catalogue:
    """Reads all plugins of a home and those that come with Innkeeper.

    Blocks on files; call it in a thread. Raises nothing for what a file holds: see `Catalogue.problems`.
    """
    catalogue = Catalogue()
    found: dict[str, list[Entry]] = defaultdict(list)
    total = 0
    for place in home.places:
        for path, label in _files(place, catalogue.problems):
            try:
                entry = _read_entry(home, place, path, label, catalogue.problems)
            except InnkeeperError as error:
                message = error.message
                catalogue.problems.append(message if message.startswith(label) else f"{label}: {message}")
                continue
            total += len(entry.module.wasm)
            if total > MAX_TOTAL:
                catalogue.problems.append(f"{label}: not loaded, and nothing after it: more than {MAX_TOTAL} bytes")
                break
            found[entry.id].append(entry)
    for plugin_id, entries in sorted(found.items()):
        chosen = _choose(plugin_id, entries, catalogue.problems)
        if chosen is not None:
            catalogue.entries[plugin_id] = chosen
    _collect_nodes(catalogue)
    return catalogue


def _files(place: Place, problems: list[str]) -> Iterator[tuple[Path, str]]:
    """The .wasm files of a place in a stable order. Hidden files are skipped, links are not followed: one that stays
    inside would show a file twice, one that leads outside could be anything."""
    prefix = "shipped plugins" if place.shipped else "plugins"
    root = os.path.realpath(place.plugins)
    if not os.path.isdir(root):
        return
    pending = [(root, prefix, 0)]
    entries = files = 0
    while pending:
        folder, label, depth = pending.pop()
        try:
            with os.scandir(folder) as listing:
                items = []
                for item in listing:
                    entries += 1
                    if entries > MAX_ENTRIES:
                        problems.append(f"{prefix}: has more than {MAX_ENTRIES} entries; the rest is not looked at")
                        return
                    items.append(item)
                items.sort(key=lambda item: item.name)
        except OSError as error:
            problems.append(f"{label}: cannot be read: {error.strerror}")
            continue
        folders: list[tuple[str, str, int]] = []
        for item in items:
            name = f"{label}/{item.name}"
            if item.name.startswith("."):
                continue
            if item.is_symlink():
                target = os.path.realpath(item.path)
                if not (target + os.sep).startswith(root + os.sep) and (
                    item.name.endswith(".wasm") or os.path.isdir(target)
                ):
                    problems.append(f"{name}: is a link out of the folder and is not followed; copy the file instead")
            elif item.is_dir(follow_symlinks=False):
                if depth + 1 > MAX_DEPTH:
                    problems.append(f"{name}: is more than {MAX_DEPTH} folders deep and is not looked at")
                else:
                    folders.append((item.path, name, depth + 1))
            elif item.name.endswith(".wasm"):
                files += 1
                if files > MAX_FILES:
                    problems.append(f"{prefix}: has more than {MAX_FILES} plugins; the rest is not loaded")
                    return
                yield Path(item.path), name
        pending.extend(reversed(folders))


def _read_entry(home: Home, place: Place, path: Path, label: str, problems: list[str]) -> Entry:
    size_limit = home.configuration.bounds.module_size
    wasm = read_file(path, most=size_limit, label=label, follow=False)
    toml = f"{label.removesuffix('.wasm')}.toml"
    beside = read_optional(path.with_suffix(".toml"), most=MAX_BYTES, label=toml, follow=False)
    module = read_module(wasm, label=label, beside=beside, size_limit=size_limit)
    check_capabilities(module.manifest, label)
    plugin_id = path.stem if module.manifest is None else module.manifest.id
    if ID.fullmatch(plugin_id) is None:
        raise RejectedError(
            f"{label}: {shown(plugin_id)} is not an id: rename the file to {ID_RIGHT}, or give it a manifest"
        )
    grant, state, limits = _read_grant(home, plugin_id, module.digest, problems)
    return Entry(plugin_id, label, path, module, place.shipped, grant, state, limits)


def _read_grant(
    home: Home, plugin_id: str, digest: str, problems: list[str]
) -> tuple[Grant | None, GrantState, Limits]:
    """The grant in force for these bytes. The first file of that name decides: the operator's own, then ours."""
    configuration = home.configuration
    label = f"manifests/{plugin_id}.toml"
    for place in home.places:
        try:
            data = read_optional(place.manifests / f"{plugin_id}.toml", most=MAX_BYTES, label=label)
            if data is None:
                continue
            grant = parse_grant(data, where=label)
            if grant.sha256 != digest:
                problems.append(f"{label}: the file changed since it was granted; the grant is not used")
                return None, "changed", configuration.defaults
            return grant, "granted", grant.apply(configuration.defaults, configuration.ceiling, label)
        except InnkeeperError as error:
            problems.append(f"{error.message}; the grant is not used")
            return None, "unusable", configuration.defaults
    return None, "none", configuration.defaults


def _choose(plugin_id: str, entries: list[Entry], problems: list[str]) -> Entry | None:
    """Of the files with one id, the one that is loaded, if any."""
    shipped = [entry for entry in entries if entry.shipped]
    # A copy of a shipped plugin, as in a checkout beside an installed package, is that plugin.
    if len(shipped) == 1 and len(entries) == 2 and entries[0].module.digest == entries[1].module.digest:
        return shipped[0]
    if len(entries) > 1:
        names = " and ".join(entry.label for entry in entries)
        problems.append(
            f"{names}: have the same id {plugin_id!r}, so none of them is loaded; remove all but one, "
            "or give them other ids"
        )
        return None
    entry, manifest = entries[0], entries[0].module.manifest
    if manifest is not None and manifest.namespace == RESERVED_NAMESPACE and not entry.shipped:
        problems.append(
            f"{entry.label}: its namespace is {RESERVED_NAMESPACE!r}, which only plugins that come with Innkeeper may "
            "use; leave it out to use the id"
        )
        return None
    return entry


def _collect_nodes(catalogue: Catalogue) -> None:
    definers: dict[str, list[tuple[str, NodeDefinition]]] = defaultdict(list)
    for entry in catalogue.entries.values():
        for node in entry.module.manifest.nodes if entry.module.manifest is not None else ():
            definers[node.full_type].append((entry.id, node))
    for full_type, found in definers.items():
        if len(found) == 1:
            catalogue.nodes[full_type] = found[0]
        else:
            names = " and ".join(plugin_id for plugin_id, _ in found)
            sentence = f"the node type {full_type!r} is defined by the plugins {names}, so it is refused; remove one"
            catalogue.refused_types[full_type] = sentence
            catalogue.problems.append(sentence)
