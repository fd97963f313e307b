"""What the system says of this process and of the machine beside it."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import trio

from innkeeper.bench import machine

KB = 1000


def _kilobytes(path: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in Path(path).read_text().splitlines():
        name, _, rest = line.partition(":")
        if rest.rstrip().endswith(" kB"):
            found[name] = int(rest.split()[0]) * 1024
    return found


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that this process has, and its number of mappings.

    Attributes:
        resident: pages in memory (Rss).
        proportional: as resident, shared pages counted by their share (Pss).
        private: pages of this process alone.
        page_tables: the kernel's own pages for the process (VmPTE).
        mappings: lines of /proc/self/maps.
    """

    resident: int
    proportional: int
    private: int
    page_tables: int
    mappings: int

    @classmethod
    def now(cls) -> Memory:
        """What it is at this moment, exactly: by walking the pages, not by the kernel's lazy counters."""
        rollup = _kilobytes("/proc/self/smaps_rollup")
        return cls(
            rollup["Rss"],
            rollup["Pss"],
            rollup["Private_Clean"] + rollup["Private_Dirty"],
            _kilobytes("/proc/self/status")["VmPTE"],
            Path("/proc/self/maps").read_bytes().count(b"\n"),
        )


class CoreWait:
    """How long this thread has been ready to run while the system gave it no core: not this program's doing."""

    def __init__(self) -> None:
        self._file: int | None = None
        with contextlib.suppress(OSError):
            self._file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    def seconds(self) -> float:
        """Since the thread began; 0 where the system does not say."""
        return int(os.pread(self._file, 100, 0).split()[1]) / 1e9 if self._file is not None else 0.0

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)


class Others(machine.Others):
    """How many cores all other processes use."""

    def say(self) -> None:
        """Prints how many they have used since this was made: how far to trust the figures."""
        print(f"All other processes used {self.cores()} cores meanwhile.", flush=True)


def describe() -> str:
    """One line on the machine."""
    load = os.getloadavg()[0]
    return (
        f"{machine.cores()} cores, Python {platform.python_version()}, trio {trio.__version__}, "
        f"wasmtime {version('wasmtime')}, load average {load:.1f}"
    )
