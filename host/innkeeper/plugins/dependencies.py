"""Whether the plugins that a plugin depends on are there, in a version that will do.

Nothing is kept away by what is missing: a plugin may work for the most part, what is missing may come while the host
runs, and two that depend on each other can be put there one by one. A call of what is missing is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from innkeeper.plugins.manifest import Dependency
from innkeeper.plugins.versions import in_range

State = Literal["there", "missing", "other version"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A dependency, and what there is of it.

    Attributes:
        dependency: what the manifest says.
        state: "there"; "missing"; "other version": it is there, in one that will not do.
        version: of the plugin that is there, or None.
    """

    dependency: Dependency
    state: State
    version: str | None

    @property
    def problem(self) -> str | None:
        """What is wrong (str), or None: also where what is missing is optional."""
        wanted = f"{self.dependency.id!r}" + (f" {self.dependency.versions}" if self.dependency.versions else "")
        if self.state == "missing" and not self.dependency.optional:
            return f"depends on the plugin {wanted}, which is not there"
        if self.state == "other version":
            found = "without a version" if self.version is None else f"version {self.version}"
            return f"depends on the plugin {wanted}, and what is there is {found}"
        return None


def check_dependencies(wanted: Iterable[Dependency], versions: Mapping[str, str | None]) -> list[Checked]:
    """What there is of each dependency.

    Args:
        wanted: of one plugin.
        versions: by id, of the plugins that are there; None for one that has no manifest.
    """
    found = []
    for each in wanted:
        version = versions.get(each.id)
        state: State = "there"
        if each.id not in versions:
            state = "missing"
        elif each.versions and (version is None or not in_range(version, each.versions)):
            state = "other version"
        found.append(Checked(each, state, version))
    return found
