"""Which grants of a home are in force, and which are for a plugin that is not there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final, Literal

from innkeeper.errors import InnkeeperError
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.files import read_optional
from innkeeper.plugins.grant import Grant, parse_grant
from innkeeper.plugins.home import Place
from innkeeper.plugins.listing import Signature
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.module import Module
from innkeeper.plugins.rights import FREE
from innkeeper.plugins.tables import MAX_BYTES, nearest, problems_of, shown
from innkeeper.sandbox.limits import Limits

GrantState = Literal["none", "granted", "carried", "changed", "unusable"]

PATIENCE: Final = 600.0
"""Seconds that a call may take, and one host call in it, of a plugin that may ask language models or has streams: what
a model takes for a long answer on a small machine, and whoever reads it."""

_WAITING: Final = {"wall": PATIENCE, "host_call": PATIENCE}
_STREAMING: Final = {**_WAITING, "host_calls": 100_000}
"""Two calls for each chunk are common, and there is one chunk for each word."""

_MOST_UNUSED = 50
"""Grants without a plugin that are said by name. Looking for what was meant takes time for each."""


@dataclass(frozen=True, slots=True)
class GrantFile:
    """A grant as it was read.

    Attributes:
        content: tells it from another; equal for equal bytes.
        grant: what it says, or None where it has problems.
        problems: one text each.
    """

    content: str
    grant: Grant | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a plugin gets.

    Attributes:
        grant: the grant in force, or None.
        state: "none"; "granted"; "carried": it is for other bytes, and in force for these by policy, since they request
            no more; "changed": it is for other bytes; "unusable".
        limits: of a call for which nobody says more.
        problems: why its grant is not used, one text each.
        patient: `limits` if the plugin may ask language models, or None where it has no grant.
    """

    grant: Grant | None
    state: GrantState
    limits: Limits
    problems: tuple[str, ...] = ()
    patient: Limits | None = None


def grant_label(plugin_id: str) -> str:
    """The name of a plugin's grant in messages (str)."""
    return f"manifests/{plugin_id}.toml"


def carried_over(plugin_id: str) -> str:
    """That a grant for other bytes is in force for these (str), as the middle of a sentence."""
    return f"{grant_label(plugin_id)}, which is for other bytes, is in force for these: they ask for no more"


def read_grant(place: Place, plugin_id: str) -> GrantFile | None:
    """The grant for a plugin that lies in a place, or None. Blocks on the file."""
    if not place.believed:
        return None
    label = grant_label(plugin_id)
    try:
        data = read_optional(place.manifests / f"{plugin_id}.toml", most=MAX_BYTES, label=label)
    except InnkeeperError as error:
        return GrantFile(error.message, None, _not_used(error))
    if data is None:
        return None
    content = hashlib.sha256(data).hexdigest()
    try:
        return GrantFile(content, parse_grant(data, where=label))
    except InnkeeperError as error:
        return GrantFile(content, None, _not_used(error))


def rule(
    found: GrantFile | None, plugin_id: str, digest: str, manifest: Manifest | None, configuration: Configuration
) -> Ruling:
    """What a plugin gets.

    Args:
        found: its grant; the operator's own goes before ours.
        plugin_id: its id.
        digest: sha256 of its bytes, as hexadecimal digits.
        manifest: its author's words, or None.
        configuration: of the host.
    """
    streams = manifest is not None and manifest.has_streams
    defaults = _raised(configuration, _STREAMING) if streams else configuration.defaults
    if found is None:
        return Ruling(None, "none", defaults)
    if found.grant is None:
        return Ruling(None, "unusable", defaults, found.problems)
    label, grant = grant_label(plugin_id), found.grant
    state: GrantState = "granted"
    if grant.sha256 != digest:
        if configuration.policy.new_bytes != "same" or not _asks_no_more(manifest, grant):
            problem = f"{label}: the file changed since it was granted; the grant is not used"
            return Ruling(None, "changed", defaults, (problem,))
        state = "carried"
    try:
        limits = grant.apply(defaults, configuration.ceiling, label)
        patient = grant.apply(_raised(configuration, _WAITING, defaults), configuration.ceiling, label)
    except InnkeeperError as error:
        return Ruling(None, "unusable", defaults, _not_used(error))
    schema = None if manifest is None else manifest.config_schema
    problems = [] if schema is None else schema.problems(grant.config)
    if problems:
        said = tuple(f"{label}: {problem}; the grant is not used" for problem in problems)
        return Ruling(None, "unusable", defaults, said)
    return Ruling(grant, state, limits, patient=patient)


def _raised(configuration: Configuration, wanted: Mapping[str, float], defaults: Limits | None = None) -> Limits:
    """Defaults (the host's own for None) that are higher where the operator did not write down another one, and never
    above the host's own ceiling."""
    found, ceiling = defaults or configuration.defaults, configuration.ceiling
    raised = {
        name: max(getattr(found, name), min(value, getattr(ceiling, name)))
        for name, value in wanted.items()
        if f"defaults.{name}" not in configuration.origins
    }
    return replace(found, **raised) if raised else found


def rule_standing(found: GrantFile | None, plugin_id: str, module: Module, configuration: Configuration) -> Ruling:
    """As `rule`, for a version that stays in service though its file holds another by now."""
    ruling = rule(found, plugin_id, module.digest, module.manifest, configuration)
    if ruling.state != "changed":
        return ruling
    problem = f"{grant_label(plugin_id)}: is not for the version that stays in service; the grant is not used"
    return replace(ruling, problems=(problem,))


def _asks_no_more(manifest: Manifest | None, grant: Grant) -> bool:
    """Whether each request was among those that the operator saw, or is a part of one. What was given is no measure: an
    operator who gave less may have had a reason. Without a consent nobody saw anything."""
    if grant.version is None:
        return False
    requests = () if manifest is None else manifest.capabilities
    wanted = [request.capability for request in requests if request.capability.name not in FREE]
    return all(any(asked.covers(each) for asked in grant.asked) for each in wanted)


def unused_grants(
    places: Sequence[Mapping[str, Signature]], labels: Mapping[str, str], failed: Collection[str]
) -> list[tuple[str, str]]:
    """(id, text) per grant whose plugin is not there: its file or the plugin's has another name than was meant.

    Args:
        places: for each place, its grants by the id that they are for.
        labels: id of each plugin to the name of its file.
        failed: ids of plugins whose own problem is said already.
    """
    unused: list[tuple[str, str]] = []
    more = 0
    for names in places:
        for name in names:
            if name in labels or name in failed:
                continue
            if len(unused) >= _MOST_UNUSED:
                more += 1
                continue
            text = f"{grant_label(name)}: there is no plugin {shown(name)}{meant(name, labels)}; the grant is not used"
            unused.append((name, text))
    if more:
        unused.append(("", f"manifests: {more} more grants are for plugins that are not there"))
    return unused


def meant(name: str, labels: Mapping[str, str]) -> str:
    """The end of a sentence about a plugin that is not there (str): the one whose file has that name, or a near one.

    Args:
        name: what was taken for an id.
        labels: id of each plugin to the name of its file.
    """
    for plugin_id, label in labels.items():
        if PurePath(label).stem == name:
            return f"; {label} has the id {plugin_id!r}"
    return nearest(name, labels)


def _not_used(error: InnkeeperError) -> tuple[str, ...]:
    return tuple(f"{problem}; the grant is not used" for problem in problems_of(error))
