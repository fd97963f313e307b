"""What activation remembers of a session, kept with each base that it concerns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from innkeeper.knowledge.library import Library
from innkeeper.knowledge.worldinfo.timed import TimedEffects
from innkeeper.storage.knowledge_model import Place, VersionError

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of a session before an activation.

    Attributes:
        native: what `activation.native.activate` takes.
        effects: what the profile st-1.15 takes.
        kept: state and version by base, as they are in the store.
    """

    native: Mapping[str, Any]
    effects: TimedEffects
    kept: Mapping[str, tuple[bytes, int]]


async def recall(library: Library, places: Sequence[Place]) -> Memory:
    """What the session of some places remembers of their bases."""
    active: dict[str, Any] = {}
    records: dict[str, list[Any]] = {}
    kept: dict[str, tuple[bytes, int]] = {}
    for place in places:
        state, version = await library.sessions.state(Place(place.owner, place.base), place.session)
        kept[place.base] = state, version
        read = _read(state)
        if isinstance(read.get("active"), dict):
            active[place.base] = read["active"]
        for kind, rows in read.get("effects", {}).items() if isinstance(read.get("effects"), dict) else ():
            if isinstance(rows, list):
                records.setdefault(str(kind), []).extend(rows)
    return Memory({"version": _VERSION, "active": active}, TimedEffects.read(records), kept)


async def keep(
    library: Library,
    places: Sequence[Place],
    memory: Memory,
    *,
    native: Mapping[str, Any] | None = None,
    effects: TimedEffects | None = None,
) -> bool:
    """Keeps what a session remembers now, where that is something else than before.

    Args:
        places: of the session.
        memory: what was known before.
        native: what `activate` gave, or None: as before.
        effects: what the profile st-1.15 made of the effects, or None: as before.

    Returns:
        False where somebody else changed the session meanwhile: then it is to be recalled and decided again.
    """
    active = (memory.native if native is None else native).get("active", {})
    records = (memory.effects if effects is None else effects).document()
    states: list[tuple[Place, bytes, int]] = []
    for place in places:
        own = {kind: [row for row in rows if row[0] == place.base] for kind, rows in records.items()}
        said = {"v": _VERSION, "active": active.get(place.base, {}), "effects": own}
        nothing = not said["active"] and not any(own.values())
        state = b"" if nothing else _packed(said, library.store.quota.state)
        before, version = memory.kept[place.base]
        if state != before:
            states.append((Place(place.owner, place.base), state, version))
    try:
        if states:
            await library.sessions.keep_states(places[0].session, states)
    except VersionError:
        return False
    return True


def _packed(said: dict[str, Any], most: int) -> bytes:
    """What is remembered of one base, in so many bytes at most: what is oldest is forgotten first."""
    state: bytes = msgpack.packb(said)
    while len(state) > most:
        newest = sorted(said["active"].items(), key=lambda item: item[1])
        said["active"] = dict(newest[-(len(newest) // 2) :] if len(newest) > 1 else ())
        said["effects"] = {
            kind: rows[-(len(rows) // 2) :] if len(rows) > 1 else [] for kind, rows in said["effects"].items()
        }
        state = msgpack.packb(said)
    return state


def _read(state: bytes) -> dict[str, Any]:
    if not state:
        return {}
    try:
        found = msgpack.unpackb(state, strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        return {}
    return found if isinstance(found, dict) and found.get("v") == _VERSION else {}
