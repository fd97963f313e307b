"""The rows that `EventStore` counts, drops and hands out, inside of a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from innkeeper.storage.events_model import OVERHEAD, Delivery, EventBounds, Nothing, Outcome
from innkeeper.storage.events_statements import (
    ADD_EVENT,
    ADD_WAITING,
    ATTEMPT,
    CLEAR,
    COUNT,
    COUNT_ALL,
    EMPTY,
    FIRST,
    FORGET,
    HOLD,
    LET_GO,
    OLDEST,
    ONE,
    SIZE,
    TAKE,
    UNSUBSCRIBE,
)

_NO_EVENT = -1


def count(subscription: int, events: int, size: int, dropped: int = 0) -> dict[str, int]:
    """Parameters of `COUNT`: events and bytes that came or, below 0, went; and how many of them undelivered."""
    return {"its_id": subscription, "more_events": events, "more_bytes": size, "more_dropped": dropped}


def forget(connection: Connection, events: Iterable[int]) -> None:
    """Deletes those events for which nobody waits any more."""
    gone = [{"its_event": event} for event in sorted(set(events))]
    if gone:
        connection.execute(FORGET, gone)


def add_event(
    connection: Connection,
    subscribers: Sequence[Row[Any]],
    values: dict[str, object],
    bounds: EventBounds,
) -> int:
    """Keeps an event for subscribers, of whose queues the oldest go where it does not fit; gives its id (int)."""
    made = connection.execute(ADD_EVENT, values).inserted_primary_key
    assert made is not None
    event = int(made[0])
    data, topic = values["data"], values["topic"]
    assert isinstance(data, bytes)
    assert isinstance(topic, str)
    size = len(data) + len(topic) + OVERHEAD
    dropped: list[tuple[int, int]] = []
    counts = []
    for row in subscribers:
        went = _oldest(connection, row, row.waiting + 1 - bounds.events, row.bytes + size - bounds.bytes)
        if went:
            dropped += [(row.id, each) for each, _ in went]
            counts.append(count(row.id, -len(went), -sum(each for _, each in went), len(went)))
    if dropped:
        connection.execute(COUNT, counts)
        connection.execute(TAKE, [{"its_id": row, "its_event": each} for row, each in dropped])
        forget(connection, (each for _, each in dropped))
    waiting = {"event": event, "size": size, "attempts": 0}
    connection.execute(ADD_WAITING, [{"subscription": row.id, **waiting} for row in subscribers])
    connection.execute(COUNT_ALL, {"its_event": event, "size": size})
    return event


def _oldest(connection: Connection, row: Row[Any], events: int, size: int) -> list[tuple[int, int]]:
    """The oldest of a queue, with their sizes, so many of them that they are `events` and `size` bytes at least. The
    one that is being delivered stays."""
    if events <= 0 and size <= 0:
        return []
    found: list[tuple[int, int]] = []
    but = _NO_EVENT if row.current is None else row.current
    for event, its_size in connection.execute(OLDEST, {"its_id": row.id, "but": but, "most": row.waiting}):
        if len(found) >= events and size <= 0:
            break
        found.append((event, its_size))
        size -= its_size
    return found


def begin(connection: Connection, subscription: int, holder: str, now: float, lease: float) -> Delivery | Nothing:
    """The first event of a queue, handed out to `holder` for `lease` seconds, or why there is none. That it is tried
    is counted before it is: what ends the host counts too."""
    row = connection.execute(ONE, {"its_id": subscription}).first()
    if row is None:
        return "empty"
    # A time that is too far ahead is of a clock that went wrong.
    if row.holder not in (None, holder) and now < row.held <= now + lease:
        return "held"
    first = connection.execute(FIRST, {"its_id": subscription}).first()
    if first is None:
        # By now nothing may be counted either, or this subscription would be looked at for ever.
        connection.execute(EMPTY, {"its_id": subscription})
        return "empty"
    connection.execute(ATTEMPT, {"its_id": subscription, "its_event": first.id, "more": 1})
    connection.execute(HOLD, {"its_id": subscription, "event": first.id, "me": holder, "until": now + lease})
    return Delivery(
        subscription=subscription,
        event=first.id,
        topic=first.topic,
        data=bytes(first.data),
        at=first.at,
        publisher=first.publisher,
        hops=first.hops,
        attempt=first.attempts + 1,
        dropped=row.dropped,
    )


def end(connection: Connection, delivery: Delivery, holder: str, outcome: Outcome, due: float) -> bool:
    """Writes down how a delivery ended; False where it is not the holder's any more, and nothing is written."""
    row = connection.execute(ONE, {"its_id": delivery.subscription}).first()
    if row is None or row.holder != holder or row.current != delivery.event:
        return False
    place = {"its_id": delivery.subscription, "its_event": delivery.event}
    if outcome == "put back":
        connection.execute(ATTEMPT, {**place, "more": -1})
    elif outcome != "failed":
        size = connection.execute(SIZE, place).scalar()
        # A sweep may have been quicker: then it has counted it.
        if size is not None:
            connection.execute(TAKE, place)
            connection.execute(COUNT, count(delivery.subscription, -1, -size))
            forget(connection, [delivery.event])
    connection.execute(
        LET_GO,
        {
            "its_id": delivery.subscription,
            "next_due": due,
            "said": delivery.dropped if outcome == "taken" else 0,
            "given_up": int(outcome == "given up"),
        },
    )
    return True


def unsubscribe(connection: Connection, subscription: int, waiting: int) -> None:
    """Ends a subscription, with what waits for it."""
    queue = {"its_id": subscription, "but": _NO_EVENT, "most": max(waiting, 1)}
    events = [event for event, _ in connection.execute(OLDEST, queue)]
    connection.execute(CLEAR, {"its_id": subscription})
    forget(connection, events)
    connection.execute(UNSUBSCRIBE, {"its_id": subscription})
