"""Which headings are words that an entry should be found by in a conversation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from innkeeper.knowledge.documents.cut import Chunk

_SHORTEST = 2
_LONGEST = 60
_MOST_OTHERS = 3
"""Other chunks of the file that may have the words of a heading. A heading such as "Notes", which the text is full of,
would bring its entry into every conversation."""


def keywords_of(chunks: Sequence[Chunk]) -> list[list[str]]:
    """The keywords of each chunk: the innermost heading, if it is short, names one section alone, and is rare in the
    rest of the file. Looks at each text once."""
    titles: dict[str, list[tuple[str, ...]]] = {}
    for chunk in chunks:
        if chunk.part == 1 and chunk.path and _SHORTEST <= len(chunk.path[-1]) <= _LONGEST:
            titles.setdefault(chunk.path[-1].casefold(), []).append(chunk.path)
    alone = {title: paths[0] for title, paths in titles.items() if len(paths) == 1}
    if not alone:
        return [[] for _ in chunks]
    from ahocorasick_rs import AhoCorasick

    patterns = list(alone)
    found = AhoCorasick(patterns)
    others = Counter[str]()
    for chunk in chunks:
        matches = found.find_matches_as_indexes(chunk.text.casefold(), overlapping=True)
        others.update(
            title for number in {match[0] for match in matches} if alone[title := patterns[number]] != chunk.path
        )
    return [
        [chunk.path[-1]]
        if chunk.path and (title := chunk.path[-1].casefold()) in alone and others[title] <= _MOST_OTHERS
        else []
        for chunk in chunks
    ]
