"""Tells native plugins of a run, where there are any that want to know."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from innkeeper.errors import InnkeeperError

if TYPE_CHECKING:
    from innkeeper.plugins.native.hooks import Hooks
    from innkeeper.workflow.checking.graph import Graph
    from innkeeper.workflow.engine.outcome import NodeOutcome, RunOutcome


class Told:
    """What native plugins are told of one run. Without hooks it does nothing."""

    def __init__(self, hooks: Hooks | None, run: str) -> None:
        """Args:
        hooks: of the host, or None.
        run: the run's id.
        """
        self._hooks = hooks
        self._run = run

    @property
    def listening(self) -> bool:
        """Whether anybody wants to know anything (bool)."""
        return self._hooks is not None

    async def run_started(self, graph: Graph) -> None:
        """The run begins."""
        if self._hooks is not None:
            from innkeeper.plugins.native.hooks import RunInfo

            await self._hooks.run_started(RunInfo(self._run, len(graph.nodes)))

    async def run_ended(self, graph: Graph, outcome: RunOutcome) -> None:
        """The run is over, also where it was cancelled."""
        if self._hooks is not None:
            from innkeeper.plugins.native.hooks import RunInfo

            await self._hooks.run_ended(RunInfo(self._run, len(graph.nodes), outcome.status))

    @asynccontextmanager
    async def node(self, outcome: NodeOutcome) -> AsyncIterator[None]:
        """Around the call of a node. The engine's own nodes are nobody's.

        Raises:
            GuestError: on entry: a plugin refuses the node.
        """
        if self._hooks is None or outcome.plugin is None:
            yield
            return
        from innkeeper.plugins.native.hooks import NodeInfo

        about = (self._run, outcome.node, outcome.type, outcome.plugin, outcome.native)
        begun = time.perf_counter()
        try:
            await self._hooks.before_node(NodeInfo(*about))
            yield
        except Exception as error:
            text = error.message if isinstance(error, InnkeeperError) else type(error).__name__
            await self._hooks.after_node(NodeInfo(*about, time.perf_counter() - begun, text))
            raise
        # Nothing is said of a node that was cancelled: the end of its run follows.
        await self._hooks.after_node(NodeInfo(*about, time.perf_counter() - begun))


def marks(outcome: NodeOutcome) -> dict[str, bool]:
    """What every event of a node carries (dict): that it is native, if it is."""
    return {"native": True} if outcome.native else {}
