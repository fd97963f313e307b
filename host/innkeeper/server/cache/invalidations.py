"""What caches are told to forget: by key, by prefix and by pattern, through one small interface. In one process a list
of receivers stands behind it; a server that several hosts share, such as Redis, can stand there instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final, Literal, Protocol
from urllib.parse import quote

ANY: Final = "*"
"""A part of a pattern that stands for any characters, the separator included, as Redis has it."""


def key(*parts: str) -> str:
    """A key (str) of parts: "chats/UID/PROJECT/SESSION". Whatever a part says, it stays one part, and has no meaning
    in a pattern: no name that a client chose reaches the entries of somebody else."""
    return "/".join(quote(part, safe="", errors="surrogatepass") for part in parts)


def pattern(*parts: str) -> str:
    """A pattern (str) of parts, of which each is text, as in `key`, or `ANY`."""
    return "/".join(ANY if part == ANY else key(part) for part in parts)


@dataclass(frozen=True, slots=True)
class Invalidation:
    """What is to be forgotten.

    Attributes:
        kind: how `text` is read: a key; a key and all whose first parts are its; a pattern.
        text: made by `key` or `pattern`; as a prefix "" is everything.
    """

    kind: Literal["key", "prefix", "pattern"]
    text: str

    def matches(self, found: str) -> bool:
        """Whether an entry of this key is to be forgotten."""
        if self.kind == "key":
            return found == self.text
        if self.kind == "prefix":
            return not self.text or found == self.text or found.startswith(self.text + "/")
        return _compiled(self.text).fullmatch(found) is not None

    @property
    def above(self) -> str:
        """The longest prefix (str) under which everything lies that it can match, "" for all."""
        if self.kind != "pattern":
            return self.text
        literal = re.split(r"[*?\[]", self.text, maxsplit=1)[0]
        return literal.rpartition("/")[0]


EVERYTHING: Final = Invalidation("prefix", "")
"""Forgets all: what a cache does that may have missed an invalidation."""

Receiver = Callable[[Invalidation], None]
"""Forgets. On trio's thread; quick; must not raise."""


class Invalidations(Protocol):
    """Carries invalidations to every cache, of this process and, where several hosts share their data, of theirs.

    A transport that loses messages, such as a connection that broke, gives its receivers `EVERYTHING` once it is
    there again.
    """

    async def publish(self, one: Invalidation) -> None:
        """Tells every cache. Returns once those of this process have forgotten."""
        ...

    def subscribe(self, receiver: Receiver) -> Callable[[], None]:
        """Calls a receiver for every invalidation from now on; what is returned ends that."""
        ...


class LocalInvalidations:
    """`Invalidations` within one process."""

    def __init__(self) -> None:
        self._receivers: dict[object, Receiver] = {}

    async def publish(self, one: Invalidation) -> None:
        """See `Invalidations`."""
        for receiver in list(self._receivers.values()):
            receiver(one)

    def subscribe(self, receiver: Receiver) -> Callable[[], None]:
        """See `Invalidations`."""
        token = object()
        self._receivers[token] = receiver

        def end() -> None:
            self._receivers.pop(token, None)

        return end


@lru_cache(maxsize=256)
def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(translate(text))
