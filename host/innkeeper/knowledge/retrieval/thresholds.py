"""Thresholds of entries: cosines of the model that their base recorded when they were written, whatever it is now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from innkeeper.knowledge.embedding.interface import ModelIdentity
from innkeeper.knowledge.retrieval.calibration import Calibration, calibrate, carried, read_calibration
from innkeeper.knowledge.retrieval.kept import calibration_in, identity_of

THRESHOLDS: Final = "innkeeper.thresholds"
"""Under which key of `kb_extensions` lies the calibration of the model that the authors' thresholds are cosines of,
where that is another one than the base's own by now."""


def carried_over(info: Mapping[str, Any], to: Calibration) -> tuple[str, Callable[[float], float] | None]:
    """The model that the thresholds of a base are cosines of, and what carries them over; "" and None where it is the
    one that is asked.

    Args:
        info: what the base says of itself.
        to: of the model that is asked.
    """
    extensions = info.get("kb_extensions")
    said = extensions.get(THRESHOLDS) if isinstance(extensions, Mapping) else None
    if said is None:
        return "", None
    try:
        of = read_calibration(said)
    except ValueError:
        return "", None
    if of.model == to.model:
        return "", None
    return of.model, lambda threshold: carried(threshold, of, to)


def thresholds_of(info: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    """What a base that is embedded with another model from now on must say of its thresholds; None where it says so
    already, or nobody has written a threshold under another model.

    Args:
        info: what the base says of itself before.
        model: key of the new model.
    """
    extensions = info.get("kb_extensions")
    if isinstance(extensions, Mapping) and THRESHOLDS in extensions:
        return None
    recorded = info.get("embedding_model_id")
    if not isinstance(recorded, str) or not recorded or recorded == model:
        return None
    own = calibration_in(info)
    if own is not None and own.model == recorded:
        return own.as_value()
    identity = identity_of(recorded)
    if identity is None:
        identity = ModelIdentity(recorded[:200], "", 1)
    # Nobody has vectors of that model: what is known of models in general has to do.
    guess = replace(calibrate(identity, np.zeros((0, identity.dimension), np.float32)), model=recorded)
    return guess.as_value()
