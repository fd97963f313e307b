"""The process that one target runs in. What it is doing lies in a file that outlives it.

    python -m fuzz.child MODULE CURRENT --seed N (--seconds N [--guided] | --cases N)
    python -m fuzz.child MODULE CURRENT --replay FILE

It ends with 0, or with 70 and a traceback if an input broke a promise. Its last line on standard output is JSON: what
became of the inputs and how often, the most frequent first. The search that coverage leads has no such line.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import mmap
import os
import random
import resource
import struct
import sys
import time
from collections import Counter
from pathlib import Path

import trio
from fuzz.target import MIB, Target, kind

ROOM = 4 * MIB
"""Bytes of the file with the current input; one that is longer is cut in it."""

FOUND = 70
_HEADER = struct.Struct("<QQ")
_MOST_OUTCOMES = 5000
_POOL = 400
"""Inputs that did something new which are kept, to make further ones from."""
_FILE_SIZE = 64 * MIB


class Current:
    """The input that is being tried, in a file that is mapped: it survives this process, and costs no system call."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _HEADER.size + ROOM)
        self._count = 0

    def begin(self, data: bytes) -> None:
        """Notes the input that comes next."""
        kept = data[:ROOM]
        self._map[_HEADER.size : _HEADER.size + len(kept)] = kept
        self._count += 1
        _HEADER.pack_into(self._map, 0, self._count, len(kept))


def read_current(path: Path) -> tuple[int, bytes]:
    """How many inputs were begun (int), and the last of them."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        count, length = _HEADER.unpack(header) if len(header) == _HEADER.size else (0, 0)
        return count, file.read(min(length, ROOM))


def confine(target: Target, seconds: float | None) -> None:
    """Bounds what this process may take, so that a defect harms nobody else."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_SIZE, _FILE_SIZE))
    if target.address_space is not None:
        resource.setrlimit(resource.RLIMIT_AS, (target.address_space, target.address_space))
    if seconds is not None:
        # Several threads may use as many cores; the watchdog of the parent is the finer one.
        cpu = int(seconds * (os.cpu_count() or 1) + target.hang + 60)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))


async def fuzz(target: Target, current: Current, seed: int, seconds: float | None, cases: int | None) -> Counter[str]:
    """Tries inputs until the time or the number is used up, and counts what became of them."""
    outcomes: Counter[str] = Counter()
    rng = random.Random(seed)
    async with target:
        pool = list(target.seeds())
        first = len(pool)
        end = None if seconds is None else time.monotonic() + seconds
        done = 0
        while (cases is None or done < cases) and (end is None or time.monotonic() < end):
            # Each seed as it is, then what is made of them.
            data = pool[done] if done < first else target.generate(rng, pool)
            current.begin(data)
            outcome = await target.check(data)
            done += 1
            if outcome not in outcomes and len(outcomes) < _MOST_OUTCOMES and done > first:
                if len(pool) < first + _POOL:
                    pool.append(data)
                else:
                    pool[rng.randrange(first, len(pool))] = data
            if outcome in outcomes or len(outcomes) < _MOST_OUTCOMES:
                outcomes[outcome] += 1
            if not done & 63:
                await trio.lowlevel.checkpoint()
    return outcomes


async def replay(target: Target, current: Current, data: bytes) -> Counter[str]:
    """Tries one input."""
    async with target:
        current.begin(data)
        return Counter([await target.check(data)])


def main() -> None:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser("python -m fuzz.child")
    parser.add_argument("module")
    parser.add_argument("current", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--guided", action="store_true")
    options = parser.parse_args()
    faulthandler.enable()
    if options.guided:
        # Loads the target by itself, so that what it imports is watched.
        from fuzz import guided

        guided.run(options.module, Current(options.current), options.seed, options.seconds)
        return
    target = kind(options.module)()
    current = Current(options.current)
    confine(target, options.seconds)
    if options.replay:
        outcomes = trio.run(replay, target, current, options.replay.read_bytes())
    else:
        outcomes = trio.run(fuzz, target, current, options.seed, options.seconds, options.cases)
    print(json.dumps(outcomes.most_common()))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        # Not by way of the interpreter's end: what a defect left behind must not hide it behind a crash.
        sys.stderr.flush()
        os._exit(FOUND)
