"""All that stands before the routes of a server, and what it counts."""

from __future__ import annotations

from collections.abc import Callable

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
        users: how often one user may ask; whoever finds out who asks takes of it.
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
        self.users = Rates(settings.rate, now=now)
        self.counts = counts
        self.metrics = metrics
        self.probe = probe
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

    def reads_metrics(self, connection: HTTPConnection) -> bool:
        """Whether a request's address alone lets it read the metrics (bool). What a proxy brings that the operator did
        not name comes from anywhere."""
        peer = peer_of(connection.scope)
        proxied = is_forwarded(connection.scope) and not self._proxies
        return not proxied and within(peer, self._readers)
