"""What the host offers to guests beyond running them, as this room sees it; the bridge has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from innkeeper.plugins.manifest import Manifest
from innkeeper.sandbox.interface import HostFunction


class Services(Protocol):
    """Host functions by what a manifest requests. Whether a call may use one is decided as it comes."""

    def functions(self, manifest: Manifest | None) -> Sequence[HostFunction]:
        """The host functions that a plugin may import: those of the capabilities that it requests. The same requests
        give the same functions, by name and type."""
        ...


class NoServices:
    """A host without any."""

    def functions(self, manifest: Manifest | None) -> Sequence[HostFunction]:
        return ()
