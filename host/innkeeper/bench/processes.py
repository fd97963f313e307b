"""Starts further Python processes of a row, each of which imports first and then times one thing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from innkeeper.errors import InternalError

LONGEST = 120.0
"""Seconds that such a process may take; compiling everything once is the longest."""


def _command(module: str, arguments: Sequence[str]) -> list[str]:
    # -P: what lies in the working directory is not imported.
    return [sys.executable, "-P", "-m", f"innkeeper.bench.{module}", *arguments]


def run(module: str, *arguments: str) -> Any:
    """What a process of this package's `module` writes to standard output, as JSON.

    Raises:
        InternalError: it failed, with the last line that it wrote to standard error.
    """
    return finish(start(module, *arguments))


def start(module: str, *arguments: str, group: bool = False) -> subprocess.Popen[bytes]:
    """Starts such a process; `finish` ends it.

    Args:
        module: of this package.
        arguments: of the process.
        group: whether it leads a group of its own, which Ctrl-C in a terminal does not reach.
    """
    return subprocess.Popen(  # noqa: S603 - this interpreter, and words of this package
        _command(module, arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=group,
    )


def finish(process: subprocess.Popen[bytes], longest: float = LONGEST) -> Any:
    """Waits for a process, and gives what it wrote, as `run`. However the waiting ends, the process has ended then,
    and with the leader of a group the group."""
    try:
        output, errors = process.communicate(timeout=longest)
    except subprocess.TimeoutExpired:
        raise InternalError(f"a measuring process took more than {longest:g} s") from None
    finally:
        if process.poll() is None:
            _kill(process)
    if process.returncode != 0:
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise InternalError(f"a measuring process failed ({process.returncode}): {last[:500]}")
    return json.loads(output)


def _kill(process: subprocess.Popen[bytes]) -> None:
    # It was not waited for, so its number is still its own.
    if os.getpgid(process.pid) == process.pid:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
