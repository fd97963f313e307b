"""How large the nodes of a picture are, and where on them their slots lie."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from innkeeper.workflow.drawing.sketch import Pin, SketchNode
from innkeeper.workflow.drawing.text import safe, width_of

HEAD: Final = 40.0
ROW: Final = 18.0
FOOT: Final = 8.0
MARGIN: Final = 16.0
"""Pixels around what is inside of a group."""

_LEAST, _MOST = 130.0, 340.0
_TITLE, _LABEL, _NOTE = 44, 20, 46
_CONNECTED, _FREE = 48, 10
"""Rows of connected slots, and of others, that a node has at most."""


@dataclass(frozen=True, slots=True)
class Row:
    """A slot as it is drawn.

    Attributes:
        pin: the slot; None for the row that says how many are not drawn.
        label: safe text.
        y: pixels below the node's top.
        joined: whether an edge ends or begins there.
    """

    pin: Pin | None
    label: str
    y: float
    joined: bool = False


@dataclass(slots=True)
class Box:
    """A node as it is drawn.

    Attributes:
        node: the node.
        title, type, note: safe texts.
        width, height: pixels.
        inputs, outputs: its rows.
        x, y: its left upper corner.
        inside_y: pixels below its top where what is inside begins.
    """

    node: SketchNode
    title: str
    type: str
    note: str
    width: float
    height: float
    inputs: list[Row]
    outputs: list[Row]
    inside_y: float
    x: float = 0.0
    y: float = 0.0
    _in: dict[str, float] = field(default_factory=dict)
    _out: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._in = {row.pin.key: row.y for row in self.inputs if row.pin is not None}
        self._out = {row.pin.key: row.y for row in self.outputs if row.pin is not None}

    def input_y(self, key: str) -> float:
        """How far below its top an edge to this input ends (float)."""
        return self._in.get(key, self.inputs[-1].y if self.inputs else HEAD / 2)

    def output_y(self, key: str) -> float:
        """How far below its top an edge from this output begins (float)."""
        return self._out.get(key, self.outputs[-1].y if self.outputs else HEAD / 2)


def box_of(
    node: SketchNode,
    fed: Collection[str],
    used: Collection[str],
    inside: tuple[float, float] | None = None,
) -> Box:
    """A node's box, not yet anywhere.

    Args:
        node: the node.
        fed: its inputs at which an edge ends.
        used: its outputs at which an edge begins.
        inside: width and height of what is drawn inside of it.
    """
    named = node.title and node.title != node.id
    title = safe(f"{node.title} ({node.id})" if named else node.id, _TITLE)
    type_, note = safe(node.type, _TITLE), safe(node.note, _NOTE)
    top = HEAD + (ROW if note else 0)
    inputs, outputs = _rows(node.inputs, fed, top), _rows(node.outputs, used, top)
    rows = max(len(inputs), len(outputs))
    slots = _width(inputs) + _width(outputs) + 34
    texts = max(width_of(title) * 1.06 + (26 if node.problems else 0), width_of(type_) * 0.92, width_of(note) * 0.92)
    width = min(_MOST, max(_LEAST, texts + 22, slots))
    height = bottom = top + rows * ROW + FOOT
    if inside is not None:
        width = max(width, inside[0] + 2 * MARGIN)
        height += inside[1] + MARGIN
    return Box(node, title, type_, note, round(width), round(height), inputs, outputs, bottom)


def _rows(pins: list[Pin], connected: Collection[str], top: float) -> list[Row]:
    first = [pin for pin in pins if pin.key in connected][:_CONNECTED]
    chosen = {id(pin) for pin in [*first, *[pin for pin in pins if pin.key not in connected][:_FREE]]}
    shown = [pin for pin in pins if id(pin) in chosen]
    rows = [
        Row(pin, safe(pin.key, _LABEL), top + ROW * (at + 0.5), pin.key in connected) for at, pin in enumerate(shown)
    ]
    if len(shown) < len(pins):
        rows.append(Row(None, f"{len(pins) - len(shown)} more", top + ROW * (len(rows) + 0.5)))
    return rows


def _width(rows: list[Row]) -> float:
    return max((width_of(row.label) for row in rows), default=0.0)
