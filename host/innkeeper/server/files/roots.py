"""Where the roots of logical paths lie in the home, and who may do what there.

All of them lie in `files/` of the home, which backups have: `files/users/UID`, `files/shared/NAME`,
`files/system/NAME`. No root leads to what decides what plugins may do, to the host's state, or to the program.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from innkeeper.server.files.logical import USER, LogicalPath
from innkeeper.server.files.problems import FileError

BIN: Final = ".recycle_bin"
"""The folder of a user's files for what was deleted."""

PROJECTS: Final = LogicalPath(USER, ("projects",))
SHARED_WORKFLOWS: Final = LogicalPath("shared://library", ("workflows",))

_STANDARD: Final = frozenset(("projects", "library", BIN))
_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def folder_of(path: LogicalPath, uid: str) -> str:
    """The folder below `files/` of the home in which the root of a path lies (str), for one user."""
    if path.root != USER:
        scheme, _, name = path.root.partition("://")
        return f"{scheme}/{name}"
    # Ids of users are made here; one that came from elsewhere still is one name, and nobody else's.
    own = uid if _UID.fullmatch(uid) else f"u_{hashlib.sha256(uid.encode()).hexdigest()[:48]}"
    return f"users/{own}"


def check_reading(path: LogicalPath, *, admin: bool) -> None:
    """Makes sure that somebody may look.

    Raises:
        FileError: "denied".
    """
    if path.root.startswith("system:") and not admin:
        raise FileError("denied", f"{path}: only an administrator may look there")


def check_writing(path: LogicalPath, *, admin: bool) -> None:
    """Makes sure that somebody may change what lies at a path.

    Raises:
        FileError: "denied".
    """
    if path.root != USER and not admin:
        raise FileError("denied", f"{path}: only an administrator may change what is everybody's")
    if path.root == USER and path.parts[:1] == (BIN,):
        raise FileError("denied", f"{path}: what was deleted is restored or deleted for good, nothing else")


def check_moving(path: LogicalPath, *, admin: bool) -> None:
    """Makes sure that somebody may give what lies at a path another name, or none: some things would be missed.

    Raises:
        FileError: "denied".
    """
    check_writing(path, admin=admin)
    why = _protected(path)
    if why:
        raise FileError("denied", f"{path}: {why}")


def is_protected(path: LogicalPath) -> bool:
    """Whether nobody may rename or delete it (bool)."""
    return bool(_protected(path))


def _protected(path: LogicalPath) -> str:
    parts = path.parts
    if not parts:
        return "it is where paths begin, and stays"
    if path.root == USER:
        if len(parts) == 1 and parts[0] in _STANDARD:
            return "this folder stays where it is"
        if len(parts) == 2 and parts[0] == "projects":
            return "a project is renamed and deleted as one: /api/projects/ID"
        if len(parts) == 3 and parts[0] == "projects" and parts[2] in ("project.json", "workflows"):
            return "without it the folder is no project"
    if path.root == "shared://library" and parts == ("workflows",):
        return "this folder stays where it is"
    return ""
