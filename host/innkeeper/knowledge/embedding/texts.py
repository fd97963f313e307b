"""The text whose meaning an entry has."""

from __future__ import annotations

from typing import Final

from innkeeper.knowledge.model.entry import GROUP, Entry
from innkeeper.knowledge.text.terms import entry_keys

TEXT_VERSION: Final = 1
"""Of how the text is made. Vectors of texts of another version are made anew."""

MOST_TEXT: Final = 8000
"""Characters that a model is given of one entry. Models of endpoints refuse more than some thousand tokens, and the
mean over a longer text says little of any part of it."""


def embedding_text(entry: Entry) -> str:
    """What a model of embeddings is given of an entry (str), at most `MOST_TEXT` characters: its name and what it says.

    Keywords are words that a conversation may have, and not what the entry means: they stand in where it says nothing,
    as a group or a picture without a description.
    """
    content = "" if entry.entry_type == GROUP else entry.text
    if not content.strip():
        content = entry.content.caption or entry.content.alt_text or ", ".join(entry_keys(entry))
    return "\n".join(each for each in ((entry.displayName or "").strip(), content.strip()) if each)[:MOST_TEXT]
