"""What a guest keeps with `var_set`."""

from __future__ import annotations

from innkeeper.errors import LimitError

_ENTRY = 128
"""Bytes that the host spends on an entry besides key and value: many tiny ones count, too."""


class Variables:
    """Keys and values, bounded. They live as long as their guest."""

    __slots__ = ("_entries", "_used")

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes that they take of the host."""
        return self._used

    def get(self, key: bytes) -> bytes | None:
        """The value (bytes), or None."""
        return self._entries.get(key)

    def set(self, key: bytes, value: bytes, limit: int) -> None:
        """Keeps a value in place of the one before.

        Raises:
            LimitError: keys and values, with 128 bytes for each entry, would take more than `limit` bytes.
        """
        before = self._entries.get(key)
        used = self._used + len(value) - (len(before) if before is not None else -len(key) - _ENTRY)
        if used > limit:
            raise LimitError(
                f"the guest's variables would take {used} bytes; the limit 'variables' is {limit}",
                limit="variables",
                value=limit,
                used=used,
            )
        self._entries[key] = value
        self._used = used

    def remove(self, key: bytes) -> None:
        """Forgets a value, if there is one."""
        value = self._entries.pop(key, None)
        if value is not None:
            self._used -= len(key) + len(value) + _ENTRY
