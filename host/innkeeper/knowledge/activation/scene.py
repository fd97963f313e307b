"""What an activation looks at: messages, other texts, and what active entries say; and where each keyword occurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.cancelling import end_if_cancelled
from innkeeper.knowledge.activation.compiled import CompiledEntry
from innkeeper.knowledge.activation.interface import Message, Request
from innkeeper.knowledge.activation.macros import Macros
from innkeeper.knowledge.keywords.index import KeywordIndex, Room
from innkeeper.knowledge.keywords.keys import Pattern
from innkeeper.knowledge.keywords.texts import lay

MOST_MESSAGES: Final = 1000
"""Messages that are looked at, the newest."""

MOST_SCANNED: Final = 1_000_000
"""Characters that are looked at in one sweep."""

MOST_VIEWED: Final = 8_000_000
"""Characters of all texts together that regular expressions are tested on: each scan depth makes one."""

_KINDS = {
    "persona_description": "the user's description",
    "character_description": "the character's description",
    "character_personality": "the character's personality",
    "character_depth_prompt": "the character's note",
    "scenario": "the scenario",
    "creator_notes": "the creator's notes",
}

_MARK = "\x01"


@dataclass(frozen=True, slots=True)
class Segment:
    """One text.

    Attributes:
        kind: "message", "text", "injected" or "entry".
        depth: of a message: 0 is the newest.
        name: what kind of text it is, or what people call the entry that says it.
        text: "Name: text" for a message of somebody with a name.
        source: of an entry's text: (number of its base, position).
    """

    kind: str
    depth: int
    name: str
    text: str
    source: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        """Where that is, as a part of a sentence."""
        if self.kind == "message":
            return "in the newest message" if self.depth == 0 else f"in message {self.depth + 1} from the end"
        if self.kind == "entry":
            return f"in what the entry {self.name!r} says"
        return f"in {_KINDS.get(self.name, self.name)}" if self.kind == "text" else "in an injected text"


def spoken(message: Message) -> str:
    """A message as entries see it."""
    return f"{message.name}: {message.content}" if message.name else message.content


class Scene:
    """All texts of one activation.

    Attributes:
        segments: in the order in which they came: messages with the newest first, other texts, then entries.
        notes: what was left out.
    """

    def __init__(self, bases: Sequence[CompiledBase], request: Request, macros: Macros) -> None:
        """Args:
        bases: whose keywords are looked for.
        request: whose messages and texts are looked at.
        macros: what keys with macros mean now.
        """
        self.segments: list[Segment] = []
        self.notes: list[str] = []
        self._depth = max(request.scan_depth, 0)
        self._bases = bases
        self._found: list[dict[Pattern, list[int]]] = [{} for _ in bases]
        self._indexes = [[base.index, *_index_of_macros(base, macros)] for base in bases]
        # Each base has its own: one with keywords that occur everywhere takes nothing from the others.
        self._rooms = [Room() for _ in bases]
        self._views: dict[tuple[int, frozenset[str]], str] = {}
        self._room = MOST_VIEWED
        self._entries: list[str] = []
        deepest = max([self._depth, *(base.deepest for base in bases)])
        newest = request.messages[-min(deepest, MOST_MESSAGES) :] if deepest else ()
        segments = [Segment("message", depth, "", spoken(each)) for depth, each in enumerate(reversed(newest))]
        segments += [Segment("text", 0, kind, text) for kind, text in request.texts.items()]
        segments += [Segment("injected", 0, "", text) for text in request.injected]
        self.look(segments)

    def look(self, segments: Sequence[Segment]) -> list[set[int]]:
        """Takes texts in.

        Returns:
            for each base the positions of entries of which a keyword occurs in them.
        """
        segments = self._bounded(segments)
        offset = len(self.segments)
        self.segments += segments
        if said := [segment.text for segment in segments if segment.kind == "entry"]:
            self._entries.append(_viewed(said))
        texts = lay([segment.text for segment in segments])
        called: list[set[int]] = []
        for base, indexes, found, room in zip(self._bases, self._indexes, self._found, self._rooms, strict=True):
            wanted: set[int] = set()
            for index in indexes:
                hits, complete = index.find(texts, room=room, between=end_if_cancelled)
                for pattern, numbers in hits.items():
                    found.setdefault(pattern, []).extend(offset + number for number in numbers)
                    wanted.update(base.wanting.get(pattern, ()))
                if not complete:
                    self._note(f"keywords of {base.name!r} occur so often that not all texts were looked at")
            called.append(wanted)
        return called

    def called(self, base: int) -> set[int]:
        """Positions of all entries of a base of which a keyword occurs in what was looked at so far."""
        wanting = self._bases[base].wanting
        return {position for pattern in self._found[base] for position in wanting.get(pattern, ())}

    def where(self, base: int, entry: CompiledEntry, pattern: Pattern) -> Segment | None:
        """The first text that an entry looks at in which a keyword occurs."""
        depth = self.depth_of(entry)
        for number in self._found[base].get(pattern, ()):
            segment = self.segments[number]
            if segment.kind == "message":
                if segment.depth < depth:
                    return segment
            elif segment.kind == "text":
                if segment.name in entry.texts:
                    return segment
            elif segment.kind == "injected" or not entry.extra.excludeRecursion:
                return segment
        return None

    def views(self, entry: CompiledEntry) -> list[str]:
        """The texts that an entry's regular expressions are tested on: one of all messages and texts that it looks at,
        each with a mark before it, and one for each sweep in which other entries became active."""
        key = (self.depth_of(entry), entry.texts)
        if key not in self._views:
            view = _viewed([each.text for each in self.segments if self._is_plain(each, *key)])
            self._room -= len(view)
            if self._room < 0:
                view = ""
                self._note("entries look at too many different parts of the chat for all their regular expressions")
            self._views[key] = view
        view = self._views[key]
        own = [view] if view else []
        return own if entry.extra.excludeRecursion else own + self._entries

    def depth_of(self, entry: CompiledEntry) -> int:
        """How many of the newest messages an entry looks at."""
        return self._depth if entry.scan_depth is None else entry.scan_depth

    def looked_at(self, entry: CompiledEntry) -> str:
        """What an entry looks at, as the end of a sentence."""
        depth = self.depth_of(entry)
        if depth == 0:
            return "in what it looks at (no messages)"
        return "in the newest message" if depth == 1 else f"in the last {depth} messages"

    @staticmethod
    def _is_plain(segment: Segment, depth: int, texts: frozenset[str]) -> bool:
        if segment.kind == "message":
            return segment.depth < depth
        return segment.kind == "injected" or (segment.kind == "text" and segment.name in texts)

    def _bounded(self, segments: Sequence[Segment]) -> list[Segment]:
        kept, left = [], MOST_SCANNED
        for segment in segments:
            if len(segment.text) > left:
                # Cut and not left out: one message that is too long must not hide itself from all entries.
                self._note(f"only {MOST_SCANNED:,} characters were looked at for keywords")
                kept.append(replace(segment, text=segment.text[:left]))
                break
            left -= len(segment.text)
            kept.append(segment)
        return kept

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _viewed(texts: Sequence[str]) -> str:
    return _MARK + f"\n{_MARK}".join(texts) if texts else ""


def _index_of_macros(base: CompiledBase, macros: Macros) -> list[KeywordIndex]:
    patterns = []
    for position in base.macros:
        entry = base.entries[position]
        for key in entry.keys:
            if key.macro and key.regex is None:
                pattern = macros.pattern(key, entry)
                if pattern is not None:
                    patterns.append(pattern)
    return [KeywordIndex(patterns)] if patterns else []
