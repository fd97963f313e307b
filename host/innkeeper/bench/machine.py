"""What the figures were measured on: the machine, without its name, and the versions."""

from __future__ import annotations

import os
import platform
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("innkeeper", "wasmtime", "trio", "extism", "extism-sys")


def cores() -> int:
    """Cores that this process may use (int)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident() -> int:
    """Bytes that this process has in memory (int); where the system does not say, the most that it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class CoreWait:
    """How long the thread that makes it was ready to run and had no core."""

    def __init__(self) -> None:
        self._path = f"/proc/self/task/{threading.get_native_id()}/schedstat"

    def seconds(self) -> float:
        """Seconds (float) since the thread began; 0 where the system does not say."""
        try:
            with open(self._path, "rb", buffering=0) as file:
                return int(file.read(64).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0


def describe() -> dict[str, Any]:
    """Cores, processor, system and load average."""
    return {
        "cores": cores(),
        "cpu": _processor(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that are measured; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class Others:
    """How many cores everything but this process and its ended children has used since it was made."""

    def __init__(self) -> None:
        self._begun = self._read()

    def cores(self) -> float | None:
        """On average (float); None where the system does not say."""
        now = self._read()
        if now is None or self._begun is None:
            return None
        elapsed, busy, own = (after - before for after, before in zip(now, self._begun, strict=True))
        return round(max(0.0, busy - own) / max(elapsed, 1e-9), 2)

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        try:
            fields = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:]
            ticks = os.sysconf("SC_CLK_TCK")
            # User, nice, system, interrupts, and what a hypervisor took away; idle and waiting for disks are not work.
            busy = sum(int(fields[at]) for at in (0, 1, 2, 5, 6, 7)) / ticks
        except (OSError, ValueError, IndexError):
            return None
        own = os.times()
        return time.monotonic(), busy, own.user + own.system + own.children_user + own.children_system
