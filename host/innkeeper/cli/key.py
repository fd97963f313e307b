"""`innkeeper key`: API keys, and the key under which credentials are encrypted."""

from __future__ import annotations

import click

from innkeeper.cli.lazy import LazyGroup

_COMMANDS = {
    "list": "List API keys, without the keys.",
    "new": "Make an API key.",
    "revoke": "Revoke an API key.",
    "rotate-master": "Encrypt all credentials under another master key.",
}


@click.command(cls=LazyGroup, room="innkeeper.cli", lines=_COMMANDS, modules=dict.fromkeys(_COMMANDS, "key_actions"))
def key() -> None:
    """API keys of users, and the master key of their credentials; a server that runs knows at once.

    \b
    innkeeper key new --name editor --scope runs --scope nodes
    innkeeper key list
    innkeeper key revoke ctsk_Ab3dEf
    """
