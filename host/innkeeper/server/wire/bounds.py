"""What the server bears from its clients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from hypercorn.config import Config

from innkeeper.plugins.settings import ServerSettings

HEAD_BYTES: Final = 16 * 1024
"""A request's head: twice what other servers take, and more than any browser sends with a session's cookie."""

HEAD_READ: Final = 8 * 1024
"""What one read takes of a connection that sends a head. The parser bounds only heads that are not whole: one long read
would let a larger head through."""

BODY_READ: Final = 16 * 1024
"""What one read takes of a body."""

BODY_RATE: Final = 32 * 1024
"""Bytes of a body that a client must send in a second, once its first patience is used up: less than the slowest mobile
network, more than a client that holds a place at no cost."""

LINGER: Final = 1.0
"""Seconds for which what still comes is read and thrown away after a connection's last byte: closing with unread bytes
would reset the connection, and the client would lose the answer that says why."""

GRACE: Final = 5.0
"""Seconds that requests have to end: runs have had their own time by then."""

REQUESTS: Final = 1000
"""Requests of one connection: then it is made anew, so that one that lives for ever cannot keep what is bound to it."""

LOOPBACK: Final = ("127.0.0.0/8", "::1")

VANISHED: Final = 2.0
"""How many stall limits after its last sign a peer is gone for the system itself: so the stall limit is said first."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the server bears.

    Attributes:
        settings: what the operator decided.
        exempt: networks that the bound of one address leaves out: this machine's own, since a proxy in front of the
            server is one address, and whoever is on the machine can do worse.
        grace: seconds that requests under way have once the server stops.
    """

    settings: ServerSettings
    exempt: tuple[str, ...] = LOOPBACK
    grace: float = GRACE

    def config(self) -> Config:
        """The same, as hypercorn has it."""
        config = Config()
        config.errorlog = config.accesslog = None
        config.include_server_header = False
        config.h11_max_incomplete_size = HEAD_BYTES
        config.keep_alive_timeout = self.settings.head_timeout or math.inf
        config.keep_alive_max_requests = REQUESTS
        config.websocket_max_message_size = self.settings.message_size
        return config
