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
    matches: defaultdict[str, list[tuple[float, Match]]] = defaultdict(list)
    for term in terms:
        found = connection.execute(POSTINGS, {**where, "its_term": term, "most": CANDIDATES}).all()
        if not found:
            continue
        # Of a term that very many have, nobody counts how many.
        frequency = entries if len(found) == CANDIDATES else len(found)
        rarity = math.log(1 + entries / max(frequency, 1))
        for entry, rank in found:
            part = rarity * _WEIGHTS[rank]
            scores[entry] += part
            matches[entry].append((part, Match(term, _FIELDS[rank])))
    candidates = sorted(scores, key=lambda entry: (-scores[entry], entry))[:CANDIDATES]
    heads: list[Head] = []
    for at in range(0, len(candidates), _BATCH):
        rows = connection.execute(HEADS, {**where, "ids": candidates[at : at + _BATCH]})
        heads += [each for each in map(head, rows) if _passes(each, filters)]
        if len(heads) >= k:
            break
    best = sorted(heads, key=lambda each: (-scores[each.id], -each.priority, each.id))[:k]
    if not best:
        return []
    found_contents = connection.execute(CONTENTS, {**where, "ids": [each.id for each in best]})
    contents: dict[str, str] = {row.id: row.content for row in found_contents}
    return [Hit(each, contents[each.id], scores[each.id], _why(matches[each.id])) for each in best]


def _passes(each: Head, filters: Filters) -> bool:
    return (each.enabled or filters.disabled) and filters.source in (None, each.source)


def _why(matches: list[tuple[float, Match]]) -> tuple[Match, ...]:
    ordered = sorted(matches, key=lambda pair: -pair[0])
    return tuple(match for _, match in ordered[:_SHOWN])
