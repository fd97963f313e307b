"""What is said of events and subscriptions by whoever keeps them and whoever asks: light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MOST_DATA: Final = 64 * 1024
"""Bytes of an event's data in msgpack."""

MOST_TOPIC: Final = 200
"""Characters of a topic or of a pattern, as of a capability."""

MOST_HANDLER: Final = 128
"""Characters of a handler's name."""

PAGE_SIZE: Final = 256
"""Subscriptions that one read gives."""

OVERHEAD: Final = 128
"""Bytes that an event counts beside its topic and data, so that empty ones cost something."""


@dataclass(frozen=True, slots=True)
class EventBounds:
    """What may be kept.

    Attributes:
        plugin: subscriptions of one plugin and owner.
        owner: subscriptions of one owner: what one event is written to at most.
        events: that wait for one subscription.
        bytes: of the events that wait for one subscription, `OVERHEAD` for each included.
    """

    plugin: int = 16
    owner: int = 256
    events: int = 1000
    bytes: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which function of a plugin gets which events.

    Attributes:
        id: never given twice.
        owner: whose events.
        plugin: its id.
        pattern: of topics, in normal form.
        handler: the function.
        waiting: events that are to be delivered, the one that is being delivered included.
        dropped: events that went undelivered since a delivery last said how many.
        failed: events that were given up, since the handler failed too often.
        due: nothing is delivered before, in seconds since 1970.
    """

    id: int
    owner: str
    plugin: str
    pattern: str
    handler: str
    waiting: int
    dropped: int
    failed: int
    due: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to a handler.

    Attributes:
        subscription: id of the subscription.
        event: id of the event; grows from event to event.
        topic: its topic.
        data: in msgpack.
        at: when it was published, in seconds since 1970.
        publisher: id of the plugin that published it, None for the host.
        hops: deliveries that it came out of, one handler publishing what the next one got.
        attempt: how often it was begun, this time included.
        dropped: events of this subscription that went undelivered and of which no delivery said so.
    """

    subscription: int
    event: int
    topic: str
    data: bytes
    at: float
    publisher: str | None
    hops: int
    attempt: int
    dropped: int


Outcome = Literal["taken", "failed", "given up", "put back"]
"""How a delivery ended: "taken": the handler returned; "failed": it is tried again; "given up": it is not;
"put back": it did not come to be judged, and counts as no attempt."""

Nothing = Literal["empty", "held"]
"""Why there is nothing to deliver: nothing waits, or another host delivers."""


class TooManyError(Exception):
    """There may be no further subscription.

    Attributes:
        whose: "plugin" or "owner".
        value: how many there may be (int).
    """

    def __init__(self, whose: str, value: int) -> None:
        super().__init__(f"the {whose} has {value} subscriptions, which is the most: end one, or take a wider pattern")
        self.whose = whose
        self.value = value
