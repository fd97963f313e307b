"""An index that changes while it is searched: writes, and the upkeep that keeps it quick.

A search takes a view under the lock, and computes without it. Nothing that takes long is done while the lock is held,
since trio's thread may be waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import numpy as np

from innkeeper.knowledge.retrieval.interface import Change, Filters, Indexed
from innkeeper.knowledge.retrieval.likeness import large
from innkeeper.knowledge.retrieval.nearest import build_nearest
from innkeeper.knowledge.retrieval.postings import Fresh, Gathering, Segment, merged, segment_of
from innkeeper.knowledge.retrieval.state import State, View
from innkeeper.knowledge.text.blob import Terms, read_many, read_terms

_ROUND: Final = 64
"""Changes that are made anew while nobody can change anything."""

_MANY: Final = 512
"""New entries from which on their postings become a segment at once."""

_PIECE: Final = 512
"""Entries of a new index that are taken at once."""

_FROZEN: Final = 1024
"""New entries from which on upkeep makes a segment of them."""

_FRESH: Final = 4096
"""New entries in one place where nobody called for upkeep."""

_RATIO: Final = 4
"""A segment is merged with the one before it where that is not so many times larger."""

_DEAD: Final = 1000
"""Slots without an entry that nobody minds."""

_SPARE: Final = 512
"""Slots that must be left: allocating more takes long."""


class Live:
    """An index that any thread may search, change and keep."""

    def __init__(self, state: State) -> None:
        self._state = state
        # Held by who changes something, for as long as the change takes; taken before the lock.
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._log: list[Change] | None = None

    @property
    def state(self) -> State:
        """What is indexed; to be read, and for numbers alone."""
        return self._state

    def view(self, terms: Sequence[str], filters: Filters) -> View:
        """What a search for some terms looks at."""
        with self._lock:
            return self._state.view(terms, filters)

    # --- changes ----------------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change]) -> None:
        """Makes changes, in their order.

        Raises:
            ValueError: terms of an entry cannot be read; nothing is changed then.
        """
        read = [read_terms(each.terms) if isinstance(each, Indexed) else None for each in changes]
        with self._writing:
            if len(changes) >= _MANY:
                self._apply_many(self._state, changes, read)
            else:
                self._apply_few(self._state, changes, read)
            if self._log is not None:
                self._log += changes

    def _apply_few(self, state: State, changes: Sequence[Change], read: Sequence[Terms | None]) -> None:
        for change, terms in zip(changes, read, strict=True):
            # One by one: an entry may have thousands of terms.
            with self._lock:
                if isinstance(change, Indexed) and terms is not None:
                    state.fresh.add(state.put(change, terms), terms)
                else:
                    state.slots.remove(change.id)
                if state.fresh.entries >= _FRESH:
                    state.freeze()

    def _apply_many(self, state: State, changes: Sequence[Change], read: Sequence[Terms | None]) -> None:
        taken: list[tuple[int, Terms]] = []
        for change, terms in zip(changes, read, strict=True):
            with self._lock:
                if isinstance(change, Indexed) and terms is not None:
                    taken.append((state.put(change, terms), terms))
                else:
                    state.slots.remove(change.id)
        segment = segment_of(taken)
        with self._lock:
            state.append(segment)

    def load(self, entries: Iterable[Indexed]) -> None:
        """Takes the entries of a new index, a few at a time, so that hardly more is in memory than stays there; nobody
        reads it meanwhile.

        Raises:
            ValueError: terms of an entry cannot be read; the index is of no use then.
        """
        state, gathering = self._state, Gathering()
        rest = iter(entries)
        while piece := list(islice(rest, _PIECE)):
            terms = read_many([each.terms for each in piece])
            gathering.add(state.put_many(piece, terms.lengths), terms)
        segment = gathering.segment()
        if segment.size:
            state.append(segment)

    # --- upkeep -----------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether there is something to keep up."""
        state = self._state
        return (
            state.fresh.entries >= _FROZEN
            or any(isinstance(each, Fresh) for each in state.parts[:-1])
            or _first_to_merge(state.parts) is not None
            or _to_pack(state)
            or _to_index(state)
        )

    def keep(self, stop: threading.Event) -> None:
        """Merges what is new, drops what is gone, builds the index of a large base; nothing where another thread does.

        Args:
            stop: set: what is not done is left for another time.
        """
        if not self._keeping.acquire(blocking=False):
            return
        try:
            self._merge()
            if _to_pack(self._state) and not stop.is_set():
                self._pack()
            if _to_index(self._state) and not stop.is_set():
                self._index(stop)
        finally:
            self._keeping.release()

    def _merge(self) -> None:
        state = self._state
        with self._lock:
            if state.fresh.entries >= _FROZEN:
                state.freeze()
            frozen = [each for each in state.parts[:-1] if isinstance(each, Fresh)]
        # Nobody writes to what is frozen.
        made = {id(each): each.segment() for each in frozen}
        with self._lock:
            state.parts = [made.get(id(each), each) for each in state.parts]
        while (first := _first_to_merge(state.parts)) is not None:
            with self._lock:
                segments = _segments(state.parts)[first:]
                alive = state.slots.alive[: state.slots.count]
                places = np.where(alive, np.arange(len(alive), dtype=np.int32), np.int32(-1))
            one = merged(segments, places)
            with self._lock:
                # What came meanwhile stands behind them.
                state.parts = [*state.parts[:first], one, *state.parts[first + len(segments) :]]

    def _pack(self) -> None:
        """The state without the slots that are not used, with all changes that were made meanwhile."""
        with self._writing, self._lock:
            self._log = []
            snapshot = self._state.snapshot()
        try:
            packed = snapshot.packed()
            while True:
                with self._writing:
                    log, self._log = self._log, []
                    if len(log) <= _ROUND:
                        _replay(packed, log)
                        with self._lock:
                            self._state = packed
                        return
                _replay(packed, log)
        finally:
            self._log = None

    def _index(self, stop: threading.Event) -> None:
        with self._lock:
            state, vectors = self._state, self._state.vectors
            assert vectors is not None
            upto = state.slots.count
            rows, has = vectors.read(upto)
            # Slots are written once, so that these rows stay as they are.
            slots = np.flatnonzero(has & state.slots.alive[: len(has)]).astype(np.int32)
        made = build_nearest(rows, slots, upto, stop.is_set)
        if made is not None:
            with self._lock:
                state.nearest = made


def _replay(state: State, log: Sequence[Change]) -> None:
    for change in log:
        if isinstance(change, Indexed):
            terms = read_terms(change.terms)
            state.fresh.add(state.put(change, terms), terms)
        else:
            state.slots.remove(change.id)


def _segments(parts: Sequence[Segment | Fresh]) -> list[Segment]:
    """The segments before anything else."""
    found = []
    for each in parts:
        if not isinstance(each, Segment):
            break
        found.append(each)
    return found


def _first_to_merge(parts: Sequence[Segment | Fresh]) -> int | None:
    """From which segment on all are to be merged, or None."""
    segments = _segments(parts)
    size, first = 0, None
    for at in range(len(segments) - 1, 0, -1):
        size += segments[at].size
        if segments[at - 1].size < _RATIO * size:
            first = at - 1
    return first


def _to_pack(state: State) -> bool:
    slots = state.slots
    return state.dead > max(_DEAD, slots.living) or slots.room - slots.count < _SPARE


def _to_index(state: State) -> bool:
    vectors, nearest = state.vectors, state.nearest
    if vectors is None or not large(min(vectors.held, state.slots.living), vectors):
        return False
    if nearest is None:
        return True
    if not nearest.usable:
        return state.slots.count > 2 * nearest.upto
    # What is newer is looked at one by one; and of what is older, half may be gone.
    newer = state.slots.count - nearest.upto
    return 2 * newer * vectors.dimension > vectors.exact or 2 * (nearest.size - state.slots.living) > nearest.size
