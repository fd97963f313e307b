"""`python -m fuzz [SECONDS] [TARGET ...]`: every `fuzz_*.py` of this folder, or those that are named, so long each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def targets() -> dict[str, Callable[[float], None]]:
    """The `main` of each target, by the target's name without "fuzz_"."""
    names = sorted(path.stem for path in FOLDER.glob("fuzz_*.py"))
    return {name.removeprefix("fuzz_"): import_module(f"fuzz.{name}").main for name in names}


def main(arguments: Sequence[str]) -> int:
    """Runs the targets one after the other. What one finds ends it with a traceback, and the rest still run.

    Returns:
        How many targets found something.
    """
    known = targets()
    parser = argparse.ArgumentParser("python -m fuzz", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=10.0, help="for each target; 10 by default")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of: {', '.join(known)}; all by default")
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(known)
    if unknown:
        parser.error(f"there is no target {min(unknown)!r}; there are: {', '.join(known)}")
    if not options.seconds > 0:
        parser.error("the seconds must be more than 0")
    failed = []
    for name in options.targets or known:
        try:
            known[name](options.seconds)
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
            failed.append(name)
    if failed:
        print(f"found something: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
