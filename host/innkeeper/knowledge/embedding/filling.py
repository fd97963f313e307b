"""Embeds many texts, so that what is made is kept by and by: who is stopped goes on where it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from innkeeper.knowledge.embedding.interface import Embedder, Vectors

BATCH: Final = 256
"""Texts whose vectors are kept in one go."""

Wanted = TypeVar("Wanted")


async def fill(
    embedder: Embedder,
    missing: Callable[[Wanted | None], Awaitable[Sequence[Wanted]]],
    text_of: Callable[[Wanted], str],
    keep: Callable[[Sequence[Wanted], Vectors], Awaitable[object]],
    told: Callable[[int], None],
) -> int:
    """Makes the vectors that a base lacks; gives how many.

    Args:
        embedder: the model.
        missing: a page of what has no vector, behind the last of the page before, or the first one for None; empty at
            the end.
        text_of: what the model is given of it.
        keep: keeps vectors of some of a page, all or none; they are not missing afterwards.
        told: hears after each step how many were kept with it.

    Raises:
        EmbeddingError: the model failed; what was kept is kept.
    """
    made = 0
    last: Wanted | None = None
    while page := await missing(last):
        last = page[-1]
        for at in range(0, len(page), BATCH):
            part = page[at : at + BATCH]
            await keep(part, await embedder.embed([text_of(each) for each in part]))
            made += len(part)
            told(len(part))
    return made
