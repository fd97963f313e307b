"""Every setting in force, with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.configuration_sources import root
from innkeeper.plugins.setting_keys import Key, Leaf, Named, Section, Shape, dotted
from innkeeper.plugins.units import Unit

BUILT_IN = "built in"

_MEASURED = {
    "bounds.live_guests": "vm.max_map_count",
    "bounds.guest_memory": "half of the memory",
    "bounds.workers": "cores",
}
"""Defaults that depend on the machine, and what they are made of."""


@dataclass(frozen=True, slots=True)
class Row:
    """A setting in force.

    Attributes:
        key: such as "journal.keep".
        value: bool, number, text, tuple of texts, or None where nothing is said; of a secret what may be shown.
        unit: how it is shown.
        origin: "built in", what a default was measured from, "innkeeper.toml", the name of a variable, or "--set".
    """

    key: str
    value: object
    unit: Unit
    origin: str

    @property
    def shown(self) -> str:
        """The value as people read it (str)."""
        return "-" if self.value is None else self.unit.show(self.value)


def effective_settings(configuration: Configuration) -> list[Row]:
    """Every setting of a configuration, those of named entries included (list of Row)."""
    rows: list[Row] = []
    for name, shape in root().fields.items():
        value = getattr(configuration, {"limits": "ceiling"}.get(name, name))
        for key, each, leaf in _walk(shape, value, (name,)):
            text = dotted(key)
            origin = configuration.origins.get(text) or _MEASURED.get(text, BUILT_IN)
            shown = leaf.unit.show(each) if leaf.unit.secret and each is not None else each
            rows.append(Row(text, shown, leaf.unit, origin))
    return rows


def _walk(shape: Shape, value: object, key: Key) -> Iterator[tuple[Key, object, Leaf]]:
    if isinstance(shape, Leaf):
        yield key, value, shape
    elif isinstance(shape, Section):
        for name, inner in shape.fields.items():
            yield from _walk(inner, getattr(value, name), (*key, name))
    elif isinstance(shape, Named) and isinstance(value, Mapping):
        for name, inner_value in value.items():
            yield from _walk(shape.item, inner_value, (*key, name))
