"""What native plugins want to know of runs: each hook in turn, bounded in time, and none of them ends a run by a slip.

A hook that raises is reported with its plugin's name, and everything goes on. Only `before_node` can keep a node from
running, by raising `NodeRefusedError`: that node fails, the others do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import trio

from innkeeper.errors import GuestError
from innkeeper.plugins.native.contain import PluginError, contained, logger

HookName = Literal["on_run_start", "on_run_end", "before_node", "after_node", "on_stop"]

NAMES: Final[tuple[HookName, ...]] = ("on_run_start", "on_run_end", "before_node", "after_node", "on_stop")

WALL = 10.0
"""Seconds that one hook may take: a run waits for it."""

PARTING = 1.0
"""Seconds for the hooks of a run that was interrupted: whoever interrupted it waits."""


class NodeRefusedError(Exception):
    """Raised by a `before_node` hook: the node is not run, and fails with this text."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run of a workflow.

    Attributes:
        id: its id.
        nodes: how many nodes it has.
        status: "running"; at its end "complete", "error" or "interrupted".
    """

    id: str
    nodes: int
    status: str = "running"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node of a run. Its inputs and outputs are not shown to hooks.

    Attributes:
        run: id of the run.
        node: id of the node.
        type: "namespace:type".
        plugin: id of its plugin.
        native: whether that runs natively.
        seconds: after the node, how long it took, its inputs and outputs included.
        error: after the node, why it failed, or None.
    """

    run: str
    node: str
    type: str
    plugin: str
    native: bool
    seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """A function that a plugin registered.

    Attributes:
        plugin: its id.
        function: of one argument.
        threads: in how many threads the plugin's functions may run.
    """

    plugin: str
    function: Callable[..., Any]
    threads: trio.CapacityLimiter


class Hooks:
    """The hooks of all native plugins in service, in the order in which the plugins came."""

    def __init__(self) -> None:
        self._hooks: dict[HookName, list[Hook]] = {name: [] for name in NAMES}

    def add(self, name: HookName, hook: Hook) -> None:
        """A plugin in service has this hook."""
        self._hooks[name].append(hook)

    def remove(self, hook: Hook) -> None:
        """The plugin is out of service."""
        for hooks in self._hooks.values():
            if hook in hooks:
                hooks.remove(hook)

    async def run_started(self, run: RunInfo) -> None:
        """A run begins."""
        await self._call("on_run_start", run)

    async def run_ended(self, run: RunInfo) -> None:
        """A run is over. Also for one that was cancelled, which waits for `PARTING` seconds at most."""
        if self._hooks["on_run_end"]:
            shielded = run.status == "interrupted"
            with trio.CancelScope(shield=shielded) as scope:
                if shielded:
                    scope.deadline = trio.current_time() + PARTING
                await self._call("on_run_end", run)

    async def before_node(self, node: NodeInfo) -> None:
        """A node is about to run.

        Raises:
            GuestError: a plugin refuses it; the error has the plugin's name.
        """
        for hook in list(self._hooks["before_node"]):
            cause = await call_hook("before_node", hook, node)
            if isinstance(cause, NodeRefusedError):
                text = PluginError(cause).text.partition(": ")[2] or "it gave no reason"
                raise GuestError(f"the native plugin {hook.plugin!r} refused to run the node: {text}")

    async def after_node(self, node: NodeInfo) -> None:
        """A node ran, or failed."""
        await self._call("after_node", node)

    async def _call(self, name: HookName, argument: object) -> None:
        for hook in list(self._hooks[name]):
            await call_hook(name, hook, argument)


async def call_hook(name: HookName, hook: Hook, *arguments: object) -> BaseException | None:
    """Calls a hook; gives what it raised, if anything, which is in the log then."""
    with trio.move_on_after(WALL) as scope:
        try:
            await contained(hook.function, *arguments, threads=hook.threads)
        except PluginError as error:
            if not isinstance(error.cause, NodeRefusedError):
                logger.warning("native plugin %s: its hook %s failed: %s", hook.plugin, name, error.text)
                logger.info("native plugin %s: the traceback of that:", hook.plugin, exc_info=error.cause)
            return error.cause
    if scope.cancelled_caught:
        logger.warning("native plugin %s: its hook %s took more than %g s", hook.plugin, name, WALL)
    return None
