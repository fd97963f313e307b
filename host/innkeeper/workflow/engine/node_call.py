"""One node of a plugin: its inputs become a call, the answer its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

from innkeeper.bridge.scan import CHUNK
from innkeeper.errors import LimitError
from innkeeper.plugins.memo import Memo
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.sandbox.usage import Result, Usage
from innkeeper.workflow.checking.graph import ERROR_OUTPUT, GraphNode
from innkeeper.workflow.engine.call import InputValues, NodeCodec, read_answer, size_within, write_call
from innkeeper.workflow.host import is_pure

T = TypeVar("T")


class Calling(Protocol):
    """What a call needs of its run."""

    @property
    def run(self) -> Run:
        """What the call belongs to."""
        ...

    @property
    def memo(self) -> bool:
        """Whether what an equal call gave before will do."""
        ...

    async def maybe_in_thread(self, size: int, work: Callable[[], T]) -> T:
        """Does work with so many bytes, in a thread where they are many."""
        ...


async def call_node(
    calling: Calling, node: GraphNode, id: str, inputs: InputValues, used: Callable[[Usage], None]
) -> dict[str, bytes]:
    """Calls a node's plugin once.

    Args:
        calling: the run.
        node: the node, of a plugin.
        id: its id in the run.
        inputs: by key, as msgpack.
        used: is told what a call cost whose answer may still be none.

    Returns:
        dict[str, bytes]: its outputs by key.

    Raises:
        LimitError: the inputs are too large, or it took longer than its author gives it.
        InnkeeperError: what the guest ended with; its answer is none.
    """
    timeout = node.policy.timeout
    if timeout is None:
        return await _called(calling, node, id, inputs, used)
    with trio.move_on_after(timeout):
        return await _called(calling, node, id, inputs, used)
    raise timed_out(timeout)


def timed_out(timeout: float) -> LimitError:
    """That a node took longer than its author gives it, in seconds."""
    return LimitError(
        f"it took more than the {timeout:g} s that configValues.innkeeper.timeout gives it",
        limit="timeout",
        value=timeout,
    )


async def _called(
    calling: Calling, node: GraphNode, id: str, inputs: InputValues, used: Callable[[Usage], None]
) -> dict[str, bytes]:
    plugin, definition, manifest = node.plugin, node.definition, node.manifest
    assert plugin is not None
    assert definition is not None
    codec: NodeCodec = "json" if manifest is not None and manifest.codec == "json" else "msgpack"
    function = definition.function
    size = size_within(inputs, plugin, function)
    context = RunContext(calling.run, id)

    async def written(pure: bool) -> bytes:
        # Which run it is would be all that tells equal calls apart.
        about = ("", "") if pure else (calling.run.id, id)
        if size <= CHUNK:
            return write_call(codec, inputs, node.config, *about)
        return await calling.maybe_in_thread(size, lambda: write_call(codec, inputs, node.config, *about))

    pure = is_pure(plugin)
    data = await written(pure)
    while is_pure(plugin) != pure:
        # It changed meanwhile. From here to where the call takes the version in service nothing can change.
        pure = not pure
        data = await written(pure)
    result: Result
    if is_pure(plugin):
        memo: Memo = "costly" if calling.memo else False
        result = await plugin.call(function, data, manifest=manifest, run=context, memo=memo)
    else:
        result = await plugin.call(function, data, manifest=manifest, run=context)
    used(result.usage)
    answer = result.output
    slots = node.outputs
    for key, slot in slots.items():
        if slot.is_stream or key == ERROR_OUTPUT:
            # What is the engine's to give, and what flows, is no part of an answer.
            slots = {key: slot for key, slot in slots.items() if key != ERROR_OUTPUT and not slot.is_stream}
            break
    if len(answer) <= CHUNK:
        return read_answer(codec, answer, slots)
    return await calling.maybe_in_thread(len(answer), lambda: read_answer(codec, answer, slots))
