"""Tickets: what a browser shows where it cannot send a header. Each is good once, for a short time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from innkeeper.server.accounts.tokens import hash_of, new_token
from innkeeper.server.answers import AnswerError

LIFE: Final = 30.0
"""Seconds: a page takes its ticket and connects."""

MOST: Final = 10_000
"""Tickets that nobody has used yet."""

MOST_OWN: Final = 100
"""Of these, tickets of one user."""


@dataclass(frozen=True, slots=True)
class Source:
    """By what somebody was recognised who asked for a ticket: it must still count when the ticket is used.

    Attributes:
        how: of what kind it is.
        hash: of the session's token, or of the API key.
        prefix: of the API key.
    """

    how: Literal["local", "session", "key"]
    hash: str = ""
    prefix: str = ""


class Tickets:
    """Tickets in memory, of one process: who asks for one uses it at the same server."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        """Args:
        now: seconds of any clock that only goes forward.
        """
        self._now = now
        # The oldest first: all live equally long.
        self._kept: OrderedDict[str, tuple[str, Source, float]] = OrderedDict()
        self._own: dict[str, int] = {}

    def make(self, uid: str, source: Source) -> str:
        """A ticket (str) for a user, who can do no more with it than with its source.

        Raises:
            AnswerError: 429: there are too many.
        """
        self._forget()
        if len(self._kept) >= MOST or self._own.get(uid, 0) >= MOST_OWN:
            raise AnswerError(429, "too many tickets are unused", headers={"Retry-After": "5"})
        token = new_token()
        self._kept[hash_of(token)] = uid, source, self._now() + LIFE
        self._own[uid] = self._own.get(uid, 0) + 1
        return token

    def take(self, token: str) -> Source | None:
        """What a ticket was made for; None where it is none. It is gone then."""
        self._forget()
        found = self._kept.pop(hash_of(token), None)
        if found is None:
            return None
        self._less(found[0])
        return found[1]

    def _forget(self) -> None:
        now = self._now()
        while self._kept:
            hash, (uid, _, ends) = next(iter(self._kept.items()))
            if ends > now:
                return
            del self._kept[hash]
            self._less(uid)

    def _less(self, uid: str) -> None:
        self._own[uid] -= 1
        if not self._own[uid]:
            del self._own[uid]

    def __len__(self) -> int:
        return len(self._kept)
