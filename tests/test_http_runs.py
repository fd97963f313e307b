"""Runs over HTTP: submitted, asked for after their end, listed, interrupted and run again; each user's own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from http_users import Users, ended, running, sent, slow_home, users_of
from innkeeper.bridge.codec import encode, parse_json
from innkeeper.bridge.runner import Job
from innkeeper.sandbox.limits import MIB
from innkeeper.server.runs.plain_json import json_text
from innkeeper.server.runs.submitting import MOST_BYTES
from innkeeper.storage.database import open_database
from innkeeper.storage.location import Location
from innkeeper.storage.names import new_id
from innkeeper.storage.run_model import Account, NewRun
from innkeeper.storage.run_store import RunStore
from work_homes import one


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return slow_home(tmp_path / "home")


# --- what became of a run ---------------------------------------------------------------------------------------------


async def test_a_run_answers_after_its_end_with_status_outputs_and_nodes(home: Path) -> None:
    async with users_of(home) as users:
        run = await sent(users.ann, one("Quick", metadata={"workflowName": "Ann's"}))
        said = await ended(users.ann, run)
        assert (said["promptId"], said["status"], said["owner"]) == (run, "complete", "ann")
        assert said["outputs"] == {"out": "done"}
        assert said["error"] is None
        assert said["workflowName"] == "Ann's"
        assert said["nodes"]["it"]["status"] == "complete"
        assert said["submittedAt"] <= said["startedAt"] <= said["endedAt"]
        short = (await users.ann.get(f"/api/prompt/{run}", params={"outputs": False, "nodes": False})).json()
        assert (short["outputs"], short["nodes"]) == (None, {})


async def test_a_run_that_fails_says_which_node_and_why(home: Path) -> None:
    async with users_of(home) as users:
        said = await ended(users.ann, await sent(users.ann, one("Fail")))
        assert said["status"] == "error"
        assert (said["error"]["node"], said["error"]["plugin"], said["error"]["kind"]) == ("it", "slow", "guest")
        assert said["nodes"]["it"]["status"] == "error"
        assert said["nodes"]["it"]["message"]


async def test_a_run_of_somebody_else_is_answered_as_one_that_is_not_there(home: Path) -> None:
    async with users_of(home) as users:
        run = await sent(users.ann, one("Quick"))
        await ended(users.ann, run)
        for method, path in (
            ("GET", "/api/prompt/{}"),
            ("POST", "/api/interrupt/{}"),
            ("DELETE", "/api/interrupt/{}"),
            ("POST", "/api/runs/{}/retry"),
        ):
            theirs = await users.bob.request(method, path.format(run))
            nobodys = await users.bob.request(method, path.format("0" * 32))
            assert (theirs.status_code, nobodys.status_code) == (404, 404)
            # But for the id that was asked for.
            assert theirs.text.replace(run, "0" * 32) == nobodys.text
        assert (await users.root.get(f"/api/prompt/{run}")).status_code == 200
        # An administrator's key that does not reach `admin` is a user's key.
        assert (await users.half.get(f"/api/prompt/{run}")).status_code == 404


@pytest.mark.parametrize("id", ["%00", "..%2f..", "x" * 65, "%ed%a0%80", "'; drop table runs; --"])
async def test_what_cannot_be_an_id_is_not_found_or_refused(home: Path, id: str) -> None:
    async with users_of(home) as users:
        answer = await users.ann.get(f"/api/prompt/{id}")
        assert answer.status_code in (404, 422)
        assert "error" in answer.json()


async def test_what_is_damaged_is_said_and_nothing_of_it_shown(home: Path) -> None:
    async with users_of(home) as users:
        run = await sent(users.ann, one("Quick"))
        await ended(users.ann, run)
        await users.parts.database.write(
            lambda connection: connection.exec_driver_sql("update runs set outputs = x'c1c1'")
        )
        answer = await users.ann.get(f"/api/prompt/{run}")
        assert answer.status_code == 500
        assert "damaged" in answer.json()["error"]


# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_what_cannot_run_is_refused_with_a_sentence_and_details(home: Path) -> None:
    async with users_of(home) as users:
        answer = await users.ann.post("/api/prompt", json={"nodes": [{"id": "a", "fullType": "no:ne"}], "edges": []})
        assert answer.status_code == 422
        assert answer.json()["details"]["problems"][0]["node"] == "a"
        assert (await users.ann.post("/api/prompt", content=b"{")).status_code == 400
        assert (await users.ann.post("/api/prompt", content=b"[" * 10_000)).status_code == 400
        assert (await users.ann.post("/api/prompt", content=b"")).status_code == 400


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(home: Path) -> None:
    async with users_of(home) as users:
        # Nothing but the head is sent: who waits for the body never answers.
        address = users.url.removeprefix("http://")
        head = f"POST /api/prompt HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer ann\r\n"
        head += f"Content-Length: {10**12}\r\n\r\n"
        host, port = address.split(":")
        stream = await trio.open_tcp_stream(host, int(port))
        await stream.send_all(head.encode())
        assert b" 413 " in await stream.receive_some(1000)
        await stream.aclose()


async def test_a_body_without_a_length_is_cut_off_at_the_bound(home: Path) -> None:
    async def endless() -> Any:
        for _ in range(MOST_BYTES // MIB + 2):
            yield b" " * MIB

    async with users_of(home) as users:
        assert (await users.ann.post("/api/prompt", content=endless())).status_code == 413


# --- lists ------------------------------------------------------------------------------------------------------------


async def queued(users: Users, owner: str, count: int, *, schedule: str = "") -> list[str]:
    """Runs that nobody takes, since they are not offered."""
    ids = [new_id() for _ in range(count)]
    for id in ids:
        new = NewRun(id, Account(owner), Job(one("Sleep"), {}).packed(), schedule=schedule)
        await users.parts.scheduler.store.submit(new, time.time(), offered=False)
    return ids


async def test_executions_are_ones_own_and_all_for_an_administrator(home: Path) -> None:
    async with users_of(home) as users:
        [anns] = await queued(users, "ann", 1)
        [bobs] = await queued(users, "bob", 1)
        run = await sent(users.ann, one("Sleep"))
        await running(users.ann, run)
        mine = (await users.ann.get("/api/executions")).json()
        assert [each["promptId"] for each in mine["running"]] == [run]
        assert [each["promptId"] for each in mine["pending"]] == [anns]
        assert (await users.bob.get("/api/executions")).json()["running"] == []
        all_ = (await users.root.get("/api/executions")).json()
        assert {each["promptId"] for each in all_["pending"]} == {anns, bobs}
        await users.ann.post(f"/api/interrupt/{run}")


@pytest.mark.parametrize(("path", "key"), [("/api/executions", "pending"), ("/api/runs", "runs")])
async def test_lists_are_read_page_by_page(home: Path, path: str, key: str) -> None:
    async with users_of(home) as users:
        ids = await queued(users, "ann", 5)
        found, before = [], ""
        for _ in range(4):
            page = (await users.ann.get(path, params={"limit": 2, "before": before})).json()
            found += [each["promptId"] for each in page[key]]
            before = page["next"]
            if before is None:
                break
        assert found == ids[::-1]
        assert (await users.ann.get(path, params={"limit": 101})).status_code == 422
        assert (await users.ann.get(path, params={"before": "\0"})).status_code == 422


async def test_the_history_is_filtered_and_somebody_elses_only_for_an_administrator(home: Path) -> None:
    async with users_of(home) as users:
        done = await sent(users.ann, one("Quick"))
        await ended(users.ann, done)
        [waiting] = await queued(users, "ann", 1, schedule="s1")
        [bobs] = await queued(users, "bob", 1)

        async def listed(client: Any, **params: Any) -> set[str]:
            return {each["promptId"] for each in (await client.get("/api/runs", params=params)).json()["runs"]}

        assert await listed(users.ann) == {done, waiting}
        assert await listed(users.ann, status="complete") == {done}
        assert await listed(users.ann, status=["queued", "complete"]) == {done, waiting}
        assert await listed(users.ann, schedule="s1") == {waiting}
        assert await listed(users.root) == set()
        assert await listed(users.root, everybody=True) == {done, waiting, bobs}
        assert (await users.ann.get("/api/runs", params={"everybody": True})).status_code == 403
        assert (await users.half.get("/api/runs", params={"everybody": True})).status_code == 403
        assert (await users.ann.get("/api/runs", params={"status": "gone"})).status_code == 422


# --- ending and beginning again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_interrupting_ends_a_run_and_may_be_done_twice(home: Path, method: str) -> None:
    async with users_of(home) as users:
        run = await sent(users.ann, one("Sleep"))
        await running(users.ann, run)
        first = (await users.ann.request(method, f"/api/interrupt/{run}")).json()
        assert first["success"] is True
        said = await ended(users.ann, run)
        assert (said["status"], said["cancelled"]) == ("interrupted", True)
        assert said["nodes"]["it"]["status"] == "interrupted"
        again = await users.ann.request(method, f"/api/interrupt/{run}")
        assert (again.status_code, again.json()["success"]) == (200, True)


async def test_a_run_that_has_ended_is_not_interrupted_any_more(home: Path) -> None:
    async with users_of(home) as users:
        run = await sent(users.ann, one("Quick"))
        await ended(users.ann, run)
        said = (await users.ann.post(f"/api/interrupt/{run}")).json()
        assert said == {"success": False, "message": "the run has ended already: complete"}
        assert (await ended(users.ann, run))["status"] == "complete"


async def test_a_run_that_waits_is_interrupted_at_once_and_an_administrator_may(home: Path) -> None:
    async with users_of(home) as users:
        [run] = await queued(users, "ann", 1)
        assert (await users.root.delete(f"/api/interrupt/{run}")).json()["success"] is True
        assert (await users.ann.get(f"/api/prompt/{run}")).json()["status"] == "interrupted"


async def test_interrupting_goes_through_the_database_to_whatever_process_has_the_run(home: Path) -> None:
    async with users_of(home) as users:
        run = await sent(users.ann, one("Sleep"))
        await running(users.ann, run)
        # As another process does that shares the database alone.
        async with open_database(Location.of(home / "state/innkeeper.db")) as database:
            await RunStore(database).cancel(run, time.time())
        assert (await ended(users.ann, run))["status"] == "interrupted"


async def test_a_run_is_done_again_as_its_owners(home: Path) -> None:
    async with users_of(home) as users:
        run = await sent(users.ann, one("Quick", metadata={"name": "mine", "priority": 3}))
        await ended(users.ann, run)
        answer = (await users.root.post(f"/api/runs/{run}/retry")).json()
        assert answer["retryOf"] == run
        said = await ended(users.ann, answer["promptId"])
        assert (said["owner"], said["workflowName"], said["priority"]) == ("ann", "mine", 3)
        assert said["outputs"] == {"out": "done"}


async def test_a_run_that_has_not_ended_is_not_done_again(home: Path) -> None:
    async with users_of(home) as users:
        [run] = await queued(users, "ann", 1)
        assert (await users.ann.post(f"/api/runs/{run}/retry")).status_code == 409


async def test_the_server_says_how_busy_it_is(home: Path) -> None:
    async with users_of(home) as users:
        await queued(users, "bob", 2)
        run = await sent(users.ann, one("Sleep"))
        await running(users.ann, run)
        said = (await users.ann.get("/api/system_stats")).json()
        assert (said["maxConcurrentWorkflows"], said["runningExecutions"], said["pendingExecutions"]) == (16, 1, 2)
        assert said["guests"]["live"] >= 1
        assert said["guestMemory"]["limit"] > 0
        assert said["uptime"] >= 0
        await users.ann.post(f"/api/interrupt/{run}")


# --- values -----------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_is_the_json_that_the_border_writes(value: Any) -> None:
    assert parse_json(json_text(msgpack.packb(value))) == parse_json(encode(value, "json"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), b"null"),
        ([1.5, float("inf"), -float("inf")], b"[1.5,null,null]"),
        ({"a": float("nan"), "b": b"\xff"}, b'{"a":null,"b":"/w=="}'),
        ("\ud800", b'"?"'),
    ],
)
def test_what_json_cannot_say_does_not_keep_the_rest_from_being_read(value: Any, text: bytes) -> None:
    assert json_text(msgpack.packb(value, unicode_errors="surrogatepass")) == text


@given(st.binary(max_size=40))
def test_damaged_bytes_are_a_value_error_and_nothing_else(data: bytes) -> None:
    try:
        text = json_text(data)
    except ValueError:
        return
    json.loads(text)
