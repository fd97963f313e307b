"""What services do by themselves ends with the bridge; the run that a call belongs to reaches those inside of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from innkeeper.bridge.background import Background
from innkeeper.plugins.chain import Frame, calling
from innkeeper.plugins.runs import Run, RunContext


def sleeping(ended: list[str], name: str) -> Callable[[], Awaitable[None]]:
    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(name)

    return task


async def test_closing_cancels_every_task_and_waits_for_its_end() -> None:
    background, ended = Background(), list[str]()
    for name in ("one", "other"):
        background.start(name, sleeping(ended, name))
    await trio.testing.wait_all_tasks_blocked()
    await background.aclose()
    assert sorted(ended) == ["one", "other"]


async def test_nothing_starts_once_it_closes() -> None:
    background, ended = Background(), list[str]()
    await background.aclose()
    assert not background.start("late", sleeping(ended, "late"))
    await trio.testing.wait_all_tasks_blocked()
    await background.aclose()
    assert ended == []


async def test_a_task_that_fails_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("broken")

    background, ended = Background(), list[str]()
    background.start("the one that breaks", fails)
    background.start("the other", sleeping(ended, "other"))
    with caplog.at_level(logging.ERROR):
        await trio.testing.wait_all_tasks_blocked()
    assert [record.message for record in caplog.records] == [
        "the one that breaks failed and is over until the host starts again"
    ]
    assert ended == []
    await background.aclose()
    assert ended == ["other"]


async def test_a_task_is_no_part_of_the_call_that_started_it() -> None:
    background, seen = Background(), list[object]()

    async def looks() -> None:
        seen.append(calling())

    with Frame("a plugin", nesting=8):
        background.start("looks", looks)
    await trio.testing.wait_all_tasks_blocked()
    await background.aclose()
    assert seen == [None]


def test_a_call_belongs_to_the_run_of_the_call_that_it_is_inside_of() -> None:
    run = RunContext(Run("r1"), "node")
    with Frame("outer", nesting=8, run=run), Frame("inner", nesting=8) as inner:
        assert inner.run is run
    with Frame("alone", nesting=8) as alone:
        assert alone.run is None


def test_a_run_that_is_over_gives_no_call_its_context() -> None:
    outer = Frame("outer", nesting=8, run=RunContext(Run("r1")))
    with outer:
        pass
    with Frame("later", nesting=8) as later:
        assert later.run is None
