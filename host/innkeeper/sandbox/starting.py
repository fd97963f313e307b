"""How a guest becomes ready for its first call: instances, start functions, run time."""

from __future__ import annotations

import trio

from innkeeper.sandbox import driver, growth
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.inline import Habit
from innkeeper.sandbox.joined import Joined
from innkeeper.sandbox.linked_guest import LinkedGuest
from innkeeper.sandbox.linking import Linked

START = "(start)"
"""Stands for starting where a function's name is wanted."""


@trio.lowlevel.enable_ki_protection
async def start(guest: Guest) -> bool:
    """Starts modules and run time: instances, start sections, `hs_init`, `_initialize`, `__wasm_call_ctors`.

    Returns:
        Whether the guest is ready. False: it ended with `proc_exit(0)`, and there is nothing to call.

    Raises:
        InnkeeperError: `rejected` for a trap, `limit` for a limit.
    """
    layout = guest.program.layout
    if isinstance(layout, Joined):
        guest.begin_instance(layout.pre(guest.engine))
        # Nothing of the guest's own runs here, so where there is little to copy it is over in one poll.
        if not (layout.quick and guest.ends_at_once()) and await _drive(guest):
            return False
        guest.finish_instance()
        if not (layout.has_start or layout.start_functions):
            return True
        if layout.has_start:
            guest.begin_function(growth.START, 0)
            if await _drive(guest):
                return False
    else:
        assert isinstance(layout, Linked)
        assert isinstance(guest, LinkedGuest)
        if not await _start_linked(guest, layout):
            return False
    guest.check_memory()
    for export, parameters in layout.start_functions:
        guest.begin_function(export, 0, parameters)
        if await _drive(guest):
            return False
    if layout.starts and guest.has_kernel:
        guest.kernel_window().clear()
    return True


async def _start_linked(guest: LinkedGuest, layout: Linked) -> bool:
    if layout.kernel:
        guest.begin_kernel()
        await _drive(guest)
        guest.finish_kernel()
    guest.link()
    for module in layout.modules:
        guest.begin_module(module.address)
        if await _drive(guest):
            return False
        guest.finish_module(module.name, owns_memory=module.owns_memory)
        if module.starts:
            guest.begin_function(growth.START, 0)
            if await _drive(guest):
                return False
    return True


async def _drive(guest: Guest) -> bool:
    habit: Habit = guest.program.habit(START)
    return await driver.drive(guest, habit, starting=True)
