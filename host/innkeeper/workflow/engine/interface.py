"""What a workflow gives back: its interface outputs, bounded together before they are built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.bridge.codec import encode
from innkeeper.errors import LimitError
from innkeeper.sandbox.limits import MIB
from innkeeper.workflow.checking.graph import Constant, Graph, Source
from innkeeper.workflow.checking.problems import listed
from innkeeper.workflow.checking.values import from_json
from innkeeper.workflow.engine.call import count_elements, plain
from innkeeper.workflow.engine.outcome import NodeOutcome

MOST_BYTES = 32 * MIB
"""Bytes of all interface outputs, each counted as often as it is given: whoever writes them down writes each."""

MOST_ELEMENTS = 2_000_000
"""Elements of all that is built for them: as many as a workflow's file may have."""


_UNKNOWN = MIB
"""Bytes that constants may have: whoever looks does so by writing them."""


class InterfaceOutputs:
    """The interface outputs of a run: those that have a value, and placeholders for streams and for what failed.

    Args:
        graph: the workflow.
        nodes: what became of its nodes, which have ended.

    Attributes:
        placed: of the outputs that have a placeholder, what it says.
    """

    def __init__(self, graph: Graph, nodes: Mapping[str, NodeOutcome]) -> None:
        self.placed: dict[str, str] = {}
        # Several keys may have one value: it is there once, and so it is built once.
        self._origins: dict[str, object] = {}
        self._encoded: dict[object, bytes] = {}
        self._constants: dict[str, Constant] = {}
        for key in {**graph.interface_outputs, **graph.interface_streams}:
            origin = graph.interface_streams.get(key, graph.interface_outputs.get(key))
            if isinstance(origin, Constant):
                if origin.value is not None:
                    self._origins[key] = key
                    self._constants[key] = origin
                continue
            assert origin is not None
            outcome = nodes[origin.node]
            value = outcome.encoded.get(origin.slot)
            instead = _instead(origin, outcome, key in graph.interface_streams)
            if instead is not None:
                self.placed[key] = instead[1]
                value = encode({"type": instead[0], "message": instead[1]}, "msgpack")
            if value is not None:
                self._origins[key] = origin
                self._encoded[origin] = value

    @property
    def size(self) -> int:
        """Bytes that are read to build them, about (int)."""
        return sum(map(len, self._encoded.values())) + (_UNKNOWN if self._constants else 0)

    @property
    def _named(self) -> str:
        return f"the interface outputs {listed(list(self._origins))}"

    def encoded(self) -> dict[str, bytes]:
        """Their values by key, as msgpack.

        Raises:
            LimitError: they are too large together. The message names them.
        """
        for key, constant in self._constants.items():
            self._encoded[key] = encode(from_json(constant.value, constant.data_flow_type), "msgpack")
        size = sum(len(self._encoded[origin]) for origin in self._origins.values())
        if size > MOST_BYTES:
            raise LimitError(
                f"{self._named} have {size:,} bytes together, and a run gives {MOST_BYTES:,}",
                limit="interface outputs",
                value=MOST_BYTES,
                used=size,
            )
        left = MOST_ELEMENTS
        for value in self._encoded.values() if size > left else ():
            count = count_elements(value, left)
            if count is None:
                raise LimitError(
                    f"{self._named} have more than {MOST_ELEMENTS:,} elements together",
                    limit="interface output elements",
                    value=MOST_ELEMENTS,
                )
            left -= count
        return {key: self._encoded[origin] for key, origin in self._origins.items()}

    def build(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Their values by key, as plain data and as msgpack. What several are mapped to is built once and is one
        object.

        Raises:
            LimitError: as `encoded`; nothing was built.
        """
        encoded = self.encoded()
        built = {origin: plain(value) for origin, value in self._encoded.items()}
        return {key: built[origin] for key, origin in self._origins.items()}, encoded


def _instead(origin: Source, outcome: NodeOutcome, stream: bool) -> tuple[str, str] | None:
    """The type and the message of the placeholder of what is no value, or None."""
    if outcome.failed:
        return "error_placeholder", f"no value, since node {(outcome.cause or outcome.node)!r} failed"
    if stream and not outcome.untook(origin.slot):
        return "stream_placeholder", f"a stream of node {outcome.node!r}, given out chunk by chunk"
    return None
