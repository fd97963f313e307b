"""Which block takes what: the inputs as units that stay or go as wholes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from innkeeper.knowledge.activation.interface import Active, Message
from innkeeper.knowledge.assembly.inputs import Inputs
from innkeeper.knowledge.assembly.template import (
    Block,
    EntriesBlock,
    ExamplesBlock,
    HistoryBlock,
    InputBlock,
    OutletBlock,
    Template,
    TextBlock,
)
from innkeeper.knowledge.tokens.interface import TokenCounter


@dataclass(slots=True, eq=False)
class Piece:
    """A text with a role, which ends up in one message.

    Attributes:
        text: what is said.
        role: whose words they are.
        name: who says it, or "".
        active: the entry that it comes from, or None.
        joins: whether neighbours of the same role become one message with it.
    """

    text: str
    role: str
    name: str = ""
    active: Active | None = None
    joins: bool = True


@dataclass(slots=True, eq=False)
class Unit:
    """What stays or goes as a whole.

    Attributes:
        block: position of the block in the template.
        pieces: what it says, in order.
        title: what people call it.
        tokens: what it costs at most, messages and separators included.
        required: whether it stays whatever the budget.
        weight: larger is kept first among those of one rank.
        order: position among the inputs; at equal weight the smaller is kept first.
        depth: before the so-manieth message from the end, or None: in its block.
    """

    block: int
    pieces: list[Piece]
    title: str
    tokens: int
    required: bool
    weight: float
    order: int
    depth: int | None = None


@dataclass(slots=True)
class Filled:
    """A template with what its blocks take.

    Attributes:
        units: by block, each in the order of the inputs.
        unplaced: entries that no block takes, and why.
    """

    units: list[list[Unit]] = field(default_factory=list)
    unplaced: list[tuple[Active, str]] = field(default_factory=list)


def fill(template: Template, inputs: Inputs, counter: TokenCounter) -> Filled:
    """Gives each block what it takes. Linear in the inputs, for a template of a fixed size."""
    found = Filled([[] for _ in template.blocks])
    for at, block in enumerate(template.blocks):
        if not block.is_enabled:
            continue
        each = template.message_tokens
        if isinstance(block, TextBlock):
            text = block.text if block.source is None else inputs.texts.get(block.source, "")
            if text.strip():
                unit = Unit(at, [Piece(text, block.role)], block.id, counter.count(text), block.required, 0.0, 0)
                found.units[at].append(unit)
        elif isinstance(block, HistoryBlock):
            first = len(inputs.history) - block.keep_last
            for number, message in enumerate(inputs.history):
                if message.content.strip():
                    piece = _said(message, inputs)
                    tokens = counter.count(message.content) + _names(template, piece, counter) + each
                    title = f"message {number + 1}"
                    found.units[at].append(Unit(at, [piece], title, tokens, number >= first, number, number))
        elif isinstance(block, InputBlock):
            said = inputs.user_input
            message = said if isinstance(said, Message) else Message(said or "", block.role)
            if message.content.strip():
                piece = _said(message, inputs)
                tokens = counter.count(message.content) + _names(template, piece, counter) + each
                found.units[at].append(Unit(at, [piece], "user input", tokens, True, 0.0, 0))
        elif isinstance(block, ExamplesBlock):
            for number, dialogue in enumerate(inputs.examples):
                pieces = _example(block, dialogue, inputs)
                if pieces:
                    tokens = sum(counter.count(one.text) + _names(template, one, counter) + each for one in pieces)
                    title = f"example {number + 1}"
                    found.units[at].append(Unit(at, pieces, title, tokens, False, 0.0, number))
    _place(template, inputs, counter, found)
    return found


def _said(message: Message, inputs: Inputs) -> Piece:
    name = message.name or inputs.names.get(message.role, "")
    return Piece(message.content, message.role, name, joins=False)


def _example(block: ExamplesBlock, dialogue: Sequence[Message] | str, inputs: Inputs) -> list[Piece]:
    if isinstance(dialogue, str):
        pieces = [Piece(dialogue, block.role, joins=False)] if dialogue.strip() else []
    else:
        pieces = [_said(message, inputs) for message in dialogue if message.content.strip()]
    if pieces and block.before_each:
        pieces.insert(0, Piece(block.before_each, block.role, joins=False))
    return pieces


def _names(template: Template, piece: Piece, counter: TokenCounter) -> int:
    if not piece.name or (template.names == "none" and template.output == "structured_list"):
        return 0
    return counter.count(piece.name) + 2


def _place(template: Template, inputs: Inputs, counter: TokenCounter, found: Filled) -> None:
    taking = [(at, block) for at, block in enumerate(template.blocks) if block.is_enabled]
    # The more kinds of conditions, the sooner a block is asked; sorting keeps the template's order among equals.
    blocks = [(at, block, *_sets(block)) for at, block in taking if isinstance(block, EntriesBlock)]
    blocks.sort(key=lambda each: -sum(map(bool, each[1].conditions())))
    outlets: dict[str, tuple[int, Block]] = {}
    for at, block in taking:
        if isinstance(block, OutletBlock):
            outlets.setdefault(block.outlet, (at, block))
    history = next(((at, block) for at, block in taking if isinstance(block, HistoryBlock)), None)
    known = frozenset[str]().union(*(tags for _, _, _, tags, _, _ in blocks))
    separators = {at: counter.count(block.separator) for at, block in taking if hasattr(block, "separator")}
    for order, active in enumerate(inputs.active):
        if not active.text.strip() and active.media is None:
            continue
        taken: tuple[int, Block] | None
        if active.outlet:
            taken = outlets.get(active.outlet)
            reason = f"no block takes the outlet {active.outlet[:100]!r}"
        else:
            # Looked up once: an entry may have thousands of tags, and a template hundreds of blocks.
            tags = known.intersection(active.tags) if known else known
            taken = next((each[:2] for each in blocks if _takes(active, tags, *each[2:])), None)
            reason = f"no block takes the placement {active.placement[:100]!r}"
            if taken is None and active.depth is not None:
                taken = history
        if taken is None:
            found.unplaced.append((active, reason))
            continue
        at, block = taken
        deep = active.depth is not None and not (isinstance(block, EntriesBlock) and block.depth == "block")
        apart = 0 if not deep and active.role in (None, block.role) else 2 * template.message_tokens
        tokens = counter.count(active.text) + separators.get(at, 1) + apart
        tokens += template.image_tokens if active.media and active.media[1].startswith("image/") else 0
        piece = Piece(active.text, active.role or (block.role if not deep else "system"), active=active)
        unit = Unit(at, [piece], active.name, tokens, active.critical, active.priority, order, active.depth)
        if active.outlet:
            unit.depth = None
        found.units[at].append(unit)


_Sets = tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]]


def _sets(block: EntriesBlock) -> _Sets:
    placements, tags, types, bases = map(frozenset, block.conditions())
    return placements, tags, types, bases


def _takes(
    active: Active,
    has: frozenset[str],
    placements: frozenset[str],
    tags: frozenset[str],
    types: frozenset[str],
    bases: frozenset[str],
) -> bool:
    return (
        (not placements or active.placement in placements)
        and (not types or active.entry_type in types)
        and (not bases or active.base in bases)
        and (not tags or not tags.isdisjoint(has))
    )
