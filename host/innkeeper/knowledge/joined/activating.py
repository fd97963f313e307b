"""Activation of a home's bases, by whichever profile: what it needs of other parts, and what it leaves behind."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import trio

from innkeeper.errors import BusyError
from innkeeper.knowledge.activation.interface import Line, Outcome, Request, Result
from innkeeper.knowledge.activation.native import activate
from innkeeper.knowledge.activation.questions import Plugins, Semantic
from innkeeper.knowledge.interchange.world_export import world_entry
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.intime import PluginsInTime, RegexesInTime, SemanticInTime
from innkeeper.knowledge.joined.items_index import Ready
from innkeeper.knowledge.joined.likeness import Meaning
from innkeeper.knowledge.joined.overlaid import SessionViews
from innkeeper.knowledge.joined.remembered import keep, recall
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.regexes.interface import RegexEngine
from innkeeper.knowledge.settling import settled
from innkeeper.knowledge.tokens.interface import TokenCounter
from innkeeper.knowledge.worldinfo.activate import PROFILE, activate_st115
from innkeeper.knowledge.worldinfo.books import Books
from innkeeper.knowledge.worldinfo.settings import Settings, Strategy
from innkeeper.storage.knowledge_model import Place

NATIVE: Final = "native"
PROFILES: Final = (NATIVE, PROFILE)

_TRIES: Final = 5
_BOOKS: Final = 4
"""Sets of bases whose world info is kept ready."""

RegexMaker = Callable[[], Awaitable[RegexEngine]]
"""Gives what tests regular expressions, at the first need."""


@dataclass(frozen=True, slots=True)
class _Kept:
    readies: tuple[Ready, ...]
    books: Books


class Activating:
    """Activates entries of bases."""

    def __init__(
        self, bases: Bases, regexes: RegexMaker | None, plugins: Plugins | None, counter: TokenCounter
    ) -> None:
        """Args:
        bases: where entries are.
        regexes: tests regular expressions; None: none of them is met.
        plugins: asks functions of plugins; None: conditions that ask one do not hold.
        counter: counts tokens.
        """
        self._bases = bases
        self._views = SessionViews(bases)
        self._regexes = _LazyRegexes(regexes) if regexes is not None else None
        self._plugins = plugins
        self._counter = counter
        self._books: OrderedDict[tuple[Place, ...], _Kept] = OrderedDict()
        self._working = trio.CapacityLimiter(2)

    async def activate(
        self,
        places: Sequence[Place],
        request: Request,
        *,
        profile: str = NATIVE,
        settings: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> Result:
        """Which entries of some bases a conversation calls for; what the session remembers is kept.

        Args:
            places: the bases, in the order in which they count where priorities are equal; with the request's session.
            request: what is asked.
            profile: one of `PROFILES`.
            settings: further settings of the profile; native: `semantic` (bool). st-1.15: `case_sensitive`,
                `whole_words`, `group_scoring` (bool).
            seconds: that regular expressions, plugins and models may take together: what is not answered then counts as
                not met, and notes say so. None: as long as each kind may.

        Raises:
            NoSuchError: there is no such base.
            ValueError: the profile or a setting is none.
        """
        chosen = _settings(profile, settings or {})
        until = None if seconds is None else trio.current_time() + seconds
        regexes: RegexEngine | None = self._regexes
        plugins = self._plugins
        if until is not None:
            regexes = None if regexes is None else RegexesInTime(regexes, until)
            plugins = None if plugins is None else PluginsInTime(plugins, until)
        for _ in range(_TRIES):
            readies = [await self._views.ready(place) for place in places]
            notes = [note for place in places for note in self._bases.library.notes(Place(place.owner, place.base))]
            memory = await recall(self._bases.library, places) if request.session else None
            if profile == PROFILE:
                books = await self._world(places, readies, chosen)
                effects = None if memory is None else memory.effects.copy()
                result = await activate_st115(books, request, counter=self._counter, regexes=regexes, effects=effects)
                if request.unmatched or request.explain:
                    given = [(place.base, ready.items) for place, ready in zip(places, readies, strict=True)]
                    result = await trio.to_thread.run_sync(
                        with_unmatched, result, request, given, limiter=self._working
                    )
                kept = (
                    memory is None
                    or request.dry_run
                    or await keep(self._bases.library, places, memory, effects=effects)
                )
            else:
                meaning = Meaning(self._bases, places) if chosen.get("semantic", True) else None
                semantic: Semantic | None = meaning
                if meaning is not None and until is not None:
                    semantic = SemanticInTime(meaning, until)
                activation = await activate(
                    [ready.compiled for ready in readies],
                    request,
                    counter=self._counter,
                    regexes=regexes,
                    semantic=semantic,
                    plugins=plugins,
                    remembered=None if memory is None else memory.native,
                    limiter=self._working,
                )
                result = activation.result
                if meaning is not None:
                    notes += meaning.notes
                kept = (
                    memory is None
                    or request.dry_run
                    or await keep(self._bases.library, places, memory, native=activation.remembered)
                )
            if kept:
                return replace(result, notes=[*notes, *result.notes]) if notes else result
        raise BusyError(
            f"the session {request.session!r} is being changed all the time: try again later", bound="session"
        )

    async def _world(self, places: Sequence[Place], readies: Sequence[Ready], chosen: Mapping[str, Any]) -> Books:
        # Sessions that say nothing of a base's entries have the base's own world.
        key = tuple(place if self._views.differs(place) else Place(place.owner, place.base) for place in places)
        kept = self._books.get(key)
        settings = Settings(strategy=Strategy.CHARACTER_FIRST, **chosen)
        same = kept is not None and all(one is other for one, other in zip(kept.readies, readies, strict=True))
        if kept is None or not same or kept.books.plan.settings != settings:
            given = [(place.base, ready.items) for place, ready in zip(places, readies, strict=True)]

            def make() -> Books:
                with settled(sum(len(items) for _, items in given)):
                    return Books(given, world_entry, settings)

            books = await trio.to_thread.run_sync(make, limiter=self._working)
            kept = self._books[key] = _Kept(tuple(readies), books)
            if len(self._books) > _BOOKS:
                self._books.popitem(last=False)
        self._books.move_to_end(key)
        return kept.books


def with_unmatched(result: Result, request: Request, given: Sequence[tuple[str, Sequence[Item]]]) -> Result:
    """A result of st-1.15 whose trace also tells of entries that nothing called for: those that `explain` names, and
    `unmatched` of the others."""
    told = {(line.base, line.entry) for line in result.trace}
    lines = list(result.trace)
    named, room = set(request.explain), request.unmatched
    for base, items in given:
        for item in items:
            entry = item.entry
            if (base, entry.id) not in told and (entry.id in named or room > 0):
                room -= entry.id not in named
                lines.append(Line(base, entry.id, entry.name, Outcome.NO_MATCH, "none of its keys was met"))
    return replace(result, trace=lines)


_NATIVE_SETTINGS: Final = ("semantic",)
_WORLD_SETTINGS: Final = ("case_sensitive", "whole_words", "group_scoring")


def _settings(profile: str, given: Mapping[str, Any]) -> dict[str, bool]:
    if profile not in PROFILES:
        raise ValueError(f"profile: must be one of {', '.join(PROFILES)}")
    known = _WORLD_SETTINGS if profile == PROFILE else _NATIVE_SETTINGS
    for name, value in given.items():
        if name not in known and name not in (*_WORLD_SETTINGS, *_NATIVE_SETTINGS):
            raise ValueError(f"settings.{str(name)[:60]}: the profile {profile} has {', '.join(known)}")
        if not isinstance(value, bool):
            raise ValueError(f"settings.{name}: must be true or false")
    return {name: value for name, value in given.items() if name in known}


class _LazyRegexes:
    """Implements `RegexEngine`; what really tests is made at the first test."""

    def __init__(self, make: RegexMaker) -> None:
        self._make = make
        self._made: RegexEngine | None = None
        self.test = self._test

    async def _test(self, regexes: Sequence[Any], text: str) -> list[Any]:
        if self._made is None:
            self._made = await self._make()
        return await self._made.test(regexes, text)
