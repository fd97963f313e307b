"""What a look at the files of a home found, as values.

A look makes new ones out of the old ones, so a look that is given up half way harms nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from innkeeper.plugins.grants import GrantFile
from innkeeper.plugins.listing import Listing, Signature, WasmFile
from innkeeper.plugins.module import Module

if TYPE_CHECKING:
    from innkeeper.plugins.native.entry import NativeFolder
    from innkeeper.plugins.native.trust import TrustFile


@dataclass(frozen=True, slots=True)
class Held:
    """What a file held when it was read. The same object as before where a file was touched and holds the same.

    Attributes:
        content: tells it from another.
        plugin_id: the manifest's id, or the file's stem; None where it cannot be used.
        module: what it holds, or None where it cannot be used.
        problems: why it cannot be used, one text each.
        names: what somebody may call it.
        label: of a folder, its entry as messages name it; that of the time before where it cannot be used now.
        path: of a folder, where its entry is.
        native: of a folder, the native plugin that it holds; or None.
    """

    content: str
    plugin_id: str | None
    module: Module | None
    problems: tuple[str, ...]
    names: tuple[str, ...]
    label: str | None = None
    path: str | None = None
    native: NativeFolder | None = None

    @property
    def size(self) -> int:
        """Bytes that are kept of it (int)."""
        if self.native is not None and self.native.snapshot is not None:
            return sum(map(len, self.native.snapshot.files.values()))
        return 0 if self.module is None else self.module.size


@dataclass(frozen=True, slots=True)
class FileReading:
    """A file of the home, and what it held.

    Attributes:
        file: the file as it was listed when it was read.
        held: what it held.
        doubt: when to read it again though its signature stays (by `time.monotonic`), or None.
    """

    file: WasmFile
    held: Held
    doubt: float | None


@dataclass(frozen=True, slots=True)
class GrantReading:
    """As `FileReading`, for a grant."""

    signature: Signature
    held: GrantFile | None
    doubt: float | None


@dataclass(frozen=True, slots=True)
class Readings:
    """All that is known of the files of a home.

    Attributes:
        listing: the look at its folders.
        files: what its plugins' files held, by label. One that was there a look ago is still among them.
        grants: for each place, the grants of the plugins that are there, by id.
        waiting: how many looks a file that changed has not been read, since it may still be written to; by label, or
            by place and id for a grant.
        excess: labels of files that were not kept, since all were too large together.
        trust: which of the native plugins that are there the operator trusts, by id.
    """

    listing: Listing
    files: dict[str, FileReading] = field(default_factory=dict)
    grants: list[dict[str, GrantReading]] = field(default_factory=list)
    waiting: dict[object, int] = field(default_factory=dict)
    excess: tuple[str, ...] = ()
    trust: dict[str, TrustFile] = field(default_factory=dict)

    def says_the_same(self, other: Readings) -> bool:
        """Whether nothing that a plugin or a problem is made of differs (bool)."""
        return (
            self.excess == other.excess
            and self.trust == other.trust
            and _lasting(self.listing) == _lasting(other.listing)
            and list(self.files) == list(other.files)
            and all(
                one.held is two.held and one.file.path == two.file.path
                for one, two in zip(self.files.values(), other.files.values(), strict=True)
            )
            and [{name: one.held for name, one in each.items()} for each in self.grants]
            == [{name: one.held for name, one in each.items()} for each in other.grants]
        )


def _lasting(listing: Listing) -> tuple[object, ...]:
    names = [list(each) for each in (*listing.grants, listing.trust)]
    return listing.refused, listing.unreadable, listing.problems, names
