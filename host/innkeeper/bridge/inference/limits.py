"""How much a plugin asks models for at once, and for how long."""

from __future__ import annotations

from typing import Final

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.quota import Rate
from innkeeper.sandbox.limits import MIB

OF_ONE: Final = 8
"""Requests of one plugin at once: what hosted models take of a small account, and four plugins can work at once."""

OF_ALL: Final = 32
"""Requests of the host at once."""

HELD: Final = 128 * MIB
"""Bytes of answers that the host holds, before guests have them."""

REQUESTS: Final = Rate(per_second=20, burst=200)
"""Requests that one plugin has sent: what an endpoint refuses costs no tokens, and is not to be asked for ever."""

WHOLE: Final = 600.0
"""Seconds of one request, waiting for its turn included."""

STREAMS: Final = 4
"""Streams that one call has open: half of what its plugin may have at once, so that two calls cannot wait for each
other with all of it."""

MARGIN: Final = 0.5
"""Seconds before the end of the limit `host_call` at which a request ends by itself: with an answer for the guest."""


def allowed(caller: Caller, seconds: float) -> float:
    """Seconds (float) that one host call may take, `seconds` at most."""
    if caller.version is None:
        return seconds
    most = caller.version.limits.host_call
    return min(seconds, max(most - MARGIN, most / 2))
