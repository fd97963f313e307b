"""What the store keeps of an entry for search: its terms, and the text whose meaning it has."""

from __future__ import annotations

from innkeeper.knowledge.embedding.texts import TEXT_VERSION, embedding_text
from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.text.blob import TERMS_VERSION, entry_terms


class SearchLegs:
    """Implements `store.legs.Legs`."""

    @property
    def key(self) -> str:
        """As `Legs.key`."""
        return f"terms{TERMS_VERSION}-text{TEXT_VERSION}"

    def terms(self, entry: Entry) -> bytes:
        """As `Legs.terms`."""
        return entry_terms(entry)

    def text(self, entry: Entry) -> str:
        """As `Legs.text`."""
        return embedding_text(entry)
