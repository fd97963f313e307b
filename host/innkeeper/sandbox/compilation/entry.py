"""One file of the cache: the artifact, page for page as the engine maps it, and a trailer that says what it is.

The checksum is against damage, not against attackers: the folder is private, and who can write there as us can do
everything else as us, too. zlib's CRC-32 takes less than half of the time of SHA-256.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import sys
import time
import zlib
from dataclasses import dataclass
from typing import Protocol

import wasmtime as w

from innkeeper.sandbox.compilation.frames import MOST_ARTIFACT

_MAGIC = b"innkeep1"
_TRAILER = struct.Struct("!32s32s32sQQQ72s I8s")
"""Key, fingerprint, the Wasm's sha256, its bytes, when it was made, the artifact's bytes, the plugin's id in UTF-8,
CRC-32 of the artifact and of all of these, magic."""

TRAILER_SIZE = _TRAILER.size
_UNSUMMED = 12
"""Bytes at the trailer's end that the checksum does not cover: itself and the magic."""

_MOST_LABEL = 72
_CHUNK = 1 << 18

_TOUCH_AFTER = 60.0
"""Seconds after which a use is written down again: the order of the last uses need not be finer."""


class BadEntryError(Exception):
    """The file is not loaded. The text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Label:
    """What an entry says of itself, for people.

    Attributes:
        key: its name, 64 hexadecimal digits.
        fingerprint: of the settings that it was made with.
        digest: sha256 of the Wasm.
        size: bytes of the Wasm.
        made: when it was compiled, seconds since 1970.
        plugin: the id of the plugin that it was compiled for first, or "".
    """

    key: str
    fingerprint: str
    digest: str
    size: int
    made: int
    plugin: str


class Artifact(Protocol):
    """Compiled code that engines load, any number of times, until it is closed."""

    def load(self, engine: w.Engine) -> w.Module:
        """The module in an engine with the settings that it was made for.

        Raises:
            WasmtimeError: the engine does not take it.
        """
        ...

    def close(self) -> None:
        """Gives back what keeps it; modules that were loaded stay."""
        ...


class Fresh:
    """An artifact that is in memory, since there is no cache. Implements `Artifact`."""

    def __init__(self, artifact: bytes) -> None:
        self._artifact = artifact

    def load(self, engine: w.Engine) -> w.Module:
        return w.Module.deserialize(engine, self._artifact)

    def close(self) -> None:
        self._artifact = b""


class Entry:
    """An artifact in the cache's folder, open and checked. Implements `Artifact`.

    What is loaded is the very file that was checked: both go through its descriptor, whatever its name means by then.
    """

    def __init__(self, descriptor: int, length: int) -> None:
        self._descriptor = descriptor
        self._length = length

    def load(self, engine: w.Engine) -> w.Module:
        if sys.platform == "linux":
            try:
                return w.Module.deserialize_file(engine, f"/proc/self/fd/{self._descriptor}")
            except w.WasmtimeError:
                pass  # No /proc, or a file system from which no code may be mapped: then from memory.
        return w.Module.deserialize(engine, _read(self._descriptor, self._length))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def seal(artifact: bytes, label: Label) -> bytes:
    """The trailer (bytes) that makes a file of an artifact an entry."""
    plugin = label.plugin.encode()[:_MOST_LABEL]
    head = (bytes.fromhex(label.key), bytes.fromhex(label.fingerprint), bytes.fromhex(label.digest))
    fields = (*head, label.size, label.made, len(artifact), plugin)
    unsummed = _TRAILER.pack(*fields, 0, _MAGIC)[:-_UNSUMMED]
    return _TRAILER.pack(*fields, zlib.crc32(unsummed, zlib.crc32(artifact)), _MAGIC)


def open_entry(folder: int, key: str, fingerprint: str) -> Entry:
    """The entry of a key, checked through and through.

    Args:
        folder: descriptor of the cache's folder.
        key: what is wanted.
        fingerprint: of this process's settings.

    Raises:
        FileNotFoundError: there is none.
        BadEntryError: there is a file, and it is not loaded.
        OSError: it cannot be read.
    """
    descriptor = os.open(file_name(key), _FLAGS, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        _check_file(status)
        length, label, wanted = _read_label(descriptor, status.st_size)
        if label.key != key:
            raise BadEntryError("it is the entry of another key")
        if label.fingerprint != fingerprint:
            raise BadEntryError("it was made with other settings")
        if _checksum(descriptor, length) != wanted:
            raise BadEntryError("it is damaged")
        _touch(descriptor, status)
    except BaseException:
        os.close(descriptor)
        raise
    return Entry(descriptor, length)


def read_label(folder: int, name: str) -> Label:
    """What a file of the folder says of itself; the artifact is not read.

    Raises:
        BadEntryError: it is no entry.
        OSError: it cannot be read.
    """
    descriptor = os.open(name, _FLAGS, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        _check_file(status)
        label = _read_label(descriptor, status.st_size)[1]
    finally:
        os.close(descriptor)
    if file_name(label.key) != name:
        raise BadEntryError("it is the entry of another key")
    return label


# Opening a pipe would wait for its other end.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

SUFFIX = ".cwasm"


def file_name(key: str) -> str:
    """The name of a key's file."""
    return key + SUFFIX


def _check_file(status: os.stat_result) -> None:
    """Raises:
    BadEntryError: it is not a plain file of ours, closed to everybody else, of a size that an entry can have.
    """
    if not stat.S_ISREG(status.st_mode):
        raise BadEntryError("it is not a regular file")
    if status.st_uid != os.getuid():
        raise BadEntryError("it belongs to another user")
    if stat.S_IMODE(status.st_mode) != 0o600:
        raise BadEntryError("others may read or write it")
    if status.st_nlink != 1:
        raise BadEntryError("it has a second name")
    if not TRAILER_SIZE < status.st_size <= TRAILER_SIZE + MOST_ARTIFACT:
        raise BadEntryError("it is too small or too large")


def _read_label(descriptor: int, size: int) -> tuple[int, Label, int]:
    trailer = os.pread(descriptor, TRAILER_SIZE, size - TRAILER_SIZE)
    if len(trailer) != TRAILER_SIZE:
        raise BadEntryError("it is cut short")
    key, fingerprint, digest, wasm, made, length, plugin, checksum, magic = _TRAILER.unpack(trailer)
    if magic != _MAGIC or length + TRAILER_SIZE != size:
        raise BadEntryError("it does not end as an entry does")
    text = plugin.rstrip(b"\0").decode("utf-8", "replace")
    return length, Label(key.hex(), fingerprint.hex(), digest.hex(), wasm, made, text), checksum


def _checksum(descriptor: int, length: int) -> int:
    # Read and not mapped: a file that somebody cuts short meanwhile would end the process.
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    checksum = at = 0
    end = length + TRAILER_SIZE - _UNSUMMED
    while at < end:
        count = os.preadv(descriptor, [view[: min(_CHUNK, end - at)]], at)
        if count == 0:
            raise BadEntryError("it is cut short")
        checksum = zlib.crc32(view[:count], checksum)
        at += count
    return checksum


def _read(descriptor: int, length: int) -> bytes:
    parts = []
    at = 0
    while at < length:
        part = os.pread(descriptor, length - at, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _touch(descriptor: int, status: os.stat_result) -> None:
    now = time.time()
    if abs(now - status.st_mtime) > _TOUCH_AFTER:
        # A folder that is only read keeps the order of writing.
        with contextlib.suppress(OSError):
            os.utime(descriptor, (now, now))
