"""The host's configuration: innkeeper.toml, variables over it, options over both.

Its keys are the fields of `Configuration` and of its sections (`settings`), and those of `Bounds` and `Limits`:
[bounds] what all guests share, [limits] the most that a grant or a flag may raise a limit to, [defaults] the limits of
a call without a grant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from innkeeper.plugins.settings import (
    DatabaseSettings,
    FilesSettings,
    JournalSettings,
    KnowledgeSettings,
    LlmSettings,
    MemoSettings,
    Policy,
    Retention,
    RunsSettings,
    SecretsSettings,
    ServerSettings,
)
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.limits import CEILING, DEFAULTS, Limits

FILE_NAME = "innkeeper.toml"
OPTION: Final = "--set"

PREFIX: Final = "INNKEEPER_"

OTHER_VARIABLES: Final = ("INNKEEPER_HOME", "INNKEEPER_HOMES", "INNKEEPER_TRACEBACK", "INNKEEPER_MASTER_KEY")
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
        database: where what is kept lies.
        secrets: where values of secrets come from.
        files: the folders behind logical names.
        llm: language models.
        knowledge: knowledge bases.
        retention: for how long what belongs to an owner is kept.
        runs: the queue of runs, and how many are executed.
        server: how the server is reached.
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
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    secrets: SecretsSettings = field(default_factory=SecretsSettings)
    files: FilesSettings = field(default_factory=FilesSettings)
    llm: LlmSettings = field(default_factory=LlmSettings)
    knowledge: KnowledgeSettings = field(default_factory=KnowledgeSettings)
    retention: Retention = field(default_factory=Retention)
    runs: RunsSettings = field(default_factory=RunsSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    origins: Mapping[str, str] = field(default_factory=dict)


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
    variables = {name: text for name, text in (environment or {}).items() if is_setting(name) and text}
    if data is None and not variables and not options:
        return Configuration()
    from innkeeper.plugins.configuration_sources import read_sources

    return read_sources(data, variables, options or {}, where)


def is_setting(name: str) -> bool:
    """Whether a variable is meant as a setting (bool), if perhaps none that there is."""
    return name.startswith(PREFIX) and not name.startswith(SECRETS) and name not in OTHER_VARIABLES
