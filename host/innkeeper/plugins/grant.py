"""What the operator says of a plugin: manifests/ID.toml, bound to the sha256 of the file.

sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
instance = "shared"

[limits]
memory = "128MiB"
cpu = "5s"

[config]
language = "en"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from innkeeper.errors import UsageError
from innkeeper.plugins.quantities import LIMITS, read_quantities, with_quantities
from innkeeper.plugins.tables import SettingsError, Table, TableError, parse_toml, shown
from innkeeper.sandbox.limits import Limits

_KEYS = ("sha256", "limits", "config", "instance")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_CONFIG = 1000


@dataclass(frozen=True, slots=True)
class Grant:
    """What a plugin gets.

    Attributes:
        sha256: digest of the file that it is for, as 64 hexadecimal digits.
        limits: limits that differ from the host's defaults, by field of `Limits`, in bytes, seconds or counts.
        config: what the guest's `config_get` answers.
        shared: whether the plugin may have one guest that stays, if its manifest asks for it.
    """

    sha256: str
    limits: Mapping[str, int | float] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    shared: bool = False

    def apply(self, defaults: Limits, ceiling: Limits, where: str) -> Limits:
        """The limits of a call of this plugin.

        Raises:
            UsageError: one is above the host's own.
        """
        try:
            return with_quantities(defaults, self.limits).within(ceiling)
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}") from None


def parse_grant(data: bytes, *, where: str) -> Grant:
    """A grant from its text.

    Args:
        data: the file's bytes.
        where: the file's name, for messages.

    Raises:
        SettingsError: it is not a grant; one sentence per problem.
    """
    problems: list[str] = []
    try:
        table = Table(parse_toml(data, where), where, problems)
    except TableError as error:
        raise SettingsError(error) from None
    table.only(_KEYS)
    sha256 = table.text("sha256", required=True, pattern=_SHA256, right="the file's sha256, 64 hexadecimal digits")
    limits = read_quantities(table.table("limits"), LIMITS)
    entries = table.table("config")
    config: dict[str, str] = {}
    if len(entries.data) > _MAX_CONFIG:
        table.problem("config", f"has {len(entries.data)} keys: the most is {_MAX_CONFIG}")
    for key, value in entries.data.items():
        if isinstance(value, str):
            config[key] = value
        else:
            entries.problem(key, f"is {shown(value)}: it must be text")
    instance = table.choice("instance", ("fresh", "shared"), "fresh")
    if problems:
        raise SettingsError(TableError(problems))
    return Grant(sha256=sha256 or "", limits=limits, config=config, shared=instance == "shared")
