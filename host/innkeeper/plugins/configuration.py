"""innkeeper.toml: the host's own configuration.

cache = "/var/cache/innkeeper"   # folder of compiled modules, or "off"

[bounds]                # what all guests share; fields of `Bounds`
live_guests = 2000
guest_memory = "2GiB"   # at its start a small guest counts 5 pages of 64 KiB: its own first, and 4 of its kernel

[limits]                # the most that a grant or a flag may raise a limit to; fields of `Limits`
memory = "2GiB"

[defaults]              # the limits of a call without a grant
cpu = "2s"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from innkeeper.errors import UsageError
from innkeeper.plugins.quantities import BOUNDS, LIMITS, read_quantities, with_quantities
from innkeeper.plugins.settings import (
    FilesSettings,
    JournalSettings,
    LlmSettings,
    MemoSettings,
    Policy,
    Retention,
    SecretsSettings,
)
from innkeeper.plugins.tables import SettingsError, Table, TableError, parse_toml, shown
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation.place import RIGHT, is_right
from innkeeper.sandbox.limits import CEILING, DEFAULTS, Limits

FILE_NAME = "innkeeper.toml"


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
        set_here: names such as "bounds.workers" that innkeeper.toml gives; all others are built in.
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
    set_here: frozenset[str] = frozenset()


def parse_configuration(data: bytes, *, where: str = FILE_NAME) -> Configuration:
    """The configuration from its text.

    Raises:
        UsageError: it is not one; one sentence per problem (`SettingsError`).
    """
    problems: list[str] = []
    try:
        table = Table(parse_toml(data, where), where, problems)
    except TableError as error:
        raise SettingsError(error) from None
    table.only(("bounds", "limits", "defaults", "cache", "native_plugins"))
    cache = table.text("cache", right=RIGHT)
    if cache is not None and not is_right(cache):
        table.problem("cache", f"is {shown(cache)}: it must be {RIGHT}")
    native_plugins = table.flag("native_plugins", False)
    bounds = read_quantities(table.table("bounds"), BOUNDS)
    ceiling = read_quantities(table.table("limits"), LIMITS)
    defaults = read_quantities(table.table("defaults"), LIMITS)
    if problems:
        raise SettingsError(TableError(problems))
    limits = with_quantities(CEILING, ceiling)
    # A ceiling below a default lowers the default too; a default that somebody wrote is checked as it stands.
    lowered: Mapping[str, int | float] = {
        name: min(getattr(DEFAULTS, name), getattr(limits, name)) for name in LIMITS if name not in defaults
    }
    try:
        usual = with_quantities(DEFAULTS, {**lowered, **defaults}).within(limits)
    except UsageError as error:
        raise SettingsError(TableError([f"{where}: defaults has {error.message}"])) from None
    named = (("bounds", bounds), ("limits", ceiling), ("defaults", defaults))
    return Configuration(
        bounds=with_quantities(Bounds(), bounds),
        ceiling=limits,
        defaults=usual,
        cache=cache,
        native_plugins=native_plugins,
        set_here=frozenset(f"{section}.{key}" for section, values in named for key in values),
    )
