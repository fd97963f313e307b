"""The home folder: where plugins, grants and the host's configuration lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from innkeeper.errors import UsageError
from innkeeper.plugins.configuration import FILE_NAME, Configuration, read_configuration
from innkeeper.plugins.files import read_optional
from innkeeper.plugins.folders import Folders, open_folders
from innkeeper.plugins.tables import MAX_BYTES

VARIABLE = "INNKEEPER_HOME"

WORKING: Final = "the working directory"
"""Who chose a home that nobody named: a folder in which somebody else may have put whatever they liked."""

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
        believed: whether the grants there count; without, there is none. Those that came with Innkeeper count only
            where its checkout is the home.
    """

    plugins: Path
    manifests: Path
    shipped: bool
    believed: bool = True


@dataclass(frozen=True, slots=True)
class Home:
    """A home folder.

    Attributes:
        path: the folder; that of the platform may not exist yet.
        origin: who chose it: "--home", "INNKEEPER_HOME", "the working directory", "the platform's data folder".
        configuration: what its innkeeper.toml, variables and options say; all else is built in.
        places: where plugins and grants are looked for, the operator's own first.
        folders: what plugins may be granted of the operator's files.
        doubt: why its settings, grants and records of trust count for nothing, as a sentence without its full stop that
            says what to do; "" where they count. It is decided once, as the home is opened.
    """

    path: Path
    origin: str
    configuration: Configuration
    places: tuple[Place, ...]
    folders: Folders = field(default_factory=Folders, compare=False)
    doubt: str = ""

    @property
    def believed(self) -> bool:
        """Whether what stands in it is its operator's word (bool): they named it, or accepted it, or it is the
        platform's."""
        return not self.doubt

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
    doubt = doubt_of(path, origin)
    data = None if doubt else read_optional(path / FILE_NAME, most=MAX_BYTES, label=FILE_NAME)
    configuration = read_configuration(data, environment=os.environ, options=OPTIONS.get())
    if doubt:
        # Results that somebody else kept there would pass for those of the plugins that they name.
        origins = {**configuration.origins, "memo.disk": "not an accepted home"}
        configuration = replace(configuration, memo=replace(configuration.memo, disk=0), origins=origins)
    own = Place(path / "plugins", path / "manifests", shipped=False, believed=not doubt)
    shipped = shipped_place()
    # Grants that came along are for the home that the checkout itself is, and for what its demo asks. In a home of a
    # user what plugins get is the user's to say, and nobody else's.
    theirs = replace(shipped, believed=False)
    places = (shipped,) if _same(own.plugins, shipped.plugins) else (own, theirs)
    # In a checkout those that come with Innkeeper lie beside its code, not in it.
    kept = [folder for place in places for folder in (place.plugins, place.manifests)]
    return Home(path, origin, configuration, places, open_folders(path, configuration, _PACKAGE, kept), doubt)


def check_home(chosen: str | os.PathLike[str] | None, path: Path) -> Home:
    """As `open_home`, for whoever looks at the configuration and uses nothing of it: that of a folder whose owner was
    not accepted is read, too.

    Args:
        chosen: as of `open_home`.
        path: what `find_home` found.

    Raises:
        UsageError: as `open_home`.
    """
    data = read_optional(path / FILE_NAME, most=MAX_BYTES, label=FILE_NAME)
    read_configuration(data, environment=os.environ, options=OPTIONS.get())
    return open_home(chosen)


def doubt_of(path: Path, origin: str) -> str:
    """`Home.doubt` of a home that `find_home` found (str). Blocks on the disk; reads nothing in the home."""
    if origin != WORKING:
        return ""
    # Whoever filled the checkout that this code runs from wrote the code as well. The folder itself has to be it: a
    # link to what is in there is anybody's.
    if _same(path, shipped_place().plugins.parent) or _same(path, _of_platform()):
        return ""
    from innkeeper.plugins.accepted_homes import read_accepted

    why = read_accepted().why_not(path)
    return why and f"the grants and settings of this folder are not used, since {why}"


def refuse_doubted(path: Path, doubt: str) -> None:
    """Refuses to write decisions where they would count for nothing.

    Args:
        path: the home folder.
        doubt: `Home.doubt`.

    Raises:
        UsageError: the home is not believed.
    """
    if doubt:
        raise UsageError(f"{path}: nothing was written: {doubt}")


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
        return working, WORKING
    return _of_platform(), "the platform's data folder"


def _of_platform() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("innkeeper", appauthor=False))


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
