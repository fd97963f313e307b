"""How the keyword store finds entries: terms that are rare in the base count more, keywords more than prose."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import Any, Final

from sqlalchemy import Connection

from innkeeper.storage.knowledge_model import Filters, Head, Hit, Match
from innkeeper.storage.knowledge_statements import CONTENTS, HEADS, POSTINGS

MOST_QUERY_TERMS: Final = 32
"""Terms of a query; those beyond are not looked for."""

CANDIDATES: Final = 500
"""Entries that are looked at for one term, those first that have it as a keyword; and that filters are asked about."""

_BATCH = 100
_SHOWN = 8
_FIELDS = ("keyword", "title", "content")
_WEIGHTS = (4.0, 2.0, 1.0)
"""Of the fields: a keyword is what the author says that the entry is about."""


def head(row: Any) -> Head:
    """What a row says of its entry."""
    keywords = tuple(json.loads(row.keywords))
    return Head(
        row.id, row.title, keywords, row.priority, bool(row.enabled), row.source, row.author, row.version,
        row.created, row.updated,
    )  # fmt: skip


def search(
    connection: Connection, where: dict[str, object], terms: list[str], entries: int, k: int, filters: Filters
) -> list[Hit]:
    """The `k` best entries of a base.

    Args:
        connection: reads.
        where: the parameters that name the base.
        terms: what is looked for, `MOST_QUERY_TERMS` at most.
        entries: how many the base has.
        k: how many at most.
        filters: which ones.
    """
    scores: defaultdict[str, float] = defaultdict(float)
    # Which entries have a term, and in which field. Texts and numbers alone: of what holds nothing else there may be
    # many thousands without the interpreter's garbage collector coming by, which stops all threads for as long as it
    # looks at everything that the process has.
    found: list[tuple[str, float, dict[str, int]]] = []
    for term in terms:
        rows = connection.execute(POSTINGS, {**where, "its_term": term, "most": CANDIDATES})
        ranks: dict[str, int] = {entry: rank for entry, rank in rows}  # noqa: C416 (dict() would have all rows at once)
        if not ranks:
            continue
        # Of a term that very many have, nobody counts how many.
        frequency = entries if len(ranks) == CANDIDATES else len(ranks)
        rarity = math.log(1 + entries / max(frequency, 1))
        for entry, rank in ranks.items():
            scores[entry] += rarity * _WEIGHTS[rank]
        found.append((term, rarity, ranks))
    # One after the other, the second keeping the order of the first: a key of both would be a tuple for each.
    ordered = sorted(scores)
    ordered.sort(key=scores.__getitem__, reverse=True)
    candidates = ordered[:CANDIDATES]
    passed: list[Any] = []
    for at in range(0, len(candidates), _BATCH):
        batch = candidates[at : at + _BATCH]
        # Those that match alike are all looked at: priority decides among them.
        if len(passed) >= k and scores[batch[0]] < scores[candidates[at - 1]]:
            break
        passed += [row for row in connection.execute(HEADS, {**where, "ids": batch}) if _passes(row, filters)]
    best = sorted(passed, key=lambda row: (-scores[row.id], -row.priority, row.id))[:k]
    if not best:
        return []
    found_contents = connection.execute(CONTENTS, {**where, "ids": [row.id for row in best]})
    contents: dict[str, str] = {row.id: row.content for row in found_contents}
    return [Hit(head(row), contents[row.id], scores[row.id], _why(row.id, found)) for row in best]


def _passes(row: Any, filters: Filters) -> bool:
    return (row.enabled or filters.disabled) and filters.source in (None, row.source)


def _why(entry: str, found: list[tuple[str, float, dict[str, int]]]) -> tuple[Match, ...]:
    matches = [(rarity * _WEIGHTS[ranks[entry]], term, ranks[entry]) for term, rarity, ranks in found if entry in ranks]
    matches.sort(key=lambda match: -match[0])
    return tuple(Match(term, _FIELDS[rank]) for _, term, rank in matches[:_SHOWN])
