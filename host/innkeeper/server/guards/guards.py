"""All that stands before the routes of a server, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import trio
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

from innkeeper.plugins.settings import ServerSettings
from innkeeper.plugins.web_names import networks, within
from innkeeper.server.guards.answering import peer_of
from innkeeper.server.guards.draining import DrainGuard
from innkeeper.server.guards.headers import SecurityHeaders
from innkeeper.server.guards.origins import OriginGuard, Origins
from innkeeper.server.guards.proxies import Forwarded, is_forwarded
from innkeeper.server.guards.rates import RateGuard, Rates
from innkeeper.server.guards.watching import Watch
from innkeeper.server.telemetry.collecting import Metrics
from innkeeper.server.telemetry.counts import Counts
from innkeeper.server.telemetry.probing import Probe


class Guards:
    """What stands before the routes of a server.

    Attributes:
        origins: who may speak to it.
        counts: what the server counts.
        metrics: what it says to Prometheus.
        probe: asks the database.
    """

    def __init__(
        self,
        settings: ServerSettings,
        counts: Counts,
        metrics: Metrics,
        probe: Probe,
        stopping: trio.Event,
        *,
        now: Callable[[], float] = trio.current_time,
    ) -> None:
        """Args:
        settings: what the operator decided.
        counts, metrics, probe: see above.
        stopping: set once the server takes no more work.
        now: seconds of a monotonic clock.
        """
        self.origins = Origins(settings.origins, settings.hosts)
        self.counts = counts
        self.metrics = metrics
        self.probe = probe
        self._users = Rates(settings.rate, now=now)
        self._keys = Rates(settings.key_rate, now=now)
        self._addresses = Rates(settings.address_rate, now=now)
        self._proxies = networks(settings.proxies)
        self._readers = networks(settings.metrics)
        self._stopping = stopping

    def around(self, app: ASGIApp) -> ASGIApp:
        """An application with all of it before it. What is refused has headers, an id and a line of the log, too."""
        app = DrainGuard(app, self._stopping)
        app = OriginGuard(app, self.origins)
        app = RateGuard(app, self._addresses)
        app = SecurityHeaders(app)
        app = Watch(app, self.counts)
        return Forwarded(app, self._proxies)

    def asks(self, user: str, connection: HTTPConnection, *, by_key: bool) -> float:
        """Counts a request of a user who was recognised.

        Args:
            user: the user's id.
            connection: the request.
            by_key: whether an API key said who it is.

        Returns:
            float: 0.0: it may go on; else the seconds until one may.
        """
        late = 0.0
        if by_key:
            # By its hash: the key itself is kept nowhere.
            shown = connection.headers.get("authorization", "").encode("latin-1", "replace")
            late = self._keys.take(f"{user} {blake2b(shown, digest_size=16).hexdigest()}")
        return late or self._users.take(user)

    def reads_metrics(self, connection: HTTPConnection) -> bool:
        """Whether a request's address alone lets it read the metrics (bool). What a proxy brings that the operator did
        not name comes from anywhere."""
        peer = peer_of(connection.scope)
        proxied = is_forwarded(connection.scope) and not self._proxies
        return not proxied and within(peer, self._readers)
