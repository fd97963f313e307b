"""Whether a plugin is what another one declared that it works with."""

from __future__ import annotations

from functools import lru_cache

from innkeeper.plugins.manifest import Dependency, Manifest


def dependency_on(manifest: Manifest | None, plugin_id: str) -> Dependency | None:
    """What a plugin declares of another one, or None."""
    declared = () if manifest is None else manifest.dependencies
    return next((each for each in declared if each.id == plugin_id), None)


def misfit(dependency: Dependency, manifest: Manifest | None) -> str | None:
    """Why a plugin's version is not one of those that another declares, as a sentence without its full stop; None if
    it is.

    Versions and ranges are PEP 440's, such as "1.2.0" and ">=1.2, <2"; a version before its release counts as well. An
    empty range, or "*", is every version.

    Args:
        dependency: what the other one declares.
        manifest: the plugin's, or None.
    """
    wanted = dependency.versions.strip()
    if wanted in ("", "*"):
        return None
    if len(wanted) > _MOST_RANGE:
        return f"the declared range has more than {_MOST_RANGE} characters"
    if manifest is None:
        return f"it has no manifest and so no version, and {wanted!r} is declared"
    return _compare(wanted, manifest.version)


_MOST_RANGE = 200
"""Characters of a range of versions: messages show it."""


# Asked at each call of one plugin by another.
@lru_cache(maxsize=1024)
def _compare(wanted: str, version: str) -> str | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        if SpecifierSet(wanted).contains(Version(version), prereleases=True):
            return None
    except InvalidSpecifier:
        return f"the declared range {wanted!r} is none: write it like '>=1.2, <2'"
    except InvalidVersion:
        return f"it has the version {version!r}, which has no order, and {wanted!r} is declared"
    return f"it has the version {version!r}, and {wanted!r} is declared"
