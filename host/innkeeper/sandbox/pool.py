"""The settings of the engine that keeps places for guests ready."""

from __future__ import annotations

import wasmtime as w
from wasmtime import _ffi as ffi

from innkeeper.sandbox.bounds import default_guest_memory
from innkeeper.sandbox.compilation.settings import RESERVATION
from innkeeper.sandbox.limits import DEFAULTS, KIB

PLACES = max(16, min(1024, default_guest_memory() // 4 // (768 * KIB)))
"""Guests that it has places for. What stays of a place after a guest is at most its stack, of which one that recurses
without end has used all, and what is kept of its memories: 768 KiB. So all of them together keep at most a quarter of
the bound on guest memory."""

_MEMORIES = 3
"""Memories that a guest takes at most: its own, its kernel's, and one that wasmtime gives each guest whose module has
an `externref` in it, though it stays empty."""

SLOT = RESERVATION
"""Bytes that each memory may have: the reservation, so that code compiled for either engine is the same."""

TABLE_ELEMENTS = DEFAULTS.table_elements
"""Elements that each table may have."""

_KEPT = 64 * KIB
"""Bytes at the beginning of each memory that are cleared and kept after a guest. What is beyond goes back to the
system, and is new, empty and costs a page fault the next time."""

_SIZES = {
    "total_core_instances": PLACES,
    "total_memories": _MEMORIES * PLACES,
    "total_gc_heaps": PLACES,
    "total_tables": 2 * PLACES,
    "total_stacks": PLACES,
    "max_memories_per_module": 2,
    "max_tables_per_module": 2,
    "max_memory_size": SLOT,
    "table_elements": TABLE_ELEMENTS,
    "linear_memory_keep_resident": _KEPT,
    "table_keep_resident": 4 * KIB,
}


def pooled(config: w.Config) -> w.Config:
    """Makes an engine's configuration one that keeps places ready. Returns it."""
    pool = ffi.wasmtime_pooling_allocation_config_new()
    for name, value in _SIZES.items():
        getattr(ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
    ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    ffi.wasmtime_pooling_allocation_config_delete(pool)
    return config
