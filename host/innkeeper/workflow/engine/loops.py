"""Loops: a graph that runs once per item, or while it says so. Each turn is a frame of its own.

What a turn had is given back when a later one has ended, so that ten thousand turns take no more than a few.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgpack
import trio

from innkeeper.errors import GuestError, InnkeeperError, LimitError
from innkeeper.workflow.checking.graph import ERROR_OUTPUT, GraphNode
from innkeeper.workflow.checking.values import misfit
from innkeeper.workflow.engine import budgets
from innkeeper.workflow.engine.call import sketch
from innkeeper.workflow.engine.control import TRUE
from innkeeper.workflow.engine.inputs import NIL, new_bytes, value_of
from innkeeper.workflow.engine.node_call import timed_out

if TYPE_CHECKING:
    from innkeeper.workflow.engine.frame import Frame

MOST_TURNS = 64
"""Turns of one run at the same time. Beyond these a loop goes on one by one, so that loops in loops cannot multiply."""


async def run_loop(frame: Frame, node: GraphNode) -> dict[str, bytes]:
    """Runs an `innkeeper:ForEach` or `innkeeper:While`.

    Args:
        frame: that the node belongs to.
        node: the loop.

    Returns:
        dict[str, bytes]: its outputs, counted in the frame's budget.

    Raises:
        GuestError: an input is none that a loop can use.
        LimitError: it has more turns than its author allows, or took longer.
        InnkeeperError: a turn failed.
    """
    loop = _Loop(frame, node)
    timeout = node.policy.timeout
    if timeout is None:
        return await loop.run()
    with trio.move_on_after(timeout):
        return await loop.run()
    raise timed_out(timeout)


class _Loop:
    def __init__(self, frame: Frame, node: GraphNode) -> None:
        assert node.body is not None
        self.frame = frame
        self.node = node
        self.plan = frame.run.plan(node.body)
        self.outcome = frame.outcomes[node.id]
        self.last_turn = -1
        self.failed: tuple[int, InnkeeperError] | None = None

    async def run(self) -> dict[str, bytes]:
        given = await self.frame.inputs(self.node)
        # Counted before they are joined: thousands of edges may lead here from one large output.
        held = sum(sum(map(len, value)) for value in given.values() if not isinstance(value, bytes))
        whole = {key: value for key, value in given.items() if isinstance(value, bytes)}
        held += new_bytes(self.node, whole, self.frame.outcomes) + len(whole.get("items", b""))
        self.frame.budget.keep(held)
        try:
            inputs = {key: _whole(value) for key, value in given.items()}
            outputs = await (self.repeat(inputs) if self.node.role == "while" else self.each(inputs))
        finally:
            self.frame.budget.drop(held)
        return {key: value for key, value in outputs.items() if key in self.node.outputs}

    async def repeat(self, inputs: dict[str, bytes]) -> dict[str, bytes]:
        for turn in range(self.node.bound):
            outputs = await self.turn(turn, inputs)
            if self.failed is not None:
                raise self.failed[1]
            if outputs.get("continue") != TRUE:
                self.frame.budget.keep(sum(map(len, outputs.values())))
                return outputs
            inputs |= {key: value for key, value in outputs.items() if key in self.node.inputs}
        raise self.too_many(f"it wants to go on after {self.node.bound:,} turns")

    async def each(self, inputs: dict[str, bytes]) -> dict[str, bytes]:
        run = self.frame.run
        items = inputs.pop("items", None)
        wrong = "it has no value" if items is None else misfit(sketch(items), self.node.inputs["items"])
        if wrong is not None or items is None or not isinstance(sketch(items), list):
            raise GuestError(f"the input 'items': {wrong or 'it must be an array'}")
        count = await run.maybe_in_thread(len(items), lambda: _length(items))
        if count > self.node.bound:
            raise self.too_many(f"there are {count:,} items")
        elements = await run.maybe_in_thread(len(items), lambda: _elements(items))
        keys = [key for key in self.node.outputs if key != ERROR_OUTPUT]
        kept = 0
        found: dict[str, list[bytes]] = {key: [NIL] * count for key in keys}
        turns = iter(range(count))

        async def work() -> None:
            nonlocal kept
            for turn in turns:
                if self.failed is not None:
                    return
                outputs = await self.turn(turn, {**inputs, "item": elements[turn], "index": msgpack.packb(turn)})
                if self.failed is not None:
                    return
                values = {key: outputs[key] for key in keys if key in outputs}
                size = sum(map(len, values.values()))
                try:
                    self.frame.budget.keep(size)
                except LimitError as error:
                    self.fails(turn, error)
                    return
                kept += size
                for key, value in values.items():
                    found[key][turn] = value

        workers = max(1, min(self.node.parallel, count, MOST_TURNS - run.turns))
        run.turns += workers
        try:
            if workers == 1:
                await work()
            else:
                async with trio.open_nursery() as nursery:
                    for _ in range(workers):
                        nursery.start_soon(work)
        finally:
            run.turns -= workers
        if self.failed is not None:
            self.frame.budget.drop(kept)
            raise self.failed[1]
        head = msgpack.Packer().pack_array_header(count)
        # What the elements took has been counted; what they are joined to takes their place.
        return {key: head + b"".join(values) for key, values in found.items()}

    async def turn(self, turn: int, inputs: Mapping[str, bytes]) -> dict[str, bytes]:
        from innkeeper.workflow.engine.frame import Frame

        frame = Frame(self.frame.run, self.plan, f"{self.frame.prefix}{self.node.id}[{turn}]/", inputs)
        try:
            # A turn without a node that waits would go on for ten thousand turns without giving way.
            await self.frame.run.pace.breathe()
            await frame.execute()
        except BaseException:
            for each in frame.outcomes.values():
                if each.status in ("queued", "running"):
                    each.status = "interrupted"
            raise
        finally:
            self.outcome.turns += 1
            self.keep(turn, frame)
        for each in frame.failures:
            if each.error is not None:
                inner = each.node.removeprefix(frame.prefix)
                self.fails(turn, _named(each.error, turn, inner))
                break
        found = {}
        for key, origin in self.plan.graph.interface_outputs.items():
            value = value_of(origin, frame.outcomes)
            if value is not None:
                found[key] = value
        return found

    def keep(self, turn: int, frame: Frame) -> None:
        """Of all turns, the outcomes of one are kept: the last, or the first that failed; as long as the run has few
        of them."""
        failed = bool(frame.failures)
        kept = self.failed is None and (failed or turn > self.last_turn)
        if failed and self.failed is not None and turn < self.failed[0]:
            kept = True
        if not kept or self.frame.run.budgets.nodes > budgets.RUN_NODES:
            frame.budget.give_back()
            return
        inner = self.frame.budget.inner
        if self.node.id in inner:
            inner[self.node.id].give_back()
        inner[self.node.id] = frame.budget
        self.last_turn = turn
        self.outcome.inner = {each.node: each for each in frame.outcomes.values()}

    def fails(self, turn: int, error: InnkeeperError) -> None:
        if self.failed is None or turn < self.failed[0]:
            self.failed = turn, error

    def too_many(self, what: str) -> LimitError:
        bound = self.node.bound
        return LimitError(f"{what}, and its maxIterations is {bound:,}", limit="maxIterations", value=bound)


def _named(error: InnkeeperError, turn: int, node: str) -> InnkeeperError:
    """The error of a node of a turn, as that of its loop."""
    # Not copy.copy: some kinds cannot be made of their message alone.
    named = error.__class__.__new__(error.__class__)
    named.__dict__.update(error.__dict__)
    named.message = f"turn {turn}, node {node!r}: {error.message}"
    named.node = None
    # What the call cost is the inner node's.
    named.usage = None
    return named


def _whole(value: bytes | list[bytes]) -> bytes:
    """The value of an input, an array where it takes several."""
    if isinstance(value, bytes):
        return value
    head: bytes = msgpack.Packer().pack_array_header(len(value))
    return head + b"".join(value)


def _reader(array: bytes) -> msgpack.Unpacker:
    reader = msgpack.Unpacker(None, max_buffer_size=len(array))
    reader.feed(array)
    return reader


def _length(array: bytes) -> int:
    count: int = _reader(array).read_array_header()
    return count


def _elements(array: bytes) -> list[bytes]:
    reader = _reader(array)
    found = []
    for _ in range(reader.read_array_header()):
        start = reader.tell()
        reader.skip()
        found.append(array[start : reader.tell()])
    return found
