"""Entries that stay, rest or wait for some messages: sticky, cooldown and delay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from innkeeper.knowledge.worldinfo.entry import WorldEntry

STICKY: Final = "sticky"
COOLDOWN: Final = "cooldown"
KINDS: Final = (STICKY, COOLDOWN)


@dataclass(frozen=True, slots=True)
class Record:
    """An effect that runs.

    Attributes:
        digest: of the entry as it was then; another text ends the effect.
        start: messages of the chat when it began.
        end: messages at which it is over.
        protected: whether it outlives the removal of messages.
    """

    digest: str
    start: int
    end: int
    protected: bool = False


@dataclass(slots=True)
class Now:
    """What runs at one moment.

    Attributes:
        sticky, cooldown, delay: entries.
    """

    sticky: set[WorldEntry] = field(default_factory=set)
    cooldown: set[WorldEntry] = field(default_factory=set)
    delay: set[WorldEntry] = field(default_factory=set)


class TimedEffects:
    """The effects of one chat."""

    def __init__(self) -> None:
        self._records: dict[str, dict[tuple[str, int | str], Record]] = {kind: {} for kind in KINDS}

    def copy(self) -> TimedEffects:
        """Another one, for a run that must change nothing."""
        made = TimedEffects()
        made._records = {kind: dict(records) for kind, records in self._records.items()}
        return made

    def begin(self, entries: Iterable[WorldEntry], length: int) -> Now:
        """What runs before a generation; ends what is over.

        Args:
            entries: all that have timed effects.
            length: messages of the chat.
        """
        now = Now()
        timed: dict[str, WorldEntry] = {}
        for entry in entries:
            if entry.delay and length < entry.delay:
                now.delay.add(entry)
            if entry.sticky or entry.cooldown:
                timed.setdefault(entry.digest, entry)
        for entry in self._advance(STICKY, timed, length, now.sticky):
            if entry.cooldown:
                # At once, whatever the cooldown from when it became active has left.
                record = Record(entry.digest, length, length + entry.cooldown, protected=True)
                self._records[COOLDOWN][entry.key] = record
        self._advance(COOLDOWN, timed, length, now.cooldown)
        return now

    def _advance(
        self, kind: str, timed: Mapping[str, WorldEntry], length: int, running: set[WorldEntry]
    ) -> list[WorldEntry]:
        # Entries whose effect is over by itself.
        ended = []
        records = self._records[kind]
        for key, record in list(records.items()):
            if length <= record.start and not record.protected:
                # Messages were removed: what they began never was.
                del records[key]
                continue
            entry = timed.get(record.digest)
            if length >= record.end:
                del records[key]
                if entry is not None and getattr(entry, kind):
                    ended.append(entry)
            elif entry is not None:
                # A record whose entry was edited, or is of another character's book, stays until its end.
                running.add(entry)
        return ended

    def commit(self, active: Iterable[WorldEntry], length: int) -> None:
        """Begins the effects of what became active. What runs already is not made longer.

        Args:
            active: entries.
            length: messages of the chat.
        """
        for entry in active:
            for kind, messages in ((STICKY, entry.sticky), (COOLDOWN, entry.cooldown)):
                if messages:
                    self._records[kind].setdefault(entry.key, Record(entry.digest, length, length + messages))

    def document(self) -> dict[str, list[list[Any]]]:
        """The effects as plain data."""
        return {
            kind: [[*key, each.digest, each.start, each.end, each.protected] for key, each in records.items()]
            for kind, records in self._records.items()
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> TimedEffects:
        """Effects from what `document` gave. What is not of that form is left out."""
        made = cls()
        for kind, records in made._records.items():
            given = document.get(kind)
            for row in given if isinstance(given, list) else ():
                match row:
                    case [str(world), (str() | int()) as uid, str(digest), int(start), int(end), bool(protected)]:
                        records[world, uid] = Record(digest, start, end, protected)
        return made
