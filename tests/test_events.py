"""Events as plugins meet them: delivered at least once and in order, until the handler returned."""

# Nothing else runs on this loop of trio that short calls of the system could hold up.
# ruff: noqa: ASYNC220

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from event_homes import LONG, House, Recorder, ask, listed, publish, say, subscribe, until
from fakes import FakeGuest
from innkeeper.bridge import delivery, events
from innkeeper.bridge.delivery_policy import PAUSES, PER_PLUGIN, after_failure
from innkeeper.bridge.host import STATE
from innkeeper.errors import BusyError, DeniedError, GuestError, InnkeeperError, RejectedError, UsageError
from innkeeper.plugins import home as home_module
from innkeeper.plugins.plugin import Plugin
from innkeeper.storage.events import EventStore


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    monkeypatch.setattr(events, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(delivery, "POLL", 0.1)
    return House(tmp_path / "home")


async def test_an_event_reaches_the_handlers_of_all_that_subscribed_to_its_topic(house: House) -> None:
    one, two = Recorder(), Recorder()
    house.put("one", {"on_event": one})
    house.put("two", {"on_event": two})
    async with house.host() as host:
        await subscribe(host, "one", "weather.*")
        await subscribe(host, "two", "weather.**")
        await subscribe(host, "two", "other")
        answer = await publish(host, "one", "weather.rain", {"mm": 3, "raw": b"\0", "list": [1, None]})
        assert (answer["id"], answer["subscribers"]) == (1, 2)
        await one.until(1)
        await two.until(1)
        for each in (one, two):
            message = each.got[0]
            assert 1e9 < message.pop("at") < 1e11
            assert message == {
                "id": 1,
                "topic": "weather.rain",
                "data": {"mm": 3, "raw": b"\0", "list": [1, None]},
                "from": "one",
                "dropped": 0,
                "attempt": 1,
            }
        assert await publish(host, "one", "nobody.hears") == {"id": None, "subscribers": 0}


async def test_a_plugin_whose_codec_is_json_gets_json(house: House) -> None:
    got: list[bytes] = []

    async def handler(_: FakeGuest, data: bytes) -> bytes:
        got.append(data)
        return b""

    house.put("p", {"on_event": handler}, more='codec = "json"')
    async with house.host() as host:
        await subscribe(host, "p", "t")
        await publish(host, "p", "t", float("nan"))
        await publish(host, "p", "t", {"a": b"bytes"})
        await until(lambda: got)
        assert b'"data":{"a":"Ynl0ZXM="}' in got[0]
        assert b'"id":2' in got[0], "what JSON cannot say is given up, and holds nothing up"
        assert (await listed(host, "p"))[0]["failed"] == 1


async def test_a_subscriber_gets_one_event_at_a_time_in_order_and_others_get_theirs_meanwhile(house: House) -> None:
    running = most = 0
    together = trio.Event()

    async def slowly(_: FakeGuest, message: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.001)
        running -= 1

    async def meets(_: FakeGuest, message: Any) -> None:
        if len(left.got) and len(right.got):
            together.set()
        with trio.fail_after(LONG):
            await together.wait()

    slow, left, right = Recorder(slowly), Recorder(meets), Recorder(meets)
    house.put("slow", {"on_event": slow})
    house.put("pair", {"left": left, "right": right})
    async with house.host() as host:
        await subscribe(host, "slow", "t")
        await subscribe(host, "pair", "t", "left")
        await subscribe(host, "pair", "t", "right")
        for number in range(50):
            await publish(host, "slow", "t", number)
        assert await slow.until(50) == list(range(50))
        assert most == 1
        assert await left.until(50) == await right.until(50) == list(range(50))


async def test_a_handler_that_fails_is_tried_again_and_at_last_given_up_with_one_line(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_: FakeGuest, message: Any) -> None:
        if message["data"] == "poison":
            raise GuestError("no \x1b[2Jthank you", code=1)

    recorder = Recorder(fails)
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        with caplog.at_level(logging.WARNING, "innkeeper.bridge"):
            await publish(host, "p", "t", "poison")
            await publish(host, "p", "t", "good")
            assert await recorder.until(4) == ["poison", "poison", "poison", "good"]
        assert [each["attempt"] for each in recorder.got] == [1, 2, 3, 1]
        (line,) = [record.getMessage() for record in caplog.records]
        assert "given up after 3 attempts" in line
        assert "on_event of the plugin p" in line
        assert line.isprintable()
        assert "poison" not in line
        await until(lambda: _queue_is(host, "p", 0))
        assert (await listed(host, "p"))[0]["failed"] == 1


async def _queue_is(host: Any, plugin: str, count: int) -> bool:
    return all(each["waiting"] == count for each in await listed(host, plugin))


def test_pauses_grow_and_attempts_end() -> None:
    found = [after_failure(attempt, PAUSES) for attempt in range(1, len(PAUSES) + 2)]
    assert found == [("failed", 1), ("failed", 5), ("failed", 30), ("failed", 120), ("given up", 0)]


async def test_an_event_that_ended_the_host_each_time_is_given_up_too(house: House) -> None:
    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
    # A host that begins and never ends.
    async with house.store() as store:
        await store.publish("default_user", "p", "t", msgpack.packb("killer"), matches=lambda _: True)
        await store.publish("default_user", "p", "t", msgpack.packb("good"), matches=lambda _: True)
        for _ in range(3):
            await store.begin(1, "me", -1)
    async with house.host() as host:
        assert await recorder.until(1) == ["good"]
        assert (await listed(host, "p"))[0]["failed"] == 1


async def test_endless_handlers_of_one_plugin_hold_up_neither_a_publisher_nor_another_plugin(house: House) -> None:
    running = 0

    async def endless(_: FakeGuest, message: Any) -> None:
        nonlocal running
        running += 1
        await trio.sleep_forever()

    names = [f"h{number}" for number in range(10)]
    house.put("hog", dict.fromkeys(names, Recorder(endless)))
    honest = Recorder()
    house.put("honest", {"on_event": honest})
    async with house.host() as host:
        for name in names:
            await subscribe(host, "hog", "t", name)
        await subscribe(host, "honest", "t")
        for number in range(20):
            await publish(host, "hog", "t", number)
        assert await honest.until(20) == list(range(20))
        assert running == PER_PLUGIN


async def test_what_a_host_was_delivering_as_it_closed_is_delivered_again_and_counts_as_no_attempt(
    house: House,
) -> None:
    async def endless(_: FakeGuest, message: Any) -> None:
        await trio.sleep_forever()

    recorder = Recorder(endless)
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        await publish(host, "p", "t", "kept")
        await recorder.until(1)
    for count in range(2, 6):
        async with house.host():
            await recorder.until(count)
    assert recorder.data == ["kept"] * 5
    assert {each["attempt"] for each in recorder.got} == {1}


KILLED = """
import os, sys, trio
from pathlib import Path
from event_homes import House, Recorder, publish, subscribe
from innkeeper.plugins import home as home_module
from innkeeper.plugins.plugin import Plugin

async def stuck(guest, message):
    os.write(1, b"began\\n")
    await trio.sleep_forever()

async def main():
    house = House(Path(sys.argv[1]))
    house.put("p", {"on_event": Recorder(stuck)})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        for number in range(3):
            await publish(host, "p", "t", number)
            os.write(1, b"published\\n")
        await trio.sleep_forever()

home_module._PACKAGE = Path(sys.argv[1]) / "package"
trio.run(main)
"""


async def test_events_survive_kill_9_between_the_delivery_and_its_end(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parent
    )
    assert child.stdout is not None
    try:
        lines = [child.stdout.readline() for _ in range(4)]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert sorted(lines) == [b"began\n", *[b"published\n"] * 3]
    # In the place of waiting for the dead host's word to lose its weight: longer than this lasts nobody's.
    monkeypatch.setattr(delivery, "LEASE", 0.5)
    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    (path / STATE).rename(house.path / STATE)
    async with house.host():
        assert await recorder.until(3) == [0, 1, 2]
    assert [each["attempt"] for each in recorder.got] == [2, 1, 1]


async def test_a_handler_runs_under_its_own_rights(house: House) -> None:
    answers: list[Any] = []

    async def tries(guest: FakeGuest, _: Any) -> None:
        answers.append(await say(guest, "publish", topic="t", data=1))

    house.put("mighty", {})
    house.put("weak", {"on_event": Recorder(tries)}, grants=["events.subscribe:t"])
    async with house.host() as host:
        await subscribe(host, "weak", "t")
        await publish(host, "mighty", "t")
        await until(lambda: answers)
        assert answers[0]["error"]["kind"] == "denied"


@pytest.mark.parametrize("grants", [[], ["events.subscribe:weather.rain", "events.publish:**"]])
async def test_a_grant_that_goes_or_narrows_stops_delivery_says_so_once_and_keeps_what_waits(
    house: House, caplog: pytest.LogCaptureFixture, grants: list[str]
) -> None:
    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    house.put("publisher", {})
    async with house.host() as host:
        await subscribe(host, "p", "weather.*")
        await publish(host, "publisher", "weather.rain", 1)
        await recorder.until(1)
        house.grant("p", grants)
        await host.reload()
        with caplog.at_level(logging.WARNING, "innkeeper.bridge"):
            for _ in range(5):
                await publish(host, "publisher", "weather.rain", 2)
                await trio.sleep(0.05)
            said = [record.getMessage() for record in caplog.records if "not delivered" in record.getMessage()]
        assert recorder.data == [1]
        assert len(said) == 1
        assert "events.subscribe:weather.* is not granted as a whole any more" in said[0]
        house.grant("p", ["events.subscribe:**"])
        await host.reload()
        assert await recorder.until(6) == [1, 2, 2, 2, 2, 2]


async def test_a_plugin_that_is_gone_finds_its_events_when_it_comes_back(house: House) -> None:
    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    house.put("publisher", {})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        (house.path / "plugins" / "p.wasm").unlink()
        await host.reload()
        await publish(host, "publisher", "t", "kept")
        await trio.sleep(0.2)
        assert recorder.got == []
        house.put("p", {"on_event": recorder})
        await host.reload()
        assert await recorder.until(1) == ["kept"]


async def test_new_bytes_without_the_handler_get_nothing_until_it_is_there_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        house.put("p", {"another": recorder})
        await host.reload()
        await publish(host, "p", "t", 1)
        await until(lambda: "exports no such function" in caplog.text)
        house.put("p", {"on_event": recorder})
        await host.reload()
        assert await recorder.until(1) == [1]


@pytest.mark.parametrize("instance", ["fresh", "shared"])
async def test_a_handler_that_publishes_to_its_own_topic_comes_to_an_end(house: House, instance: str) -> None:
    refusals: list[Any] = []

    async def echoes(guest: FakeGuest, message: Any) -> None:
        answer = await say(guest, "publish", topic="t", data=message["data"] + 1)
        if "error" in answer:
            refusals.append(answer["error"])

    recorder = Recorder(echoes)
    house.put("p", {"on_event": recorder}, more=f'instance = "{instance}"')
    async with house.host() as host:
        assert host.plugins["p"].instance == instance
        await subscribe(host, "p", "t")
        await publish(host, "p", "t", 0)
        await until(lambda: refusals)
        assert recorder.data == list(range(events.MOST_HOPS + 1))
        assert (refusals[0]["kind"], refusals[0]["quota"], refusals[0]["value"]) == ("quota", "hops", 8)
        await publish(host, "p", "t", 100)
        await until(lambda: len(refusals) == 2)
        assert recorder.data[-1] == 100 + events.MOST_HOPS, "outside of a handler it begins anew"


async def test_only_the_host_publishes_on_its_own_topics_and_tells_what_became_of_a_plugin(house: House) -> None:
    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "innkeeper.plugin.*")
        for topic in ("innkeeper", "innkeeper.plugin.changed"):
            answer = await ask(host, "p", "publish", topic=topic, data={})
            assert answer["error"]["kind"] == "denied"
        house.put("q", {})
        await host.reload()
        await recorder.until(1)
        message = recorder.got[0]
        assert (message["topic"], message["from"]) == ("innkeeper.plugin.added", None)
        assert message["data"] == {"plugin": "q", "parts": []}


async def test_a_store_that_fails_for_a_while_does_not_end_deliveries(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(delivery, "NOT_NOW", 0.01)
    failures = 20

    def failing(name: str) -> None:
        method = getattr(EventStore, name)

        async def fails(*arguments: Any, **more: Any) -> Any:
            nonlocal failures
            if failures > 0:
                failures -= 1
                raise BusyError("the disk is full", bound="disk")
            return await method(*arguments, **more)

        monkeypatch.setattr(EventStore, name, fails)

    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        for name in ("pending", "begin", "end"):
            failing(name)
        for number in range(3):
            await publish(host, "p", "t", number)
        # One whose end could not be written down comes again.
        await until(lambda: set(recorder.data) == {0, 1, 2})
        await until(lambda: _queue_is(host, "p", 0))
    assert "defect" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "refusal",
    [
        BusyError("no guest was free", bound="live guests"),
        UsageError("the plugin is paused"),
        DeniedError("the plugin is paused", capability=""),
        RejectedError("the module is broken"),
    ],
    ids=lambda refusal: refusal.kind.value,
)
async def test_a_call_that_did_not_begin_is_no_failure_and_said_once(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refusal: InnkeeperError
) -> None:
    monkeypatch.setattr(delivery, "NOT_NOW", 0.01)
    call = Plugin.call
    refused = 0

    async def refuses(plugin: Plugin, function: str, data: bytes = b"", **more: Any) -> Any:
        nonlocal refused
        if function == "on_event" and refused < 10:
            refused += 1
            raise refusal
        return await call(plugin, function, data, **more)

    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        monkeypatch.setattr(Plugin, "call", refuses)
        await publish(host, "p", "t", 1)
        assert await recorder.until(1) == [1]
    assert refused == 10
    assert recorder.got[0]["attempt"] == 1
    assert len([record for record in caplog.records if "not delivered" in record.getMessage()]) == 1


async def test_a_guest_that_was_busy_is_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "NOT_NOW", 0.01)
    tries = 0

    async def busy(_: FakeGuest, message: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 10:
            raise BusyError("no guest was free", bound="live guests")

    recorder = Recorder(busy)
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        await publish(host, "p", "t")
        await recorder.until(10)
    assert {each["attempt"] for each in recorder.got} == {1}


async def test_what_another_process_published_is_found_without_being_told(house: House) -> None:
    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    async with house.host() as host, house.store() as another:
        await subscribe(host, "p", "t")
        await another.publish("default_user", "p", "t", msgpack.packb("from afar"), matches=lambda _: True)
        assert await recorder.until(1) == ["from afar"]


async def test_what_waited_too_long_is_dropped_as_a_host_opens_and_said_with_the_next(house: House) -> None:
    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        house.grant("p", ["events.publish:t"])
    async with house.store() as store:
        store._now = lambda: time.time() - 8 * 86400.0
        for number in range(3):
            await store.publish("default_user", "p", "t", msgpack.packb(number), matches=lambda _: True)
    # Somebody has to have a right for the host to look, and this one must not get what is swept meanwhile.
    house.put("another", {})
    async with house.host() as host:
        async with house.store() as store:

            async def swept() -> bool:
                return (await store.of_plugin("default_user", "p"))[0].waiting == 0

            await until(swept)
        house.grant("p", ["events.publish:t", "events.subscribe:t"])
        await host.reload()
        await publish(host, "p", "t", "new")
        await recorder.until(1)
    assert [(each["data"], each["dropped"]) for each in recorder.got] == [("new", 3)]
