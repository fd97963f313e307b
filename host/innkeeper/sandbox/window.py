"""A guest's or a kernel's memory as the host sees it: every offset and length is checked against its real size."""

from __future__ import annotations

import ctypes as c
import struct

from innkeeper.sandbox import capi, kernel
from innkeeper.sandbox.wasi.memory import MemoryFault

_NO_LISTS = bytes(kernel.START - kernel.HEADER - 7 * 8)
_FRONT = struct.Struct(f"<7Q{len(_NO_LISTS)}s2Q")
_BLOCK = struct.Struct("<2Q")
_WORD = struct.Struct("<Q")
_OUTCOME = struct.Struct("<3Q")
_TOGETHER = 4096
"""Bytes up to which joining two pieces is cheaper than a second copy."""


class Window:
    """The memory at the moment when it was asked for.

    It is valid until the guest runs again: growing may move the memory.  It implements the WASI room's GuestMemory.
    """

    __slots__ = ("base", "size")

    def __init__(self, context: int, memory: int) -> None:
        """Args:
        context: of the store. Either no future of it is alive, or a callback of it is running.
        memory: address of the memory's item.
        """
        self.base: int = capi.memory_data(context, memory) or 0
        self.size: int = capi.memory_data_size(context, memory)

    def read(self, offset: int, length: int) -> bytes:
        """A copy of `length` bytes at `offset`.

        Raises:
            MemoryFault: they do not lie in the memory.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise MemoryFault(offset, length)
        return c.string_at(self.base + offset, length) if length else b""

    def write(self, offset: int, data: bytes) -> None:
        """Copies `data` to `offset`.

        Raises:
            MemoryFault: it would not lie in the memory.
        """
        if offset < 0 or offset + len(data) > self.size:
            raise MemoryFault(offset, len(data))
        c.memmove(self.base + offset, data, len(data))

    def outcome(self) -> tuple[int, int, int]:
        """Of a kernel's memory: offset and length of the output that its guest set, and offset of its error's text."""
        return _OUTCOME.unpack(c.string_at(self.base + kernel.OUTPUT_OFFSET, _OUTCOME.size))

    def word(self, offset: int) -> int:
        """The unsigned 64-bit word at `offset`."""
        return int(_WORD.unpack(self.read(offset, 8))[0])


def lay_out_input(window: Window, data: bytes) -> None:
    """Resets the kernel's state and gives it `data` as its input: one used block, nothing freed.

    The window's memory has room for it (`room_for`).
    """
    length = len(data)
    room = kernel.capacity(length)
    # The state words, no freed blocks, the input's header, the input: all in front of the first block.
    start = _FRONT.pack(kernel.START + room, kernel.START, length, 0, 0, 0, 0, _NO_LISTS, length, room | kernel.USED)
    if kernel.START + length > window.size:
        raise MemoryFault(kernel.START, length)
    base = window.base
    if length <= _TOGETHER:
        c.memmove(base, start + data, kernel.START + length)
    else:
        c.memmove(base, start, kernel.START)
        c.memmove(base + kernel.START, data, length)


def put(window: Window, data: bytes) -> int:
    """Makes a block above the last one and copies `data` into it, as the kernel's `alloc` would.

    Returns:
        The block's offset; 0 where the memory has no room for it as it is, or where its state makes no sense: what a
        guest has overwritten is for the kernel to trap on.
    """
    length = len(data)
    base, size = window.base, window.size
    (top,) = _WORD.unpack(c.string_at(base, 8))
    room = kernel.capacity(length)
    block = top + kernel.HEADER
    if not kernel.START <= top <= size - room - kernel.HEADER or top & 15 or not length:
        return 0
    c.memmove(base, _WORD.pack(block + room), 8)
    header = _BLOCK.pack(length, room | kernel.USED)
    if length <= _TOGETHER:
        c.memmove(base + top, header + data, kernel.HEADER + length)
    else:
        c.memmove(base + top, header, kernel.HEADER)
        c.memmove(base + block, data, length)
    return int(block)


def room_for(length: int) -> int:
    """Bytes of kernel memory that an input of `length` bytes takes."""
    return kernel.START + kernel.capacity(length)
