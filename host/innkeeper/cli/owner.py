"""`innkeeper owner`: how much is kept of an owner, and erasing it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from innkeeper.cli.output import is_terminal, json_bytes, write_error, write_line, write_out, write_table
from innkeeper.cli.records import database_of, open_kept, say_doubted
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import CancelledError, InnkeeperError, UsageError

_NOTHING = "nothing is kept of {!r}"


@click.command()
@click.argument("action", type=click.Choice(["show", "erase"]))
@click.argument("name")
@click.option("--yes", is_flag=True, help="erase: without being asked.")
@json_option
@pass_settings
def owner(settings: Settings, action: str, name: str, yes: bool) -> None:
    """Show how much is kept of the owner NAME, or erase all of it: what plugins stored, knowledge bases, events,
    schedules, runs with what they said and gave, journals and remembered results, and files.

    NAME is a user's id; without users it is `default_user`. What plugins keep and start for a run is of whom the run
    is, and the journals of its calls too.

    The audit log, the grants and the plugins' files are the operator's, and stay.
    """
    if yes and action != "erase":
        raise UsageError(f"--yes: write innkeeper owner erase {name[:100]} --yes")
    if action == "show":
        _show(settings, name)
    else:
        _erase(settings, name, yes)


def _show(settings: Settings, name: str) -> None:
    found = _with_store(settings.home, "show", name)
    total = sum(size or 0 for _, size in found.values())
    if settings.json:
        tables = {table: {"rows": count, "bytes": size} for table, (count, size) in found.items()}
        write_out(json_bytes({"owner": name, "tables": tables, "bytes": total}, indent=2))
        return
    if not found:
        write_line(_NOTHING.format(name))
        return
    write_table(
        ("what", "rows", "bytes"),
        [(table, f"{count:,}", "-" if size is None else f"{size:,}") for table, (count, size) in found.items()],
    )


def _erase(settings: Settings, name: str, yes: bool) -> None:
    if not yes:
        if settings.json or not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
            raise UsageError(
                f"nothing was erased: look at `innkeeper owner show {name[:100]}`, and repeat with --yes if that is "
                "meant; there is no way back"
            )
        if click.prompt(f"Type {name} to erase all of it", default="", show_default=False, err=True) != name:
            raise CancelledError("nothing was erased")
    gone = _with_store(settings.home, "erase", name)
    # Also where nothing was left: the time before, what was deleted may not have been cleaned out of the file.
    problem = _cleaned(settings.home)
    if settings.json:
        write_out(json_bytes({"owner": name, "erased": gone, "problem": problem}, indent=2))
        return
    if gone:
        write_line(f"erased {', '.join(f'{count:,} of {table}' for table, count in gone.items())}")
        write_line("a host that runs may keep in memory what it has; end it, and repeat this, to be sure")
    else:
        write_line(_NOTHING.format(name))
    if problem is not None:
        write_error(f"innkeeper: {problem}")


def _with_store(home: str | None, method: str, name: str) -> dict[str, Any]:
    import trio

    from innkeeper.plugins.home import open_home

    opened = open_home(home)

    async def main() -> dict[str, Any]:
        await say_doubted(opened)
        found: dict[str, Any] = {}
        async with open_kept(opened) as database:
            if database is not None:
                from innkeeper.storage.owners import OwnerStore

                store = OwnerStore(database)
                try:
                    found = dict(await (store.show(name) if method == "show" else store.erase(name)))
                except ValueError as error:
                    raise UsageError(f"NAME: {error}") from None
        return found | await trio.to_thread.run_sync(_files, opened.path, method, name)

    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)


def _files(home: Path, method: str, name: str) -> dict[str, Any]:
    from innkeeper.server.files.owners import erase_files, files_of

    if method == "erase":
        names = erase_files(home, name)
        return {"files": names} if names else {}
    size, names = files_of(home, name)
    return {"files": (names, size)} if names else {}


def _cleaned(home: str | None) -> str | None:
    """Rewrites the database; what is to be said where that could not be done."""
    from innkeeper.plugins.home import open_home
    from innkeeper.storage.owners import clean

    try:
        clean(database_of(open_home(home)))
    except InnkeeperError as error:
        return f"it is erased, but what had been deleted before may still stand in the database: {error.message}"
    return None
