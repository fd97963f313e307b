"""More than the host can carry waits in the order of arrival, then ends as `busy` with the bound's name."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from guests import GIVES, NOTHING, PAGE, SPIN, Sandbox, gives, host_function, number, opened, options, run, wat
from innkeeper.errors import BusyError, InnkeeperError, LimitError, UsageError
from innkeeper.sandbox import capi
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.program import FiberProgram


class Door:
    """A host function at which guests wait until it is opened.

    Attributes:
        event: opens it.
        full: set when all who are expected wait there.
    """

    def __init__(self, expected: int = 1) -> None:
        self.event = trio.Event()
        self.full = trio.Event()
        self._missing = expected

    @property
    def function(self) -> HostFunction:
        async def door() -> None:
            self._missing -= 1
            if not self._missing:
                self.full.set()
            await self.event.wait()

        return host_function(door)

    async def load(self, sandbox: Sandbox, more: str = "") -> FiberProgram:
        return await sandbox.load(wat(more + run("(call $door)"), functions=[self.function]), [self.function])


async def busy(program: FiberProgram, bound: str, data: bytes = b"", **limits: Any) -> BusyError:
    with pytest.raises(BusyError) as caught:
        await program.call("run", data, options(**limits))
    assert caught.value.bound == bound
    assert bound in caught.value.message
    return caught.value


async def test_one_guest_too_many_waits_and_ends_as_busy_by_name() -> None:
    async with opened(Bounds(live_guests=3, workers=1)) as sandbox:
        door = Door(3)
        waiting, other = await door.load(sandbox), await sandbox.load(NOTHING)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(waiting.call, "run", b"", options())
            await door.full.wait()
            error = await busy(other, "live guests", wall=0.05)
            assert error.usage.wall >= 0.05
            with trio.move_on_after(0.02) as scope:
                await other.call("run", b"", options())
            assert scope.cancelled_caught
            door.event.set()
        await other.call("run", b"", options())


async def test_those_who_wait_are_served_in_the_order_of_arrival() -> None:
    async with opened(Bounds(live_guests=1, workers=1)) as sandbox:
        door = Door()
        waiting, other = await door.load(sandbox), await sandbox.load(NOTHING)
        order: list[int] = []

        async def call(at: int) -> None:
            await other.call("run", b"", options())
            order.append(at)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.call, "run", b"", options())
            await door.full.wait()
            for at in range(10):
                nursery.start_soon(call, at)
                await trio.testing.wait_all_tasks_blocked()
            assert order == []
            door.event.set()
        assert order == list(range(10))


async def test_one_who_gives_up_lets_those_behind_pass() -> None:
    async with opened(Bounds(guest_memory=20 * PAGE, workers=1)) as sandbox:
        door = Door()
        holder = await door.load(sandbox, "(memory 10)")
        large = await sandbox.load('(module (memory 15) (func (export "run")))')
        small = await sandbox.load('(module (memory 5) (func (export "run")))')
        async with trio.open_nursery() as nursery:
            nursery.start_soon(holder.call, "run", b"", options())
            await door.full.wait()
            done: list[str] = []

            async def attempt(name: str, program: FiberProgram, wall: float) -> None:
                try:
                    await program.call("run", b"", options(wall=wall))
                    done.append(name)
                except BusyError as error:
                    done.append(f"{name}: {error.bound}")

            async with trio.open_nursery() as attempts:
                attempts.start_soon(attempt, "large", large, 0.1)
                await trio.testing.wait_all_tasks_blocked()
                attempts.start_soon(attempt, "small", small, 20)
            assert done == ["large: guest memory", "small"]
            door.event.set()


async def test_a_module_that_begins_larger_than_all_guests_together_may_be_is_busy_at_once() -> None:
    async with opened(Bounds(guest_memory=20 * PAGE, workers=1)) as sandbox:
        program = await sandbox.load('(module (memory 21) (func (export "run")))')
        error = await busy(program, "guest memory", wall=20)
        assert error.usage.wall < 10


async def test_a_growth_that_the_host_has_no_room_for_ends_as_busy_and_the_guest_never_sees_minus_one() -> None:
    seen = 0

    async def minus_one() -> None:
        nonlocal seen
        seen += 1

    async def nothing() -> None:
        pass

    functions = [host_function(minus_one), host_function(nothing)]

    def growing(then: str) -> str:
        return wat(
            """(memory 1) (func (export "run") (local $i i32)
              (loop
                (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (call $minus_one)))
                THEN
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if 0 (i32.lt_u (local.get $i) (i32.const 500)))))""".replace("THEN", then),
            functions=functions,
        )

    async with opened(Bounds(guest_memory=100 * PAGE, workers=1)) as sandbox:
        # Where growth is found at the end, at a host call, and in a start section.
        for then in ("", "(call $nothing)"):
            await busy(await sandbox.load(growing(then), functions), "guest memory")
        starting = '(module (memory 1) (func $s (drop (memory.grow (i32.const 200)))) (start $s) (func (export "run")))'
        await busy(await sandbox.load(starting), "guest memory")
    assert seen == 0


async def test_more_calls_of_one_plugin_than_its_bound_wait_and_other_plugins_go_on() -> None:
    async with opened(Bounds(calls_per_plugin=2, live_guests=4, workers=2)) as sandbox:
        program, other = await sandbox.load(SPIN), await sandbox.load(NOTHING)
        async with trio.open_nursery() as nursery:

            async def spin() -> None:
                with pytest.raises(LimitError):
                    await program.call("run", b"", options(cpu=0.3))

            for _ in range(8):
                nursery.start_soon(spin)
            await trio.sleep(0.05)
            await busy(program, "calls per plugin", wall=0.05)
            # Those who wait for their plugin's turn hold nothing that another plugin needs.
            await other.call("run", b"", options(wall=5))
            nursery.cancel_scope.cancel()


async def test_a_call_that_waits_in_a_host_function_leaves_its_place_to_others_of_its_plugin() -> None:
    async with opened(Bounds(calls_per_plugin=1, workers=1)) as sandbox:
        door = Door(20)
        program = await door.load(sandbox)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(program.call, "run", b"", options())
            await door.full.wait()
            door.event.set()
        assert program.calls.taken == 0


async def test_bytes_in_flight_are_bounded_and_one_that_never_fits_holds_up_nobody() -> None:
    async with opened(Bounds(bytes_in_flight=1000, workers=1)) as sandbox:
        door = Door()
        program = await door.load(sandbox)
        length = await sandbox.load(wat(gives("(call $input_length)"), GIVES + " input_length"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: program.call("run", bytes(900), options()))
            await door.full.wait()
            await busy(length, "bytes in flight", bytes(200), wall=0.05)
            assert number(await length.call("run", bytes(50), options())) == 50
            refused: list[InnkeeperError] = []

            async def never_fits() -> None:
                try:
                    await length.call("run", bytes(2000), options(wall=10))
                except InnkeeperError as error:
                    refused.append(error)

            nursery.start_soon(never_fits)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(5):
                assert number(await length.call("run", bytes(50), options())) == 50
            door.event.set()
        assert [type(error) for error in refused] == [BusyError]


async def test_an_output_that_does_not_fit_into_what_is_in_flight_is_busy() -> None:
    async with opened(Bounds(bytes_in_flight=1000, workers=1)) as sandbox:
        text = wat(run("(call $output_set (call $alloc (i64.const 2000)) (i64.const 2000))"), "alloc output_set")
        await busy(await sandbox.load(text), "bytes in flight")


async def test_a_plugin_that_is_unloaded_while_its_calls_wait_harms_nobody() -> None:
    async with opened(Bounds(live_guests=1, workers=1)) as sandbox:
        door = Door()
        holder = await door.load(sandbox)
        program = await sandbox.load(wat(run("(drop (call $alloc (i64.const 8)))"), "alloc"))
        outcomes: list[object] = []

        async def call() -> None:
            try:
                outcomes.append(await program.call("run", b"", options()))
            except InnkeeperError as error:
                outcomes.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(holder.call, "run", b"", options())
            await door.full.wait()
            for _ in range(3):
                nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            program.close()
            door.event.set()
        assert len(outcomes) == 3


async def test_a_nested_call_at_its_plugin_s_bound_can_be_cancelled() -> None:
    async with opened(Bounds(calls_per_plugin=1, workers=1)) as sandbox:
        program: FiberProgram
        depth = 0

        async def again() -> None:
            nonlocal depth
            depth += 1
            if depth % 2:
                with trio.CancelScope() as scope:
                    trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
                    await program.call("run", b"", options())

        function = host_function(again)
        program = await sandbox.load(wat(run("(call $again)"), functions=[function]), [function])
        for _ in range(40):
            depth = 0
            await program.call("run", b"", options())
        assert program.calls.taken == 0


async def test_guests_that_sleep_in_wasi_keep_their_plugins_places_and_leave_the_hosts_to_others() -> None:
    sleeping = wat(
        '(memory 1) (func (export "run") (i64.store (i32.const 24) (i64.const 60000000000))'
        " (drop (call $poll_oneoff (i32.const 0) (i32.const 99) (i32.const 1) (i32.const 200))))",
        wasi="poll_oneoff",
    )
    async with opened(Bounds(live_guests=6, calls_per_plugin=4)) as sandbox, trio.open_nursery() as nursery:
        program = await sandbox.load(sleeping)
        for _ in range(10):
            nursery.start_soon(program.call, "run", b"", options(wall=60.0))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert sandbox.engine.live.taken == 4
        other = await sandbox.load('(module (func (export "run")))')
        await other.call("run", b"", options())
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("limit", ["memory", "log", "host_calls", "nesting"])
@pytest.mark.parametrize("value", [64e6, True, "64MiB", None])
def test_a_limit_that_is_no_whole_number_is_refused_before_anything_uses_it(limit: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"the limit '{limit}' must be a whole number"):
        Limits(**{limit: value})


async def test_a_guest_that_cannot_be_made_gives_everything_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as sandbox:
        program = await sandbox.load('(module (func (export "run")))')

        def fail(*_: object) -> None:
            raise MemoryError("on purpose")

        with monkeypatch.context() as patch:
            patch.setattr(capi, "store_limiter", fail)
            for _ in range(3):
                with pytest.raises(MemoryError, match="on purpose"):
                    await program.call("run", b"", options())
        assert (sandbox.engine.live.taken, sandbox.engine.memory.taken) == (0, 0)
        program.close()
        await (await sandbox.load('(module (func (export "run")))')).call("run", b"", options())
