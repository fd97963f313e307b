"""Variables that the nodes of a run share, as long as it lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from innkeeper.plugins.runs import Run
from innkeeper.sandbox.limits import MIB
from innkeeper.storage.kv_model import ConflictError, OverQuotaError, Quota
from innkeeper.storage.names import check_name

QUOTA: Final = Quota(entries=1000, bytes=4 * MIB)
"""What one run keeps, keys included: it lies in memory."""


@dataclass(frozen=True, slots=True)
class Variable:
    """What is kept under a key.

    Attributes:
        value: msgpack.
        version: above 0; never given twice within a run, even if the variable was deleted meanwhile.
    """

    value: bytes
    version: int


class RunVariables(Protocol):
    """Keeps the variables of runs, each run's apart from all others'. What a run has ends with it.

    Where `expect` is given, nothing is done unless the variable has that version, 0 where there must be none.
    """

    async def get(self, run: Run, key: str) -> Variable | None:
        """A variable, or None."""
        ...

    async def set(self, run: Run, key: str, value: bytes, *, expect: int | None = None) -> int:
        """Keeps a value; its version.

        Raises:
            ConflictError: it has another version than was expected.
            OverQuotaError: the run would keep too much.
            ValueError: the key is none.
        """
        ...

    async def delete(self, run: Run, key: str, *, expect: int | None = None) -> bool:
        """Deletes a variable; whether there was one.

        Raises:
            ConflictError: it has another version than was expected.
        """
        ...

    async def list(self, run: Run, *, prefix: str, after: str, limit: int) -> list[str]:
        """Keys, in the order of their bytes.

        Args:
            prefix: what they begin with.
            after: they come after this one.
            limit: how many at most.
        """
        ...


class MemoryVariables:
    """Implements `RunVariables` for runs of this process."""

    def __init__(self, quota: Quota = QUOTA) -> None:
        self._quota = quota
        self._runs: WeakKeyDictionary[Run, _Kept] = WeakKeyDictionary()

    async def get(self, run: Run, key: str) -> Variable | None:
        """As `RunVariables.get`."""
        kept = self._runs.get(run)
        return None if kept is None else kept.variables.get(key)

    async def set(self, run: Run, key: str, value: bytes, *, expect: int | None = None) -> int:
        """As `RunVariables.set`."""
        size = check_name(key, "key") + len(value)
        kept = self._runs.get(run)
        if kept is None:
            kept = self._runs[run] = _Kept()
        before = kept.variables.get(key)
        _check(before, expect)
        used = kept.bytes + size - (0 if before is None else _size(key, before))
        entries = len(kept.variables) + (before is None)
        for name, value_now, most in (("entries", entries, self._quota.entries), ("bytes", used, self._quota.bytes)):
            if value_now > most:
                raise OverQuotaError(name, most, value_now)
        kept.version += 1
        kept.bytes = used
        kept.variables[key] = Variable(value, kept.version)
        return kept.version

    async def delete(self, run: Run, key: str, *, expect: int | None = None) -> bool:
        """As `RunVariables.delete`."""
        kept = self._runs.get(run)
        before = None if kept is None else kept.variables.get(key)
        _check(before, expect)
        if kept is None or before is None:
            return False
        kept.bytes -= _size(key, before)
        del kept.variables[key]
        return True

    async def list(self, run: Run, *, prefix: str, after: str, limit: int) -> list[str]:
        """As `RunVariables.list`."""
        kept = self._runs.get(run)
        names = () if kept is None else kept.variables
        # Code points are in the order of their bytes in UTF-8.
        return sorted(name for name in names if name.startswith(prefix) and name > after)[:limit]


class _Kept:
    """What one run keeps."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.bytes = 0
        self.version = 0


def _size(key: str, variable: Variable) -> int:
    return len(key.encode()) + len(variable.value)


def _check(before: Variable | None, expect: int | None) -> None:
    current = 0 if before is None else before.version
    if expect is not None and expect != current:
        raise ConflictError(current)
