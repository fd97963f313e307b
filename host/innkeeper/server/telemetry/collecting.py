"""What a server says to Prometheus: its own counts, and what the parts of the host count anyway, read as it is asked.

Every label has few values: templates of routes, statuses, and what the operator installed. Nothing that a client can
make up is a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from innkeeper.bridge.bridge import Bridge
from innkeeper.sandbox.compilation.service import Loads
from innkeeper.sandbox.engine import FiberEngine
from innkeeper.server.telemetry.counts import STREAMS, Counts

if TYPE_CHECKING:
    from innkeeper.plugins.host import Host
    from innkeeper.storage.database import Database
    from innkeeper.workflow.scheduling.host_scheduler import HostScheduler

CONTENT_TYPE = CONTENT_TYPE_LATEST


Reading = Callable[[], Mapping[str, tuple[int, int]]]
"""Gives, by the names of caches, how often each had what it was asked for, and how often it did not."""


class Connections(Protocol):
    """What whatever listens counts.

    Attributes:
        connections: that are open, of any kind.
        refused: connections that were closed at once, since there were too many.
        lost: clients of streams that were lost, by why.
    """

    @property
    def connections(self) -> int: ...

    @property
    def refused(self) -> int: ...

    @property
    def lost(self) -> Mapping[Any, int]: ...


class Metrics(Collector):
    """The metrics of one server, in a registry of their own.

    Attributes:
        caches: whoever makes caches adds what reads them.
    """

    def __init__(self, counts: Counts, host: Host, scheduler: HostScheduler, database: Database) -> None:
        """Args:
        counts: the server's own.
        host, scheduler, database: what is read besides.
        """
        self.caches: list[Reading] = [self._own_caches]
        self._counts = counts
        self._host = host
        self._scheduler = scheduler
        self._database = database
        self._queued: int | None = None
        self._connections: Connections | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(namespace="innkeeper", registry=self._registry)

    def text(self, queued: int | None, connections: Connections | None = None) -> bytes:
        """All metrics as text.

        Args:
            queued: runs that wait; None: nobody knows, and nothing is said of them.
            connections: of whatever listens; None: it does not count.
        """
        self._queued, self._connections = queued, connections
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """As `Collector.describe`: nothing is known before it is asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """As `Collector.collect`."""
        yield InfoMetricFamily("innkeeper", "The version that runs.", {"version": version("innkeeper")})
        yield from _requests(self._counts)
        yield from _streams(self._counts)
        if self._connections is not None:
            yield from _connections(self._connections)
        yield from self._runs()
        yield from _node_calls(self._scheduler)
        if isinstance(self._host.services, Bridge):
            yield from _bridge(self._host.services)
        if isinstance(self._host.engine, FiberEngine):
            yield from _engine(self._host.engine)
        yield from _caches({name: found for read in self.caches for name, found in read().items()})
        yield _counter("database_commits", "Transactions that were committed; many writes share one.")(
            {(): self._database.commits}
        )
        lag = HistogramMetricFamily("innkeeper_loop_lag_seconds", "How late the event loop came back to a timer.")
        lag.add_metric((), self._counts.lag.buckets(), self._counts.lag.sum)
        yield lag

    def _own_caches(self) -> Mapping[str, tuple[int, int]]:
        engine, services = self._host.engine, self._host.services
        loads = engine.compilation.loads if isinstance(engine, FiberEngine) else Loads()
        memory = services.remembered if isinstance(services, Bridge) else None
        return {
            "modules": (loads.cached, loads.compiled),
            "pure_calls": (0, 0) if memory is None else (memory.hits, memory.misses),
        }

    def _runs(self) -> Iterator[Metric]:
        yield _counter("runs", "Runs that ended on this host, by how.", "status")(
            {(status,): count for status, count in self._counts.runs.items()}
        )
        yield _gauge("runs_running", "Runs that this host executes.")({(): len(self._scheduler.worker.active)})
        if self._queued is not None:
            yield _gauge("runs_queued", "Runs that wait, for whichever host.")({(): self._queued})


def _requests(counts: Counts) -> Iterator[Metric]:
    yield _counter("http_requests", "Requests that were answered.", "method", "route", "status")(
        {(method, route, str(status)): count for (method, route, status), count in counts.requests.items()}
    )
    durations = HistogramMetricFamily(
        "innkeeper_http_request_duration_seconds",
        "Time to the end of an answer; of a stream, to its head.",
        labels=("method", "route"),
    )
    for key, found in counts.durations.items():
        durations.add_metric(key, found.buckets(), found.sum)
    yield durations


def _streams(counts: Counts) -> Iterator[Metric]:
    streams = counts.streams
    yield _gauge("streaming_connections", "Streams to clients that are open.", "kind")(
        {(kind,): streams.open[kind] for kind in STREAMS}
    )
    yield _counter("streams", "Streams to clients that were opened.", "kind")(
        {(kind,): streams.opened[kind] for kind in STREAMS}
    )
    yield _counter("stream_messages", "Messages to clients of streams, by what became of them.", "kind", "result")(
        {
            (kind, result): amount[kind]
            for kind in STREAMS
            for result, amount in (("sent", streams.sent), ("dropped", streams.dropped))
        }
    )


def _connections(found: Connections) -> Iterator[Metric]:
    yield _gauge("connections", "Connections that are open, of any kind.")({(): found.connections})
    yield _counter("connections_refused", "Connections that were closed at once: there were too many.")(
        {(): found.refused}
    )
    yield _counter("stream_clients_lost", "Clients of streams that were lost, by why.", "reason")(
        {(str(reason),): count for reason, count in found.lost.items()}
    )


def _node_calls(scheduler: HostScheduler) -> Iterator[Metric]:
    times = dict(scheduler.times)
    seconds = SummaryMetricFamily(
        "innkeeper_node_duration_seconds", "Calls of nodes that a guest answered, waiting included.", labels=("plugin",)
    )
    for plugin, taken in times.items():
        seconds.add_metric((plugin,), taken.calls - taken.remembered, taken.seconds)
    yield seconds
    yield _counter("node_cpu_seconds", "Processor time of calls of nodes.", "plugin")(
        {(plugin,): taken.cpu for plugin, taken in times.items()}
    )


def _bridge(bridge: Bridge) -> Iterator[Metric]:
    calls = _counter("host_calls", "Calls of the host's services by plugins.", "plugin", "operation")
    refused = _counter("host_calls_refused", "Those of them that were refused.", "plugin", "operation")
    failed = _counter("host_calls_failed", "Those of them that broke.", "plugin", "operation")
    seconds = _counter("host_call_seconds", "What they took together, waiting included.", "plugin", "operation")
    found = {} if bridge.metrics is None else {(plugin, name): count for plugin, name, count in bridge.metrics}
    yield calls({key: count.calls for key, count in found.items()})
    yield refused({key: count.refused for key, count in found.items()})
    yield failed({key: count.failed for key, count in found.items()})
    yield seconds({key: count.seconds for key, count in found.items()})


def _engine(engine: FiberEngine) -> Iterator[Metric]:
    loads = engine.compilation.loads
    seconds = SummaryMetricFamily(
        "innkeeper_plugin_load_seconds", "Loading modules, by where their code came from.", labels=("source",)
    )
    seconds.add_metric(("cache",), loads.cached, loads.cached_seconds)
    seconds.add_metric(("compiler",), loads.compiled, loads.compiled_seconds)
    yield seconds
    yield _gauge("guests_live", "Guests that are alive, spare ones included.")({(): engine.live.taken})
    yield _gauge("guests_waiting", "Calls that wait for room for their guest.")({(): engine.live.waiting})
    yield _gauge("guest_memory_bytes", "Memory of live guests.")({(): engine.memory.taken})


def _caches(found: Mapping[str, tuple[int, int]]) -> Iterator[Metric]:
    yield _counter("cache_hits", "What a cache had.", "cache")({(name,): hits for name, (hits, _) in found.items()})
    yield _counter("cache_misses", "What a cache did not have.", "cache")(
        {(name,): misses for name, (_, misses) in found.items()}
    )
    yield _gauge("cache_hit_ratio", "Share of what a cache was asked for that it had, since the start.", "cache")(
        {(name,): hits / (hits + misses) for name, (hits, misses) in found.items() if hits + misses}
    )


class _Family:
    def __init__(self, metric: CounterMetricFamily | GaugeMetricFamily) -> None:
        self._metric = metric

    def __call__(self, values: Mapping[tuple[str, ...], float]) -> Metric:
        for labels, value in values.items():
            self._metric.add_metric(labels, value)
        return self._metric


def _counter(name: str, help: str, *labels: str) -> _Family:
    return _Family(CounterMetricFamily(f"innkeeper_{name}", help, labels=labels))


def _gauge(name: str, help: str, *labels: str) -> _Family:
    return _Family(GaugeMetricFamily(f"innkeeper_{name}", help, labels=labels))
