"""What a service answers instead of a result: a value that the guest's code can handle, never an exception in it."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Refusal(Enum):
    """Why a service did not do what it was asked for. The value is what the guest reads."""

    DENIED = "denied"
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    QUOTA = "quota"
    BUSY = "busy"
    CLOSED = "closed"
    CALLEE = "callee"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"


class ServiceError(Exception):
    """A service refuses, with a reason that the guest may read.

    Args:
        why: one of the closed list.
        message: one sentence; nothing of the host, of another plugin or of a secret is in it.
        more: further values for the guest's code, such as the version that is in the way of a compare-and-set.
    """

    def __init__(self, why: Refusal, message: str, **more: str | int | float | None) -> None:
        super().__init__(message)
        self.why = why
        self.message = message
        self.more = more

    def as_value(self) -> dict[str, Any]:
        """What the guest gets: `kind`, `message` and what else there is."""
        return {"kind": self.why.value, "message": self.message, **self.more}
