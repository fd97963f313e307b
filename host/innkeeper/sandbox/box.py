"""All that C writes for one guest."""

from __future__ import annotations

import ctypes as c

from innkeeper.sandbox import capi

MAX_MODULES = 16
"""Modules that one plugin may link together, its own included."""


class Box(c.Structure):
    """All that C writes for one guest, at fixed addresses."""

    _fields_ = (
        ("kernel", capi.Instance),
        ("instance", capi.Instance),
        ("kernel_memory", capi.Extern),
        ("function", capi.Extern),
        ("scratch", capi.Extern),
        ("memories", capi.Extern * (MAX_MODULES + 1)),
        ("arguments", capi.Val * 2),
        ("result", capi.Val),
        ("old", c.c_uint64),
        ("ready", c.c_uint16),
        ("trap", c.c_void_p),
        ("error", c.c_void_p),
    )


def _offset(name: str) -> int:
    return int(getattr(Box, name).offset)


KERNEL, INSTANCE, KERNEL_MEMORY = _offset("kernel"), _offset("instance"), _offset("kernel_memory")
FUNCTION, SCRATCH, MEMORIES = _offset("function"), _offset("scratch"), _offset("memories")
ARGUMENTS, RESULT, OLD, TRAP, ERROR = map(_offset, ("arguments", "result", "old", "trap", "error"))
READY = _offset("ready")
EXTERN_SIZE = c.sizeof(capi.Extern)
