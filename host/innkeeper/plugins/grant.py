"""What the operator says of a plugin: manifests/ID.toml, bound to the sha256 of the file.

sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
capabilities = ["kv", "http:https://api.example.com/v1/*"]
instance = "shared"

[consent]
version = "1.2.0"
asked = ["kv", "http:https://api.example.com/*"]

[limits]
memory = "128MiB"
cpu = "5s"

[config]
language = "en"

[secrets.WEATHER_KEY]
header = "Authorization"
prefix = "Bearer "
hosts = ["https://api.example.com"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from innkeeper.errors import UsageError
from innkeeper.plugins.quantities import LIMITS, read_quantities, with_quantities
from innkeeper.plugins.tables import SettingsError, Table, TableError, parse_toml, shown
from innkeeper.plugins.tables import quoted as _text
from innkeeper.sandbox.limits import Limits

if TYPE_CHECKING:
    from innkeeper.plugins.capabilities import Capability
    from innkeeper.plugins.secret_use import SecretUse

MAX_CAPABILITIES = 256
"""Capabilities of one list of a grant: a manifest requests 64 at most, and each may be narrowed to several."""

_KEYS = ("sha256", "capabilities", "instance", "consent", "limits", "config", "secrets")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MAX_CONFIG = 1000


@dataclass(frozen=True, slots=True)
class Grant:
    """What a plugin gets.

    Attributes:
        sha256: digest of the file that it is for, as 64 hexadecimal digits.
        limits: limits that differ from the host's defaults, by field of `Limits`, in bytes, seconds or counts.
        config: what the guest's `config_get` answers.
        shared: whether the plugin may have one guest that stays, if its manifest asks for it.
        capabilities: what it may do, as far as its manifest requests it.
        asked: what the plugin requested when the operator last agreed.
        version: that of the plugin then, or None if nobody was asked.
        secrets: where the host puts each secret, by its name; the capability `secrets:NAME` is needed besides.
    """

    sha256: str
    limits: Mapping[str, int | float] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    shared: bool = False
    capabilities: tuple[Capability, ...] = ()
    asked: tuple[Capability, ...] = ()
    version: str | None = None
    secrets: Mapping[str, SecretUse] = field(default_factory=dict)

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
    capabilities = _capabilities(table, "capabilities")
    consent = table.table("consent")
    consent.only(("version", "asked"))
    asked = _capabilities(consent, "asked")
    version = consent.text("version", pattern=_VERSION, right='a version such as "1.0.0"')
    secrets: dict[str, SecretUse] = {}
    if "secrets" in table.data:
        from innkeeper.plugins.secret_use import read_secrets

        secrets = read_secrets(table.table("secrets"))
    if problems:
        raise SettingsError(TableError(problems))
    return Grant(
        sha256=sha256 or "",
        limits=limits,
        config=config,
        shared=instance == "shared",
        capabilities=capabilities,
        asked=asked,
        version=version,
        secrets=secrets,
    )


def format_grant(grant: Grant) -> bytes:
    """A grant as its file holds it (bytes); reading it gives an equal one.

    The config must be text as TOML holds it, without lone surrogates; one that was read always is.
    """
    lines = [f"sha256 = {_text(grant.sha256)}"]
    if grant.capabilities:
        lines += _list("capabilities", grant.capabilities)
    if grant.shared:
        lines.append('instance = "shared"')
    if grant.asked or grant.version is not None:
        lines += ["", "[consent]"]
        if grant.version is not None:
            lines.append(f"version = {_text(grant.version)}")
        lines += _list("asked", grant.asked)
    if grant.limits:
        lines += ["", "[limits]", *(f"{key} = {_quantity(key, value)}" for key, value in grant.limits.items())]
    if grant.config:
        lines += ["", "[config]", *(f"{_key(key)} = {_text(value)}" for key, value in grant.config.items())]
    for name, use in grant.secrets.items():
        lines += ["", f"[secrets.{name}]"]
        words = (("header", use.header), ("prefix", use.prefix), ("query", use.query))
        lines += [f"{key} = {_text(value)}" for key, value in words if value]
        lines += ["hosts = [", *(f"    {_text(each)}," for each in use.hosts), "]"]
    return ("\n".join(lines) + "\n").encode()


def _capabilities(table: Table, key: str) -> tuple[Capability, ...]:
    value = table.data.get(key, [])
    if not isinstance(value, list):
        table.problem(key, f'is {shown(value)}: it must be a list of capabilities such as ["kv"]')
        return ()
    if len(value) > MAX_CAPABILITIES:
        table.problem(key, f"has {len(value)} entries: the most is {MAX_CAPABILITIES}")
        return ()
    if not value:
        return ()
    from innkeeper.plugins.capabilities import parse_capability

    found: dict[Capability, None] = {}
    for position, text in enumerate(value):
        try:
            if not isinstance(text, str):
                raise ValueError(f'{shown(text)} must be text, such as "kv"')
            found[parse_capability(text)] = None
        except ValueError as error:
            table.problem(f"{key}[{position}]", f"is not right: {error}")
    return tuple(found)


def _list(key: str, capabilities: tuple[Capability, ...]) -> list[str]:
    return (
        [f"{key} = [", *(f"    {_text(str(each))}," for each in capabilities), "]"] if capabilities else [f"{key} = []"]
    )


def _quantity(key: str, value: int | float) -> str:
    if LIMITS.get(key) == "size":
        for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value % factor == 0:
                return f'"{value // factor}{unit}"'
    return repr(value)


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _text(text)
