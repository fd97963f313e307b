"""Runs as server-sent events and by long polling."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from live_homes import WHO, flow, many_users, quick, sleeping, slow_served, until_running
from servers import Served
from work_homes import one

INTERFACE = "__WORKFLOW_INTERFACE_OUTPUTS__"


async def submitted(server: Served, workflow: dict[str, Any], who: str = "default_user") -> str:
    from innkeeper.server.identity import Identity
    from innkeeper.server.runs.submitting import submit

    return await submit(server.parts, Identity(who, who, False, "local"), workflow)


async def interrupted(server: Served, prompt: str) -> None:
    from innkeeper.server.identity import Identity
    from innkeeper.server.runs.finding import interrupt

    await interrupt(server.parts, Identity("root", "root", True, "local"), prompt)


@asynccontextmanager
async def stream(server: Served, path: str, **headers: str) -> AsyncIterator[tuple[httpx.Response, Any]]:
    async with server.client.stream("GET", path, headers=headers) as response:
        yield response, _events(response)


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """What an EventSource makes of it: its rules, not the server's code."""
    event: dict[str, str] = {}
    async for line in response.aiter_lines():
        if not line:
            if "data" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            event[field] = f"{event[field]}\n{value}" if field == "data" and field in event else value


async def test_a_run_is_streamed_to_its_end_with_the_number_of_each_event(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        prompt = await submitted(server, flow("read-aloud", text="the door opens"))
        async with stream(server, f"/api/stream/{prompt}") as (response, events):
            assert response.headers["content-type"].startswith("text/event-stream")
            found = [event async for event in events]
        assert [int(event["id"]) for event in found] == list(range(1, len(found) + 1))
        assert [event["event"] for event in found] == ["message"] * (len(found) - 1) + ["complete"]
        said = [json.loads(event["data"]) for event in found]
        assert [each["seq"] for each in said] == list(range(1, len(found) + 1))
        assert said[0]["type"] == "PROMPT_ACCEPTED_RESPONSE"
        assert "NODE_LOG" in {each["type"] for each in said}
        # A client that comes back gets what it missed; one that has all is told not to come back.
        async with stream(server, f"/api/stream/{prompt}", **{"Last-Event-ID": "5"}) as (_, events):
            assert [int(event["id"]) async for event in events] == list(range(6, len(found) + 1))
        async with stream(server, f"/api/stream/{prompt}?after=7", **{"Last-Event-ID": "what"}) as (_, events):
            assert [int(event["id"]) async for event in events] == list(range(8, len(found) + 1))
        again = await server.client.get(f"/api/stream/{prompt}", headers={"Last-Event-ID": str(len(found))})
        assert (again.status_code, again.content) == (204, b"")


async def test_a_failed_run_ends_its_stream_with_an_error(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        prompt = await submitted(server, one("Fail"))
        async with stream(server, f"/api/stream/{prompt}") as (_, events):
            found = [event async for event in events]
        assert found[-1]["event"] == "error"
        assert json.loads(found[-1]["data"])["payload"]["status"] == "error"


async def test_a_silent_run_gives_signs_of_life_and_an_interrupted_one_ends_its_stream(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home", '[server]\nheartbeat = "20ms"\n') as server:
        prompt = await submitted(server, sleeping())
        await until_running(server, prompt)
        async with stream(server, f"/api/stream/{prompt}?after=3") as (_, events):
            beats = [await anext(events) for _ in range(3)]
            # Without an id: what comes after the last event is what a client misses.
            assert beats == [{"event": "heartbeat", "data": "{}"}] * 3
            await interrupted(server, prompt)
            last = [event async for event in events][-1]
        assert (last["event"], json.loads(last["data"])["payload"]["status"]) == ("complete", "interrupted")


async def test_a_client_that_leaves_its_stream_leaves_nothing_behind(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        feeds = server.parts.live.feeds
        prompt = await submitted(server, sleeping())
        async with stream(server, f"/api/stream/{prompt}") as (_, events):
            await anext(events)
            assert feeds.watchers == 1
        while feeds.watchers:  # noqa: ASYNC110 (nobody is told)
            await trio.sleep(0.01)
        await interrupted(server, prompt)


async def test_polling_gives_what_is_there_and_where_to_go_on(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        prompt = await submitted(server, quick(3))
        found: list[dict[str, Any]] = []
        after, ended = 0, False
        while not ended:
            answer = await server.client.get(
                f"/api/runs/{prompt}/events", params={"after": after, "wait": 30, "limit": 2}
            )
            page = answer.json()
            assert (page["promptId"], page["gone"], len(page["events"]) <= 2) == (prompt, False, True)
            found += page["events"]
            after, ended = page["after"], page["ended"]
        assert [each["seq"] for each in found] == list(range(1, len(found) + 1))
        assert found[-1]["payload"]["status"] == "complete"
        last = await server.client.get(f"/api/runs/{prompt}/events", params={"after": after, "wait": 30})
        assert last.json() == {
            "promptId": prompt,
            "status": "complete",
            "after": after,
            "ended": True,
            "gone": False,
            "events": [],
        }


async def test_a_poll_without_patience_is_answered_at_once_and_one_with_it_as_something_comes(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        prompt = await submitted(server, sleeping())
        await until_running(server, prompt)
        first = (await server.client.get(f"/api/runs/{prompt}/events", params={"wait": 30})).json()
        while first["after"] < 3:
            first = (
                await server.client.get(f"/api/runs/{prompt}/events", params={"wait": 30, "after": first["after"]})
            ).json()
        now = (await server.client.get(f"/api/runs/{prompt}/events", params={"after": 3})).json()
        assert (now["events"], now["after"], now["ended"], now["status"]) == ([], 3, False, "running")
        waited: list[dict[str, Any]] = []
        async with trio.open_nursery() as nursery:

            async def poll() -> None:
                answer = await server.client.get(f"/api/runs/{prompt}/events", params={"after": 3, "wait": 60})
                waited.append(answer.json())

            nursery.start_soon(poll)
            while server.parts.live.feeds.watchers < 1:  # noqa: ASYNC110 (nobody is told)
                await trio.sleep(0.01)
            await interrupted(server, prompt)
        assert [each["payload"]["status"] for each in waited[0]["events"]] == ["interrupted"]
        assert waited[0]["ended"] is True


async def test_a_server_that_stops_lets_nobody_wait(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        prompt = await submitted(server, sleeping())
        await until_running(server, prompt)
        async with trio.open_nursery() as nursery:

            async def poll() -> None:
                answer = await server.client.get(f"/api/runs/{prompt}/events", params={"after": 9, "wait": 60})
                assert answer.json()["events"] == []

            nursery.start_soon(poll)
            while server.parts.live.feeds.watchers < 1:  # noqa: ASYNC110 (nobody is told)
                await trio.sleep(0.01)
            server.parts.stopping.set()
        await interrupted(server, prompt)


PLACES = ["/api/stream/{}", "/api/runs/{}/events"]


@pytest.mark.parametrize("path", PLACES)
async def test_a_run_is_streamed_to_whom_it_belongs(tmp_path: Path, path: str) -> None:
    async with slow_served(tmp_path / "home") as server:
        many_users(server, {"key": frozenset({"files"}), "run-key": frozenset({"runs"})})
        prompt = await submitted(server, quick(), "ada")
        for who, status in [(None, 401), ("bo", 404), ("key", 403), ("ada", 200), ("root", 200)]:
            headers = {} if who is None else {WHO: who}
            answer = await server.client.get(path.format(prompt), headers=headers)
            assert answer.status_code == status, who
            if status != 200:
                assert prompt not in answer.text or status == 404
                assert set(answer.json()) == {"error"}
        own = await submitted(server, quick(), "run-key")
        assert (await server.client.get(path.format(own), headers={WHO: "run-key"})).status_code == 200


@pytest.mark.parametrize("path", PLACES)
async def test_what_cannot_be_asked_is_refused(tmp_path: Path, path: str) -> None:
    async with slow_served(tmp_path / "home") as server:
        for id in ("nothing", "%00", "x" * 128):
            assert (await server.client.get(path.format(id))).status_code == 404
        wrong = ["after=-1", "after=x", "after=1e400", f"after={10**30}"]
        if "runs" in path:
            wrong += ["wait=-1", "wait=61", "wait=nan", "wait=inf", "limit=0", "limit=501"]
        for query in wrong:
            assert (await server.client.get(f"{path.format('p')}?{query}")).status_code == 422, query
        assert (await server.client.get(path.format("x" * 129))).status_code == 422
