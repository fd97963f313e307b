"""The host's configuration: innkeeper.toml, variables over it, options over both.

Its keys are the fields of `Configuration` and of its sections (`settings`), and those of `Bounds` and `Limits`:
[bounds] what all guests share, [limits] the most that a grant or a flag may raise a limit to, [defaults] the limits of
a call without a grant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, get_type_hints

from innkeeper.errors import UsageError
from innkeeper.plugins.quantities import BOUNDS, LIMITS, UNITS, with_quantities
from innkeeper.plugins.setting_keys import (
    PREFIX,
    Found,
    Leaf,
    Section,
    dotted,
    leaf_of,
    leaf_of_variable,
    leaves,
    shape_of,
    variable_of,
)
from innkeeper.plugins.settings import (
    FilesSettings,
    JournalSettings,
    LlmSettings,
    MemoSettings,
    Policy,
    Retention,
    SecretsSettings,
)
from innkeeper.plugins.tables import SettingsError, Table, TableError, nearest, parse_toml, visible
from innkeeper.plugins.units import Unit
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation.place import RIGHT, is_right
from innkeeper.sandbox.limits import CEILING, DEFAULTS, Limits

FILE_NAME = "innkeeper.toml"
OPTION: Final = "--set"

OTHER_VARIABLES: Final = ("INNKEEPER_HOME", "INNKEEPER_TRACEBACK")
"""Variables of ours that are not settings."""

SECRETS: Final = "INNKEEPER_SECRET_"
"""How variables begin that are secrets; nobody looks at them here."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the host's operator decided.

    Attributes:
        bounds: what all guests may use together.
        ceiling: the most that a grant or a flag may raise a limit to.
        defaults: the limits of a call for which nobody said anything else.
        cache: folder of compiled modules (an absolute path), "off" for none, or None for the platform's folder.
        native_plugins: whether native plugins that the operator trusts are loaded.
        policy: what the host does by itself.
        journal: what is kept of calls.
        memo: the memory of pure calls.
        secrets: where values of secrets come from.
        files: the folders behind logical names.
        llm: language models.
        retention: for how long what belongs to an owner is kept.
        origins: where each value comes from that is not built in, by key: "innkeeper.toml", the name of a variable, or
            "--set".
    """

    bounds: Bounds = field(default_factory=Bounds)
    ceiling: Limits = CEILING
    defaults: Limits = DEFAULTS
    cache: str | None = None
    native_plugins: bool = False
    policy: Policy = field(default_factory=Policy)
    journal: JournalSettings = field(default_factory=JournalSettings)
    memo: MemoSettings = field(default_factory=MemoSettings)
    secrets: SecretsSettings = field(default_factory=SecretsSettings)
    files: FilesSettings = field(default_factory=FilesSettings)
    llm: LlmSettings = field(default_factory=LlmSettings)
    retention: Retention = field(default_factory=Retention)
    origins: Mapping[str, str] = field(default_factory=dict)


@cache
def root() -> Section:
    """All keys of the configuration, in the order in which they are shown."""
    # Worked out at the first need: a host that nobody configured does not pay for it.
    plain: dict[str, Any] = {
        "bounds": Section({name: Leaf(UNITS[kind]) for name, kind in BOUNDS.items()}),
        "limits": Section({name: Leaf(UNITS[kind]) for name, kind in LIMITS.items()}),
        "defaults": Section({name: Leaf(UNITS[kind]) for name, kind in LIMITS.items()}),
        "cache": Leaf(Unit(RIGHT, _cache)),
    }
    hints = get_type_hints(Configuration, include_extras=True)
    rest = [name for name in hints if name not in ("bounds", "ceiling", "defaults", "cache", "origins")]
    return Section(plain | {name: shape_of(hints[name]) for name in rest})


def parse_configuration(data: bytes, *, where: str = FILE_NAME) -> Configuration:
    """The configuration from the text of its file alone.

    Raises:
        UsageError: it is not one; one sentence per problem (`SettingsError`).
    """
    return read_configuration(data, where=where)


def read_configuration(
    data: bytes | None,
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    where: str = FILE_NAME,
) -> Configuration:
    """The configuration from all of its sources.

    Args:
        data: the text of innkeeper.toml, or None without one.
        environment: variables; those that are not settings count for nothing, and so does an empty one.
        options: text by key, as `--set KEY=VALUE` gives them.
        where: the file's name, for messages.

    Raises:
        UsageError: something of it is wrong; one sentence per problem (`SettingsError`), each with the file, the
            variable or the option.
    """
    variables = {name: text for name, text in (environment or {}).items() if _is_setting(name) and text}
    if data is None and not variables and not options:
        return Configuration()
    found = Found()
    try:
        if data is not None:
            found.read_table(Table(parse_toml(data, where), where, found.problems), root(), FILE_NAME)
    except TableError as error:
        found.problems += error.problems
    for name, text in variables.items():
        meant = leaf_of_variable(root(), name)
        if meant is not None:
            found.read_line(*meant, text, origin=name, where=name)
    for name, text in (options or {}).items():
        try:
            key, leaf = leaf_of(root(), name)
        except ValueError as error:
            found.problems.append(f"{OPTION}: {error}")
        else:
            found.read_line(key, leaf, text, origin=OPTION, where=f"{OPTION} {dotted(key)}")
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
        if _is_setting(name) and leaf_of_variable(root(), name) is None
    ]


def _is_setting(name: str) -> bool:
    return name.startswith(PREFIX) and not name.startswith(SECRETS) and name not in OTHER_VARIABLES


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
        if isinstance(shape, Section) and shape.make is not None
    }
    plain = {key[0]: value for key, value in found.values.items() if len(key) == 1}
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
