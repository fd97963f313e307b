"""How long `innkeeper call` takes from shell to shell, beside the interpreter and its heaviest imports alone."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from . import guests
from .machine import Others
from .table import show

PROMISE = 0.4
"""Seconds that `innkeeper call` of a small plugin may take."""
ROUNDS = 9
INPUT = "16 bytes of text"
"""A multiple of 8 bytes, as the guest wants it."""

CALL = "innkeeper call"
PYTHON = "python -c pass"
IMPORTS = 'python -c "import wasmtime, trio"'


def commands(folder: Path) -> dict[str, list[str]]:
    """What to time, by name. Puts the plugin into `folder`."""
    plugin = folder / "echo.wasm"
    plugin.write_bytes(guests.echo())
    innkeeper = str(Path(sysconfig.get_path("scripts"), "innkeeper"))
    return {
        CALL: [innkeeper, "call", str(plugin), "echo", "--input", INPUT],
        IMPORTS: [sys.executable, "-c", "import wasmtime, trio"],
        PYTHON: [sys.executable, "-c", "pass"],
    }


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds from the start of each command to its end, one a round, the commands taking turns.

    Raises:
        RuntimeError: a command failed, or wrote something else than it should.
    """
    with tempfile.TemporaryDirectory() as name:
        # Neither plugins nor a configuration nor a cache of whoever measures.
        settings = os.environ | {"INNKEEPER_HOME": name, "INNKEEPER_CACHE": str(Path(name, "cache"))}
        timed = commands(Path(name))
        found: dict[str, list[float]] = {}
        # The round before the first fills the caches: the system's of files, Python's and ours of compiled modules.
        for counted in [False] + [True] * rounds:
            for what, command in timed.items():
                begun = time.perf_counter()
                ended = subprocess.run(command, env=settings, cwd=name, capture_output=True, check=False)
                seconds = time.perf_counter() - begun
                wanted = (0, INPUT.encode() if what == CALL else b"")
                if (ended.returncode, ended.stdout) != wanted:
                    raise RuntimeError(f"{what}: exit code {ended.returncode}, {ended.stdout!r}, {ended.stderr!r}")
                if counted:
                    found.setdefault(what, []).append(seconds)
    return found


def main(rounds: int = ROUNDS) -> bool:
    """Prints the table. Returns whether the promise was met."""
    others = Others()
    found = measure(rounds)
    alone = statistics.median(found[PYTHON])
    met = statistics.median(found[CALL]) < PROMISE
    show(
        f"Milliseconds from shell to shell, median of {rounds} runs "
        f"(promise: {CALL} under {PROMISE * 1e3:g} ms; {'met' if met else 'MISSED'})",
        ["command", "median", "best", "worst", "ratio to the interpreter alone"],
        [
            [
                what,
                *(f"{value * 1e3:.0f}" for value in (statistics.median(times), min(times), max(times))),
                f"{statistics.median(times) / alone:.1f}",
            ]
            for what, times in found.items()
        ],
    )
    others.say()
    return met
