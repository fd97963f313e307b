"""The guests that are measured; their sources are pdk-samples/bench."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from innkeeper.errors import InternalError
from innkeeper.plugins.home import shipped_place

SMALL, LARGE, GO = "echo", "large", "go"

HOST_CALLS = 1000
"""Host calls in one call of a guest, in the rows that count them."""

PAUSE = 0.010
"""Seconds that the host function of the waiting guests waits."""


def path_of(name: str) -> Path:
    """A guest's file. It travels with the plugins that come with Innkeeper, and is none of them."""
    return shipped_place().plugins / "_bench" / f"{name}.wasm"


@cache
def bytes_of(name: str) -> bytes:
    """A guest's bytes.

    Raises:
        InternalError: its file is not there.
    """
    try:
        return path_of(name).read_bytes()
    except OSError as error:
        raise InternalError(f"the guest {name!r} of this installation cannot be read: {error.strerror}") from None


def data(length: int) -> bytes:
    """An input of so many bytes, no two words of it alike."""
    words = b"".join(word.to_bytes(8, "little") for word in range(0x0102030405060708, 0x0102030405060708 + length // 8))
    return words + bytes(length - len(words))


def number(value: int) -> bytes:
    """An input that is a number."""
    return value.to_bytes(8, "little")
