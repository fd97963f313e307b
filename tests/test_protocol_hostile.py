"""What no client may do to the server through /ws, whatever it sends: it gets an error, or its socket is closed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.server.answers import AnswerError
from innkeeper.server.live import session, standing
from innkeeper.server.live.protocol import (
    Click,
    Load,
    OfProject,
    OfRun,
    Payload,
    Resume,
    Save,
    Subscribe,
    payload_of,
    read_message,
)
from innkeeper.server.runs.finding import MOST_ID
from live_homes import WHO, many_users, quick, sleeping, slow_served, until_running
from protocol_client import ClosedError, RefusedError, connected
from test_docs import ROOT
from test_protocol import COMFY, read_all

WRONG: list[tuple[str, str]] = [
    ('{"type": "NO_SUCH_THING", "payload": {}}', "Unknown message type: NO_SUCH_THING"),
    ('{"type": "x\\u001b[31m"}', "Unknown message type: x"),
    ("{", "Error processing message: it is not JSON"),
    ("[" * 100 + "]" * 100, "Error processing message: it is not JSON"),
    ('{"type": "SUBSCRIBE", "payload": {"promptId": "p", "after": NaN}}', "Error processing message: it is not JSON"),
    ("[1, 2]", "Error processing message: it is not an object"),
    ('{"payload": {}}', "Error processing message: it is not an object"),
    ('{"type": 7}', "Error processing message: it is not an object"),
    ('{"type": "PROMPT_REQUEST", "payload": 3}', "Error processing message: the payload is not a workflow"),
    ('{"type": "PROMPT_REQUEST", "payload": {"nodes": [{}], "edges": []}}', ""),
    ('{"type": "INTERRUPT_REQUEST", "payload": {}}', "Error processing message: the payload does not fit"),
    ('{"type": "INTERRUPT_REQUEST", "payload": {"promptId": "nobody"}}', "there is no run 'nobody'"),
    ('{"type": "INTERRUPT_REQUEST", "payload": {"promptId": "\\u0000"}}', "there is no run"),
    ('{"type": "SUBSCRIBE", "payload": {"promptId": "p", "after": -1}}', "Error processing message: the payload"),
    ('{"type": "SUBSCRIBE", "payload": {"promptId": "p", "after": true}}', "Error processing message: the payload"),
    ('{"type": "RESUME", "payload": {"runs": [1]}}', "Error processing message: the payload"),
    ('{"type": "UNSUBSCRIBE", "payload": {"promptId": "p"}}', "this socket does not watch that run"),
    ('{"type": "button_click", "payload": {"nodeId": ""}}', "Error processing message: the payload"),
    ('{"type": "load_workflow", "payload": {"projectId": "p", "workflowId": "w"}}', "there is no project"),
    ('{"type": "list_workflows", "payload": {"projectId": "../p"}}', ""),
    ('{"type": "save_workflow", "payload": {"projectId": "p", "workflow": {}}}', "there is no project"),
]


async def test_wrong_messages_are_answered_with_an_error_and_the_socket_goes_on(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        for text, message in WRONG:
            await client.send_text(text)
            answer = await client.of("error")
            assert answer["payload"]["message"].startswith(message), text
            assert "\x1b" not in answer["payload"]["message"]
        cyclic = quick(2)
        cyclic["edges"] = [
            {"id": f"{a}{b}", "sourceNodeId": a, "sourceHandle": "out", "targetNodeId": b, "targetHandle": "text"}
            for a, b in (("it", "more0"), ("more0", "it"))
        ]
        await client.send("PROMPT_REQUEST", cyclic)
        assert "cycle" in json.dumps(await client.of("error"))
        await client.send("button_click", {"nodeId": "n", "buttonName": "b"})
        prompt = await client.submit(quick())
        assert await client.ended(prompt) == "complete"


async def test_a_message_that_is_too_large_closes_its_socket_and_no_other(tmp_path: Path) -> None:
    async with (
        slow_served(tmp_path / "home", '[server]\nmessage_size = "64KiB"\n') as server,
        connected(server.url) as other,
        connected(server.url) as client,
    ):
        await client.send("PROMPT_REQUEST", {"nodes": [], "edges": [], "more": "x" * (64 << 10)})
        with pytest.raises(ClosedError) as closed:
            await client.receive()
        assert closed.value.code == 1009
        prompt = await other.submit(quick())
        assert await other.ended(prompt) == "complete"


async def test_bytes_in_place_of_text_close_the_socket(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        await client.send_text(b'{"type": "SUBSCRIBE"}')
        with pytest.raises(ClosedError) as closed:
            await client.receive()
        assert closed.value.code == 1003


async def test_only_own_runs_are_watched_and_interrupted_and_an_administrator_reaches_all(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        many_users(server)
        async with (
            connected(server.url, headers={WHO: "ada"}) as ada,
            connected(server.url, headers={WHO: "bo"}) as bo,
            connected(server.url, headers={WHO: "root"}) as root,
        ):
            prompt = await ada.submit(sleeping())
            await until_running(server, prompt)
            for type in ("SUBSCRIBE", "INTERRUPT_REQUEST"):
                await bo.send(type, {"promptId": prompt})
                # The same words as of a run that nobody has.
                assert (await bo.of("error"))["payload"]["message"] == f"there is no run {prompt!r}"
            assert bo.about(prompt) == []
            await bo.send("reload_backend")
            assert (await bo.of("error"))["payload"]["message"] == "only an administrator may do this"
            await root.send("SUBSCRIBE", {"promptId": prompt})
            await root.of("NODE_EXECUTING")
            await root.send("INTERRUPT_REQUEST", {"promptId": prompt})
            assert await root.ended(prompt) == "interrupted"
            assert await ada.ended(prompt) == "interrupted"


async def test_a_key_without_the_scope_of_runs_can_neither_submit_nor_watch(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        many_users(server, {"key": frozenset({"files"})})
        async with connected(server.url, headers={WHO: "key"}) as client:
            for type, payload in [
                ("PROMPT_REQUEST", quick()),
                ("SUBSCRIBE", {"promptId": "p"}),
                ("RESUME", {"runs": {}}),
                ("INTERRUPT_REQUEST", {"promptId": "p"}),
                ("button_click", {"nodeId": "n", "buttonName": "b"}),
            ]:
                await client.send(type, payload)
                assert (await client.of("error"))["payload"]["message"] == "the API key does not reach 'runs'"


async def test_who_logs_out_loses_socket_and_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "RECHECK", 0.02)
    async with slow_served(tmp_path / "home") as server:
        gone = many_users(server)
        async with (
            connected(server.url, headers={WHO: "ada"}) as ada,
            connected(server.url, headers={WHO: "bo"}) as bo,
        ):
            prompt = await ada.submit(sleeping())
            await ada.of("NODE_EXECUTING")
            async with server.client.stream("GET", f"/api/stream/{prompt}", headers={WHO: "ada"}) as stream:
                gone.add("ada")
                with pytest.raises(ClosedError) as closed:
                    await read_all(ada)
                assert closed.value.code == 1008
                assert b'"complete"' not in await stream.aread()
            assert await bo.ended(await bo.submit(quick())) == "complete"
        while server.parts.live.feeds.watchers:  # noqa: ASYNC110 (nobody is told)
            await trio.sleep(0.01)


async def test_a_server_that_stops_opens_no_socket_and_takes_no_prompt(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        server.parts.stopping.set()
        await client.send("PROMPT_REQUEST", quick())
        assert "stopping" in (await client.of("error"))["payload"]["message"]
        with pytest.raises(RefusedError) as refused:
            async with connected(server.url):
                pass
        assert refused.value.status == 503


async def test_one_socket_watches_only_so_many_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "WATCHED", 2)
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        prompts = [await client.submit(sleeping()) for _ in range(2)]
        await client.send("PROMPT_REQUEST", quick())
        assert "2 runs at most" in (await client.of("error"))["payload"]["message"]
        # It was not queued either.
        counts = json.loads(await server.parts.live.board.queue())["payload"]
        assert sum(counts.values()) == 2
        for prompt in prompts:
            await client.send("INTERRUPT_REQUEST", {"promptId": prompt})
            await client.ended(prompt)
        assert await client.ended(await client.submit(quick())) == "complete"


async def test_nobody_gets_a_socket(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        many_users(server)
        with pytest.raises(RefusedError) as refused:
            async with connected(server.url):
                pass
        assert refused.value.status == 401
        assert "error" in json.loads(refused.value.body)


def test_the_page_of_the_protocol_has_every_message_and_its_examples_are_json() -> None:
    from innkeeper.server.live.handlers import HANDLERS
    from innkeeper.server.live.messages import OURS

    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    said = set(re.findall(r"`([A-Za-z_-]+)`", page))
    assert set(HANDLERS) <= said
    assert said >= COMFY
    assert said >= OURS
    examples = [line[2:] for line in page.splitlines() if re.match(r"[<>] \{", line)]
    assert len(examples) > 8
    for example in examples:
        if "..." not in example.replace('..."', '"').replace("[...]", "[]"):
            assert {"type", "payload"} <= json.loads(example.replace("[...]", "[]")).keys()


def test_the_demo_shows_a_run_through_a_real_server() -> None:
    shown = subprocess.run(
        [sys.executable, str(ROOT / "docs/demo/live.py")], capture_output=True, encoding="utf-8", timeout=240
    )
    assert shown.returncode == 0, shown.stderr
    assert "EXECUTION_STATUS_UPDATE    complete" in shown.stdout
    assert "You are the game master of the Lantern Inn" in shown.stdout
    assert shown.stdout.endswith("the server has stopped (exit code 0)\n")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
PAYLOADS = [Subscribe, Resume, OfRun, Click, Load, Save, OfProject]


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60) | ANY.map(json.dumps), st.sampled_from(PAYLOADS))
def test_whatever_a_client_sends_is_a_message_or_an_error(text: str, model: type[Payload]) -> None:
    async def read() -> AnswerError | None:
        try:
            payload_of(model, await read_message(text))
        except AnswerError as error:
            return error
        return None

    error = trio.run(read)
    if error is not None:
        assert error.error.startswith("Error processing message: ")
        assert len(json.dumps(error.details)) < 10_000


@settings(deadline=None)
@given(st.text(min_size=1, max_size=MOST_ID), st.integers(0, 2**53))
def test_what_is_subscribed_to_is_what_was_sent(prompt: str, after: int) -> None:
    async def read() -> None:
        text = json.dumps({"type": "SUBSCRIBE", "payload": {"promptId": prompt, "after": after, "more": [1]}})
        found = payload_of(Subscribe, await read_message(text))
        assert (found.prompt_id, found.after) == (prompt, after)

    trio.run(read)
