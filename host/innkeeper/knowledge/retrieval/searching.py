"""A base's search with its model: texts in, hits out, on trio."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final

import trio

from innkeeper.knowledge.embedding.interface import Embedder, EmbeddingError
from innkeeper.knowledge.retrieval.interface import Answer, Filters, Mode
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.retrieval.vectors import Floats, as_query
from innkeeper.knowledge.text.terms import MOST_QUERY

INLINE: Final = 0.0005
"""Seconds that a search may take on trio's thread: a hop to another one and back costs 55 us, and more where others
compute."""

PATIENCE: Final = 10.0
"""Seconds that the model may take for a query, until words alone are searched."""

_REMEMBERED = 32
_EVERY = Filters()


class Searching:
    """Searches a base by texts. For trio's thread.

    Attributes:
        retriever: of the base; may be replaced.
    """

    def __init__(
        self,
        retriever: Retriever,
        embedder: Embedder | None,
        limiter: trio.CapacityLimiter,
        *,
        trouble: str = "",
        patience: float = PATIENCE,
    ) -> None:
        """Args:
        retriever: of the base.
        embedder: the model of its vectors; None where that is not here.
        limiter: of the threads in which long searches run.
        trouble: why there is no model, as a sentence; "": nobody asked for one.
        patience: seconds that the model may take for a query.
        """
        self.retriever = retriever
        self._embedder = embedder
        self._limiter = limiter
        self._trouble = trouble
        self._patience = patience
        self._known: OrderedDict[str, Floats] = OrderedDict()

    async def search(self, query: str, k: int = 10, *, filters: Filters = _EVERY, mode: Mode = Mode.HYBRID) -> Answer:
        """As `Retriever.search`. A model that fails costs the search its meaning, and a note says so."""
        vector, trouble = await self._vector(query) if mode is not Mode.KEYWORD else (None, "")
        if trouble:
            mode = Mode.KEYWORD
        retriever = self.retriever
        if retriever.expected(mode) <= INLINE:
            answer = retriever.search(query, k, vector=vector, filters=filters, mode=mode)
        else:
            answer = await trio.to_thread.run_sync(
                lambda: retriever.search(query, k, vector=vector, filters=filters, mode=mode), limiter=self._limiter
            )
        return replace(answer, notes=(f"words alone were searched: {trouble}", *answer.notes)) if trouble else answer

    async def similarities(self, text: str, *, least: float = -1.0) -> tuple[dict[str, float], list[str]]:
        """As `Retriever.similarities`, and sentences on what did not work."""
        vector, trouble = await self._vector(text)
        if vector is None:
            return {}, [f"likeness of meaning activated nothing: {trouble}"] if trouble else []
        retriever = self.retriever
        if retriever.expected(Mode.SEMANTIC) <= INLINE:
            return retriever.similarities(vector, least=least), []
        found = await trio.to_thread.run_sync(
            lambda: retriever.similarities(vector, least=least), limiter=self._limiter
        )
        return found, []

    async def _vector(self, text: str) -> tuple[Floats | None, str]:
        """The vector of a query, or None and why there is none."""
        if self._embedder is None:
            return None, self._trouble
        if self.retriever.model != self._embedder.identity:
            # Also where nothing has a vector yet: the search says that itself.
            return None, self._trouble if self.retriever.model is None else "its vectors are of another model"
        text = text[:MOST_QUERY]
        known = self._known.get(text)
        if known is not None:
            self._known.move_to_end(text)
            return known, ""
        try:
            with trio.fail_after(self._patience):
                vectors = await self._embedder.embed([text])
            # A model of somebody else's may break its promise.
            as_query(vectors[0], self._embedder.identity.dimension)
        except (EmbeddingError, ValueError, IndexError) as error:
            return None, str(error)
        except trio.TooSlowError:
            return None, f"the model did not answer within {self._patience:g} s"
        vector = vectors[0]
        self._known[text] = vector
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return vector, ""
