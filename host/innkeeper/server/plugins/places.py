"""How many requests plugins answer at the same time: none keeps out the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from innkeeper.server.answers import AnswerError

MOST: Final = 64
"""Of all plugins: as many calls as one plugin may have under way by default."""

MOST_OF_ONE: Final = 16


class Places:
    """Counts them. From trio's thread alone."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._taken: Counter[str] = Counter()

    @contextmanager
    def one(self, plugin: str) -> Iterator[None]:
        """A place for a request to a plugin (its id), for the time of the block.

        Raises:
            AnswerError: 503: there is none now.
        """
        if self._taken[plugin] >= self._most_of_one or self._taken.total() >= self._most:
            raise AnswerError(503, "the plugin answers as many requests as it may", headers={"Retry-After": "1"})
        self._taken[plugin] += 1
        try:
            yield
        finally:
            self._taken[plugin] -= 1
            if not self._taken[plugin]:
                del self._taken[plugin]
