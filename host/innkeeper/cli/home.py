"""`innkeeper home`: which folder is the home, whether it is believed, and accepting a working directory as one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import is_terminal, json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import CancelledError, Kind, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home

LATER = "whatever is put there later counts as well, without another question: by `git pull`, say"
"""What whoever accepts a folder agrees to, beside what is in it."""


@click.command()
@click.argument("action", type=click.Choice(["show", "accept", "forget"]), default="show")
@click.argument("folder", metavar="[FOLDER]", required=False)
@click.option("--yes", is_flag=True, help="Accept it without being asked.")
@json_option
@pass_settings
def home(settings: Settings, action: str, folder: str | None, yes: bool) -> int:
    """Show which folder is the home, who chose it, and whether its settings, grants and records of trust count.

    A working directory with a folder `plugins` is the home by itself, and those of it count only if you accepted it:
    somebody else may have filled it. `accept` says what would count from then on, and asks; `forget` takes it back.
    FOLDER is the working directory unless you name another.
    """
    if action == "show":
        if folder is not None:
            raise UsageError("write innkeeper --home FOLDER home")
        _show(settings)
        return 0
    try:
        chosen = Path(folder or settings.home or Path.cwd()).absolute()
    except OSError:
        raise UsageError("the working directory is gone; give the whole path") from None
    # What is shown is what is accepted, whatever becomes of a link on the way meanwhile.
    return _accept(settings, chosen.resolve(), yes) if action == "accept" else _forget(settings, chosen)


def _show(settings: Settings) -> None:
    from innkeeper.plugins.accepted_homes import read_accepted
    from innkeeper.plugins.home import open_home
    from innkeeper.plugins.listing import unused_decisions

    opened, accepted = open_home(settings.home), read_accepted()
    if settings.json:
        found = {
            "home": str(opened.path),
            "origin": opened.origin,
            "believed": opened.believed,
            "problems": unused_decisions(opened),
            "accepted": {
                "file": str(accepted.file),
                "homes": list(accepted.homes),
                "problem": accepted.problem or None,
            },
        }
        write_out(json_bytes(found, indent=2))
        return
    write_line(f"{opened.path} ({opened.origin})")
    write_line(
        "believed: its settings, grants and records of trust count"
        if opened.believed
        else f"not believed: {opened.doubt}"
    )
    for accepted_home in accepted.homes:
        write_line(f"accepted: {accepted_home}")
    if accepted.problem and opened.believed:
        write_line(f"problem: {accepted.problem}")


def _accept(settings: Settings, folder: Path, yes: bool) -> int:
    from innkeeper.plugins.accepted_homes import accept_home
    from innkeeper.plugins.home import open_home

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    # Named, and so read as one that counts; what is wrong with its settings is said before anybody accepts them.
    found = _object(open_home(folder))
    if not settings.json:
        _say(found)
    if not yes:
        if settings.json or not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
            advice = (
                "nothing was accepted: there is no terminal to ask; look at what would count, and repeat with --yes"
            )
            if not settings.json:
                raise UsageError(advice)
            write_out(json_bytes(found | {"written": False, "message": advice}, indent=2))
            return Kind.USAGE.exit_code
        if not click.confirm("Accept this folder as a home?", err=True):
            raise CancelledError("nothing was accepted")
    written = accept_home(folder)
    sentence = "accepted" if written else "accepted already"
    if settings.json:
        write_out(json_bytes(found | {"written": written, "message": sentence}, indent=2))
    else:
        write_line(f"{found['home']}: {sentence}; `innkeeper home forget` takes it back")
    return 0


def _forget(settings: Settings, folder: Path) -> int:
    from innkeeper.plugins.accepted_homes import forget_home

    if not forget_home(folder):
        raise UsageError(f"{folder} is not accepted as a home; `innkeeper home` lists those that are")
    if settings.json:
        write_out(json_bytes({"home": str(folder), "forgotten": True}, indent=2))
    else:
        write_line(f"{folder}: forgotten; its settings, grants and records of trust count only where you name it")
    return 0


def _object(opened: Home) -> dict[str, Any]:
    """What of a home would count."""
    from innkeeper.plugins.configuration import FILE_NAME
    from innkeeper.plugins.effective import effective_settings
    from innkeeper.plugins.listing import list_home

    listing = list_home(opened)
    rows = effective_settings(opened.configuration)
    return {
        "home": str(opened.path),
        "settings": {row.key: row.shown for row in rows if row.origin == FILE_NAME},
        "grants": list(listing.grants[0]),
        "trusted": list(listing.trust),
        "nativePlugins": opened.configuration.native_plugins,
    }


def _say(found: dict[str, Any]) -> None:
    write_line(f"{found['home']} as a home, from then on")
    settings = [f"{key} = {value}" for key, value in found["settings"].items()]
    write_line(f"  settings in innkeeper.toml: {', '.join(settings) or 'none'}")
    write_line(f"  grants: {len(found['grants']):,}{_names(found['grants'])}")
    native = "with all rights of the host" if found["nativePlugins"] else "not run, since native plugins are off"
    write_line(f"  trusted native plugins, {native}: {len(found['trusted']):,}{_names(found['trusted'])}")
    write_line(f"  {LATER}")


def _names(names: list[str]) -> str:
    return f" ({', '.join(names)})" if names else ""
