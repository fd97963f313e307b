"""The working directories that the user accepted as homes: one file of the user's own, that lies in none of them.

One absolute real path a line; lines that begin with "#" say nothing. The file counts only if nobody but the user, or
root, can have written it, nobody else can put another in its place, and it lies outside of the folder that is asked
for: a folder never vouches for itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from innkeeper.errors import UsageError
from innkeeper.plugins.files import replace_file
from innkeeper.printable import UNSAFE

VARIABLE: Final = "INNKEEPER_HOMES"

MAX_BYTES: Final = 64 << 10
"""Bytes of the list: hundreds of folders."""

_NAME: Final = "homes"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The list as it was read.

    Attributes:
        file: where it lies, or would.
        homes: real paths; none where the list is not used.
        problem: why it is not used, as a sentence without its full stop; "" where it is, or is not there.
    """

    file: Path
    homes: tuple[str, ...] = ()
    problem: str = ""

    def why_not(self, folder: Path) -> str:
        """Why a folder is no accepted home, and what to do (str): the end of a sentence about it; "" if it is one.
        Blocks on the disk.

        Args:
            folder: an absolute path.
        """
        real = os.path.realpath(folder)
        if self.problem:
            return f"you have not accepted it as a home ({self.problem}): mend that list, or name it with --home"
        if real not in self.homes:
            return "you have not accepted it as a home: `innkeeper home accept`, or name it with --home"
        unfit = _unfit(real, self.file)
        return unfit and f"{unfit}: name it with --home"


def read_accepted() -> Accepted:
    """The list of the user. Blocks on the file; raises nothing for what is wrong with it."""
    file = _file()
    try:
        return Accepted(file, tuple(_homes(_read(file))))
    except _NotUsedError as error:
        return Accepted(file, (), f"the list of accepted homes, {file}, is not used: {error}")


def accept_home(folder: Path) -> bool:
    """Adds a folder to the list, unless it is there (bool: whether it was added). Blocks.

    Raises:
        UsageError: it can be no accepted home, or the list cannot be read or written.
    """
    real = os.path.realpath(folder)
    if not os.path.isdir(real):
        raise UsageError(f"{os.fspath(folder)!r} is not a folder")
    if any(ord(letter) in UNSAFE for letter in real):
        raise UsageError(f"{real!r} has characters in its name that cannot be shown; name it with --home")
    with _changing() as (file, homes):
        if why := _unfit(real, file):
            raise UsageError(f"{real} cannot be accepted, since {why}")
        if real in homes:
            return False
        _write(file, [*homes, real])
    return True


def forget_home(folder: Path) -> bool:
    """Takes a folder off the list (bool: whether it was there); it need not exist any more. Blocks.

    Raises:
        UsageError: the list cannot be read or written.
    """
    names = {os.path.realpath(folder), os.path.abspath(folder)}
    with _changing() as (file, homes):
        left = [home for home in homes if home not in names]
        if left != homes:
            _write(file, left)
        return left != homes


class _NotUsedError(Exception):
    """Why the list is not used."""


def _file() -> Path:
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_config_dir("innkeeper", appauthor=False)) / _NAME


def _unfit(real: str, file: Path) -> str:
    """What keeps a folder from being an accepted home, as the end of a sentence; "" if nothing does."""
    from innkeeper.storage.folder import UnsafeError, check_above

    # Whoever can fill the folder, or put another in its place, is not the one who was meant.
    try:
        if os.stat(real).st_uid not in (0, os.getuid()):
            return "it belongs to another user"
        for part in (real, os.path.join(real, "plugins"), os.path.join(real, "manifests")):
            if os.path.exists(part) and os.stat(part).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return f"others may write to {part} (`chmod go-w` mends that)"
        check_above(Path(real))
    except UnsafeError as error:
        return error.reason
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}"
    if (os.path.realpath(file) + os.sep).startswith(real.rstrip(os.sep) + os.sep):
        return f"the list of accepted homes, {file}, lies in it"
    return ""


def _read(file: Path) -> bytes:
    """What the list says.

    Raises:
        _NotUsedError: somebody else could have written it, or it is no list.
    """
    from innkeeper.storage.folder import UnsafeError, check_above

    if not file.is_absolute():
        raise _NotUsedError(f"it must be an absolute path ({VARIABLE})")
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    except (OSError, ValueError) as error:
        code, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or "not a file name"
        raise _NotUsedError("it is a link" if code == errno.ELOOP else f"it cannot be read: {reason}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _NotUsedError("it is not a regular file")
        if status.st_uid not in (0, os.getuid()):
            raise _NotUsedError("it belongs to another user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _NotUsedError("others may write to it (`chmod go-w` mends that, once you know what it says)")
        check_above(file)
        with open(descriptor, "rb", closefd=False) as opened:
            data = opened.read(MAX_BYTES + 1)
    except UnsafeError as error:
        raise _NotUsedError(error.reason) from None
    except OSError as error:
        raise _NotUsedError(f"it cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise _NotUsedError(f"it has more than {MAX_BYTES:,} bytes")
    return data


def _homes(data: bytes) -> list[str]:
    # What is no absolute real path equals none, so it accepts nothing.
    lines = (os.fsdecode(line) for line in data.split(b"\n"))
    return [line for line in lines if line and not line.startswith("#")]


@contextmanager
def _changing() -> Iterator[tuple[Path, list[str]]]:
    """The list, while nobody else changes it: of two that do, neither undoes what the other did."""
    from innkeeper.storage.folder import make_folders

    file = _file()
    try:
        if file.is_absolute():
            make_folders(file.parent)
        descriptor = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise UsageError(f"the list of accepted homes, {file}, cannot be changed: {reason}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            homes = _homes(_read(file))
        except _NotUsedError as error:
            raise UsageError(f"the list of accepted homes, {file}, is not used, nor changed: {error}") from None
        yield file, homes
    finally:
        os.close(descriptor)


def _write(file: Path, homes: list[str]) -> None:
    data = b"".join(os.fsencode(home) + b"\n" for home in ("# Written by `innkeeper home`.", *homes))
    if len(data) > MAX_BYTES:
        raise UsageError(f"{file}: not written: a list has at most {MAX_BYTES:,} bytes; `innkeeper home forget` some")
    try:
        # A name that begins with a dot is no list.
        replace_file(file, data, prefix=".homes-")
        found = _homes(_read(file))
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from None
    except _NotUsedError as error:
        raise UsageError(f"{file}: written, and it would not be used: {error}") from None
    if found != homes:
        raise UsageError(f"{file}: written, and somebody else wrote it again")
