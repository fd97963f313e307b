"""What macros can ask for, what becomes of a text, and how much of anything there may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

MOST_TEXT: Final = 1 << 20
"""Characters of a text with macros."""

MOST_STEPS: Final = 20_000
"""Macros of one text that are carried out, nested ones and those in values included."""

MOST_WORK: Final = 4 << 20
"""Characters that all macros of one text make together, those that others take in included."""

MOST_DEPTH: Final = 24
"""Macros inside each other, values in values included. Deeper ones stay as they are."""

MOST_VARIABLES: Final = 1000
"""Variables that one text sets."""

MOST_VALUE: Final = 64 << 10
"""Characters of a variable's value."""

MOST_DICE: Final = 1000
"""Dice of one roll."""

MOST_REPEATED: Final = 1000
"""Spaces or line breaks of one macro."""


@dataclass(frozen=True, slots=True)
class Context:
    """What macros can ask for.

    Attributes:
        char: name of the character; a V3 card's nickname.
        user: name of the user.
        group: names of a group chat's characters, or "".
        values: texts by the macro's name, in any case: "description", "personality", "scenario", "persona",
            "lastMessage", "original", "wiBefore" and so on. Macros in them are carried out, too.
        outlets: texts of `{{outlet::name}}`, by name.
        variables: of this chat, by name.
        global_variables: of all chats, by name.
        seed: of `{{random}}` and `{{roll}}`; None: chance.
        stable: what `{{pick}}` hangs on beside its place: the id of the chat, say.
        now: what the time macros say; None: they stay as they are.
    """

    char: str = ""
    user: str = ""
    group: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    outlets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    global_variables: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    stable: str = ""
    now: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """What became of a text.

    Attributes:
        text: with its macros carried out; the text as it was where a bound was met.
        variables: those of the chat afterwards, by name.
        global_variables: those of all chats afterwards.
        note: which bound was met, as a sentence, or "".
    """

    text: str
    variables: Mapping[str, str]
    global_variables: Mapping[str, str]
    note: str = ""


class BoundError(Exception):
    """A bound was met; its text says which."""
