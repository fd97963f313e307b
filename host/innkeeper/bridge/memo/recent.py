"""The results that are kept in memory: those that were used last, within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from innkeeper.bridge.memo.entry import Entry


class CallKey(NamedTuple):
    """All that a pure call depends on. Function and input are compared byte for byte, which is quicker than a hash that
    one could rely on.

    Attributes:
        owner: whose result it is: nobody learns from the time that a call takes what others had computed.
        basis: sha256 of what does not change from call to call (`key.basis_of`).
        function: of the guest.
        data: its input.
    """

    owner: str
    basis: bytes
    function: str
    data: bytes

    @property
    def size(self) -> int:
        """Bytes that it counts (int)."""
        return len(self.data) + len(self.function)


_Key = tuple[str, bytes, str, bytes]
_Entry = tuple[bytes, tuple[float, ...], tuple[tuple[str, str], ...], float, int]


class Recent:
    """Results by what they depend on.

    All of it is plain tuples of bytes, text and numbers: Python's collector stops looking at those, and does not hold
    up trio's thread for tens of milliseconds where there are many.

    Args:
        most: bytes that they may have together, what they depend on included.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self.size = 0
        """Bytes that they have (int)."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: CallKey) -> Entry | None:
        """The result of an equal call, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return Entry._make(entry)

    def put(self, key: CallKey, entry: Entry) -> None:
        """Keeps a result; those that were used longest ago go."""
        self.drop(key)
        size = entry.size + key.size
        if size > self._most:
            return
        plain = (entry.output, entry.numbers, entry.log, entry.at, entry.size)
        self._entries[key.owner, key.basis, key.function, key.data] = plain
        self.size += size
        while self.size > self._most:
            old, gone = self._entries.popitem(last=False)
            self.size -= Entry._make(gone).size + CallKey._make(old).size

    def drop(self, key: CallKey) -> None:
        """Forgets a result, if there is one."""
        gone = self._entries.pop(key, None)
        if gone is not None:
            self.size -= Entry._make(gone).size + key.size

    def forget(self, owner: str) -> None:
        """Forgets all of an owner."""
        for key in [CallKey._make(each) for each in self._entries if each[0] == owner]:
            self.drop(key)

    def clear(self) -> None:
        """Forgets all."""
        self._entries.clear()
        self.size = 0
