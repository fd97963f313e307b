"""The guest's memory as WASI sees it, and the few shapes in which lists of buffers cross it."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Protocol

from innkeeper.sandbox.wasi.errors import Errno, WasiError

MAX_IOVECS = 1024
"""Buffers that one call may list; more is an error, as on POSIX."""

_USED_IOVECS = 128
"""Buffers that one call fills or drains; the rest is left to the guest's next call. It bounds the copies that one
call makes on trio's thread."""

_IOVEC = Struct("<II")
_U32 = Struct("<I")
_U64 = Struct("<Q")

Buffers = Sequence[tuple[int, int]]
"""(offset, length) pairs that lie inside of the memory."""


class MemoryFault(Exception):  # noqa: N818 (the field's word)
    """An offset or a length lies outside of the guest's memory."""


class GuestMemory(Protocol):
    """The memory of one guest during one WASI call, awaits included."""

    def read(self, offset: int, length: int) -> bytes:
        """A copy of `length` bytes (int, 0 or more) at `offset` (int, 0 or more).

        Raises:
            MemoryFault: they are not all inside of the memory, by its size at this moment.
        """
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Copies `data` to `offset` (int, 0 or more).

        Raises:
            MemoryFault: it does not fit inside of the memory, by its size at this moment.
        """
        ...


def check_range(memory: GuestMemory, offset: int, length: int) -> None:
    """Raises MemoryFault unless `length` bytes at `offset` are inside of the memory; copies one byte at most."""
    if length:
        memory.read(offset + length - 1, 1)


def write_u32(memory: GuestMemory, offset: int, value: int) -> None:
    """Writes `value` (int, 0 to 2**32 - 1) as the guest reads it."""
    memory.write(offset, _U32.pack(value))


def write_u64(memory: GuestMemory, offset: int, value: int) -> None:
    """Writes `value` (int, 0 to 2**64 - 1) as the guest reads it."""
    memory.write(offset, _U64.pack(value))


def read_buffers(memory: GuestMemory, offset: int, count: int, limit: int) -> Buffers:
    """The buffers that a list of `count` iovecs at `offset` names, cut so that they hold at most `limit` bytes.

    Every buffer that is used is inside of the memory in its full length, also where `limit` cuts it.

    Raises:
        MemoryFault: the list or a buffer is not inside of the memory.
        WasiError: INVAL, more than MAX_IOVECS are listed.
    """
    if count > MAX_IOVECS:
        raise WasiError(Errno.INVAL)
    buffers: list[tuple[int, int]] = []
    for start, length in _IOVEC.iter_unpack(memory.read(offset, count * _IOVEC.size)):
        if not length:
            continue
        check_range(memory, start, length)
        buffers.append((start, min(length, limit)))
        limit -= min(length, limit)
        if not limit or len(buffers) == _USED_IOVECS:
            break
    return buffers


def total(buffers: Buffers) -> int:
    """Bytes (int) that the buffers hold."""
    return sum(length for _, length in buffers)


def gather(memory: GuestMemory, buffers: Buffers) -> bytes:
    """What the buffers hold, one after the other."""
    return b"".join([memory.read(start, length) for start, length in buffers])


def scatter(memory: GuestMemory, buffers: Buffers, data: bytes) -> None:
    """Fills the buffers with `data` in order; `data` is at most as long as they are."""
    position = 0
    for start, length in buffers:
        if position >= len(data):
            break
        memory.write(start, data[position : position + length])
        position += length
