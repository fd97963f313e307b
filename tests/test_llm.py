"""The service `llm` as a guest meets it: an endpoint on loopback, asked through the gate under a grant."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import pytest
import trio

from event_homes import until
from innkeeper.bridge.inference import limits as llm_limits
from innkeeper.plugins.owner import acting_for
from innkeeper.plugins.settings import LlmEndpoint, LlmSettings
from innkeeper.sandbox.limits import CEILING, DEFAULTS
from llm_homes import (
    HELLO,
    KEY,
    answer,
    ask,
    asked,
    chat,
    models,
    plugin,
    refused,
    says,
    use_models,
    used,
)
from web_servers import Asked, home, opened, serving, write

__all__ = ["home"]


async def test_a_guest_gets_an_answer_by_the_operators_name_of_a_model(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(home)
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    async with serving(says(answer("hé", tool_calls=[call]))) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            got = await chat(
                host,
                temperature=0.5,
                max_tokens=50,
                stop=["\n"],
                seed=3,
                tools=[tool],
                response_format={"type": "text"},
            )
        assert got["ok"] == {
            "message": {"role": "assistant", "content": "hé", "tool_calls": [call]},
            "finish_reason": "stop",
            "usage": {"prompt_tokens": 7, "completion_tokens": 2, "estimated": False},
            "model": "small",
            "cached": False,
        }
        (one,) = server.asked
        assert one.line == "POST /v1/chat/completions HTTP/1.1"
        assert one.headers["authorization"] == f"Bearer {KEY}"
        assert asked(one) == {
            "model": "vendor/model-9",
            "messages": HELLO,
            "temperature": 0.5,
            "max_tokens": 50,
            "stop": ["\n"],
            "seed": 3,
            "tools": [tool],
            "response_format": {"type": "text"},
        }
    assert used(home) == (9, 0, 1)


async def test_a_local_model_needs_no_key_and_may_know_the_newer_name_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(home)
    async with serving(says(answer())) as server:
        local = LlmEndpoint(server.named("localhost"), None, {"small": "m"}, "max_completion_tokens")
        use_models(monkeypatch, home, LlmSettings({"local": local}))
        async with opened(home) as host:
            assert (await chat(host))["ok"]["message"]["content"] == "hi"
        assert "authorization" not in server.asked[0].headers
        assert server.asked[0].line.startswith("POST /chat/completions ")
        assert asked(server.asked[0])["max_completion_tokens"] == 4096


async def test_models_are_granted_by_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home, scopes=("llm.chat:small",))
    async with serving(says(answer())) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            assert "ok" in await chat(host)
            assert refused(await chat(host, model="vectors"), "denied")["capability"] == "llm.chat"
            assert refused(await ask(host, "embed", model="small", texts=["a"]), "denied")["capability"] == "llm.embed"
        assert len(server.asked) == 1


async def test_a_model_that_is_not_configured_or_twice_is_not_there(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plugin(home)
    ends = {
        "a": LlmEndpoint("http://127.0.0.1:9/v1", None, {"small": "m"}),
        "b": LlmEndpoint("http://127.0.0.1:9/v1", None, {"small": "m"}),
        "c": LlmEndpoint("http://me:" + KEY + "@127.0.0.1/v1", None, {"third": "m"}),
    }
    use_models(monkeypatch, home, LlmSettings(ends))
    async with opened(home) as host:
        for name in ("small", "third", "none"):
            refused(await chat(host, model=name), "not_found")
    assert "two endpoints" in caplog.text
    assert KEY not in caplog.text


BAD: list[dict[str, Any]] = [
    {"messages": []},
    {"messages": [{"role": "user", "content": "x"}] * 257},
    {"messages": [{"role": "root", "content": "x"}]},
    {"messages": [{"role": "user"}]},
    {"messages": [{"role": "user", "content": None}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]}]},
    {"messages": [{"role": "user", "content": "x", "cache_control": {}}]},
    {"messages": [{"role": "user", "content": "x", "name": "a b"}]},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}]},
    {"messages": [{"role": "user", "content": "x" * 90_000}] * 3},
    {"messages": [{"role": "user", "content": b"x"}]},
    {"temperature": float("nan")},
    {"temperature": 3.0},
    {"max_tokens": 0},
    {"max_tokens": 1 << 40},
    {"max_tokens": True},
    {"stop": ["a"] * 5},
    {"seed": -1},
    {"tools": [{"type": "web_search"}]},
    {"tools": [{"type": "function", "function": {"name": "x", "server_url": "http://127.0.0.1"}}]},
    {"tools": [{"type": "function", "function": {"name": "x", "parameters": {"a": b"bytes"}}}]},
    {"tools": [{"type": "function", "function": {"name": "x", "parameters": {"a": float("inf")}}}]},
    {"response_format": {"type": "json_schema"}},
    {"response_format": {"type": "text", "x": 1}},
    {"timeout": 0.0},
    {"timeout": 601.0},
    {"model": ""},
    {"unknown": 1},
]


async def test_what_is_not_a_question_reaches_no_endpoint(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)
    async with serving(says(answer())) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            for bad in BAD:
                kind = "denied" if bad.get("model") == "" else "invalid"
                assert (await chat(host, **bad))["error"]["kind"] in (kind, "invalid"), bad
            for texts in ([], ["a"] * 65, ["é" * 20_000], [1], [""]):
                refused(await ask(host, "embed", model="vectors", texts=texts), "invalid")
        assert server.asked == []


# --- statuses and retries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (
            "400 Bad",
            {"error": {"message": "model vendor/model-9 has\x1b 8192 tokens"}},
            "invalid",
            "small has 8192 tok",
        ),
        ("422 Bad", {"error": "too long"}, "invalid", "too long"),
        ("400 Bad", {"error": {"message": "see http://127.0.0.1/x"}}, "invalid", "not supported"),
        ("400 Bad", {"error": {"message": f"key {KEY[:10]}*** is odd"}}, "invalid", "not supported"),
        ("400 Bad", {"error": {"message": "x" * 10_000}}, "invalid", "xxx"),
        ("400 Bad", b"[" * 5000, "invalid", "not supported"),
        ("401 No", {"error": {"message": f"Incorrect API key: {KEY}"}}, "failed", "credentials"),
        ("403 No", b"", "failed", "credentials"),
        ("404 No", {"error": {"message": "no vendor/model-9"}}, "failed", "404"),
        ("302 Moved", b"", "failed", "moved"),
        ("429 Slow", {"error": {"code": "rate_limit"}}, "busy", "busy"),
        ("429 Slow", {"error": {"code": "insufficient_quota"}}, "quota", "used up"),
        ("500 Oh", b"<html>secret stack</html>", "failed", "500"),
        ("503 Oh", b"", "busy", "busy"),
        ("204 No Content", b"", "failed", "204"),
    ],
)
async def test_errors_of_endpoints_have_kinds_and_say_nothing_of_them(
    home: Path, monkeypatch: pytest.MonkeyPatch, status: str, body: Any, kind: str, words: str
) -> None:
    plugin(home)
    async with serving(says(body, status, ("Location: http://127.0.0.1:1/v1",))) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            error = refused(await chat(host), kind)
        assert words in error["message"]
        assert "\x1b" not in error["message"]
        assert "stack" not in error["message"]
        assert len(server.asked) == 1, "no redirect is followed, and nothing is sent again unasked"
    refused_it = status.startswith(("3", "4", "503"))
    assert (used(home)[0] == 0) == refused_it, "what it refuses costs nothing; what it may have begun with, all of it"


async def test_a_busy_endpoint_is_asked_again_when_it_says_so_and_three_times_in_all(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(home)
    busy, well = says(b"{}", "503 Busy", ("Retry-After: 0",)), says(answer())
    until_well = [2]

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        until_well[0] -= 1
        await (busy if until_well[0] >= 0 else well)(one, stream)

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            assert "ok" in await chat(host)
            assert len(server.asked) == 3
            until_well[0] = 100
            assert refused(await chat(host), "busy")["retry_after"] == 0
            assert len(server.asked) == 6
    assert used(home) == (9, 0, 2)


@pytest.mark.parametrize("value", ["61", "999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", "-1", "1e9"])
async def test_an_endpoint_that_wants_a_long_pause_is_not_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    plugin(home)
    async with serving(says(b"{}", "429 Slow", (f"Retry-After: {value}",))) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            refused(await chat(host), "busy")
        assert len(server.asked) == 1


async def test_a_pause_that_is_longer_than_the_time_left_is_not_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(home)
    async with serving(says(b"{}", "429 Slow", ("Retry-After: 30",))) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            assert refused(await chat(host, timeout=5.0), "busy")["retry_after"] == 30


async def test_an_endpoint_that_is_not_there_costs_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)
    use_models(monkeypatch, home, models("http://127.0.0.1:9/v1"))
    async with opened(home) as host:
        refused(await chat(host), "failed")
    assert used(home) == (0, 0, 1)


async def test_without_a_key_that_can_be_used_nothing_is_sent(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plugin(home)
    async with serving(says(answer())) as server:
        use_models(monkeypatch, home, models(server))
        for value in ("", "short", "sk-with\nbreak"):
            monkeypatch.setenv("INNKEEPER_SECRET_MODEL_KEY", value)
            async with opened(home) as host:
                refused(await chat(host), "failed")
        assert server.asked == []
    assert "sk-with" not in caplog.text


# --- the budget -----------------------------------------------------------------------------------------------------


async def test_a_plugin_has_so_many_tokens_a_day_across_restarts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)
    plugin(home, "other")
    usage = {"prompt_tokens": 300, "completion_tokens": 400}
    async with serving(says(answer(usage=usage))) as server:
        use_models(monkeypatch, home, models(server, tokens_per_day=1000))
        async with opened(home) as host:
            assert "ok" in await chat(host, max_tokens=500)
        async with opened(home) as host:
            error = refused(await chat(host, max_tokens=500), "quota")
            assert (error["quota"], error["value"], error["left"]) == ("tokens", 1000, 300)
            assert "ok" in await chat(host, "other", max_tokens=500), "each plugin has its own"
        assert len(server.asked) == 2
    assert used(home) == (700, 0, 1)


async def test_each_user_of_a_plugin_has_a_budget_and_answers_of_his_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(home)
    usage = {"prompt_tokens": 300, "completion_tokens": 400}
    async with serving(says(answer(usage=usage))) as server:
        use_models(monkeypatch, home, models(server, tokens_per_day=1000, cache=300.0))
        async with opened(home) as host:
            for owner in ("ada", "bob"):
                with acting_for(owner):
                    # What another one asked is not to be found out.
                    assert (await chat(host, max_tokens=500))["ok"]["cached"] is False
                    assert (await chat(host, max_tokens=500))["ok"]["cached"] is True
                    assert refused(await chat(host, max_tokens=500, seed=1), "quota")["left"] == 300
        assert len(server.asked) == 2


async def test_what_is_under_way_counts_so_a_flood_at_once_gets_no_more(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(home)
    go = trio.Event()

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        await go.wait()
        await says(answer())(one, stream)

    got: list[Any] = []
    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server, tokens_per_day=10_000))
        async with opened(home) as host, trio.open_nursery() as nursery:

            async def one() -> None:
                got.append(await chat(host, max_tokens=4000))
                if "error" in got[-1] and sum("error" in each for each in got) == 4:
                    go.set()

            for _ in range(6):
                nursery.start_soon(one)
        assert len(server.asked) == 2
    assert sorted("ok" in each for each in got) == [False] * 4 + [True] * 2
    assert used(home) == (18, 0, 2)


@pytest.mark.parametrize(
    "usage", [{}, {"prompt_tokens": 9}, {"prompt_tokens": -5, "completion_tokens": 1}, {"prompt_tokens": True}, "many"]
)
async def test_tokens_that_nobody_reports_are_estimated_and_said_to_be(
    home: Path, monkeypatch: pytest.MonkeyPatch, usage: Any
) -> None:
    plugin(home)
    async with serving(says(answer("x" * 300, usage=usage))) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            found = (await chat(host))["ok"]["usage"]
    assert found["estimated"] is True
    assert found["completion_tokens"] == 108
    total = found["prompt_tokens"] + found["completion_tokens"]
    assert used(home) == (total, total, 1)


async def test_who_breaks_off_gets_nothing_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        await trio.sleep(60)

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            refused(await chat(host, max_tokens=1000, timeout=0.3), "failed")
            with trio.move_on_after(0.3):
                await chat(host, max_tokens=1000)
        assert len(server.asked) == 2
    tokens, _, requests = used(home)
    assert tokens > 2000
    assert requests == 2


@pytest.mark.parametrize("bound", ["OF_ONE", "OF_ALL"])
async def test_requests_at_once_are_bounded_and_the_rest_waits(
    home: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    for name in ("p", "q"):
        plugin(home, name)
    monkeypatch.setattr(llm_limits, bound, 3)
    # Of each plugin three, or of both together.
    places = 6 if bound == "OF_ONE" else 3
    now, most, go = [0], [0], trio.Event()

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        if now[0] == places:
            go.set()
        await go.wait()
        now[0] -= 1
        await says(answer())(one, stream)

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host, trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(lambda n=number: chat(host, "pq"[n % 2], seed=n))
        assert len(server.asked) == 20
    assert most[0] == places


async def test_who_gets_no_turn_in_time_is_told_that_it_is_busy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        await trio.sleep(60)

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host, trio.open_nursery() as nursery:
            for _ in range(llm_limits.OF_ONE):
                nursery.start_soon(chat, host)
            await until(lambda: len(server.asked) == llm_limits.OF_ONE)
            refused(await chat(host, timeout=0.2), "busy")
            nursery.cancel_scope.cancel()


# --- what is kept ---------------------------------------------------------------------------------------------------


async def test_answers_are_not_kept_unless_the_operator_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)
    async with serving(says(answer())) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            for _ in range(2):
                assert (await chat(host))["ok"]["cached"] is False
        assert len(server.asked) == 2


async def test_a_kept_answer_is_marked_free_and_nobody_elses(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)
    plugin(home, "other")
    async with serving(says(answer())) as server:
        use_models(monkeypatch, home, models(server, cache=300.0))
        async with opened(home) as host:
            first, second = await chat(host), await chat(host)
            assert second["ok"]["cached"] is True
            assert second["ok"]["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "estimated": False}
            assert second["ok"]["message"] == first["ok"]["message"]
            assert (await chat(host, seed=1))["ok"]["cached"] is False
            assert (await chat(host, temperature=0.0))["ok"]["cached"] is False
            assert (await chat(host, temperature=0.0))["ok"]["cached"] is True
            for _ in range(2):
                assert (await chat(host, temperature=0.7))["ok"]["cached"] is False
            assert (await chat(host, "other"))["ok"]["cached"] is False, "what others asked is not to be found out"
        assert len(server.asked) == 6
    assert used(home) == (5 * 9, 0, 5)


def vectors(*lists: list[float], plain: bool = False, usage: Any = None) -> dict[str, Any]:
    packed = [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in lists]
    given: list[Any] = list(lists) if plain else packed
    data = [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(given)]
    return {"data": data[::-1], "usage": {"prompt_tokens": 5, "total_tokens": 5} if usage is None else usage}


@pytest.mark.parametrize("plain", [False, True])
async def test_texts_become_vectors_in_their_order(home: Path, monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    plugin(home)
    async with serving(says(vectors([1.0, -2.5e-3], [3.0, 4.0], plain=plain))) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            got = (await ask(host, "embed", model="vectors", texts=["a", "b", "a"]))["ok"]
        one, two = struct.pack("<2f", 1.0, -2.5e-3), struct.pack("<2f", 3.0, 4.0)
        assert got == {
            "vectors": [one, two, one],
            "dimensions": 2,
            "usage": {"prompt_tokens": 5, "completion_tokens": 0, "estimated": False},
            "model": "vectors",
            "cached": 0,
        }
        (request,) = server.asked
        assert asked(request)["input"] == ["a", "b"], "a text that is there twice is asked for once"
        assert request.line == "POST /v1/embeddings HTTP/1.1"
    assert used(home) == (5, 0, 1)


async def test_known_texts_are_not_asked_for_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)
    plugin(home, "other")

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        await says(vectors(*[[float(ord(text[0]))] for text in asked(one)["input"]]))(one, stream)

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            await ask(host, "embed", model="vectors", texts=["a", "b"])
            got = (await ask(host, "embed", model="vectors", texts=["c", "a"]))["ok"]
            assert got["cached"] == 1
            assert got["vectors"] == [struct.pack("<f", 99.0), struct.pack("<f", 97.0)]
            free = (await ask(host, "embed", model="vectors", texts=["a", "b", "c"]))["ok"]
            assert (free["cached"], free["usage"]["prompt_tokens"]) == (3, 0)
            assert (await ask(host, "embed", "other", model="vectors", texts=["a"]))["ok"]["cached"] == 0
        assert [asked(one)["input"] for one in server.asked] == [["a", "b"], ["c"], ["a"]]


# --- limits ---------------------------------------------------------------------------------------------------------


async def test_a_plugin_with_models_has_the_time_that_they_take_unless_somebody_said_otherwise(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_models(monkeypatch, home, LlmSettings())
    plugin(home)
    plugin(home, "own", more='[limits]\nhost_call = "20s"\n')
    plugin(home, "ungranted", scopes=())
    write(home, "keeper", b"\0asm\1\0\0\0", requests=["kv"])
    async with opened(home) as host:
        found = {name: host.plugins[name].limits for name in ("p", "own", "ungranted", "keeper")}
    assert (found["p"].host_call, found["p"].wall) == (600.0, 600.0)
    assert (found["own"].host_call, found["own"].wall) == (20.0, 600.0)
    for name in ("ungranted", "keeper"):
        assert (found[name].host_call, found[name].wall) == (DEFAULTS.host_call, DEFAULTS.wall)
    assert CEILING.host_call == 600.0


async def test_what_the_operator_wrote_down_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)
    (home / "innkeeper.toml").write_text('[defaults]\nwall = "40s"\n[limits]\nhost_call = "50s"\n')
    use_models(monkeypatch, home, LlmSettings())
    async with opened(home) as host:
        limits = host.plugins["p"].limits
    assert (limits.wall, limits.host_call) == (40.0, 50.0)
