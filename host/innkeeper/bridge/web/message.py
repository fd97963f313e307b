"""A request to a server, and the head of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from innkeeper.plugins.urls import Url
from innkeeper.sandbox.limits import MIB

MOST_BODY: Final = 8 * MIB
"""Bytes of a body, of a request or decompressed of an answer: both together, encoded, fit twice into the memory that a
guest's kernel has for what passes between guest and host."""

MOST_HEADERS: Final = 100
"""Headers of a message: what common servers take."""

MOST_HEAD: Final = 64 * 1024
"""Bytes of the head of a message."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        method: in capitals.
        url: where.
        headers: names as they were written, and values; checked by `headers.check_headers`.
        body: at most `MOST_BODY` bytes.
    """

    method: str
    url: Url
    headers: Headers = ()
    body: bytes = b""

    def __repr__(self) -> str:
        # A header, the query or the body may hold a secret.
        return f"<Request {self.method} {self.url.origin}>"


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins.

    Attributes:
        status: 200 to 999.
        headers: names in lower case, and values, in the order of the server.
    """

    status: int
    headers: Headers

    def all(self, name: str) -> list[str]:
        """The values of a header; `name` in lower case."""
        return [value for each, value in self.headers if each == name]
