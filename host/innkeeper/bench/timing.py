"""Times peers in turns, round by round, so that whatever else the machine does happens to all of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

import trio

from innkeeper.bench.measured import Figure
from innkeeper.errors import InternalError

Batch = Callable[[int], Awaitable[object]]
"""Does the operation so many times and gives the last result, which must be equal for all peers."""

BATCH = 0.004
"""Seconds that a batch should take at least: far more than the clock's resolution, few enough for many rounds."""


def looped(operation: Callable[[], object]) -> Batch:
    """A batch of an operation that blocks."""

    async def batch(count: int) -> object:
        result: object = None
        for _ in range(count):
            result = operation()
        return result

    return batch


def rounds_within(most: int, seconds: float) -> Iterator[None]:
    """So many rounds at the most; after so much time none begins any more, but there is always one."""
    end = time.perf_counter() + seconds
    for _ in range(most):
        yield
        if time.perf_counter() > end:
            return


async def in_turns(
    batches: Mapping[str, Batch], *, rounds: int, seconds: float, scale: float = 1.0, rest: float | None = None
) -> dict[str, Figure]:
    """Figures of one operation, by peer.

    Args:
        batches: what to time, in the order of the turns.
        rounds, seconds: as `rounds_within` takes them; a round is one batch a peer.
        scale: of a second, in the row's unit: 1e6 for microseconds.
        rest: seconds without work before each operation, which is then timed by itself; None for batches.

    Raises:
        InternalError: the peers' results differ.
    """
    counts = {name: 1 if rest is not None else await _calibrated(batch) for name, batch in batches.items()}
    samples: dict[str, list[float]] = {name: [] for name in batches}
    for _ in rounds_within(rounds, seconds):
        results: dict[str, object] = {}
        for name, batch in batches.items():
            if rest is not None:
                await trio.sleep(rest)
            before = time.perf_counter()
            results[name] = await batch(counts[name])
            samples[name].append((time.perf_counter() - before) / counts[name])
        first, *others = results.values()
        if any(other != first for other in others):
            raise InternalError(f"the results of {' and '.join(results)} differ, so their times cannot be compared")
    return {name: Figure.of(values, scale) for name, values in samples.items()}


async def _calibrated(batch: Batch) -> int:
    """How many operations make a batch; they warm everything up, too."""
    await batch(1)
    count = 1
    while True:
        before = time.perf_counter()
        await batch(count)
        took = time.perf_counter() - before
        if took >= BATCH:
            return count
        count = max(count + 1, min(count * 10, int(count * 1.2 * BATCH / max(took, 1e-9))))
