"""`innkeeper user`: who may use the server."""

from __future__ import annotations

import click

from innkeeper.cli.lazy import LazyGroup

_COMMANDS = {
    "list": "List the users.",
    "invite": "Invite one person.",
    "password": "Set a password.",
    "role": "Make a user an administrator, or not.",
    "disable": "Keep a user out.",
    "enable": "Let a disabled user in again.",
}


@click.command(cls=LazyGroup, room="innkeeper.cli", lines=_COMMANDS, modules=dict.fromkeys(_COMMANDS, "user_actions"))
def user() -> None:
    """Who may use `innkeeper serve`; a server that runs knows at once.

    \b
    innkeeper user password
    innkeeper user invite --admin
    innkeeper user disable NAME
    """
