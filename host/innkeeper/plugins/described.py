"""What a plugin says of itself: always of the version that is in service now."""

from __future__ import annotations

from pathlib import Path

from innkeeper.plugins.generation import Generation
from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import GrantState
from innkeeper.plugins.manifest import Instance, Manifest
from innkeeper.plugins.rights import Rights
from innkeeper.sandbox.limits import Limits


class Described:
    """The half of `Plugin` that answers at once."""

    _present: Generation

    @property
    def digest(self) -> str:
        """sha256 of its bytes (str, 64 hexadecimal digits)."""
        return self._present.digest

    @property
    def label(self) -> str:
        """Its file as messages name it (str), such as "plugins/shout.wasm"."""
        return self._present.label

    @property
    def path(self) -> Path | None:
        """Its file, or None where it was loaded from bytes."""
        return self._present.path

    @property
    def shipped(self) -> bool:
        """Whether it came with Innkeeper (bool)."""
        return self._present.shipped

    @property
    def manifest(self) -> Manifest | None:
        """Its author's words, or None."""
        return self._present.manifest

    @property
    def grant(self) -> Grant | None:
        """Its operator's words, or None."""
        return self._present.grant

    @property
    def grant_state(self) -> GrantState:
        """ "none", "granted", "changed" (the grant is for other bytes) or "unusable"."""
        return self._present.grant_state

    @property
    def rights(self) -> Rights:
        """What it may do: what its manifest requests and its grant gives."""
        return self._present.rights

    @property
    def limits(self) -> Limits:
        """Of a call for which nobody says more."""
        return self._present.limits

    @property
    def config(self) -> dict[str, str]:
        """What the guest's `config_get` answers."""
        return self._present.config

    @property
    def instance(self) -> Instance:
        """ "fresh" or "shared": whether each call gets a guest of its own."""
        return self._present.instance

    @property
    def pure(self) -> bool:
        """Whether equal calls have equal results (bool), so that they can be remembered: each has a guest of its own,
        without any capability, and no function of the host to ask but `log` and `config`."""
        return self._present.pure

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions that the module exports, sorted."""
        return self._present.functions

    def can_call(self, function: str) -> bool:
        """Whether `call` takes this function (bool): it is exported, and has no parameters."""
        return self._present.over is None and function in self._present.callable

    @property
    def gone(self) -> str | None:
        """Why it cannot be called any more, or None: its file was removed, or it was closed."""
        return self._present.over
