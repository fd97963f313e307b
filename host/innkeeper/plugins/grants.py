"""Which grants of a home are in force, and which are for a plugin that is not there."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Literal

from innkeeper.errors import InnkeeperError
from innkeeper.plugins.files import read_optional
from innkeeper.plugins.grant import Grant, parse_grant
from innkeeper.plugins.home import Home, Place
from innkeeper.plugins.tables import MAX_BYTES, nearest, problems_of, shown
from innkeeper.sandbox.limits import Limits

GrantState = Literal["none", "granted", "changed", "unusable"]

MAX_GRANTS = 2000
"""Files of one folder of grants that are looked at: twice the plugins that a home can have."""

_MOST_UNUSED = 50
"""Grants without a plugin that are said by name. Looking for what was meant takes time for each."""


def read_grant(home: Home, plugin_id: str, digest: str, problems: list[str]) -> tuple[Grant | None, GrantState, Limits]:
    """The grant in force for these bytes, with the limits of a call of them.

    The first file of that name decides: the operator's own, then ours.

    Args:
        home: where grants lie.
        plugin_id: the plugin's id.
        digest: sha256 of its file, as hexadecimal digits.
        problems: gets one text per problem of the grant, which is then not used.
    """
    configuration = home.configuration
    label = f"manifests/{plugin_id}.toml"
    for place in home.places:
        try:
            data = read_optional(place.manifests / f"{plugin_id}.toml", most=MAX_BYTES, label=label)
            if data is None:
                continue
            grant = parse_grant(data, where=label)
            if grant.sha256 != digest:
                problems.append(f"{label}: the file changed since it was granted; the grant is not used")
                return None, "changed", configuration.defaults
            return grant, "granted", grant.apply(configuration.defaults, configuration.ceiling, label)
        except InnkeeperError as error:
            problems += [f"{problem}; the grant is not used" for problem in problems_of(error)]
            return None, "unusable", configuration.defaults
    return None, "none", configuration.defaults


def unused_grants(home: Home, labels: Mapping[str, str], failed: Collection[str]) -> list[str]:
    """One text per grant whose plugin is not there: its file or the plugin's has another name than was meant.

    Args:
        home: where grants lie.
        labels: id of each plugin to the name of its file.
        failed: ids of plugins whose own problem is said already.
    """
    unused: list[str] = []
    more = 0
    for place in home.places:
        names, left = _grant_names(place)
        if left:
            unused.append(f"manifests: has more than {MAX_GRANTS} entries; the rest is not looked at")
        for name in names:
            if name in labels or name in failed:
                continue
            if len(unused) >= _MOST_UNUSED:
                more += 1
                continue
            unused.append(
                f"manifests/{name}.toml: there is no plugin {shown(name)}{meant(name, labels)}; the grant is not used"
            )
    if more:
        unused.append(f"manifests: {more} more grants are for plugins that are not there")
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


def _grant_names(place: Place) -> tuple[list[str], bool]:
    """The grants of a folder by the id that they are for, sorted, and whether there are more than are looked at."""
    names: list[str] = []
    try:
        with os.scandir(place.manifests) as listing:
            for position, item in enumerate(listing):
                if position == MAX_GRANTS:
                    return sorted(names), True
                if item.name.endswith(".toml") and not item.name.startswith("."):
                    names.append(item.name.removesuffix(".toml"))
    except OSError:
        # A home needs no grants, and a file that cannot be read is said where it is asked for.
        return [], False
    return sorted(names), False
