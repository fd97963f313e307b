"""Asks others what an activation must know: regular expressions, plugins, likeness. Each kind is bounded by itself, and
what fails is a note: the activation goes on without it."""

from __future__ import annotations

from typing import Final

import trio

from innkeeper.errors import GuestError, InnkeeperError
from innkeeper.knowledge.activation.conditions import PluginCheck
from innkeeper.knowledge.activation.questions import Asked, Open, Plugins, RegexTest, Semantic
from innkeeper.knowledge.regexes.interface import RegexEngine, Verdict

REGEX_SECONDS: float = 5.0
"""Wall time that all regular expressions of an activation have together; those that are left count as not met."""

PLUGIN_SECONDS: float = 30.0
"""Wall time that all plugins of an activation have together."""

SEMANTIC_SECONDS: float = 30.0
"""Wall time that comparing by meaning has."""

MOST_REGEXES: Final = 20_000
"""Tests of one activation."""

MOST_CHECKS: Final = 200
"""Questions to plugins of one activation."""

_AT_ONCE = 256
_TOGETHER = 8


class Answerer:
    """Answers what is open."""

    def __init__(
        self, regexes: RegexEngine | None, semantic: Semantic | None, plugins: Plugins | None, asked: Asked
    ) -> None:
        self._regexes = regexes
        self._semantic = semantic
        self._plugins = plugins
        self._asked = asked
        self._regex_seconds = REGEX_SECONDS
        self._plugin_seconds = PLUGIN_SECONDS

    async def answer(self) -> None:
        """Answers all that is open; afterwards nothing is."""
        asked, self._asked.open = self._asked.open, Open()
        await self._answer_queries(asked.queries)
        await self._answer_regexes(list(asked.regexes))
        await self._answer_plugins(list(asked.plugins.values()))

    async def _answer_queries(self, queries: dict[str, str]) -> None:
        for base, query in queries.items():
            self._asked.likeness[base] = None
            if self._semantic is None:
                continue
            with trio.move_on_after(SEMANTIC_SECONDS) as scope:
                try:
                    self._asked.likeness[base] = await self._semantic.likeness(base, query)
                except Exception as error:  # Whatever a model does, keywords still work.
                    self._asked.note(f"{base}: by keywords only, not by meaning: {_sentence(error)}")
                    continue
                if self._asked.likeness[base] is None:
                    self._asked.note(f"{base}: by keywords only, not by meaning: it has no vectors of a model at hand")
            if scope.cancelled_caught:
                self._asked.note(
                    f"{base}: by keywords only, not by meaning: that took more than {SEMANTIC_SECONDS:g} s"
                )

    async def _answer_regexes(self, tests: list[RegexTest]) -> None:
        verdicts = self._asked.verdicts
        # Whatever is not answered below took too long.
        verdicts.update((test, Verdict.TIMEOUT) for test in tests)
        if not tests:
            return
        if self._regexes is None:
            self._asked.note("regular expressions cannot be tested here: those in keys and conditions count as not met")
            return
        by_text: dict[str, list[RegexTest]] = {}
        for test in tests[: max(MOST_REGEXES - len(verdicts) + len(tests), 0)]:
            by_text.setdefault(test.text, []).append(test)
        since = trio.current_time()
        with trio.move_on_after(self._regex_seconds) as scope:
            for text, same in by_text.items():
                for start in range(0, len(same), _AT_ONCE):
                    some = same[start : start + _AT_ONCE]
                    try:
                        found = await self._regexes.test([test.regex for test in some], text)
                    except Exception as error:  # A base without its regular expressions is better than none.
                        self._asked.note(f"regular expressions could not be tested: {_sentence(error)}")
                        continue
                    verdicts.update(zip(some, found, strict=False))
        self._regex_seconds = max(self._regex_seconds - (trio.current_time() - since), 0)
        if scope.cancelled_caught:
            self._asked.note(f"regular expressions took more than {REGEX_SECONDS:g} s: some were not tested")

    async def _answer_plugins(self, checks: list[PluginCheck]) -> None:
        self._asked.checks.update((check.key, False) for check in checks)
        if not checks:
            return
        if self._plugins is None:
            self._asked.note("plugins cannot be asked here: conditions that ask one do not hold")
            return
        room = max(MOST_CHECKS - len(self._asked.checks) + len(checks), 0)
        if room < len(checks):
            self._asked.note(f"only {MOST_CHECKS} questions to plugins were asked; the other conditions do not hold")
        together = trio.CapacityLimiter(_TOGETHER)
        since = trio.current_time()
        with trio.move_on_after(self._plugin_seconds) as scope:
            async with trio.open_nursery() as nursery:
                for check in checks[:room]:
                    nursery.start_soon(self._ask, self._plugins, check, together)
        self._plugin_seconds = max(self._plugin_seconds - (trio.current_time() - since), 0)
        if scope.cancelled_caught:
            self._asked.note(f"plugins took more than {PLUGIN_SECONDS:g} s: some conditions do not hold")

    async def _ask(self, plugins: Plugins, check: PluginCheck, together: trio.CapacityLimiter) -> None:
        async with together:
            try:
                answer = await plugins.check(check.plugin, check.function, check.payload)
                self._asked.checks[check.key] = answer is True
            except Exception as error:  # A guest may fail as it likes.
                where = f"{check.plugin}.{check.function}, which {check.entry!r} asks,"
                self._asked.note(f"{where} failed, so the condition does not hold: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    """What may be said of a failure: only errors of our own promise to hold no secret, and what a guest says of itself
    is not for whoever reads the notes, which may be another guest."""
    # Late: it brings numpy.
    from innkeeper.knowledge.embedding.interface import EmbeddingError

    if isinstance(error, GuestError):
        return "it failed by itself"
    if isinstance(error, InnkeeperError | EmbeddingError):
        return str(error)[:300]
    return type(error).__name__
