"""The service `vars`: variables that the nodes of a run share."""

from __future__ import annotations

from typing import Annotated, Any

import msgpack
from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.refusing import refusing
from innkeeper.bridge.run_variables import RunVariables
from innkeeper.bridge.scan import DataBounds
from innkeeper.plugins.runs import Run
from innkeeper.sandbox.limits import KIB

RATE = Rate(per_second=10_000, burst=20_000)
"""Calls of one plugin: a variable in memory costs some 50 us, so that one plugin cannot fill trio's thread for long."""

MOST_VALUE = 64 * KIB
"""Bytes of one value, as msgpack."""

_SET = DataBounds(size=MOST_VALUE + 2 * KIB, depth=32, elements=2000)
"""A value with its key: counting and building it takes well under a millisecond."""

Key = Annotated[str, Field(min_length=1, max_length=256)]
Version = Annotated[int, Field(ge=0, lt=1 << 63)]


class VarsService:
    """What a guest of a run reads and writes there."""

    def __init__(self, variables: RunVariables) -> None:
        """Args:
        variables: keeps them.
        """
        self._variables = variables

    @operation("vars")
    async def get(self, caller: Caller, *, key: Key) -> dict[str, Any] | None:
        """Reads a variable of the run.

        Args:
            key: its key.

        Returns:
            {value: plain data, version: integer}, or nil where there is none.
        """
        found = await self._variables.get(_run(caller), key)
        return None if found is None else {"value": msgpack.unpackb(found.value), "version": found.version}

    @operation("vars", bounds=_SET)
    async def set(self, caller: Caller, *, key: Key, value: Any, expect: Version | None = None) -> dict[str, Any]:
        """Sets a variable of the run, in place of the one that is there.

        Args:
            key: its key.
            value: any plain data of at most 64 KiB and 2,000 elements.
            expect: the version that it must have, 0 where it must not exist yet; nil: whatever there is. Another one
                is a `conflict`, with `current`.

        Returns:
            {version: integer}, which no other value in the run ever had.
        """
        packed = msgpack.packb(value, use_bin_type=True)
        if len(packed) > MOST_VALUE:
            raise ServiceError(Refusal.INVALID, f"the value has {len(packed):,} bytes; the most is {MOST_VALUE:,}")
        with refusing():
            return {"version": await self._variables.set(_run(caller), key, packed, expect=expect)}

    @operation("vars")
    async def delete(self, caller: Caller, *, key: Key, expect: Version | None = None) -> dict[str, Any]:
        """Deletes a variable of the run.

        Args:
            key: its key.
            expect: the version that it must have; nil: whatever there is.

        Returns:
            {deleted: whether there was one}
        """
        with refusing():
            return {"deleted": await self._variables.delete(_run(caller), key, expect=expect)}

    @operation("vars")
    async def list(
        self,
        caller: Caller,
        *,
        prefix: Annotated[str, Field(max_length=256)] = "",
        after: Annotated[str, Field(max_length=256)] = "",
        limit: Annotated[int, Field(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """Lists the keys of the run's variables, in the order of their bytes.

        Args:
            prefix: what they begin with.
            after: the last key of the page before.
            limit: how many at most.

        Returns:
            {keys: list of text}
        """
        return {"keys": await self._variables.list(_run(caller), prefix=prefix, after=after, limit=limit)}


def _run(caller: Caller) -> Run:
    if caller.run is None:
        raise ServiceError(
            Refusal.NOT_FOUND, "there are no variables: this call belongs to no run, only those of a workflow do"
        )
    return caller.run.run
