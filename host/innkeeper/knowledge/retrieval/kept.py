"""The search of a base that a store keeps: made of its rows, and in step with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from pydantic_core import from_json

from innkeeper.knowledge.embedding.interface import ModelIdentity
from innkeeper.knowledge.retrieval.calibration import Calibration, calibrate, read_calibration
from innkeeper.knowledge.retrieval.interface import Change, Indexed, Removed
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.retrieval.vectors import Floats

CALIBRATION: Final = "innkeeper.calibration"
"""Under which key of a base's `kb_extensions` its calibration lies, so that it goes wherever the base goes."""

_SAMPLE = 4000
_COST = 600
"""Bytes that an entry takes beside its terms and its vector."""


class Kept(Protocol):
    """An entry as a store keeps it."""

    @property
    def id(self) -> str:
        """Unique in its base."""
        ...

    @property
    def document(self) -> str:
        """JSON; it was read as an entry when it was kept."""
        ...

    @property
    def terms(self) -> bytes:
        """`TextLegs.terms` of it."""
        ...

    @property
    def vector(self) -> bytes | None:
        """Half-precision floats in little-endian, under the model of the base, or None."""
        ...


class KeptState(Protocol):
    """What a store knows of a base."""

    @property
    def info(self) -> Mapping[str, Any]:
        """The top level of its file without `entries`."""
        ...

    @property
    def model(self) -> str:
        """`ModelIdentity.key` of its vectors, or ""."""
        ...

    @property
    def entries(self) -> int:
        """How many there are."""
        ...


class KeptSearch:
    """A `Retriever` that follows a base of a store. `build` and `apply` belong into a thread, one call at a time;
    searches may go on meanwhile.

    Attributes:
        retriever: searches the base as it is now; another one after each `build`.
    """

    def __init__(self) -> None:
        self.retriever = Retriever()
        self._bytes = 0

    def build(self, state: KeptState, entries: Iterator[Kept]) -> None:
        """Makes it of a base.

        Args:
            state: of the base.
            entries: all of them, in the order of the file.
        """
        model = identity_of(state.model)
        self._bytes = 0
        made = Retriever.build(self._items(entries), model, room=state.entries)
        made.calibration = _calibration(state, model, made)
        self.retriever = made

    def _items(self, entries: Iterable[Kept]) -> Iterator[Indexed]:
        for each in entries:
            self._bytes += len(each.terms)
            yield item_of(each)

    def apply(self, state: KeptState, changed: Sequence[Kept], deleted: Sequence[str]) -> None:
        """Follows changes.

        Args:
            state: of the base now.
            changed: entries that are new or other than before.
            deleted: ids of entries that are there no more.
        """
        changes: list[Change] = [Removed(id) for id in deleted]
        changes += [item_of(each) for each in changed]
        self.retriever.apply(changes)
        self._bytes += sum(len(each.terms) for each in changed)

    @property
    def cost(self) -> int:
        """Bytes that it takes, roughly."""
        model = self.retriever.model
        return self._bytes + len(self.retriever) * (_COST + (0 if model is None else 4 * model.dimension))


def item_of(kept: Kept) -> Indexed:
    """What of an entry is searched; some 10 us, since its document was looked at when it was kept."""
    document = _loaded(kept.document)
    management = _part(document, "management_metadata")
    usage, criteria = _part(document, "usage_metadata"), _part(document, "activation_criteria")
    return Indexed(
        kept.id,
        kept.terms,
        _vector(kept.vector),
        document.get("entry_type", "lore_detail"),
        management.get("source", "manual_entry"),
        tuple(management.get("tags", ())),
        management.get("is_enabled", True),
        float(usage.get("priority", 100)),
        criteria.get("use_semantic_search", False),
    )


def _loaded(document: str) -> Any:
    try:
        # Three times as quick.
        return from_json(document)
    except ValueError:
        # It has no words for half of a surrogate pair, and nests less deep.
        return json.loads(document)


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _vector(data: bytes | None) -> Floats | None:
    if data is None or len(data) % 2:
        return None
    return np.frombuffer(data, "<f2").astype(np.float32)


def identity_of(key: str) -> ModelIdentity | None:
    """The model that a key means, or None where it is no key: such vectors cannot be compared with anything."""
    name, _, dimension = key.rpartition("/")
    if not name or not dimension.isascii() or not dimension.isdigit() or not 1 <= int(dimension[:6]) <= 8192:
        return None
    id, _, version = name.partition("@")
    return ModelIdentity(id, version, int(dimension[:6]))


def calibration_in(info: Mapping[str, Any]) -> Calibration | None:
    """The calibration that a base carries, or None where it carries none that can be read.

    Args:
        info: the top level of its file.
    """
    extensions = info.get("kb_extensions")
    try:
        return read_calibration(extensions.get(CALIBRATION)) if isinstance(extensions, dict) else None
    except ValueError:
        return None


def with_calibration(info: Mapping[str, Any], calibration: Calibration) -> dict[str, Any]:
    """What a base says of itself, with a calibration that it carries."""
    extensions = info.get("kb_extensions")
    kept = dict(extensions) if isinstance(extensions, dict) else {}
    return {**info, "kb_extensions": {**kept, CALIBRATION: calibration.as_value()}}


def _calibration(state: KeptState, model: ModelIdentity | None, made: Retriever) -> Calibration | None:
    carried = calibration_in(state.info)
    if model is None or (carried is not None and carried.model == model.key):
        return carried if model is not None else None
    # A guess, until the base is embedded again: entries are paired with each other.
    vectors = made.sample(_SAMPLE)
    return calibrate(model, vectors) if len(vectors) else None
