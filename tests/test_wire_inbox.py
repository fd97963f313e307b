"""What waits for an application is bounded, and nobody waits for one that has ended."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from innkeeper.server.wire.inbox import WAITING_BYTES, Inbox


def _message(size: int) -> Any:
    return {"type": "http.request", "body": b"x" * size, "more_body": True}


GONE: Any = {"type": "http.disconnect"}


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 1 << 20])
async def test_a_sender_waits_for_an_application_that_does_not_read(size: int) -> None:
    inbox = Inbox()
    put: list[int] = []

    async def send() -> None:
        for number in range(1000):
            await inbox.put(_message(size))
            put.append(number)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            waiting = len(put)
            assert 1 <= waiting < 200
            assert (waiting - 1) * size <= WAITING_BYTES
            for number in range(1000):
                assert len((await inbox.receive())["body"]) == size  # type: ignore[typeddict-item]
                assert len(put) <= number + waiting + 1
    assert len(put) == 1000


async def test_that_the_client_is_gone_never_waits_and_is_told_again_and_again() -> None:
    inbox = Inbox()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(inbox.put, _message(WAITING_BYTES))
            await trio.testing.wait_all_tasks_blocked()
            # Those that waited for room are let go.
            await inbox.put(GONE)
        assert (await inbox.receive())["type"] == "http.request"
        for _ in range(3):
            assert (await inbox.receive())["type"] == "http.disconnect"


async def test_nobody_waits_for_an_application_that_has_ended() -> None:
    inbox = Inbox()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(inbox.put, _message(WAITING_BYTES))
            await trio.testing.wait_all_tasks_blocked()
            inbox.close()
        await inbox.put(_message(1))
        await inbox.put(GONE)


async def test_a_reader_is_woken_by_what_comes() -> None:
    inbox = Inbox()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                assert (await inbox.receive())["type"] == "http.disconnect"

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await inbox.put(GONE)
