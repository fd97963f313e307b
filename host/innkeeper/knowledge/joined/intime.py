"""What activation asks of others, until a moment that whoever waits for the answer chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from innkeeper.errors import BusyError
from innkeeper.knowledge.activation.questions import Likeness, Plugins, Semantic
from innkeeper.knowledge.regexes.interface import Regex, RegexEngine, Verdict


class RegexesInTime:
    """Implements `RegexEngine`: what is not tested in time is `Verdict.TIMEOUT`."""

    def __init__(self, inner: RegexEngine, until: float) -> None:
        self._inner = inner
        self._until = until

    async def test(self, regexes: Sequence[Regex], text: str) -> list[Verdict]:
        """As `RegexEngine.test`."""
        if trio.current_time() < self._until:
            with trio.move_on_at(self._until):
                return await self._inner.test(regexes, text)
        return [Verdict.TIMEOUT] * len(regexes)


class PluginsInTime:
    """Implements `Plugins`."""

    def __init__(self, inner: Plugins, until: float) -> None:
        self._inner = inner
        self._until = until

    async def check(self, plugin: str, function: str, payload: Mapping[str, Any]) -> bool:
        """As `Plugins.check`.

        Raises:
            BusyError: it does not answer in time.
        """
        if trio.current_time() < self._until:
            with trio.move_on_at(self._until):
                return await self._inner.check(plugin, function, payload)
        raise late()


class SemanticInTime:
    """Implements `Semantic`."""

    def __init__(self, inner: Semantic, until: float) -> None:
        self._inner = inner
        self._until = until

    async def likeness(self, base: str, query: str) -> Likeness | None:
        """As `Semantic.likeness`.

        Raises:
            BusyError: there is no answer in time.
        """
        if trio.current_time() < self._until:
            with trio.move_on_at(self._until):
                return await self._inner.likeness(base, query)
        raise late()


def late() -> BusyError:
    """That there was no time left."""
    return BusyError("the time that the activation may take was over", bound="activation")
