"""How well a model retrieves in a language, found out with the base's own texts.

Each of some entries is cut in two. Who finds the first half by the second: words, or meaning? A model that knows the
language comes near to words or passes them; one that does not is far behind. Per script, since the language of a short
query cannot be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import trio
from numpy.typing import NDArray

from innkeeper.knowledge.embedding.interface import Embedder, Vectors
from innkeeper.knowledge.retrieval.keyword import score
from innkeeper.knowledge.retrieval.postings import segment_of
from innkeeper.knowledge.text.blob import count_terms
from innkeeper.knowledge.text.scripts import CJK, LATIN, main_script
from innkeeper.knowledge.text.terms import content_terms, term_id

FEWEST: Final = 24
"""Texts of a script; of fewer nothing can be said."""

_MOST = 128
_SHORTEST = 80
_LONGEST = 2000
_CUT = 40
_SMOOTHING = 0.1

_KNOWN: Final = {"wordllama-l2-256": {LATIN: 1.0, CJK: 0.7, "hangul": 0.5, "cyrillic": 0.6}}
_OTHER: Final = {"wordllama-l2-256": 0.3}
_UNKNOWN: Final = 0.8


def presumed(model: str, script: str) -> float:
    """How well a model retrieves where nothing was measured, 0 to 1.

    Args:
        model: `ModelIdentity.id`.
        script: of the query.
    """
    return _KNOWN.get(model, {}).get(script, _OTHER.get(model, _UNKNOWN))


async def measure(embedder: Embedder, texts: Sequence[str]) -> dict[str, float]:
    """How well a model retrieves in the scripts of some texts, 0 to 1, by script. Embeds at most 256 halves of each.

    Args:
        embedder: the model.
        texts: of entries, in an order that does not change.

    Raises:
        EmbeddingError: the model failed.
    """
    found = {}
    for script, pairs in (await trio.to_thread.run_sync(_halves, texts)).items():
        halves = await embedder.embed([half for pair in pairs for half in pair])
        found[script] = await trio.to_thread.run_sync(_competence, embedder.identity.id, script, pairs, halves)
    return found


def _halves(texts: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    by_script: dict[str, list[str]] = {}
    for text in texts:
        if len(text) >= _SHORTEST:
            by_script.setdefault(main_script(text), []).append(text)
    found = {}
    for script, group in by_script.items():
        if len(group) >= FEWEST:
            places = np.linspace(0, len(group) - 1, min(_MOST, len(group))).astype(int)
            found[script] = [_cut(group[at][:_LONGEST]) for at in places]
    return found


def _cut(text: str) -> tuple[str, str]:
    """A text in two, between words where that is near."""
    middle = len(text) // 2
    for at in range(middle, middle + _CUT // 2):
        if not text[at].isalnum():
            return text[:at], text[at:]
    return text[:middle], text[middle:]


def _competence(model: str, script: str, pairs: Sequence[tuple[str, str]], halves: Vectors) -> float:
    by_meaning = _reciprocal_rank(halves[1::2] @ halves[::2].T)
    by_words = _reciprocal_rank(_by_words(pairs))
    # Where words find nearly nothing either, what is known of the model beforehand decides.
    before = presumed(model, script)
    return float(min((by_meaning + _SMOOTHING * before) / (by_words + _SMOOTHING), 1.0))


def _by_words(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
    first = [count_terms((), (), content_terms(one)) for one, _ in pairs]
    segment = segment_of(list(enumerate(first)))
    alive = np.ones(len(pairs), np.bool_)
    lengths = np.array([each.length for each in first], np.float32)
    rows = []
    for _, other in pairs:
        terms = dict.fromkeys(content_terms(other))
        places = [(term, [found] if (found := segment.of(term_id(term))) else []) for term in terms]
        rows.append(score(places, alive, lengths, len(pairs), int(lengths.sum())).scores)
    return np.array(rows, np.float32)


def _reciprocal_rank(scores: NDArray[np.float32]) -> float:
    """The mean reciprocal rank of the diagonal; what is equal stands before it."""
    own = scores.diagonal()[:, None]
    return float((1 / (scores >= own).sum(axis=1)).mean())
