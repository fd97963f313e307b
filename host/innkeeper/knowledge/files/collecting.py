"""No search for garbage while a great many objects are made that stay.

The interpreter looks through all objects again and again while their number grows: of a base with a few thousand
entries that is four fifths of the time in which it is read, and all threads wait for it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_inside = 0
_was_enabled = False


@contextmanager
def no_collections() -> Iterator[None]:
    """While any thread is in such a block, nobody searches for garbage; afterwards it is as it was before the first."""
    global _inside, _was_enabled
    with _lock:
        if _inside == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _was_enabled:
                gc.enable()
