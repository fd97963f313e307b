"""An editor that knows only ComfyTavern's protocol, and one that knows ours: what each sees of the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from live_homes import FLOWS, flow, quick, sleeping, slow_served
from protocol_client import Client, ClosedError, connected, is_final
from work_homes import one

INTERFACE = "__WORKFLOW_INTERFACE_OUTPUTS__"
COMFY = {
    "PROMPT_ACCEPTED_RESPONSE",
    "EXECUTION_STATUS_UPDATE",
    "NODE_EXECUTING",
    "NODE_COMPLETE",
    "NODE_ERROR",
    "NODE_YIELD",
    "NODE_BYPASSED",
    "WORKFLOW_INTERFACE_YIELD",
    "SYSTEM_QUEUE_UPDATE",
    "error",
}


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [
        f"{each['type']}:{each['payload']['status']}" if "status" in each["payload"] else each["type"]
        for each in messages
    ]


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    return [each["seq"] for each in messages if "seq" in each]


async def test_a_prompt_is_accepted_queued_run_and_ended_in_this_order(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        prompt = await client.submit(one("Quick"))
        assert await client.ended(prompt) == "complete"
        about = client.about(prompt)
        assert kinds(about) == [
            "PROMPT_ACCEPTED_RESPONSE",
            "EXECUTION_STATUS_UPDATE:queued",
            "EXECUTION_STATUS_UPDATE:running",
            "NODE_EXECUTING",
            "NODE_COMPLETE",
            "NODE_COMPLETE",
            "EXECUTION_STATUS_UPDATE:complete",
        ]
        assert [each["payload"]["nodeId"] for each in about[3:6]] == ["it", "it", INTERFACE]
        assert about[5]["payload"]["output"] == {"out": "done"}
        assert numbers(about) == [2, 3, 4, 5, 6]
        # What everybody is told of the queue follows the end, and says that nothing goes on.
        counts = (await client.of("SYSTEM_QUEUE_UPDATE"))["payload"]
        assert counts == {"runningExecutions": 0, "pendingExecutions": 0}
        assert {each["type"] for each in client.seen} <= COMFY


async def test_a_failed_prompt_says_which_node_and_why(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        prompt = await client.submit(one("Fail"))
        assert await client.ended(prompt) == "error"
        [failed] = [each for each in client.about(prompt) if each["type"] == "NODE_ERROR"]
        assert failed["payload"]["nodeId"] == "it"
        assert "unreachable" in failed["payload"]["errorDetails"]["message"]
        assert "it" in client.seen[-1]["payload"]["errorInfo"]["message"]


async def test_an_interrupt_ends_what_runs_and_what_waits(tmp_path: Path) -> None:
    settings = "[runs]\nparallel = 1\n"
    async with slow_served(tmp_path / "home", settings) as server, connected(server.url) as client:
        running = await client.submit(sleeping())
        await client.of("NODE_EXECUTING")
        waiting = await client.submit(sleeping())
        for prompt in (waiting, running):
            await client.send("INTERRUPT_REQUEST", {"promptId": prompt})
            assert await client.ended(prompt) == "interrupted"
        assert "NODE_EXECUTING" not in kinds(client.about(waiting))
        # Nothing of a run follows the status that it ended with.
        prompt = await client.submit(quick())
        await client.ended(prompt)
        for ended in (waiting, running):
            assert is_final(client.about(ended)[-1], ended)


async def test_two_prompts_of_one_socket_are_both_watched_to_their_ends(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        first = await client.submit(sleeping())
        await client.of("NODE_EXECUTING")
        second = await client.submit(quick())
        assert await client.ended(second) == "complete"
        await client.send("INTERRUPT_REQUEST", {"promptId": first})
        assert await client.ended(first) == "interrupted"


async def test_a_client_that_comes_back_gets_what_it_missed_once_and_goes_on(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server:
        async with connected(server.url) as client:
            prompt = await client.submit(sleeping())
            last = (await client.of("NODE_EXECUTING"))["seq"]
            await client.vanish()
        async with connected(server.url) as client:
            await client.send("SUBSCRIBE", {"promptId": prompt, "after": last - 1})
            answer = await client.of("SUBSCRIBED")
            assert answer["payload"] == {"promptId": prompt, "status": "running", "after": last - 1}
            assert (await client.of("NODE_EXECUTING"))["seq"] == last
            await client.send("INTERRUPT_REQUEST", {"promptId": prompt})
            assert await client.ended(prompt) == "interrupted"
            assert numbers(client.about(prompt)) == [last, last + 1]
        # Once it has ended, all of it can be had again, by several at the same time.
        async with connected(server.url) as client:
            await client.send("RESUME", {"runs": {"unknown": 3, prompt: 0}})
            error = await client.of("error")
            assert error["payload"] == {"message": "there is no run 'unknown'", "details": {"promptId": "unknown"}}
            await client.ended(prompt)
            assert numbers(client.about(prompt)) == [1, 2, 3, 4]


async def test_after_unsubscribing_nothing_more_of_a_run_comes(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        prompt = await client.submit(sleeping())
        await client.of("NODE_EXECUTING")
        await client.send("UNSUBSCRIBE", {"promptId": prompt})
        await client.of("UNSUBSCRIBED")
        await client.send("INTERRUPT_REQUEST", {"promptId": prompt})
        other = await client.submit(quick())
        await client.ended(other)
        await client.of("SYSTEM_QUEUE_UPDATE")
        assert client.about(prompt)[-1]["type"] == "UNSUBSCRIBED"


async def test_streams_come_chunk_by_chunk_to_their_end(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        prompt = await client.submit(flow("read-aloud", text="the door opens"))
        assert await client.ended(prompt) == "complete"
        about = client.about(prompt)
        spoken = [each["payload"] for each in about if each["type"] == "WORKFLOW_INTERFACE_YIELD"]
        assert "".join(each["yieldedContent"]["content"] for each in spoken[:-1]) == "the · door · opens· "
        assert [each["isLastChunk"] for each in spoken] == [False] * (len(spoken) - 1) + [True]
        assert spoken[-1]["yieldedContent"] == {"type": "finish_reason_chunk", "content": "Stream ended"}
        assert {"text_chunk", "finish_reason_chunk"} == {
            each["payload"]["yieldedContent"]["type"] for each in about if each["type"] == "NODE_YIELD"
        }
        [outputs] = [each["payload"]["output"] for each in about if each["payload"].get("nodeId") == INTERFACE]
        assert outputs["spoken"]["type"] == "stream_placeholder"
        assert outputs["chunks"] == 3
        assert {each["type"] for each in client.seen} <= COMFY


async def test_lines_that_a_plugin_logs_reach_who_asks_for_all_events(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url, "/ws?events=all") as client:
        prompt = await client.submit(flow("read-aloud", text="the door opens"))
        await client.ended(prompt)
        lines = [each["payload"] for each in client.about(prompt) if each["type"] == "NODE_LOG"]
        assert [(line["nodeId"], line["level"]) for line in lines] == [("log", "info")] * 3
        assert ["the" in lines[0]["text"], "door" in lines[1]["text"]] == [True, True]
        assert [each["seq"] for each in client.about(prompt) if "seq" in each] == list(
            range(2, len(client.about(prompt)))
        )


async def test_groups_loops_and_branches_say_which_inner_node_it_is(tmp_path: Path) -> None:
    evening = flow("evening", guests=["Ada", "Bo"], hour=9.5)
    evening["innkeeper"] = {"workflows": {name: json.loads((FLOWS / f"{name}.json").read_text()) for name in ["greet"]}}
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        prompt = await client.submit(evening)
        assert await client.ended(prompt) == "complete"
        about = client.about(prompt)
        [outputs] = [each["payload"]["output"] for each in about if each["payload"].get("nodeId") == INTERFACE]
        assert outputs["greetings"] == ["Welcome, Ada", "Welcome, Bo"]
        begun = {each["payload"]["nodeId"] for each in about if each["type"] == "NODE_EXECUTING"}
        assert any("[1]/" in node for node in begun)
        assert any("/" in node and "[" not in node for node in begun)


async def test_a_bypassed_node_says_what_it_passes_on(tmp_path: Path) -> None:
    greet = flow("greet", item="Bo", hour=8)
    for node in greet["nodes"]:
        if node["type"] == "core:ApplyRegex":
            node["data"] = {"bypassed": True}
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        prompt = await client.submit(greet)
        await client.ended(prompt)
        bypassed = [each["payload"] for each in client.about(prompt) if each["type"] == "NODE_BYPASSED"]
        assert bypassed
        assert all({"promptId", "nodeId", "pseudoOutputs"} <= each.keys() for each in bypassed)


async def test_a_client_that_vanishes_leaves_nothing_behind(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as other:
        feeds = server.parts.live.feeds
        async with connected(server.url) as client:
            prompt = await client.submit(sleeping())
            await client.of("NODE_EXECUTING")
            await other.send("SUBSCRIBE", {"promptId": prompt})
            await other.of("NODE_EXECUTING")
            assert feeds.watchers == 2
            await client.vanish()
        while feeds.watchers > 1:  # noqa: ASYNC110 (nobody is told)
            await trio.sleep(0.01)
        # The run goes on, for the one who still watches.
        await other.send("INTERRUPT_REQUEST", {"promptId": prompt})
        assert await other.ended(prompt) == "interrupted"
        while feeds.watchers:  # noqa: ASYNC110 (nobody is told)
            await trio.sleep(0.01)
        assert (feeds.reading, feeds.room.used) == (0, 0)


async def read_all(client: Client) -> None:
    while True:
        await client.receive()


async def test_a_slow_reader_is_closed_and_the_others_get_all(tmp_path: Path) -> None:
    settings = '[server]\nstall_timeout = "500ms"\nmessage_size = "8MiB"\n[runs]\nchunks = "64MiB"\n'
    words = " ".join(["word" * 250] * 2000)
    async with (
        slow_served(tmp_path / "home", settings) as server,
        connected(server.url, room=4096) as slow,
        connected(server.url) as client,
    ):
        prompt = await client.submit(flow("read-aloud", text=words))
        # Behind the whole text, for which it would have as long as the slowest network needs.
        await slow.send("SUBSCRIBE", {"promptId": prompt, "after": 4})
        assert await client.ended(prompt) == "complete"
        spoken = [each["payload"] for each in client.seen if each["type"] == "WORKFLOW_INTERFACE_YIELD"]
        assert len(spoken) == 2001
        feeds = server.parts.live.feeds
        while feeds.watchers:
            # What waits for the one that reads nothing: an outbox, and perhaps a page that was read for it.
            assert feeds.room.used <= feeds.outbox + (3 << 20)
            await trio.sleep(0.01)
        # Of what the system had taken for it by then it reads as much as it likes: the end is not among it.
        with pytest.raises(ClosedError):
            await read_all(slow)
        assert not any(is_final(each, prompt) for each in slow.about(prompt))


async def test_everybody_hears_of_the_queue_and_of_plugins(tmp_path: Path) -> None:
    async with (
        slow_served(tmp_path / "home") as server,
        connected(server.url) as other,
        connected(server.url) as client,
    ):
        prompt = await client.submit(sleeping())
        await other.until(lambda message: message["payload"] == {"runningExecutions": 1, "pendingExecutions": 0})
        await client.send("INTERRUPT_REQUEST", {"promptId": prompt})
        await other.until(lambda message: message["payload"] == {"runningExecutions": 0, "pendingExecutions": 0})
        (tmp_path / "home/plugins/slow.wasm").unlink()
        (tmp_path / "home/plugins/slow.toml").unlink()
        await client.send("reload_backend")
        answer = (await client.of("backend_reloaded"))["payload"]
        assert (answer["success"], answer["plugins"]) == (True, ["slow"])
        assert (await other.of("plugin-disabled"))["payload"] == {"pluginName": "slow"}
        reloaded = (await other.of("NODES_RELOADED"))["payload"]
        assert reloaded["success"] is True
        assert reloaded["count"] == answer["count"] > 0
        assert other.about(prompt) == []


async def test_an_editor_stores_loads_and_lists_workflows_and_asks_for_nodes(tmp_path: Path) -> None:
    async with slow_served(tmp_path / "home") as server, connected(server.url) as client:
        project = (await server.client.post("/api/projects", json={"name": "Inn"})).json()["id"]
        about = {"projectId": project}
        await client.send("save_workflow", {**about, "workflow": flow("greet")})
        saved = (await client.of("workflow_saved"))["payload"]
        again = {**about, "workflowId": saved["workflowId"]}
        await client.send("save_workflow", {**again, "workflow": {**saved["workflow"], "name": "Other"}})
        assert (await client.of("workflow_saved"))["payload"]["workflowId"] == saved["workflowId"]
        await client.send("load_workflow", again)
        loaded = (await client.of("workflow_loaded"))["payload"]["workflow"]
        assert (loaded["name"], loaded["nodes"]) == ("Other", flow("greet")["nodes"])
        await client.send("list_workflows", about)
        [listed] = (await client.of("workflow_list"))["payload"]["workflows"]
        assert (listed["id"], listed["name"]) == (saved["workflowId"], "Other")
        await client.send("get_node_definitions")
        types = {each["type"] for each in (await client.of("node_definitions"))["payload"]["definitions"]}
        assert {"Quick", "GroupInput", "ApplyRegex"} <= types
