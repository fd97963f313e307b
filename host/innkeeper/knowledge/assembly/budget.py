"""What stays where not everything fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from innkeeper.knowledge.assembly.pieces import Unit
from innkeeper.knowledge.assembly.template import HistoryBlock, Template
from innkeeper.knowledge.tokens.interface import TokenCounter

BLOCK = "the budget of its block is used up"
WHOLE = "the budget of the prompt is used up"
OLDER = "a newer message did not fit, and the conversation has no gaps"


@dataclass(slots=True)
class Kept:
    """What stays and what goes.

    Attributes:
        units: what stays, in the order in which it was taken: what comes last gives way first.
        gone: what does not, with the reason.
        used: tokens that each block has at most, around it included, by its position.
    """

    units: list[Unit] = field(default_factory=list)
    gone: list[tuple[Unit, str]] = field(default_factory=list)
    used: list[int] = field(default_factory=list)


def keep(template: Template, units: list[list[Unit]], counter: TokenCounter) -> Kept:
    """Chooses what stays.

    What is required is taken first. Then the blocks by rank, those of one rank together, the largest weight first; what
    does not fit is left out and what is smaller may still fit, but of a conversation nothing older than what was left
    out stays. O(n log n).
    """
    around = [
        counter.count(block.prefix) + counter.count(block.suffix) + template.message_tokens for block in template.blocks
    ]
    left = float("inf") if template.budget is None else template.budget - template.reserve
    kept = Kept(used=[0] * len(template.blocks))
    broken: set[int] = set()

    def take(unit: Unit) -> str | None:
        nonlocal left
        block = template.blocks[unit.block]
        cost = unit.tokens + (0 if kept.used[unit.block] else around[unit.block])
        if not unit.required:
            if unit.block in broken:
                return OLDER
            reason = None
            if cost > left:
                reason = WHOLE
            elif block.budget is not None and kept.used[unit.block] + cost > block.budget:
                reason = BLOCK
            if reason is not None:
                if isinstance(block, HistoryBlock):
                    broken.add(unit.block)
                return reason
        left -= cost
        kept.used[unit.block] += cost
        kept.units.append(unit)
        return None

    for unit in _sorted(template, (unit for each in units for unit in each)):
        reason = take(unit)
        if reason is not None:
            kept.gone.append((unit, reason))
    return kept


def _sorted(template: Template, units: Iterable[Unit]) -> list[Unit]:
    return sorted(
        units,
        key=lambda unit: (not unit.required, -template.blocks[unit.block].rank, -unit.weight, unit.order, unit.block),
    )


def give_way(kept: Kept, template: Template, excess: int) -> bool:
    """Lets go of what was taken last until so many tokens are free.

    Returns:
        whether anything went; what is required does not.
    """
    freed = 0
    while freed < excess and kept.units and not kept.units[-1].required:
        unit = kept.units.pop()
        freed += unit.tokens
        kept.used[unit.block] -= unit.tokens
        kept.gone.append((unit, WHOLE))
    return freed > 0


def by_block(kept: Kept) -> dict[int, list[Unit]]:
    """What stays, by the position of its block."""
    ordered = sorted(kept.units, key=lambda unit: unit.block)
    return {at: list(group) for at, group in groupby(ordered, key=lambda unit: unit.block)}
