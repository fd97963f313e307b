"""The two sources of random numbers."""

from __future__ import annotations

import os
from hashlib import shake_128
from typing import Protocol

_BLOCK = 1024
_DOMAIN = b"innkeeper wasi random 1\0"


class Random(Protocol):
    """An endless stream of bytes."""

    def take(self, length: int) -> bytes:
        """The next `length` bytes (int, 0 or more)."""
        ...


class DigestRandom:
    """The stream that a module's digest decides: the same for each guest of the module, however it is cut.

    Block i (0, 1, 2, ...) is the first 1024 bytes of SHAKE-128 over the 24 bytes "innkeeper wasi random 1" and NUL,
    the seed, and i as 8 bytes in little-endian order. The stream is block after block. It is no secret.
    """

    __slots__ = ("_next", "_prefix", "_rest")

    def __init__(self, seed: bytes) -> None:
        self._prefix = _DOMAIN + seed
        self._next = 0
        self._rest = b""

    def take(self, length: int) -> bytes:
        parts = [self._rest]
        missing = length - len(self._rest)
        while missing > 0:
            parts.append(shake_128(self._prefix + self._next.to_bytes(8, "little")).digest(_BLOCK))
            self._next += 1
            missing -= _BLOCK
        data = b"".join(parts) if len(parts) > 1 else self._rest
        self._rest = data[length:]
        return data[:length]


class SystemRandom:
    """The operating system's."""

    __slots__ = ()

    def take(self, length: int) -> bytes:
        return os.urandom(length)
