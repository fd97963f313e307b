"""Many at once: one that falls takes nobody with it, wherever it was cancelled, and nothing stays behind."""

from __future__ import annotations

import contextlib
import gc
import random
import weakref
from pathlib import Path

import pytest
import trio
import trio.testing

from guests import (
    GIVES,
    SPIN,
    Sandbox,
    gives,
    host_function,
    in_child,
    nothing_is_held,
    number,
    opened,
    options,
    run,
    wat,
)
from innkeeper.errors import GuestError, InnkeeperError, LimitError
from innkeeper.sandbox import callbacks
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.interface import Value


async def test_a_trap_while_a_thousand_others_wait_ends_only_itself() -> None:
    door, full = trio.Event(), trio.Event()
    inside = 0

    async def wait(number: int) -> int:
        nonlocal inside
        inside += 1
        if inside == 1000:
            full.set()
        await door.wait()
        return number + 1

    function = host_function(wait, (Value.I64,), Value.I64)
    waiting = wat(gives("(call $wait (call $input_load_u64 (i64.const 0)))"), GIVES + " input_load_u64", "", [function])
    fallen = (
        '(module (func (export "run") (unreachable)))',
        '(module (memory 1) (func (export "run") (drop (i32.load (i32.const -1)))))',
        '(module (func $f (export "run") (call $f) (call $f)))',
    )
    async with opened(Bounds(calls_per_plugin=2000, workers=2)) as sandbox:
        program = await sandbox.load(waiting, [function])
        answers: dict[int, int] = {}

        async def call(at: int) -> None:
            answers[at] = number(await program.call("run", at.to_bytes(8, "little"), options()))

        async with trio.open_nursery() as nursery:
            for at in range(1000):
                nursery.start_soon(call, at)
            await full.wait()
            for text in fallen:
                with pytest.raises(InnkeeperError):
                    await sandbox.call(text)
            await sandbox.fails(LimitError, SPIN, cpu=0.05)
            assert sandbox.engine.live.taken == 1000
            door.set()
        assert answers == {at: at + 1 for at in range(1000)}


MIXED = """(memory 1)
    (func (export "run") (local $i i32)
      (drop (call $alloc (i64.const 100)))
      (call $pause)
      (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300000))))
      (drop (memory.grow (i32.const 20)))
      (call $pause)
      (drop (call $random_get (i32.const 0) (i32.const 60000)))
      (i64.store (i32.const 24) (i64.const 500000))
      (drop (call $poll_oneoff (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200))))"""


@pytest.mark.parametrize("seed", range(3))
async def test_a_call_can_be_cancelled_at_any_moment(seed: int) -> None:
    chance = random.Random(seed)

    async def pause() -> None:
        await trio.sleep(0.0005)

    function = host_function(pause)
    text = wat(MIXED, "alloc", "random_get poll_oneoff", [function])
    async with opened(Bounds(live_guests=12, calls_per_plugin=8, workers=2)) as sandbox:
        program = await sandbox.load(text, [function])
        ended = {"done": 0, "cancelled": 0}

        async def call() -> None:
            with trio.move_on_after(chance.choice((0.0002, 0.001, 0.003, 0.008, 0.03, 10))) as scope:
                await program.call("run", bytes(chance.randrange(3) * 1000), options())
            ended["cancelled" if scope.cancelled_caught else "done"] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(250):
                nursery.start_soon(call)
                if chance.random() < 0.3:
                    await trio.sleep(0.001)
        assert ended["done"] + ended["cancelled"] == 250
        assert ended["cancelled"] > 10
        assert program.calls.taken == 0
        await nothing_is_held(sandbox.engine)


async def test_each_checkpoint_of_a_call_can_be_its_last() -> None:
    async def pause() -> None:
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    function = host_function(pause)
    text = wat(MIXED.replace("500000", "1000"), "alloc", "random_get poll_oneoff", [function])

    class Countdown(trio.abc.Instrument):
        """Cancels when the task is about to be run for the n-th time."""

        def __init__(self, scope: trio.CancelScope, steps: int) -> None:
            self.scope, self.steps = scope, steps
            self.task = trio.lowlevel.current_task()

        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            if task is self.task:
                self.steps -= 1
                if self.steps == 0:
                    self.scope.cancel()

    async with opened() as sandbox:
        program = await sandbox.load(text, [function])
        reached = 0
        for steps in range(1, 200):
            with trio.CancelScope() as scope:
                countdown = Countdown(scope, steps)
                trio.lowlevel.add_instrument(countdown)
                try:
                    await program.call("run", b"", options())
                finally:
                    trio.lowlevel.remove_instrument(countdown)
            await nothing_is_held(sandbox.engine)
            assert program.calls.taken == 0
            if not scope.cancelled_caught:
                break
            reached = steps
        assert reached > 3


async def test_a_call_that_is_over_leaves_nothing_alive(sandbox: Sandbox) -> None:
    async def fail() -> None:
        raise ValueError

    function = host_function(fail)
    guests: list[weakref.ref[Guest]] = []

    async def see() -> None:
        guests.extend(weakref.ref(g) for g in gc.get_objects() if isinstance(g, Guest) and g.program is program)

    watching = host_function(see)
    bodies = (
        "(call $see)",
        "(call $see) (unreachable)",
        "(call $see) (call $fail)",
        "(call $see) (loop (br 0))",
        "(call $see) (call $proc_exit (i32.const 0))",
        "(call $see) (call $proc_exit (i32.const 1))",
        "(call $see) (drop (call $poll_oneoff (i32.const 0) (i32.const 99) (i32.const 1) (i32.const 200)))",
    )
    for body in bodies:
        text = wat("(memory 1)" + run(body), "alloc", "proc_exit poll_oneoff", [function, watching])
        program = await sandbox.load(text, [function, watching])
        with contextlib.suppress(GuestError, LimitError, ValueError):
            await sandbox.call(program, cpu=0.02)
        program.close()
    assert len(guests) >= len(bodies)
    gc.collect()
    # A worker may still remember the last one that it had; its store is gone all the same.
    assert all(guest is None or guest.closed for guest in (reference() for reference in guests))


async def test_loading_and_closing_keeps_nothing(sandbox: Sandbox) -> None:
    async def nothing(data: bytes) -> bytes:
        return data

    function = host_function(nothing, (Value.BYTES,), Value.BYTES)
    text = wat(run("(drop (call $nothing (call $alloc (i64.const 3))))"), "alloc", "sched_yield", [function])
    before = set(callbacks._bindings)
    for _ in range(5):
        program = await sandbox.load(text, [function])
        await sandbox.call(program)
        program.close()
    assert callbacks._bindings.keys() <= before


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts resident pages as Linux shows them")
def test_a_thousand_fresh_guests_leave_the_process_as_large_as_it_was() -> None:
    # In a process of its own: here it is earlier tests that decide how many places of the pool keep a stack, and which
    # of them wasmtime takes next.
    grown = in_child(
        """
        import gc
        import resource
        from pathlib import Path

        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

        async def main():
            async with opened() as sandbox:
                text = wat("(memory 4)" + run("(drop (call $alloc (i64.const 100000)))"), "alloc", "fd_write")
                program = await sandbox.load(text)
                trap = await sandbox.load(wat('(memory 4) (func $f (export "run") (call $f) (call $f))', "alloc"))

                async def some(count):
                    for at in range(count):
                        await sandbox.call(program)
                        if at % 20 == 0:
                            await sandbox.fails(LimitError, trap)
                    gc.collect()

                await some(400)
                before = resident()
                await some(800)
                print(resident() - before)

        trio.run(main)
        """
    )
    # 1.3 KB a guest; the least that one takes which stays is thirty times as much.
    assert int(grown) < 1 << 20
