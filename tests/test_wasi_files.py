"""Files, where the operator granted a folder: the real thing, bounded and counted."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
import trio

from innkeeper.sandbox.wasi import Errno, Preopen, WasiRights, hostfile
from innkeeper.sandbox.wasi.abi import FdFlag
from test_wasi_guest import (
    APPEND,
    CREAT,
    DATA,
    DIRECTORY,
    EXCL,
    OTHER_PATH,
    READ,
    RESULT,
    TRUNC,
    WRITE,
    Guest,
    guest_with,
)

SET, CURRENT, END = range(3)


async def seek(guest: Guest, fd: int, offset: int, whence: int) -> Errno:
    return await guest.call("fd_seek", fd, offset % 2**64, whence, RESULT)


async def entries(guest: Guest, fd: int, room: int, at_most: int = 10_000) -> list[tuple[bytes, int]]:
    """(name, filetype) of all entries, read through a buffer of `room` bytes."""
    found: list[tuple[bytes, int]] = []
    cookie = 0
    for _ in range(at_most):
        assert await guest.call("fd_readdir", fd, DATA, room, cookie, RESULT) is Errno.SUCCESS
        used = guest.u32()
        data = guest.memory.read(DATA, used)
        while len(data) >= 24:
            following, _, length, filetype = struct.unpack("<QQIB3x", data[:24])
            if len(data) < 24 + length:
                break
            found.append((data[24 : 24 + length], filetype))
            cookie, data = following, data[24 + length :]
        if used < room:
            return found
    raise AssertionError("a folder without an end")


async def test_preopens_are_told_by_name(tmp_path: Path) -> None:
    guest = guest_with(tmp_path)
    assert await guest.call("fd_prestat_get", 3, RESULT) is Errno.SUCCESS
    assert guest.memory.read(RESULT, 8) == b"\0\0\0\0\5\0\0\0"
    assert await guest.call("fd_prestat_dir_name", 3, DATA, 4) is Errno.NAMETOOLONG
    assert await guest.call("fd_prestat_dir_name", 3, DATA, 5) is Errno.SUCCESS
    assert guest.memory.read(DATA, 5) == b"/data"
    assert await guest.call("fd_prestat_get", 4, RESULT) is Errno.BADF
    folder = await guest.opened(".", DIRECTORY)
    assert await guest.call("fd_prestat_get", folder, RESULT) is Errno.BADF
    guest.wasi.close()


async def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    guest = guest_with(tmp_path)
    fd = await guest.opened("a.txt", CREAT | EXCL, READ | WRITE)
    assert await guest.write(fd, b"hello world") == (Errno.SUCCESS, 11)
    assert await guest.call("fd_tell", fd, RESULT) is Errno.SUCCESS
    assert guest.u64() == 11
    assert await seek(guest, fd, -5, END) is Errno.SUCCESS
    assert await guest.read(fd) == b"world"
    assert await guest.read(fd) == b""
    assert await guest.write(fd, b"J", 0) == (Errno.SUCCESS, 1)
    assert await guest.read(fd, 5, 0) == b"Jello"
    assert guest.u64(RESULT) & 0xFFFFFFFF == 5
    assert await seek(guest, fd, -1, SET) is Errno.INVAL
    assert await seek(guest, fd, 0, 3) is Errno.INVAL
    assert await guest.call("fd_sync", fd) is Errno.SUCCESS
    assert await guest.call("fd_datasync", fd) is Errno.SUCCESS
    assert await guest.call("fd_advise", fd, 0, 10, 5) is Errno.SUCCESS
    assert await guest.call("fd_advise", fd, 0, 10, 6) is Errno.INVAL
    assert await guest.call("fd_close", fd) is Errno.SUCCESS
    assert await guest.call("fd_close", fd) is Errno.BADF
    assert (tmp_path / "a.txt").read_bytes() == b"Jello world"
    assert (await guest.open("a.txt", CREAT | EXCL, WRITE))[0] is Errno.EXIST
    await guest.opened("a.txt", TRUNC, WRITE)
    assert (tmp_path / "a.txt").read_bytes() == b""
    guest.wasi.close()


async def test_a_descriptor_reads_or_writes_as_it_was_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    guest = guest_with(tmp_path)
    reading, writing = await guest.opened("a", 0, READ), await guest.opened("a", 0, WRITE)
    assert (await guest.write(reading, b"x"))[0] is Errno.NOTCAPABLE
    assert await guest.call("fd_read", writing, *guest.iovecs((DATA, 4)), RESULT) is Errno.NOTCAPABLE
    assert (await guest.open("a", TRUNC, READ))[0] is Errno.INVAL
    assert (await guest.open("a", 1 << 10))[0] is Errno.INVAL
    assert (await guest.open("a", 0, READ, 1 << 9))[0] is Errno.INVAL
    assert (await guest.open("missing"))[0] is Errno.NOENT
    assert (await guest.open("a", DIRECTORY))[0] is Errno.NOTDIR
    guest.wasi.close()


async def test_appending_writes_at_the_end_whatever_the_place(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\n")
    guest = guest_with(tmp_path)
    fd = await guest.opened("log", 0, WRITE, APPEND)
    await guest.write(fd, b"two\n")
    assert await guest.call("fd_fdstat_set_flags", fd, 0) is Errno.SUCCESS
    await guest.write(fd, b"ONE", 0)
    assert await guest.call("fd_fdstat_set_flags", fd, APPEND) is Errno.SUCCESS
    await seek(guest, fd, 0, SET)
    await guest.write(fd, b"three\n")
    assert (tmp_path / "log").read_bytes() == b"ONE\ntwo\nthree\n"
    assert await guest.call("fd_fdstat_set_flags", fd, APPEND | int(FdFlag.SYNC)) is Errno.NOTSUP
    guest.wasi.close()


async def test_large_transfers_are_done_in_part(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * (3 << 20))
    guest = Guest(WasiRights(files=(Preopen("/", tmp_path, writable=True),)), size=4 << 20)
    fd = await guest.opened("big", 0, READ | WRITE)
    buffers = guest.iovecs((DATA, 2 << 20), (DATA, 3 << 20))
    assert await guest.call("fd_read", fd, *buffers, RESULT) is Errno.SUCCESS
    assert guest.u32() == 1 << 20
    assert await guest.call("fd_write", fd, *buffers, RESULT) is Errno.SUCCESS
    assert guest.u32() == 1 << 20
    guest.wasi.close()


async def test_the_status_of_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    guest = guest_with(tmp_path)
    fd = await guest.opened("a", 0, READ | WRITE)
    assert await guest.call("fd_filestat_set_times", fd, 5, 7_000_000_000, 1 | 4) is Errno.SUCCESS
    for answer in (
        await guest.call("fd_filestat_get", fd, RESULT),
        await guest.call("path_filestat_get", 3, 1, *guest.path("a"), RESULT),
    ):
        assert answer is Errno.SUCCESS
        _, inode, filetype, links, size, _, modified, _ = struct.unpack("<QQB7xQQQQQ", guest.memory.read(RESULT, 64))
        assert (inode, filetype, links, size, modified) == ((tmp_path / "a").stat().st_ino, 4, 1, 5, 7_000_000_000)
    assert await guest.call("path_filestat_set_times", 3, 0, *guest.path("a"), 0, 9, 4) is Errno.SUCCESS
    assert (tmp_path / "a").stat().st_mtime_ns == 9
    assert await guest.call("fd_filestat_set_times", fd, 0, 0, 2 | 8) is Errno.SUCCESS
    assert (tmp_path / "a").stat().st_mtime_ns > 10**18
    for flags in (1 | 2, 4 | 8, 16, 1 << 31):
        assert await guest.call("fd_filestat_set_times", fd, 0, 0, flags) is Errno.INVAL
    assert await guest.call("fd_filestat_set_times", fd, 2**64 - 1, 0, 1) is Errno.INVAL
    assert await guest.call("path_filestat_get", 3, 0, *guest.path("a/"), RESULT) is Errno.NOTDIR
    assert await guest.call("path_filestat_get", 3, 0, *guest.path("."), RESULT) is Errno.SUCCESS
    assert guest.memory.read(RESULT + 16, 1) == b"\3"
    guest.wasi.close()


async def test_folders_are_made_listed_renamed_and_removed(tmp_path: Path) -> None:
    guest = guest_with(tmp_path)
    assert await guest.call("path_create_directory", 3, *guest.path("sub/")) is Errno.SUCCESS
    assert await guest.call("path_create_directory", 3, *guest.path("sub")) is Errno.EXIST
    await guest.opened("sub/file", CREAT, WRITE)
    sub = await guest.opened("sub", DIRECTORY)
    assert await entries(guest, sub, 4096) == [(b"file", 4)]
    assert await guest.call("path_remove_directory", 3, *guest.path("sub")) is Errno.NOTEMPTY
    assert await guest.call("path_unlink_file", 3, *guest.path("sub")) is Errno.ISDIR
    moved = guest.path("sub/../moved", OTHER_PATH)
    assert await guest.call("path_rename", sub, *guest.path("file"), 3, *moved) is Errno.SUCCESS
    assert sorted(os.listdir(tmp_path)) == ["moved", "sub"]
    assert await guest.call("path_rename", 3, *guest.path("moved"), 3, *guest.path("x/", OTHER_PATH)) is Errno.NOTDIR
    assert await guest.call("path_remove_directory", 3, *guest.path("moved")) is Errno.NOTDIR
    assert await guest.call("path_unlink_file", 3, *guest.path("moved")) is Errno.SUCCESS
    assert await guest.call("path_remove_directory", 3, *guest.path("sub")) is Errno.SUCCESS
    assert await guest.call("path_remove_directory", 3, *guest.path(".")) is Errno.INVAL
    assert (await guest.open("x/", CREAT, WRITE))[0] is Errno.ISDIR
    assert (await guest.open(".", 0, WRITE))[0] is Errno.ISDIR
    assert await guest.call("fd_read", 3, *guest.iovecs((DATA, 4)), RESULT) is Errno.ISDIR
    assert os.listdir(tmp_path) == []
    guest.wasi.close()


@pytest.mark.parametrize("room", [40, 100, 4096, 65_536])
async def test_a_folder_is_read_whole_through_any_buffer(tmp_path: Path, room: int) -> None:
    names = {f"entry-{number}" for number in range(150)}
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / os.fsdecode(b"\xff")).touch()
    guest = guest_with(tmp_path)
    found = await entries(guest, 3, room)
    assert len(found) == 150
    assert {name.decode() for name, _ in found} == names
    assert await entries(guest, 3, room) == found
    assert await guest.call("fd_readdir", 3, DATA, room, 149, RESULT) is Errno.SUCCESS
    assert guest.memory.read(DATA + 24, guest.u32() - 24) == found[-1][0]
    assert await guest.call("fd_readdir", 3, DATA, room, 2**64 - 1, RESULT) is Errno.INVAL
    assert await guest.call("fd_readdir", 3, DATA, 2**30, 0, RESULT) is Errno.INVAL
    guest.wasi.close()


async def test_no_more_is_written_than_the_quota(tmp_path: Path) -> None:
    guest = guest_with(tmp_path, quota=1000)
    fd = await guest.opened("a", CREAT, READ | WRITE)
    assert await guest.write(fd, b"x" * 600) == (Errno.SUCCESS, 600)
    assert (await guest.write(fd, b"x" * 401))[0] is Errno.DQUOT
    assert (await guest.write(fd, b"x", 1000))[0] is Errno.DQUOT
    assert (await guest.write(fd, b"x", 2**62))[0] is Errno.DQUOT
    assert await guest.call("fd_filestat_set_size", fd, 1001) is Errno.DQUOT
    assert await guest.call("fd_allocate", fd, 600, 401) is Errno.DQUOT
    assert await guest.call("fd_allocate", fd, 0, 0) is Errno.INVAL
    assert await guest.call("fd_allocate", fd, 2**63, 2**63) is Errno.FBIG
    assert (tmp_path / "a").stat().st_size == 600
    assert await guest.call("fd_filestat_set_size", fd, 700) is Errno.SUCCESS
    assert await guest.call("fd_allocate", fd, 700, 100) is Errno.SUCCESS
    assert await guest.write(fd, b"y" * 100, 0) == (Errno.SUCCESS, 100)
    other = await guest.opened("b", CREAT, WRITE, APPEND)
    assert await guest.write(other, b"z" * 100) == (Errno.SUCCESS, 100)
    assert (await guest.write(other, b"z"))[0] is Errno.DQUOT
    assert await guest.call("fd_filestat_set_size", fd, 0) is Errno.SUCCESS
    assert await guest.call("fd_filestat_set_size", fd, 1) is Errno.DQUOT
    assert await guest.write(fd, b"", 2**40) == (Errno.SUCCESS, 0)
    guest.wasi.close()


async def test_a_failed_write_costs_no_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = guest_with(tmp_path, quota=1000)
    fd = await guest.opened("a", CREAT, WRITE)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (_ for _ in ()).throw(OSError(28, "full")))
    assert (await guest.write(fd, b"x" * 1000))[0] is Errno.NOSPC
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))
    assert await guest.write(fd, b"x" * 1000) == (Errno.SUCCESS, 10)
    monkeypatch.undo()
    assert await guest.write(fd, b"x" * 990) == (Errno.SUCCESS, 990)
    assert (await guest.write(fd, b"x"))[0] is Errno.DQUOT
    guest.wasi.close()


async def test_a_guest_creates_only_so_many_names_and_failures_cost_none(tmp_path: Path) -> None:
    guest = Guest(WasiRights(files=(Preopen("/data", tmp_path, writable=True, entries=30),)))
    for _ in range(2):
        assert await guest.call("path_create_directory", 3, *guest.path("no/sub")) is Errno.NOENT
    for number in range(30):
        assert await guest.call("path_create_directory", 3, *guest.path(f"{number}")) is Errno.SUCCESS
    assert await guest.call("path_create_directory", 3, *guest.path("one more")) is Errno.DQUOT
    assert (await guest.open("one more", CREAT, WRITE))[0] is Errno.DQUOT
    assert await guest.call("path_remove_directory", 3, *guest.path("7")) is Errno.SUCCESS
    guest.wasi.close()


async def test_a_guest_holds_only_so_many_descriptors(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    guest = guest_with(tmp_path)
    numbers = [await guest.opened("a") for _ in range(60)]
    assert (await guest.open("a"))[0] is Errno.MFILE
    await guest.call("fd_close", numbers[5])
    assert await guest.opened("a") == numbers[5]
    guest.wasi.close()


async def test_all_guests_together_leave_descriptors_to_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").touch()
    monkeypatch.setattr(hostfile, "BUDGET", hostfile.DescriptorBudget(3))
    first, second = guest_with(tmp_path), guest_with(tmp_path)
    await first.opened("a")
    assert (await second.open("a"))[0] is Errno.NFILE
    first.wasi.close()
    await second.opened("a")
    second.wasi.close()


async def test_in_a_read_only_folder_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    (tmp_path / "sub").mkdir()
    before = (tmp_path / "a").stat()
    guest = guest_with(tmp_path, writable=False)
    fd = await guest.opened("a", 0, READ)
    sub = await guest.opened("sub", DIRECTORY, READ | WRITE)
    for folder in (3, sub):
        assert (await guest.open("a", CREAT, READ, fd=folder))[0] is Errno.NOTCAPABLE
        assert (await guest.open("a", 0, WRITE, fd=folder))[0] is Errno.NOTCAPABLE
        assert (await guest.open("a", TRUNC, WRITE, fd=folder))[0] is Errno.NOTCAPABLE
        path = guest.path("a")
        for name in ("path_create_directory", "path_remove_directory", "path_unlink_file"):
            assert await guest.call(name, folder, *path) is Errno.NOTCAPABLE
        assert await guest.call("path_rename", folder, *path, folder, *path) is Errno.NOTCAPABLE
        assert await guest.call("path_filestat_set_times", folder, 0, *path, 0, 0, 5) is Errno.NOTCAPABLE
        assert await guest.call("fd_filestat_set_times", folder, 0, 0, 5) is Errno.NOTCAPABLE
    assert (await guest.write(fd, b"x"))[0] is Errno.NOTCAPABLE
    assert await guest.call("fd_filestat_set_size", fd, 0) is Errno.NOTCAPABLE
    assert await guest.call("fd_filestat_set_times", fd, 0, 0, 5) is Errno.NOTCAPABLE
    assert await guest.call("fd_allocate", fd, 0, 10) is Errno.NOTCAPABLE
    assert (tmp_path / "a").stat() == before
    guest.wasi.close()


async def test_between_two_preopens_names_are_not_moved(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "a").touch()
    rights = WasiRights(files=(Preopen("/one", one, writable=True), Preopen("/two", two, writable=True)))
    guest = Guest(rights)
    assert await guest.call("path_rename", 3, *guest.path("a"), 4, *guest.path("a", OTHER_PATH)) is Errno.XDEV
    guest.wasi.close()


async def test_closing_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    before = os.listdir("/dev/fd")
    for _ in range(3):
        guest = guest_with(tmp_path)
        for _ in range(5):
            await guest.opened("a")
        folder = await guest.opened(".", DIRECTORY)
        await guest.call("fd_readdir", folder, DATA, 30, 0, RESULT)
        await guest.call("fd_renumber", folder, 4)
        guest.wasi.close()
        guest.wasi.close()
        assert (await guest.open("a"))[0] is Errno.BADF
    assert os.listdir("/dev/fd") == before


async def test_a_file_that_a_thread_works_on_is_closed_when_the_thread_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"right")
    guest = guest_with(tmp_path)
    fd = await guest.opened("a")
    real = os.read
    in_thread = trio.Event()
    token = trio.lowlevel.current_trio_token()
    before = len(os.listdir("/dev/fd"))

    def slow(number: int, length: int) -> bytes:
        token.run_sync_soon(in_thread.set)
        trio.from_thread.run(closed.wait, trio_token=token)
        # A closed number would be taken again by this.
        others = [os.open(tmp_path, os.O_RDONLY) for _ in range(8)]
        try:
            return real(number, length)
        finally:
            for other in others:
                os.close(other)

    closed = trio.Event()
    monkeypatch.setattr(os, "read", slow)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def reading() -> None:
            assert await guest.read(fd) == b"right"

        await in_thread.wait()
        guest.wasi.close()
        closed.set()
    assert len(os.listdir("/dev/fd")) == before - 2


async def test_a_cancelled_call_has_ended_when_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = guest_with(tmp_path)
    fd = await guest.opened("a", CREAT, WRITE)
    real = os.write
    token = trio.lowlevel.current_trio_token()
    ended = False

    def slow(number: int, data: bytes) -> int:
        nonlocal ended
        trio.from_thread.run_sync(scope.cancel, trio_token=token)
        written = real(number, data)
        ended = True
        return written

    monkeypatch.setattr(os, "write", slow)
    with trio.CancelScope() as scope:
        await guest.write(fd, b"text")
        await trio.lowlevel.checkpoint()
    assert ended
    assert scope.cancelled_caught
    guest.wasi.close()


async def test_closing_that_is_cancelled_still_closes(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    guest = guest_with(tmp_path)
    fd = await guest.opened("a")
    before = len(os.listdir("/dev/fd"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await guest.call("fd_close", fd)
    assert scope.cancelled_caught
    assert len(os.listdir("/dev/fd")) == before - 1
    guest.wasi.close()
