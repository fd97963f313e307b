"""A server says that it takes no requests as soon as it does not."""

from __future__ import annotations

import threading
from pathlib import Path

import trio
from sqlalchemy import Connection

from guarded import UPGRADE, guarded, until
from innkeeper.server.telemetry.probing import _count
from innkeeper.storage.database import READERS


async def test_a_server_whose_database_does_not_answer_is_not_ready_and_says_so_soon(tmp_path: Path) -> None:
    go = threading.Event()

    def slow(connection: Connection) -> None:
        go.wait(60)

    async with guarded(tmp_path) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(server.parts.database.read, slow)
            await trio.sleep(0.1)
            try:
                # However many ask, one question waits in the database.
                answers = []

                async def ask() -> None:
                    answers.append(await server.client.get("/readyz"))

                async with trio.open_nursery() as asking:
                    for _ in range(20):
                        asking.start_soon(ask)
                assert {answer.status_code for answer in answers} == {503}
                assert answers[0].json() == {"error": "the database does not answer"}
                waiting = list(server.parts.database._reads._waiting)
                assert sum(job.function is _count for job in waiting) == 1
                # What needs no database goes on, and so do the metrics, without what it would say.
                assert (await server.client.get("/healthz")).status_code == 200
                text = (await server.client.get("/metrics")).text
                assert "innkeeper_runs_running" in text
                assert "innkeeper_runs_queued" not in text
            finally:
                go.set()

        async def ready() -> bool:
            return (await server.client.get("/readyz")).status_code == 200

        await until(ready)


async def test_a_server_that_stops_begins_nothing_and_goes_on_answering_what_became_of_it(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server, server.client.stream("GET", "/stream") as stream:
        chunks = stream.aiter_raw()
        await anext(chunks)
        server.parts.stopping.set()
        assert (await server.client.get("/readyz")).json() == {"error": "the server is stopping"}
        for method in ("POST", "PUT", "DELETE"):
            answer = await server.client.request(method, "/things/a")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert (await server.raw(UPGRADE))[0] == 503
        assert (await server.client.get("/things/a")).status_code == 200
        assert (await server.client.get("/healthz")).status_code == 200
        server.release.set()
        assert [chunk async for chunk in chunks] == [b"data: two\n\n"]
