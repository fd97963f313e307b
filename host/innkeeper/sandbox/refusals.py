"""What a module's rewriting keeps for the host (`growth.py`): which growth was refused, and how far it may go.

All of it looks at a store that has no future.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence
from typing import Any

from innkeeper.sandbox import capi
from innkeeper.sandbox.growth import MEMORY_LIMIT, MEMORY_REFUSED, TABLE_REFUSED
from innkeeper.sandbox.kernel import LIMIT


class _Global(c.Structure):
    """A global and its value, where C writes them."""

    _fields_ = (("item", capi.Extern), ("value", capi.Val))


_ITEM: int = _Global.item.offset + capi.EXTERN_OF
_VALUE: int = _Global.value.offset


def memory_pages(context: int, instances: Sequence[int]) -> int:
    """The most pages that a refused growth of memory wanted in any of these instances; 0 if none was refused."""
    return _most(context, instances, MEMORY_REFUSED.encode())


def table_elements(context: int, instances: Sequence[int]) -> int:
    """The most elements that a refused growth of a table wanted; 0 if none was refused."""
    return _most(context, instances, TABLE_REFUSED.encode())


def find(context: int, instances: Sequence[int]) -> list[tuple[int, int, Any]]:
    """The globals of these instances that remember a refused growth, for `forget`."""
    found: list[tuple[int, int, Any]] = []
    for instance in instances:
        for name in (MEMORY_REFUSED, TABLE_REFUSED):
            item = _Global()
            if _find(context, instance, name.encode(), item):
                item.value.kind = capi.I64
                base = c.addressof(item)
                found.append((base + _ITEM, base + _VALUE, item))
    return found


def forget(context: int, found: Sequence[tuple[int, int, Any]]) -> None:
    """What an earlier call was refused is no reason for the next one's failure.

    Args:
        found: of `find`.
    """
    for item, value, _ in found:
        capi.check(capi.global_set(context, item, value))


def hold_below(context: int, instance: int, pages: int) -> None:
    """From now on the instance's memory grows to at most so many pages."""
    _set(context, instance, MEMORY_LIMIT.encode(), capi.I64, pages)


def hold_kernel_below(context: int, instance: int, pages: int) -> None:
    """From now on the kernel's memory grows to at most so many pages.

    Args:
        instance: the kernel's, or of the module that it is part of.
    """
    _set(context, instance, LIMIT.encode(), capi.I32, pages)


def _most(context: int, instances: Sequence[int], name: bytes) -> int:
    found = _Global()
    wanted = 0
    for instance in instances:
        if _find(context, instance, name, found):
            base = c.addressof(found)
            capi.global_get(context, base + _ITEM, base + _VALUE)
            wanted = max(wanted, found.value.of.i64)
    return wanted


def _set(context: int, instance: int, name: bytes, kind: int, value: int) -> None:
    found = _Global()
    if _find(context, instance, name, found):
        found.value.kind = kind
        # Its first four bytes are the i32.
        found.value.of.i64 = value
        base = c.addressof(found)
        capi.check(capi.global_set(context, base + _ITEM, base + _VALUE))


def _find(context: int, instance: int, name: bytes, found: _Global) -> bool:
    return bool(capi.instance_export(context, instance, name, len(name), c.addressof(found)))
