"""What the host offers to guests beyond running them, as this room sees it; the bridge has it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from innkeeper.errors import UsageError
from innkeeper.plugins.attendant import Attendant, Overseer
from innkeeper.plugins.manifest import Manifest
from innkeeper.sandbox.interface import HostFunction

if TYPE_CHECKING:
    from innkeeper.plugins.catalogue import Catalogue


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

    def prepare(self, manifest: Manifest | None, imports: Collection[str]) -> None:
        """Does what takes long before `functions` can answer the same: importing, above all. Called in a thread, so
        that trio's does not stand still when a first plugin requests something; may be left out."""
        ...

    def native(self) -> NativeSupport:
        """What native plugins need.

        Raises:
            UsageError: there is none.
        """
        ...

    def attendant(self) -> Attendant | None:
        """Who sees the calls of the host's plugins, or None. Asked once, as the host opens."""
        ...

    def overseer(self) -> Overseer | None:
        """Who pauses plugins, or None."""
        ...

    def memory(self, costly: bool) -> Attendant | None:
        """Who remembers pure calls, or None. Sees those of them alone that are to be remembered.

        Args:
            costly: whether only what took long is kept on disk.
        """
        ...


class NativeSupport(Protocol):
    """What the tier of native plugins needs of the bridge."""

    async def decode(self, data: bytes) -> Any:
        """The plain value that msgpack stands for; a large one is built in a thread, in pieces."""
        ...

    async def encode(self, value: Any, most: int) -> bytes:
        """A plain value as msgpack; a large one is written in a thread, in pieces.

        Args:
            value: of native code; nothing but plain data is taken.
            most: bytes that it may have.

        Raises:
            GuestError: there is something in it that is no plain data, or it is nested too deeply.
            LimitError: it is too large.
        """
        ...

    async def record_load(self, plugin: str, digest: str, folder: str) -> None:
        """Keeps in the audit log that a native plugin is about to be loaded.

        Args:
            plugin: its id.
            digest: sha256 of its files.
            folder: its label.

        Raises:
            InnkeeperError: it could not be kept.
        """
        ...


def prepare_all(services: Services, catalogue: Catalogue) -> None:
    """`Services.prepare` for all that lies in a home. In a thread."""
    for entry in catalogue.entries.values():
        services.prepare(entry.module.manifest, entry.module.imports)
    for native in catalogue.native.values():
        services.prepare(native.folder.manifest, ())


class NoServices:
    """A host without any."""

    def functions(self, manifest: Manifest | None, imports: Collection[str]) -> Sequence[HostFunction]:
        return ()

    def prepare(self, manifest: Manifest | None, imports: Collection[str]) -> None:
        pass

    def native(self) -> NativeSupport:
        raise UsageError("this host has no services, and native plugins need them; open it with innkeeper.open_host")

    def attendant(self) -> Attendant | None:
        return None

    def overseer(self) -> Overseer | None:
        return None

    def memory(self, costly: bool) -> Attendant | None:
        return None
