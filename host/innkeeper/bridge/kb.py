"""The service `kb`: knowledge bases, searched, read, written and turned into context by plugins."""

from __future__ import annotations

from innkeeper.bridge.kb_rendering import KbRendering
from innkeeper.bridge.knowledge import KnowledgeBases, LazyKnowledge
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.refusal import Refusal, ServiceError

RATE = Rate(per_second=200, burst=400)
"""Calls of one plugin. Searches and changes wait for each other besides: none of them is quick."""


class KbService(KbRendering):
    """What guests may do with knowledge bases."""

    def __init__(self, knowledge: LazyKnowledge) -> None:
        """Args:
        knowledge: gives what keeps the bases, at the first need.
        """
        super().__init__(knowledge)
        self._lazy = knowledge

    async def serve(self) -> None:
        """As `Serving.serve`."""
        await self._lazy.serve()


def make(needs: Needs) -> KbService:
    """The service of a host."""
    return KbService(needs.knowledge or LazyKnowledge(_nothing))


async def _nothing() -> KnowledgeBases:
    raise ServiceError(Refusal.UNAVAILABLE, "this host keeps no knowledge bases")
