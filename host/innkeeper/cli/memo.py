"""`innkeeper memo`: how many results of pure calls are kept on disk, and erasing them."""

from __future__ import annotations

import click

from innkeeper.cli.output import counted, json_bytes, write_line, write_out
from innkeeper.cli.records import say_doubted
from innkeeper.cli.settings import Settings, json_option, owner_option, pass_settings


@click.command()
@click.argument("action", type=click.Choice(["show", "erase"]), default="show")
@owner_option
@json_option
@pass_settings
def memo(settings: Settings, action: str, owner: str) -> None:
    """Count the results of calls that are remembered on disk, or erase all of them."""
    import trio

    trio.run(_memo, settings, action == "erase", owner, restrict_keyboard_interrupt_to_checkpoints=True)


async def _memo(settings: Settings, erase: bool, owner: str) -> None:
    import trio

    from innkeeper.bridge.memo.stored import open_stored
    from innkeeper.plugins.home import open_home

    home = await trio.to_thread.run_sync(open_home, settings.home)
    await say_doubted(home)
    async with open_stored(home, owner) as stored:
        if erase:
            count = await stored.erase()
            if settings.json:
                write_out(json_bytes({"erased": count}, indent=2))
            else:
                write_line(f"erased {counted(count, 'result')}; hosts that run still have theirs in memory")
            return
        count, size = await stored.usage()
    limits = home.configuration.memo
    if settings.json:
        found = {"entries": count, "size": size, "max_size": limits.disk, "days": limits.days}
        write_out(json_bytes(found, indent=2))
        return
    mebibyte = 1 << 20
    room = f"{size / mebibyte:.1f} of {limits.disk / mebibyte:g} MiB"
    write_line(f"{counted(count, 'result')}, {room}, each for {limits.days:g} days")
