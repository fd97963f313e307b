"""Models as the services of a host ask them: seldom, not for long, and not again for what is known.

Whoever may read a base can have texts embedded, by searches, activations and `kb.embed`. Where a model is behind an
endpoint that costs its operator money, so each base has a rate, and all bases together have one. A model that hangs is
left alone for a while: who asks would otherwise wait for it again and again, and get nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import trio

from innkeeper.knowledge.embedding.interface import Embedder, EmbeddingError, ModelIdentity, Vectors
from innkeeper.knowledge.embedding.registry import Models
from innkeeper.knowledge.embedding.texts import MOST_TEXT

PATIENCE: Final = 5.0
"""Seconds that a model may take for one question, being opened included: half of what a guest's host call may take, so
that an answer by words is still in time."""

AWAY: Final = 10.0
"""Seconds for which a model that did not answer is not asked again."""

PIECE: Final = 2000
"""Characters that count as one text: some 500 tokens."""

OF_A_BASE: Final = (1.0, 256)
"""Texts a second in the long run that guests can have embedded by an endpoint for one base, and at once."""

OF_ALL: Final = (5.0, 1024)
"""The same for all bases together."""

_REMEMBERED: Final = 1024
"""Vectors of texts that are remembered, some 1 to 16 MiB."""

_BASES: Final = 1000

T = TypeVar("T")


class TooOftenError(EmbeddingError):
    """Guests have had an endpoint make as many vectors as they may for now.

    Attributes:
        most: at once (int).
    """

    most = OF_A_BASE[1]


@dataclass(slots=True)
class _Bucket:
    """Fills with `rate` a second up to `burst`."""

    rate: float
    burst: float
    left: float
    seen: float

    def has(self, amount: int, now: float) -> bool:
        self.left = min(self.burst, self.left + max(now - self.seen, 0.0) * self.rate)
        self.seen = now
        return self.left >= amount


class Asking:
    """Asks models for the bases of a home. Used from one loop of trio."""

    def __init__(
        self,
        models: Models,
        *,
        bounded: bool,
        patience: float = PATIENCE,
        now: Callable[[], float] = trio.current_time,
    ) -> None:
        """Args:
        models: there are.
        bounded: whether guests ask: then what costs the operator has a rate. A command's user may have all that it is
            asked for, and waits.
        patience: seconds that one question may take, where guests ask.
        now: seconds of a monotonic clock.
        """
        self._models = models
        self._bounded = bounded
        self._patience = patience
        self._now = now
        self._away: dict[str, tuple[float, str]] = {}
        self._known: OrderedDict[tuple[str, str], Vectors] = OrderedDict()
        self._buckets: OrderedDict[object, _Bucket] = OrderedDict()
        self._asked: OrderedDict[tuple[str, object], Asked] = OrderedDict()

    async def embedder(self, model: str, whose: object) -> Asked:
        """A model that is ready, for one base.

        Args:
            model: its key, as a base records it.
            whose: the base.

        Raises:
            EmbeddingError: it is not here, or cannot be asked.
        """
        kind = self._kind(model)
        if kind in (None, "offline"):
            chosen = await self._models.choose(base=model)
        else:
            chosen = await self.in_time(model, lambda: self._models.choose(base=model), opening=True)
        key = chosen.embedder.identity.key, whose
        asked = self._asked.get(key)
        if asked is None or asked.inner is not chosen.embedder:
            asked = self._asked[key] = Asked(self, chosen.embedder, whose, kind or "plugin")
            if len(self._asked) > _BASES:
                self._asked.popitem(last=False)
        self._asked.move_to_end(key)
        return asked

    async def usual(self) -> str:
        """The key of the user's model, where it costs nothing to ask it; else ""."""
        name = self._models.default
        if self._kind(name) != "offline":
            return ""
        try:
            return (await self._models.open(name)).identity.key
        except EmbeddingError:
            return ""

    async def in_time(
        self, model: str, work: Callable[[], Awaitable[T]], *, opening: bool = False, alone: bool = True
    ) -> T:
        """Asks a model something.

        Args:
            model: its key.
            work: asks.
            opening: whether nothing that a guest says is asked: then a model that fails at once is away, too.
            alone: whether it is as little as a model can be asked: who asks for much may have asked for too much.

        Raises:
            EmbeddingError: what `work` raises; or it took too long, now or a moment ago.
        """
        if not self._bounded:
            return await work()
        until, why = self._away.get(model, (0.0, ""))
        if self._now() < until:
            raise EmbeddingError(f"{why}; it is left alone for {AWAY:g} s")
        try:
            with trio.fail_after(self._patience):
                return await work()
        except trio.TooSlowError:
            why = f"the model {model[:100]!r} did not answer within {self._patience:g} s"
            if alone:
                self._leave(model, why)
            raise EmbeddingError(why) from None
        except EmbeddingError as error:
            if opening:
                self._leave(model, str(error))
            raise

    def _leave(self, model: str, why: str) -> None:
        if len(self._away) >= _BASES:
            self._away.clear()
        self._away[model] = self._now() + AWAY, why

    def _kind(self, model: str) -> str | None:
        # As `Models.open` finds one: by name, by id or by key.
        id = model.rpartition("/")[0].partition("@")[0]
        named = [each.kind for each in self._models.all if each.name == model]
        return next(iter([*named, *(each.kind for each in self._models.all if each.id in (model, id))]), None)

    def pay(self, whose: object, texts: Sequence[str]) -> None:
        """Counts texts that an endpoint is about to be asked for.

        Raises:
            TooOftenError: guests had as many as they may; nothing is counted then.
        """
        if not self._bounded:
            return
        amount = sum(-(-min(len(text), MOST_TEXT) // PIECE) for text in texts)
        now = self._now()
        buckets = self._bucket(whose, OF_A_BASE, now), self._bucket(None, OF_ALL, now)
        if not all(bucket.has(amount, now) for bucket in buckets):
            raise TooOftenError(
                f"plugins have an endpoint make at most {OF_A_BASE[0]:g} vectors a second for a knowledge base, and "
                f"{OF_A_BASE[1]} at once"
            )
        for bucket in buckets:
            bucket.left -= amount

    def known(self, key: str, text: str) -> Vectors | None:
        """The vector of a text, where it was made not long ago; shape (dimension,)."""
        found = self._known.get((key, text))
        if found is not None:
            self._known.move_to_end((key, text))
        return found

    def remember(self, key: str, text: str, vector: Vectors) -> None:
        """Keeps the vector of a text."""
        if len(text) <= PIECE:
            self._known[key, text] = vector
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def _bucket(self, whose: object, rate: tuple[float, int], now: float) -> _Bucket:
        found = self._buckets.get(whose)
        if found is None:
            found = self._buckets[whose] = _Bucket(rate[0], rate[1], rate[1], now)
            if len(self._buckets) > _BASES:
                # Whoever was away longest has filled up again.
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(whose)
        return found


class Asked:
    """Implements `Embedder`: a model as one base asks it.

    Attributes:
        inner: the model.
    """

    def __init__(self, asking: Asking, inner: Embedder, whose: object, kind: str) -> None:
        self.inner = inner
        self._asking = asking
        self._whose = whose
        self._kind = kind

    @property
    def identity(self) -> ModelIdentity:
        """As `Embedder.identity`."""
        return self.inner.identity

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder.embed`.

        Raises:
            TooOftenError: guests had as many vectors as they may.
        """
        if self._kind == "offline":
            return await self.inner.embed(texts)
        key = self.identity.key
        made: dict[str, Vectors] = {}
        for text in texts:
            known = self._asking.known(key, text)
            if known is not None:
                made[text] = known
        missing = [text for text in dict.fromkeys(texts) if text not in made]
        if missing:
            if self._kind == "endpoint":
                self._asking.pay(self._whose, missing)
            vectors = await self._asking.in_time(key, lambda: self.inner.embed(missing), alone=len(missing) == 1)
            for text, vector in zip(missing, vectors, strict=True):
                made[text] = vector
                self._asking.remember(key, text, vector.copy())
        return np.array([made[text] for text in texts], np.float32).reshape(len(texts), self.identity.dimension)
