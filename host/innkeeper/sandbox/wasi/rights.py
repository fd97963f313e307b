"""What an operator grants a guest beyond computing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.sandbox.limits import MIB
from innkeeper.sandbox.wasi.paths import open_beneath
from innkeeper.sandbox.wasi.tree_quota import TreeQuota


@dataclass(frozen=True, slots=True)
class Preopen:
    """A folder of the host that a guest may use, with everything below it. Links in it are never followed.

    Attributes:
        guest: the name under which the guest finds it (str), such as "/data".
        host: a folder (Path), which may be reached through links. It is opened when the guest first uses it.
        beneath: the path from there to the folder that is meant, without a link on the way; "" for `host` itself.
            Where the guest may write, it is made if it is not there.
        readable: whether the guest may read in it. Without, it sees names that it knows, sizes and times, and moves
            nothing, since it could move a file to where it can read it.
        writable: whether the guest may change anything in it.
        quota: bytes that one guest may write in it, counted over the guest's life: what it overwrites counts
            again, and so do holes and reserved space.
        entries: files and folders that one guest may create in it: names cost space that no quota of bytes sees.
        tree: what the folder may hold, over all guests; None: the quotas of each guest are all.
    """

    guest: str
    host: Path
    writable: bool = False
    quota: int = 64 * MIB
    beneath: str = ""
    readable: bool = True
    entries: int = 1_000
    tree: TreeQuota | None = field(default=None, compare=False, repr=False)

    def opened(self) -> int:
        """Opens the folder and gives its descriptor (int). Blocks; raises WasiError and OSError."""
        return open_beneath(os.fsencode(self.host), os.fsencode(self.beneath), make=self.writable)


@dataclass(frozen=True, slots=True)
class WasiRights:
    """Which parts of the real world a guest's WASI shows.

    Attributes:
        clock: the host's clocks. Without it they stand still and move on by what the guest sleeps.
        random: the host's random numbers. Without it a sequence that the module's digest alone decides.
        files: folders. Files carry the times of the host's clock, so this right tells something of `clock` too.
    """

    clock: bool = False
    random: bool = False
    files: tuple[Preopen, ...] = ()


NONE = WasiRights()
"""Nothing but computing."""
