"""Walking a guest's path inside of a folder, without a way out and without following a link.

Every component is opened by its name alone, relative to the descriptor of the one before, and never if it is a link.
".." goes back to the descriptor from which the walk came; the host's own ".." is never asked for. So there is no
moment between a check and a use in which a folder swapped for a link could lead elsewhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.hostfile import BUDGET

MAX_PATH = 4096
"""Bytes of a path; Linux's own bound."""

_MAX_COMPONENTS = 64
"""A walk holds one descriptor a component, which counts among those of all guests: of a process that may have 1,024,
eight threads that move files could hold as many."""

_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPENED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path ends: a name in an open folder. What is there, if anything, is for the caller to find out.

    Attributes:
        parent: the folder's descriptor (int), open for the length of the walk's block.
        name: one component (bytes), never ".."; "." if the path ends at the folder itself.
        folder: whether the path says that it means a folder, by a slash at its end.
    """

    parent: int
    name: bytes
    folder: bool

    def status(self, *, follow: bool = False) -> os.stat_result:
        """What is there.

        Args:
            follow: the guest wants a link to be followed, which is refused.

        Raises:
            WasiError: LOOP, it is a link that would be followed; NOTDIR, the path says folder and it is none.
            OSError: as `os.stat`.
        """
        status = os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode) and (follow or self.folder):
            raise WasiError(Errno.LOOP)
        if self.folder and not stat.S_ISDIR(status.st_mode):
            raise WasiError(Errno.NOTDIR)
        return status


def check_path(path: bytes) -> bytes:
    """A path as the guest wrote it, once it is known to be one.

    Raises:
        WasiError: NOENT, it is empty; NOTCAPABLE, it is absolute or holds a NUL; ILSEQ, it is not UTF-8.
    """
    if not path:
        raise WasiError(Errno.NOENT)
    if path.startswith(b"/") or b"\0" in path:
        raise WasiError(Errno.NOTCAPABLE)
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        raise WasiError(Errno.ILSEQ) from None
    return path


@contextmanager
def walk(base: int, path: bytes) -> Iterator[Place]:
    """The place to which `path` (bytes, checked) leads from the folder `base` (a descriptor).

    Raises:
        WasiError: NOTCAPABLE, it leads out of `base`; LOOP, a folder on the way is a link; NAMETOOLONG, it has
            more than 64 components; NFILE, the guests of this process hold too many descriptors.
        OSError: a folder on the way is missing, is none, or may not be entered.
    """
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if len(parts) > _MAX_COMPONENTS:
        raise WasiError(Errno.NAMETOOLONG)
    ends_at_folder = not parts or path.endswith((b"/", b"/.")) or parts[-1] == b".."
    name = parts.pop() if parts and parts[-1] != b".." else b"."
    folders = [base]
    try:
        for part in parts:
            if part != b"..":
                folders.append(_enter(folders[-1], part))
            elif len(folders) > 1:
                _leave(folders.pop())
            else:
                raise WasiError(Errno.NOTCAPABLE)
        yield Place(folders[-1], name, ends_at_folder)
    finally:
        for folder in folders[1:]:
            _leave(folder)


def open_beneath(root: bytes, path: bytes, *, make: bool, mode: int = 0o777) -> int:
    """Opens a folder below a folder of the operator's, through no link below that one. Gives its descriptor.

    Args:
        root: path of the operator's folder, which may lead through links.
        path: from there; b"" is `root` itself.
        make: whether folders that are missing below `root` are made.
        mode: of those.

    Raises:
        WasiError: as `walk`.
        OSError: a folder is missing, or is none.
    """
    base = os.open(root, _OPENED)
    if not path:
        return base
    try:
        parts = path.split(b"/")
        for count in range(1, len(parts) + 1) if make else ():
            with walk(base, b"/".join(parts[:count])) as place, suppress(FileExistsError):
                os.mkdir(place.name, mode, dir_fd=place.parent)
        with walk(base, path) as place:
            place.status(follow=True)
            return os.open(place.name, _OPENED | os.O_NOFOLLOW, dir_fd=place.parent)
    finally:
        os.close(base)


def _enter(folder: int, name: bytes) -> int:
    BUDGET.take()
    try:
        return os.open(name, _STEP, dir_fd=folder)
    except BaseException as error:
        BUDGET.give_back()
        # Linux gives the same answer for a link; the standard's is another.
        if isinstance(error, NotADirectoryError) and _is_link(folder, name):
            raise WasiError(Errno.LOOP) from None
        raise


def _is_link(folder: int, name: bytes) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _leave(folder: int) -> None:
    try:
        os.close(folder)
    finally:
        BUDGET.give_back()
