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
_Space = c.c_char * (1 << 32)
"""All that a memory may ever have."""


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


class KernelWindow(Window):
    """The memory of a guest's kernel, for as long as the guest lives.

    Where it is steady, which is where its limit lies within the address space that is reserved for it, it never moves,
    and it only ever grows: then `size`, which is what it was when it was last looked at, is never too much.

    Attributes:
        base: address of its first byte.
        size: bytes that it has at least.
        steady: whether it stays where it is.
    """

    __slots__ = ("_context", "_memory", "_view", "steady")

    def __init__(self, context: int, memory: int, *, steady: bool) -> None:
        super().__init__(context, memory)
        self._context, self._memory = context, memory
        self.steady = steady
        self._view = _view_of(self.base)

    def look(self) -> None:
        """Sees where it is and how large it is, as `Window` does."""
        self.size = capi.memory_data_size(self._context, self._memory)
        if not self.steady:
            base: int = capi.memory_data(self._context, self._memory)
            if base != self.base:
                self.base = base
                self._view = _view_of(base)

    def read(self, offset: int, length: int) -> bytes:
        end = offset + length
        if offset < 0 or length < 0 or end > self.size:
            self._expect(offset, length)
        return self._view[offset:end].tobytes()

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if offset < 0 or end > self.size:
            self._expect(offset, len(data))
        self._view[offset:end] = data

    def _expect(self, offset: int, length: int) -> None:
        # What did not lie in it may do so since it has grown.
        self.look()
        if offset < 0 or length < 0 or offset + length > self.size:
            raise MemoryFault(offset, length)

    def outcome(self) -> tuple[int, int, int]:
        """Offset and length of the output that its guest set, and offset of its error's text."""
        return _OUTCOME.unpack_from(self._view, kernel.OUTPUT_OFFSET)

    def word(self, offset: int) -> int:
        """The unsigned 64-bit word at `offset`.

        Raises:
            MemoryFault: it does not lie in the memory.
        """
        return int(_WORD.unpack(self.read(offset, 8))[0])

    def clear(self) -> None:
        """Zeroes what lies up to the last block, of a guest that has started: blocks of its start are gone when its
        call begins. No more than a little of it: a guest may allocate 40 MiB for nothing, and what is left is its own.
        """
        self.look()
        c.memset(self.base, 0, min(self._top(), self.size, _CLEARED))

    def make_room(self, length: int) -> None:
        """Looks again where, as far as is known, `length` bytes may not fit above the last block. So it is the memory's
        real size, and no tick of a clock, that decides where `put` puts them."""
        if self._top() + 2 * length + _ROOM > self.size:
            self.look()

    def put(self, data: bytes) -> int:
        """Makes a block above the last one and copies `data` into it, as the kernel's `alloc` would. Does not ask the
        store, so it may be called between two polls of a guest that waits.

        Returns:
            The block's offset; 0 where there is no room for it as far as is known, or where the kernel's state makes no
            sense: what a guest has overwritten is for the kernel to trap on.
        """
        length, top = len(data), self._top()
        room = kernel.capacity(length)
        block: int = top + kernel.HEADER
        if top < kernel.START or block + room > self.size or top & 15 or not length:
            return 0
        view = self._view
        _BLOCK.pack_into(view, top, length, room | kernel.USED)
        view[block : block + length] = data
        _WORD.pack_into(view, 0, block + room)
        return block

    def lay_out(self, data: bytes, room: int) -> None:
        """Resets the kernel's state and gives it `data` as its input: one used block, nothing freed.

        Args:
            data: the input.
            room: `kernel.capacity` of its length.

        Raises:
            MemoryFault: there is no room for START and the input.
        """
        length = len(data)
        end = kernel.START + length
        if end > self.size:
            raise MemoryFault(kernel.START, length)
        # The state words, no freed blocks, the input's header, the input: all in front of the first block.
        view = self._view
        _FRONT.pack_into(
            view, 0, kernel.START + room, kernel.START, length, 0, 0, 0, 0, _NO_LISTS, length, room | kernel.USED
        )
        view[kernel.START : end] = data

    def _top(self) -> int:
        # Where the next block begins, as the guest's kernel says: to be checked.
        return int(_WORD.unpack_from(self._view, 0)[0])


_ROOM = 4096
_CLEARED = 65_536


def _view_of(base: int) -> memoryview:
    # Longer than the memory is: whoever looks into it has compared with the size. Its type is one for all sizes, since
    # each type of ctypes stays for ever.
    return memoryview(_Space.from_address(base)).cast("B")
