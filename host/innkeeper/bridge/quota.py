"""How often a plugin may ask a service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """A bound on calls.

    Attributes:
        per_second: calls a second in the long run.
        burst: calls at once after a pause.
    """

    per_second: float
    burst: int


class TokenBucket:
    """Fills with `rate.per_second` tokens a second up to `rate.burst`; each call takes one."""

    __slots__ = ("_burst", "_per_second", "_seen", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        """Args:
        rate: the bound.
        now: seconds of a monotonic clock.
        """
        self._per_second = rate.per_second
        self._burst = float(rate.burst)
        self._tokens = self._burst
        self._seen = now

    def take(self, now: float) -> bool:
        """Takes a token if there is one. `now`: of the same clock; one that goes back fills nothing."""
        if now > self._seen:
            self._tokens = min(self._burst, self._tokens + (now - self._seen) * self._per_second)
            self._seen = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
