"""The interpreter of a process that is there for one host. A library must not do this to a program that uses it."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""Objects that were made and not given back, after which those are searched: about a millisecond. What a run makes is
mostly gone by then."""

MIDDLE: Final = 5
"""Such searches after which those objects that were left are searched once more: some milliseconds."""


def settle_interpreter() -> None:
    """What is there now is not searched for garbage any more, and what comes is searched less often. For a command that
    has opened its host.

    An open host with its imports has some 80,000 objects that stay as long as the process. A full search looks at all
    of them, which takes a tenth of a second, for which every thread waits; what workflows make brings one about every
    few thousand nodes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, gc.get_threshold()[2])
