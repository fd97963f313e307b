"""Data at the border: what a guest is given and what it answers, as plain values and back.

A value is None, a bool, an integer of at most 64 bits, a float, text, bytes, a list, or a dict with text as keys.
Nothing else crosses: no extension types, no pickle. What a guest wrote is bounded in size, depth and number of
elements before any of it is built.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import msgpack

from innkeeper.bridge.scan import CHUNK, DEFAULT_BOUNDS, DataBounds, MalformedError, scan_json, scan_msgpack
from innkeeper.errors import GuestError, UsageError

Codec = Literal["msgpack", "json", "raw"]

_NAMES = {"msgpack": "msgpack", "json": "JSON"}
_SMALLEST, _LARGEST = -(1 << 63), (1 << 64) - 1


def encode(value: Any, codec: Codec) -> bytes:
    """The bytes that a guest is given.

    In JSON, bytes become base64 text, since it has no bytes of its own. "raw" takes bytes only.

    Raises:
        UsageError: the value cannot be written in this codec; the message says why.
    """
    try:
        if codec == "raw":
            if not isinstance(value, bytes):
                raise TypeError(f"raw data is bytes, not {type(value).__name__}")
            return value
        if codec == "json":
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_base64)
            return text.encode()
        packed: bytes = msgpack.packb(value, use_bin_type=True)
        return packed
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # Both libraries' texts name the offending type; the encoder of UTF-8 would print the whole text.
        problem = "it has half of a surrogate pair" if isinstance(error, UnicodeError) else _first_line(str(error))
        raise UsageError(
            f"the value cannot be given to the node as {_NAMES.get(codec, 'raw bytes')}: {problem}"
        ) from None


def decode(data: bytes, codec: Codec, bounds: DataBounds = DEFAULT_BOUNDS, *, what: str = "the node's answer") -> Any:
    """The value that a guest's bytes stand for. Half surrogate pairs in JSON become U+FFFD.

    Args:
        data: what the guest answered.
        codec: how it wrote it.
        bounds: what the value may be at most.
        what: the subject of the error's sentence.

    Raises:
        GuestError: it is not one value in this codec, or it is beyond the bounds.
    """
    try:
        if codec == "msgpack":
            return unpack(data, scan_msgpack(data, bounds).large)
        if codec == "json":
            return parse_json(data, bounds)
        if len(data) > bounds.size:
            raise MalformedError(f"it has {len(data):,} bytes, and at most {bounds.size:,} are taken")
        return data
    except MalformedError as error:
        raise GuestError(f"{what} is not {_NAMES.get(codec, 'usable')}: {error}") from None


def unpack(data: bytes, large: frozenset[int]) -> Any:
    """Builds a value that `scan_msgpack` passed.

    Containers whose offsets are in `large` are built piece by piece: the C code keeps the interpreter's lock for as
    long as one piece takes, and trio's thread waits for it.
    """
    if not large:
        return msgpack.unpackb(data)
    unpacker = msgpack.Unpacker(None, max_buffer_size=len(data), strict_map_key=True)
    unpacker.feed(data)

    def build() -> Any:
        at = unpacker.tell()
        if at not in large:
            return unpacker.unpack()
        if is_map(data[at]):
            return {unpacker.unpack(): build() for _ in range(unpacker.read_map_header())}
        return [build() for _ in range(unpacker.read_array_header())]

    return build()


def is_map(byte: int) -> bool:
    """Whether a msgpack value that begins with this byte is a map (bool)."""
    return byte >> 4 == 0x8 or byte in (0xDE, 0xDF)


def json_from_msgpack(data: bytes, large: frozenset[int]) -> Iterator[bytes]:
    """The JSON text of a value that `scan_msgpack` passed, in pieces.

    Containers whose offsets are in `large` are never there as a whole, so that neither memory nor the time for which
    the C code keeps the interpreter's lock grows with them.

    Raises:
        UsageError: as `encode`.
    """
    unpacker = msgpack.Unpacker(None, max_buffer_size=len(data), strict_map_key=True)
    unpacker.feed(data)

    def pieces() -> Iterator[bytes]:
        at = unpacker.tell()
        if at not in large:
            yield encode(unpacker.unpack(), "json")
            return
        mapping = is_map(data[at])
        count = unpacker.read_map_header() if mapping else unpacker.read_array_header()
        opening, closing = (b"{", b"}") if mapping else (b"[", b"]")
        small: dict[str, Any] | list[Any] = {} if mapping else []
        since = unpacker.tell()
        yield opening
        comma = b""
        for left in range(count - 1, -1, -1):
            key: Any = unpacker.unpack() if mapping else None
            big = unpacker.tell() in large
            if not big:
                if isinstance(small, dict):
                    small[key] = unpacker.unpack()
                else:
                    small.append(unpacker.unpack())
            if small and (big or not left or unpacker.tell() - since > CHUNK):
                yield comma + encode(small, "json")[1:-1]
                comma = b","
                small.clear()
                since = unpacker.tell()
            if big:
                yield comma + (encode(key, "json") + b":" if mapping else b"")
                comma = b","
                yield from pieces()
                since = unpacker.tell()
        yield closing

    return pieces()


def parse_json(data: bytes, bounds: DataBounds = DEFAULT_BOUNDS) -> Any:
    """Parses JSON within bounds.

    Raises:
        MalformedError: it is not JSON, or not UTF-8, or has a number that is not finite or needs more than 64 bits.
    """
    if len(data) > bounds.size:
        raise MalformedError(f"it has {len(data):,} bytes, and at most {bounds.size:,} are taken")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"it is not UTF-8 (byte {error.start:,})") from None
    scan_json(text, bounds)
    if "\\ud" in text or "\\uD" in text:
        text = _JSON_ESCAPE.sub(_whole_characters, text)
    try:
        return json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise MalformedError(f"line {error.lineno}, column {error.colno}: {_lower(error.msg)}") from None


_JSON_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


def _whole_characters(escape: re.Match[str]) -> str:
    return "\\ufffd" if escape[1] is not None else escape[0]


def _integer(digits: str) -> int:
    if len(digits) <= 18:
        return int(digits)
    # The length first: converting a million digits takes minutes.
    if len(digits) > 20 or not _SMALLEST <= int(digits) <= _LARGEST:
        shown = digits if len(digits) <= 24 else digits[:24] + "..."
        raise MalformedError(f"the integer {shown} needs more than 64 bits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        shown = digits if len(digits) <= 24 else digits[:24] + "..."
        raise MalformedError(f"the number {shown} is not finite")
    return value


def _no_constant(name: str) -> Any:
    raise MalformedError(f"{name} is not a number in JSON")


def _as_base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} is not plain data")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _first_line(text: str) -> str:
    line = text.splitlines()[0] if text else "unknown"
    return _lower(line[:200])
