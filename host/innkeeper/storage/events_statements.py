"""The statements of `EventStore`, built once: building one takes as long as running it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, bindparam, delete, exists, insert, select, update

from innkeeper.storage.schema import events, events_waiting, subscriptions

# Parameters of conditions are named `its_...`, since a column's own name means the value that it gets.
_ITS: Final = subscriptions.c.id == bindparam("its_id")
_OF_OWNER: Final = subscriptions.c.owner == bindparam("its_owner")
_OF_PLUGIN: Final = and_(_OF_OWNER, subscriptions.c.plugin == bindparam("its_plugin"))
_PAIR: Final = and_(
    _OF_PLUGIN,
    subscriptions.c.pattern == bindparam("its_pattern"),
    subscriptions.c.handler == bindparam("its_handler"),
)

# Writers of one owner take turns by its rows. SQLite has one writer at a time and leaves this out.
_MATCHED = [subscriptions.c[name] for name in ("id", "plugin", "pattern", "handler", "waiting", "bytes", "current")]
ALL_OF_OWNER: Final = select(*_MATCHED).where(_OF_OWNER).order_by(subscriptions.c.id).with_for_update()
OF_PLUGIN: Final = select(subscriptions).where(_OF_PLUGIN).order_by(subscriptions.c.id)
PAIR: Final = select(subscriptions).where(_PAIR).with_for_update()
ONE: Final = select(subscriptions).where(_ITS).with_for_update()
OWNERS: Final = select(subscriptions.c.owner).distinct().order_by(subscriptions.c.owner)
PAGE: Final = (
    select(subscriptions)
    .where(subscriptions.c.waiting > 0, subscriptions.c.id > bindparam("after"))
    .order_by(subscriptions.c.id)
    .limit(bindparam("most"))
)
SUBSCRIBE: Final = insert(subscriptions)
UNSUBSCRIBE: Final = delete(subscriptions).where(_ITS)

COUNT: Final = (
    update(subscriptions)
    .where(_ITS)
    .values(
        waiting=subscriptions.c.waiting + bindparam("more_events"),
        bytes=subscriptions.c.bytes + bindparam("more_bytes"),
        dropped=subscriptions.c.dropped + bindparam("more_dropped"),
    )
)
# One statement, however many subscribed.
COUNT_ALL: Final = (
    update(subscriptions)
    .where(
        subscriptions.c.id.in_(
            select(events_waiting.c.subscription).where(events_waiting.c.event == bindparam("its_event"))
        )
    )
    .values(waiting=subscriptions.c.waiting + 1, bytes=subscriptions.c.bytes + bindparam("size"))
)
EMPTY: Final = update(subscriptions).where(_ITS).values(waiting=0, bytes=0, current=None, holder=None)
HOLD: Final = (
    update(subscriptions)
    .where(_ITS)
    .values(current=bindparam("event"), holder=bindparam("me"), held=bindparam("until"))
)
LET_GO: Final = (
    update(subscriptions)
    .where(_ITS)
    .values(
        current=None,
        holder=None,
        held=0.0,
        due=bindparam("next_due"),
        dropped=subscriptions.c.dropped - bindparam("said"),
        failed=subscriptions.c.failed + bindparam("given_up"),
    )
)
RENEW: Final = update(subscriptions).where(subscriptions.c.holder == bindparam("me")).values(held=bindparam("until"))

ADD_EVENT: Final = insert(events)
ADD_WAITING: Final = insert(events_waiting)
_QUEUE: Final = events_waiting.c.subscription == bindparam("its_id")
FIRST: Final = (
    select(events, events_waiting.c.size, events_waiting.c.attempts)
    .join(events_waiting, events_waiting.c.event == events.c.id)
    .where(_QUEUE)
    .order_by(events_waiting.c.event)
    .limit(1)
)
OLDEST: Final = (
    select(events_waiting.c.event, events_waiting.c.size)
    .where(_QUEUE, events_waiting.c.event != bindparam("but"))
    .order_by(events_waiting.c.event)
    .limit(bindparam("most"))
)
ATTEMPT: Final = (
    update(events_waiting)
    .where(_QUEUE, events_waiting.c.event == bindparam("its_event"))
    .values(attempts=events_waiting.c.attempts + bindparam("more"))
)
SIZE: Final = select(events_waiting.c.size).where(_QUEUE, events_waiting.c.event == bindparam("its_event"))
TAKE: Final = delete(events_waiting).where(_QUEUE, events_waiting.c.event == bindparam("its_event"))
CLEAR: Final = delete(events_waiting).where(_QUEUE)
_NOBODY: Final = ~exists().where(events_waiting.c.event == events.c.id)
FORGET: Final = delete(events).where(events.c.id == bindparam("its_event"), _NOBODY)

OLD: Final = (
    select(events_waiting.c.subscription, events_waiting.c.event, events_waiting.c.size)
    .join(events, events_waiting.c.event == events.c.id)
    .where(events.c.at < bindparam("before"))
    .order_by(events.c.at, events_waiting.c.event)
    .limit(bindparam("most"))
)
OLD_AND_NOBODYS: Final = (
    select(events.c.id).where(events.c.at < bindparam("before"), _NOBODY).order_by(events.c.at).limit(bindparam("most"))
)
PLUGINS: Final = select(subscriptions.c.plugin).distinct()
SEEN: Final = (
    update(subscriptions).where(subscriptions.c.plugin == bindparam("its_plugin")).values(seen=bindparam("now"))
)
UNSEEN: Final = (
    select(subscriptions.c.id, subscriptions.c.waiting)
    .where(subscriptions.c.seen < bindparam("before"))
    .order_by(subscriptions.c.seen)
    .limit(1)
)
