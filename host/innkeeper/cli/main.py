"""Where the `innkeeper` command begins. Nothing is imported before Ctrl-C is looked after."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process with its exit code.

    Args:
        arguments: without the program's name; by default those of the process.
    """
    try:
        from innkeeper.cli.group import invoke

        code = invoke(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        # While modules were imported, or a second one while the first was reported.
        code = 6
        if sys.stderr is not None:
            sys.stderr.write("innkeeper: cancelled\n")
    sys.exit(code)
