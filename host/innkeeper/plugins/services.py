"""What the host offers to guests beyond running them, as this room sees it; the bridge has it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from innkeeper.plugins.attendant import Attendant
from innkeeper.plugins.manifest import Manifest
from innkeeper.sandbox.interface import HostFunction


class Services(Protocol):
    """Host functions by what a manifest requests. Whether a call may use one is decided as it comes."""

    def functions(self, manifest: Manifest | None, imports: Collection[str]) -> Sequence[HostFunction]:
        """The host functions that a plugin may import: those of the capabilities that it requests and of those that
        need no grant. The same requests and imports give the same functions, by name and type.

        Args:
            manifest: the plugin's, or None.
            imports: names of the functions that its module imports, of whatever module.
        """
        ...

    def attendant(self) -> Attendant | None:
        """Who sees the calls of the host's plugins, or None. Asked once, as the host opens."""
        ...


class NoServices:
    """A host without any."""

    def functions(self, manifest: Manifest | None, imports: Collection[str]) -> Sequence[HostFunction]:
        return ()

    def attendant(self) -> Attendant | None:
        return None
