"""Compiling happens elsewhere, within bounds, for as long as somebody wants it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime as w
from hypothesis import given, settings
from hypothesis import strategies as st

import heavy
from heavy import eventually, heavy_module, numbered
from innkeeper.errors import InternalError, RejectedError, UsageError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation import compiler as compilers
from innkeeper.sandbox.compilation import process
from innkeeper.sandbox.compilation.compiler import Compiler
from innkeeper.sandbox.compilation.plan import Plan, PlanError
from innkeeper.sandbox.compilation.progress import CacheTrouble, Compiling, Listener, Stage, listener
from innkeeper.sandbox.compilation.settings import SOURCES, fingerprint, new_engine

EMPTY = b"\0asm\1\0\0\0"
ENGINE = new_engine()
FINGERPRINT = fingerprint(ENGINE)
HEAVY = heavy_module()

ON_ANY_MACHINE = 600
"""In place of `WALL`: a second of processor time takes longer on a machine that is busy otherwise, but not so long."""


def value_of(artifact: bytes) -> int:
    return heavy.value_of(w.Module.deserialize(ENGINE, artifact), ENGINE)


def children() -> list[int]:
    """Processes whose parent is this one, the dead and forgotten among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(path.parent.name))
    return found


@asynccontextmanager
async def compiling(*, told: Listener | None = None, idle: int = 600, **bounds: Any) -> AsyncIterator[Compiler]:
    """A compiler with bounds on `jobs`, `cpu` and `memory` that leaves no process behind."""
    before = set(children())
    token = listener.set(told)
    compiler = Compiler(FINGERPRINT, Bounds(**{f"compile_{name}": bound for name, bound in bounds.items()}), idle=idle)
    listener.reset(token)
    try:
        yield compiler
    finally:
        await compiler.aclose()
        assert set(children()) <= before


async def test_what_a_child_compiles_runs_in_an_engine_with_the_same_settings() -> None:
    async with compiling() as compiler:
        assert value_of(await compiler.compile("key", numbered(42), Plan())) == 42


async def test_a_child_serves_one_job_after_the_other() -> None:
    async with compiling(jobs=1) as compiler:
        await compiler.compile("1", numbered(1), Plan())
        first = children()
        await compiler.compile("2", numbered(2), Plan())
        assert children() == first


async def test_a_child_without_a_job_leaves_and_the_next_job_gets_another() -> None:
    before = set(children())
    async with compiling(jobs=1, idle=0) as compiler:
        await compiler.compile("1", numbered(1), Plan())
        assert await trio.to_thread.run_sync(eventually, lambda: set(children()) <= before)
        assert value_of(await compiler.compile("2", numbered(2), Plan())) == 2


async def test_a_job_whose_kept_child_is_leaving_just_now_gets_another() -> None:
    async with compiling(jobs=1, idle=0) as compiler:
        for number in range(12):
            # Straight after each other and a little later: some find a child on its way out.
            assert value_of(await compiler.compile(str(number), numbered(number), Plan())) == number
            await trio.sleep(0.002 * (number % 4))


@pytest.mark.parametrize(
    ("wasm", "words"),
    [
        (EMPTY + b"xx", "the Wasm file is damaged"),
        (b"\x7fELF....", "is a native or precompiled ELF file"),
        (
            EMPTY + bytes.fromhex("01040160000003020100") + bytes.fromhex("0a06010400410 00b".replace(" ", "")),
            "the module is not valid Wasm: type mismatch: values remaining on stack at end of block at offset 25",
        ),
        (w.wat2wasm("(module (memory 1 1) (memory 1 1))"), "'multi-memory', which is off here"),
    ],
)
async def test_what_is_no_valid_module_is_explained(wasm: bytes, words: str) -> None:
    async with compiling() as compiler:
        with pytest.raises(RejectedError, match=words.replace("(", r"\(")) as caught:
            await compiler.compile("key", wasm, Plan(), plugin="shout")
        assert caught.value.plugin == "shout"
        # The child said so itself, and lives on.
        assert value_of(await compiler.compile("good", numbered(3), Plan())) == 3


async def test_a_module_that_takes_too_much_processor_time_is_rejected_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compilers, "WALL", ON_ANY_MACHINE)
    async with compiling(cpu=1) as compiler:
        with pytest.raises(RejectedError) as caught:
            await compiler.compile("heavy", HEAVY, Plan(), plugin="heavy")
        assert str(caught.value).startswith(
            "plugin 'heavy': compiling took more than 1 s of processor time; "
            "the module is 63.3 kB with one function of 63.3 kB; build it"
        )
        assert value_of(await compiler.compile("good", numbered(3), Plan())) == 3


async def test_processor_time_is_counted_for_each_job_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "WALL", ON_ANY_MACHINE)
    # 0.3 s each, in one child.
    wasm = heavy_module(500, 1000)
    async with compiling(cpu=1, jobs=1) as compiler:
        for number in range(8):
            await compiler.compile(str(number), wasm, Plan())


async def test_a_module_that_takes_too_much_memory_is_rejected_with_the_reason() -> None:
    async with compiling(memory=200 << 20) as compiler:
        with pytest.raises(RejectedError) as caught:
            await compiler.compile("heavy", HEAVY, Plan(), plugin="heavy")
        assert str(caught.value).startswith(
            "plugin 'heavy': compiling needed more than 200 MiB of memory; "
            "the module is 63.3 kB with one function of 63.3 kB; build it"
        )


async def test_a_child_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "WALL", 1)
    monkeypatch.setattr(process, "BOOTSTRAP", "import time; time.sleep(600)")
    async with compiling(cpu=1) as compiler:
        with pytest.raises(RejectedError, match=r"compiling had not ended after 1 s; the module is 8 B; try again"):
            await compiler.compile("key", EMPTY, Plan())


async def test_ten_jobs_share_two_children_first_in_first_out() -> None:
    events: list[Compiling | CacheTrouble] = []
    before = set(children())
    most = 0

    def note(event: Compiling | CacheTrouble) -> None:
        nonlocal most
        events.append(event)
        most = max(most, len(set(children()) - before))

    async with compiling(jobs=2, told=note) as compiler, trio.open_nursery() as nursery:

        async def one(number: int) -> None:
            assert value_of(await compiler.compile(str(number), numbered(number), Plan())) == number

        for number in range(10):
            nursery.start_soon(one, number)
            await trio.testing.wait_all_tasks_blocked(0.001)
    started = [event.key for event in events if isinstance(event, Compiling) and event.stage is Stage.COMPILING]
    assert started == [str(number) for number in range(10)]
    assert most <= 2


async def test_two_who_want_the_same_share_one_job() -> None:
    events: list[Compiling | CacheTrouble] = []
    found: list[bytes] = []
    async with compiling(told=events.append) as compiler, trio.open_nursery() as nursery:

        async def want() -> None:
            found.append(await compiler.compile("key", numbered(7), Plan()))

        nursery.start_soon(want)
        nursery.start_soon(want)
    assert found[0] is found[1]
    assert [event.stage for event in events if isinstance(event, Compiling)] == [
        Stage.QUEUED,
        Stage.COMPILING,
        Stage.DONE,
    ]


async def test_two_who_want_the_same_bad_module_get_an_error_each() -> None:
    errors: list[RejectedError] = []
    async with compiling() as compiler, trio.open_nursery() as nursery:

        async def want(plugin: str) -> None:
            with pytest.raises(RejectedError) as caught:
                await compiler.compile("key", EMPTY + b"x", Plan(), plugin=plugin)
            errors.append(caught.value)

        nursery.start_soon(want, "one")
        nursery.start_soon(want, "two")
    assert {error.plugin for error in errors} == {"one", "two"}


async def test_when_a_cancelled_caller_goes_on_its_child_is_dead() -> None:
    before = set(children())
    async with compiling() as compiler:
        with trio.move_on_after(0.5) as scope:
            await compiler.compile("heavy", HEAVY, Plan())
        assert scope.cancelled_caught
        assert set(children()) <= before


async def test_a_job_goes_on_for_the_second_caller_when_the_first_is_cancelled() -> None:
    async with compiling() as compiler, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def first() -> None:
            with scope:
                await compiler.compile("key", numbered(5), Plan())

        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked(0.001)

        async def second() -> None:
            assert value_of(await compiler.compile("key", numbered(5), Plan())) == 5

        nursery.start_soon(second)
        await trio.testing.wait_all_tasks_blocked(0.001)
        scope.cancel()


async def test_who_is_cancelled_in_the_queue_takes_no_place_in_it() -> None:
    async with compiling(jobs=1) as compiler, trio.open_nursery() as nursery:
        running = trio.CancelScope()

        async def heavy() -> None:
            with running:
                await compiler.compile("heavy", HEAVY, Plan())

        nursery.start_soon(heavy)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.move_on_after(0.05) as waiting:
            await compiler.compile("waits", numbered(1), Plan())
        assert waiting.cancelled_caught
        running.cancel()
        assert value_of(await compiler.compile("next", numbered(2), Plan())) == 2


async def test_the_same_module_can_be_wanted_again_after_a_cancellation() -> None:
    async with compiling() as compiler:
        with trio.move_on_after(0.01):
            await compiler.compile("key", numbered(9), Plan())
        assert value_of(await compiler.compile("key", numbered(9), Plan())) == 9


async def test_closing_ends_what_runs() -> None:
    async with compiling() as compiler:
        async with trio.open_nursery() as nursery:

            async def one() -> None:
                with pytest.raises(UsageError, match="the engine was closed while the module was compiled"):
                    await compiler.compile("heavy", HEAVY, Plan())

            nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await compiler.aclose()
        with pytest.raises(UsageError, match="the engine is closed"):
            await compiler.compile("late", EMPTY, Plan())


async def test_a_broken_listener_breaks_nothing() -> None:
    def broken(_event: Compiling | CacheTrouble) -> None:
        raise RuntimeError

    async with compiling(told=broken) as compiler:
        assert value_of(await compiler.compile("key", numbered(1), Plan())) == 1


async def test_a_compiler_tells_the_listener_of_the_context_that_it_was_made_in() -> None:
    events: list[Compiling | CacheTrouble] = []
    token = listener.set(events.append)
    try:
        compiler = Compiler(FINGERPRINT, Bounds())
    finally:
        listener.reset(token)
    await compiler.compile("key", numbered(1), Plan(), plugin="one")
    await compiler.aclose()
    assert events[0] == Compiling("key", "one", len(numbered(1)), Stage.QUEUED)


async def test_trio_is_not_kept_waiting_while_modules_are_compiled() -> None:
    events: list[Compiling | CacheTrouble] = []
    async with compiling(jobs=1, told=events.append) as compiler, trio.open_nursery() as nursery:
        # 4 s of processor time, so that a turn takes less than 80 ms.
        nursery.start_soon(compiler.compile, "key", HEAVY, Plan())
        for _ in range(50):
            await trio.sleep(0.005)
        assert [event.stage for event in events if isinstance(event, Compiling)] == [Stage.QUEUED, Stage.COMPILING]
        nursery.cancel_scope.cancel()


async def test_where_no_process_can_be_started_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_args: object, **_options: object) -> Awaitable[None]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(trio.lowlevel, "open_process", refuse)
    async with compiling() as compiler:
        with pytest.raises(InternalError, match="in a process of their own, and none can be started here: Operation"):
            await compiler.compile("key", EMPTY, Plan())


async def test_a_python_that_does_not_know_its_program_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    async with compiling() as compiler:
        with pytest.raises(InternalError, match="does not say where its own program is"):
            await compiler.compile("key", EMPTY, Plan())


def test_the_fingerprint_is_the_same_in_each_process_and_engine() -> None:
    code = "from innkeeper.sandbox.compilation.settings import *; print(fingerprint(new_engine()))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert other.stdout.strip() == FINGERPRINT == fingerprint(new_engine())


def test_the_fingerprint_is_another_for_an_engine_with_other_settings() -> None:
    config = w.Config()
    config.epoch_interruption = True
    assert fingerprint(w.Engine(config)) != FINGERPRINT


def test_the_fingerprint_covers_all_of_the_sandbox_that_a_child_compiles_with() -> None:
    code = (
        "import sys; import innkeeper.sandbox.compilation.job; "
        "print(*sorted(n for n, m in sys.modules.items() if n.startswith('innkeeper.sandbox.') and m.__file__ "
        "and not m.__file__.endswith('__init__.py')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert sorted(SOURCES) == found.stdout.split()


@given(st.text(max_size=16), st.binary(max_size=200))
@settings(deadline=None)
def test_a_plan_is_the_same_after_it_was_bytes(kind: str, extra: bytes) -> None:
    plan = Plan(kind, extra)
    assert Plan.from_bytes(plan.to_bytes()) == plan


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_bytes_that_are_no_plan_are_an_error_and_nothing_else(data: bytes) -> None:
    try:
        plan = Plan.from_bytes(data)
    except PlanError:
        return
    assert Plan.from_bytes(plan.to_bytes()) == plan


def test_a_plan_has_a_bound() -> None:
    with pytest.raises(PlanError):
        Plan("x" * 65)
    with pytest.raises(PlanError):
        Plan("x", bytes(5 << 20))
    with pytest.raises(PlanError):
        Plan.from_bytes(bytes(5 << 20))
