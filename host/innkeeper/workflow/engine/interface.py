"""What a workflow gives back: its interface outputs, bounded together before they are built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.errors import LimitError
from innkeeper.sandbox.limits import MIB
from innkeeper.workflow.checking.graph import Graph, Source
from innkeeper.workflow.checking.problems import listed
from innkeeper.workflow.engine.call import count_elements, plain
from innkeeper.workflow.engine.outcome import NodeOutcome

MOST_BYTES = 32 * MIB
"""Bytes of all interface outputs, each counted as often as it is given: whoever writes them down writes each."""

MOST_ELEMENTS = 2_000_000
"""Elements of all that is built for them: as many as a workflow's file may have."""


class InterfaceOutputs:
    """The interface outputs of a run that have a value.

    Args:
        graph: the workflow.
        nodes: what became of its nodes, which have ended.
    """

    def __init__(self, graph: Graph, nodes: Mapping[str, NodeOutcome]) -> None:
        self._sources: dict[str, Source] = {}
        self._encoded: dict[Source, bytes] = {}
        for key, source in graph.interface_outputs.items():
            if not isinstance(source, Source):
                continue
            value = nodes[source.node].encoded.get(source.slot)
            if value is not None:
                self._sources[key] = source
                self._encoded[source] = value

    @property
    def size(self) -> int:
        """Bytes that are read to build them (int)."""
        return sum(map(len, self._encoded.values()))

    @property
    def _named(self) -> str:
        return f"the interface outputs {listed(list(self._sources))}"

    def build(self) -> dict[str, Any]:
        """Their values by key, as plain data. What several are mapped to is built once and is one object.

        Raises:
            LimitError: they are too large together; nothing was built. The message names them.
        """
        size = sum(len(self._encoded[source]) for source in self._sources.values())
        if size > MOST_BYTES:
            raise LimitError(
                f"{self._named} have {size:,} bytes together, and a run gives {MOST_BYTES:,}",
                limit="interface outputs",
                value=MOST_BYTES,
                used=size,
            )
        left = MOST_ELEMENTS
        for value in self._encoded.values() if self.size > left else ():
            count = count_elements(value, left)
            if count is None:
                raise LimitError(
                    f"{self._named} have more than {MOST_ELEMENTS:,} elements together",
                    limit="interface output elements",
                    value=MOST_ELEMENTS,
                )
            left -= count
        built = {source: plain(value) for source, value in self._encoded.items()}
        return {key: built[source] for key, source in self._sources.items()}
