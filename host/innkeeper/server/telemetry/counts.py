"""Counters of one server. They belong to it, and not to the process: two servers in one process count apart."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from innkeeper.workflow.scheduling.attempt import Step

Stream = Literal["sse", "websocket"]

STREAMS: Final[tuple[Stream, ...]] = get_args(Stream)

DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds of a request's time: from what a short answer takes to what nobody waits for."""

LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds in seconds of a lag of trio's loop; 50 ms is what a stream's client may feel."""


class Histogram:
    """Amounts by size.

    Attributes:
        bounds: upper bounds, ascending.
        counts: how many amounts lie in each of them and above the one before; the last: above all.
        sum: of all amounts.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, amount: float) -> None:
        """Counts an amount."""
        self.counts[bisect_left(self.bounds, amount)] += 1
        self.sum += amount

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: upper bound, and how many amounts are not above it."""
        found, total = [], 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            total += count
            found.append((str(bound), float(total)))
        return found


class StreamCounts:
    """Streams to clients.

    Attributes:
        open: how many there are, by kind.
        opened: how many there have been.
        sent: messages that were handed over to be sent.
        dropped: messages that were not, since the client did not read.
    """

    def __init__(self) -> None:
        self.open: Counter[Stream] = Counter()
        self.opened: Counter[Stream] = Counter()
        self.sent: Counter[Stream] = Counter()
        self.dropped: Counter[Stream] = Counter()

    def begin(self, kind: Stream) -> None:
        """One begins."""
        self.open[kind] += 1
        self.opened[kind] += 1

    def end(self, kind: Stream) -> None:
        """One has ended."""
        self.open[kind] -= 1


class Counts:
    """What a server counts by itself; the rest is read where it is (`collecting`).

    Attributes:
        requests: by method, route and status.
        durations: by method and route.
        streams: streams to clients.
        runs: runs that ended in this host, by status; "lost" to another host.
        lag: how late trio's loop was.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.durations: dict[tuple[str, str], Histogram] = {}
        self.streams = StreamCounts()
        self.runs: Counter[str] = Counter()
        self.lag = Histogram(LAGS)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request that was answered.

        Args:
            method: one of HTTP's own, or "other".
            route: the template of its path, or "unmatched"; never the path itself, of which there is no end.
            status: of its answer.
            seconds: until the answer's end; of a stream, until its head.
        """
        self.requests[method, route, status] += 1
        key = (method, route)
        found = self.durations.get(key)
        if found is None:
            found = self.durations[key] = Histogram(DURATIONS)
        found.add(seconds)

    def step(self, step: Step) -> None:
        """Counts a run that ended here, or was given back."""
        if step.status != "running":
            self.runs[step.status or "lost"] += 1
