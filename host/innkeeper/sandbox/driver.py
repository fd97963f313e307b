"""Drives a guest: polls it where it has earned to be polled, and finishes what it asks of the host.

All of it runs in the call's own task and under trio's KI protection: Ctrl-C arrives at a checkpoint, where nothing is
half done.  Host functions run with the protection off, as any user's code.
"""

from __future__ import annotations

import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from typing import Any

import trio

from innkeeper.errors import BusyError, GuestError, LimitError
from innkeeper.sandbox import bindings, faults, kernel
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.callbacks import Pending
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.inline import BRIEF, BRIEF_ENOUGH, SHORT, Habit, LoopBudget
from innkeeper.sandbox.wasi.memory import MemoryFault
from innkeeper.sandbox.window import KernelWindow


@trio.lowlevel.enable_ki_protection
async def invoke(guest: Guest, function: str, results: int, data: bytes) -> bytes:
    """Calls a function whose type was checked; returns the guest's output.

    Raises:
        InnkeeperError: as `Program.call`.
    """
    program = guest.program
    window = guest.kernel_window() if program.layout.uses_kernel else None
    if window is not None:
        _give_input(guest, window, data)
    guest.begin_function(function, results)
    habit = program.habit(function)
    begun = _first_slice(guest, habit)
    exited = _ended(guest, starting=False) if guest.done else await drive(guest, habit, starting=False, begun=begun)
    # It sees the kernel's memory as it is now, too.
    guest.check_memory()
    code = guest.result() if results and not exited else 0
    if window is None:
        if code:
            raise _own(guest, "", code)
        return b""
    guest.call.usage.memory = guest.counted_memory
    offset, length, wrong = window.outcome()
    if wrong or code:
        raise _own(guest, faults.own_error(window, wrong) if wrong else "", code)
    limit = guest.call.limits.output
    if length > limit:
        raise LimitError(
            f"the output has {length} bytes; the limit 'output' is {limit}", limit="output", value=limit, used=length
        )
    in_flight = program.places.in_flight
    if in_flight.taken + length > in_flight.limit:
        raise BusyError(
            f"the host was busy: the bound of {in_flight.limit} on {in_flight.name} was not free", bound=in_flight.name
        )
    try:
        if length <= _LITTLE:
            return window.read(offset, length)
        with program.loop_budget.charged():
            return window.read(offset, length)
    except MemoryFault:
        raise GuestError("the guest set an output that lies outside of its memory") from None


def _give_input(guest: Guest, window: KernelWindow, data: bytes) -> None:
    length = len(data)
    room = kernel.capacity(length)
    if length <= _LITTLE and kernel.START + room <= window.size:
        window.lay_out(data, room)
        return
    with guest.program.loop_budget.charged():
        if kernel.START + room > window.size:
            _grow_for(guest, window, length, room)
        window.lay_out(data, room)


def _grow_for(guest: Guest, window: KernelWindow, length: int, room: int) -> None:
    try:
        # Room for an answer of the same length, where it may have that: growing is a call of the system each time.
        try:
            guest.grow_kernel(window, kernel.START + room + length + kernel.HEADER)
        except MemoryError:
            guest.grow_kernel(window, kernel.START + room)
    except MemoryError:
        limit = guest.call.limits.kernel_memory
        raise LimitError(
            f"the input of {length} bytes does not fit; the limit 'kernel_memory' is {limit}",
            limit="kernel_memory",
            value=limit,
            used=kernel.START + room,
        ) from None


_LITTLE = 65_536
"""Bytes whose copying is not worth being counted against a pass of trio's loop."""


def _own(guest: Guest, text: str, code: int) -> GuestError:
    # What the guest itself says that went wrong.
    guest.call.orderly = True
    return GuestError(text or f"the guest returned code {code} without an error text", code=code or None)


def _first_slice(guest: Guest, habit: Habit) -> bool:
    # Polls a function on trio's thread that is known to be brief, with as little ado as possible. Whether it did.
    program = guest.program
    budget = program.loop_budget
    if habit.brief < BRIEF_ENOUGH or budget.left <= 0 or not habit.inline or not program.lockout.clean:
        return False
    elapsed = guest.poll(program.poll, by_clock=False)
    budget.left -= elapsed
    if elapsed >= BRIEF:
        habit.doubt(elapsed)
    elif guest.done:
        habit.record(elapsed)
    return True


@trio.lowlevel.enable_ki_protection
async def drive(guest: Guest, habit: Habit, *, starting: bool, begun: bool = False) -> bool:
    """Polls the guest's future to its end.

    Args:
        habit: of the function.
        starting: whether the guest is still starting.
        begun: whether it was polled already.

    Returns:
        Whether the guest ended with `proc_exit(0)`.

    Raises:
        InnkeeperError: what ended the guest. The guest is spent; its future is deleted by `close`.
        BaseException: what a host function raised.
    """
    program, call = guest.program, guest.call
    budget, usage, lockout, clock = program.loop_budget, call.usage, program.lockout, call.clock
    inline = habit.inline and (lockout.clean or not lockout.barred(time.monotonic()))
    slice_ = 0.0
    while not guest.done:
        if begun:
            begun = False
        else:
            if inline and budget.left <= 0:
                await program.turn(call)
            before_cpu = usage.cpu
            if inline:
                by_clock = habit.brief < BRIEF_ENOUGH
                elapsed = guest.poll(program.poll, by_clock=by_clock)
                budget.left -= elapsed
                # By its own clock: a thread that the system set aside for a while makes no guest long.  A slice goes
                # from host call to host call, since a tick may come at its very beginning.
                slice_ += usage.cpu - before_cpu
                if not by_clock and elapsed >= BRIEF:
                    habit.doubt(elapsed)
                    slice_ = min(slice_, BRIEF)
                if guest.stretch:
                    slice_ = min(slice_, max(guest.stretch, time.perf_counter() - guest.answered))
                if slice_ >= SHORT:
                    # Who was long stays with the workers to the end of this future, and away from here for a while.
                    habit.record(slice_)
                    inline = False
                    lockout.slip(slice_, time.monotonic())
                    slice_ = 0.0
                elif guest.done or guest.pending is not None:
                    habit.record(slice_)
                    slice_ = 0.0
            else:
                clock.arm()
                await program.workers.run(guest)
                habit.record(usage.cpu - before_cpu)
            if guest.done:
                break
        program.check_open()
        if call.failure is not None:
            raise call.failure
        if usage.cpu > call.limits.cpu:
            raise call.cpu_error()
        pending = guest.pending
        if pending is not None:
            before = guest.stopped if inline else time.perf_counter()
            rest = _begin_serving(guest, pending)
            now = time.perf_counter()
            # Not what it waits: that is nobody's time on this thread.
            budget.left -= now - before
            if rest is not None:
                now = await rest
        else:
            now = time.perf_counter()
        if now > clock.due:
            raise clock.error()
    return _ended(guest, starting=starting)


def _ended(guest: Guest, *, starting: bool) -> bool:
    # What the future that is done has left: an error, or whether the guest ended with `proc_exit(0)`.
    call = guest.call
    trap, error = guest.end_future()
    if trap or error or call.failure is not None:
        failed = faults.describe(guest, trap, error, starting=starting)
        if failed is not None:
            try:
                raise failed
            finally:
                # A frame that its error's traceback names must not name the error: the call's bytes would stay.
                del failed
    if call.usage.cpu > call.limits.cpu:
        raise call.cpu_error()
    return call.failure is not None


def _begin_serving(guest: Guest, pending: Pending) -> Awaitable[float] | None:
    """Runs the host function that the guest waits for to its first wait. The guest goes on where it has answered.

    Returns:
        What is left to be awaited, or None; its result is the time at which it was done (`time.perf_counter`).
    """
    call, program = guest.call, guest.program
    clock = call.clock
    clock.arm()
    if pending.system:
        return _serve_system(guest, pending)
    call.count_host_call()
    if call.token is None:
        call.enter()
    coroutine = _unprotected(pending.handler, pending.values)
    try:
        message = coroutine.send(None)
    except StopIteration as stop:
        value = stop.value
    except BaseException:
        guest.let_go()
        raise
    else:
        clock.begin_step(pending.name, call.limits.host_call, program.engine.steps)
        program.places.step_out()
        return _serve_rest(guest, pending, coroutine, message)
    guest.let_go()
    bindings.answer(guest, pending, value)
    guest.go_on()
    return None


# The decorators' order matters: types.coroutine makes a code object of its own, and trio remembers code objects.
@trio.lowlevel.enable_ki_protection
@types.coroutine
def _serve_rest(
    guest: Guest, pending: Pending, coroutine: Coroutine[Any, Any, Any], message: Any
) -> Generator[Any, Any, float]:
    # The host function waits. What it has asked of trio is asked first of all, whatever happens: it may be on a list of
    # those that wait already.  As `yield from coroutine`, from its first message on.
    # Protected: between its yield and ours trio knows the task as waiting for something already.
    program, clock = guest.program, guest.call.clock
    try:
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
                del got
            try:
                message = step()
            except StopIteration as stop:
                value = stop.value
                break
            finally:
                # As in `_ended`: neither the error nor what trio sent, which may be one.
                del step
    finally:
        held, pending.held = pending.held, 0
        program.places.step_in(held)
    before = time.perf_counter()
    clock.end_step(before)
    bindings.answer(guest, pending, value)
    guest.go_on()
    now = time.perf_counter()
    program.loop_budget.left -= now - before
    return now


async def _serve_system(guest: Guest, pending: Pending) -> float:
    # One of WASI's functions: bounded by the wall clock alone. It keeps its plugin's place: it is not the host that
    # makes it wait.
    call, program = guest.call, guest.program
    budget = program.loop_budget
    while budget.left <= 0:
        await budget.wait()
    value = await _paced(pending.handler(), call, budget)
    bindings.answer(guest, pending, value)
    guest.go_on()
    return time.perf_counter()


@trio.lowlevel.disable_ki_protection
async def _unprotected(handler: Callable[..., Awaitable[Any]], values: Sequence[Any]) -> Any:
    # Users' code may be interrupted; nothing of ours stands between it and trio.
    return await handler(*values)


@trio.lowlevel.enable_ki_protection
@types.coroutine
def _paced(coroutine: Coroutine[Any, Any, Any], call: Call, budget: LoopBudget) -> Generator[Any, Any, Any]:
    # One of WASI's functions works for the guest, in pieces: they are the guest's processor time, and wait for a pass
    # of the loop that has room for them.  Whatever it waited for and got, it is told: what ends the call meanwhile
    # cancels it, and reaches it at its next checkpoint.
    step = partial(coroutine.send, None)
    while True:
        before, cpu = time.perf_counter(), time.thread_time_ns()
        try:
            message = step()
        except StopIteration as stop:
            return stop.value
        finally:
            # As in `_ended`: neither an error nor what trio sent, which may be one.
            del step
            budget.left -= time.perf_counter() - before
            call.usage.cpu += (time.thread_time_ns() - cpu) / 1e9
        try:
            got = yield message
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            step = partial(coroutine.throw, error)
            continue
        step = partial(coroutine.send, got)
        del got
        try:
            while budget.left <= 0:
                yield from budget.wait().__await__()
        except trio.Cancelled:
            pass
        except KeyboardInterrupt as error:
            call.clock.cancel(error)
        if call.usage.cpu > call.limits.cpu:
            call.clock.cancel(call.cpu_error())
