"""Bases of ours as the books of one scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import Affix
from innkeeper.knowledge.worldinfo.decorators import split_decorators
from innkeeper.knowledge.worldinfo.entry import WorldEntry, read_world_entry
from innkeeper.knowledge.worldinfo.lore import Lore
from innkeeper.knowledge.worldinfo.plan import Plan
from innkeeper.knowledge.worldinfo.settings import Settings

ToWorld = Callable[[Item], Mapping[str, Any]]
"""Every field of world info that an entry of ours has: `interchange.world_export.world_entry`."""


class Books:
    """Bases, ready to be scanned any number of times, as long as none of their entries changes.

    Attributes:
        plan: their entries in order.
        items: base and entry of each.
    """

    def __init__(
        self, bases: Sequence[tuple[str, Sequence[Item]]], to_world: ToWorld, settings: Settings | None = None
    ) -> None:
        """Takes some 0.5 s for ten thousand entries, so it belongs into a thread and is kept.

        Args:
            bases: id of each base with its entries.
            to_world: what world info reads in an entry.
            settings: strategy, and what counts for entries that say nothing of case and whole words themselves.
        """
        self.items: dict[WorldEntry, tuple[str, Item]] = {}
        for base, items in bases:
            for item in items:
                self.items[_world_entry(base, item, to_world)] = (base, item)
        self.plan = Plan(Lore(everywhere=list(self.items)), settings or Settings())


def _world_entry(base: str, item: Item, to_world: ToWorld) -> WorldEntry:
    # By its id: a uid is a number, and not every entry has one.
    raw = {**to_world(item), "uid": item.entry.id}
    usage = item.entry.usage_metadata
    content = raw.get("content")
    if isinstance(content, str) and content and (_text(usage.prefix) or _text(usage.suffix)):
        # Decorators stay where they are looked for.
        _, rest = split_decorators(content)
        head = content[: len(content) - len(rest)]
        raw["content"] = f"{head}{_text(usage.prefix)}{rest}{_text(usage.suffix)}"
    return read_world_entry(raw, base)


def _text(affix: Affix | None) -> str:
    return affix.text if affix is not None and affix.is_enabled else ""
