"""What a cosine means under a model: how like an entry any short text is that does not mean it.

0.75 is far from everything under one model and below everything under another. So thresholds are read as places in the
background: the distribution of cosines of sentences and of entries that they are not from, paired by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from innkeeper.knowledge.embedding.interface import ModelIdentity, Vectors

PERCENTILES: Final = (0.1, 1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9)
"""At which the background is kept, in percent."""

DEFAULT_PERCENTILE: Final = 99.0
"""Of the background, from where on an entry without a threshold of its own counts as meant."""

FEWEST: Final = 8
"""Vectors; of fewer nothing can be said."""

_PAIRS = 8192
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """What cosines mean under a model in a base.

    Attributes:
        model: `ModelIdentity.key` of the model.
        mean, deviation: of the background.
        knots: cosines of the background at `PERCENTILES`.
        pairs: how many pairs it was made of; 0: a guess, since the base had too few vectors.
        competence: how well the model retrieves in scripts that the base has, 0 to 1, by script (`competence`).
    """

    model: str
    mean: float
    deviation: float
    knots: tuple[float, ...]
    pairs: int
    competence: Mapping[str, float] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """The cosine from which an entry without a threshold of its own counts as meant."""
        return self.cosine(DEFAULT_PERCENTILE)

    def percentile(self, cosine: float) -> float:
        """How many percent of the background are below a cosine (float, 0 to 100)."""
        return float(np.interp(cosine, self.knots, PERCENTILES, left=0.0, right=100.0))

    def cosine(self, percentile: float) -> float:
        """The cosine below which so many percent of the background are (float)."""
        return float(np.interp(percentile, PERCENTILES, self.knots))

    def z(self, cosine: float) -> float:
        """How many standard deviations a cosine is above the background's mean (float)."""
        return (cosine - self.mean) / self.deviation

    def with_competence(self, competence: Mapping[str, float]) -> Calibration:
        """The same with how well the model retrieves."""
        return replace(self, competence=dict(competence))

    def as_value(self) -> dict[str, Any]:
        """As plain data, for a store."""
        return {
            "version": _VERSION,
            "model": self.model,
            "mean": self.mean,
            "deviation": self.deviation,
            "knots": list(self.knots),
            "pairs": self.pairs,
            "competence": dict(self.competence),
        }


def read_calibration(value: object) -> Calibration:
    """What `Calibration.as_value` gave.

    Raises:
        ValueError: it is something else; `calibrate` makes another.
    """
    if not isinstance(value, dict) or value.get("version") != _VERSION or not isinstance(value.get("model"), str):
        raise ValueError("this is no calibration of this version")
    knots, competence = value.get("knots"), value.get("competence", {})
    if not isinstance(knots, list) or len(knots) != len(PERCENTILES) or not isinstance(competence, dict):
        raise ValueError("a calibration has other percentiles")
    numbers = [value.get("mean"), value.get("deviation"), value.get("pairs"), *knots, *competence.values()]
    if not all(isinstance(each, int | float) and np.isfinite(each) for each in numbers):
        raise ValueError("a calibration has something else than numbers")
    if value["deviation"] <= 0 or any(late <= early for early, late in pairwise(knots)):
        raise ValueError("the percentiles of a calibration do not rise")
    return Calibration(
        value["model"],
        float(value["mean"]),
        float(value["deviation"]),
        tuple(map(float, knots)),
        int(value["pairs"]),
        {str(name): float(each) for name, each in competence.items()},
    )


def calibrate(
    model: ModelIdentity, vectors: Vectors, probes: Vectors | None = None, own: Sequence[int] = ()
) -> Calibration:
    """The background of a base under a model. The same vectors give the same calibration. Takes some milliseconds.

    Args:
        model: that made them.
        vectors: of the base's entries, each of length 1 or zeros; those count for nothing. Shape (entries, dimension).
        probes: of sentences as a conversation has them (`probing.probes`), shape (any, dimension); None: entries are
            paired with each other, which makes a background that is too high, the more so the longer they are.
        own: the row in `vectors` of the entry that each probe is from.
    """
    usable = np.abs(vectors).sum(axis=1) > 0
    if int(usable.sum()) < FEWEST:
        return _guessed(model)
    chance = np.random.Generator(np.random.PCG64(5))
    one = chance.integers(0, len(vectors), _PAIRS)
    if probes is None or len(probes) < FEWEST:
        two = chance.integers(0, len(vectors), _PAIRS)
        others, known, apart = vectors[two], usable[two], one != two
    else:
        two = chance.integers(0, len(probes), _PAIRS)
        others, known, apart = probes[two], np.abs(probes[two]).sum(axis=1) > 0, one != np.asarray(own, np.int64)[two]
    paired = usable[one] & known & apart
    if int(paired.sum()) < FEWEST:
        return _guessed(model)
    cosines: NDArray[np.float64] = np.einsum("ij,ij->i", vectors[one[paired]], others[paired]).astype(np.float64)
    rising = np.maximum.accumulate(np.percentile(cosines, PERCENTILES))
    # They rise even where all entries say the same, so that every cosine has one place.
    rising += np.arange(len(PERCENTILES)) * 1e-6
    deviation = max(float(cosines.std()), 1e-6)
    return Calibration(model.key, float(cosines.mean()), deviation, tuple(map(float, rising)), len(cosines))


def _guessed(model: ModelIdentity) -> Calibration:
    mean, deviation = _GUESSES.get(model.id, _GUESS)
    return Calibration(model.key, mean, deviation, tuple(float(mean + deviation * each) for each in _NORMAL), 0)


def carried(threshold: float, of: Calibration, to: Calibration) -> float:
    """A threshold under another model: the same place in its background.

    Beyond the outermost percentiles it keeps its distance to them, in standard deviations.

    Args:
        threshold: a cosine under the first model.
        of: of the first model.
        to: of the other.
    """
    if of.knots[0] <= threshold <= of.knots[-1]:
        found = float(np.interp(threshold, of.knots, to.knots))
    else:
        end = 0 if threshold < of.knots[0] else -1
        found = to.knots[end] + (threshold - of.knots[end]) / of.deviation * to.deviation
    return min(max(found, -1.0), 1.0)


_NORMAL: Final = (-3.09, -2.326, -1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645, 2.054, 2.326, 2.576, 3.09)
"""`PERCENTILES` of a normal distribution, in standard deviations."""

_GUESSES: Final = {"wordllama-l2-256": (0.1, 0.1)}
_GUESS: Final = (0.3, 0.12)
"""Mean and deviation where a base has too few vectors to tell."""
