"""Paths, from a folder that the guest has."""

from __future__ import annotations

from functools import partial

from innkeeper.sandbox.wasi.abi import (
    DIRECTORY_READING,
    DIRECTORY_WRITING,
    FILE_ALWAYS,
    FILE_READING,
    FILE_WRITING,
    NO_RIGHT,
    SYMLINK_FOLLOW,
    FdFlag,
    Filetype,
    OpenFlag,
    Right,
    pack_filestat,
)
from innkeeper.sandbox.wasi.calls.descriptor import new_times
from innkeeper.sandbox.wasi.descriptors import Descriptor, Directory, File
from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.functions import I32, I64, file_function, function
from innkeeper.sandbox.wasi.memory import GuestMemory, check_range, write_u32
from innkeeper.sandbox.wasi.paths import MAX_PATH, check_path
from innkeeper.sandbox.wasi.state import Wasi
from innkeeper.sandbox.wasi.threads import on_thread
from innkeeper.sandbox.wasi.trees import (
    Opening,
    create_directory,
    open_path,
    read_link,
    remove_directory,
    rename,
    set_times_of,
    status_of,
    unlink,
)


def _read_path(memory: GuestMemory, offset: int, length: int) -> bytes:
    if length > MAX_PATH:
        raise WasiError(Errno.NAMETOOLONG)
    return check_path(memory.read(offset, length))


@file_function(I32, I32, I32, I32, I32, I64, I64, I32, I32)
async def path_open(
    wasi: Wasi,
    memory: GuestMemory,
    descriptor: int,
    lookup: int,
    path: int,
    length: int,
    how: int,
    rights: int,
    inheriting: int,
    flags: int,
    result: int,
) -> int:
    """Opens a file or folder. Rights that it cannot have are left out, but reading and writing are answered for."""
    directory = wasi.descriptors.directory(descriptor, Right.PATH_OPEN)
    name = _read_path(memory, path, length)
    opening = _opening(directory, how, Right(rights & sum(Right)), flags)
    check_range(memory, result, 4)
    wasi.descriptors.check_room()
    host, is_folder = await on_thread(partial(open_path, directory, name, opening))
    wanted = directory.inheriting
    opened: Descriptor
    if is_folder:
        opened = Directory(
            wanted & (DIRECTORY_READING | DIRECTORY_WRITING),
            wanted,
            filetype=Filetype.DIRECTORY,
            host=host,
            account=directory.account,
        )
    else:
        kept = FILE_ALWAYS
        kept |= FILE_READING if opening.read else NO_RIGHT
        kept |= FILE_WRITING if opening.write else NO_RIGHT
        opened = File(
            wanted & kept,
            flags=opening.flags,
            filetype=Filetype.REGULAR_FILE,
            host=host,
            account=directory.account,
        )
    write_u32(memory, result, wasi.descriptors.add(opened))
    return Errno.SUCCESS


def _opening(directory: Directory, how: int, rights: Right, flags: int) -> Opening:
    """What the guest asks for, checked.

    Raises:
        WasiError: INVAL, the flags are unknown or contradict each other; NOTCAPABLE, it may not do that here.
    """
    if how & ~sum(OpenFlag) or flags & ~sum(FdFlag):
        raise WasiError(Errno.INVAL)
    write = bool(rights & Right.FD_WRITE)
    if how & OpenFlag.DIRECTORY:
        if how & (OpenFlag.CREAT | OpenFlag.TRUNC):
            raise WasiError(Errno.INVAL)
        return Opening(read=True, write=False, how=OpenFlag(how), flags=FdFlag(0))
    if how & OpenFlag.CREAT:
        directory.require(Right.PATH_CREATE_FILE)
    if how & OpenFlag.TRUNC:
        directory.require(Right.PATH_FILESTAT_SET_SIZE)
        if not write:
            raise WasiError(Errno.INVAL)
    read = bool(rights & Right.FD_READ) or not write
    if (write and not directory.inheriting & Right.FD_WRITE) or (read and not directory.inheriting & Right.FD_READ):
        raise WasiError(Errno.NOTCAPABLE)
    return Opening(read=read, write=write, how=OpenFlag(how), flags=FdFlag(flags))


@file_function(I32, I32, I32)
async def path_create_directory(wasi: Wasi, memory: GuestMemory, descriptor: int, path: int, length: int) -> int:
    """Makes a folder."""
    directory = wasi.descriptors.directory(descriptor, Right.PATH_CREATE_DIRECTORY)
    await on_thread(partial(create_directory, directory, _read_path(memory, path, length)))
    return Errno.SUCCESS


@file_function(I32, I32, I32)
async def path_remove_directory(wasi: Wasi, memory: GuestMemory, descriptor: int, path: int, length: int) -> int:
    """Removes an empty folder."""
    directory = wasi.descriptors.directory(descriptor, Right.PATH_REMOVE_DIRECTORY)
    await on_thread(partial(remove_directory, directory, _read_path(memory, path, length)))
    return Errno.SUCCESS


@file_function(I32, I32, I32)
async def path_unlink_file(wasi: Wasi, memory: GuestMemory, descriptor: int, path: int, length: int) -> int:
    """Removes a file or a link."""
    directory = wasi.descriptors.directory(descriptor, Right.PATH_UNLINK_FILE)
    await on_thread(partial(unlink, directory, _read_path(memory, path, length)))
    return Errno.SUCCESS


@file_function(I32, I32, I32, I32, I32, I32)
async def path_rename(
    wasi: Wasi,
    memory: GuestMemory,
    descriptor: int,
    path: int,
    length: int,
    target: int,
    target_path: int,
    target_length: int,
) -> int:
    """Moves a file or folder inside of one preopen."""
    directory = wasi.descriptors.directory(descriptor, Right.PATH_RENAME_SOURCE)
    target_directory = wasi.descriptors.directory(target, Right.PATH_RENAME_TARGET)
    name = _read_path(memory, path, length)
    target_name = _read_path(memory, target_path, target_length)
    await on_thread(partial(rename, directory, name, target_directory, target_name))
    return Errno.SUCCESS


@file_function(I32, I32, I32, I32, I32)
async def path_filestat_get(
    wasi: Wasi, memory: GuestMemory, descriptor: int, lookup: int, path: int, length: int, result: int
) -> int:
    """Size, times and the like."""
    directory = wasi.descriptors.directory(descriptor, Right.PATH_FILESTAT_GET)
    name = _read_path(memory, path, length)
    status = await on_thread(partial(status_of, directory, name, bool(lookup & SYMLINK_FOLLOW)))
    memory.write(result, pack_filestat(status))
    return Errno.SUCCESS


@file_function(I32, I32, I32, I32, I64, I64, I32)
async def path_filestat_set_times(
    wasi: Wasi,
    memory: GuestMemory,
    descriptor: int,
    lookup: int,
    path: int,
    length: int,
    accessed: int,
    modified: int,
    flags: int,
) -> int:
    """Changes times."""
    directory = wasi.descriptors.directory(descriptor, Right.PATH_FILESTAT_SET_TIMES)
    name = _read_path(memory, path, length)
    times = new_times(accessed, modified, flags)
    await on_thread(partial(set_times_of, directory, name, bool(lookup & SYMLINK_FOLLOW), times))
    return Errno.SUCCESS


@file_function(I32, I32, I32, I32, I32, I32)
async def path_readlink(
    wasi: Wasi, memory: GuestMemory, descriptor: int, path: int, length: int, buffer: int, room: int, result: int
) -> int:
    """What a link says, cut at the end of the buffer."""
    directory = wasi.descriptors.directory(descriptor, Right.PATH_READLINK)
    name = _read_path(memory, path, length)
    check_range(memory, result, 4)
    said = (await on_thread(partial(read_link, directory, name)))[:room]
    memory.write(buffer, said)
    write_u32(memory, result, len(said))
    return Errno.SUCCESS


@function(I32, I32, I32, I32, I32, I32, I32)
def path_link(
    wasi: Wasi,
    memory: GuestMemory,
    descriptor: int,
    lookup: int,
    path: int,
    length: int,
    target: int,
    target_path: int,
    target_length: int,
) -> int:
    """Guests make no links: a second name would let a file be changed through a folder that does not count it."""
    wasi.descriptors.get(descriptor)
    wasi.descriptors.get(target)
    return Errno.NOTCAPABLE


@function(I32, I32, I32, I32, I32)
def path_symlink(
    wasi: Wasi, memory: GuestMemory, text: int, text_length: int, descriptor: int, path: int, length: int
) -> int:
    """Guests make no links: other programs of the host would follow them."""
    wasi.descriptors.get(descriptor)
    return Errno.NOTCAPABLE
