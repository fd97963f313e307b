"""Hashes of passwords and keys, made in few threads: a flood of log-ins waits, or is told to come later."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import trio
from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

from innkeeper.errors import BusyError

T = TypeVar("T")

SHORTEST: Final = 8
"""Characters of a password, at least: NIST SP 800-63B's."""

LONGEST: Final = 256
"""Characters of a password, at most."""

THREADS: Final = 2
"""Hashes at the same time: with 64 MiB each they take 128 MiB, however many log in."""

WAITING: Final = 64
"""Hashes that wait for a thread: some seconds. Beyond, whoever asks is told to come later."""

PASSWORDS: Final = PasswordHasher(time_cost=2, memory_cost=65_536, parallelism=1, type=Type.ID)
"""64 MiB as RFC 9106 has it for small memory, in a tenth of a second: two passes by one thread, so that two log-ins do
not take all cores. Well above the 19 MiB that OWASP asks for."""

KEYS: Final = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1, type=Type.ID)
"""A key is 256 random bits, which nobody finds by trying: a hash that is dear to compute would help only those who send
wrong keys. This one takes 8 MiB and some milliseconds."""


def checked_password(text: str) -> str:
    """A password in the form that is hashed (str): two keyboards that write it differently mean the same.

    Raises:
        ValueError: it is too short or too long, or no text. The message does not show it.
    """
    if len(text) > LONGEST:
        raise ValueError(f"the password is longer than {LONGEST} characters")
    if len(text) < SHORTEST:
        raise ValueError(f"the password is shorter than {SHORTEST} characters")
    if any("\ud800" <= each <= "\udfff" or each in "\0\r\n" for each in text):
        raise ValueError("the password has a character that no keyboard writes")
    return unicodedata.normalize("NFC", text)


class Hashing:
    """Makes hashes and compares with them.

    Guarantee: comparing with nothing takes as long as comparing with a hash that does not fit.
    """

    def __init__(self, hasher: PasswordHasher, *, threads: int = THREADS, waiting: int = WAITING) -> None:
        """Args:
        hasher: with its costs.
        threads: hashes at the same time.
        waiting: hashes that wait.
        """
        self._hasher = hasher
        self._limiter = trio.CapacityLimiter(threads)
        self._most = threads + waiting
        self._under_way = 0
        self._nobodys: str | None = None

    async def hash(self, text: str) -> str:
        """The hash of a text, with a salt of its own (str).

        Raises:
            BusyError: too many wait already.
        """
        return await self._thread(partial(self._hasher.hash, text))

    async def fits(self, hash: str | None, text: str) -> bool:
        """Whether a text is the one that was hashed; False, and as late, where there is no hash (None).

        Raises:
            BusyError: too many wait already.
        """
        return await self._thread(partial(self._fits, hash, text))

    async def _thread(self, function: Callable[[], T]) -> T:
        if self._under_way >= self._most:
            raise BusyError("too many log in at the same time: try again in a few seconds", bound="log-ins")
        self._under_way += 1
        try:
            return await trio.to_thread.run_sync(function, limiter=self._limiter)
        finally:
            self._under_way -= 1

    def _fits(self, hash: str | None, text: str) -> bool:
        if self._nobodys is None:
            self._nobodys = self._hasher.hash("nobody's")
        try:
            # Of nobody's hash nothing that somebody sends is the text: there is no such user to log in.
            return self._hasher.verify(self._nobodys if hash is None else hash, text) and hash is not None
        except (Argon2Error, InvalidHashError, ValueError):
            return False
