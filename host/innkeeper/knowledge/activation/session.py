"""What a session remembers of entries: when each last became active, counted in messages.

All timed effects follow from that one number and from what the entry says now, so an author who changes an effect sees
it at once. An effect that began at a message which is no longer there (a swipe, a deletion, the same turn generated
again) never was.

Its plain form, which a store keeps: {"version": 1, "active": {BASE: {ENTRY: MESSAGES}}}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from innkeeper.knowledge.activation.compiled import CompiledEntry

VERSION: Final = 1

MOST_REMEMBERED: Final = 50_000
"""Entries that a session remembers; those that became active longest ago are forgotten first."""

MOST_BYTES: Final = 192 << 10
"""Bytes of the ids of entries of one base that a session remembers, with what msgpack adds to each: less than a store
keeps of a session. Who has long ids has fewer of them."""

_ADDED: Final = 8


class Session:
    """A session's memory while one activation runs."""

    def __init__(self, plain: Mapping[str, Any] | None, length: int) -> None:
        """Args:
        plain: as `plain` gave it, or None for a new session; what cannot be read counts as forgotten.
        length: messages that the conversation has now.
        """
        self._length = length
        self._active: dict[tuple[str, str], int] = {}
        kept = plain.get("active") if plain is not None and plain.get("version") == VERSION else None
        for base, entries in kept.items() if isinstance(kept, Mapping) else ():
            for entry, since in entries.items() if isinstance(entries, Mapping) else ():
                if isinstance(since, int) and not isinstance(since, bool) and 0 <= since < length:
                    self._active[str(base), str(entry)] = since

    def since(self, base: str, entry: str) -> int | None:
        """At how many messages an entry last became active, or None."""
        return self._active.get((base, entry))

    def remembered(self) -> list[tuple[str, str]]:
        """Base and id of all entries that it knows."""
        return list(self._active)

    def is_sticky(self, base: str, entry: CompiledEntry) -> bool:
        """Whether an entry is still active because it was."""
        since = self.since(base, entry.id)
        if since is None:
            return False
        return entry.decorators.keep_activate_after_match or self._length < since + (entry.extra.sticky or 0)

    def cooldown(self, base: str, entry: CompiledEntry) -> int:
        """For how many messages more an entry rests after it was active; 0: it does not."""
        since = self.since(base, entry.id)
        if since is None or not entry.extra.cooldown or self.is_sticky(base, entry):
            return 0
        return max(since + (entry.extra.sticky or 0) + entry.extra.cooldown - self._length, 0)

    def was_once(self, base: str, entry: CompiledEntry) -> bool:
        """Whether an entry that may be active once in a session was; what it is still sticky for goes on."""
        return entry.once and self.since(base, entry.id) is not None and not self.is_sticky(base, entry)

    def remember(self, base: str, entry: CompiledEntry) -> None:
        """Keeps that an entry is active now, where anything hangs on that."""
        if entry.timed and not self.is_sticky(base, entry):
            self._active[base, entry.id] = self._length

    def plain(self) -> dict[str, Any]:
        """Its plain form, in an order that hangs on nothing but its content."""
        newest = sorted(self._active.items(), key=lambda item: (-item[1], item[0]))[:MOST_REMEMBERED]
        left: dict[str, int] = {}
        kept = []
        for (base, entry), since in newest:
            left[base] = left.get(base, MOST_BYTES) - len(entry.encode("utf-8", "surrogatepass")) - _ADDED
            if left[base] >= 0:
                kept.append(((base, entry), since))
        found: dict[str, dict[str, int]] = {}
        for (base, entry), since in sorted(kept):
            found.setdefault(base, {})[entry] = since
        return {"version": VERSION, "active": found}
