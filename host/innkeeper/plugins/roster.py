"""The plugins of a home that are in service, and how a catalogue changes them. Everything here is at once: no file is
read, nothing is compiled, nobody waits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from innkeeper.plugins.call_options import checked
from innkeeper.plugins.catalogue import Catalogue, Entry, ruled
from innkeeper.plugins.changes import Change, Part
from innkeeper.plugins.generation import Code, Generation
from innkeeper.plugins.grants import Ruling, carried_over, grant_label, rule_standing
from innkeeper.plugins.home import Home
from innkeeper.plugins.manifest import Instance, Manifest
from innkeeper.plugins.memo import asks
from innkeeper.plugins.node_table import NodeTable
from innkeeper.plugins.plugin import Plugin
from innkeeper.plugins.services import Services, prepare_all
from innkeeper.sandbox.interface import Engine, HostFunction

if TYPE_CHECKING:
    from innkeeper.sandbox.wasi.rights import WasiRights

STAYS = "; the version before it stays in service"

_MOST_REASONS = 1000
"""Plugins that went and of which is known why."""


@dataclass(slots=True, eq=False)
class Service:
    """A plugin in service.

    Attributes:
        plugin: what its users have.
        generation: the version in service.
        entry: what that version was made of.
        candidate: the version that its file holds by now, to be compiled first; or None.
        rejected: (`Roster.made_of`, sentence) of what did not compile, as long as its files hold that.
        standing: problems of the grant of a version that its file holds no more.
    """

    plugin: Plugin
    generation: Generation
    entry: Entry
    candidate: Entry | None = None
    rejected: tuple[tuple[str, frozenset[str]], str] | None = None
    standing: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What a catalogue changed.

    Attributes:
        changes: what to say.
        retired: versions that are not in service any more, each with the one that took its place, if any.
        waiting: plugins with a candidate that is to be compiled.
        manifests: those of plugins that came or changed, by id; None for those that went.
    """

    changes: list[Change] = field(default_factory=list)
    retired: list[tuple[Generation, Generation | None]] = field(default_factory=list)
    waiting: list[Service] = field(default_factory=list)
    manifests: dict[str, Manifest | None] = field(default_factory=dict)


class Roster:
    """The plugins in service.

    Attributes:
        services: by id.
        nodes: their node types.
        reasons: why a plugin that was there is gone, by id.
    """

    def __init__(self, home: Home, engine: Engine, offered: Services) -> None:
        self.services: dict[str, Service] = {}
        self.nodes = NodeTable()
        self.reasons: dict[str, str] = {}
        self._home = home
        self._engine = engine
        self._offered = offered
        self._attendant = offered.attendant()
        self._overseer = offered.overseer()
        self._catalogue = Catalogue()
        # Whoever still has the plugin that was removed finds it alive again when its file comes back.
        self._gone: WeakValueDictionary[str, Plugin] = WeakValueDictionary()

    def problems(self) -> list[str]:
        """One text per thing that is wrong with a file, a grant or a node type (list of str)."""
        catalogue = self._catalogue
        kept = {text for text, _ in self._kept()}
        found = [f"{text}{STAYS}" if text in kept else text for text in catalogue.file_problems]
        for plugin_id, texts in catalogue.grant_problems.items():
            if self.services[plugin_id].rejected is None:
                found += texts
        for service in self.services.values():
            if service.rejected is not None:
                found.append(f"{service.rejected[1]}{STAYS}")
            found += service.standing
        # A plugin whose file nobody can see may be in service all the same.
        found += [text for name, text in catalogue.unused if name not in self.services]
        return [*found, *self.nodes.refused.values()]

    def why_not(self, plugin_id: str) -> list[str]:
        """What keeps a plugin away (list of str)."""
        causes = self._catalogue.causes.get(plugin_id, [])
        gone = self.reasons.get(plugin_id)
        return [*causes, gone] if gone is not None else causes

    def apply(self, catalogue: Catalogue) -> Outcome:
        """Brings a catalogue into service, but for bytes that are to be compiled first."""
        with self._changing(catalogue.news) as outcome:
            self._catalogue = catalogue
            for plugin_id in [*self.services]:
                if plugin_id not in catalogue.entries:
                    self._missing(self.services[plugin_id], outcome)
            for plugin_id, entry in catalogue.entries.items():
                service = self.services.get(plugin_id)
                if service is None:
                    self._add(entry, outcome)
                elif entry is not service.entry or service.candidate is not None or service.rejected is not None:
                    self._follow(service, entry, outcome)
        return outcome

    def promote(self, service: Service, code: Code) -> Outcome:
        """Puts a candidate in service, whose bytes were compiled."""
        assert service.candidate is not None
        with self._changing() as outcome:
            self._swap(service, service.candidate, code, outcome)
        return outcome

    def reject(self, service: Service, reason: str) -> Outcome:
        """A candidate did not compile: the version before it stays."""
        entry, service.candidate = service.candidate, None
        assert entry is not None
        sentence = reason if reason.startswith(f"{entry.label}:") else f"{entry.label}: {reason}"
        with self._changing() as outcome:
            service.rejected = self.made_of(entry), sentence
            self._stand(service, outcome)
            # Also where the bytes before were refused in the same words.
            outcome.changes.append(Change("problem", entry.id, f"{sentence}{STAYS}"))
        return outcome

    @contextmanager
    def _changing(self, news: Collection[str] = ()) -> Iterator[Outcome]:
        """Gives an outcome to be filled, and adds the problems that there are after the block and were not before.

        Args:
            news: problems that are said again though they were there before.
        """
        before = set(self.problems())
        outcome = Outcome()
        yield outcome
        self.nodes.update(outcome.manifests)
        said = {change.text for change in outcome.changes}
        outcome.changes += self._said(set(self.problems()) - before - said, news)

    # --- one plugin -------------------------------------------------------------------------------------------------

    def _add(self, entry: Entry, outcome: Outcome) -> None:
        generation = self._generation(entry, self.code_of(entry))
        plugin = self._gone.pop(entry.id, None)
        if plugin is None:
            ceiling, memory = self._home.configuration.ceiling, self._offered.memory
            plugin = Plugin(entry.id, ceiling, generation, self._attendant, self._overseer, memory)
        else:
            plugin.replace(generation)
        self.services[entry.id] = Service(plugin, generation, entry)
        self.reasons.pop(entry.id, None)
        outcome.manifests[entry.id] = entry.module.manifest
        also = f"; {carried_over(entry.id)}" if entry.grant_state == "carried" else ""
        outcome.changes.append(Change("added", entry.id, f"{entry.label}: is the plugin {entry.id!r}{also}"))

    def _missing(self, service: Service, outcome: Outcome) -> None:
        """The catalogue does not have it: its file is broken, or gone."""
        label, plugin_id = service.entry.label, service.plugin.id
        service.candidate = None
        unseen = any(label.startswith(f"{folder}/") for folder in self._catalogue.unreadable)
        owner = self._catalogue.owners.get(label, "")
        if unseen or owner is None or owner == plugin_id:
            self._stand(service, outcome)
            return
        what = "was removed" if owner == "" else f"has the id {owner!r} now"
        reason = f"{label}: {what}, so there is no plugin {plugin_id!r} any more"
        del self.services[plugin_id]
        self._gone[plugin_id] = service.plugin
        self.reasons[plugin_id] = reason
        if len(self.reasons) > _MOST_REASONS:
            del self.reasons[next(iter(self.reasons))]
        outcome.manifests[plugin_id] = None
        outcome.retired.append((service.plugin.stop(f"{reason}; put the file back to call it"), None))
        outcome.changes.append(Change("removed", plugin_id, reason))

    def _follow(self, service: Service, entry: Entry, outcome: Outcome) -> None:
        """Its file, its manifest or its grant may be another."""
        made_of = self.made_of(entry)
        if made_of == self.made_of(service.entry):
            service.candidate = service.rejected = None
            self._swap(service, entry, service.generation.code, outcome)
            return
        if service.rejected is not None and service.rejected[0] == made_of:
            self._stand(service, outcome)
            return
        service.rejected = None
        code = service.generation.code
        if not (code.asked_for and code.works):
            # Nobody ran the version before it, or it never worked: whoever calls finds out about this one.
            self._swap(service, entry, self.code_of(entry), outcome)
            return
        service.candidate = entry
        outcome.waiting.append(service)
        self._stand(service, outcome)

    def _swap(self, service: Service, entry: Entry, code: Code, outcome: Outcome) -> None:
        before, old = service.entry, service.generation
        service.candidate = service.rejected = None
        service.standing = ()
        if entry == before:
            service.entry = entry
            return
        parts = _parts(before, entry)
        generation = self._generation(entry, code, old)
        service.entry, service.generation = entry, generation
        if service.plugin.gone is None:
            service.plugin.replace(generation)
            outcome.retired.append((old, generation))
        else:
            # Somebody closed it, and so it stays.
            generation.over = service.plugin.gone
            outcome.retired.append((generation, None))
        outcome.manifests[entry.id] = entry.module.manifest
        if parts:
            outcome.changes.append(Change("changed", entry.id, _sentence(entry, parts), parts))

    def _stand(self, service: Service, outcome: Outcome) -> None:
        """Its bytes stay in service though its file holds others; its grant is what the grant's file says now."""
        entry, candidate = service.entry, service.candidate
        found = self._catalogue.grants.get(entry.id)
        granted = None if found is None or found.grant is None else found.grant.sha256
        if candidate is not None and granted == candidate.module.digest:
            # The operator agreed to bytes that are being compiled: what the old ones had ends when these begin.
            return
        ruling: Ruling = rule_standing(found, entry.id, entry.module, self._home.configuration)
        kept = ruled(entry, ruling)
        rejected = service.rejected
        self._swap(service, kept, service.generation.code, outcome)
        service.candidate, service.rejected, service.standing = candidate, rejected, ruling.problems

    def prepare(self, catalogue: Catalogue) -> None:
        """Does what takes long before `apply` is quick. In a thread."""
        prepare_all(self._offered, catalogue)

    # --- parts ------------------------------------------------------------------------------------------------------

    def made_of(self, entry: Entry) -> tuple[str, frozenset[str]]:
        """What its code is made of: its bytes, and the imports that its manifest's requests open to it."""
        functions = self._functions(entry)
        return entry.module.digest, frozenset(function.name for function in functions)

    def code_of(self, entry: Entry) -> Code:
        """What is to be made of the bytes of an entry."""
        functions = self._functions(entry)
        return Code(
            self._engine,
            entry.module,
            plugin=entry.id,
            label=entry.label,
            functions=functions,
            asks=asks(entry.module.info, (), functions),
        )

    def _functions(self, entry: Entry) -> Sequence[HostFunction]:
        return self._offered.functions(entry.module.manifest, entry.module.imports)

    def _generation(self, entry: Entry, code: Code, before: Generation | None = None) -> Generation:
        config = checked(entry.grant.config) if entry.grant is not None else {}
        instance: Instance = "shared" if entry.shared else "fresh"
        wasi: WasiRights | None = None
        if entry.rights.wasi:
            from innkeeper.plugins.wasi_rights import wasi_rights

            wasi = wasi_rights(entry.rights, self._home.folders)
        same = (
            before is not None
            and before.code is code
            and (before.limits, before.config, before.instance) == (entry.limits, config, instance)
            and before.options.rights == wasi
        )
        return Generation(
            code,
            entry.module,
            id=entry.id,
            label=entry.label,
            path=entry.path,
            limits=entry.limits,
            config=config,
            instance=instance,
            grant=entry.grant,
            grant_state=entry.grant_state,
            rights=entry.rights,
            wasi=wasi,
            shipped=entry.shipped,
            guest=before.guest if before is not None and same else None,
        )

    def _kept(self) -> Iterator[tuple[str, str]]:
        """(text, id) of problems with files of plugins whose version before stays in service."""
        for plugin_id, service in self.services.items():
            if plugin_id not in self._catalogue.entries:
                for name in {plugin_id, PurePath(service.entry.label).stem}:
                    for text in self._catalogue.causes.get(name, ()):
                        yield text, plugin_id

    def _said(self, fresh: Collection[str], news: Collection[str]) -> list[Change]:
        """Problems that were not there before, or are those of a file that was broken in another way."""
        kept = dict(self._kept())
        of = {f"{text}{STAYS}": plugin_id for text, plugin_id in kept.items()}
        again = {f"{text}{STAYS}" if text in kept else text for text in news}
        return [Change("problem", of.get(text), text) for text in self.problems() if text in fresh or text in again]


def _parts(before: Entry, after: Entry) -> tuple[Part, ...]:
    parts: list[Part] = []
    if before.module.digest != after.module.digest or before.label != after.label:
        parts.append("file")
    if before.module.manifest != after.module.manifest:
        parts.append("manifest")
    if (before.grant, before.grant_state, before.limits) != (after.grant, after.grant_state, after.limits):
        parts.append("grant")
    return tuple(parts)


def _sentence(entry: Entry, parts: Collection[Part]) -> str:
    said: list[str] = []
    if "file" in parts:
        said.append("the new file is in service")
    if "manifest" in parts:
        said.append("the new manifest is in service")
    if "grant" in parts:
        label = grant_label(entry.id)
        if entry.grant_state == "carried":
            said.append(carried_over(entry.id))
        else:
            said.append(f"{label} is in force" if entry.grant is not None else f"it has no grant ({entry.grant_state})")
    return f"{entry.label}: {', '.join(said)}"
