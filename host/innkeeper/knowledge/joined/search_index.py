"""A base's search as the library keeps it in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from innkeeper.knowledge.embedding.interface import ModelIdentity
from innkeeper.knowledge.retrieval.calibration import Calibration, calibrate
from innkeeper.knowledge.retrieval.interface import Change, Indexed, Removed
from innkeeper.knowledge.retrieval.retriever import Retriever
from innkeeper.knowledge.store.values import BaseState, Stored

SEARCH: Final = "search"
"""Its name in the library."""

_SAMPLE: Final = 20_000
_PER_ENTRY: Final = 300


class SearchIndex:
    """Implements `live.index.LiveIndex`.

    Attributes:
        retriever: searches.
    """

    def __init__(self) -> None:
        self.retriever = Retriever()
        self._terms = 0

    def build(self, state: BaseState, entries: Iterator[Stored]) -> None:
        """As `LiveIndex.build`."""
        model = identity_of(state.model)
        found = [_indexed(entry, model) for entry in entries]
        self._terms = sum(len(each.terms) for each in found)
        vectors = [each.vector for each in found if each.vector is not None][:_SAMPLE]
        calibration: Calibration | None = None
        if model is not None:
            shape = (0, model.dimension)
            calibration = calibrate(model, np.stack(vectors) if vectors else np.zeros(shape, np.float32))
            calibration = calibration.with_competence(competence_of(state.info))
        self.retriever = Retriever.build(found, model, calibration)

    def apply(self, state: BaseState, changed: Sequence[Stored], deleted: Sequence[str]) -> None:
        """As `LiveIndex.apply`."""
        model = identity_of(state.model)
        changes: list[Change] = [Removed(id) for id in deleted if id in self.retriever]
        changes += [_indexed(entry, model) for entry in changed]
        self.retriever.apply(changes)

    @property
    def cost(self) -> int:
        """As `LiveIndex.cost`."""
        dimension = 0 if self.retriever.model is None else self.retriever.model.dimension
        return self._terms + len(self.retriever) * (_PER_ENTRY + 4 * dimension)


def identity_of(key: str) -> ModelIdentity | None:
    """The model that a key names, as `ModelIdentity.key` writes it; None where it is none."""
    name, _, dimension = key.rpartition("/")
    if not name or not dimension.isascii() or not dimension.isdigit() or not 0 < int(dimension[:9]) <= 1 << 16:
        return None
    id, _, version = name.partition("@")
    return ModelIdentity(id, version, int(dimension))


def competence_of(info: Mapping[str, Any]) -> dict[str, float]:
    """How well the base's model retrieves by script, as `kb embed` measured and kept it; {} where nobody did."""
    kept = own_of(info).get("competence")
    if not isinstance(kept, Mapping):
        return {}
    found = {str(name): value for name, value in kept.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in found.items() if 0 <= value <= 1}


def own_of(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """What this host keeps in a base's `kb_extensions`."""
    extensions = info.get("kb_extensions")
    own = extensions.get("innkeeper") if isinstance(extensions, Mapping) else None
    return own if isinstance(own, Mapping) else {}


def _indexed(stored: Stored, model: ModelIdentity | None) -> Indexed:
    # Not through the models: they take five times as long, and the store has looked at all of it.
    document = stored.plain()
    criteria = _part(document, "activation_criteria")
    priority = _part(document, "usage_metadata").get("priority", 100)
    kind = document.get("entry_type", "lore_detail")
    vector: NDArray[np.float32] | None = None
    if model is not None and stored.vector is not None and len(stored.vector) == 2 * model.dimension:
        vector = np.frombuffer(stored.vector, "<f2").astype(np.float32)
    return Indexed(
        stored.id,
        stored.terms,
        vector,
        kind if isinstance(kind, str) else "",
        stored.source,
        _texts(_part(document, "management_metadata").get("tags")),
        stored.enabled,
        float(priority) if isinstance(priority, int | float) else 100.0,
        criteria.get("use_semantic_search") is True,
    )


def _part(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key)
    return found if isinstance(found, Mapping) else {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
