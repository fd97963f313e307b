"""The results that are kept in memory: those that were used last, within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from innkeeper.bridge.memo.entry import Entry


class CallKey(NamedTuple):
    """All that a pure call depends on. Two are equal if their parts are, byte for byte: nothing rests on a hash.

    Attributes:
        basis: what does not change from call to call (`key.basis_of`).
        function: of the guest.
        data: its input.
    """

    basis: bytes
    function: str
    data: bytes


class Recent:
    """Results by what they depend on.

    Args:
        most: bytes that they may have together, what they depend on included.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[CallKey, Entry] = OrderedDict()
        self.size = 0
        """Bytes that they have (int)."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: CallKey) -> Entry | None:
        """The result of an equal call, or None."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: CallKey, entry: Entry) -> None:
        """Keeps a result; those that were used longest ago go."""
        self.drop(key)
        size = entry.size + len(key.data)
        if size > self._most:
            return
        self._entries[key] = entry
        self.size += size
        while self.size > self._most:
            old, gone = self._entries.popitem(last=False)
            self.size -= gone.size + len(old.data)

    def drop(self, key: CallKey) -> None:
        """Forgets a result, if there is one."""
        gone = self._entries.pop(key, None)
        if gone is not None:
            self.size -= gone.size + len(key.data)

    def clear(self) -> None:
        """Forgets all."""
        self._entries.clear()
        self.size = 0
