"""The terms of an entry and of a query: stems of words, and pairs of characters where words have no spaces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.text.folding import folded
from innkeeper.knowledge.text.scripts import runs
from innkeeper.knowledge.text.stemming import stem
from innkeeper.knowledge.text.stopwords import ENGLISH

MOST_TERMS: Final = 8192
"""Different terms of one entry; words beyond are not found."""

MOST_QUERY_TERMS: Final = 64
"""Terms of a query; those beyond are not looked for."""

MOST_QUERY: Final = 8000
"""Characters of a query; those beyond are not looked at."""

MOST_TERM: Final = 64
"""Characters of a term; of a longer word the first ones count."""

_REMEMBERED = 1 << 16

_stems: dict[str, str] = {}
_ids: dict[str, int] = {}


def _stem_of(word: str) -> str:
    # Before it is remembered, too: a word may be as long as an entry.
    word = word[:MOST_TERM]
    found = _stems.get(word)
    if found is None:
        if len(_stems) >= _REMEMBERED:
            _stems.clear()
        found = _stems[word] = stem(word)
    return found


def term_id(term: str) -> int:
    """The number under which a term is indexed (int, 64 bits), the same in every process.

    Two terms of one number would be found for each other. Among a million by chance that happens once in ten million
    bases, and who makes such a pair on purpose spoils their own entries' order.
    """
    found = _ids.get(term)
    if found is None:
        if len(_ids) >= _REMEMBERED:
            _ids.clear()
        digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        found = _ids[term] = int.from_bytes(digest, "little")
    return found


def content_terms(text: str) -> Iterator[str]:
    """The terms of prose in its order, some of them twice, without stop-words."""
    for unspaced, run in runs(folded(text)):
        if unspaced:
            yield from _pairs(run)
        elif run not in ENGLISH:
            yield _stem_of(run)


def name_terms(text: str) -> Iterator[str]:
    """The terms of a name, stop-words too: some names consist of them."""
    for unspaced, run in runs(folded(text)):
        if unspaced:
            yield from _pairs(run)
        else:
            yield _stem_of(run)


def _pairs(run: str) -> Iterator[str]:
    # Single ones too, so that a query of one character finds something.
    yield from run
    for at in range(len(run) - 1):
        yield run[at : at + 2]


def query_terms(text: str) -> list[str]:
    """The terms that a query looks for, each once, the first `MOST_QUERY_TERMS`; stop-words where it has nothing else.

    Args:
        text: of a person, or a message of a conversation.
    """
    found: dict[str, None] = {}
    stopped: dict[str, None] = {}
    for unspaced, run in runs(folded(text[:MOST_QUERY])):
        if not unspaced:
            (stopped if run in ENGLISH else found)[_stem_of(run)] = None
        elif len(run) == 1:
            found[run] = None
        else:
            found.update(dict.fromkeys(run[at : at + 2] for at in range(len(run) - 1)))
        if len(found) >= MOST_QUERY_TERMS:
            break
    return list(found or stopped)[:MOST_QUERY_TERMS]


def words_of_keys(keys: Iterable[str]) -> Iterator[str]:
    """Keywords that are words: a regular expression says nothing that a search could find."""
    for key in keys:
        if not (len(key) > 2 and key[0] == "/" and "/" in key[1:]):
            yield key


def entry_keys(entry: Entry) -> list[str]:
    """All words under which an entry's author wants it found: its keywords, and those of its groups that ask for
    something (list of str)."""
    criteria = entry.activation_criteria
    keys = list(criteria.keywords)
    for group in criteria.key_groups:
        if group.logic in ("AND", "OR"):
            keys += group.keys
    return list(dict.fromkeys(words_of_keys(keys)))
