"""What a descriptor is, and everything about it but its bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from fcntl import F_GETFL, F_SETFL, fcntl
from functools import partial
from struct import Struct

from innkeeper.sandbox.wasi.abi import FdFlag, Right, TimeFlag, pack_fdstat, pack_filestat, pack_stream_filestat
from innkeeper.sandbox.wasi.descriptors import Descriptor, Directory, File
from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.functions import I32, I64, Later, file_function, function
from innkeeper.sandbox.wasi.hostfile import HostFile
from innkeeper.sandbox.wasi.memory import GuestMemory, check_range
from innkeeper.sandbox.wasi.state import Wasi
from innkeeper.sandbox.wasi.threads import on_thread
from innkeeper.sandbox.wasi.trees import Times, allocate, resize

_PRESTAT = Struct("<B3xI")
_MAX_OFFSET = (1 << 63) - 1
_CHANGEABLE = FdFlag.APPEND | FdFlag.NONBLOCK
_ADVICE = range(6)


@function(I32, I32)
def fd_fdstat_get(wasi: Wasi, memory: GuestMemory, descriptor: int, result: int) -> int:
    """Kind, flags and rights."""
    found = wasi.descriptors.get(descriptor)
    memory.write(result, pack_fdstat(found.filetype, found.flags, found.rights, found.inheriting))
    return Errno.SUCCESS


@function(I32, I32, asynchronous=True)
def fd_fdstat_set_flags(wasi: Wasi, memory: GuestMemory, descriptor: int, flags: int) -> int | Later:
    """Appending and not blocking can be changed; the latter changes nothing, since nothing here blocks."""
    found = wasi.descriptors.get(descriptor)
    if isinstance(found, Directory):
        return Errno.BADF
    found.require(Right.FD_FDSTAT_SET_FLAGS)
    if flags & ~sum(FdFlag):
        return Errno.INVAL
    if (flags ^ found.flags) & ~_CHANGEABLE:
        return Errno.NOTSUP
    if isinstance(found, File):
        return partial(on_thread, partial(_set_flags, found, flags))
    found.flags = flags
    return Errno.SUCCESS


def _set_flags(file: File, flags: int) -> int:
    with file.host.use() as fd:
        append = os.O_APPEND if flags & FdFlag.APPEND else 0
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~os.O_APPEND | append)
    file.flags = flags
    return Errno.SUCCESS


@function(I32, I64, I64)
def fd_fdstat_set_rights(wasi: Wasi, memory: GuestMemory, descriptor: int, base: int, inheriting: int) -> int:
    """Rights can be given up, never gained."""
    found = wasi.descriptors.get(descriptor)
    if base & ~int(found.rights) or inheriting & ~int(found.inheriting):
        return Errno.NOTCAPABLE
    found.rights, found.inheriting = Right(base), Right(inheriting)
    return Errno.SUCCESS


@function(I32, I64, I64, I32)
def fd_advise(wasi: Wasi, memory: GuestMemory, descriptor: int, offset: int, length: int, advice: int) -> int:
    """Advice is taken note of and not followed: reading ahead would be work that nobody counts."""
    wasi.descriptors.file(descriptor, Right.FD_ADVISE)
    return Errno.SUCCESS if advice in _ADVICE and max(offset, length) <= _MAX_OFFSET else Errno.INVAL


@file_function(I32, I64, I64)
async def fd_allocate(wasi: Wasi, memory: GuestMemory, descriptor: int, offset: int, length: int) -> int:
    """Reserves space."""
    file = wasi.descriptors.file(descriptor, Right.FD_ALLOCATE)
    if not length:
        return Errno.INVAL
    if offset + length > _MAX_OFFSET:
        return Errno.FBIG
    await on_thread(partial(allocate, file, offset, length))
    return Errno.SUCCESS


@function(I32, asynchronous=True)
def fd_close(wasi: Wasi, memory: GuestMemory, descriptor: int) -> int | Later:
    """Ends a descriptor; closing a file may wait for its disk."""
    return _close(wasi.descriptors.remove(descriptor))


@function(I32, I32, asynchronous=True)
def fd_renumber(wasi: Wasi, memory: GuestMemory, source: int, target: int) -> int | Later:
    """Moves a descriptor to another's number, and ends that one."""
    replaced = wasi.descriptors.move(source, target)
    return Errno.SUCCESS if replaced is None else _close(replaced)


def _close(descriptor: Descriptor) -> int | Later:
    if not isinstance(descriptor, File | Directory):
        return Errno.SUCCESS

    async def rest() -> int:
        try:
            await on_thread(descriptor.close)
        finally:
            # Cancelled before a thread was free: it is out of the table, so nobody else would close it.
            descriptor.close()
        return Errno.SUCCESS

    return rest


@file_function(I32)
async def fd_datasync(wasi: Wasi, memory: GuestMemory, descriptor: int) -> int:
    """Waits until the file's bytes are on the disk."""
    return await _sync(_host_of(wasi, descriptor, Right.FD_DATASYNC), getattr(os, "fdatasync", os.fsync))


@file_function(I32)
async def fd_sync(wasi: Wasi, memory: GuestMemory, descriptor: int) -> int:
    """Waits until all of the file is on the disk."""
    return await _sync(_host_of(wasi, descriptor, Right.FD_SYNC), os.fsync)


async def _sync(host: HostFile, how: Callable[[int], None]) -> int:
    def work() -> int:
        with host.use() as fd:
            how(fd)
        return Errno.SUCCESS

    return await on_thread(work)


def _host_of(wasi: Wasi, number: int, right: Right) -> HostFile:
    """The host's side of a file or folder. Raises WasiError: BADF; INVAL for a standard stream; NOTCAPABLE."""
    descriptor = wasi.descriptors.get(number)
    if not isinstance(descriptor, File | Directory):
        raise WasiError(Errno.INVAL)
    descriptor.require(right)
    return descriptor.host


@function(I32, I32, asynchronous=True)
def fd_filestat_get(wasi: Wasi, memory: GuestMemory, descriptor: int, result: int) -> int | Later:
    """Size, times and the like."""
    found = wasi.descriptors.get(descriptor)
    found.require(Right.FD_FILESTAT_GET)
    if not isinstance(found, File | Directory):
        memory.write(result, pack_stream_filestat())
        return Errno.SUCCESS
    host = found.host

    async def rest() -> int:
        memory.write(result, pack_filestat(await on_thread(partial(_status, host))))
        return Errno.SUCCESS

    return rest


def _status(host: HostFile) -> os.stat_result:
    with host.use() as fd:
        return os.fstat(fd)


@file_function(I32, I64)
async def fd_filestat_set_size(wasi: Wasi, memory: GuestMemory, descriptor: int, size: int) -> int:
    """Cuts or extends a file."""
    file = wasi.descriptors.file(descriptor, Right.FD_FILESTAT_SET_SIZE, stream=Errno.INVAL)
    if size > _MAX_OFFSET:
        return Errno.FBIG
    await on_thread(partial(resize, file, size))
    return Errno.SUCCESS


def new_times(accessed: int, modified: int, flags: int) -> Times:
    """Times as a guest gives them. Raises WasiError INVAL for flags that contradict each other and times beyond
    the year 2262."""
    both_accessed = TimeFlag.ATIM | TimeFlag.ATIM_NOW
    both_modified = TimeFlag.MTIM | TimeFlag.MTIM_NOW
    if flags & both_accessed == both_accessed or flags & both_modified == both_modified:
        raise WasiError(Errno.INVAL)
    if flags & ~sum(TimeFlag):
        raise WasiError(Errno.INVAL)
    if (flags & TimeFlag.ATIM and accessed > _MAX_OFFSET) or (flags & TimeFlag.MTIM and modified > _MAX_OFFSET):
        raise WasiError(Errno.INVAL)
    return Times(accessed, modified, TimeFlag(flags), time.time_ns())


@file_function(I32, I64, I64, I32)
async def fd_filestat_set_times(
    wasi: Wasi, memory: GuestMemory, descriptor: int, accessed: int, modified: int, flags: int
) -> int:
    """Changes the times of a file or folder."""
    host = _host_of(wasi, descriptor, Right.FD_FILESTAT_SET_TIMES)
    times = new_times(accessed, modified, flags)

    def work() -> int:
        with host.use() as fd:
            os.utime(fd, ns=times.over(os.fstat(fd)))
        return Errno.SUCCESS

    return await on_thread(work)


def _preopen_name(wasi: Wasi, number: int) -> bytes:
    descriptor = wasi.descriptors.get(number)
    # The answer on which C's library stops looking for preopens.
    if not isinstance(descriptor, Directory) or descriptor.preopen is None:
        raise WasiError(Errno.BADF)
    return descriptor.preopen


@function(I32, I32)
def fd_prestat_get(wasi: Wasi, memory: GuestMemory, descriptor: int, result: int) -> int:
    """That it is a preopened folder, and how long its name is."""
    memory.write(result, _PRESTAT.pack(0, len(_preopen_name(wasi, descriptor))))
    return Errno.SUCCESS


@function(I32, I32, I32)
def fd_prestat_dir_name(wasi: Wasi, memory: GuestMemory, descriptor: int, buffer: int, length: int) -> int:
    """The name of a preopened folder."""
    name = _preopen_name(wasi, descriptor)
    if length < len(name):
        return Errno.NAMETOOLONG
    check_range(memory, buffer, length)
    memory.write(buffer, name)
    return Errno.SUCCESS
