"""A guest without rights: nothing moves but by itself, and nothing that it asks for costs the host much."""

from __future__ import annotations

import struct
from hashlib import sha256, shake_128

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from innkeeper.sandbox.wasi import FUNCTIONS, Errno, ProcExit, Wasi, WasiRights
from innkeeper.sandbox.wasi.clocks import RESOLUTION, START_OF_STANDING_TIME
from innkeeper.sandbox.wasi.entropy import DigestRandom
from test_wasi_guest import DATA, RESULT, SEED, Guest

SECOND = 1_000_000_000
CLOCK, FD_READ, FD_WRITE = range(3)


def subscription(userdata: int, kind: int, number: int, timeout: int = 0, flags: int = 0) -> bytes:
    return struct.pack("<QB7xI4xQQH6x", userdata, kind, number, timeout, 0, flags)


async def poll(guest: Guest, *subscriptions: bytes) -> list[tuple[int, int, int, int, int]]:
    """(userdata, errno, kind, bytes, flags) of each event."""
    guest.memory.write(DATA, b"".join(subscriptions))
    events = DATA + 0x8000
    assert await guest.call("poll_oneoff", DATA, events, len(subscriptions), RESULT) is Errno.SUCCESS
    return list(struct.iter_unpack("<QHB5xQH6x", guest.memory.read(events, 32 * guest.u32())))


async def time_of(guest: Guest, clock: int) -> int:
    assert await guest.call("clock_time_get", clock, 0, RESULT) is Errno.SUCCESS
    return guest.u64()


async def test_there_are_no_arguments_and_no_environment() -> None:
    guest = Guest()
    guest.memory.write(RESULT, b"\xff" * 16)
    for name in ("args", "environ"):
        assert await guest.call(f"{name}_sizes_get", RESULT, RESULT + 8) is Errno.SUCCESS
        assert (guest.u32(), guest.u32(RESULT + 8)) == (0, 0)
        assert await guest.call(f"{name}_get", DATA, DATA) is Errno.SUCCESS


async def test_there_is_no_folder_and_no_socket() -> None:
    guest = Guest()
    assert await guest.call("fd_prestat_get", 3, RESULT) is Errno.BADF
    assert (await guest.open("x"))[0] is Errno.BADF
    assert (await guest.open("x", fd=0))[0] is Errno.NOTDIR
    assert await guest.call("sock_send", 7, 0, 0, 0, RESULT) is Errno.BADF
    assert await guest.call("sock_shutdown", 1, 0) is Errno.NOTSOCK
    assert await guest.call("proc_raise", 9) is Errno.NOSYS


async def test_clocks_stand_still_and_move_by_what_the_guest_sleeps(autojump_clock: MockClock) -> None:
    guest = Guest()
    assert await time_of(guest, 0) == START_OF_STANDING_TIME
    monotonic = await time_of(guest, 1)
    assert monotonic > 0
    began = trio.current_time()
    assert await poll(guest, subscription(7, CLOCK, 1, 90 * SECOND)) == [(7, 0, CLOCK, 0, 0)]
    assert trio.current_time() - began == pytest.approx(90)
    assert await time_of(guest, 0) == START_OF_STANDING_TIME + 90 * SECOND
    assert await time_of(guest, 1) == await time_of(guest, 2) == await time_of(guest, 3) == monotonic + 90 * SECOND


async def test_a_wait_ends_with_the_first_that_is_due_and_tells_all_that_are(autojump_clock: MockClock) -> None:
    guest = Guest()
    now = await time_of(guest, 0)
    events = await poll(
        guest,
        subscription(1, CLOCK, 1, 5 * SECOND),
        subscription(2, CLOCK, 0, now + 3 * SECOND, 1),
        subscription(3, CLOCK, 1, 3 * SECOND),
    )
    assert [event[0] for event in events] == [2, 3]
    assert await time_of(guest, 0) == now + 3 * SECOND


async def test_streams_are_ready_at_once_and_unknown_things_are_errors_of_their_own() -> None:
    guest = Guest()
    forever = 2**64 - 1
    events = await poll(
        guest,
        subscription(1, CLOCK, 1, forever),
        subscription(2, FD_READ, 0),
        subscription(3, FD_WRITE, 1),
        subscription(4, FD_READ, 99),
        subscription(5, CLOCK, 99, forever),
    )
    assert events == [
        (2, 0, FD_READ, 0, 1),
        (3, 0, FD_WRITE, 1, 0),
        (4, Errno.BADF, FD_READ, 0, 0),
        (5, Errno.INVAL, CLOCK, 0, 0),
    ]


async def test_waiting_for_nothing_too_much_or_the_unknown_is_refused() -> None:
    guest = Guest()
    assert await guest.call("poll_oneoff", DATA, DATA, 0, RESULT) is Errno.INVAL
    for count in (257, 2**32 - 1):
        assert await guest.call("poll_oneoff", DATA, DATA, count, RESULT) is Errno.INVAL
    guest.memory.write(DATA, subscription(1, 3, 0))
    assert await guest.call("poll_oneoff", DATA, DATA, 1, RESULT) is Errno.INVAL
    assert await guest.call("poll_oneoff", DATA, 2**32 - 1, 1, RESULT) is Errno.FAULT


async def test_a_sleep_of_three_hundred_years_can_be_cancelled(autojump_clock: MockClock) -> None:
    guest = Guest()
    with trio.move_on_after(30) as scope:
        await poll(guest, subscription(1, CLOCK, 1, 2**63))
    assert scope.cancelled_caught


async def test_random_numbers_are_the_digests_own_however_they_are_cut() -> None:
    prefix = b"innkeeper wasi random 1\0" + SEED
    stream = b"".join(shake_128(prefix + block.to_bytes(8, "little")).digest(1024) for block in range(200))
    guest = Guest()
    got = b""
    for length in (0, 1, 7, 1016, 1024, 1025, 4096, 4097, 70_000, 100_000):
        assert await guest.call("random_get", DATA, length) is Errno.SUCCESS
        got += guest.memory.read(DATA, length)
    assert got == stream[: len(got)]
    other = Guest(seed=sha256(b"another module").digest())
    await other.call("random_get", DATA, 32)
    assert other.memory.read(DATA, 32) != stream[:32]


@given(st.lists(st.integers(0, 3000), max_size=12))
@settings(deadline=None)
def test_the_random_stream_does_not_depend_on_the_requests(cuts: list[int]) -> None:
    cut = DigestRandom(SEED)
    assert b"".join(cut.take(length) for length in cuts) == DigestRandom(SEED).take(sum(cuts))


async def test_many_random_bytes_leave_trios_thread_to_others_in_between() -> None:
    guest = Guest(size=33 << 20)
    steps = 0

    async def others() -> None:
        nonlocal steps
        while True:
            steps += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        assert await guest.call("random_get", DATA, 32 << 20) is Errno.SUCCESS
        nursery.cancel_scope.cancel()
    assert steps >= 500


async def test_random_bytes_beyond_the_memory_are_refused_before_any_is_made() -> None:
    guest = Guest()
    before = bytes(guest.memory.data)
    assert await guest.call("random_get", DATA, 2**32 - 1) is Errno.FAULT
    assert await guest.call("random_get", 2**32 - 1, 8) is Errno.FAULT
    assert guest.memory.data == before


async def test_granted_clocks_are_the_hosts_and_no_finer_than_a_microsecond() -> None:
    guest = Guest(WasiRights(clock=True))
    assert await time_of(guest, 0) > START_OF_STANDING_TIME
    first, second = await time_of(guest, 1), await time_of(guest, 1)
    assert first <= second < first + 3600 * SECOND
    assert first < 3600 * SECOND
    assert {first % RESOLUTION, second % RESOLUTION} == {0}
    assert await guest.call("clock_res_get", 0, RESULT) is Errno.SUCCESS
    assert guest.u64() == RESOLUTION
    began = await time_of(guest, 1)
    await poll(guest, subscription(1, CLOCK, 1, 2_000_000))
    assert await time_of(guest, 1) >= began + 2_000_000
    assert await guest.call("clock_time_get", 4, 0, RESULT) is Errno.INVAL


async def test_granted_random_numbers_differ_from_guest_to_guest() -> None:
    drawn = set()
    for _ in range(2):
        guest = Guest(WasiRights(random=True))
        assert await guest.call("random_get", DATA, 10_000) is Errno.SUCCESS
        drawn.add(guest.memory.read(DATA, 10_000))
    assert len(drawn) == 2


@pytest.mark.parametrize("code", [0, 1, 2**32 - 1])
async def test_an_exit_carries_its_code(code: int) -> None:
    with pytest.raises(ProcExit) as caught:
        await Guest().call("proc_exit", code)
    assert caught.value.code == code


async def test_a_guest_that_has_ended_gets_badf() -> None:
    guest = Guest()
    guest.wasi.close()
    guest.wasi.close()
    assert await guest.call("fd_write", 1, *guest.iovecs((DATA, 1)), RESULT) is Errno.BADF


def test_what_never_waits_answers_at_once() -> None:
    guest = Guest()
    for name, function in FUNCTIONS.items():
        if not function.asynchronous and name != "proc_exit":
            assert isinstance(function.handler(guest.wasi, guest.memory, *[0] * len(function.parameters)), int)


def test_small_requests_of_functions_that_may_wait_are_answered_at_once_too() -> None:
    guest = Guest()
    assert FUNCTIONS["random_get"].handler(guest.wasi, guest.memory, DATA, 64) == 0
    assert FUNCTIONS["fd_write"].handler(guest.wasi, guest.memory, 1, *guest.iovecs((DATA, 64)), RESULT) == 0
    assert FUNCTIONS["fd_close"].handler(guest.wasi, guest.memory, 2) == 0


def test_a_wasi_needs_no_log() -> None:
    guest = Guest()
    guest.wasi = Wasi(SEED)
    assert FUNCTIONS["fd_write"].handler(guest.wasi, guest.memory, 1, *guest.iovecs((DATA, 64)), RESULT) == 0
    guest.wasi.flush()
