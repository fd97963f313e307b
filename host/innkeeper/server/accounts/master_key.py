"""The keys under which credentials are encrypted: of the variable INNKEEPER_MASTER_KEY, or of a file of the home."""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from innkeeper.errors import InnkeeperError, Kind
from innkeeper.storage.folder import UnsafeError, open_private

VARIABLE: Final = "INNKEEPER_MASTER_KEY"
FILE: Final = "master.key"
"""The file's name in a home's `state`."""

LOCK: Final = "master.lock"
"""The file there that is held while the key is rotated, and shared while a backup takes it."""

_VERSION: Final = b"\x01"
_NONCE: Final = 12
_BYTES: Final = 32
_MOST_KEYS: Final = 8
_MOST_FILE: Final = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class MasterKeyError(InnkeeperError):
    """There is no master key that fits, or it cannot be read. The message shows none."""

    kind = Kind.USAGE


class MasterKey:
    """256 bits under which AES-256-GCM encrypts.

    Attributes:
        id: says which key it is, and nothing of it (str, 16 hexadecimal digits).
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(key)
        self.id = hashlib.sha256(b"innkeeper master key\0" + key).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"MasterKey({self.id})"

    @classmethod
    def new(cls) -> MasterKey:
        """A random one."""
        return cls(secrets.token_bytes(_BYTES))

    def text(self) -> str:
        """The key as its file has it (str)."""
        return base64.b64encode(self._key).decode()

    def encrypt(self, owner: str, id: str, plain: bytes) -> bytes:
        """Encrypts what belongs to an owner and an id: nowhere else can it be decrypted."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _place(owner, id))

    def decrypt(self, owner: str, id: str, encrypted: bytes) -> bytes:
        """What `encrypt` was given.

        Raises:
            MasterKeyError: it was changed, or belongs to another owner or id.
        """
        try:
            if encrypted[:1] != _VERSION:
                raise InvalidTag
            nonce, rest = encrypted[1 : 1 + _NONCE], encrypted[1 + _NONCE :]
            return self._cipher.decrypt(nonce, rest, _place(owner, id))
        except (InvalidTag, ValueError):
            raise MasterKeyError("a credential cannot be decrypted: it was changed, or is not in its place") from None


def _place(owner: str, id: str) -> bytes:
    # Lengths before the texts: no other owner and id are written the same.
    parts = [part.encode() for part in (owner, id)]
    return b"innkeeper credential" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def keys_of(text: str, where: str) -> list[MasterKey]:
    """Keys that are written one after the other, with commas or in lines (list of MasterKey).

    Args:
        text: each 32 bytes in base64 or hexadecimal.
        where: it stands, for messages.

    Raises:
        MasterKeyError: one is none.
    """
    words = [word for word in re.split(r"[,\s]+", text) if word]
    if len(words) > _MOST_KEYS:
        raise MasterKeyError(f"{where} has more than {_MOST_KEYS} keys")
    return [MasterKey(_bytes_of(word, where)) for word in words]


def _bytes_of(word: str, where: str) -> bytes:
    found = b""
    with contextlib.suppress(ValueError, binascii.Error):
        if re.fullmatch(r"[0-9a-fA-F]{64}", word):
            found = bytes.fromhex(word)
        elif re.fullmatch(r"[A-Za-z0-9+/_-]{43}=?", word):
            found = base64.b64decode(word.replace("-", "+").replace("_", "/")[:43] + "=", validate=True)
    if len(found) != _BYTES:
        raise MasterKeyError(f"{where} must be 32 random bytes in base64 or hexadecimal (`openssl rand -base64 32`)")
    return found


class KeyPlace:
    """Where the keys of a home are. Its methods block on the disk.

    The first key is the newest. Others are there to read what an interrupted or announced rotation has yet to change.
    """

    def __init__(self, state: Path, environment: Mapping[str, str]) -> None:
        """Args:
        state: the folder of the home that has the file; an absolute path.
        environment: has the variable, or not.
        """
        self._state = state
        self._variable = environment.get(VARIABLE, "").strip()

    @property
    def by_variable(self) -> bool:
        """Whether the variable says which key is the newest (bool)."""
        return bool(self._variable)

    def read(self) -> list[MasterKey]:
        """All keys: those of the variable before those of the file.

        Raises:
            MasterKeyError: one is none, or the file is not ours alone.
        """
        return [*self.of_variable(), *self.of_file()]

    def of_variable(self) -> list[MasterKey]:
        """Those of the variable.

        Raises:
            MasterKeyError: one is none.
        """
        return keys_of(self._variable, f"the variable {VARIABLE}")

    def of_file(self) -> list[MasterKey]:
        """Those of the file; none where there is no file.

        Raises:
            MasterKeyError: as `read`.
        """
        if not os.path.lexists(self._state / FILE):
            return []
        with self._folder() as folder:
            descriptor = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with open(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
                    raise MasterKeyError(f"{FILE} is no file of this user: remove it, or put the right one there")
                if status.st_mode & _OTHERS:
                    raise MasterKeyError(f"others may read {FILE}: chmod 600 it, and rotate the key")
                data = file.read(_MOST_FILE + 1)
        if len(data) > _MOST_FILE:
            raise MasterKeyError(f"{FILE} is too long for a file of keys")
        found = keys_of(data.decode("ascii", "replace"), FILE)
        if not found:
            raise MasterKeyError(f"{FILE} is empty: put the right one there; without it no credential can be read")
        return found

    def make(self) -> list[MasterKey]:
        """Makes the file with a new key where there is none; gives what is in it then, whoever made it.

        Raises:
            MasterKeyError: it cannot be made.
        """
        with self._folder() as folder:
            # Whoever is first has made it; a half of it nobody ever sees.
            with _written(folder, [MasterKey.new()]) as temporary, contextlib.suppress(FileExistsError):
                os.link(temporary, FILE, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        return self.of_file()

    def write(self, keys: Sequence[MasterKey]) -> None:
        """Puts other keys into the file: it has all of the old ones or all of the new ones at any time.

        Raises:
            MasterKeyError: it cannot be written.
        """
        with self._folder() as folder:
            with _written(folder, keys) as temporary:
                os.rename(temporary, FILE, src_dir_fd=folder, dst_dir_fd=folder)
            for name in os.listdir(folder):
                # What a process left that was killed: keys that are not to be on the disk any more.
                if name.startswith(f"{FILE}."):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    @contextmanager
    def _folder(self) -> Iterator[int]:
        try:
            folder = open_private(self._state)
            try:
                yield folder
            finally:
                os.close(folder)
        except UnsafeError as error:
            raise MasterKeyError(f"{FILE} is not used: {error.reason}") from None
        except OSError as error:
            what = "is a link" if error.errno == errno.ELOOP else error.strerror
            raise MasterKeyError(f"{FILE} cannot be read or written: {what}") from None


@contextmanager
def _written(folder: int, keys: Sequence[MasterKey]) -> Iterator[str]:
    """A file with keys beside the right one, on the disk; gone at the end, unless it was renamed."""
    name = f"{FILE}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write("".join(f"{key.text()}\n" for key in keys).encode())
            file.flush()
            os.fsync(file.fileno())
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
