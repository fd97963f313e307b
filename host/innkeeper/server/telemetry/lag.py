"""How late trio's loop is: what a request waits for the others."""

from __future__ import annotations

from typing import Final

import trio

from innkeeper.server.telemetry.counts import Histogram

EVERY: Final = 0.25
"""Seconds between two looks: a stall of this length is always seen, and looking costs nothing that can be measured."""


async def watch_lag(lag: Histogram) -> None:
    """Adds how much later than asked for the loop came back, again and again, until it is cancelled."""
    while True:
        due = trio.current_time() + EVERY
        await trio.sleep_until(due)
        lag.add(max(0.0, trio.current_time() - due))
