"""What an operator grants a guest beyond computing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from innkeeper.sandbox.limits import MIB


@dataclass(frozen=True, slots=True)
class Preopen:
    """A folder of the host that a guest may use, with everything below it. Links in it are never followed.

    Attributes:
        guest: the name under which the guest finds it (str), such as "/data".
        host: the folder (Path). It is opened when the guest first uses it.
        writable: whether the guest may change anything in it.
        quota: bytes that one guest may write in it, counted over the guest's life: what it overwrites counts
            again, and so do holes and reserved space.
    """

    guest: str
    host: Path
    writable: bool = False
    quota: int = 64 * MIB


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
