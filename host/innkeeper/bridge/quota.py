"""How often a plugin may ask a service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """A bound on calls.

    Attributes:
        per_second: calls a second in the long run.
        burst: calls at once after a pause.
        waits: whether a call that comes too early waits for its turn, in place of being refused: for calls that wait
            for others in any case.
    """

    per_second: float
    burst: int
    waits: bool = False


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

    def turn(self, now: float) -> float:
        """Takes a token, also one that is still to come: seconds until it is there. `now` as for `take`."""
        self._fill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self._per_second)

    def take(self, now: float) -> bool:
        """Takes a token if there is one. `now`: of the same clock; one that goes back fills nothing."""
        self._fill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _fill(self, now: float) -> None:
        if now > self._seen:
            self._tokens = min(self._burst, self._tokens + (now - self._seen) * self._per_second)
            self._seen = now
