"""What the options before the subcommand say, and the options that several subcommands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.plugin import Plugin

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class Settings:
    """The group's options; a command takes them with `@pass_settings`.

    Attributes:
        home: --home, or None.
        json: whether the command was asked for JSON, errors included.
    """

    home: str | None = None
    json: bool = False


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def json_option(command: _Command) -> _Command:
    """Adds --json, which is then `Settings.json`."""

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            context.ensure_object(Settings).json = True

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=remember,
        help="One JSON object on standard output, errors included.",
    )(command)


def journal_option(command: _Command) -> _Command:
    """Adds --journal, the argument `journal`: which calls are kept, or None for what innkeeper.toml says."""
    return click.option(
        "--journal",
        type=click.Choice(["never", "errors", "all"]),
        help="Which calls are kept, for innkeeper replay; by default what innkeeper.toml says.",
    )(command)


def owner_option(command: _Command) -> _Command:
    """Adds --owner, the argument `owner`: the id of a user, by default the local one's."""

    def checked(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str:
        from innkeeper.storage.names import check_name
        from innkeeper.storage.run_model import USER

        try:
            check_name(USER if value is None else value, "owner")
        except ValueError as error:
            raise UsageError(f"--owner: {error}") from None
        return USER if value is None else value

    return click.option(
        "--owner", metavar="NAME", callback=checked, help="Of this user; without users, and by default, default_user."
    )(command)


def is_plugin_id(file: str) -> bool:
    """Whether an argument FILE means a plugin of the home (bool): it is an id, and no file."""
    from innkeeper.plugins.manifest import ID

    return not os.path.lexists(file) and not file.endswith(".wasm") and ID.fullmatch(file) is not None


def plugin_of_home(host: Host, plugin_id: str) -> Plugin:
    """The plugin that an argument FILE means.

    Raises:
        UsageError: there is none; the message says what to write for a file, or where the plugins are listed.
    """
    try:
        return host.plugin(plugin_id)
    except UsageError as error:
        file = f"{plugin_id}.wasm"
        advice = f"for the file write {file}" if os.path.isfile(file) else "`innkeeper plugins` lists what there is"
        raise UsageError(f"{error.message}; {advice}") from None


async def say_unused(home: Home) -> list[str]:
    """Says on standard error that grants and settings of the home are not used, if there are any (list of the lines
    that were said: one, or none)."""
    if home.believed:
        return []
    import trio

    from innkeeper.cli.output import write_error
    from innkeeper.plugins.listing import unused_decisions

    said = await trio.to_thread.run_sync(unused_decisions, home)
    for line in said:
        write_error(f"innkeeper: {line}")
    return said


def utf8(option: str, text: str, instead: str = "") -> bytes:
    """What an option says, as UTF-8 (bytes).

    Args:
        option: the option, for messages.
        text: as the command line gave it; bytes that are no text there came as halves of surrogate pairs.
        instead: what takes any bytes, for messages: "; for other bytes use ...".

    Raises:
        UsageError: it is not text.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{option}: the text is not UTF-8 (character {error.start:,}){instead}") from None


def key_values(option: str, pairs: tuple[str, ...], *, paths: bool = False) -> dict[str, str]:
    """The pairs of a repeated option KEY=VALUE.

    Args:
        option: the option, for messages.
        pairs: as the command line gave them.
        paths: whether the values are names of files, which need not be UTF-8.

    Raises:
        UsageError: one has no "=", no key, a key that came before, or is not UTF-8.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {pair[:100]!r}: write KEY=VALUE")
        if key in found:
            raise UsageError(f"{option} gives {key[:100]!r} twice")
        utf8(option, key)
        if not paths:
            utf8(f"{option} {key[:100]}", value)
        found[key] = value
    return found
