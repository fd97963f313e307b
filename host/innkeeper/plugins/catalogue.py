"""Every plugin of a home, with its manifest and its grant; what is wrong is collected, and hides nothing else.

A catalogue is a function of what the files held; `read_catalogue` reads them all, `compose` takes what was read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.plugins import shipped
from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import GrantFile, GrantState, Ruling, grant_label, rule, unused_grants
from innkeeper.plugins.home import Home
from innkeeper.plugins.manifest import Dependency
from innkeeper.plugins.module import Module
from innkeeper.plugins.node_table import NodeTable
from innkeeper.plugins.reading import MAX_TOTAL, read_home
from innkeeper.plugins.readings import FileReading, Readings
from innkeeper.plugins.rights import NONE, Rights, effective
from innkeeper.plugins.tables import nearest
from innkeeper.sandbox.limits import Limits

if TYPE_CHECKING:
    from innkeeper.plugins.native.entry import NativeEntry
    from innkeeper.plugins.nodes import NodeDefinition

RESERVED_NAMESPACE = "core"

_MOST_DEPENDENCIES = 200
"""Dependencies that are not there and are said by name."""

_MOST_COMPARED = 20
"""Dependencies that are not there for which is looked what was meant."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A plugin of the catalogue.

    Attributes:
        id: the manifest's id, or the file's stem.
        label: the file as messages name it, such as "plugins/shout.wasm".
        path: the file.
        module: what it holds.
        shipped: whether its bytes came with Innkeeper, wherever they lie.
        grant: the grant in force, or None.
        grant_state: as `grants.Ruling`.
        limits: of a call for which nobody says more.
        rights: what its manifest requests and its grant gives.
    """

    id: str
    label: str
    path: Path
    module: Module
    shipped: bool
    grant: Grant | None
    grant_state: GrantState
    limits: Limits
    rights: Rights = NONE

    @property
    def shared(self) -> bool:
        """Whether it has one guest that stays (bool): its manifest asks for it and its grant allows it."""
        manifest = self.module.manifest
        return manifest is not None and manifest.instance == "shared" and self.grant is not None and self.grant.shared

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        """Other plugins that it works with (tuple of Dependency)."""
        return () if self.module.manifest is None else self.module.manifest.dependencies


@dataclass(slots=True)
class Catalogue:
    """What a home holds.

    Attributes:
        entries: plugins by id, the native ones apart.
        native: native plugins by id, whether they are run or not.
        nodes: (plugin's id, definition) by full type.
        refused_types: types that several plugins define, with the sentence that says so.
        file_problems: one text per thing that is wrong with a file or a folder.
        grant_problems: why the grant of a plugin that is there is not used, by its id.
        unused: (id, text) per grant whose plugin is not there.
        causes: those of files that keep a plugin away, by its id, or its file's stem where the id is not known.
        owners: for each file that is there, by label, the id that it has; None where it cannot be used.
        unreadable: labels of folders that nobody can look into.
        grants: the grant that counts for an id, in force or not.
        news: those problems of files that are not the ones that the same files had before, even in the same words.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    native: dict[str, NativeEntry] = field(default_factory=dict)
    nodes: dict[str, tuple[str, NodeDefinition]] = field(default_factory=dict)
    refused_types: dict[str, str] = field(default_factory=dict)
    file_problems: list[str] = field(default_factory=list)
    grant_problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unused: list[tuple[str, str]] = field(default_factory=list)
    causes: dict[str, list[str]] = field(default_factory=dict)
    owners: dict[str, str | None] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    grants: dict[str, GrantFile] = field(default_factory=dict)
    news: set[str] = field(default_factory=set)

    @property
    def problems(self) -> list[str]:
        """One text per thing that is wrong (list of str)."""
        grants = [text for texts in self.grant_problems.values() for text in texts]
        return [*self.file_problems, *grants, *(text for _, text in self.unused), *self.refused_types.values()]

    @property
    def versions(self) -> dict[str, str | None]:
        """Versions of the plugins by id; None for those without a manifest (dict)."""
        manifests = {plugin_id: entry.module.manifest for plugin_id, entry in self.entries.items()}
        return {plugin_id: None if found is None else found.version for plugin_id, found in manifests.items()}

    def keep_away(self, problem: str, *names: str) -> None:
        """Adds a problem that keeps plugins away.

        Args:
            problem: the text.
            names: what somebody may call these plugins: ids and stems of files.
        """
        self.file_problems.append(problem)
        for name in dict.fromkeys(names):
            self.causes.setdefault(name, []).append(problem)


def read_catalogue(home: Home) -> Catalogue:
    """Reads all plugins of a home and those that come with Innkeeper.

    Blocks on files; call it in a thread. Raises nothing for what a file holds: see `Catalogue.problems`.
    """
    return compose(home, read_home(home))


def compose(
    home: Home, readings: Readings, *, known: Readings | None = None, before: Catalogue | None = None
) -> Catalogue:
    """The catalogue of a home whose files were read.

    Args:
        home: where the files lie.
        readings: what they held.
        known: what was read before that, for `Catalogue.news`.
        before: the catalogue before it: what is equal is the same object in both.
    """
    catalogue = Catalogue(file_problems=list(readings.listing.problems), unreadable=readings.listing.unreadable)
    for label, sentence in readings.listing.refused:
        catalogue.owners[label] = None
        catalogue.keep_away(sentence, _stem(label))
    found: dict[str, list[Entry]] = defaultdict(list)
    in_place: dict[str, bool] = {}
    for label in readings.listing.files:
        catalogue.owners[label] = None
    for label, reading in readings.files.items():
        held = reading.held
        # A version that is in service knows its folder by the entry's name.
        catalogue.owners[label] = catalogue.owners[held.label or label] = held.plugin_id
        for problem in held.problems:
            catalogue.keep_away(problem, *held.names)
        if known is not None and (label not in known.files or known.files[label].held is not held):
            catalogue.news.update(held.problems)
        if held.module is not None and held.plugin_id is not None:
            path, defaults = Path(held.path or reading.file.path), home.configuration.defaults
            own = held.label or label
            entry = Entry(held.plugin_id, own, path, held.module, _is_shipped(held.module), None, "none", defaults)
            found[held.plugin_id].append(entry)
            in_place[own] = reading.file.shipped
    for label in readings.excess:
        catalogue.keep_away(f"{label}: not loaded, and nothing after it: more than {MAX_TOTAL} bytes", _stem(label))
    for place in reversed(readings.grants):
        catalogue.grants |= {name: grant.held for name, grant in place.items() if grant.held is not None}
    if before is not None:
        for name, grant in catalogue.grants.items():
            if before.grants.get(name) != grant:
                catalogue.news.update(grant.problems)
    for plugin_id, entries in sorted(found.items()):
        chosen = _choose(plugin_id, entries, catalogue, in_place)
        if chosen is not None:
            entry = _granted(chosen, home, catalogue)
            same = None if before is None else before.entries.get(plugin_id)
            catalogue.entries[plugin_id] = same if same is not None and same == entry else entry
    _check_dependencies(catalogue)
    _add_native(home, readings, found, catalogue)
    table = NodeTable()
    table.update({plugin_id: entry.module.manifest for plugin_id, entry in catalogue.entries.items()})
    catalogue.nodes, catalogue.refused_types = table.nodes, table.refused
    labels = {plugin_id: entry.label for plugin_id, entry in (catalogue.entries | catalogue.native).items()}
    catalogue.unused = unused_grants(readings.listing.grants, labels, catalogue.causes)
    return catalogue


def _add_native(home: Home, readings: Readings, found: Mapping[str, object], catalogue: Catalogue) -> None:
    """The native plugins. None takes the id of another plugin, or the namespace of Innkeeper's own."""
    there: dict[str, list[FileReading]] = defaultdict(list)
    for reading in readings.files.values():
        if reading.held.native is not None and reading.held.plugin_id is not None:
            there[reading.held.plugin_id].append(reading)
    if there or readings.listing.trust:
        from innkeeper.plugins.native.entry import native_entry, unused_trust

        for plugin_id, several in sorted(there.items()):
            labels = " and ".join(reading.file.label for reading in several)
            names = (plugin_id, *(Path(reading.file.path).name for reading in several))
            native = several[0].held.native
            assert native is not None
            if len(several) > 1:
                what = f"{labels}: have the same id {plugin_id!r}, so none of them is run; give them other ids"
                catalogue.keep_away(what, *names)
            elif plugin_id in found:
                what = f"{labels}: has the id {plugin_id!r}, which a Wasm plugin has; give it another id"
                catalogue.keep_away(what, *names)
            elif native.manifest.namespace != plugin_id or plugin_id == RESERVED_NAMESPACE:
                space = native.manifest.namespace
                right = f"a native plugin's is its id, and not {RESERVED_NAMESPACE!r}"
                what = f"{labels}: its namespace is {space!r}: {right}"
                catalogue.keep_away(what, *names)
            else:
                entry = native_entry(
                    plugin_id,
                    labels,
                    Path(several[0].file.path),
                    native,
                    home=home,
                    trusted=readings.trust.get(plugin_id),
                    granted=catalogue.grants.get(plugin_id),
                )
                catalogue.native[plugin_id] = entry
                for problem in entry.problems:
                    catalogue.keep_away(problem, *names)
        catalogue.file_problems += unused_trust(readings.listing.trust, catalogue.native, catalogue.causes)


def _granted(entry: Entry, home: Home, catalogue: Catalogue) -> Entry:
    digest, manifest = entry.module.digest, entry.module.manifest
    ruling = rule(catalogue.grants.get(entry.id), entry.id, digest, manifest, home.configuration)
    granted = ruled(entry, ruling)
    said = list(granted.rights.problems)
    if granted.rights.wasi:
        from innkeeper.plugins.wasi_rights import problems as folder_problems

        said += folder_problems(granted.rights, home.folders)
    problems = (*ruling.problems, *(f"{grant_label(entry.id)}: {problem}" for problem in said))
    if problems:
        catalogue.grant_problems[entry.id] = problems
    return granted


def ruled(entry: Entry, ruling: Ruling) -> Entry:
    """The plugin with what a ruling gives it."""
    manifest, grant = entry.module.manifest, ruling.grant
    rights = NONE if grant is None else effective(() if manifest is None else manifest.capabilities, grant)
    limits = ruling.patient if ruling.patient is not None and rights.asks_models else ruling.limits
    return replace(entry, grant=grant, grant_state=ruling.state, limits=limits, rights=rights)


def _is_shipped(module: Module) -> bool:
    # Its digest says nothing of a manifest that lies beside it.
    return module.digest in shipped.DIGESTS and module.manifest is not None and module.manifest.embedded


def _check_dependencies(catalogue: Catalogue) -> None:
    wanting = [entry for entry in catalogue.entries.values() if entry.dependencies]
    if not wanting:
        return
    from innkeeper.plugins.dependencies import check_dependencies

    versions = catalogue.versions
    found: list[str] = []
    for entry in wanting:
        for each in check_dependencies(entry.dependencies, versions):
            if each.problem is not None:
                # Looking for what was meant takes time for each plugin that there is.
                look = each.state == "missing" and len(found) < _MOST_COMPARED
                hint = nearest(each.dependency.id, versions) if look else ""
                found.append(f"{entry.label}: {each.problem}{hint}")
    catalogue.file_problems += found[:_MOST_DEPENDENCIES]
    if len(found) > _MOST_DEPENDENCIES:
        more = len(found) - _MOST_DEPENDENCIES
        catalogue.file_problems.append(f"plugins: {more:,} more dependencies are missing or of another version")


def _choose(plugin_id: str, entries: list[Entry], catalogue: Catalogue, in_place: Mapping[str, bool]) -> Entry | None:
    """Of the files with one id, the one that is loaded, if any.

    Args:
        in_place: by label, whether a file lies where the plugins that come with Innkeeper are.
    """
    # A copy of a shipped plugin, as in a checkout beside an installed package, is that plugin.
    if entries[0].shipped and len({entry.module.digest for entry in entries}) == 1:
        return next((entry for entry in entries if in_place[entry.label]), entries[0])
    if len(entries) > 1:
        names = " and ".join(entry.label for entry in entries)
        catalogue.keep_away(
            f"{names}: have the same id {plugin_id!r}, so none of them is loaded; remove all but one, "
            "or give them other ids",
            plugin_id,
            *(entry.path.stem for entry in entries),
        )
        return None
    (entry,) = entries
    problem = _misnamed(entry, in_place[entry.label])
    if problem is None:
        return entry
    catalogue.keep_away(f"{entry.label}: {problem}", plugin_id, entry.path.stem)
    return None


def _misnamed(entry: Entry, in_place: bool) -> str | None:
    """Why its nodes may not have their namespace, or None."""
    manifest = entry.module.manifest
    if manifest is None or entry.shipped:
        return None
    namespace = manifest.namespace
    if namespace == manifest.id != RESERVED_NAMESPACE:
        return None
    if in_place:
        return (
            f"its namespace is {namespace!r}, and its bytes are not those that come with this version of Innkeeper: "
            "install it again"
        )
    if manifest.id == RESERVED_NAMESPACE:
        return f"its id is {RESERVED_NAMESPACE!r}, the namespace of the plugins that come with Innkeeper; take another"
    whose = "which only plugins that come with Innkeeper may use"
    if namespace != RESERVED_NAMESPACE:
        whose = "and only plugins that come with Innkeeper may have another than their id"
    return f"its namespace is {namespace!r}, {whose}; leave it out to use the id"


def _stem(label: str) -> str:
    return label.rpartition("/")[2].removesuffix(".wasm")
