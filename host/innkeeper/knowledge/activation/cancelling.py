"""Lets work in a thread end where whoever waits for it was cancelled."""

from __future__ import annotations

import contextlib

import trio


def end_if_cancelled() -> None:
    """Raises trio.Cancelled in a thread of trio's whose task was cancelled; elsewhere nothing happens."""
    with contextlib.suppress(RuntimeError):
        trio.from_thread.check_cancelled()
