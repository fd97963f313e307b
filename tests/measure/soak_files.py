"""What goes on beside the calls: files change, plugins are loaded and closed."""

from __future__ import annotations

import trio

from . import soak_guests as guests
from .soak_calls import OK, cancelled_while_it_goes_on
from .soak_inn import Inn, ask

NEW_BYTES = 16
"""Steps from one file that was never there before to the next: more than the compiling processes stay idle for, so
they go and come again."""


async def change_files(inn: Inn, step: float) -> None:
    """Changes the home's files again and again: other bytes, broken ones and the first ones again; a plugin appears
    and goes; grants change. Never ends.

    Args:
        step: seconds from one change to the next.
    """
    while True:
        number = inn.steps + 1
        await inn.enter()
        try:
            await trio.to_thread.run_sync(_change, inn, number)
            if number % 4 < 2:
                # At once; else the host finds out by itself.
                await inn.host.reload()
            inn.steps = number
        finally:
            inn.leave()
        await trio.sleep(step)


def _change(inn: Inn, number: int) -> None:
    seldom = number // NEW_BYTES if number % NEW_BYTES < 3 else 0
    turn = number % 3
    if turn == 0:
        inn.put("swings", guests.says("a"))
    elif turn == 1:
        inn.put("swings", guests.ill_typed(seldom) if seldom else b"\0asm, but no more")
    else:
        inn.put("swings", guests.says("b", seldom))
    inn.grant("granted", guests.says("g"), f'[config]\nroom = "{turn}"\n[limits]\nmemory = "{turn + 1}MiB"\n')
    inn.grant("stays", guests.ends(), f'instance = "{"fresh" if turn else "shared"}"\n')
    if number % 2:
        inn.put("guest", guests.ends(2))
    else:
        (inn.path / "plugins" / "guest.wasm").unlink(missing_ok=True)


async def load_and_close(inn: Inn, step: float) -> None:
    """Loads plugins from bytes, calls them and closes them. Never ends."""
    functions = guests.functions(inn.serve, inn.shout)
    main, others = guests.linked()
    number = 0
    while True:
        number += 1
        await inn.enter()
        try:
            # Other bytes now and then.
            wasm = guests.asks(number // (4 * NEW_BYTES))
            plugin = await inn.host.load(wasm, functions=functions)
            for _ in range(4):
                await inn.attempt("loaded from bytes", inn.call(plugin, "ask", ask(guests.NOW)), OK)
            await cancelled_while_it_goes_on(inn, plugin)
            await plugin.aclose()
            if number % 2 == 0:
                plugin = await inn.host.load(main, modules=others)
                await inn.attempt("loaded with modules", inn.call(plugin, "half"), OK)
                await plugin.aclose()
        finally:
            inn.leave()
        await trio.sleep(step)
