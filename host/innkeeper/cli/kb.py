"""`innkeeper kb`: knowledge bases."""

from __future__ import annotations

import click

from innkeeper.cli.lazy import LazyGroup

_COMMANDS = {
    "new": "Make an empty knowledge base.",
    "add": "Register a folder or file as a global knowledge base.",
    "import": "Read lorebooks, documents or archives into a knowledge base.",
    "export": "Write a knowledge base into a file.",
    "list": "List the knowledge bases, or the entries of one.",
    "models": "List the models that make embeddings.",
    "search": "Search a knowledge base.",
    "explain": "Show which entries a conversation activates, and why.",
    "check": "Name entries that can never be active, and what else is wrong.",
    "embed": "Make the vectors of a knowledge base.",
    "edit": "Change an entry.",
    "undo": "Take the last change of an entry or a base back.",
    "approve": "Show what plugins want to change, and do or drop it.",
    "cases": "Run activation cases of a file.",
    "bench": "Measure retrieval and activation.",
}


@click.command(
    cls=LazyGroup,
    room="innkeeper.cli.knowledge",
    lines=_COMMANDS,
    modules={name: f"kb_{name}" for name in _COMMANDS},
)
def kb() -> None:
    """Knowledge bases: entries that a conversation calls for."""
