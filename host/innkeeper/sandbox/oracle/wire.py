"""How host and worker talk: frames of a small msgpack header and raw bytes.

A frame is two little-endian u32, the lengths of header and payload, then both.  Neither side believes the other: each
length is checked before anything of that size is read, the header is small enough that whatever it unpacks to is
small, and large bytes (modules, input, output) never pass through msgpack.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, TypeVar

import msgpack

PREFIX = struct.Struct("<II")
"""Lengths of header and payload."""

HEADER_MAX = 2 << 20
"""Bytes of a header. The longest have a call's log or its configuration."""

_ELEMENTS_MAX = 1 << 17

T = TypeVar("T")


class WireError(Exception):
    """The other side sent what the protocol does not have; the text says what."""


class TooLargeError(WireError):
    """A message of this side's is larger than a frame can be."""


def encode(header: dict[str, Any], payload: Sequence[bytes] = ()) -> bytes:
    """What goes before the payload (bytes): both lengths and the header.

    Args:
        header: names to plain values.
        payload: its pieces, which the caller sends after this.

    Raises:
        TooLargeError: header or payload is larger than a frame can be.
    """
    packed: bytes = msgpack.packb(header, use_bin_type=True)
    size = sum(map(len, payload))
    if len(packed) > HEADER_MAX or size >= 1 << 32:
        raise TooLargeError(f"a message of {len(packed)} and {size} bytes is too large")
    return PREFIX.pack(len(packed), size) + packed


def lengths(prefix: bytes, payload_max: int) -> tuple[int, int]:
    """Lengths of header and payload (int each), checked.

    Raises:
        WireError: one is more than it may be.
    """
    header, payload = PREFIX.unpack(prefix)
    if header > HEADER_MAX or payload > payload_max:
        raise WireError(f"a message of {header} and {payload} bytes, where {HEADER_MAX} and {payload_max} are the most")
    return header, payload


def decode(data: bytes) -> dict[str, Any]:
    """The header (dict of str to plain values).

    Raises:
        WireError: it is none.
    """
    try:
        header = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_array_len=_ELEMENTS_MAX,
            max_map_len=_ELEMENTS_MAX,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"a message that does not decode ({type(error).__name__})") from None
    if not isinstance(header, dict) or not all(isinstance(name, str) for name in header):
        raise WireError("a message that is no map of names")
    return header


def take(header: dict[str, Any], name: str, kind: type[T]) -> T:
    """A value of the header that must be there and of this type.

    Raises:
        WireError: it is not.
    """
    value = header.get(name)
    # A bool is an int to Python and is none here.
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise WireError(f"a message in which {name!r} is not {kind.__name__}")
    return value


def take_count(header: dict[str, Any], name: str, most: int) -> int:
    """A number from 0 to `most`.

    Raises:
        WireError: it is not there, or another one.
    """
    value = take(header, name, int)
    if not 0 <= value <= most:
        raise WireError(f"a message in which {name!r} is {value}")
    return value


def cut(payload: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The pieces of a payload.

    Raises:
        WireError: it has not these sizes.
    """
    if any(size < 0 for size in sizes) or sum(sizes) != len(payload):
        raise WireError("a message whose payload is not as long as its pieces")
    pieces, at = [], 0
    for size in sizes:
        pieces.append(payload[at : at + size])
        at += size
    return pieces
