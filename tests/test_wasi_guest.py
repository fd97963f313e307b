"""A guest for the tests of WASI: a memory of its own, and the calls as an engine makes them."""

from __future__ import annotations

import struct
from hashlib import sha256
from pathlib import Path

import pytest

from innkeeper.sandbox.wasi import FUNCTIONS, NONE, Errno, MemoryFault, Preopen, Wasi, WasiRights
from innkeeper.sandbox.wasi.abi import FdFlag, OpenFlag, Right

SEED = sha256(b"a module").digest()
PATH, OTHER_PATH, IOVECS, RESULT, DATA = 0x100, 0x1200, 0x3000, 0x8000, 0x10000
READ, WRITE = int(Right.FD_READ), int(Right.FD_WRITE)
CREAT, DIRECTORY, EXCL, TRUNC = (int(OpenFlag[name]) for name in ("CREAT", "DIRECTORY", "EXCL", "TRUNC"))
APPEND = int(FdFlag.APPEND)


class Memory:
    """A GuestMemory over a bytearray, which also knows if anything was written."""

    def __init__(self, size: int = 1 << 20) -> None:
        self.data = bytearray(size)

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        self.data[offset : offset + len(data)] = data

    def _check(self, offset: int, length: int) -> None:
        assert offset >= 0
        assert length >= 0
        if offset + length > len(self.data):
            raise MemoryFault


class Guest:
    """One guest, its memory, and what it logged."""

    def __init__(self, rights: WasiRights = NONE, *, seed: bytes = SEED, size: int = 1 << 20) -> None:
        self.memory = Memory(size)
        self.logged: list[tuple[str, bytes]] = []
        self.wasi = Wasi(seed, rights, lambda level, line: self.logged.append((level, line)))

    async def call(self, name: str, *arguments: int) -> Errno:
        function = FUNCTIONS[name]
        outcome = function.handler(self.wasi, self.memory, *arguments)
        if not isinstance(outcome, int):
            assert function.asynchronous
            outcome = await outcome()
        assert type(outcome) is int
        return Errno(outcome)

    def u32(self, offset: int = RESULT) -> int:
        return struct.unpack("<I", self.memory.read(offset, 4))[0]

    def u64(self, offset: int = RESULT) -> int:
        return struct.unpack("<Q", self.memory.read(offset, 8))[0]

    def iovecs(self, *buffers: tuple[int, int]) -> tuple[int, int]:
        self.memory.write(IOVECS, b"".join(struct.pack("<II", *buffer) for buffer in buffers))
        return IOVECS, len(buffers)

    def path(self, path: str | bytes, at: int = PATH) -> tuple[int, int]:
        data = path.encode() if isinstance(path, str) else path
        self.memory.write(at, data)
        return at, len(data)

    async def open(
        self, path: str | bytes, how: int = 0, rights: int = READ, flags: int = 0, fd: int = 3
    ) -> tuple[Errno, int]:
        answer = await self.call("path_open", fd, 1, *self.path(path), how, rights, 0, flags, RESULT)
        return answer, self.u32()

    async def opened(self, path: str | bytes, how: int = 0, rights: int = READ, flags: int = 0, fd: int = 3) -> int:
        answer, number = await self.open(path, how, rights, flags, fd)
        assert answer is Errno.SUCCESS
        return number

    async def write(self, fd: int, data: bytes, offset: int | None = None) -> tuple[Errno, int]:
        self.memory.write(DATA, data)
        buffers = self.iovecs((DATA, len(data)))
        if offset is None:
            answer = await self.call("fd_write", fd, *buffers, RESULT)
        else:
            answer = await self.call("fd_pwrite", fd, *buffers, offset, RESULT)
        return answer, self.u32()

    async def read(self, fd: int, length: int = 4096, offset: int | None = None) -> bytes:
        buffers = self.iovecs((DATA, length))
        if offset is None:
            assert await self.call("fd_read", fd, *buffers, RESULT) is Errno.SUCCESS
        else:
            assert await self.call("fd_pread", fd, *buffers, offset, RESULT) is Errno.SUCCESS
        return self.memory.read(DATA, self.u32())


def guest_with(folder: Path, *, writable: bool = True, quota: int = 1 << 20) -> Guest:
    """A guest that has `folder` as its descriptor 3."""
    return Guest(WasiRights(files=(Preopen("/data", folder, writable=writable, quota=quota),)))


def test_the_memory_of_these_tests_refuses_what_lies_outside() -> None:
    memory = Memory(16)
    memory.write(15, b"x")
    with pytest.raises(MemoryFault):
        memory.read(16, 1)
    with pytest.raises(MemoryFault):
        memory.write(15, b"xy")
