"""`activate`: which entries of compiled bases a conversation calls for, after the native profile."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import trio

from innkeeper.knowledge.activation.answering import Answerer
from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.interface import Request, Result
from innkeeper.knowledge.activation.questions import Asked, Plugins, Semantic
from innkeeper.knowledge.activation.results import result_of
from innkeeper.knowledge.activation.sweeps import Sweeps
from innkeeper.knowledge.regexes.interface import RegexEngine
from innkeeper.knowledge.tokens.interface import TokenCounter

MOST_BASES: Final = 64
"""Bases of one activation; further ones are left out, with a note."""


@dataclass(frozen=True, slots=True)
class Activation:
    """What came of it.

    Attributes:
        result: the answer.
        remembered: what the session must remember now, as plain data; what came in where the request is a dry run.
    """

    result: Result
    remembered: Mapping[str, Any]


async def activate(
    bases: Sequence[CompiledBase],
    request: Request,
    *,
    counter: TokenCounter,
    regexes: RegexEngine | None = None,
    semantic: Semantic | None = None,
    plugins: Plugins | None = None,
    remembered: Mapping[str, Any] | None = None,
    limiter: trio.CapacityLimiter | None = None,
) -> Activation:
    """Decides which entries are active, in a thread; only questions to others are asked here.

    Args:
        bases: as `compile_base` made them, in the order in which they count where priorities are equal.
        request: what is asked.
        counter: counts tokens.
        regexes: tests regular expressions; without, none of them is met.
        semantic: compares by meaning; without, entries are active by their words only.
        plugins: asked by conditions; without, such conditions do not hold.
        remembered: what the last activation of this session gave, or None. A store keeps it; it is never changed.
        limiter: of threads; None: trio's own.

    Returns:
        the answer and what the session must remember. What did not work is in the answer's notes: nothing is raised
        for what an author or a plugin did.
    """
    seed = secrets.randbits(53) if request.seed is None else request.seed
    kept = list({base.id: base for base in reversed(bases)}.values())[::-1][:MOST_BASES]
    asked = Asked()
    work = _Work(kept, request, counter, remembered, seed, asked)
    answerer = Answerer(regexes, semantic, plugins, asked)
    while not await trio.to_thread.run_sync(work.go_on, limiter=limiter):
        await answerer.answer()
    result, now = await trio.to_thread.run_sync(work.finish, limiter=limiter)
    if len(kept) < len(bases):
        left_out = f"{len(bases) - len(kept)} bases were left out: a base counts once, and at most {MOST_BASES} count"
        result = replace(result, notes=[*result.notes, left_out])
    return Activation(result, now)


class _Work:
    """What runs in a thread, in as many pieces as there are rounds of questions."""

    def __init__(
        self,
        bases: Sequence[CompiledBase],
        request: Request,
        counter: TokenCounter,
        remembered: Mapping[str, Any] | None,
        seed: int,
        asked: Asked,
    ) -> None:
        self._bases = bases
        self._request = request
        self._counter = counter
        self._seed = seed
        self._asked = asked
        self._before = remembered
        self._sweeps: Sweeps
        self._steps: Generator[None, None, None] | None = None

    def go_on(self) -> bool:
        """Decides until something must be asked; whether all is decided."""
        if self._steps is None:
            # Here and not on trio's thread: a session may remember very much.
            self._sweeps = Sweeps(
                self._bases,
                self._request,
                counter=self._counter,
                session=self._before,
                seed=self._seed,
                asked=self._asked,
            )
            self._steps = self._sweeps.run()
        for _ in self._steps:
            return False
        return True

    def finish(self) -> tuple[Result, Mapping[str, Any]]:
        """The answer, and what the session must remember."""
        result = result_of(self._sweeps, self._bases, self._request, self._counter.name, self._seed)
        if self._request.dry_run:
            return result, self._before or {}
        for state in self._sweeps.fitting.kept:
            if state.is_active:
                self._sweeps.session.remember(state.base.id, state.compiled)
        return result, self._sweeps.session.plain()
