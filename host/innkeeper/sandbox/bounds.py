"""What all guests of a host may use together."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.sandbox.limits import MIB

MAPPINGS_TAKEN = 8
"""Memory mappings that a guest takes at most."""

_MAPPINGS_PER_GUEST = 10
"""A guest takes 6 to 8 memory mappings, and a process that runs out of them dies; ten leaves room for the host."""

_MAPPINGS_ASSUMED = 65_530
"""Linux's own default, used where /proc does not say."""


def most_mappings() -> int:
    """Memory mappings that the kernel allows one process (int)."""
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return _MAPPINGS_ASSUMED


def default_live_guests() -> int:
    """Guests that may be alive at once (int): the kernel's bound on mappings divided by ten."""
    return max(1, most_mappings() // _MAPPINGS_PER_GUEST)


def memory_of_machine() -> int:
    """Bytes (int) of memory that the machine or the cgroup has, whichever is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(name).read_text()))
        except (OSError, ValueError):
            continue
    return total


def default_guest_memory() -> int:
    """Bytes (int) of linear memory that all guests may have together: half of what the machine or the cgroup has."""
    return max(128 * MIB, memory_of_machine() // 2)


def default_workers() -> int:
    """Worker threads (int): as many as this process may use cores."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Host-wide bounds. At each of them calls wait until their deadline, then fail with `busy` and its name; what a
    running guest asks for on top is `busy` at once.

    Attributes:
        live_guests: guests alive at once, waiting ones included.
        guest_memory: bytes of all guests together: linear memory, globals, exports, tables at the start, variables.
        calls_per_plugin: calls of one plugin that are started and do not wait in a host function.
        spare_guests: guests started ahead, for modules that take long to start.
        workers: threads on which long guests take turns.
        compile_jobs: modules compiled at once.
        compile_cpu: seconds of processor time for compiling one module; those of several megabytes take two to ten.
        compile_memory: bytes for one process that compiles, beyond what it starts with.
        cache_size: bytes of compiled modules that are kept on disk; the default is for two hundred of a megabyte.
        bytes_in_flight: bytes of input and output of all calls together, and of what waiting guests asked the host
            with, from a page on.
        module_size: bytes of one Wasm file.
    """

    live_guests: int = field(default_factory=default_live_guests)
    guest_memory: int = field(default_factory=default_guest_memory)
    calls_per_plugin: int = 64
    spare_guests: int = 16
    workers: int = field(default_factory=default_workers)
    compile_jobs: int = 2
    compile_cpu: float = 60.0
    compile_memory: int = 1536 * MIB
    cache_size: int = 1024 * MIB
    bytes_in_flight: int = 512 * MIB
    module_size: int = 64 * MIB
