"""Who else could read or change what lies on the disk: the home, the grants, plugins, state, cache and secrets."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from innkeeper.bridge.bridge import FILE as DATABASE
from innkeeper.bridge.host import STATE
from innkeeper.bridge.secret_store import file_problem
from innkeeper.cli.security.finding import Finding, State, fine, or_fine
from innkeeper.plugins.accepted_homes import read_accepted
from innkeeper.plugins.configuration import FILE_NAME, Configuration
from innkeeper.plugins.home import Home
from innkeeper.plugins.listing import MAX_ENTRIES, unused_decisions
from innkeeper.sandbox.compilation.place import FILE, cache_folder
from innkeeper.storage.folder import UnsafeError, check_above

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SHARED = stat.S_IWOTH | stat.S_ISVTX
_MOST_NAMED = 5
"""Files of one folder that are named: who sees five knows where to look."""


def check_places(home: Home) -> list[Finding]:
    """What is wrong with files and folders (list of Finding). Blocks on the disk."""
    return [
        *_home(home),
        *_accepted(home),
        *_files(home),
        *_state(home.path / STATE),
        *_cache(home.configuration),
        *_secrets(home),
        *_roots(home),
    ]


def _home(home: Home) -> list[Finding]:
    path = home.path
    if not path.is_dir():
        return [fine("home", f"{path} does not exist yet")]
    found = [*_above("home", path), *_who("home", path, path.stat(), strangers="warn")]
    shared = [each for each in Path(os.path.realpath(path)).parents if each.stat().st_mode & _SHARED == _SHARED]
    if shared:
        found.append(
            Finding(
                "home",
                "warn",
                f"{path} lies below {shared[0]}, where everybody may make files and the system may remove them",
                "move it to a folder of your own",
            )
        )
    return or_fine("home", found, f"{path} is yours")


def _accepted(home: Home) -> list[Finding]:
    """The list of accepted homes, and folders on it that others could fill."""
    accepted = read_accepted()
    found, gone = list[Finding](), list[Finding]()
    if accepted.problem:
        advice = "look at what is in it, then make it yours alone; until then no working directory is believed"
        found.append(Finding("home.accepted", "bad", accepted.problem, advice))
    for folder in accepted.homes:
        path = Path(folder)
        if len(found) >= _MOST_NAMED:
            break
        try:
            status = path.stat()
        except OSError:
            said = f"{folder} is accepted as a home, and is not there"
            advice = f"innkeeper home forget {shlex.quote(folder)}"
            gone.append(Finding("home.accepted", "info", said, advice))
            continue
        found += [*_above("home.accepted", path), *_who("home.accepted", path, status)]
    found += gone[:_MOST_NAMED]
    for said in unused_decisions(home):
        found.append(Finding("home.accepted", "info", *said.rsplit(": ", 1)))
    count = len(accepted.homes)
    well = f"{count:,} accepted, which only you can write to" if count else "no folder is accepted"
    return or_fine("home.accepted", found, well)


def _files(home: Home) -> list[Finding]:
    """Grants, records of trust and settings; then plugins, which a grant binds by their bytes."""
    decisions = [
        *_tree("grants.files", home.path / "manifests", "bad", home),
        *(_entry("grants.files", home.path / FILE_NAME, "bad", home)),
    ]
    # By this policy whoever can exchange a file has its grant as well.
    carried = home.configuration.policy.new_bytes == "same" or home.configuration.native_plugins
    plugins = _tree("plugins.files", home.path / "plugins", "bad" if carried else "warn", home)
    return [
        *or_fine("grants.files", decisions, "manifests/ and innkeeper.toml can be written by nobody else"),
        *or_fine("plugins.files", plugins, "plugins/ can be written by nobody else"),
    ]


def _tree(check: str, root: Path, state: State, home: Home) -> list[Finding]:
    found: list[Finding] = []
    if root.is_symlink():
        found += _above(check, root)
        root = Path(os.path.realpath(root))
    for count, path in enumerate(_walk(root)):
        found += _entry(check, path, state, home)
        if len(found) >= _MOST_NAMED or count >= MAX_ENTRIES:
            break
    return found


def _walk(root: Path) -> Iterator[Path]:
    """A folder and what is below. Links are looked at and not followed."""
    pending = [root]
    while pending:
        folder = pending.pop()
        yield folder
        try:
            if folder.is_symlink() or not folder.is_dir():
                continue
            with os.scandir(folder) as items:
                pending += [Path(item.path) for _, item in zip(range(MAX_ENTRIES), items, strict=False)]
        except OSError:
            continue


def _entry(check: str, path: Path, state: State, home: Home) -> list[Finding]:
    try:
        status = os.stat(path)
        owner = os.stat(home.path).st_uid
    except OSError:
        return []
    # A grant may be a link: what it leads to is what is read, so nobody may put another file there either.
    led = _above(check, path) if path.is_symlink() else []
    return [*led, *_who(check, path, status, state=state, strangers=state, owners=(owner,))]


def _who(
    check: str,
    path: Path,
    status: os.stat_result,
    *,
    state: State = "bad",
    strangers: State = "bad",
    owners: tuple[int, ...] = (),
) -> list[Finding]:
    if status.st_uid not in (0, os.getuid(), *owners):
        said = f"{path} belongs to another user ({status.st_uid})"
        return [Finding(check, strangers, said, "make it anew, or run the host as that user")]
    if status.st_mode & _OTHERS_WRITE:
        advice = "look at what is in it, then chmod go-w it"
        return [Finding(check, state, f"others may write to {path} (mode {stat.S_IMODE(status.st_mode):o})", advice)]
    return []


def _above(check: str, path: Path) -> list[Finding]:
    try:
        check_above(path)
    except UnsafeError as error:
        return [Finding(check, "bad", error.reason.partition(";")[0], "chmod go-w it, or choose another folder")]
    except OSError as error:
        return [Finding(check, "warn", f"the folders above {path} cannot be looked at: {error.strerror}")]
    return []


def _private(check: str, path: Path) -> list[Finding]:
    """Of a file or folder that the host keeps for itself."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return [Finding(check, "bad", f"{path} is a link, which the host does not follow", "name what it leads to")]
    if status.st_uid != os.getuid():
        said = f"{path} belongs to another user ({status.st_uid})"
        return [Finding(check, "bad", said, "run the host as that user, or choose another folder")]
    found = _who(check, path, status)
    if found or not status.st_mode & _OTHERS:
        return found
    said = f"others may read {path} (mode {stat.S_IMODE(status.st_mode):o})"
    return [Finding(check, "warn", said, "chmod go-rwx it; the host does when it opens it")]


def _state(folder: Path) -> list[Finding]:
    if not os.path.lexists(folder):
        return [fine("state", f"{folder} does not exist yet")]
    found = [*_above("state", folder), *_private("state", folder)]
    for name in (DATABASE, *(f"{DATABASE}-{part}" for part in ("wal", "shm", "journal"))):
        path = folder / name
        try:
            found += _private("state", path)
            if os.lstat(path).st_nlink > 1:
                said = f"{path} has another name elsewhere (a hard link)"
                found.append(Finding("state", "bad", said, "copy it, and use the copy"))
        except FileNotFoundError:
            continue
        except OSError as error:
            found.append(Finding("state", "warn", f"{path} cannot be looked at: {error.strerror}"))
    return or_fine("state", found, f"{folder} and the database in it are closed to others")


def _cache(configuration: Configuration) -> list[Finding]:
    folder, origin = cache_folder(configuration.cache, configuration.origins.get("cache", FILE))
    if folder is None:
        return [fine("cache", f"off ({origin}): each process compiles for itself")]
    if not os.path.lexists(folder):
        return [fine("cache", f"{folder} does not exist yet")]
    found = [*_above("cache", folder), *_private("cache", folder)]
    return or_fine("cache", found, f"{folder} is closed to others")


def _secrets(home: Home) -> list[Finding]:
    file = home.configuration.secrets.file
    if file is None:
        return [fine("secrets.file", "no file of secrets is configured")]
    problem = file_problem(file)
    if not problem:
        return [fine("secrets.file", f"{file} is closed to others")]
    missing = not os.path.lexists(file)
    advice = "make it, with mode 600" if missing else "mend it; what others may have read is a secret no more"
    return [Finding("secrets.file", "warn" if missing else "bad", problem, advice)]


def _roots(home: Home) -> list[Finding]:
    roots = home.configuration.files.roots
    if not roots:
        return [fine("files.roots", "no folder is open to plugins")]
    own = os.path.realpath(os.path.expanduser("~"))
    found: list[Finding] = []
    for name, folder in roots.items():
        try:
            home.folders.root(name, "")
        except ValueError as error:
            what, _, advice = str(error).partition(": ")
            state: State = "bad" if os.path.isdir(folder) else "warn"
            found.append(Finding("files.roots", state, what, advice))
            continue
        real = os.path.realpath(folder)
        status = os.stat(real)
        if status.st_mode & stat.S_IWOTH:
            said = f"everybody may write to {folder}, the folder of {name}://"
            found.append(Finding("files.roots", "warn", said, "choose a folder of your own"))
        if os.path.commonpath((own, real)) == real:
            said = f"{name}:// is {folder}, in which your own folder lies with its keys and settings"
            found.append(Finding("files.roots", "warn", said, "choose a folder that holds nothing else"))
    return or_fine(
        "files.roots", found, f"{', '.join(f'{name}://' for name in roots)}: nothing of the host's is in there"
    )
