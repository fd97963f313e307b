"""Delivers events to handlers.

Guarantees: of one subscription one event at a time, in the order in which they were published; an event stays in its
queue until its handler returned, the host closing or dying meanwhile included; a handler runs as a call of its plugin
like any other, under the limits and rights that the plugin has then, and works on the data of whose subscription it is;
and no handler holds up another plugin's.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import trio

from innkeeper.bridge.bell import Bell
from innkeeper.bridge.delivery_policy import (
    IN_ALL,
    LEASE,
    NOT_NOW,
    PER_PLUGIN,
    after_failure,
    explained,
    message,
    obstacle,
)
from innkeeper.errors import BusyError, DeniedError, InnkeeperError, RejectedError, UsageError
from innkeeper.plugins.owner import acting_for
from innkeeper.plugins.tables import visible
from innkeeper.storage.events_model import PAGE_SIZE, Delivery, Outcome, Subscription

if TYPE_CHECKING:
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.plugin import Plugin
    from innkeeper.storage.events import EventStore

logger = logging.getLogger("innkeeper.bridge")

POLL: Final = 1.0
"""Seconds after which what another process published is found, and what an operator granted or took away."""

SWEEP: Final = 3600.0
"""Seconds between sweeps."""

_STEP: Final = 0.05
"""Seconds between the steps of a sweep, in which others write."""

_MOST_SAID = 10_000

_hops: ContextVar[int] = ContextVar("innkeeper_event_hops", default=-1)


def hops_of_the_next() -> int:
    """The hops (int) of an event that the present task publishes: 0 outside of a handler."""
    return _hops.get() + 1


class Deliveries:
    """All deliveries of a host. Made by the service."""

    def __init__(
        self,
        store: EventStore,
        host: Callable[[], Host],
        bell: Bell,
        *,
        now: Callable[[], float],
        pauses: Sequence[float],
        days: float,
        before: Callable[[], Awaitable[None]],
    ) -> None:
        """Args:
        store: where events wait.
        host: whose plugins get them.
        bell: rung when there may be something to deliver.
        now: seconds since 1970.
        pauses: seconds before each further attempt.
        days: for which what nobody takes is kept.
        before: called before each look at the queues, to put into them what else there is.
        """
        self._store = store
        self._host = host
        self._bell = bell
        self._now = now
        self._pauses = pauses
        self._days = days
        self._before = before
        self._me = secrets.token_hex(16)
        self._busy: set[int] = set()
        self._not_before: dict[int, float] = {}
        self._said: dict[int, str] = {}
        self._all = trio.CapacityLimiter(IN_ALL)
        self._limiters: dict[tuple[str, str], trio.CapacityLimiter] = {}

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._repeat, "renewing what is delivered", LEASE / 3, self._renew)
            nursery.start_soon(self._repeat, "sweeping events", SWEEP, self._sweep)
            failing = False
            while True:
                try:
                    await self._before()
                    pause = await self._look(nursery)
                    failing = False
                except Exception as error:
                    # A store that is busy, or a full disk, is no reason to stop for ever.
                    if not failing:
                        _report("events wait, since the store fails", error)
                    failing, pause = True, NOT_NOW
                    await trio.sleep(pause)
                await self._bell.wait(pause)

    async def _repeat(self, what: str, every: float, step: Callable[[], Awaitable[None]]) -> None:
        failing = False
        while True:
            try:
                await step()
                failing = False
            except Exception as error:
                if not failing:
                    _report(f"{what} failed and is tried again", error)
                failing = True
            await trio.sleep(every)

    async def _renew(self) -> None:
        if self._busy:
            await self._store.renew(self._me, LEASE)

    async def _sweep(self) -> None:
        # First who is there: a host that was down for long ends nobody's subscription.
        await self._store.saw(frozenset(self._host().plugins))
        while await self._store.sweep(self._days):  # noqa: ASYNC110 (nobody says when there is more)
            await trio.sleep(_STEP)

    async def _look(self, nursery: trio.Nursery) -> float:
        """Starts what can be delivered; gives the seconds after which there may be more."""
        pause, after, page_size = POLL, 0, PAGE_SIZE
        while page_size == PAGE_SIZE:
            page = await self._store.pending(after)
            page_size = len(page)
            for subscription in page:
                # Rights are searched for each: not all of them in one go.
                await trio.lowlevel.checkpoint()
                after = subscription.id
                if after in self._busy:
                    continue
                wait = self._wait(subscription)
                if wait > 0:
                    pause = min(pause, wait)
                elif self._free(subscription):
                    self._busy.add(after)
                    nursery.start_soon(self._drain, subscription)
        return pause

    def _wait(self, subscription: Subscription) -> float:
        here = self._not_before.get(subscription.id, 0.0) - trio.current_time()
        due = subscription.due - self._now()
        # A time that is further ahead than any pause is of a clock that went wrong.
        return max(here, due if due <= max((NOT_NOW, *self._pauses)) else 0.0)

    def _free(self, subscription: Subscription) -> bool:
        why = obstacle(self._host().plugins.get(subscription.plugin), subscription)
        if why is not None:
            self._say(subscription, why, explained(why, subscription))
        return why is None

    async def _drain(self, subscription: Subscription) -> None:
        """Delivers what waits for a subscription, giving up its place after each event to who waits longer."""
        whose = (subscription.owner, subscription.plugin)
        limiter = self._limiters.setdefault(whose, trio.CapacityLimiter(PER_PLUGIN))
        try:
            more = True
            while more:
                async with limiter, self._all:
                    more = self._free(subscription) and await self._one(subscription)
        except InnkeeperError as error:
            self._later(subscription, NOT_NOW)
            self._say(subscription, "store", f"the store fails: {error}")
        except Exception as error:
            self._later(subscription, NOT_NOW)
            _report(f"delivering events to the plugin {subscription.plugin} failed and is tried again", error)
        finally:
            self._busy.discard(subscription.id)
            if not limiter.borrowed_tokens and not limiter.statistics().tasks_waiting:
                self._limiters.pop(whose, None)
            # Something may have come since the last look into its queue.
            self._bell.ring()

    async def _one(self, subscription: Subscription) -> bool:
        """Delivers one event; whether there may be another one to be delivered at once."""
        delivery = await self._store.begin(subscription.id, self._me, LEASE)
        if isinstance(delivery, str):
            if delivery == "held":
                self._later(subscription, POLL)
            return False
        outcome: Outcome = "put back"
        pause = 0.0
        try:
            outcome, pause = await self._call(subscription, delivery)
        finally:
            # A host that closes says so that the event was not taken; the bridge waits for it.
            with trio.CancelScope(shield=True):
                await self._store.end(delivery, self._me, outcome, pause=pause)
        return pause == 0.0

    async def _call(self, subscription: Subscription, delivery: Delivery) -> tuple[Outcome, float]:
        if delivery.attempt > len(self._pauses) + 1:
            # The host did not live to see the end of any of them.
            self._lost(subscription, delivery, "it was begun that often and never ended")
            return "given up", 0.0
        # Nothing is awaited between this and the call's beginning, so these rights are those that it takes.
        plugin = self._host().plugins.get(subscription.plugin)
        if plugin is None or obstacle(plugin, subscription) is not None:
            return "put back", POLL
        try:
            data = message(plugin, delivery)
        except UsageError as error:
            self._lost(subscription, delivery, error.message)
            return "given up", 0.0
        try:
            await self._handle(plugin, subscription, delivery, data)
        except Exception as error:
            if isinstance(error, InnkeeperError) and not _is_the_handlers(error):
                self._say(subscription, error.kind.value, str(error))
                return "put back", NOT_NOW
            if not isinstance(error, InnkeeperError):
                handler = visible(subscription.handler, 60)
                logger.exception("the handler %s of the plugin %s broke", handler, subscription.plugin)
            outcome, pause = after_failure(delivery.attempt, self._pauses)
            if outcome == "given up":
                self._lost(subscription, delivery, str(error))
            return outcome, pause
        self._said.pop(subscription.id, None)
        return "taken", 0.0

    async def _handle(self, plugin: Plugin, subscription: Subscription, delivery: Delivery, data: bytes) -> None:
        token = _hops.set(delivery.hops)
        try:
            with acting_for(subscription.owner):
                await plugin.call(subscription.handler, data)
        finally:
            _hops.reset(token)

    def _later(self, subscription: Subscription, seconds: float) -> None:
        if len(self._not_before) >= _MOST_SAID:
            self._not_before.clear()
        self._not_before[subscription.id] = trio.current_time() + seconds

    def _lost(self, subscription: Subscription, delivery: Delivery, why: str) -> None:
        logger.warning(
            "the event %d of %s was given up after %d attempts: the handler %s of the plugin %s: %s",
            delivery.event,
            delivery.topic,
            min(delivery.attempt, len(self._pauses) + 1),
            visible(subscription.handler, 60),
            subscription.plugin,
            visible(why, 300),
        )

    def _say(self, subscription: Subscription, key: str, text: str) -> None:
        # Once, until it works again.
        if self._said.get(subscription.id) == key:
            return
        if len(self._said) >= _MOST_SAID:
            self._said.clear()
        self._said[subscription.id] = key
        logger.warning(
            "events of %s for the handler %s of the plugin %s are not delivered: %s",
            subscription.pattern,
            visible(subscription.handler, 60),
            subscription.plugin,
            visible(text, 300),
        )


def _is_the_handlers(error: InnkeeperError) -> bool:
    # A call that has cost nothing did not begin: the plugin may be paused, and its events wait for its return. Limits
    # count in any case: an input that is too large for the plugin will be so again.
    if isinstance(error, BusyError | UsageError | RejectedError):
        return False
    return not (isinstance(error, DeniedError) and error.usage is None)


def _report(what: str, error: Exception) -> None:
    # What is no defect of ours needs no traceback.
    if isinstance(error, InnkeeperError):
        logger.warning("%s: %s", what, error)
    else:
        logger.error("%s", what, exc_info=error)
