"""Bases that lie in a home or are registered there, found by their ids when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from innkeeper.errors import UsageError
from innkeeper.knowledge.files.known import Known
from innkeeper.knowledge.files.registry import Registry
from innkeeper.knowledge.model.problems import KnowledgeError

_SINGLE = (".json", ".ckb")


class UnreadableError(KnowledgeError):
    """There is a base, and its file cannot be read.

    Attributes:
        base: its id (str).
    """

    def __init__(self, base: str, why: UsageError) -> None:
        super().__init__(why.problems if isinstance(why, KnowledgeError) else why.message)
        self.base = base


class HomeBases:
    """Looks for bases, one at a time."""

    def __init__(self, registry: Registry) -> None:
        """Args:
        registry: of the home.
        """
        self._registry = registry
        self._looking = trio.CapacityLimiter(1)

    async def find(self, base: str) -> tuple[Known, Mapping[str, Any]] | None:
        """Where a base is, and the top level of its file; None where there is none, or only an archive.

        Args:
            base: its id.

        Raises:
            UnreadableError: it has mistakes, or another has the same id.
        """
        return await trio.to_thread.run_sync(self._find, base, limiter=self._looking)

    def _find(self, base: str) -> tuple[Known, Mapping[str, Any]] | None:
        from innkeeper.knowledge.files.reading import read_base

        try:
            there = self._registry.bases()
            place = self._registry.place(base)
            # What does not even say its id is believed to be the base that belongs into its place.
            known = [each for each in there if each.id == base] or [
                each for each in there if each.problem and place in (each.path, each.path.with_suffix(""))
            ]
            if known and known[0].problem:
                raise KnowledgeError(known[0].problem, source=known[0].label)
            if not known or known[0].file.suffix not in _SINGLE:
                return None
            return known[0], read_base(known[0].path).base.document
        except UsageError as error:
            raise UnreadableError(base, error) from None
