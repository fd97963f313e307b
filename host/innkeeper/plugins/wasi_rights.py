"""What a plugin's WASI shows of the world, by its rights: clocks, random numbers, and folders under names of their own.

A folder `user://notes` is `/user/notes` to the guest. Each folder that was granted is one of its preopened folders,
with the rights of all grants that hold it: where all of `user://` may be read and `user://notes` be written, the guest
has `/user` to read and `/user/notes` to read and write. Guests use the longest name that fits, as their libraries do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from innkeeper.plugins.capabilities import Capability
from innkeeper.plugins.folders import Folders
from innkeeper.plugins.rights import Rights
from innkeeper.plugins.scopes import FileScope, Scope
from innkeeper.sandbox.wasi.rights import Preopen, WasiRights

MOST_FOLDERS = 32
"""Folders of one plugin: half of the descriptors that a guest may have."""

READ, WRITE = "files.read", "files.write"


@dataclass(frozen=True, slots=True)
class GuestFolder:
    """A folder as a guest has it.

    Attributes:
        scope: which.
        readable: whether it may read there.
        writable: whether it may create, change and delete there.
    """

    scope: FileScope
    readable: bool
    writable: bool

    @property
    def name(self) -> str:
        """Where the guest finds it (str)."""
        return guest_name(self.scope)

    @property
    def beneath(self) -> str:
        """Its path from its root on (str)."""
        return "/".join(self.scope.parts)

    @property
    def access(self) -> str:
        """What it may do there, in words (str)."""
        return " and ".join(word for word, given in (("read", self.readable), ("write", self.writable)) if given)


def guest_name(scope: FileScope) -> str:
    """Where guests find the folder of a scope (str), such as "/user/notes"."""
    return "/" + "/".join((scope.root, *scope.parts))


def guest_folders(rights: Rights, there: Callable[[FileScope], bool] = lambda scope: True) -> list[GuestFolder]:
    """The folders that a plugin has, each once, a folder before those below it. One in which it may do no more than in
    the folder above is left out.

    Args:
        rights: of the plugin.
        there: whether the host has the folder of a scope.
    """
    read, write = _scopes(rights, READ), _scopes(rights, WRITE)
    readable, writable = tuple(read), tuple(write)
    found: list[GuestFolder] = []
    # The folders that hold the present one, each with its place: in the order of places a folder comes right before
    # all that is below it.
    above: list[tuple[str, GuestFolder]] = []
    for place, scope in sorted((read | write).items()):
        if not there(scope):
            continue
        folder = GuestFolder(scope, place.startswith(readable), place.startswith(writable))
        while above and not place.startswith(above[-1][0]):
            above.pop()
        if not above or (above[-1][1].readable, above[-1][1].writable) != (folder.readable, folder.writable):
            found.append(folder)
            above.append((place, folder))
    return found


def seen_as(capability: Capability) -> str | None:
    """Where a guest that has a capability finds what it is about (str); None where it is about no folder."""
    scope = capability.parsed
    return guest_name(scope) if isinstance(scope, FileScope) else None


def placed(rights: Rights, folders: Folders) -> list[tuple[GuestFolder, Path]]:
    """The folders that a plugin has, each with the root below which it lies; those that are not there are left out, and
    `problems` says why. Looks at no disk."""
    roots: dict[FileScope, Path] = {}

    def there(scope: FileScope) -> bool:
        try:
            roots[scope] = folders.root(scope.root, "/".join(scope.parts))
        except ValueError:
            return False
        return True

    return [(folder, roots[folder.scope]) for folder in guest_folders(rights, there)]


def wasi_rights(rights: Rights, folders: Folders) -> WasiRights | None:
    """What a plugin's WASI shows; None where that is nothing. Looks at no disk.

    Args:
        rights: of the plugin.
        folders: of the host.
    """
    settings = folders.settings
    preopens: list[Preopen] = []
    for folder, root in placed(rights, folders)[:MOST_FOLDERS]:
        preopen = Preopen(
            folder.name,
            root,
            writable=folder.writable,
            quota=settings.quota,
            beneath=folder.beneath,
            readable=folder.readable,
            entries=settings.entries,
        )
        preopens.append(folders.bounded(folder.scope.root, preopen) if folder.writable else preopen)
    found = WasiRights(bool(rights.scopes("clock")), bool(rights.scopes("random")), tuple(preopens))
    return None if found == WasiRights() else found


def problems(rights: Rights, folders: Folders) -> list[str]:
    """A sentence for each reason why folders that a plugin was granted are not there."""
    why: dict[str, list[str]] = {}
    for _, scope in sorted((_scopes(rights, READ) | _scopes(rights, WRITE)).items()):
        try:
            folders.root(scope.root, "/".join(scope.parts))
        except ValueError as error:
            why.setdefault(str(error), []).append(scope.text)
    said = [f"{', '.join(texts)}: granted, and not there: {reason}" for reason, texts in why.items()]
    there = placed(rights, folders)
    if len(there) > MOST_FOLDERS:
        said.append(f"a plugin has at most {MOST_FOLDERS} folders; {there[MOST_FOLDERS][0].scope.text} is not there")
    return said


def _scopes(rights: Rights, name: str) -> dict[str, FileScope]:
    # By a text with which the texts of all folders below begin, and no others.
    parsed: list[Scope] = [each.parsed for each in rights.capabilities if each.name == name]
    return {f"{guest_name(each)}/": each for each in parsed if isinstance(each, FileScope)}
