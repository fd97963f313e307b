"""The terms of an entry for the plain search."""

from __future__ import annotations

from typing import Final

from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.plain.terms import terms_of_fields

FIELDS: Final = ("keyword", "title", "content")
"""Where a term is; what counts most first."""


class PlainLegs:
    """Implements `store.legs.Legs`: terms as a line for each of `FIELDS`, separated by spaces, in UTF-8."""

    key: Final = "plain-1"

    def terms(self, entry: Entry) -> bytes:
        """As `Legs.terms`."""
        keywords = list(entry.activation_criteria.keywords)
        for group in entry.activation_criteria.key_groups:
            keywords += group.keys
        fields = ("\n".join(keywords), entry.displayName or "", entry.text)
        lines: list[list[str]] = [[] for _ in FIELDS]
        for term, rank in terms_of_fields(fields).items():
            lines[rank].append(term)
        # Surrogates, which JSON can spell, are no text of UTF-8.
        return "\n".join(map(" ".join, lines)).encode("utf-8", "replace")

    def text(self, entry: Entry) -> str:
        """As `Legs.text`."""
        return "\n".join(part for part in (entry.displayName, entry.text) if part)


def ranks_of(terms: bytes) -> dict[str, int]:
    """The terms of an entry, and in which of `FIELDS` each is."""
    found: dict[str, int] = {}
    for rank, line in enumerate(terms.decode().split("\n")):
        for term in line.split():
            found.setdefault(term, rank)
    return found
