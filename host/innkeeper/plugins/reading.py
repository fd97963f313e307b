"""What the files of a home hold, read again only where a file changed."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.errors import InnkeeperError, RejectedError
from innkeeper.plugins.grants import read_grant
from innkeeper.plugins.home import Home, Place
from innkeeper.plugins.listing import Listing, Signature, WasmFile, list_home, newest, size_of
from innkeeper.plugins.manifest import ID, ID_RIGHT, manifest_name
from innkeeper.plugins.module import Module, check_host, parse_plugin, read_plugin_bytes
from innkeeper.plugins.readings import FileReading, GrantReading, Held, Readings
from innkeeper.plugins.tables import problems_of, shown
from innkeeper.sandbox.limits import GIB

if TYPE_CHECKING:
    from innkeeper.plugins.native.trust import TrustFile

MAX_TOTAL = GIB
"""Bytes of all modules of one home: they are kept until each is compiled."""

PATIENCE = 3
"""Looks that a file may go on changing before it is read as it is."""

COARSE = 2.0
"""Seconds that the times of a file may be apart from the clock, or from each other and be shown as equal: the coarsest
file systems count in steps of two. What was touched this shortly before it was read is read once more afterwards."""


def read_home(
    home: Home, before: Readings | None = None, *, at_once: bool = True, in_service: Collection[str] = ()
) -> Readings:
    """Looks at a home and reads what changed. Blocks on files; call it in a thread.

    Args:
        home: whose places are looked at.
        before: what was known; without it, all is read.
        at_once: whether a file that changed is read though it may still be written to, and one that was not long
            quiet when it was read is read again.
        in_service: ids of plugins whose grants count though their file may not say so any more.
    """
    return _Look(home, before, at_once=at_once).look(in_service)


class _Look:
    def __init__(self, home: Home, before: Readings | None, *, at_once: bool) -> None:
        self._home = home
        self._before = before
        self._at_once = at_once or before is None
        self._now = time.monotonic()
        self._clock = time.time_ns()
        self._waiting: dict[object, int] = {}
        self._excess: list[str] = []

    def look(self, in_service: Collection[str]) -> Readings:
        listing = list_home(self._home)
        files = self._files(listing)
        ids = {reading.held.plugin_id for reading in files.values()}.union(in_service)
        unsettled = {files[key].held.plugin_id for key in self._waiting if isinstance(key, str) and key in files}
        grants = [
            self._grants(number, place, listing.grants[number], ids, unsettled)
            for number, place in enumerate(self._home.places)
        ]
        trust = self._trust(listing.trust, {each.held.plugin_id for each in files.values() if each.held.native})
        return Readings(listing, files, grants, self._waiting, tuple(self._excess), trust)

    # --- files ------------------------------------------------------------------------------------------------------

    def _files(self, listing: Listing) -> dict[str, FileReading]:
        files: dict[str, FileReading] = {}
        total = 0
        full: set[bool] = set()
        for label, file in listing.files.items():
            if file.shipped in full:
                continue
            if total + size_of(file) > MAX_TOTAL:
                # Nothing after it in its place is read either: which ones are, must not depend on their sizes.
                self._excess.append(label)
                full.add(file.shipped)
                continue
            reading = self._file(file)
            if reading is not None:
                total += reading.held.size
                files[label] = reading
        if self._before is not None and not self._at_once:
            # Whoever replaces a file by removing it first shall not make its plugin fail for a moment.
            refused = {label for label, _ in listing.refused}
            for label, reading in self._before.files.items():
                if label in self._before.listing.files and label not in listing.files and label not in refused:
                    files[label] = reading
                    self._waiting[label] = 1
        return files

    def _file(self, file: WasmFile) -> FileReading | None:
        known = None if self._before is None else self._before.files.get(file.label)
        if known is not None and known.file.signature == file.signature and known.file.path == file.path:
            if not self._doubted(known.doubt):
                return known
        else:
            last = None if self._before is None else self._before.listing.files.get(file.label)
            if not self._due(file.label, settled=last is not None and last.signature == file.signature):
                return known
        held = self._read(file, None if known is None else known.held)
        again = known is not None and known.file.signature == file.signature
        return FileReading(file, held, self._doubt(file.signature, again=again))

    def _read(self, file: WasmFile, known: Held | None) -> Held:
        if file.folder:
            return self._read_folder(file, known)
        label, stem = file.label, Path(file.path).stem
        size_limit = self._home.configuration.bounds.module_size
        content = ""
        try:
            found = read_plugin_bytes(file.path, label=label, size_limit=size_limit, follow=False)
            content = found.content
            if known is not None and known.content == content:
                return known
            module = parse_plugin(found, label=label, size_limit=size_limit)
            plugin_id = _identify(module, label, stem)
        except InnkeeperError as error:
            content = content or error.message
            if known is not None and known.content == content:
                return known
            # What is said of the manifest beside it names that file.
            starts = (f"{label}:", f"{manifest_name(label)}:")
            problems = tuple(text if text.startswith(starts) else f"{label}: {text}" for text in problems_of(error))
            return Held(content, None, None, problems, tuple(dict.fromkeys((error.plugin or stem, stem))))
        return Held(content, plugin_id, module, (), (plugin_id, stem))

    def _read_folder(self, file: WasmFile, known: Held | None) -> Held:
        configuration, name = self._home.configuration, Path(file.path).name
        try:
            from innkeeper.plugins.plugin_folder import read_plugin_folder

            size_limit, native = configuration.bounds.module_size, configuration.native_plugins
            found = read_plugin_folder(file, size_limit=size_limit, native=native)
            if known is not None and known.content == found.content and not known.problems:
                return known
            if found.module is not None:
                plugin_id = _identify(found.module, found.label, name)
            else:
                assert found.native is not None
                plugin_id = found.native.manifest.id
                check_host(found.native.manifest, file.label)
        except InnkeeperError as error:
            content = "\n".join(problems_of(error))
            if known is not None and known.content == content:
                return known
            problems = tuple(
                text if text.startswith((f"{file.label}:", f"{file.label}/")) else f"{file.label}: {text}"
                for text in problems_of(error)
            )
            # The version before may stay in service, under an id and an entry that only it knows.
            names, label = ((), None) if known is None else (known.names, known.label)
            return Held(
                content, None, None, problems, tuple(dict.fromkeys((error.plugin or name, name, *names))), label
            )
        names = (plugin_id, name)
        return Held(found.content, plugin_id, found.module, (), names, found.label, found.path, found.native)

    # --- trust ------------------------------------------------------------------------------------------------------

    def _trust(self, listed: dict[str, Signature], ids: Collection[str | None]) -> dict[str, TrustFile]:
        """The records of native plugins. Whatever a record says by now counts at once: a trust that was taken away, or
        that cannot be read, is none."""
        found: dict[str, TrustFile] = {}
        for name, signature in listed.items():
            if name not in ids:
                continue
            known = None if self._before is None else self._before.trust.get(name)
            if known is not None and known.signature == signature and self._doubt(signature, again=False) is None:
                found[name] = known
                continue
            from innkeeper.plugins.native.trust import read_trust

            held = read_trust(self._home.path, name, signature)
            if held is not None:
                found[name] = held
        return found

    # --- grants -----------------------------------------------------------------------------------------------------

    def _grants(
        self,
        number: int,
        place: Place,
        listed: dict[str, Signature],
        ids: Collection[str | None],
        unsettled: Collection[str | None],
    ) -> dict[str, GrantReading]:
        before = {} if self._before is None else self._before.grants[number]
        last = {} if self._before is None else self._before.listing.grants[number]
        found: dict[str, GrantReading] = {}
        for name, signature in listed.items():
            if name not in ids:
                continue
            known = before.get(name)
            if known is not None and known.signature == signature:
                if not self._doubted(known.doubt):
                    found[name] = known
                    continue
            elif not self._due((number, name), settled=last.get(name) == signature and name not in unsettled):
                # A grant that comes with another file waits for it: each without the other would fit nothing.
                if known is not None:
                    found[name] = known
                continue
            held = read_grant(place, name)
            if held is not None and known is not None and held == known.held:
                held = known.held
            again = known is not None and known.signature == signature
            found[name] = GrantReading(signature, held, self._doubt(signature, again=again))
        return found

    # --- when to read -----------------------------------------------------------------------------------------------

    def _due(self, key: object, *, settled: bool) -> bool:
        """Whether a file that changed is read now: once two looks saw the same, or when it has been waiting long."""
        if self._at_once or self._before is None or settled:
            return True
        looks = self._before.waiting.get(key, 0)
        if looks >= PATIENCE:
            return True
        self._waiting[key] = looks + 1
        return False

    def _doubted(self, doubt: float | None) -> bool:
        return doubt is not None and (self._at_once or self._now >= doubt)

    def _doubt(self, signature: Signature, *, again: bool) -> float | None:
        """When a file is to be read once more. A clock may be wrong, so one doubt is all that there is, unless somebody
        asked for it."""
        quiet = (self._clock - newest(signature)) / 1e9 > COARSE
        if quiet or (again and not self._at_once):
            return None
        return self._now + COARSE


def _identify(module: Module, label: str, stem: str) -> str:
    """The id of a plugin.

    Raises:
        RejectedError: it has none, or needs what is not available.
    """
    try:
        check_host(module.manifest, label)
    except RejectedError as error:
        error.plugin = None if module.manifest is None else module.manifest.id
        raise
    plugin_id = stem if module.manifest is None else module.manifest.id
    if ID.fullmatch(plugin_id) is None:
        raise RejectedError(
            f"{label}: {shown(plugin_id)} is not an id: rename the file to {ID_RIGHT}, or give it a manifest"
        )
    return plugin_id
