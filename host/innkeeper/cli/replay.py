"""`innkeeper replay`: runs a call again that was kept."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.journals import load
from innkeeper.cli.output import json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, owner_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.bridge.journal.model import Journal
    from innkeeper.bridge.journal.replay import Difference, Verdict
    from innkeeper.plugins.catalogue import Entry
    from innkeeper.plugins.home import Home

DEPARTS = 1
"""Exit code where the guest did something else than the journal says."""


@click.command()
@click.argument("journal")
@click.option("--wasm", "file", metavar="FILE", help="Another module than the one that was recorded, to compare.")
@owner_option
@json_option
@pass_settings
def replay(settings: Settings, journal: str, file: str | None, owner: str) -> int:
    """Run a call again that was kept, and compare it bit for bit.

    JOURNAL is its number in the home (`innkeeper journals` lists them) or a file. No service, network, file or clock
    stands behind the guest: what it asks is answered as it was. The exit code is 0 where all was the same, and 1 where
    the guest departs from the journal.
    """
    import trio

    from innkeeper.cli.progress import compiling_shown
    from innkeeper.plugins.home import open_home

    _, found = load(settings.home, owner, journal)
    home = open_home(settings.home)
    wasm = _module(home, found) if file is None else _read(home, file)
    with compiling_shown():
        verdict = trio.run(_replay, home, found, wasm, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        write_out(json_bytes(_object(found, verdict), indent=2))
    else:
        _show(found, verdict)
    return 0 if verdict.same else DEPARTS


async def _replay(home: Home, journal: Journal, wasm: bytes) -> Verdict:
    from innkeeper.bridge.journal.replay import replay as run_again
    from innkeeper.sandbox.compilation.place import FILE, cache_folder
    from innkeeper.sandbox.engine import open_engine

    configuration = home.configuration
    cache, _ = cache_folder(configuration.cache, configuration.origins.get("cache", FILE))
    async with open_engine(configuration.bounds, cache=cache) as engine:
        return await run_again(journal, wasm, engine, ceiling=configuration.ceiling)


def _module(home: Home, journal: Journal) -> bytes:
    from innkeeper.plugins.catalogue import read_catalogue

    other: Entry | None = None
    for entry in read_catalogue(home).entries.values():
        if entry.module.digest == journal.digest:
            return entry.module.wasm
        if entry.id == journal.plugin:
            other = entry
    advice = ""
    if other is not None:
        file = shlex.quote(str(other.path))
        advice = f"; to compare with {other.label}, which is another one by now, write --wasm {file}"
    raise UsageError(
        f"no plugin of the home has the module that was recorded (sha256 {journal.digest}); give its file with "
        f"--wasm{advice}"
    )


def _read(home: Home, file: str) -> bytes:
    from innkeeper.plugins.files import read_file

    return read_file(file, most=home.configuration.bounds.module_size, label=file)


def _object(journal: Journal, verdict: Verdict) -> dict[str, Any]:
    from innkeeper.cli.journal_view import asked_object, value_object

    departure = verdict.departure
    return {
        "same": verdict.same,
        "whole": verdict.whole,
        "recorded_outcome": journal.ending.kind,
        "calls": {"same": verdict.calls, "recorded": verdict.recorded},
        "departs": None
        if departure is None
        else {
            "call": departure.number,
            "recorded": asked_object(departure.recorded),
            "now": asked_object(departure.now),
            "answer_fits": departure.answer_fits,
        },
        "differences": [
            {"what": each.what, "recorded": value_object(each.recorded), "now": value_object(each.now)}
            for each in verdict.differences
        ],
    }


def _show(journal: Journal, verdict: Verdict) -> None:
    from innkeeper.cli.journal_view import departure_text

    what = f"{journal.plugin} {journal.function}"
    calls = f"{verdict.calls} of {verdict.recorded} calls of the host"
    if verdict.same and verdict.whole:
        write_line(f"the same: {what}, {calls}, the log and the outcome ({journal.ending.kind}) bit for bit")
        return
    if verdict.same:
        ended = journal.ending.message[:500] or journal.ending.kind
        write_line(f"the same as far as the journal goes: {what}, {calls}; then something ended the call: {ended}")
        return
    write_line(f"another: {what}, {calls} the same")
    if verdict.departure is not None:
        for line in departure_text(verdict.departure):
            write_line(line)
    for difference in verdict.differences:
        write_line(f"the {difference.what} is another")
        write_line(f"  recorded: {_text(difference, difference.recorded, difference.now)}")
        write_line(f"  now:      {_text(difference, difference.now, difference.recorded)}")


def _text(difference: Difference, value: bytes | str, other: bytes | str) -> str:
    from innkeeper.cli.journal_view import MOST, value_text

    if isinstance(value, str) or isinstance(other, str):
        return str(value)[: MOST * 2]
    if max(len(value), len(other)) <= MOST:
        return value_text(value)
    # From where they are not the same.
    at = next(
        (at for at, (one, two) in enumerate(zip(value, other, strict=False)) if one != two),
        len(min(value, other, key=len)),
    )
    return f"{len(value)} bytes, from byte {at + 1}: {value_text(value[at : at + 64])}"
