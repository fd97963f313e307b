"""`innkeeper journals`: the calls that were kept."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from innkeeper.cli.files import read_up_to
from innkeeper.cli.output import counted, json_bytes, write_line, write_out, write_table
from innkeeper.cli.records import say_doubted
from innkeeper.cli.settings import Settings, json_option, owner_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.bridge.journal.model import Journal
    from innkeeper.bridge.journal.shelf import Shelf

T = TypeVar("T")

_LISTED = 1000
_MOST_CALLS = 1000
"""Calls, and lines of log, that `show` shows."""


@click.command()
@click.argument("action", type=click.Choice(["list", "show", "export", "delete"]), default="list")
@click.argument("journal", required=False)
@click.argument("file", required=False)
@click.option("--all", "everything", is_flag=True, help="delete: all of them.")
@owner_option
@json_option
@pass_settings
def journals(
    settings: Settings, action: str, journal: str | None, file: str | None, everything: bool, owner: str
) -> None:
    """List the calls that were kept, show one, export it to a file, or delete it.

    JOURNAL is its number; show takes a file, too. FILE is made; - is standard output. `innkeeper replay` runs one
    again.
    """
    if everything and (action != "delete" or journal is not None):
        raise UsageError("--all: write innkeeper journals delete --all")
    if action == "list" and journal is not None:
        raise UsageError(f"write innkeeper journals show {journal[:100]}")
    if action != "list" and journal is None and not everything:
        raise UsageError(f"say which: innkeeper journals {action} NUMBER")
    if (file is not None) != (action == "export"):
        raise UsageError(
            "say where to: innkeeper journals export NUMBER FILE"
            if action == "export"
            else f"innkeeper journals {action} takes no second argument"
        )
    if action == "list":
        _list(settings, owner)
    elif action == "delete":
        _delete(settings, owner, journal)
    else:
        assert journal is not None
        data, found = load(settings.home, owner, journal)
        if file is not None:
            _export(data, file, settings.json)
        else:
            _show(found, settings.json)


# --- where they come from -------------------------------------------------------------------------------------------


def on_shelf(home: str | None, owner: str, work: Callable[[Shelf], Awaitable[T]]) -> T:
    """Does something with an owner's journals of a home."""
    import trio

    from innkeeper.bridge.journal.shelf import open_shelf
    from innkeeper.plugins.home import open_home

    opened = open_home(home)

    async def main() -> T:
        await say_doubted(opened)
        async with open_shelf(opened, owner) as shelf:
            return await work(shelf)

    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)


def load(home: str | None, owner: str, journal: str) -> tuple[bytes, Journal]:
    """A journal of an owner by its number in the home, or from a file; its bytes, too.

    Raises:
        UsageError: there is none of this number, or the file is none.
    """
    from innkeeper.bridge.journal.format import read_journal
    from innkeeper.bridge.journal.model import MOST_BYTES

    number = _number(journal)
    if number is None:
        data, _ = read_up_to("the journal", journal, MOST_BYTES)
        return data, read_journal(data, f"{journal[:200]!r}")
    found = on_shelf(home, owner, lambda shelf: shelf.get(number))
    if found is None:
        raise UsageError(f"there is no journal {number}; `innkeeper journals` lists what there is")
    return found[1], read_journal(found[1], f"journal {number}")


def _number(journal: str) -> int | None:
    if re.fullmatch(r"[0-9]{1,18}", journal) is None or os.path.lexists(journal):
        return None
    return int(journal)


# --- what is done with them -----------------------------------------------------------------------------------------


def _list(settings: Settings, owner: str) -> None:
    from innkeeper.cli.journal_view import size_text

    async def look(shelf: Shelf) -> tuple[list[Any], tuple[int, int]]:
        return await shelf.list(_LISTED), await shelf.usage()

    heads, (count, size) = on_shelf(settings.home, owner, look)
    if settings.json:
        found = [
            {
                "id": head.id,
                "at": head.at,
                "plugin": head.plugin,
                "sha256": head.digest,
                "function": head.function,
                "outcome": head.outcome,
                "size": head.size,
            }
            for head in heads
        ]
        write_out(json_bytes({"journals": found, "count": count, "bytes": size}, indent=2))
        return
    if heads:
        write_table(
            ("journal", "when", "plugin", "sha256", "function", "outcome", "size"),
            [
                (
                    str(head.id),
                    _when(head.at),
                    head.plugin,
                    head.digest[:8],
                    head.function,
                    head.outcome,
                    size_text(head.size),
                )
                for head in heads
            ],
        )
    write_line(f"{counted(count, 'journal')}, {size_text(size)}")


def _delete(settings: Settings, owner: str, journal: str | None) -> None:
    number = None if journal is None else _number(journal)
    if journal is not None and number is None:
        raise UsageError(f"{journal[:100]!r} is not the number of a journal")

    async def delete(shelf: Shelf) -> int:
        return await shelf.erase() if number is None else int(await shelf.delete(number))

    gone = on_shelf(settings.home, owner, delete)
    if number is not None and not gone:
        raise UsageError(f"there is no journal {number}; `innkeeper journals` lists what there is")
    if settings.json:
        write_out(json_bytes({"deleted": gone}))
    else:
        write_line(f"deleted {counted(gone, 'journal')}" if number is None else f"deleted journal {number}")


def _export(data: bytes, file: str, as_json: bool) -> None:
    if file == "-":
        write_out(data)
        return
    try:
        # What a journal holds is not everybody's business, and no file is lost by a slip.
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
    except OSError as error:
        raise UsageError(f"{file[:200]!r} cannot be made: {error.strerror}") from None
    if as_json:
        write_out(json_bytes({"file": file, "size": len(data)}))
    else:
        write_line(f"wrote {file}, {len(data)} bytes")


def _show(journal: Journal, as_json: bool) -> None:
    from innkeeper.cli.journal_view import call_object, call_text, value_object, value_text

    ending = journal.ending
    if as_json:
        calls = [call_object(journal, number, call) for number, call in enumerate(journal.calls[:_MOST_CALLS], 1)]
        found = {
            "at": journal.at,
            "host": journal.host,
            "plugin": journal.plugin,
            "version": journal.version,
            "sha256": journal.digest,
            "function": journal.function,
            "run": journal.run,
            "node": journal.node,
            "config": dict(journal.config),
            "limits": {name: value_object(value) for name, value in journal.limits.items()},
            "capabilities": list(journal.rights),
            "replay": journal.why_not or None,
            "input": value_object(journal.input),
            "calls": calls,
            "calls_left_out": len(journal.calls) - len(calls),
            "log": [{"level": level, "text": text} for level, text in journal.log],
            "log_dropped": journal.log_dropped,
            "usage": {name: value_object(value) for name, value in journal.usage.items()},
            "outcome": ending.kind,
            "message": ending.message or None,
            "limit": ending.limit,
            "code": ending.code,
            "output": value_object(ending.output),
        }
        write_out(json_bytes(found, indent=2))
        return
    run = f", node {journal.node} of run {journal.run}" if journal.run else ""
    version = f" {journal.version}" if journal.version else ""
    rows = [
        ("plugin", f"{journal.plugin}{version}, sha256 {journal.digest}"),
        ("call", f"{journal.function}, {_when(journal.at)}{run}"),
        ("host", journal.host),
        ("has", ", ".join(journal.rights) or "no capability"),
        ("config", ", ".join(f"{key}={value_text(text.encode())}" for key, text in journal.config.items()) or "none"),
        ("input", value_text(journal.input)),
    ]
    if journal.why_not:
        rows.append(("replay", f"cannot be run again: {journal.why_not}"))
    for name, text in rows:
        write_line(f"{name:8}{text[:2000]}")
    for number, call in enumerate(journal.calls[:_MOST_CALLS], 1):
        write_line(f"{number:6}  {call_text(journal, call)}")
    if len(journal.calls) > _MOST_CALLS:
        write_line(f"        and {len(journal.calls) - _MOST_CALLS} calls more")
    for level, line in journal.log[:_MOST_CALLS]:
        write_line(f"log     [{level[:20]}] {line[:2000]}")
    if len(journal.log) > _MOST_CALLS:
        write_line(f"log     and {len(journal.log) - _MOST_CALLS} lines more")
    if journal.log_dropped:
        write_line(f"log     {journal.log_dropped} bytes more were dropped")
    what = value_text(ending.output) if ending.kind == "output" else ending.message
    write_line(f"{ending.kind[:20]:8}{what[:2000]}")


def _when(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "at no time"
