"""The operator's folders behind `user://` and `shared://`, as they were when the host opened.

`user://` is the folder of whoever the host works for. A host has one user today, so it is one folder; for several,
`Folders.root` is the one place that has to ask whose call it is, and rights travel with the call already.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from innkeeper.plugins.settings import FilesSettings

if TYPE_CHECKING:
    from innkeeper.plugins.configuration import Configuration
    from innkeeper.sandbox.wasi.rights import Preopen
    from innkeeper.sandbox.wasi.tree_quota import TreeQuota

INSIDE = "files"
"""The one folder of a home in which a granted folder may lie: all else there decides what plugins may do, or is what
others of them keep."""


class Folders:
    """Where logical names lead. Made by `open_folders`; without arguments, a host without any.

    Attributes:
        settings: what the operator decided.
    """

    def __init__(
        self,
        settings: FilesSettings | None = None,
        roots: Mapping[str, Path] | None = None,
        refused: Mapping[str, str] | None = None,
        kept: tuple[Path, ...] = (),
        home: Path | None = None,
    ) -> None:
        """Args:
        settings: what the operator decided.
        roots: name to folder, without a link in its path.
        refused: name to why it has none.
        kept: files and folders of the host's own, without links.
        home: the home folder, without a link.
        """
        self.settings = settings or FilesSettings()
        self._roots = dict(roots or {})
        self._refused = dict(refused or {})
        self._kept = tuple(map(_folded, kept))
        self._home = home
        self._folded_home = "" if home is None else _folded(home)
        # A folder is measured once for all plugins that were granted it, as long as one is.
        self._trees: WeakValueDictionary[tuple[str, str], TreeQuota] = WeakValueDictionary()

    def root(self, name: str, beneath: str) -> Path:
        """The folder of a logical root, for what lies below it. Looks at no disk.

        Args:
            name: "user" or "shared".
            beneath: path from there on, "" for all of it.

        Raises:
            ValueError: it is given to no plugin; a sentence says why and what to do.
        """
        if name in self._refused:
            raise ValueError(self._refused[name])
        if name not in self._roots:
            raise ValueError(f"{name}:// has no folder: set {_key(name)} in innkeeper.toml to an absolute path")
        folder = self._roots[name] / beneath
        if self._is_kept(folder):
            raise ValueError(
                f"{name}://{beneath} holds files of the host's own or of the system, which no plugin gets: set "
                f"{_key(name)} in innkeeper.toml to another folder; of the home only what lies in {INSIDE}/ is given"
            )
        return self._roots[name]

    def bounded(self, name: str, preopen: Preopen) -> Preopen:
        """The same with the bound on all that the folder holds."""
        key = name, preopen.beneath
        tree = self._trees.get(key)
        if tree is None:
            from innkeeper.sandbox.wasi.tree_quota import TreeQuota

            most = self.settings.folder_bytes, self.settings.folder_entries
            where = f"{name}://{preopen.beneath}"
            tree = TreeQuota(preopen.opened, most, when_full=lambda: _say_full(where, most))
            self._trees[key] = tree
        return replace(preopen, tree=tree)

    def _is_kept(self, folder: Path) -> bool:
        place = _folded(folder)
        if self._home is not None and _overlap(place, self._folded_home):
            given = self._home / INSIDE
            if given != folder and given not in folder.parents:
                return True
        return any(_overlap(place, kept) for kept in self._kept)


def open_folders(home: Path, configuration: Configuration, package: Path, places: Iterable[Path] = ()) -> Folders:
    """Finds the folders that innkeeper.toml names. Links in their own paths are followed here, once. Blocks.

    Args:
        home: the home folder.
        configuration: what innkeeper.toml says.
        package: folder of Innkeeper's own code.
        places: further folders of plugins and of grants.
    """
    settings = configuration.files
    if not settings.roots:
        return Folders(settings)
    roots: dict[str, Path] = {}
    refused: dict[str, str] = {}
    for name, given in settings.roots.items():
        if not os.path.isabs(given):
            refused[name] = f"{_key(name)} in innkeeper.toml is {given!r}: it must be an absolute path"
        elif not os.path.isdir(given):
            refused[name] = (
                f"{_key(name)} in innkeeper.toml is {given!r}, which is no folder: make it, and start the host again"
            )
        else:
            roots[name] = Path(os.path.realpath(given))
    for name, folder in list(roots.items()):
        for other, beside in list(roots.items()):
            if name < other and _overlap(_folded(folder), _folded(beside)):
                for one in (name, other):
                    refused[one] = (
                        f"{_key(name)} and {_key(other)} in innkeeper.toml lie inside of each other: each must be a "
                        "folder of its own"
                    )
    return Folders(
        settings,
        {name: folder for name, folder in roots.items() if name not in refused},
        refused,
        tuple(Path(os.path.realpath(each)) for each in (*places, *_kept(home, configuration, package))),
        Path(os.path.realpath(home)),
    )


def _kept(home: Path, configuration: Configuration, package: Path) -> Iterator[str | Path]:
    from innkeeper.sandbox.compilation.place import FILE, cache_folder

    yield package
    # A process has files there that say what is in its memory and in its environment.
    yield from ("/proc", "/sys")
    # Any of them may be a link out of the home.
    for name in ("plugins", "manifests", "state", "innkeeper.toml"):
        yield home / name
    # Who can write there decides which machine code runs.
    cache, _ = cache_folder(configuration.cache, configuration.origins.get("cache", FILE))
    if cache is not None:
        yield cache
    if configuration.secrets.file is not None:
        yield os.path.expanduser(configuration.secrets.file)


def _key(name: str) -> str:
    return f"files.roots.{name}"


def _overlap(one: str, other: str) -> bool:
    # Whether one is the other, or lies in it.
    return one.startswith(other) or other.startswith(one)


def _folded(path: Path) -> str:
    # The same for two paths that are one to a file system which does not tell letters of two cases apart, or two ways
    # to write an accent. Ends with a separator.
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())
    return text if text.endswith(os.sep) else text + os.sep


def _say_full(where: str, most: tuple[int, int]) -> None:
    from innkeeper.plugins.changes import logger

    logger.warning(
        "%s holds as much as a folder may (%d bytes, %d files and folders), so plugins add nothing to it: remove "
        "something, or raise files.folder_bytes or files.folder_entries in innkeeper.toml",
        where,
        *most,
    )
