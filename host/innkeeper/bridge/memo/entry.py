"""A remembered result, and its bytes on disk."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple, cast

import msgpack

from innkeeper.sandbox.usage import Result, Usage

MOST: Final = 1 << 20
"""Bytes of an input, of an output and of a log that are remembered: what is larger takes the room of many others, and
finding out whether it is the same would hold up trio's thread."""

OVERHEAD: Final = 2048
"""Bytes that each result counts beside its input, output and log: about three times what its objects take, so that no
more of them are in memory than Python's collector walks over in some 2 ms."""

_LINE: Final = 120
_CHECK: Final = hashlib.sha256().digest_size
NUMBERS: Final = ("cpu", "wall", "memory", "host_calls", "system_calls", "bytes_in", "bytes_out", "log_dropped")
"""What of a `Usage` is kept beside its log: two times, and counts."""


class Entry(NamedTuple):
    """A remembered result. Its parts are plain and never change.

    Attributes:
        output: the guest's.
        numbers: what the call used that computed it, in the order of `NUMBERS`.
        log: the lines of its log.
        at: when that was, seconds since 1970.
        size: bytes that it counts.
    """

    output: bytes
    numbers: tuple[float, ...]
    log: tuple[tuple[str, str], ...]
    at: float
    size: int

    @classmethod
    def of(cls, result: Result, at: float) -> Entry | None:
        """The entry of a result; None where it is too large."""
        usage = result.usage
        if len(result.output) > MOST or _LINE * len(usage.log) > MOST:
            return None
        log = tuple(usage.log)
        size = sum(_LINE + 4 * len(text) for _, text in log)
        if size > MOST:
            return None
        numbers = (
            usage.cpu,
            usage.wall,
            usage.memory,
            usage.host_calls,
            usage.system_calls,
            usage.bytes_in,
            usage.bytes_out,
            usage.log_dropped,
        )
        return cls(result.output, numbers, log, at, OVERHEAD + len(result.output) + size)

    def result(self) -> Result:
        """The result as a call gives it, marked; its parts are the caller's own."""
        cpu, wall, *counts = self.numbers
        # They were whole when they came in.
        memory, host_calls, system_calls, bytes_in, bytes_out, dropped = cast("list[int]", counts)
        log = list(self.log)
        usage = Usage(cpu, wall, memory, host_calls, system_calls, bytes_in, bytes_out, dropped, log, remembered=True)
        return Result(self.output, usage)


def write_entry(key: str, entry: Entry) -> bytes:
    """The bytes of an entry (bytes), which are of use under this key alone."""
    body: bytes = msgpack.packb(
        [entry.at, entry.output, entry.numbers, entry.log], use_bin_type=True, unicode_errors="surrogatepass"
    )
    return _checksum(key, body) + body


def read_entry(key: str, data: bytes) -> Entry | None:
    """The entry that `write_entry` wrote, or None: it is damaged, or was written under another key."""
    body = data[_CHECK:]
    if _checksum(key, body) != data[:_CHECK]:
        return None
    try:
        at, output, numbers, log = msgpack.unpackb(body, use_list=False, unicode_errors="surrogatepass")
        lines = [(level, text) for level, text in log]
        usage = Usage(**dict(zip(NUMBERS, numbers, strict=True)), log=lines)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    if not _plausible(at, output, numbers, lines):
        return None
    return Entry.of(Result(output, usage), at)


def _checksum(key: str, body: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b" " + body).digest()


def _plausible(at: Any, output: Any, numbers: tuple[Any, ...], log: list[tuple[Any, Any]]) -> bool:
    return (
        type(output) is bytes
        and all(type(number) in (int, float) for number in (at, *numbers[:2]))
        and all(type(number) is int for number in numbers[2:])
        and all(type(level) is str and type(text) is str for level, text in log)
    )
