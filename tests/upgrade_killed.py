"""Opens a database, which upgrades it, in processes that die in the midst: the program of `test_upgrade_killed.py`.

Reads lines of JSON, {place, call, seconds}, where a place is a file or the URL of a server: a child of its own opens
the database and is ended with signal 9 at its call with this number (0: they are counted alone), counting every call
that Python makes, or after this many seconds. Answers with a line {killed, calls, seconds}.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from alembic import command  # noqa: F401 (the children find it imported)

from innkeeper.storage import database, postgres


def child(place: str, call: int | None, told: int) -> None:
    """Opens the database; says how many calls that took."""
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)

    if call is not None:
        sys.setprofile(count)
    if place.startswith("postgresql:"):
        postgres.prepare(place, "it", "yes")
    else:
        database._prepare_file(Path(place), copied=True)
    sys.setprofile(None)
    os.write(told, str(calls).encode())


def attempt(place: str, call: int | None, seconds: float | None) -> dict[str, Any]:
    """One child, from its beginning to its end."""
    reading, writing = os.pipe()
    began = time.monotonic()
    process = os.fork()
    if not process:
        status = 1
        try:
            child(place, call, writing)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    if seconds is not None and not select.select([reading], [], [], seconds)[0]:
        os.kill(process, signal.SIGKILL)
    said = os.read(reading, 100)
    os.close(reading)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or status == 0, status
    return {"killed": os.WIFSIGNALED(status), "calls": int(said or 0), "seconds": time.monotonic() - began}


def main() -> None:
    logging.getLogger("innkeeper").setLevel(logging.ERROR)
    for line in sys.stdin:
        wanted = json.loads(line)
        found = attempt(wanted["place"], wanted["call"], wanted["seconds"])
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
