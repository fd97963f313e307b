"""The home folder: where plugins, grants and the host's configuration lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from innkeeper.errors import UsageError
from innkeeper.plugins.configuration import FILE_NAME, Configuration, read_configuration
from innkeeper.plugins.files import read_optional
from innkeeper.plugins.folders import Folders, open_folders
from innkeeper.plugins.tables import MAX_BYTES

VARIABLE = "INNKEEPER_HOME"

OPTIONS: Final[ContextVar[Mapping[str, str]]] = ContextVar("innkeeper_options", default=MappingProxyType({}))
"""Settings that go before the home's file and the variables, text by key, for every home that is opened in this
context: what a command was given with `--set`."""

STATE: Final = "state"
"""The folder of a home in which the host keeps what plugins store, and what it knows of them."""

_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Place:
    """A pair of folders that hold plugins and their grants.

    Attributes:
        plugins: folder of .wasm files; may be missing.
        manifests: folder of grants; may be missing.
        shipped: whether they came with Innkeeper; only these may use the namespace `core`.
    """

    plugins: Path
    manifests: Path
    shipped: bool


@dataclass(frozen=True, slots=True)
class Home:
    """A home folder.

    Attributes:
        path: the folder; that of the platform may not exist yet.
        origin: who chose it: "--home", "INNKEEPER_HOME", "the working directory", "the platform's data folder".
        configuration: what its innkeeper.toml, variables and options say; all else is built in.
        places: where plugins and grants are looked for, the operator's own first.
        folders: what plugins may be granted of the operator's files.
    """

    path: Path
    origin: str
    configuration: Configuration
    places: tuple[Place, ...]
    folders: Folders = field(default_factory=Folders, compare=False)

    @property
    def state(self) -> Path:
        """The folder in which the host keeps what it keeps (Path); made when there is something."""
        return self.path / STATE


def open_home(chosen: str | os.PathLike[str] | None = None) -> Home:
    """Finds the home folder and reads its configuration.

    Args:
        chosen: the folder; by default the variable INNKEEPER_HOME, else the working directory if it has a folder
            `plugins`, else the platform's data folder.

    Raises:
        UsageError: the chosen folder is not one, or a setting is wrong: in its innkeeper.toml, a variable or `OPTIONS`.
    """
    path, origin = find_home(chosen)
    data = read_optional(path / FILE_NAME, most=MAX_BYTES, label=FILE_NAME)
    configuration = read_configuration(data, environment=os.environ, options=OPTIONS.get())
    own = Place(path / "plugins", path / "manifests", shipped=False)
    shipped = shipped_place()
    places = (shipped,) if _same(own.plugins, shipped.plugins) else (own, shipped)
    # In a checkout those that come with Innkeeper lie beside its code, not in it.
    kept = [folder for place in places for folder in (place.plugins, place.manifests)]
    return Home(path, origin, configuration, places, open_folders(path, configuration, _PACKAGE, kept))


def shipped_place() -> Place:
    """The folders of the plugins that come with Innkeeper: inside of an installed package, or in its checkout."""
    root = _PACKAGE / "shipped"
    if not root.is_dir() and _PACKAGE.parent.name == "host":
        root = _PACKAGE.parent.parent
    return Place(root / "plugins", root / "manifests", shipped=True)


def find_home(chosen: str | os.PathLike[str] | None = None) -> tuple[Path, str]:
    """The home folder (Path) and who chose it (str), as `open_home` finds it; reads nothing in it.

    Raises:
        UsageError: the chosen folder is not one.
    """
    named = ((chosen, "--home"), (os.environ.get(VARIABLE) or None, VARIABLE))
    for folder, origin in named:
        if folder is not None:
            if not os.path.isdir(folder):
                raise UsageError(f"{origin}: {os.fspath(folder)!r} is not a folder")
            try:
                return Path(folder).absolute(), origin
            except OSError:
                raise UsageError(f"{origin}: the working directory is gone; give the whole path") from None
    working: Path | None
    try:
        working = Path.cwd()
    except OSError:
        # Removed meanwhile: it has no plugins.
        working = None
    if working is not None and os.path.isdir(working / "plugins"):
        return working, "the working directory"
    import platformdirs

    return Path(platformdirs.user_data_dir("innkeeper", appauthor=False)), "the platform's data folder"


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
