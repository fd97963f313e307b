"""Runs a part: `python -m tests.load streams [options]`."""

from __future__ import annotations

import sys
from importlib import import_module

PARTS = ("streams",)


def main() -> int:
    """0: nothing was lost; 1: something was; 2: no such part."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part not in PARTS:
        print(f"python -m tests.load {' | '.join(PARTS)} [options]", file=sys.stderr)
        return 2
    return int(import_module(f"{__package__}.{part}").main(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
