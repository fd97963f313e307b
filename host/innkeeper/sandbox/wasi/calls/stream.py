"""Reading, writing and places in what a descriptor stands for."""

from __future__ import annotations

import os
from functools import partial

import trio

from innkeeper.sandbox.wasi.abi import Right, signed
from innkeeper.sandbox.wasi.descriptors import Directory, File, Input, Output
from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.functions import I32, I64, Later, file_function, function
from innkeeper.sandbox.wasi.memory import (
    GuestMemory,
    check_range,
    gather,
    read_buffers,
    scatter,
    total,
    write_u32,
    write_u64,
)
from innkeeper.sandbox.wasi.state import Wasi
from innkeeper.sandbox.wasi.threads import file_call, on_thread
from innkeeper.sandbox.wasi.trees import read, write

_FILE_TRANSFER = 1 << 20
"""Bytes that one call reads from or writes to a file; a guest that wants more calls again, as POSIX has it."""

_OUTPUT_TRANSFER = 64 * 1024
"""Bytes that one call prints."""
_OUTPUT_AT_ONCE = 4 * 1024
_LINES_AT_ONCE = 64
_BUFFERS_AT_ONCE = 16
"""What is printed while the guest stands in its call: at most this, so that it takes under 100 us."""
_OUTPUT_CHUNK = 1024
"""Bytes, thus lines, between two checkpoints."""

_MAX_OFFSET = (1 << 63) - 1
_SET, _CURRENT, _END = range(3)
_WHENCE = {_SET: os.SEEK_SET, _CURRENT: os.SEEK_CUR, _END: os.SEEK_END}


@function(I32, I32, I32, I32, asynchronous=True)
def fd_read(wasi: Wasi, memory: GuestMemory, descriptor: int, buffers: int, count: int, result: int) -> int | Later:
    """Standard input is at its end."""
    if isinstance(source := wasi.descriptors.get(descriptor), Input):
        source.require(Right.FD_READ)
        write_u32(memory, result, 0)
        return Errno.SUCCESS
    file = wasi.descriptors.file(descriptor, Right.FD_READ, stream=Errno.NOTCAPABLE)
    return partial(_read, memory, file, buffers, count, None, result)


@file_function(I32, I32, I32, I64, I32)
async def fd_pread(
    wasi: Wasi, memory: GuestMemory, descriptor: int, buffers: int, count: int, offset: int, result: int
) -> int:
    """Reads without moving the descriptor's place."""
    file = wasi.descriptors.file(descriptor, Right.FD_READ)
    return await _read(memory, file, buffers, count, _offset(offset), result)


async def _read(memory: GuestMemory, file: File, iovecs: int, count: int, offset: int | None, result: int) -> int:
    buffers = read_buffers(memory, iovecs, count, _FILE_TRANSFER)
    check_range(memory, result, 4)
    async with file_call() as run:
        data = await run(partial(read, file, total(buffers), offset))
        scatter(memory, buffers, data)
    write_u32(memory, result, len(data))
    return Errno.SUCCESS


@function(I32, I32, I32, I32, asynchronous=True)
def fd_write(wasi: Wasi, memory: GuestMemory, descriptor: int, buffers: int, count: int, result: int) -> int | Later:
    """Standard output and error are lines of the log."""
    if not isinstance(target := wasi.descriptors.get(descriptor), Output):
        file = wasi.descriptors.file(descriptor, Right.FD_WRITE, stream=Errno.NOTCAPABLE)
        return partial(_write, memory, file, buffers, count, None, result)
    target.require(Right.FD_WRITE)
    if count > _BUFFERS_AT_ONCE:
        return partial(_print, memory, target, buffers, count, result)
    pieces = read_buffers(memory, buffers, count, _OUTPUT_TRANSFER)
    if total(pieces) > _OUTPUT_AT_ONCE:
        return partial(_print, memory, target, buffers, count, result)
    check_range(memory, result, 4)
    data = gather(memory, pieces)
    if data.count(b"\n") > _LINES_AT_ONCE:
        return partial(_print, memory, target, buffers, count, result)
    target.lines.write(data)
    write_u32(memory, result, len(data))
    return Errno.SUCCESS


async def _print(memory: GuestMemory, target: Output, iovecs: int, count: int, result: int) -> int:
    buffers = read_buffers(memory, iovecs, count, _OUTPUT_TRANSFER)
    check_range(memory, result, 4)
    data = gather(memory, buffers)
    for start in range(0, len(data), _OUTPUT_CHUNK):
        target.lines.write(data[start : start + _OUTPUT_CHUNK])
        await trio.lowlevel.checkpoint()
    write_u32(memory, result, len(data))
    return Errno.SUCCESS


@file_function(I32, I32, I32, I64, I32)
async def fd_pwrite(
    wasi: Wasi, memory: GuestMemory, descriptor: int, buffers: int, count: int, offset: int, result: int
) -> int:
    """Writes without moving the descriptor's place; at the file's end if the descriptor appends, as on Linux."""
    file = wasi.descriptors.file(descriptor, Right.FD_WRITE)
    return await _write(memory, file, buffers, count, _offset(offset), result)


async def _write(memory: GuestMemory, file: File, iovecs: int, count: int, offset: int | None, result: int) -> int:
    buffers = read_buffers(memory, iovecs, count, _FILE_TRANSFER)
    check_range(memory, result, 4)
    async with file_call() as run:
        written = await run(partial(write, file, gather(memory, buffers), offset))
    write_u32(memory, result, written)
    return Errno.SUCCESS


def _offset(value: int) -> int:
    if value > _MAX_OFFSET:
        raise WasiError(Errno.INVAL)
    return value


@file_function(I32, I64, I32, I32)
async def fd_seek(wasi: Wasi, memory: GuestMemory, descriptor: int, offset: int, whence: int, result: int) -> int:
    """Moves the descriptor's place."""
    file = wasi.descriptors.file(descriptor, Right.FD_SEEK)
    if whence not in _WHENCE:
        return Errno.INVAL
    check_range(memory, result, 8)
    write_u64(memory, result, await on_thread(partial(_seek, file, signed(offset), _WHENCE[whence])))
    return Errno.SUCCESS


@file_function(I32, I32)
async def fd_tell(wasi: Wasi, memory: GuestMemory, descriptor: int, result: int) -> int:
    """The descriptor's place."""
    file = wasi.descriptors.file(descriptor, Right.FD_TELL)
    check_range(memory, result, 8)
    write_u64(memory, result, await on_thread(partial(_seek, file, 0, os.SEEK_CUR)))
    return Errno.SUCCESS


def _seek(file: File, offset: int, whence: int) -> int:
    with file.host.use() as fd:
        return os.lseek(fd, offset, whence)


_LISTING_TRANSFER = 256 * 1024


@file_function(I32, I32, I32, I64, I32)
async def fd_readdir(
    wasi: Wasi, memory: GuestMemory, descriptor: int, buffer: int, length: int, cookie: int, result: int
) -> int:
    """The entries of a folder. A buffer above 256 KiB is an error, since filling less of it means the end."""
    directory: Directory = wasi.descriptors.directory(descriptor, Right.FD_READDIR)
    if length > _LISTING_TRANSFER:
        return Errno.INVAL
    check_range(memory, buffer, length)
    check_range(memory, result, 4)
    async with file_call() as run:
        data = await run(partial(directory.listing.read, cookie, length))
        memory.write(buffer, data)
    write_u32(memory, result, len(data))
    return Errno.SUCCESS
