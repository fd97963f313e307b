"""Whoever asks too often is told to wait, and costs no memory beyond a bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from guarded import guarded
from innkeeper.plugins.web_names import networks, one_party
from innkeeper.server.guards.proxies import Forwarded
from innkeeper.server.guards.rates import RateGuard, Rates
from innkeeper.server.identity import Identity


class Clock:
    """Seconds that go on when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_taken_and_then_as_many_as_the_rate_says() -> None:
    clock = Clock()
    rates = Rates(10, burst=2, now=clock)
    assert [rates.take("a") for _ in range(20)] == [0.0] * 20
    assert rates.take("a") == pytest.approx(0.1)
    assert rates.take("b") == 0.0
    clock.now += 0.1
    assert rates.take("a") == 0.0
    assert rates.take("a") > 0
    clock.now += 1000
    assert [rates.take("a") for _ in range(20)] == [0.0] * 20
    assert rates.take("a") > 0


def test_no_rate_counts_nothing() -> None:
    rates = Rates(0)
    assert {rates.take(str(each)) for each in range(1000)} == {0.0}
    assert len(rates) == 0


def test_a_flood_of_strangers_makes_no_more_buckets_than_there_are_and_frees_nobody_of_his() -> None:
    clock = Clock()
    rates = Rates(1, burst=5, most=100, now=clock)
    while not rates.take("known"):
        pass
    taken = sum(not rates.take(f"stranger {each}") for each in range(10_000))
    assert len(rates) <= 101
    # Those who have no bucket of their own share one.
    assert taken <= 99 + 5
    assert rates.take("known") > 0
    clock.now += 60
    assert rates.take("newcomer") == 0.0
    assert len(rates) < 5


@given(st.integers(1, 50), st.integers(1, 5), st.lists(st.floats(0, 2), max_size=200))
def test_in_no_time_is_more_taken_than_burst_and_rate_together(rate: int, burst: int, pauses: list[float]) -> None:
    clock = Clock()
    rates = Rates(rate, burst=burst, now=clock)
    taken, begun = 0, clock.now
    for pause in pauses:
        clock.now += pause
        taken += not rates.take("a")
        assert taken <= rate * (burst + clock.now - begun) + 1e-6


def test_one_network_of_ipv6_is_one_party() -> None:
    assert one_party("2001:db8::1") == one_party("2001:db8::ffff:1")
    assert one_party("2001:db8::1") != one_party("2001:db8:0:1::1")
    assert one_party("::ffff:192.0.2.1") == one_party("192.0.2.1")
    assert len(one_party("x" * 10_000)) <= 64


async def _asked(guard: Any, client: str, **headers: str) -> tuple[int, dict[str, str]]:
    found: list[Message] = []

    async def send(message: Message) -> None:
        found.append(message)

    async def receive() -> Message:
        raise AssertionError("nobody reads")

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await guard({"type": "http", "client": (client, 1), "headers": named, "method": "GET", "path": "/"}, receive, send)
    return found[0]["status"], {name.decode(): value.decode() for name, value in found[0]["headers"]}


async def _answers(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


async def test_an_address_that_asks_too_often_gets_429_and_when_to_come_back() -> None:
    clock = Clock()
    guard = RateGuard(_answers, Rates(2, burst=1, now=clock))
    statuses = [(await _asked(guard, "192.0.2.1"))[0] for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert int((await _asked(guard, "192.0.2.1"))[1]["retry-after"]) >= 1
    assert (await _asked(guard, "192.0.2.2"))[0] == 200
    clock.now += 1
    assert (await _asked(guard, "192.0.2.1"))[0] == 200


async def test_this_machines_own_programs_are_not_counted_but_what_its_proxy_brings_is() -> None:
    guard = RateGuard(_answers, Rates(1, burst=1, now=Clock()))
    assert {(await _asked(guard, "127.0.0.1"))[0] for _ in range(50)} == {200}
    assert (await _asked(guard, "127.0.0.1", x_forwarded_for="192.0.2.1"))[0] == 200
    assert (await _asked(guard, "127.0.0.1", x_forwarded_for="192.0.2.9"))[0] == 429


async def test_a_client_cannot_choose_its_address_and_a_named_proxy_can() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(f"{scope['scheme']} {scope['client'][0]}" if "scheme" in scope else scope["client"][0])
        await _answers(scope, receive, send)

    guard = Forwarded(app, networks(["10.0.0.0/8", "::1"]))
    await _asked(guard, "192.0.2.1", x_forwarded_for="127.0.0.1", x_forwarded_proto="https")
    await _asked(guard, "10.1.1.1", x_forwarded_for="127.0.0.1, 192.0.2.7", x_forwarded_proto="https")
    # The last that is no proxy of the operator's: what stands before it, the client may have written itself.
    await _asked(guard, "10.1.1.1", x_forwarded_for="6.6.6.6, 192.0.2.8, 10.2.2.2")
    await _asked(guard, "10.1.1.1", x_forwarded_for="192.0.2.9, nonsense")
    await _asked(guard, "10.1.1.1", x_forwarded_for="," * 100_000)
    assert seen == ["192.0.2.1", "https 192.0.2.7", "192.0.2.8", "10.1.1.1", "10.1.1.1"]


async def test_a_user_has_one_rate_and_each_key_a_part_of_it(tmp_path: Path) -> None:
    async def identify(connection: Any) -> Identity | None:
        return Identity(connection.headers["who"], "name", False, connection.headers.get("how", "key"))

    async with guarded(tmp_path, "[server]\nrate = 10\nkey_rate = 3\n") as server:
        object.__setattr__(server.parts, "identify", identify)
        clock = Clock()
        server.parts.guards._users._now = server.parts.guards._keys._now = clock

        async def taken(who: str, key: str, how: str = "key") -> int:
            """How many of 60 requests are answered."""
            about = {"who": who, "authorization": f"Bearer {key}", "how": how}
            answers = [await server.client.get("/who", headers=about) for _ in range(60)]
            late = [answer for answer in answers if answer.status_code == 429]
            assert all(int(answer.headers["retry-after"]) >= 1 for answer in late)
            assert all(answer.json()["error"].startswith("too many requests") for answer in late)
            return 60 - len(late)

        assert await taken("anna", "one") == 30
        # What a key was refused does not count for its user.
        assert await taken("anna", "two") == 30
        assert await taken("anna", "none", "session") == 40
        assert await taken("anna", "three") == 0
        # One user's key says nothing of another's, though it were the same.
        assert await taken("bert", "one") == 30
        clock.now += 1
        assert await taken("anna", "one") == 3
        assert await taken("anna", "none", "session") == 7


async def test_where_nobody_logs_in_nobody_is_counted(tmp_path: Path) -> None:
    async with guarded(tmp_path, "[server]\nrate = 1\nkey_rate = 1\n") as server:
        assert {(await server.client.get("/who")).status_code for _ in range(30)} == {200}
