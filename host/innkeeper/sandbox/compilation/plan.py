"""What shall be made of a module, as the engine says it: opaque here, and part of the cache's key."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

_MOST_KIND = 64
_MOST_EXTRA = 4 << 20
MOST_BYTES = _MOST_KIND + _MOST_EXTRA + 64
"""Bytes of a plan on the wire."""


class PlanError(ValueError):
    """The bytes are not a plan."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a module is rewritten before it is compiled.

    Attributes:
        kind: which rewriting (str, at most 64 bytes).
        extra: what that rewriting needs to know (bytes, at most 4 MiB).
    """

    kind: str = "plain"
    extra: bytes = b""

    def __post_init__(self) -> None:
        if len(self.kind.encode()) > _MOST_KIND or len(self.extra) > _MOST_EXTRA:
            raise PlanError("the plan is too large")

    def to_bytes(self) -> bytes:
        """The same plan always gives the same bytes."""
        packed = msgpack.packb([self.kind, self.extra])
        assert isinstance(packed, bytes)
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """The plan that `to_bytes` wrote.

        Raises:
            PlanError: it is none.
        """
        if len(data) > MOST_BYTES:
            raise PlanError("the plan is too large")
        try:
            value = msgpack.unpackb(data, max_array_len=2, max_map_len=0, max_ext_len=0)
        except (ValueError, msgpack.UnpackException) as error:
            raise PlanError("the plan cannot be read") from error
        match value:
            case [str(kind), bytes(extra)]:
                return cls(kind, extra)
        raise PlanError("the plan has the wrong shape")
