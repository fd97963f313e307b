"""Modules that were looked at lately: bytes that come again are compared, and neither read nor hashed once more."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

from innkeeper.sandbox import admission
from innkeeper.sandbox.limits import MIB
from innkeeper.sandbox.module_info import ModuleInfo

_MOST_BYTES = 32 * MIB
"""Bytes of all of them together, which stay for as long as the process: the plugins of a large home."""

_MOST = 64
"""How many, since what sections say can take more memory than the bytes."""


@dataclass(frozen=True, slots=True)
class Known:
    """A module that this host may run.

    Attributes:
        wasm: its bytes.
        info: what its sections say.
        digest: sha256 of its bytes, as hexadecimal digits.
    """

    wasm: bytes
    info: ModuleInfo
    digest: str


class _Memory:
    """The last few, by a few of their bytes. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, bytes, bytes, bytes], Known] = OrderedDict()
        self._bytes = 0

    def find(self, wasm: bytes) -> Known | None:
        key = _sample(wasm)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        # Comparing stops at the first byte that differs, and takes 40 us for a megabyte that does not.
        return found if found is not None and found.wasm == wasm else None

    def keep(self, known: Known) -> None:
        size = len(known.wasm)
        if size > _MOST_BYTES // 4:
            return
        key = _sample(known.wasm)
        with self._lock:
            # Its length is part of the key.
            if self._kept.pop(key, None) is None:
                self._bytes += size
            self._kept[key] = known
            while self._bytes > _MOST_BYTES or len(self._kept) > _MOST:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= len(oldest.wasm)


def _sample(wasm: bytes) -> tuple[int, bytes, bytes, bytes]:
    middle = len(wasm) // 2
    return len(wasm), wasm[:64], wasm[middle : middle + 64], wasm[-64:]


_memory = _Memory()


def remembered(wasm: bytes) -> Known | None:
    """What is known of these bytes, if they were looked at lately."""
    return _memory.find(wasm)


def look(wasm: bytes, *, plugin: str | None, size_limit: int, digest: str | None = None) -> Known:
    """What the module says of itself, if it is one that this host may run. For a thread: reading a hostile file's
    sections may take half a second.

    Args:
        wasm: the bytes of the file.
        plugin: its id, for messages.
        size_limit: bytes that a file may have.
        digest: their sha256, if it is known.

    Raises:
        RejectedError: as `admission.admit`.
    """
    known = _memory.find(wasm) if len(wasm) <= size_limit else None
    if known is None:
        info = admission.admit(wasm, plugin=plugin, size_limit=size_limit)
        known = Known(wasm, info, digest or hashlib.sha256(wasm).hexdigest())
        _memory.keep(known)
    return known
