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
from innkeeper.plugins.tables import MAX_BYTES, nearest, problems_of, shown
from innkeeper.sandbox.limits import Limits

GrantState = Literal["none", "granted", "changed", "unusable"]

PATIENCE: Final = 600.0
"""Seconds that a call may take, and one host call in it, of a plugin that may ask language models: what one of them
takes for a long answer on a small machine."""

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
        state: "none"; "granted"; "changed" (it is for other bytes); "unusable".
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


def read_grant(place: Place, plugin_id: str) -> GrantFile | None:
    """The grant for a plugin that lies in a place, or None. Blocks on the file."""
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


def rule(found: GrantFile | None, plugin_id: str, digest: str, configuration: Configuration) -> Ruling:
    """What the plugin with these bytes gets.

    Args:
        found: its grant; the operator's own goes before ours.
        plugin_id: its id.
        digest: sha256 of its file, as hexadecimal digits.
        configuration: of the host.
    """
    if found is None:
        return Ruling(None, "none", configuration.defaults)
    if found.grant is None:
        return Ruling(None, "unusable", configuration.defaults, found.problems)
    label = grant_label(plugin_id)
    if found.grant.sha256 != digest:
        problem = f"{label}: the file changed since it was granted; the grant is not used"
        return Ruling(None, "changed", configuration.defaults, (problem,))
    try:
        limits = found.grant.apply(configuration.defaults, configuration.ceiling, label)
        patient = found.grant.apply(patient_defaults(configuration), configuration.ceiling, label)
    except InnkeeperError as error:
        return Ruling(None, "unusable", configuration.defaults, _not_used(error))
    return Ruling(found.grant, "granted", limits, patient=patient)


def patient_defaults(configuration: Configuration) -> Limits:
    """The limits of a call of a plugin that may ask language models, as far as its grant says nothing: longer times
    than others have, where the operator did not write down another default, and never above the host's own."""
    defaults, ceiling = configuration.defaults, configuration.ceiling
    raised = {
        name: max(getattr(defaults, name), min(PATIENCE, getattr(ceiling, name)))
        for name in ("wall", "host_call")
        if f"defaults.{name}" not in configuration.set_here
    }
    return replace(defaults, **raised)


def rule_standing(found: GrantFile | None, plugin_id: str, digest: str, configuration: Configuration) -> Ruling:
    """As `rule`, for a version that stays in service though its file holds another by now."""
    ruling = rule(found, plugin_id, digest, configuration)
    if ruling.state != "changed":
        return ruling
    problem = f"{grant_label(plugin_id)}: is not for the version that stays in service; the grant is not used"
    return replace(ruling, problems=(problem,))


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
