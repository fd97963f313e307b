"""Drives a guest: polls it where it has earned to be polled, and finishes what it asks of the host.

All of it runs in the call's own task and under trio's KI protection: Ctrl-C arrives at a checkpoint, where nothing is
half done.  Host functions run with the protection off, as any user's code.
"""

from __future__ import annotations

import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any

import trio

from innkeeper.errors import GuestError, LimitError
from innkeeper.sandbox import bindings, faults, growth, kernel
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.inline import SHORT, Habit, LoopBudget
from innkeeper.sandbox.wasi.memory import MemoryFault
from innkeeper.sandbox.window import lay_out_input, room_for


@trio.lowlevel.enable_ki_protection
async def start(guest: Guest) -> bool:
    """Starts kernel, modules and run time: instances, start sections, `hs_init`, `_initialize`, `__wasm_call_ctors`.

    Returns:
        Whether the guest is ready. False: it ended with `proc_exit(0)`, and there is nothing to call.

    Raises:
        InnkeeperError: `rejected` for a trap, `limit` for a limit.
    """
    program = guest.program
    habit = program.habit("(start)")
    if program.links.uses_kernel:
        guest.begin_kernel(await program.kernel(guest.call.limits.kernel_memory, guest.call.clock))
        await drive(guest, habit, starting=True)
        guest.finish_kernel()
    guest.link(program.links.take())
    for module in program.links.modules:
        guest.begin_module(module.address)
        if await drive(guest, habit, starting=True):
            return False
        guest.finish_module(module.name, owns_memory=module.owns_memory)
        if module.starts:
            guest.begin_function(growth.START, 0)
            if await drive(guest, habit, starting=True):
                return False
    _check_memory(guest)
    for export, parameters in program.links.start_functions:
        guest.begin_function(export, 0, parameters)
        if await drive(guest, habit, starting=True):
            return False
    return True


@trio.lowlevel.enable_ki_protection
async def invoke(guest: Guest, function: str, results: int, data: bytes) -> bytes:
    """Calls a function whose type was checked; returns the guest's output.

    Raises:
        InnkeeperError: as `Program.call`.
    """
    program = guest.program
    limits = guest.call.limits
    if program.links.uses_kernel:
        try:
            guest.grow_kernel(room_for(len(data)))
        except MemoryError:
            raise LimitError(
                f"the input of {len(data)} bytes does not fit; the limit 'kernel_memory' is {limits.kernel_memory}",
                limit="kernel_memory",
                value=limits.kernel_memory,
                used=room_for(len(data)),
            ) from None
        before = time.perf_counter()
        lay_out_input(guest.kernel_window(), data)
        program.loop_budget.left -= time.perf_counter() - before
    guest.begin_function(function, results)
    exited = await drive(guest, program.habit(function), starting=False)
    _check_memory(guest)
    text = faults.own_error(guest.kernel_window()) if program.links.uses_kernel else None
    code = guest.result() if results and not exited else 0
    if text is not None or code:
        guest.call.orderly = True
        raise GuestError(text or f"the guest returned code {code} without an error text", code=code or None)
    if not program.links.uses_kernel:
        return b""
    before = time.perf_counter()
    output = _output(guest)
    program.loop_budget.left -= time.perf_counter() - before
    return output


def _check_memory(guest: Guest) -> None:
    # What the limiter let through because the kernel may have more, and what grew since the last tick.
    limits = guest.call.limits
    size = guest.module_memory()
    if size > limits.memory:
        raise LimitError(
            f"the guest has {size} bytes of memory; the limit 'memory' is {limits.memory}",
            limit="memory",
            value=limits.memory,
            used=size,
        )
    if not guest.count_memory():
        assert guest.call.failure is not None
        raise guest.call.failure


def _output(guest: Guest) -> bytes:
    window = guest.kernel_window()
    offset, length = window.word(kernel.OUTPUT_OFFSET), window.word(kernel.OUTPUT_LENGTH)
    limit = guest.call.limits.output
    if length > limit:
        raise LimitError(
            f"the output has {length} bytes; the limit 'output' is {limit}", limit="output", value=limit, used=length
        )
    try:
        return window.read(offset, length)
    except MemoryFault:
        raise GuestError("the guest set an output that lies outside of its memory") from None


@trio.lowlevel.enable_ki_protection
async def drive(guest: Guest, habit: Habit, *, starting: bool) -> bool:
    """Polls the guest's future to its end.

    Returns:
        Whether the guest ended with `proc_exit(0)`.

    Raises:
        InnkeeperError: what ended the guest. The guest is spent; its future is deleted by `close`.
        BaseException: what a host function raised.
    """
    program, call = guest.program, guest.call
    workers, budget, clock = program.workers, program.loop_budget, call.clock
    inline = habit.inline and not program.lockout.barred(time.monotonic())
    slice_ = 0.0
    while True:
        while inline and budget.left <= 0:
            clock.arm()
            await budget.wait()
            program.check_open()
        if inline:
            before, before_cpu = time.perf_counter(), call.usage.cpu
            guest.poll(program.poll)
            budget.left -= time.perf_counter() - before
            # By its own clock: a thread that the system set aside for a while makes no guest long.  A slice goes from
            # host call to host call, since a tick may come at its very beginning.
            slice_ += call.usage.cpu - before_cpu
            if guest.done or guest.pending is not None or slice_ >= SHORT:
                habit.record(slice_)
                if slice_ >= SHORT:
                    # Who was long stays with the workers to the end of this future, and away from here for a while.
                    inline = False
                    program.lockout.slip(slice_, time.monotonic())
                slice_ = 0.0
        else:
            clock.arm()
            before_cpu = call.usage.cpu
            await workers.run(guest)
            habit.record(call.usage.cpu - before_cpu)
        if guest.done:
            break
        program.check_open()
        if call.failure is not None:
            raise call.failure
        over = call.out_of_cpu()
        if over is not None:
            raise over
        if guest.pending is not None:
            before = time.perf_counter()
            await _serve(guest)
            budget.left -= time.perf_counter() - before
        if clock.expired():
            raise clock.error()
    trap, error = guest.end_future()
    failed = faults.describe(guest, trap, error, starting=starting)
    if failed is not None:
        raise failed
    over = call.out_of_cpu()
    if over is not None:
        raise over
    return call.failure is not None


async def _serve(guest: Guest) -> None:
    # Runs the host function that the guest waits for.
    pending, call, program = guest.pending, guest.call, guest.program
    assert pending is not None
    if not pending.system:
        call.count_host_call()
    clock = call.clock
    clock.arm()
    while pending.system and program.loop_budget.left <= 0:
        await program.loop_budget.wait()
    suspended = False

    def on_suspend() -> None:
        nonlocal suspended
        suspended = True
        clock.stage = f"host function {pending.name!r}"
        if not pending.system:
            # One that sleeps in WASI keeps its plugin's place: it is not the host that makes it wait.
            clock.begin_step(call.limits.host_call)
            program.calls.give(1)

    try:
        if pending.system:
            value = await _paced(pending.work(), on_suspend, call, program.loop_budget)
        else:
            value = await _noticing(_unprotected(pending.work), on_suspend)
    finally:
        guest.let_go()
        if suspended and not pending.system:
            program.calls.take_anyway(1)
    if suspended:
        clock.end_step()
        clock.stage = "the guest"
    pending.answer = bindings.answer(guest, pending, value)


@trio.lowlevel.disable_ki_protection
async def _unprotected(work: Callable[[], Awaitable[Any]]) -> Any:
    # Users' code may be interrupted; nothing of ours stands between it and trio.
    return await work()


# The decorators' order matters: types.coroutine makes a code object of its own, and trio remembers code objects.
@trio.lowlevel.enable_ki_protection
@types.coroutine
def _noticing(coroutine: Coroutine[Any, Any, Any], on_suspend: Callable[[], None]) -> Generator[Any, Any, Any]:
    # As `yield from coroutine`, and says when it first suspends: one that does not costs no deadline and no slot.
    # Protected: between its yield and ours trio knows the task as waiting for something already.
    try:
        message = coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    on_suspend()
    while True:
        try:
            got = yield message
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, got)
        try:
            message = step()
        except StopIteration as stop:
            return stop.value


@trio.lowlevel.enable_ki_protection
@types.coroutine
def _paced(
    coroutine: Coroutine[Any, Any, Any], on_suspend: Callable[[], None], call: Call, budget: LoopBudget
) -> Generator[Any, Any, Any]:
    # One of WASI's functions works for the guest, in pieces: they are the guest's processor time, and wait for a pass
    # of the loop that has room for them.  Whatever it waited for and got, it is told: what ends the call meanwhile
    # cancels it, and reaches it at its next checkpoint.
    step = partial(coroutine.send, None)
    suspended = False
    while True:
        before, cpu = time.perf_counter(), time.thread_time_ns()
        try:
            message = step()
        except StopIteration as stop:
            return stop.value
        finally:
            budget.left -= time.perf_counter() - before
            call.usage.cpu += (time.thread_time_ns() - cpu) / 1e9
        if not suspended:
            suspended = True
            on_suspend()
        try:
            got = yield message
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            step = partial(coroutine.throw, error)
            continue
        step = partial(coroutine.send, got)
        try:
            while budget.left <= 0:
                yield from budget.wait().__await__()
        except trio.Cancelled:
            pass
        except KeyboardInterrupt as error:
            call.clock.cancel(error)
        over = call.out_of_cpu()
        if over is not None:
            call.clock.cancel(over)
