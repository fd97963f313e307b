"""Every plugin of a home, with its manifest and its grant; what is wrong is collected, and hides nothing else."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.errors import InnkeeperError, RejectedError
from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import GrantState, read_grant, unused_grants
from innkeeper.plugins.home import Home, Place
from innkeeper.plugins.manifest import ID, ID_RIGHT
from innkeeper.plugins.module import Module, check_capabilities, manifest_name, read_plugin_file
from innkeeper.plugins.tables import problems_of, shown
from innkeeper.sandbox.limits import GIB, Limits

if TYPE_CHECKING:
    from innkeeper.plugins.nodes import NodeDefinition

MAX_FILES = 1000
MAX_DEPTH = 8
MAX_ENTRIES = 20_000
MAX_TOTAL = GIB
"""Bytes of all modules of one home: they are kept until each is compiled."""

RESERVED_NAMESPACE = "core"


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
        problems: one text per thing that is wrong.
        causes: those of them that keep a plugin away, by its id, or its file's stem where the id is not known.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    nodes: dict[str, tuple[str, NodeDefinition]] = field(default_factory=dict)
    refused_types: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    causes: dict[str, list[str]] = field(default_factory=dict)

    def keep_away(self, problem: str, *names: str) -> None:
        """Adds a problem that keeps plugins away.

        Args:
            problem: the text.
            names: what somebody may call these plugins: ids and stems of files.
        """
        self.problems.append(problem)
        for name in dict.fromkeys(names):
            self.causes.setdefault(name, []).append(problem)


def read_catalogue(home: Home) -> Catalogue:
    """Reads all plugins of a home and those that come with Innkeeper.

    Blocks on files; call it in a thread. Raises nothing for what a file holds: see `Catalogue.problems`.
    """
    catalogue = Catalogue()
    found: dict[str, list[Entry]] = defaultdict(list)
    total = 0
    for place in home.places:
        for path, label in _files(place, catalogue):
            try:
                entry = _read_entry(home, place, path, label)
            except InnkeeperError as error:
                for problem in problems_of(error):
                    # What is said of the manifest beside it names that file.
                    named = problem.startswith((f"{label}:", f"{manifest_name(label)}:"))
                    catalogue.keep_away(
                        problem if named else f"{label}: {problem}", error.plugin or path.stem, path.stem
                    )
                continue
            total += len(entry.module.wasm)
            if total > MAX_TOTAL:
                catalogue.keep_away(
                    f"{label}: not loaded, and nothing after it: more than {MAX_TOTAL} bytes", entry.id, path.stem
                )
                break
            found[entry.id].append(entry)
    for plugin_id, entries in sorted(found.items()):
        chosen = _choose(plugin_id, entries, catalogue)
        if chosen is not None:
            grant, state, limits = read_grant(home, plugin_id, chosen.module.digest, catalogue.problems)
            catalogue.entries[plugin_id] = replace(chosen, grant=grant, grant_state=state, limits=limits)
    _collect_nodes(catalogue)
    labels = {plugin_id: entry.label for plugin_id, entry in catalogue.entries.items()}
    catalogue.problems += unused_grants(home, labels, catalogue.causes)
    return catalogue


def _files(place: Place, catalogue: Catalogue) -> Iterator[tuple[Path, str]]:
    """The .wasm files of a place in a stable order. Hidden files are skipped, links are not followed: one that stays
    inside would show a file twice, one that leads outside could be anything."""
    problems = catalogue.problems
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
                    catalogue.keep_away(
                        f"{name}: is a link out of the folder and is not followed; copy the file instead",
                        item.name.removesuffix(".wasm"),
                    )
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


def _read_entry(home: Home, place: Place, path: Path, label: str) -> Entry:
    """A plugin as it lies there, without its grant, which only a plugin that is loaded has."""
    configuration = home.configuration
    module = read_plugin_file(path, label=label, size_limit=configuration.bounds.module_size, follow=False)
    try:
        check_capabilities(module.manifest, label)
    except RejectedError as error:
        error.plugin = None if module.manifest is None else module.manifest.id
        raise
    plugin_id = path.stem if module.manifest is None else module.manifest.id
    if ID.fullmatch(plugin_id) is None:
        raise RejectedError(
            f"{label}: {shown(plugin_id)} is not an id: rename the file to {ID_RIGHT}, or give it a manifest"
        )
    return Entry(plugin_id, label, path, module, place.shipped, None, "none", configuration.defaults)


def _choose(plugin_id: str, entries: list[Entry], catalogue: Catalogue) -> Entry | None:
    """Of the files with one id, the one that is loaded, if any."""
    shipped = [entry for entry in entries if entry.shipped]
    # A copy of a shipped plugin, as in a checkout beside an installed package, is that plugin.
    if len(shipped) == 1 and len(entries) == 2 and entries[0].module.digest == entries[1].module.digest:
        return shipped[0]
    if len(entries) > 1:
        names = " and ".join(entry.label for entry in entries)
        catalogue.keep_away(
            f"{names}: have the same id {plugin_id!r}, so none of them is loaded; remove all but one, "
            "or give them other ids",
            plugin_id,
            *(entry.path.stem for entry in entries),
        )
        return None
    entry, manifest = entries[0], entries[0].module.manifest
    if manifest is not None and manifest.namespace == RESERVED_NAMESPACE and not entry.shipped:
        catalogue.keep_away(
            f"{entry.label}: its namespace is {RESERVED_NAMESPACE!r}, which only plugins that come with Innkeeper may "
            "use; leave it out to use the id",
            plugin_id,
            entry.path.stem,
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
