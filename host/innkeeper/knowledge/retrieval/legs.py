"""What is kept beside an entry so that it can be found: terms, and the text of its vector."""

from __future__ import annotations

from typing import Final

from innkeeper.knowledge.embedding.texts import TEXT_VERSION, embedding_text
from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.text.blob import TERMS_VERSION, entry_terms


class TextLegs:
    """Makes what search needs of an entry. The same entry always gives the same; may be called from any thread.

    Attributes:
        key: changes whenever what is made changes.
    """

    key: Final = f"terms-{TERMS_VERSION}.text-{TEXT_VERSION}"

    def terms(self, entry: Entry) -> bytes:
        """The terms of full text (`text.blob`), linear in the entry's text."""
        return entry_terms(entry)

    def text(self, entry: Entry) -> str:
        """The text whose meaning the entry has: what a model of embeddings is given."""
        return embedding_text(entry)
