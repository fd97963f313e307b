"""Standard streams: output is lines of the log, input is empty, and no list of buffers is too strange."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.sandbox.wasi import Errno
from innkeeper.sandbox.wasi.abi import Right
from innkeeper.sandbox.wasi.lines import LineLog
from test_wasi_guest import DATA, IOVECS, RESULT, Guest


async def test_output_and_error_go_to_the_log_line_by_line() -> None:
    guest = Guest()
    assert await guest.write(1, b"one\ntw") == (Errno.SUCCESS, 6)
    await guest.write(2, b"bad\n")
    assert guest.logged == [("info", b"one"), ("error", b"bad")]
    await guest.write(1, b"o\n\nrest")
    assert guest.logged[2:] == [("info", b"two"), ("info", b"")]
    guest.wasi.flush()
    guest.wasi.flush()
    assert guest.logged[4:] == [("info", b"rest")]


async def test_several_buffers_are_one_text() -> None:
    guest = Guest()
    guest.memory.write(DATA, b"hello \nworld")
    buffers = guest.iovecs((DATA + 7, 5), (0, 0), (DATA + 5, 2), (DATA, 5), (DATA + 6, 1))
    assert await guest.call("fd_write", 1, *buffers, RESULT) is Errno.SUCCESS
    assert guest.u32() == 13
    assert guest.logged == [("info", b"world "), ("info", b"hello")]


@given(st.lists(st.binary(max_size=3000) | st.integers(0, 3000).map(lambda n: b"x" * n + b"\n"), max_size=8))
@settings(deadline=None)
def test_nothing_that_is_printed_is_lost_and_no_line_is_longer_than_a_kibibyte(parts: list[bytes]) -> None:
    logged: list[bytes] = []
    lines = LineLog("info", lambda level, line: logged.append(line))
    for part in parts:
        lines.write(part)
    lines.flush()
    expected: list[bytes] = []
    *whole, rest = b"".join(parts).split(b"\n")
    for line in whole:
        expected += [line[at : at + 1024] for at in range(0, len(line), 1024)] or [b""]
    expected += [rest[at : at + 1024] for at in range(0, len(rest), 1024)]
    assert logged == expected


async def test_a_flood_costs_no_memory_and_few_calls_of_the_log() -> None:
    guest = Guest()
    guest.memory.write(DATA, b"\n" * 65_536)
    calls = 0

    def count(level: str, line: bytes) -> None:
        nonlocal calls
        assert len(line) <= 1024
        assert b"\n" not in line
        calls += 1

    lines = LineLog("info", count)
    for _ in range(4):
        lines.write(b"\n" * 65_536)
    assert calls <= 65_536 + 3 * 64
    for _ in range(4):
        assert await guest.call("fd_write", 1, *guest.iovecs((DATA, 65_536)), RESULT) is Errno.SUCCESS
        assert guest.u32() == 65_536
    assert len(guest.logged) <= 65_536 + 3 * 64


async def test_a_large_output_is_taken_in_part() -> None:
    guest = Guest()
    assert await guest.call("fd_write", 1, *guest.iovecs((DATA, 200_000)), RESULT) is Errno.SUCCESS
    assert guest.u32() == 65_536
    many = guest.iovecs(*[(DATA, 1)] * 1000)
    assert await guest.call("fd_write", 1, *many, RESULT) is Errno.SUCCESS
    assert 0 < guest.u32() <= 1000


@pytest.mark.parametrize(
    ("buffers", "answer"),
    [
        ([(0, 2**32 - 1)] * 1000, Errno.FAULT),
        ([(2**32 - 1, 2**32 - 1)] * 3, Errno.FAULT),
        ([(2**32 - 16, 32)], Errno.FAULT),
        ([(DATA, 16), (1 << 20, 1)], Errno.FAULT),
        ([(DATA, 16)] * 1025, Errno.INVAL),
        ([(2**32 - 1, 0)], Errno.SUCCESS),
        ([(DATA, (1 << 20) - DATA)] * 1000, Errno.SUCCESS),
    ],
)
async def test_strange_buffers_are_bounded_or_refused(buffers: list[tuple[int, int]], answer: Errno) -> None:
    guest = Guest()
    assert await guest.call("fd_write", 1, *guest.iovecs(*buffers), RESULT) is answer
    if answer is not Errno.SUCCESS:
        assert guest.logged == []


@pytest.mark.parametrize("count", [1025, 2**29, 2**32 - 1])
async def test_a_list_of_too_many_buffers_is_refused_unread(count: int) -> None:
    guest = Guest()
    for name, *rest in (("fd_write", 1), ("fd_read", 0)):
        answer = await guest.call(name, *rest, IOVECS, count, RESULT)
        assert answer is (Errno.INVAL if name == "fd_write" else Errno.SUCCESS)


async def test_a_fault_prints_nothing() -> None:
    guest = Guest()
    guest.memory.write(DATA, b"text\n")
    assert await guest.call("fd_write", 1, *guest.iovecs((DATA, 5)), 2**32 - 2) is Errno.FAULT
    assert await guest.call("fd_write", 1, 2**32 - 4, 1, RESULT) is Errno.FAULT
    assert guest.logged == []


async def test_input_is_at_its_end_and_streams_have_one_direction() -> None:
    guest = Guest()
    assert await guest.read(0) == b""
    assert await guest.call("fd_read", 1, *guest.iovecs((DATA, 4)), RESULT) is Errno.NOTCAPABLE
    assert (await guest.write(0, b"x"))[0] is Errno.NOTCAPABLE
    assert (await guest.write(9, b"x"))[0] is Errno.BADF


async def test_streams_are_character_devices_without_a_place() -> None:
    guest = Guest()
    assert await guest.call("fd_fdstat_get", 1, RESULT) is Errno.SUCCESS
    filetype, _, rights, inheriting = struct.unpack("<BxHxxxxQQ", guest.memory.read(RESULT, 24))
    assert filetype == 2
    assert rights & Right.FD_WRITE
    assert not rights & (Right.FD_SEEK | Right.FD_TELL | Right.FD_READ)
    assert inheriting == 0
    assert await guest.call("fd_filestat_get", 1, RESULT) is Errno.SUCCESS
    assert guest.memory.read(RESULT + 16, 1) == b"\x02"
    assert await guest.call("fd_seek", 1, 0, 1, RESULT) is Errno.SPIPE
    assert await guest.call("fd_tell", 1, RESULT) is Errno.SPIPE
    assert await guest.call("fd_pread", 0, *guest.iovecs((DATA, 4)), 0, RESULT) is Errno.SPIPE
    assert await guest.call("fd_allocate", 1, 0, 5) is Errno.SPIPE
    assert await guest.call("fd_sync", 1) is Errno.INVAL
    assert await guest.call("fd_filestat_set_size", 1, 0) is Errno.INVAL
    assert await guest.call("fd_readdir", 1, DATA, 100, 0, RESULT) is Errno.NOTDIR


async def test_rights_can_only_be_given_up() -> None:
    guest = Guest()
    assert await guest.call("fd_fdstat_set_rights", 1, int(Right.FD_READ | Right.FD_WRITE), 0) is Errno.NOTCAPABLE
    assert await guest.call("fd_fdstat_set_rights", 1, 1 << 60, 0) is Errno.NOTCAPABLE
    assert await guest.call("fd_fdstat_set_rights", 1, 0, 1 << 60) is Errno.NOTCAPABLE
    assert await guest.call("fd_fdstat_set_rights", 1, 0, 0) is Errno.SUCCESS
    assert (await guest.write(1, b"x"))[0] is Errno.NOTCAPABLE


async def test_streams_can_be_closed_and_renumbered() -> None:
    guest = Guest()
    assert await guest.call("fd_renumber", 2, 1) is Errno.SUCCESS
    await guest.write(1, b"error now\n")
    assert guest.logged == [("error", b"error now")]
    assert (await guest.write(2, b"x"))[0] is Errno.BADF
    assert await guest.call("fd_renumber", 1, 50) is Errno.BADF
    assert await guest.call("fd_renumber", 1, 1) is Errno.SUCCESS
    assert await guest.call("fd_close", 1) is Errno.SUCCESS
    assert await guest.call("fd_close", 1) is Errno.BADF


async def test_flags_of_a_stream_can_be_set_and_are_only_remembered() -> None:
    guest = Guest()
    assert await guest.call("fd_fdstat_set_flags", 1, 4) is Errno.SUCCESS
    await guest.call("fd_fdstat_get", 1, RESULT)
    assert guest.memory.read(RESULT + 2, 2) == b"\x04\x00"
    assert await guest.call("fd_fdstat_set_flags", 1, 16) is Errno.NOTSUP
    assert await guest.call("fd_fdstat_set_flags", 1, 1 << 20) is Errno.INVAL
