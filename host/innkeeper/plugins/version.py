"""What services may know of the version of a plugin that calls them, whether it is a guest or runs natively."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import GrantState
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.rights import Rights
from innkeeper.sandbox.limits import Limits


class Version(Protocol):
    """One version of a plugin: `generation.Generation` of a guest, `native.version.NativeVersion` of native code."""

    @property
    def id(self) -> str:
        """The plugin's id."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of its bytes, as hexadecimal digits."""
        ...

    @property
    def label(self) -> str:
        """Its file as messages name it."""
        ...

    @property
    def manifest(self) -> Manifest | None:
        """Its author's words."""
        ...

    @property
    def grant(self) -> Grant | None:
        """Its operator's words."""
        ...

    @property
    def grant_state(self) -> GrantState:
        """Whether the grant is in force."""
        ...

    @property
    def rights(self) -> Rights:
        """What services do for it."""
        ...

    @property
    def limits(self) -> Limits:
        """Of a call for which nobody says more."""
        ...

    @property
    def config(self) -> Mapping[str, str]:
        """Its configuration."""
        ...

    @property
    def callable(self) -> frozenset[str]:
        """Names of functions that a call from outside of a workflow can have; native code has none."""
        ...

    @property
    def shipped(self) -> bool:
        """Whether it came with Innkeeper."""
        ...
