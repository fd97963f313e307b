"""Whatever a graph is made of, it runs to its end, and what becomes of it does not depend on who is faster."""

from __future__ import annotations

import random
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import Builder, execute
from innkeeper.errors import GuestError
from innkeeper.workflow.checking.graph import Graph, Passed, Source
from node_fakes import FakeHost, Flow

CHUNKS = {"dataFlowType": "STRING", "isStream": True}
ANY = {"dataFlowType": "WILDCARD", "multi": True}

Node = tuple[str, bool, tuple[int, ...], int | None]
"""Kind, whether it has an error output, the nodes that it has values of, and the one whose stream it reads."""

KINDS = ("plain", "fails", "absent", "if", "merge", "by", "source", "breaks", "sink", "early", "relay", "quits", "loop")

NODES = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.booleans(),
        st.lists(st.integers(0, 20), max_size=3).map(tuple),
        st.none() | st.integers(0, 20),
    ),
    max_size=14,
)


class House(FakeHost):
    """Nodes that take a moment, another one each time."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)

        async def moment() -> None:
            for _ in range(self.random.choice((0, 0, 1, 3, 8))):
                await trio.lowlevel.checkpoint()

        async def plain(inputs: Any, config: Any, run: Any) -> Any:
            await moment()
            return {"out": len(inputs["in"])}

        async def fails(inputs: Any, config: Any, run: Any) -> Any:
            await moment()
            raise GuestError("it hurts")

        async def flows(inputs: Any, run: Any, flow: Flow, write: int, read: bool, most: int, good: bool) -> Any:
            seen: list[str] = []
            await moment()
            if read:
                async for item in flow.read("words"):
                    await moment()
                    seen.append(item)
                    if write:
                        await flow.write("said", item)
                    if len(seen) == most:
                        break
            else:
                for number in range(write):
                    await moment()
                    await flow.write("said", str(number))
            if not good:
                raise GuestError("it ran dry")
            return {"out": len(seen)}

        self.add("plain", plain, inputs={"in": ANY}, outputs={"out": "WILDCARD"})
        self.add("absent", lambda i, c, r: {}, inputs={"in": ANY}, outputs={"out": "WILDCARD"})
        self.add("fails", fails, inputs={"in": ANY}, outputs={"out": "WILDCARD"})
        for kind, write, read, most, good in (
            ("source", 150, False, 0, True),
            ("breaks", 90, False, 0, False),
            ("sink", 0, True, 1 << 20, True),
            ("early", 0, True, 3, True),
            ("relay", 1, True, 1 << 20, True),
            ("quits", 1, True, 2, False),
        ):

            async def function(
                inputs: Any, config: Any, run: Any, flow: Flow, about: Any = (write, read, most, good)
            ) -> Any:
                return await flows(inputs, run, flow, *about)

            outputs: dict[str, Any] = {"out": "WILDCARD"} | ({"said": CHUNKS} if write else {})
            self.add(kind, function, inputs={"in": ANY} | ({"words": CHUNKS} if read else {}), outputs=outputs)
            self.plugins["msgpack"].flowing.add(kind)


def build(host: House, nodes: list[Node]) -> Graph:
    made = Builder(host)
    body = Builder(host).inputs("in", item="INTEGER").add("s", "source").add("k", "sink").edge("s.said -> k.words")
    turn = body.output(out="k.out").graph()
    # By node: those that begin after it has ended, and those that it begins with.
    after: dict[str, set[str]] = {}
    beside: dict[str, set[str]] = {}
    for number, (kind, handled, values, stream) in enumerate(nodes):
        id = f"n{number}"
        if kind == "if":
            made.branch(id, condition=handled)
        elif kind == "merge":
            made.merge(id)
        elif kind == "by":
            made.bypassed(id, {"in": "WILDCARD"}, {"out": "WILDCARD"}, {"out": Passed(("in",), 0)})
        elif kind == "loop":
            made.loop(id, "for_each", turn, 5, 2, presets={"items": [1, 2, 3]})
            made.nodes[id].inputs = {**made.nodes[id].inputs, "in": next(iter(host.node("t:plain")[1].inputs.values()))}
        else:
            made.add(id, kind, errorOutput=handled and kind in ("fails", "breaks", "quits"))
        if not number:
            continue
        key = {"if": "value", "merge": "values"}.get(kind, "in")
        for value in values[: 1 if kind in ("if", "by") else 3]:
            origin = f"n{value % number}"
            choices = [each for each, slot in made.nodes[origin].outputs.items() if not slot.is_stream]
            made.edge(f"{origin}.{choices[value % len(choices)]} -> {id}.{key}")
            after.setdefault(origin, set()).add(id)
        if "words" in made.nodes[id].inputs and stream is not None:
            origin = f"n{stream % number}"
            if "said" in made.nodes[origin].outputs:
                late = waits(origin, id, after, beside) or waits(id, origin, after, beside)
                made.edge(f"{origin}.said -> {id}.words", late=late)
                if not late:
                    beside.setdefault(origin, set()).add(id)
                    beside.setdefault(id, set()).add(origin)
                after.setdefault(origin, set())
    for node in made.nodes:
        made.outputs |= {
            f"{node}.{key}": Source(node, key) for key, s in made.nodes[node].outputs.items() if not s.is_stream
        }
    return made.graph()


def waits(first: str, last: str, after: dict[str, set[str]], beside: dict[str, set[str]]) -> bool:
    """Whether one node can only begin after another has ended, or one that begins with it."""
    stack, seen = [(first, False)], set[tuple[str, bool]]()
    while stack:
        here = stack.pop()
        if here in seen:
            continue
        seen.add(here)
        node, valued = here
        if node == last and valued:
            return True
        stack += [(each, True) for each in after.get(node, ())]
        stack += [(each, valued) for each in beside.get(node, ())]
    return False


@settings(deadline=None, max_examples=150)
@given(NODES)
def test_any_graph_ends_the_same_whoever_is_faster(nodes: list[Node]) -> None:
    found = [trio.run(ended, nodes, seed) for seed in range(3)]
    assert found[1:] == found[:1] * 2


async def ended(nodes: list[Node], seed: int) -> Any:
    host = House(seed)
    outcome = await execute(build(host, nodes), host)
    assert {node.status for node in outcome.nodes.values()} <= {"complete", "error", "skipped"}
    about = {node: (each.status, each.reason, each.cause, each.handled) for node, each in outcome.nodes.items()}
    return outcome.status, outcome.outputs, about
