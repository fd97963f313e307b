"""What stays becomes messages, in the order of the template, with entries inserted by depth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from innkeeper.knowledge.assembly.drafts import Draft
from innkeeper.knowledge.assembly.pieces import Piece, Unit
from innkeeper.knowledge.assembly.template import EntriesBlock, HistoryBlock, InputBlock, OutletBlock, Template


def compose(template: Template, units: Mapping[int, Sequence[Unit]]) -> list[Draft]:
    """The messages (list of Draft). Linear, but for sorting entries.

    Args:
        template: the blocks.
        units: what each has, by its position, in any order.
    """
    drafts: list[Draft] = []
    deep: list[Unit] = []
    place: int | None = None
    for at, block in enumerate(template.blocks):
        mine = sorted(units.get(at, ()), key=lambda unit: unit.order)
        if isinstance(block, EntriesBlock | OutletBlock):
            if isinstance(block, OutletBlock) or block.depth == "messages":
                deep += [unit for unit in mine if unit.depth is not None]
                mine = [unit for unit in mine if unit.depth is None]
            if block.order == "priority":
                mine.sort(key=lambda unit: unit.weight)
            if isinstance(block, EntriesBlock) and block.depth == "block":
                mine = _inside(mine)
            made = _joined(((unit.pieces[0], block.id) for unit in mine), block.separator)
        else:
            if isinstance(block, HistoryBlock):
                deep += [unit for unit in mine if unit.pieces[0].active is not None]
                mine = [unit for unit in mine if unit.pieces[0].active is None]
            made = _joined(((piece, block.id) for unit in mine for piece in unit.pieces), "\n")
        if isinstance(block, HistoryBlock | InputBlock):
            for draft in made:
                draft.said = True
        if made:
            made = _around(made, block.prefix, block.suffix, block.role)
        drafts += made
        if isinstance(block, HistoryBlock):
            place = len(drafts)
    drafts = _insert(template, drafts, deep, place)
    if template.names == "prefix" and template.output == "structured_list":
        for draft in drafts:
            if draft.name:
                draft.put_before(f"{draft.name}: ")
                draft.name = ""
    return _squashed(template, drafts)


def _joined(pieces: Iterable[tuple[Piece, str]], separator: str) -> list[Draft]:
    drafts: list[Draft] = []
    last: Piece | None = None
    for piece, block in pieces:
        if last is not None and last.joins and piece.joins and last.role == piece.role:
            drafts[-1].add(separator)
        else:
            drafts.append(Draft(piece.role, piece.name))
        drafts[-1].add_piece(piece, block)
        last = piece
    return drafts


def _around(made: list[Draft], prefix: str, suffix: str, role: str) -> list[Draft]:
    # A prefix is the block's: where somebody else speaks first, or messages of a conversation begin, it stands alone.
    if prefix:
        if made[0].said or made[0].role != role:
            made.insert(0, Draft(role, texts=[prefix], length=len(prefix)))
        else:
            made[0].put_before(prefix)
    if suffix:
        if made[-1].said or made[-1].role != role:
            made.append(Draft(role, texts=[suffix], length=len(suffix)))
        else:
            made[-1].add(suffix)
    return made


def _inside(units: list[Unit]) -> list[Unit]:
    flat = [unit for unit in units if unit.depth is None]
    buckets = _buckets((unit for unit in units if unit.depth is not None), len(flat))
    found = list(buckets[len(flat)])
    for position, unit in enumerate(flat):
        found.append(unit)
        found += buckets[len(flat) - 1 - position]
    return found


def _buckets(units: Iterable[Unit], most: int) -> dict[int, list[Unit]]:
    """By depth, none deeper than there are messages; in each the smallest weight first, then the order of inputs."""
    buckets: dict[int, list[Unit]] = defaultdict(list)
    for unit in sorted(units, key=lambda unit: (unit.weight, unit.order)):
        buckets[min(unit.depth or 0, most)].append(unit)
    return buckets


def _insert(template: Template, drafts: list[Draft], deep: list[Unit], place: int | None) -> list[Draft]:
    if not deep:
        return drafts
    said = [at for at, draft in enumerate(drafts) if draft.said]
    buckets = _buckets(deep, len(said))

    def made(depth: int) -> list[Draft]:
        return _joined(((unit.pieces[0], template.blocks[unit.block].id) for unit in buckets[depth]), "\n")

    if not said:
        at = len(drafts) if place is None else place
        return [*drafts[:at], *made(0), *drafts[at:]]
    # Before the N-th of the conversation from its end, and after the last of it: so each place is that of a message.
    before = {at: len(said) - number for number, at in enumerate(said)}
    found: list[Draft] = []
    for at, draft in enumerate(drafts):
        if at in before:
            found += made(before[at])
        found.append(draft)
        if at == said[-1]:
            found += made(0)
    return found


def _squashed(template: Template, drafts: list[Draft]) -> list[Draft]:
    if template.squash == "none":
        return drafts
    anonymous = template.names == "none" and template.output == "structured_list"
    found: list[Draft] = []
    for draft in drafts:
        last = found[-1] if found else None
        if (
            last is not None
            and last.role == draft.role
            and (template.squash == "same_role" or draft.role == "system")
            # Who speaks is lost where two become one: only where nobody is named, or it is the same.
            and (last.name == draft.name or anonymous)
        ):
            last.append(draft, template.separator)
        else:
            found.append(draft)
    return found
