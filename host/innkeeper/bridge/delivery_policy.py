"""When and as what an event reaches a handler: numbers and the form of the message."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgpack

from innkeeper.bridge.codec import encode
from innkeeper.plugins.capabilities import Capability, parse_capability
from innkeeper.plugins.plugin import Plugin
from innkeeper.storage.events_model import Delivery, Outcome, Subscription

PAUSES: Final = (1.0, 5.0, 30.0, 120.0)
"""Seconds before a further attempt, after each one that failed: a slip is over soon, a restart of something takes its
time, and an event that never works holds up those behind it for less than three minutes."""

PER_PLUGIN: Final = 4
"""Handlers of one plugin and owner that run at the same time: endless ones hold nobody else's place."""

IN_ALL: Final = 256
"""Handlers that run at the same time: so many plugins' worth that it takes 64 of them to fill it."""

NOT_NOW: Final = 5.0
"""Seconds before something is tried again that was not the handler's fault."""

LEASE: Final = 15.0
"""Seconds after which another host may deliver what a host was delivering when it died."""

Obstacle = Literal["gone", "denied", "no handler"]
"""Why nothing is delivered to a subscription."""


@lru_cache(maxsize=4096)
def _needed(pattern: str) -> Capability:
    return parse_capability(f"events.subscribe:{pattern}")


def obstacle(plugin: Plugin | None, subscription: Subscription) -> Obstacle | None:
    """What keeps a plugin, as it is now, from getting events of a subscription; None where nothing does."""
    if plugin is None or plugin.gone is not None:
        return "gone"
    if not plugin.rights.covers(_needed(subscription.pattern)):
        return "denied"
    return None if plugin.can_call(subscription.handler) else "no handler"


def explained(why: Obstacle, subscription: Subscription) -> str:
    """The obstacle as a sentence (str)."""
    if why == "gone":
        return "the plugin is not there; what waits for it is kept for some days"
    if why == "denied":
        return (
            f"events.subscribe:{subscription.pattern} is not granted as a whole any more; "
            "grant it, or nothing of this subscription is delivered"
        )
    return "the plugin exports no such function to be called any more"


def message(plugin: Plugin, delivery: Delivery) -> bytes:
    """What a handler is given: JSON where the plugin's manifest says so, else msgpack.

    Raises:
        UsageError: the data cannot be said in JSON.
    """
    value: dict[str, Any] = {
        "id": delivery.event,
        "topic": delivery.topic,
        "data": msgpack.unpackb(delivery.data),
        "at": delivery.at,
        "from": delivery.publisher,
        "dropped": delivery.dropped,
        "attempt": delivery.attempt,
    }
    codec = None if plugin.manifest is None else plugin.manifest.codec
    return encode(value, "json" if codec == "json" else "msgpack")


def after_failure(attempt: int, pauses: Sequence[float]) -> tuple[Outcome, float]:
    """What becomes of an event whose handler failed, and the seconds until the next attempt.

    Args:
        attempt: how often it was tried.
        pauses: seconds after each failure.
    """
    return ("given up", 0.0) if attempt > len(pauses) else ("failed", pauses[attempt - 1])
