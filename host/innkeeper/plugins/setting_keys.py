"""The keys of the configuration, derived from its dataclasses: which there are, what each counts, and how values that
were found under keys become objects again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from innkeeper.plugins import units, web_units
from innkeeper.plugins.configuration import PREFIX
from innkeeper.plugins.tables import Table, TableError, nearest, parse_toml, shown
from innkeeper.plugins.units import Unit, read_text, unit_of

Key = tuple[str, ...]
"""Such as ("journal", "keep")."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MAX_ENTRIES = 1000
_MAX_KEY = 300


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value."""

    unit: Unit


@dataclass(frozen=True, slots=True)
class Section:
    """Values under fixed names.

    Attributes:
        fields: by name.
        make: what is made of them; None where somebody else knows.
        required: names that every section of its kind must have.
    """

    fields: Mapping[str, Shape]
    make: Callable[..., Any] | None = None
    required: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Named:
    """Values or sections under names that the operator chooses."""

    names: Unit
    item: Shape


Shape = Leaf | Section | Named


def shape_of(hint: Any) -> Shape:
    """The shape of a setting, by its type: a dataclass, a `Mapping`, or what has a unit.

    Raises:
        TypeError: settings have no such type.
    """
    if get_origin(hint) in (Mapping, dict):
        names, item = get_args(hint)
        return Named(unit_of(names), shape_of(item))
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint, localns=vars(units) | vars(web_units), include_extras=True)
        required = {each.name for each in fields(hint) if each.default is MISSING and each.default_factory is MISSING}
        return Section({each.name: shape_of(hints[each.name]) for each in fields(hint)}, hint, frozenset(required))
    return Leaf(unit_of(hint))


@dataclass(slots=True)
class Found:
    """What the sources of the configuration say.

    Attributes:
        values: by key.
        origins: where each value and each named entry comes from, by key.
        problems: one sentence each.
    """

    values: dict[Key, object] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    # --- reading ----------------------------------------------------------------------------------------------------

    def read_table(self, table: Table, section: Section, origin: str, key: Key = ()) -> None:
        """Takes the values of a table of a file. Each key that is not known and each wrong value is a problem."""
        table.only(tuple(section.fields))
        for name, shape in section.fields.items():
            if name in table.data:
                self._read(table, name, shape, origin, (*key, name))

    def _read(self, table: Table, name: str, shape: Shape, origin: str, key: Key) -> None:
        if not isinstance(shape, Leaf) and not isinstance(table.data[name], dict):
            # Not the value: it may be a secret that was written into the wrong place.
            table.problem(name, f"must be a table, written [{dotted(key)}]")
        elif isinstance(shape, Section):
            # Also one that says nothing is there.
            self.origins[key] = origin
            self.read_table(table.table(name), shape, origin, key)
        elif isinstance(shape, Named):
            inner = table.table(name)
            if len(inner.data) > _MAX_ENTRIES:
                table.problem(name, f"has {len(inner.data)} entries: the most is {_MAX_ENTRIES}")
                return
            for entry in inner.data:
                try:
                    shape.names.read(entry)
                except ValueError:
                    inner.problem(entry, f"is not right: it must be {shape.names.right}")
                    continue
                self._read(inner, entry, shape.item, origin, (*key, entry))
        else:
            try:
                self.values[key] = shape.unit.read(table.data[name])
            except ValueError:
                table.problem(name, _wrong(shape.unit, table.data[name]))
                return
            self.origins[key] = origin

    def read_line(self, key: Key, leaf: Leaf, text: str, origin: str, where: str) -> None:
        """Takes one value from a line of text; `where` names it in messages."""
        try:
            value = read_text(leaf.unit, text)
        except ValueError:
            self.problems.append(f"{where}: {_wrong(leaf.unit, text)}")
            return
        self.values[key] = value
        for length in range(1, len(key)):
            self.origins.setdefault(key[:length], origin)
        self.origins[key] = origin

    # --- building ---------------------------------------------------------------------------------------------------

    def build(self, shape: Shape, key: Key) -> Any:
        """What was found below a key, as the object that it describes. A section that lacks what it needs is a problem,
        and None."""
        if isinstance(shape, Leaf):
            return self.values.get(key)
        if isinstance(shape, Named):
            names = [each[-1] for each in self.origins if len(each) == len(key) + 1 and each[:-1] == key]
            return {name: self.build(shape.item, (*key, name)) for name in names}
        assert shape.make is not None
        given: dict[str, Any] = {}
        for name, inner in shape.fields.items():
            below = (*key, name)
            if isinstance(inner, Section) or below in self.values:
                given[name] = self.build(inner, below)
            elif isinstance(inner, Named) and (entries := self.build(inner, below)):
                given[name] = entries
        missing = [name for name in shape.fields if name in shape.required and name not in given]
        for name in missing:
            leaf = shape.fields[name]
            right = leaf.unit.right if isinstance(leaf, Leaf) else "a table"
            where = self.origins.get(key, "innkeeper.toml")
            said = f"{where}: {dotted((*key, name))} "
            # A value that is there and wrong was named already.
            if not any(problem.startswith(said) for problem in self.problems):
                self.problems.append(f"{said}is missing: it must be {right}")
        return None if missing else shape.make(**given)


def _wrong(unit: Unit, value: object) -> str:
    return f"{'is not right' if unit.private else f'is {shown(value)}'}: it must be {unit.right}"


# --- names of keys --------------------------------------------------------------------------------------------------


def dotted(key: Key) -> str:
    """A key as innkeeper.toml writes it in one line (str)."""
    return ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in key)


def leaf_of(root: Section, text: str) -> tuple[Key, Leaf]:
    """The key that a text such as `journal.keep` names, and what it counts.

    Raises:
        ValueError: there is none; the message says which one is near.
    """
    key = _parts(text)
    shape: Shape | None = root
    for part in key:
        if isinstance(shape, Section):
            shape = shape.fields.get(part)
        elif isinstance(shape, Named):
            shape = _named(shape, part)
        else:
            shape = None
    if key and isinstance(shape, Leaf):
        return key, shape
    if key and shape is not None:
        raise ValueError(f"{shown(text)} is a table, and not one setting")
    known = [dotted(each) for each, _ in leaves(root)]
    raise ValueError(f"{shown(text)} is not a setting{nearest(text, known) or '; `innkeeper config` lists them'}")


def _named(shape: Named, name: str) -> Shape | None:
    try:
        shape.names.read(name)
    except ValueError:
        return None
    return shape.item


def _parts(text: str) -> Key:
    """The parts of a key as TOML writes it; none if it is no key."""
    if len(text) > _MAX_KEY or "=" in text or not text.isprintable():
        return ()
    try:
        value: Any = parse_toml(f"{text} = 0".encode(), "")
    except (TableError, UnicodeEncodeError):
        return ()
    parts: list[str] = []
    while isinstance(value, dict) and len(value) == 1:
        ((part, value),) = value.items()
        parts.append(part)
    return tuple(parts) if value == 0 else ()


def leaves(shape: Shape, key: Key = ()) -> Iterator[tuple[Key, Leaf]]:
    """Every setting with its key; NAME stands for what the operator chooses."""
    if isinstance(shape, Leaf):
        yield key, shape
    elif isinstance(shape, Named):
        yield from leaves(shape.item, (*key, "NAME"))
    else:
        for name, inner in shape.fields.items():
            yield from leaves(inner, (*key, name))


def variable_of(key: Key) -> str | None:
    """The variable of a key as `leaves` gives it (str), or None where a variable cannot say it: two names in one have
    no border that can be seen."""
    return None if key.count("NAME") > 1 else PREFIX + "_".join(key).upper()


def leaf_of_variable(root: Section, name: str) -> tuple[Key, Leaf] | None:
    """The setting that a variable means, or None."""
    rest = name.removeprefix(PREFIX)
    if rest != rest.upper() or name == rest or len(name) > _MAX_KEY:
        return None
    return next(_meant(root, rest.lower(), ()), None)


def _meant(shape: Shape, rest: str, key: Key) -> Iterator[tuple[Key, Leaf]]:
    if isinstance(shape, Leaf):
        if not rest:
            yield key, shape
    elif isinstance(shape, Section):
        for name, inner in shape.fields.items():
            if rest == name or rest.startswith(f"{name}_"):
                yield from _meant(inner, rest[len(name) + 1 :], (*key, name))
    else:
        ends = {"": shape.item} if isinstance(shape.item, Leaf) else {}
        if isinstance(shape.item, Section):
            ends = {f"_{name}": inner for name, inner in shape.item.fields.items() if isinstance(inner, Leaf)}
        for end, inner in ends.items():
            chosen = rest[: len(rest) - len(end)]
            if rest.endswith(end) and _named(shape, chosen) is not None:
                yield (*key, chosen, *([end[1:]] if end else [])), inner
