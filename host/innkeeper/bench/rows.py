"""The rows: what is measured, in which order, and what each is to reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        name: short and stable.
        title: what is measured.
        unit: of its figures: "us", "ms", "%" or "calls/s" (the only one of which more is better).
        module: module of this package that measures it.
        aim: the ratio to Extism that is aimed at, or None.
        must: a looser ratio that has to be met in any case, or None.
        aim_own: aim of our own figure, in the row's unit, where there is no peer to compare with.
        note: what a reader must know to compare: what the peers leave out, or how it was timed.
        tells: what else was found, with the names of further numbers of the row in braces.
    """

    name: str
    title: str
    unit: str
    module: str
    aim: float | None = None
    must: float | None = None
    aim_own: float | None = None
    note: str = ""
    tells: str = ""


_PLAIN = "wasmtime-py: no guest ABI, no limits, no interruption"
_REMEMBERED = "both are ours; the input is another object each time, so that nothing of it is known beforehand"
_QUEUED = "from the queue to the end in the database, with every event kept"

_ALL = (
    Row("fresh-small", "fresh guest and call, 64 bytes, 3 kB guest", "us", "fresh", aim=0.1, must=0.2, note=_PLAIN),
    Row("fresh-large", "fresh guest and call, 64 bytes, 1.9 MB guest", "us", "fresh", aim=0.25, note=_PLAIN),
    Row("warm", "warm call, 64 bytes", "us", "fresh", aim=0.5, note=_PLAIN),
    Row(
        "host-call",
        "host call, 64 bytes each way, ready at once",
        "us",
        "hostcalls",
        aim=0.6,
        note="wasmtime-py: the host reads and writes the guest's memory itself",
    ),
    Row(
        "host-await",
        "host call, 64 bytes each way, ours awaits",
        "us",
        "hostcalls",
        aim=1.0,
        note="ours awaits a checkpoint; theirs are the same synchronous calls as in host-call, since they cannot await",
    ),
    Row("fresh-64k", "fresh guest and call, 64 KB in and out", "us", "fresh", aim=0.35, note=_PLAIN),
    Row("warm-1m", "warm call, 1 MB in and out", "us", "fresh", aim=0.75, note=_PLAIN),
    Row(
        "load-new-process",
        "cached load in a new process, 1.9 MB",
        "ms",
        "loads",
        aim=0.5,
        note="after the imports; reading the file is counted, and for ours hashing it; wasmtime-py maps an artifact "
        "that nothing compares with the file",
    ),
    Row(
        "load-again",
        "load of the same 1.9 MB again in one host",
        "us",
        "loads",
        aim=0.1,
        note="theirs from its disk cache; wasmtime-py maps an artifact that nothing compares with the module",
    ),
    Row(
        "waiting",
        "1,000 calls that wait 10 ms in a host function",
        "ms",
        "waiting",
        aim=0.05,
        note="theirs in a pool of cores + 4 threads, Python's default",
    ),
    Row(
        "go",
        "Go plugin of 4.4 MB, theirs warm + 50 us",
        "us",
        "go",
        aim=1.0,
        note="the extism figure is its warm call plus 50 us; 10 ms between two calls, of each alike",
    ),
    Row("twenty-plugins", "20 plugins of a home ready, from the cache", "ms", "ready", aim_own=100.0),
    Row("forty-modules", "40 modules of 1 kB to 4.4 MB ready, from the cache", "ms", "ready", aim_own=300.0),
    Row(
        "two-cores",
        "calls a second on two cores, each of a fresh guest, 64 bytes",
        "calls/s",
        "throughput",
        note="two processes at a time; " + _PLAIN,
    ),
    Row(
        "epochs",
        "a guest that computes for itself",
        "ms",
        "epochs",
        note="what being interruptible costs: wasmtime-py is not; ours checks bounds explicitly, too",
    ),
    Row(
        "gate",
        "a granted call of a service that does nothing, beyond a host call",
        "us",
        "gate",
        aim_own=10.0,
        note="the difference of two medians: both ready at once, neither quick; journal off",
    ),
    Row(
        "memo-small", "a remembered call beside a fresh guest's, 64 bytes", "%", "memo", aim_own=33.3, note=_REMEMBERED
    ),
    Row("memo-64k", "a remembered call beside a fresh guest's, 64 KB", "%", "memo", aim_own=33.3, note=_REMEMBERED),
    Row("chain", "a node of a chain of 1,000, beyond its guest", "us", "workflows", aim_own=100.0, note=_QUEUED),
    Row("fan", "a node of a fan of 998, beyond its guest", "us", "workflows", aim_own=100.0, note=_QUEUED),
    Row(
        "runs",
        "200 workflows at a time: lag of a timer, p99",
        "ms",
        "runs",
        aim_own=20.0,
        tells="{cores_busy:.2f} of {cores:.0f} cores busy, {runs_a_second:.0f} workflows of 8 nodes a second",
    ),
    Row(
        "interrupt",
        "a run whose guests go on for ever, from its cancellation to its end",
        "ms",
        "interrupts",
        aim_own=100.0,
        note="guests that compute, sleep, write a stream, read one, and wait in the bridge; the end is in the database",
        tells="at most {longest_ms:.1f} ms",
    ),
    Row(
        "stream",
        "a chunk through three nodes of a workflow",
        "us",
        "flows",
        note=_QUEUED,
        tells="{chunks:,.0f} chunks, {grown_mib:.1f} MiB more memory at the end",
    ),
    Row("chunk-single", "a chunk from guest to guest, written and read one by one", "us", "chunks"),
    Row("chunk-many", "a chunk from guest to guest, a thousand in a call", "us", "chunks"),
    Row(
        "cache-misses",
        "the server's cache: reads of a recorded mix that are no hits",
        "%",
        "cache",
        aim_own=20.0,
        note="16,000 keys by Zipf's law, 5,000 places, 4 % of the requests change something; it begins empty",
        tells="{hits:.1f} % hits of {accesses:,.0f} reads",
    ),
    Row(
        "cache-read",
        "a read of that mix, p99, misses through the database counted",
        "us",
        "cache",
        aim_own=1000.0,
        tells="{median_us:.2f} us at the median",
    ),
    Row(
        "cache-invalidation",
        "an invalidation in a cache of 5,000 entries: 90 % by key, 9 % by prefix, 1 % by pattern",
        "us",
        "cache",
        aim_own=1000.0,
        tells="{a_second:,.0f} invalidations a second",
    ),
)

ROWS = {row.name: row for row in _ALL}
