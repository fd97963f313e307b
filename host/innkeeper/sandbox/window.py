"""A guest's or a kernel's memory as the host sees it: every offset and length is checked against its real size."""

from __future__ import annotations

import ctypes as c
import struct

from innkeeper.sandbox import capi, kernel
from innkeeper.sandbox.wasi.memory import MemoryFault

_STATE = struct.Struct("<9Q")
_BLOCK = struct.Struct("<2Q")
_WORD = struct.Struct("<Q")


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

    def word(self, offset: int) -> int:
        """The unsigned 64-bit word at `offset`."""
        return int(_WORD.unpack(self.read(offset, 8))[0])


def lay_out_input(window: Window, data: bytes) -> None:
    """Resets the kernel's state and gives it `data` as its input: one used block, nothing freed.

    The window's memory has room for it (`room_for`).
    """
    length = len(data)
    room = kernel.capacity(length)
    state = _STATE.pack(kernel.START + room, kernel.START, length, 0, 0, 0, 0, 0, 0)
    # The state words, zeroed lists of freed blocks, the input's header, the input: all in front of the first block.
    lists = bytes(kernel.START - kernel.HEADER - len(state))
    window.write(0, state + lists + _BLOCK.pack(length, room | kernel.USED))
    if data:
        window.write(kernel.START, data)


def room_for(length: int) -> int:
    """Bytes of kernel memory that an input of `length` bytes takes."""
    return kernel.START + kernel.capacity(length)
