"""Brings a file and a base together, entry by entry, by what each was when both were last in step.

Where one side changed an entry, that counts. Where both did, the file's counts, and what the base had goes into its
history like anything that is replaced.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from innkeeper.knowledge.store.legs import dump
from innkeeper.knowledge.store.values import Change

_LEAST_GAP: Final = 1e-6
"""Between positions; where there is less room all entries are numbered anew."""


@dataclass(frozen=True, slots=True)
class Row:
    """An entry of the base.

    Attributes:
        document: JSON.
        version, position: as in `Stored`.
    """

    document: str
    version: int
    position: float


@dataclass(frozen=True, slots=True)
class Ours:
    """The base.

    Attributes:
        rows: its entries by id.
        synced: the revision at which file and base were last in step.
        before: what entries that were changed since were then, as JSON, or None where they were not there.
        info, info_before: what it says of itself, and what it said then (None: the same).
    """

    rows: Mapping[str, Row]
    synced: int
    before: Mapping[str, str | None]
    info: Mapping[str, Any]
    info_before: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Theirs:
    """The file.

    Attributes:
        info: its top level without `entries`.
        documents: its entries in their order; no id twice.
    """

    info: Mapping[str, Any]
    documents: Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Plan:
    """What is to be done.

    Attributes:
        changes: of the base.
        info: what the base says of itself from now on; None: what it says now.
        write: whether the base then has something that the file has not.
        notes: what somebody should know, as sentences.
    """

    changes: list[Change] = field(default_factory=list)
    info: Mapping[str, Any] | None = None
    write: bool = False
    notes: list[str] = field(default_factory=list)


def merge(ours: Ours, theirs: Theirs) -> Plan:
    """What brings both in step. For a thread: it takes as long as reading the file."""
    plan = Plan()
    _merge_info(ours, theirs, plan)
    positions = _positions(ours, theirs)
    there: set[str] = set()
    for document, position in zip(theirs.documents, positions, strict=True):
        id = str(document["id"])
        there.add(id)
        row = ours.rows.get(id)
        text = dump(document)
        moved = position if row is not None and position != row.position else None
        if row is None:
            _created(ours, plan, id, document, text, position)
        elif text == row.document:
            if moved is not None:
                plan.changes.append(Change(id, document, row.version, position=moved))
        elif row.version > ours.synced and ours.before.get(id, "") == text:
            # The file has what the base had: only the base changed it.
            plan.write = True
            if moved is not None:
                plan.changes.append(Change(id, json.loads(row.document), row.version, position=moved))
        else:
            if row.version > ours.synced:
                _say(plan, id, "was changed in the file and here: the file's is taken, the other is in its history")
            plan.changes.append(Change(id, document, row.version, position=moved))
    for id, row in ours.rows.items():
        if id not in there:
            _missing(ours, plan, id, row)
    return plan


def _merge_info(ours: Ours, theirs: Theirs, plan: Plan) -> None:
    if dump(theirs.info) == dump(ours.info):
        return
    if ours.info_before is not None and dump(theirs.info) == dump(ours.info_before):
        plan.write = True
        return
    if ours.info_before is not None:
        plan.notes.append("what the base says of itself was changed in the file and here: the file's is taken")
    plan.info = theirs.info


def _created(ours: Ours, plan: Plan, id: str, document: Mapping[str, Any], text: str, position: float) -> None:
    before = ours.before.get(id)
    if before is not None:
        if before == text:
            # It is in the file as it was, and was deleted here.
            plan.write = True
            return
        _say(plan, id, "was changed in the file and deleted here: it is there again")
    plan.changes.append(Change(id, document, 0, position=position))


def _missing(ours: Ours, plan: Plan, id: str, row: Row) -> None:
    if row.version > ours.synced:
        if ours.before.get(id, "") is None:
            # Made here since.
            plan.write = True
            return
        _say(plan, id, "was deleted in the file and changed here: it is deleted, and what it was is in its history")
    plan.changes.append(Change(id, None, row.version))


def _say(plan: Plan, id: str, sentence: str) -> None:
    plan.notes.append(f"entry {id[:80]!r} {sentence}")


def _positions(ours: Ours, theirs: Theirs) -> list[float]:
    """Where the file's entries stand: as few as possible move."""
    known = [None if (row := ours.rows.get(str(each["id"]))) is None else row.position for each in theirs.documents]
    kept = _rising(known)
    found: list[float] = [0.0] * len(known)
    at = 0
    low: float | None = None
    while at < len(known):
        position = known[at]
        if at in kept and position is not None:
            found[at] = low = position
            at += 1
            continue
        end = at
        while end < len(known) and end not in kept:
            end += 1
        high = known[end] if end < len(known) else None
        count = end - at
        if high is None:
            step = 1.0
            start = max((row.position for row in ours.rows.values()), default=0.0) if low is None else low
        else:
            step = 1.0 if low is None else (high - low) / (count + 1)
            start = high - (count + 1) if low is None else low
        if step < _LEAST_GAP:
            return [float(number + 1) for number in range(len(known))]
        for number in range(count):
            found[at + number] = start + step * (number + 1)
        low = found[end - 1]
        at = end
    return found


def _rising(positions: Sequence[float | None]) -> set[int]:
    """Which of some positions make the longest series that rises (set of int)."""
    ends: list[float] = []
    last: list[int] = []
    previous: dict[int, int] = {}
    for at, position in enumerate(positions):
        if position is None:
            continue
        place = bisect_left(ends, position)
        previous[at] = last[place - 1] if place else -1
        if place == len(ends):
            ends.append(position)
            last.append(at)
        else:
            ends[place], last[place] = position, at
    kept: set[int] = set()
    each = last[-1] if last else -1
    while each >= 0:
        kept.add(each)
        each = previous[each]
    return kept
