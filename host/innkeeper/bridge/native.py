"""What native plugins need of the bridge: values in and out without holding trio's thread up, and the audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgpack
import trio

from innkeeper.bridge.codec import unpack
from innkeeper.bridge.scan import CHUNK, DEFAULT_BOUNDS, DataBounds, scan_msgpack
from innkeeper.errors import GuestError, LimitError

if TYPE_CHECKING:
    from innkeeper.storage.database import Database

_QUICK = 500
"""Elements that are written on trio's thread: a fraction of a millisecond."""

_CODING = 2
"""Large values that are read or written at the same time."""


class NativeBridge:
    """Implements `plugins.services.NativeSupport`."""

    def __init__(self, database: Callable[[], Awaitable[Database]], days: float) -> None:
        """Args:
        database: opens where the audit log is.
        days: for which a record is kept.
        """
        self._database = database
        self._days = days
        self._threads = trio.CapacityLimiter(_CODING)

    async def decode(self, data: bytes) -> Any:
        """As `NativeSupport.decode`."""
        if len(data) <= CHUNK:
            return msgpack.unpackb(data)
        bounds = DataBounds(size=len(data), elements=len(data))
        return await trio.to_thread.run_sync(
            lambda: unpack(data, scan_msgpack(data, bounds).large), limiter=self._threads
        )

    async def encode(self, value: Any, most: int) -> bytes:
        """As `NativeSupport.encode`."""
        try:
            return _Writer(_QUICK, min(CHUNK, most)).write(value)
        except _BeyondError:
            pass
        try:
            return await trio.to_thread.run_sync(
                lambda: _Writer(DEFAULT_BOUNDS.elements, most).write(value), limiter=self._threads
            )
        except _BeyondError as error:
            if error.size:
                raise LimitError(
                    f"its outputs have more bytes than the limit 'output', {most:,}", limit="output", value=most
                ) from None
            raise GuestError(f"native code returned more than {DEFAULT_BOUNDS.elements:,} elements") from None

    async def record_load(self, plugin: str, digest: str, folder: str) -> None:
        """As `NativeSupport.record_load`."""
        database = await self._database()
        from innkeeper.storage.audit import AuditKind, AuditLog

        log = AuditLog(database, days=self._days)
        await log.append(AuditKind.NATIVE_LOAD, plugin=plugin, digest=digest, details={"folder": folder[:500]})


class _BeyondError(Exception):
    """There is more than a writer takes. `size`: of bytes, and not of elements."""

    def __init__(self, *, size: bool) -> None:
        self.size = size


class _Writer:
    """Writes a value piece by piece: one call of C code keeps the interpreter's lock for as long as it takes."""

    def __init__(self, elements: int, size: int) -> None:
        self._elements = elements
        self._left = size
        self._packer = msgpack.Packer(use_bin_type=True)
        self._parts: list[bytes] = []

    def write(self, value: Any) -> bytes:
        """The value as msgpack.

        Raises:
            GuestError: there is something in it that is no plain data.
            _BeyondError: it is too large.
        """
        try:
            self._value(value, 0)
        except RuntimeError as error:
            # A dict that another thread changes meanwhile.
            raise GuestError(f"what native code returned cannot be written: {error}") from None
        return b"".join(self._parts)

    def _value(self, value: Any, depth: int) -> None:
        self._elements -= 1
        if self._elements < 0:
            raise _BeyondError(size=False)
        if isinstance(value, dict | list | tuple):
            if depth == DEFAULT_BOUNDS.depth:
                raise GuestError(f"native code returned what is nested more than {DEFAULT_BOUNDS.depth} deep")
            if not isinstance(value, dict):
                self._add(self._packer.pack_array_header(len(value)))
                for item in value:
                    self._value(item, depth + 1)
                return
            self._add(self._packer.pack_map_header(len(value)))
            for key, item in value.items():
                if not isinstance(key, str):
                    raise GuestError(f"native code returned a dict with a key that is no text: {type(key).__name__}")
                self._value(key, depth + 1)
                self._value(item, depth + 1)
            return
        if value is not None and not isinstance(value, bool | int | float | str | bytes):
            raise GuestError(f"native code returned {type(value).__name__}, which is no plain data")
        # Before it is copied: it may be as large as memory.
        if isinstance(value, str | bytes) and len(value) > self._left:
            raise _BeyondError(size=True)
        try:
            self._add(self._packer.pack(value))
        except (ValueError, OverflowError) as error:
            what = "half of a surrogate pair" if isinstance(error, UnicodeError) else "a number of more than 64 bits"
            raise GuestError(f"native code returned {what}") from None

    def _add(self, part: bytes) -> None:
        self._left -= len(part)
        if self._left < 0:
            raise _BeyondError(size=True)
        self._parts.append(part)
