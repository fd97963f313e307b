"""A remembered result, and its bytes on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from innkeeper.sandbox.usage import Result, Usage

MOST: Final = 1 << 20
"""Bytes of an input, of an output and of a log that are remembered: what is larger takes the room of many others, and
finding out whether it is the same would hold up trio's thread."""

OVERHEAD: Final = 1024
"""Bytes that each result counts for its objects."""

_LINE: Final = 120
_CHECK: Final = hashlib.sha256().digest_size
_NUMBERS: Final = ("cpu", "wall", "memory", "host_calls", "system_calls", "bytes_in", "bytes_out", "log_dropped")


@dataclass(frozen=True, slots=True)
class Entry:
    """A remembered result.

    Attributes:
        output: the guest's.
        usage: what the call used that computed it.
        at: when that was, seconds since 1970.
        size: bytes that it counts.
    """

    output: bytes
    usage: Usage
    at: float
    size: int

    @classmethod
    def of(cls, result: Result, at: float) -> Entry | None:
        """The entry of a result; None where it is too large."""
        if len(result.output) > MOST:
            return None
        log = sum(_LINE + 4 * len(text) for _, text in result.usage.log)
        if log > MOST:
            return None
        # The caller's own may be changed by the caller.
        return cls(result.output, _copied(result.usage), at, OVERHEAD + len(result.output) + log)

    def result(self) -> Result:
        """The result as a call gives it, marked; its parts are the caller's own."""
        return Result(self.output, _copied(self.usage))


def _copied(usage: Usage) -> Usage:
    return Usage(
        usage.cpu,
        usage.wall,
        usage.memory,
        usage.host_calls,
        usage.system_calls,
        usage.bytes_in,
        usage.bytes_out,
        usage.log_dropped,
        usage.log.copy(),
        True,
    )


def write_entry(key: str, entry: Entry) -> bytes:
    """The bytes of an entry (bytes), which are of use under this key alone."""
    usage = entry.usage
    numbers = [getattr(usage, name) for name in _NUMBERS]
    body: bytes = msgpack.packb(
        [entry.at, entry.output, numbers, usage.log], use_bin_type=True, unicode_errors="surrogatepass"
    )
    return _checksum(key, body) + body


def read_entry(key: str, data: bytes) -> Entry | None:
    """The entry that `write_entry` wrote, or None: it is damaged, or was written under another key."""
    body = data[_CHECK:]
    if _checksum(key, body) != data[:_CHECK]:
        return None
    try:
        at, output, numbers, log = msgpack.unpackb(body, use_list=True, unicode_errors="surrogatepass")
        lines = [(level, text) for level, text in log]
        usage = Usage(**dict(zip(_NUMBERS, numbers, strict=True)), log=lines)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    if not _plausible(at, output, numbers, lines):
        return None
    return Entry.of(Result(output, usage), at)


def _checksum(key: str, body: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b" " + body).digest()


def _plausible(at: Any, output: Any, numbers: list[Any], log: list[tuple[Any, Any]]) -> bool:
    return (
        type(output) is bytes
        and all(type(number) in (int, float) for number in (at, *numbers))
        and all(type(level) is str and type(text) is str for level, text in log)
    )
