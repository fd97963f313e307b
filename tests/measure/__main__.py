"""Prints what is measured: `python -m tests.measure [lag | waiting | fresh | cli | services | journal ...]`, or `soak`
with options."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

from .machine import describe

PARTS = ("lag", "waiting", "fresh", "cli", "services", "tokens", "journal")


def main() -> int:
    """Runs each part in a process of its own, since each one's memory would be the next one's noise.

    A promise that is missed is printed, and no failure of the command: on a busy machine even an idle timer is late.
    """
    if sys.argv[1:2] == ["soak"]:
        # Minutes long, with options of its own, and it fails: what stays of a call does not depend on the machine.
        print(f"\n## soak: {describe()}", flush=True)
        return 0 if import_module(f"{__package__}.soak").main(sys.argv[2:]) else 1
    wanted = sys.argv[1:] or list(PARTS)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        print(f"no such part: {', '.join(unknown)}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if len(wanted) == 1:
        print(f"\n## {wanted[0]}: {describe()}", flush=True)
        import_module(f"{__package__}.{wanted[0]}").main()
        return 0
    ended = [subprocess.run([sys.executable, "-m", __package__, part], check=False).returncode for part in wanted]
    return int(any(ended))


if __name__ == "__main__":
    sys.exit(main())
