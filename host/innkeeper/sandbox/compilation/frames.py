"""What passes between a host and its compiling child: one job in, one answer out. The host believes no length of it.

A job is two lengths, the plan and the Wasm. An answer is a status, a length and that many bytes.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from innkeeper.sandbox.limits import KIB, MIB

JOB = struct.Struct("!IQ")
"""Bytes of the plan, bytes of the Wasm."""

ANSWER = struct.Struct("!BQ")
"""Status, bytes that follow."""

MOST_ARTIFACT = 512 * MIB
"""Bytes of one artifact. Code takes about five times its Wasm; a file of 64 MiB stays below."""

MOST_TEXT = 16 * KIB
"""Bytes of what a child says about a module that it did not compile."""


class Status(IntEnum):
    """How a job ended. All but `READY` and `ARTIFACT` carry text in UTF-8."""

    READY = 0
    """The child has started; what follows is its fingerprint."""
    ARTIFACT = 1
    INVALID = 2
    """The engine's complaint about the module."""
    UNSUPPORTED = 3
    """What is not supported; the proposal, or nothing, is the first line."""
    MALFORMED = 4
    REJECTED = 5
    """A sentence that is ready for the user."""
    MEMORY = 6
    DEFECT = 7


def most_of(status: Status) -> int:
    """Bytes (int) that an answer of this status may have."""
    return MOST_ARTIFACT if status is Status.ARTIFACT else MOST_TEXT
