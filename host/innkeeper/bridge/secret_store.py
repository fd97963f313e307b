"""Where the values of secrets come from: the host's environment, or a file that nobody else can read.

Whoever gets a value has it for one request. It is in no message, no representation and no error of this module.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from innkeeper.plugins.secret_use import NAME

logger = logging.getLogger("innkeeper.bridge")

VARIABLE: Final = "INNKEEPER_SECRET_"
"""What the variable of a secret begins with; its name follows as it is."""

MOST_VALUE: Final = 8192
"""Characters of a value: what servers take of a header."""

_MOST_FILE = 256 << 10
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class SecretError(Exception):
    """A secret that has no value. The text names the secret and nothing else; the host's log says why.

    Attributes:
        name: the secret's.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the secret {name!r} has no value that the host can use")
        self.name = name


class SecretStore:
    """Looks values up. The file is read again when it has changed."""

    def __init__(self, file: str | None, environment: Mapping[str, str] = os.environ) -> None:
        """Args:
        file: path of a TOML file of NAME = "value", or None. It must be a regular file of the host's user that
            nobody else can read or write, and no link, and nobody else may be able to put another in its place.
        environment: of the host; what it says goes before the file.
        """
        self._file = file
        # Not as an attribute of its own, which a dump of this object would show.
        self._variable: Callable[[str], str | None] = lambda name: environment.get(name)
        self._kept = _Kept()
        self._reading = trio.Lock()
        self._said: dict[str, str] = {}

    async def reveal(self, name: str) -> str:
        """The value of a secret.

        Args:
            name: a letter, then letters, digits and "_".

        Raises:
            SecretError: it has none.
        """
        value, why = await self._find(name)
        if value is None:
            # Guests ask as often as they like: said once for each reason.
            if self._said.get(name) != why and NAME.fullmatch(name) is not None:
                self._said[name] = why
                logger.warning("the secret %s has no value: %s", name, why)
            raise SecretError(name)
        self._said.pop(name, None)
        return value

    async def why_missing(self, name: str) -> str:
        """Why a secret has no value that the host can use (str), or "" where it has one. Logs nothing."""
        return (await self._find(name))[1]

    async def _find(self, name: str) -> tuple[str | None, str]:
        if NAME.fullmatch(name) is None:
            return None, "it is no name of a secret"
        value = self._variable(f"{VARIABLE}{name}")
        if value is None and self._file is not None:
            async with self._reading:
                self._kept = await trio.to_thread.run_sync(_read, self._file, self._kept)
            if self._kept.why:
                return None, self._kept.why
            value = self._kept.values.get(name)
        if not value:
            where = "" if self._file is None else f", nor is it in {self._file}"
            return None, f"the variable {VARIABLE}{name} is not set{where}"
        if len(value) > MOST_VALUE:
            return None, f"it has more than {MOST_VALUE:,} characters"
        return value, ""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was read of the file.

    Attributes:
        state: of the file then; empty where it could not be opened.
        values: by name.
        why: the file is not used, or "".
    """

    state: tuple[int, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    why: str = ""


def file_problem(file: str) -> str:
    """Why a file of secrets is not used (str), or "" where it is. Quotes nothing of it. Blocks."""
    return _read(file, _Kept()).why


def _read(file: str, kept: _Kept) -> _Kept:
    try:
        descriptor = _opened(Path(file))
    except _UnsafeError as error:
        return _Kept(why=str(error))
    except OSError as error:
        return _Kept(why=f"{file} cannot be read: {error.strerror}")
    with open(descriptor, "rb") as opened:
        status = os.fstat(opened.fileno())
        state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        # One that is wrong, too: guests ask as often as they like, and reading all of it takes a while.
        if state == kept.state:
            return kept
        data = opened.read(_MOST_FILE + 1)
    return _parsed(file, data, state)


def _parsed(file: str, data: bytes, state: tuple[int, ...]) -> _Kept:
    import tomllib

    if len(data) > _MOST_FILE:
        return _Kept(state, why=f"{file} has more than {_MOST_FILE:,} bytes")
    try:
        table = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        # What the parser says may quote the line, and the line may be a secret.
        return _Kept(state, why=f'{file} is not TOML; each line must be like NAME = "value"')
    wrong = [key for key, value in table.items() if NAME.fullmatch(key) is None or not isinstance(value, str)]
    if wrong:
        return _Kept(state, why=f'{file} has {len(wrong)} keys that are not of the form NAME = "value"')
    return _Kept(state, table)


class _UnsafeError(Exception):
    """Somebody else could have read the file, or could have put it there."""


def _opened(path: Path) -> int:
    """A descriptor of the file, after each folder on the way was looked at through the one before."""
    if not path.is_absolute() or ".." in path.parts:
        raise _UnsafeError(f"{path} must be an absolute path without '..'")
    above = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.parts[1:-1]:
            below = _step(above, part, path, os.O_DIRECTORY)
            os.close(above)
            above = below
            status = os.fstat(above)
            if status.st_uid not in (0, os.getuid()):
                raise _UnsafeError(f"{part!r}, on the way to {path}, belongs to another user")
            # In a sticky folder such as /tmp only an entry's owner may rename or remove it.
            if status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX:
                raise _UnsafeError(f"others may write to {part!r}, on the way to {path}; chmod go-w it")
        # A pipe or a device must not hold the thread that opens it.
        descriptor = _step(above, path.name, path, os.O_NONBLOCK)
    finally:
        os.close(above)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _UnsafeError(f"{path} is not a regular file")
        if status.st_uid != os.getuid():
            raise _UnsafeError(f"{path} belongs to another user")
        if status.st_mode & _OTHERS:
            raise _UnsafeError(f"others may read or write {path}; chmod 600 it, and change the secrets in it")
        if status.st_nlink != 1:
            raise _UnsafeError(f"{path} has another name elsewhere (a hard link); make it anew")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _step(above: int, part: str, path: Path, flags: int) -> int:
    try:
        return os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=above)
    except OSError:
        if stat.S_ISLNK(os.lstat(part, dir_fd=above).st_mode):
            raise _UnsafeError(f"{part!r}, on the way to {path}, is a link; name what it leads to") from None
        raise
