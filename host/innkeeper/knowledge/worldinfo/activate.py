"""Activation with the profile `st-1.15`, asked and answered as with any profile."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final

import trio

from innkeeper.knowledge.activation.interface import Active, Line, Message, Request, Result
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.regexes.interface import Regex, RegexEngine, Verdict
from innkeeper.knowledge.tokens.interface import TokenCounter
from innkeeper.knowledge.worldinfo.books import Books
from innkeeper.knowledge.worldinfo.entry import Position, WorldEntry
from innkeeper.knowledge.worldinfo.scan import scan
from innkeeper.knowledge.worldinfo.scanned import Scanned
from innkeeper.knowledge.worldinfo.settings import MOST_DEPTH, Scene
from innkeeper.knowledge.worldinfo.slots import by_order
from innkeeper.knowledge.worldinfo.timed import TimedEffects
from innkeeper.knowledge.worldinfo.verdicts import Test

PROFILE: Final = "st-1.15"

_ROLES: Final = ("system", "user", "assistant")
_threads: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("world info scans")


async def activate_st115(
    books: Books,
    request: Request,
    *,
    counter: TokenCounter,
    regexes: RegexEngine | None,
    effects: TimedEffects | None = None,
) -> Result:
    """Which entries a conversation calls for, as SillyTavern 1.15 says.

    Conditions, likeness of meaning, once per session, related entries and references are not world info's: this profile
    looks at none of them.

    Args:
        books: the bases.
        request: the conversation; `budget` is world info's budget, which entries must stay below.
        counter: counts tokens.
        regexes: tests regular expressions; None: none of them matches, and a note says so.
        effects: of the session's chat; brought up to date unless it is a dry run. None: there is no session.

    Raises:
        BusyError: the host's bounds were not free for regular expressions.
    """
    running = TimedEffects() if effects is None else effects.copy() if request.dry_run else effects
    seed = secrets.randbits(32) if request.seed is None else request.seed
    test = None if regexes is None else partial(_tested, regexes)
    work = partial(_activate, books, request, counter, test, running, seed)
    return await trio.to_thread.run_sync(work, limiter=_limiter())


def _limiter() -> trio.CapacityLimiter:
    # Not trio's own: a scan waits for the guest of regular expressions, whose loading needs a thread of that.
    try:
        return _threads.get()
    except LookupError:
        made = trio.CapacityLimiter(os.cpu_count() or 1)
        _threads.set(made)
        return made


def _tested(engine: RegexEngine, wanted: Sequence[Regex], text: str) -> list[Verdict]:
    return trio.from_thread.run(engine.test, wanted, text)


def _activate(
    books: Books, request: Request, counter: TokenCounter, test: Test | None, effects: TimedEffects, seed: int
) -> Result:
    settings = replace(
        books.plan.settings,
        depth=request.scan_depth,
        budget_percent=100,
        budget_cap=0,
        max_context=request.budget,
        recursive=request.recursion > 0,
        max_sweeps=request.recursion + 1 if request.recursion > 0 else 0,
    )
    scanned = scan(
        books.plan,
        settings,
        _scene(books, request),
        effects=effects,
        random=Random(seed).random,  # noqa: S311 - which lore is told is no secret
        count=counter.count,
        test=test,
        check=trio.from_thread.check_cancelled,
    )
    active = [_active(books, scanned, *each) for each in _in_order(scanned)]
    defined: dict[str, Any] = {}
    for entry, _ in scanned.active:
        handling = books.items[entry][1].entry.variable_handling
        defined.update(handling.defines_variables if handling is not None else {})
    return Result(
        active=active,
        trace=[_line(books, entry, scanned) for entry in scanned.fates],
        looked_at=len(books.items),
        tokens=sum(each.tokens for each in active),
        budget=request.budget,
        tokenizer=counter.name,
        variables=defined,
        seed=seed,
        notes=scanned.notes,
    )


def _scene(books: Books, request: Request) -> Scene:
    newest = request.messages[: -MOST_DEPTH - 1 : -1]
    scope = set(request.scope)
    keys = books.items.items()
    return Scene(
        messages=[_said(message) for message in newest],
        length=len(request.messages),
        injects=request.injected,
        texts=request.texts,
        character=request.character[: bounds.MOST_NAME],
        user=request.user[: bounds.MOST_NAME] or "User",
        tags=request.character_tags,
        trigger=request.trigger,
        forced=_named(books, request.force),
        left_out={entry.key for entry, (_, item) in keys if scope and not _has(item, scope)},
    )


def _said(message: Message) -> str:
    return f"{message.name}: {message.content}" if message.name else message.content


def _named(books: Books, ids: Sequence[str]) -> set[tuple[str, int | str]]:
    wanted = set(ids)
    return {entry.key for entry in books.items if entry.uid in wanted} if wanted else set()


def _has(item: Item, tags: set[str]) -> bool:
    return any(tag in tags for tag in item.entry.management_metadata.tags)


def _in_order(scanned: Scanned) -> list[tuple[WorldEntry, str]]:
    # The last stands nearest to the end; outlets are filled the other way round.
    placed = [each for each in by_order(scanned.active) if each[1]]
    outlets = [each for each in placed if each[0].position == Position.OUTLET]
    return [*(each for each in reversed(placed) if each[0].position != Position.OUTLET), *outlets]


def _active(books: Books, scanned: Scanned, entry: WorldEntry, text: str) -> Active:
    base, item = books.items[entry]
    usage, content = item.entry.usage_metadata, item.entry.content
    at_depth = entry.position == Position.DEPTH
    return Active(
        base=base,
        entry=item.entry.id,
        name=item.entry.name,
        text=text,
        priority=entry.order,
        placement=usage.placement or "",
        role=_ROLES[entry.role] if at_depth and 0 <= entry.role < len(_ROLES) else usage.role,
        depth=max(0, entry.depth) if at_depth else None,
        outlet=entry.outlet if entry.position == Position.OUTLET else "",
        tokens=scanned.fates[entry].tokens or 0,
        exclude_from_history=usage.exclude_from_history,
        media=(content.path, content.mime_type) if content.path else None,
        tags=item.entry.management_metadata.tags,
        entry_type=item.entry.entry_type,
    )


def _line(books: Books, entry: WorldEntry, scanned: Scanned) -> Line:
    base, item = books.items[entry]
    fate = scanned.fates[entry]
    return Line(
        base=base,
        entry=item.entry.id,
        name=item.entry.name,
        outcome=fate.outcome,
        reason=fate.reason,
        sweep=fate.sweep,
        tokens=fate.tokens,
        budget=None if fate.left is None else int(fate.left),
    )
