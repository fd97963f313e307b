"""`innkeeper card`: character cards."""

from __future__ import annotations

import click

from innkeeper.cli.lazy import LazyGroup

_COMMANDS = {
    "show": "Show what a character card says.",
    "import": "Read a character card and its lorebook.",
    "export": "Write a character card.",
}


@click.command(
    cls=LazyGroup,
    room="innkeeper.cli.knowledge",
    lines=_COMMANDS,
    modules={name: f"card_{name}" for name in _COMMANDS},
)
def card() -> None:
    """Character cards, as chat front ends write them."""
