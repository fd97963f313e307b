"""Reads the configuration from its file, variables and options. Imported where there is one of them: a host that nobody
configured does not pay for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from innkeeper.errors import UsageError
from innkeeper.plugins.configuration import FILE_NAME, OPTION, OTHER_VARIABLES, Configuration, is_setting
from innkeeper.plugins.quantities import BOUNDS, LIMITS, units, with_quantities
from innkeeper.plugins.setting_keys import (
    Found,
    Key,
    Leaf,
    Named,
    Section,
    dotted,
    leaf_of,
    leaf_of_variable,
    leaves,
    shape_of,
    variable_of,
)
from innkeeper.plugins.tables import SettingsError, Table, TableError, nearest, parse_toml, visible
from innkeeper.plugins.units import Unit
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation.place import RIGHT, is_right
from innkeeper.sandbox.limits import CEILING, DEFAULTS

_NATIVE: Key = ("native_plugins",)
"""Whoever lets code run unconfined says so where it stays, and where it is seen: a variable of a parent process and an
option of a script are neither."""


@cache
def root() -> Section:
    """All keys of the configuration, in the order in which they are shown."""
    plain: dict[str, Any] = {
        "bounds": Section({name: Leaf(units()[kind]) for name, kind in BOUNDS.items()}),
        "limits": Section({name: Leaf(units()[kind]) for name, kind in LIMITS.items()}),
        "defaults": Section({name: Leaf(units()[kind]) for name, kind in LIMITS.items()}),
        "cache": Leaf(Unit(RIGHT, _cache)),
    }
    hints = get_type_hints(Configuration, include_extras=True)
    rest = [name for name in hints if name not in ("bounds", "ceiling", "defaults", "cache", "origins")]
    return Section(plain | {name: shape_of(hints[name]) for name in rest})


def read_sources(
    data: bytes | None, variables: Mapping[str, str], options: Mapping[str, str], where: str
) -> Configuration:
    """As `configuration.read_configuration`; `variables` are those that may be settings."""
    found = Found()
    try:
        if data is not None:
            found.read_table(Table(parse_toml(data, where), where, found.problems), root(), FILE_NAME)
    except TableError as error:
        found.problems += error.problems
    on = found.values.get(_NATIVE)
    for name, text in variables.items():
        meant = leaf_of_variable(root(), name)
        if meant is not None:
            found.read_line(*meant, text, origin=name, where=name)
    for name, text in options.items():
        try:
            key, leaf = leaf_of(root(), name)
        except ValueError as error:
            found.problems.append(f"{OPTION}: {error}")
        else:
            found.read_line(key, leaf, text, origin=OPTION, where=f"{OPTION} {dotted(key)}")
    if found.values.get(_NATIVE) is True and on is not True:
        found.problems.append(
            f"{found.origins[_NATIVE]}: native_plugins is true: only {where} itself can turn native plugins on"
        )
    configuration = _build(found, where)
    if found.problems or configuration is None:
        raise SettingsError(TableError(found.problems))
    return configuration


def strange_variables(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like a setting and is none (list of str). No value is shown."""
    known = [*filter(None, (variable_of(key) for key, _ in leaves(root()))), *OTHER_VARIABLES]
    return [
        f"the variable {visible(name, 100)} is not a setting{nearest(name, known)}"
        for name in sorted(environment)
        if is_setting(name) and leaf_of_variable(root(), name) is None
    ]


def _cache(value: object) -> str:
    if not isinstance(value, str) or not is_right(value):
        raise ValueError
    return value


def _build(found: Found, where: str) -> Configuration | None:
    def quantities(section: str) -> dict[str, int | float]:
        return {
            key[1]: value for key, value in found.values.items() if key[0] == section and isinstance(value, int | float)
        }

    sections = {
        name: found.build(shape, (name,))
        for name, shape in root().fields.items()
        if isinstance(shape, Named) or (isinstance(shape, Section) and shape.make is not None)
    }
    plain = {key[0]: value for key, value in found.values.items() if len(key) == 1}
    found.problems += _models_twice(found, where)
    if found.problems:
        return None
    ceiling, defaults = quantities("limits"), quantities("defaults")
    limits = with_quantities(CEILING, ceiling)
    # A ceiling below a default lowers the default too; a default that somebody wrote is checked as it stands.
    lowered: Mapping[str, int | float] = {
        name: min(getattr(DEFAULTS, name), getattr(limits, name)) for name in LIMITS if name not in defaults
    }
    try:
        usual = with_quantities(DEFAULTS, {**lowered, **defaults}).within(limits)
    except UsageError as error:
        sources = dict.fromkeys(found.origins[key] for key in found.values if key[0] in ("limits", "defaults"))
        named = " and ".join(where if source == FILE_NAME else source for source in sources)
        found.problems.append(f"{named}: defaults has {error.message}")
        return None
    fields: dict[str, Any] = {**sections, **plain}
    return Configuration(
        bounds=with_quantities(Bounds(), quantities("bounds")),
        ceiling=limits,
        defaults=usual,
        origins={dotted(key): found.origins[key] for key in found.values},
        **fields,
    )


def _models_twice(found: Found, where: str) -> list[str]:
    """A sentence for each name of a model that two endpoints have: plugins say nothing but that name."""
    first: dict[str, tuple[str, ...]] = {}
    problems = []
    for key in found.values:
        if key[:2] == ("llm", "endpoints") and key[3:4] == ("models",):
            before = first.setdefault(key[4], key)
            if before is not key:
                label = found.origins[key] if found.origins[key] != FILE_NAME else where
                problems.append(
                    f"{label}: {dotted(key)} is a model that {dotted(before[:3])} has; give it another name"
                )
    return problems
