"""What is watched of a process that is to stay as it is: what the system, C and Python have for it."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

import trio

from .machine import Memory

PROMISE = 5_000_000
"""Bytes that resident memory may have grown by from the first third to the end."""
MB = 1e6


class _Mallinfo(ctypes.Structure):
    """The C library's `mallinfo2`: ten sizes, of which two are read."""

    _fields_ = (
        ("four_before", ctypes.c_size_t * 4),
        ("hblkhd", ctypes.c_size_t),
        ("two_between", ctypes.c_size_t * 2),
        ("uordblks", ctypes.c_size_t),
        ("two_after", ctypes.c_size_t * 2),
    )


def _allocated() -> int:
    """Bytes that C and Rust have of the allocator; 0 where it does not say."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return 0
    mallinfo.restype = _Mallinfo
    found = mallinfo()
    return int(found.uordblks + found.hblkhd)


def _anonymous() -> int:
    found = re.search(r"^Anonymous:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def children() -> set[int]:
    """The processes that this one has started and that live, by id."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except OSError:
            # The thread has ended meanwhile.
            continue
    return found


@dataclass(frozen=True, slots=True)
class Sample:
    """What there was at a moment when nothing ran. Sizes are bytes.

    Attributes:
        calls: calls so far.
        seconds: since the beginning.
        memory: of the process.
        anonymous: of its resident memory, what is not a file's. (Private memory is not that: a library's pages become
            private when a compiling process that shared them ends.)
        heap: what C and Rust have allocated.
        blocks: of memory that Python has allocated.
        descriptors, threads, children, tasks: how many there are. Threads without those that trio keeps for a while.
        live: guests.
        taken: of the bound on guest memory.
    """

    calls: int
    seconds: float
    memory: Memory
    anonymous: int
    heap: int
    blocks: int
    descriptors: int
    threads: int
    children: int
    tasks: int
    live: int
    taken: int

    HEADER = (
        "    calls  seconds     Rss  anonymous    heap  tables  mappings  files  threads  children  tasks  guests   "
        "blocks"
    )

    def line(self) -> str:
        """As text."""
        memory = self.memory
        return (
            f"{self.calls:9,} {self.seconds:8.1f} {memory.resident / MB:7.2f} {self.anonymous / MB:10.2f} "
            f"{self.heap / MB:7.2f} {memory.page_tables / MB:7.2f} {memory.mappings:9,} {self.descriptors:6} "
            f"{self.threads:8} {self.children:9} {self.tasks:6} {self.live:7} {self.blocks:8,}"
        )


def sample(calls: int = 0, seconds: float = 0.0, live: int = 0, taken: int = 0) -> Sample:
    """What there is now, after a collection of garbage."""
    gc.collect()
    blocks = sys.getallocatedblocks()
    kept = sum(thread.name.startswith("Trio ") for thread in threading.enumerate())
    return Sample(
        calls,
        seconds,
        Memory.now(),
        _anonymous(),
        _allocated(),
        blocks,
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")) - kept,
        len(children()),
        trio.lowlevel.current_statistics().tasks_living,
        live,
        taken,
    )


def objects() -> Counter[str]:
    """How many objects of each type the garbage collector knows."""
    gc.collect()
    return Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())


def tables() -> dict[str, int]:
    """How much is in each table that a module of Innkeeper, trio or wasmtime has, caches of functions included."""
    found: dict[str, int] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in ("innkeeper", "trio", "wasmtime") or module is None:
            continue
        for variable, value in list(vars(module).items()):
            if isinstance(value, Sized) and not isinstance(value, str | bytes | tuple | type):
                found[f"{name}.{variable}"] = len(value)
            elif "cache_info" in dir(type(value)):
                found[f"{name}.{variable}()"] = value.cache_info().currsize
    return found


def grown(before: Mapping[str, int], after: Mapping[str, int], most: int) -> list[str]:
    """What there is more of than `most` more than before, in words, the most first."""
    more = {name: count - before.get(name, 0) for name, count in after.items()}
    return [f"{name} +{count:,}" for name, count in sorted(more.items(), key=lambda item: -item[1]) if count > most]


def slope(samples: Sequence[Sample]) -> float:
    """Bytes that resident memory grew by over the last two thirds, by the line of least squares."""
    last = samples[len(samples) // 3 :]
    xs = [float(one.calls) for one in last]
    ys = [float(one.memory.resident) for one in last]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((one - x) ** 2 for one in xs)
    rise = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
    return rise / spread * (xs[-1] - xs[0]) if spread else 0.0
