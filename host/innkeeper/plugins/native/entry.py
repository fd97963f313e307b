"""A native plugin of the catalogue: what lies in its folder, and whether that is what the operator trusts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import GrantFile, GrantState, rule
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.native.snapshot import Snapshot
from innkeeper.plugins.native.trust import TrustFile, TrustState, differences, in_words
from innkeeper.plugins.tables import nearest, shown
from innkeeper.sandbox.limits import Limits

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home

_MOST_UNUSED = 50


@dataclass(frozen=True, slots=True, eq=False)
class NativeFolder:
    """What a native plugin's folder holds.

    Attributes:
        manifest: its author's words; its nodes may be declared there, or be registered by its code.
        entry: "module:function" that is called to set it up.
        snapshot: its files; None as long as native plugins are off, and nothing is read.
    """

    manifest: Manifest
    entry: str
    snapshot: Snapshot | None


@dataclass(frozen=True, slots=True, eq=False)
class NativeEntry:
    """A native plugin of the catalogue.

    Attributes:
        id: its manifest's id.
        label: its folder as messages name it, such as "plugins/shout".
        path: the folder.
        folder: what it holds.
        state: whether it is run, and why not.
        grant: its grant, for limits and configuration alone; None where there is none in force.
        grant_state: as of any plugin; the digest that it names is the folder's.
        limits: of a call.
        problems: why it is not run, or what is wrong with its grant; one sentence each.
    """

    id: str
    label: str
    path: Path
    folder: NativeFolder
    state: TrustState
    grant: Grant | None
    grant_state: GrantState
    limits: Limits
    problems: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of all that is in its folder (str), "" where that was not read."""
        return "" if self.folder.snapshot is None else self.folder.snapshot.digest

    def same_code(self, other: NativeEntry) -> bool:
        """Whether both run the same bytes from the same folder (bool)."""
        return (self.digest, self.label) == (other.digest, other.label)


def native_entry(
    plugin_id: str,
    label: str,
    path: Path,
    folder: NativeFolder,
    *,
    home: Home,
    trusted: TrustFile | None,
    granted: GrantFile | None,
) -> NativeEntry:
    """The entry of a folder.

    Args:
        plugin_id: its id.
        label: its name in messages.
        path: where it is.
        folder: what it holds.
        home: whose configuration counts.
        trusted: the record of what the operator trusts, or None.
        granted: its grant, or None.
    """
    entry = NativeEntry(plugin_id, label, path, folder, "off", None, "none", home.configuration.defaults)
    state, problem = _state(entry, trusted)
    if state != "trusted" or folder.snapshot is None:
        return replace(entry, state=state, problems=(problem,))
    ruling = rule(granted, plugin_id, folder.snapshot.digest, folder.manifest, home.configuration)
    return replace(
        entry,
        state=state,
        grant=ruling.grant,
        grant_state=ruling.state,
        limits=ruling.limits,
        problems=ruling.problems,
    )


def _state(entry: NativeEntry, trusted: TrustFile | None) -> tuple[TrustState, str]:
    name, snapshot = entry.id, entry.folder.snapshot
    if snapshot is None:
        return "off", (
            f"{entry.label}: is a native plugin, and those are off, so it is not run; `native_plugins = true` in "
            "innkeeper.toml turns them on"
        )
    if trusted is None:
        return "untrusted", (
            f"{entry.label}: is a native plugin that you have not trusted, so it is not run; read its code, then "
            f"`innkeeper trust {name}`"
        )
    if trusted.trust is None:
        return "unusable", f"{entry.label}: is a native plugin and not run: {trusted.problem}"
    if trusted.trust.digests != snapshot.digests:
        words = in_words(differences(trusted.trust.digests, snapshot.digests))
        return "changed", (
            f"{entry.label}: changed since you trusted it ({words}), so it is not run; read what is new, then "
            f"`innkeeper trust {name}`"
        )
    return "trusted", ""


def unused_trust(names: Mapping[str, object], native: Mapping[str, object], failed: Mapping[str, object]) -> list[str]:
    """A sentence for each record of a native plugin that is not there.

    Args:
        names: ids that there are records for.
        native: ids of native plugins that are there.
        failed: ids of plugins whose own problem is said already.
    """
    found: list[str] = []
    for name in names:
        if name not in native and name not in failed and len(found) < _MOST_UNUSED:
            advice = nearest(name, list(native)) or f"; `innkeeper distrust {name}` removes the record"
            found.append(f"manifests/trust/{name}.toml: there is no native plugin {shown(name)}{advice}")
    return found
