"""Each request has an id, headers that bind browsers, and a place in the counts that no client can make up."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from guarded import UPGRADE, Guarded, guarded, until
from innkeeper.server.guards.headers import ALWAYS
from innkeeper.server.telemetry.counts import DURATIONS, Histogram


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Values by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def value(server: Guarded, name: str, **labels: str) -> float | None:
    """One value of /metrics, or None."""
    found = samples((await server.client.get("/metrics")).text)
    return found.get((name, frozenset(labels.items())))


async def test_every_answer_has_the_headers_that_bind_a_browser(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        for path in ("/page", "/healthz", "/nothing", "/openapi.json"):
            answer = await server.client.get(path)
            assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "sandbox" in policy
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers
        refused = await server.client.get("/page", headers={"origin": "http://evil.example"})
        assert {name: refused.headers[name] for name in ALWAYS} == ALWAYS
        tagged = await server.client.get("/tagged")
        assert tagged.headers["content-security-policy"] == "default-src 'self'"
        # A policy of its own that says nothing of frames allows none.
        assert tagged.headers["x-frame-options"] == "DENY"
        assert tagged.headers["cache-control"] == "private, no-cache"


async def test_what_fails_has_an_id_and_headers_too_and_says_nothing_of_why(tmp_path: Path) -> None:
    def failing(app: object) -> None:
        @app.get("/fails")  # type: ignore[attr-defined]
        async def fails() -> None:
            raise RuntimeError("the password is hunter2")

    async with guarded(tmp_path, change=failing) as server:
        answer = await server.client.get("/fails")
        assert answer.status_code == 500
        assert "hunter2" not in answer.text
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert await value(server, "innkeeper_http_requests_total", method="GET", route="/fails", status="500") == 1


async def test_an_id_is_given_back_unless_it_could_break_a_line(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        answer = await server.client.get("/healthz", headers={"x-request-id": "proxy-1.a_b"})
        assert answer.headers["x-request-id"] == "proxy-1.a_b"
        made = set()
        for given_ in ("", "a b", "a\tb", "ä", "x" * 65, "a;b", '"'):
            answer = await server.client.get("/healthz", headers={"x-request-id": given_.encode()})
            assert answer.headers["x-request-id"] != given_
            made.add(answer.headers["x-request-id"])
        assert len(made) == 7
        _, headers, _ = await server.raw(UPGRADE)
        assert headers["x-request-id"]


async def test_a_client_whose_body_is_not_read_is_told_that_its_connection_ends(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        asked = f"POST /things/a HTTP/1.1\nConnection: keep-alive\nContent-Length: {1 << 20}"
        status, headers, _ = await server.raw(asked + "\nOrigin: http://evil.example", b"x")
        assert (status, headers["connection"]) == (403, "close")
        _, headers, _ = await server.raw("POST /things/a HTTP/1.1\nConnection: keep-alive\nContent-Length: 0")
        assert "connection" not in headers
        # Again and again on one connection, if it can be kept.
        for _ in range(5):
            assert (await server.client.post("/things/a", content=b"x" * 100)).status_code == 200


async def test_ten_thousand_paths_that_nobody_knows_are_one_series(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        for method, path in (("GET", "/unknown"), ("GET", "/things/a"), ("STRANGE", "/things/a"), ("STRANGE", "/x")):
            await server.ask(method, path)
        await server.client.get("/metrics")
        before = set(samples((await server.client.get("/metrics")).text))
        for number in range(10_000):
            path = f"/{number:x}/{number}" if number % 2 else f"/things/{number}"
            await server.ask("GET" if number % 50 else f"M{number}", path)
        text = (await server.client.get("/metrics")).text
        assert set(samples(text)) == before
        counted = samples(text)[
            "innkeeper_http_requests_total",
            frozenset({("method", "GET"), ("route", "/things/{name}"), ("status", "200")}),
        ]
        assert counted == 1 + 4800


async def test_streams_are_counted_as_long_as_they_are_open(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        async with server.client.stream("GET", "/stream") as stream:
            chunks = stream.aiter_raw()
            assert await anext(chunks) == b"data: one\n\n"
            assert await value(server, "innkeeper_streaming_connections", kind="sse") == 1
            # Its time is that until its head; the route is there while the stream goes on no longer than its end.
            server.release.set()
            assert [chunk async for chunk in chunks] == [b"data: two\n\n"]

        async def over() -> bool:
            return not await value(server, "innkeeper_streaming_connections", kind="sse")

        await until(over)
        assert await value(server, "innkeeper_streams_total", kind="sse") == 1
        assert await value(server, "innkeeper_stream_messages_total", kind="sse", result="sent") == 2
        assert (await server.raw(UPGRADE))[0] == 101

        async def told_and_over() -> bool:
            sent = await value(server, "innkeeper_stream_messages_total", kind="websocket", result="sent")
            return sent == 1 and not await value(server, "innkeeper_streaming_connections", kind="websocket")

        await until(told_and_over)


@pytest.mark.parametrize(
    ("configuration", "headers", "status"),
    [
        ("", {}, 200),
        ('[server]\nmetrics = ["192.0.2.0/24"]\n', {}, 403),
        ("[server]\nmetrics = []\n", {}, 403),
        # A proxy on this machine brings anybody.
        ("", {"x-forwarded-for": "192.0.2.1"}, 403),
        ('[server]\nproxies = ["127.0.0.1"]\n', {"x-forwarded-for": "192.0.2.1"}, 403),
        ('[server]\nproxies = ["127.0.0.1"]\n', {"x-forwarded-for": "127.0.0.1, 192.0.2.1"}, 403),
        ('[server]\nproxies = ["127.0.0.1"]\nmetrics = ["192.0.2.1"]\n', {"x-forwarded-for": "192.0.2.1"}, 200),
    ],
)
async def test_metrics_are_for_the_addresses_on_the_list(
    tmp_path: Path, configuration: str, headers: dict[str, str], status: int
) -> None:
    async with guarded(tmp_path, configuration) as server:
        answer = await server.client.get("/metrics", headers=headers)
        assert (answer.status_code, "innkeeper_info" in answer.text) == (status, status == 200)


async def test_messages_past_the_application_are_counted_where_their_scope_says(tmp_path: Path) -> None:
    def past(app: FastAPI) -> None:
        @app.get("/past")
        async def writes(request: Request) -> None:
            counts = request.scope["innkeeper.streams"]
            counts.sent["websocket"] += 5
            counts.dropped["sse"] += 2

    async with guarded(tmp_path, change=past) as server:
        await server.client.get("/past")
        messages = "innkeeper_stream_messages_total"
        assert await value(server, messages, kind="websocket", result="sent") == 5
        assert await value(server, messages, kind="sse", result="dropped") == 2


async def test_what_others_count_is_said_where_they_say_so(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        metrics = server.parts.guards.metrics
        assert await value(server, "innkeeper_cache_hit_ratio", cache="things") is None
        metrics.caches.append(lambda: {"things": (3, 1)})
        server.app.state.streams = SimpleNamespace(connections=7, refused=2, lost={"slow": 5})
        assert await value(server, "innkeeper_cache_hit_ratio", cache="things") == 0.75
        assert await value(server, "innkeeper_cache_hits_total", cache="things") == 3
        assert await value(server, "innkeeper_connections") == 7
        assert await value(server, "innkeeper_connections_refused_total") == 2
        assert await value(server, "innkeeper_stream_clients_lost_total", reason="slow") == 5


async def test_every_metric_is_on_its_page_and_the_page_has_no_other(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()
    table = page[page.index("| name (") : page.index("## Beside")]
    names = {f"innkeeper_{name}" for name in re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| [^|]*", table, re.M)))}
    async with guarded(tmp_path) as server:
        server.app.state.streams = SimpleNamespace(connections=0, refused=0, lost={"slow": 1})
        server.parts.guards.metrics.caches.append(lambda: {"things": (3, 1)})
        await server.client.get("/metrics")
        text = (await server.client.get("/metrics")).text
    said = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    processes = {name for name in said if name.startswith("innkeeper_process_")}
    assert said - processes == names


async def test_who_asks_stands_in_the_line_of_the_request_and_its_query_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "innkeeper.access")
    async with guarded(tmp_path) as server:
        await server.client.get("/things/a?ticket=very-secret")
        await server.client.get("/healthz")
        lines = [record for record in caplog.records if record.name == "innkeeper.access"]
        assert [record.getMessage() for record in lines] == ["GET /things/a 200"]
        assert vars(lines[0])["status"] == 200
        assert "very-secret" not in str(vars(lines[0]))


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_says_how_many_lie_below_each_bound(amounts: list[float]) -> None:
    histogram = Histogram(DURATIONS)
    for amount in amounts:
        histogram.add(amount)
    for bound, count in histogram.buckets():
        assert count == sum(amount <= float(bound) for amount in amounts)
    assert histogram.sum == pytest.approx(sum(amounts))
