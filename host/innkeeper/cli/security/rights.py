"""What was given to plugins: native ones, grants, secrets, raised limits."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields

from innkeeper.bridge.secret_store import VARIABLE, SecretStore
from innkeeper.cli.security.finding import Finding, fine, or_fine
from innkeeper.plugins.capabilities import Capability
from innkeeper.plugins.catalogue import Catalogue, Entry
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.risk import risk, risk_of_all
from innkeeper.plugins.scopes import FileScope, NameScope, TopicScope, WebScope
from innkeeper.plugins.urls import leaves_in_clear
from innkeeper.sandbox.limits import CEILING, Limits

_NEAR = 0.8
"""Share of the ceiling from which a limit of a grant is said to be near it."""

_NOT_FOR_THESE = {
    "changed": ("the file is another than was granted; the grant is not used", "if you put it there,"),
    "carried": ("the file is another than was granted, and has its grant by policy.new_bytes", "to agree to it,"),
    "unusable": ("its grant cannot be used", "mend it, or"),
}
"""States of a grant: what is said, and how the advice begins."""


async def check_rights(catalogue: Catalogue, configuration: Configuration) -> list[Finding]:
    """What is wrong with what plugins were given (list of Finding)."""
    entries = list(catalogue.entries.values())
    return [
        *_native(catalogue, configuration),
        *_risks(entries),
        *_bytes(catalogue),
        *_limits(entries, configuration),
        *await _missing(entries, configuration),
        *_environment(os.environ),
        *_plain(entries),
    ]


def _native(catalogue: Catalogue, configuration: Configuration) -> list[Finding]:
    if not configuration.native_plugins:
        return [fine("native", "native plugins are off")]
    trusted = [entry.id for entry in catalogue.native.values() if entry.state == "trusted"]
    said = f"native plugins are on; what you trust runs with all your rights: {_named(trusted) or 'none yet'}"
    found = [Finding("native", "warn", said, "turn them off (native_plugins = false) if you need none")]
    for entry in catalogue.native.values():
        if entry.state in ("changed", "unusable"):
            # Somebody changed code that had all rights, or the word that it has them: not the operator, or they know.
            what = entry.problems[0].partition("; ")[0]
            advice = f"if it was not you, find out who; else read it, and `innkeeper trust {entry.id}`"
            found.append(Finding("native", "bad", what, advice))
        elif entry.state == "untrusted":
            said = f"{entry.label} is native and not trusted, so it is not run"
            found.append(
                Finding("native", "info", said, f"remove it, or read its code and `innkeeper trust {entry.id}`")
            )
    return found


def _risks(entries: Iterable[Entry]) -> list[Finding]:
    found: list[Finding] = []
    for entry in entries:
        given = entry.rights.capabilities
        wide = [each for each in given if risk(each).level == "highest" or _unbounded(each)]
        together = risk_of_all(given)
        if wide:
            said = f"{entry.id} has {_named(map(str, wide))}: {risk(wide[0]).reason}"
        elif together.level == "highest":
            said = f"{entry.id}: {together.reason}"
        else:
            continue
        advice = f"narrow it in manifests/{entry.id}.toml, or `innkeeper revoke {entry.id}`"
        found.append(Finding("grants.risk", "warn", said, advice))
    return or_fine("grants.risk", found)


def _unbounded(capability: Capability) -> bool:
    """Whether what it writes, reads or reaches has no bound but the service itself."""
    scope = capability.parsed
    if risk(capability).level != "high":
        return False
    return (
        (isinstance(scope, FileScope) and not scope.parts)
        or (isinstance(scope, NameScope) and scope.everything)
        or (isinstance(scope, TopicScope) and scope.words == ("**",))
        or (isinstance(scope, WebScope) and scope.host.startswith("*"))
    )


def _bytes(catalogue: Catalogue) -> list[Finding]:
    found: list[Finding] = []
    for entry in catalogue.entries.values():
        if entry.grant_state in _NOT_FOR_THESE:
            what, advice = _NOT_FOR_THESE[entry.grant_state]
            found.append(
                Finding("grants.bytes", "warn", f"{entry.id}: {what}", f"{advice} `innkeeper grant {entry.id}`")
            )
    for plugin_id, text in catalogue.unused:
        what = text.rpartition("; ")[0] or text
        found.append(Finding("grants.bytes", "info", what, f"remove manifests/{plugin_id}.toml" if plugin_id else ""))
    return or_fine("grants.bytes", found)


def _limits(entries: Iterable[Entry], configuration: Configuration) -> list[Finding]:
    ceiling, found = configuration.ceiling, list[Finding]()
    for entry in entries:
        raised = {} if entry.grant is None else entry.grant.limits
        near = [
            name
            for name, value in raised.items()
            if value >= _NEAR * getattr(ceiling, name) and value > getattr(configuration.defaults, name)
        ]
        if near:
            said = f"{entry.id} has limits near the host's own: {_named(near)}"
            found.append(Finding("limits", "warn", said, f"lower them in manifests/{entry.id}.toml"))
    above = [field.name for field in fields(Limits) if getattr(ceiling, field.name) > getattr(CEILING, field.name)]
    if above:
        said = f"grants may raise limits beyond what Innkeeper was tried with: {_named(above)}"
        found.append(Finding("limits", "warn", said, "lower them in the section [limits] of innkeeper.toml"))
    return or_fine("limits", found)


async def _missing(entries: Iterable[Entry], configuration: Configuration) -> list[Finding]:
    """By their names alone: no value is kept or compared."""
    found: list[Finding] = []
    store = SecretStore(configuration.secrets.file)
    for endpoint, settings in configuration.llm.endpoints.items():
        if settings.secret is not None and (why := await store.why_missing(settings.secret)):
            said = f"the secret {settings.secret} of llm.endpoints.{endpoint} has no value: {why}"
            found.append(Finding("secrets.missing", "warn", said, "set it, or take the endpoint away"))
    for entry in entries:
        named = [each.scope for each in entry.rights.capabilities if each.name == "secrets"]
        for name in named:
            why = await store.why_missing(name)
            if why:
                said = f"the secret {name} of {entry.id} has no value: {why}"
                found.append(Finding("secrets.missing", "warn", said, "set it, or take the capability away"))
            elif entry.grant is not None and name not in entry.grant.secrets:
                said = f"the secret {name} of {entry.id} has no place to go to, so it is of no use"
                found.append(Finding("secrets.missing", "info", said, f"`innkeeper grant {entry.id}` says how"))
    return or_fine("secrets.missing", found, "every secret that is named has one")


def _environment(environment: Iterable[str]) -> list[Finding]:
    names = sorted(name for name in environment if name.startswith(VARIABLE))
    if not names:
        return [fine("secrets.environment")]
    said = f"every process of your user can read {_named(names)}"
    return [Finding("secrets.environment", "info", said, "put them into the file that secrets.file names")]


def _plain(entries: Iterable[Entry]) -> list[Finding]:
    found = [
        Finding(
            "secrets.plain",
            "bad",
            f"the secret {name} of {entry.id} goes to {host} unencrypted",
            f"write https:// in manifests/{entry.id}.toml, and change the secret",
        )
        for entry in entries
        if entry.grant is not None
        for name, use in entry.grant.secrets.items()
        for host in use.hosts
        if leaves_in_clear(host)
    ]
    return or_fine("secrets.plain", found)


def _named(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
