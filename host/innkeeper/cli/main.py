"""Where the `innkeeper` command begins. Nothing is imported before Ctrl-C is looked after."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process with its exit code.

    Args:
        arguments: without the program's name; by default those of the process.
    """
    code = 6
    try:
        code = invoke(sys.argv[1:] if arguments is None else arguments)
        # What is done is done: a Ctrl-C while the interpreter ends must not say that it was cancelled.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        pass
    sys.exit(code)


def invoke(arguments: Sequence[str]) -> int:
    """Runs a command, says how it ended and returns the exit code. Raises nothing for what a user or a guest did."""
    try:
        from innkeeper.cli.group import run_command

        return run_command(arguments)
    except KeyboardInterrupt:
        # While modules were imported, or a second one while the first was reported.
        if sys.stderr is not None:
            sys.stderr.write("innkeeper: cancelled\n")
        return 6
