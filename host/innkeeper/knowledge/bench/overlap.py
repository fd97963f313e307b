"""Proves that a question shares no word with the entry that answers it: what words can find is then chance.

For languages with spaces these are content words by their stems, and as a second look beside the rules of stemming: a
stem of four letters or more that begins the other's. For Chinese it is pairs of characters within a clause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from innkeeper.knowledge.bench.sets import DataSet
from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.text.folding import folded
from innkeeper.knowledge.text.scripts import runs
from innkeeper.knowledge.text.stemming import stem

_FUNCTION_WORDS = """
    a about above after again against all am an and any are as at be because been before being below between both
    but by can did do does doing don down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just me more most my myself no nor not now of off on
    once only or other our ours ourselves out over own s same she should so some such t than that the their theirs
    them themselves then there these they this those through to too under until up very was we were what when
    where which while who whom why will with you your yours yourself yourselves
"""

FUNCTION_WORDS: Final = frozenset(_FUNCTION_WORDS.split())
"""What both may have: articles, pronouns, prepositions, conjunctions, auxiliaries and question words, no others."""

_SHORTEST_BEGINNING = 4


def shared(question: str, entry: Entry) -> list[str]:
    """What a question shares with an entry's name, keywords, keys of groups or content (list of str), sorted; pairs of
    stems as "one/other" where one begins the other.

    Args:
        question: as somebody asks it.
        entry: that answers it.
    """
    words, pairs = _parts(question)
    found: set[str] = set()
    for text in _texts(entry):
        others, other_pairs = _parts(text)
        found.update(pairs & other_pairs)
        found.update(words & others)
        found.update(
            f"{one}/{other}"
            for one in words
            for other in others
            if one != other and _begins(*sorted((one, other), key=len))
        )
    return sorted(found)


def overlaps(data: DataSet) -> Mapping[str, list[str]]:
    """The questions of a set that share something with an entry that answers them, and what; empty as it should be."""
    entries = {entry.id: entry for entry in data.entries}
    found = {}
    for question in data.questions:
        common = sorted({each for id in question.gains for each in shared(question.text, entries[id])})
        if common:
            found[question.text] = common
    return found


def _texts(entry: Entry) -> Iterator[str]:
    criteria = entry.activation_criteria
    yield from (entry.displayName or "", entry.text, *criteria.keywords)
    for group in criteria.key_groups:
        yield from group.keys


def _begins(short: str, long: str) -> bool:
    return len(short) >= _SHORTEST_BEGINNING and long.startswith(short)


def _parts(text: str) -> tuple[set[str], set[str]]:
    """Stems of content words, and pairs of characters."""
    words: set[str] = set()
    pairs: set[str] = set()
    for unspaced, run in runs(folded(_without_genitive(text))):
        if unspaced:
            pairs.update(run[at : at + 2] for at in range(len(run) - 1))
        elif len(run) > 1 and run not in FUNCTION_WORDS:
            words.add(stem(run))
    return words, pairs


def _without_genitive(text: str) -> str:
    return re.sub(r"['\N{RIGHT SINGLE QUOTATION MARK}]s\b", "", text)
