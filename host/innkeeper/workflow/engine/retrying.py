"""Calling a node again that failed, as its author wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innkeeper.errors import InnkeeperError, InternalError
from innkeeper.workflow.formats.policy import Retry

if TYPE_CHECKING:
    from innkeeper.workflow.checking.graph import GraphNode


def pause(retry: Retry | None, error: InnkeeperError, tries: int) -> float | None:
    """Seconds (float) until a node is called again, or None where it is not.

    Args:
        retry: what its author wants.
        error: how the last call ended.
        tries: calls so far.
    """
    if retry is None or tries >= retry.tries or error.kind.value not in retry.kinds:
        return None
    return float(min(retry.delay * retry.factor ** (tries - 1), retry.most_delay))


def as_error(error: Exception, node: GraphNode, id: str) -> InnkeeperError:
    """What a node failed with, as it is said.

    Args:
        error: what was raised.
        node: the node.
        id: its id in the run.
    """
    if not isinstance(error, InnkeeperError):
        # Its text may name paths of this machine; the cause stays for whoever looks for the defect.
        internal = InternalError(f"the host failed with {type(error).__name__}; this is a defect of Innkeeper")
        internal.__cause__ = error
        error = internal
    if not error.message.isascii():
        # A file's name may have what is no text; what is said of an error goes into values and streams.
        error.message = error.message.encode("utf-8", "replace").decode()
    error.node = id
    if error.plugin is None and node.definition is not None and node.plugin is not None:
        error.plugin, error.function = node.plugin.id, node.definition.function
    return error
