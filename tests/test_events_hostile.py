"""Plugins that try to flood, stall, mislead or overhear others through events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from event_homes import House, Recorder, ask, listed, publish, say, subscribe, until
from fakes import FakeGuest
from guests import assemble, text_block, wat
from innkeeper.bridge import delivery, events
from innkeeper.bridge.background import Background
from innkeeper.bridge.caller import Caller
from innkeeper.bridge.delivery_policy import message
from innkeeper.bridge.events import EventsService
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.offer import operations
from innkeeper.bridge.refusal import ServiceError
from innkeeper.plugins import home as home_module
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.rights import NONE
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.storage.database import open_database
from innkeeper.storage.events_model import MOST_DATA, Delivery, EventBounds
from kept import kept_nothing


async def _never(data: bytes) -> bytes:
    raise AssertionError("only its type is wanted")


IMPORTS = [
    HostFunction(each.import_name, _never, (Value.BYTES,), Value.BYTES)
    for each in operations()
    if each.service == "events"
]
RELAYS = "".join(
    f"""(func (export "{each.name.removeprefix("innkeeper_events_")}") (local $b i64)
      (local.set $b (call ${each.name} (call $input_offset)))
      (call $output_set (local.get $b) (call $length (local.get $b))))"""
    for each in IMPORTS
)


def guest(body: str) -> bytes:
    """A guest of the real engine: relays, and what it does with events."""
    return assemble(wat(RELAYS + body, "input_offset output_set length alloc store_u8", functions=IMPORTS))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    monkeypatch.setattr(events, "PAUSES", (0.01,))
    monkeypatch.setattr(delivery, "POLL", 0.1)
    return House(tmp_path / "home")


HOSTILE = guest(
    """(memory (export "memory") 1)
    (func (export "traps") (unreachable))
    (func (export "fails") (result i32) (i32.const 7))
    (func (export "loops") (loop (br 0)))
    (func (export "eats") (loop (drop (memory.grow (i32.const 1))) (br 0)))
    (func (export "dives") (call 0 (i64.const 0)) (drop))
    (func (export "takes_two") (param i32 i32))
    (func (export "floods") (loop (drop (call $innkeeper_events_publish (call $input_offset))) (br 0)))""".replace(
        '(func (export "dives") (call 0 (i64.const 0)) (drop))', '(func $dives (export "dives") (call $dives))'
    )
)
HONEST = guest('(func (export "on_event"))')


async def test_handlers_that_trap_loop_eat_and_flood_are_given_up_and_stall_nobody(house: House) -> None:
    house.put("hostile", HOSTILE, limits='cpu = "50ms"\nwall = "2s"')
    house.put("honest", HONEST)
    names = ("traps", "fails", "loops", "eats", "dives", "floods")
    async with house.host(real=True) as host:
        for name in names:
            await subscribe(host, "hostile", "t", name)
        await subscribe(host, "honest", "t")
        for number in range(2):
            assert (await publish(host, "honest", "t", number))["subscribers"] == len(names) + 1
        await until(lambda: _all(host, "honest", waiting=0, failed=0, dropped=0))
        await until(lambda: _all(host, "hostile", waiting=0, failed=2, dropped=0))


ECHO = guest(
    f"""(func (export "on_event") (local $b i64)
      {text_block("the arguments", msgpack.packb({"topic": "t"}), "b")}
      (drop (call $innkeeper_events_publish (local.get $b))))"""
)


async def test_a_guest_that_publishes_what_it_gets_comes_to_an_end(house: House) -> None:
    house.put("echo", ECHO)
    async with house.host(real=True) as host:
        await subscribe(host, "echo", "t")
        first = await publish(host, "echo", "t")
        await until(lambda: _all(host, "echo", waiting=0, failed=0))
        count = events.MOST_HOPS + 1
        assert (await publish(host, "echo", "t"))["id"] == first["id"] + count


async def _all(host: Any, plugin: str, **wanted: int) -> bool:
    answer = await ask(host, plugin, "subscriptions")
    # A plugin that floods is told to ask less often.
    return "ok" in answer and all(
        each[name] == value for each in answer["ok"]["subscriptions"] for name, value in wanted.items()
    )


async def test_only_a_function_that_can_be_called_can_be_a_handler(house: House) -> None:
    house.put("hostile", HOSTILE)
    async with house.host(real=True) as host:
        for name in ("takes_two", "memory", "nothing", "__proto__", "traps\0"):
            answer = await ask(host, "hostile", "subscribe", pattern="t", handler=name)
            assert answer["error"]["kind"] == "not_found"
        assert await listed(host, "hostile") == []


async def test_a_plugin_subscribes_to_what_it_was_granted_and_no_more(house: House) -> None:
    recorder = Recorder()
    house.put("p", {"on_event": recorder}, grants=["events.subscribe:mine.*", "events.publish:mine.*"])
    house.put("other", {})
    async with house.host() as host:
        for pattern in ("**", "*", "*.*", "mine.**", "mine", "yours.a", "innkeeper.**"):
            answer = await ask(host, "p", "subscribe", pattern=pattern, handler="on_event")
            assert answer["error"]["kind"] == "denied", pattern
        for topic in ("mine", "mine.a.b", "yours.a", "mine.*", "mine.**", "mine..", "mine.a\n", ""):
            answer = await ask(host, "p", "publish", topic=topic, data=1)
            assert answer["error"]["kind"] in ("denied", "invalid"), topic
        await subscribe(host, "p", "mine.*")
        await publish(host, "other", "yours.a", "secret")
        await publish(host, "other", "mine.a", "for all")
        assert await recorder.until(1) == ["for all"]


async def test_without_a_grant_nothing_is_done_and_nothing_kept(house: House) -> None:
    house.put("p", {"on_event": Recorder()}, grants=[])
    async with house.host() as host:
        for name, arguments in (
            ("publish", {"topic": "t", "data": 1}),
            ("subscribe", {"pattern": "t", "handler": "on_event"}),
            ("unsubscribe", {"pattern": "t", "handler": "on_event"}),
            ("subscriptions", {}),
        ):
            assert (await ask(host, "p", name, **arguments))["error"]["kind"] == "denied"
        await trio.sleep(0.3)
    assert kept_nothing(house.path / "state")


async def test_a_plugin_sees_and_ends_its_own_subscriptions_alone(house: House) -> None:
    for name in ("one", "two"):
        house.put(name, {"on_event": Recorder()})
    async with house.host() as host:
        await subscribe(host, "one", "t")
        assert await listed(host, "two") == []
        answer = await ask(host, "two", "unsubscribe", pattern="t", handler="on_event")
        assert answer == {"ok": {"deleted": False, "waiting": 0}}
        assert [each["pattern"] for each in await listed(host, "one")] == ["t"]
        answer = await ask(host, "one", "unsubscribe", pattern="t", handler="on_event")
        assert answer == {"ok": {"deleted": True, "waiting": 0}}
        assert (await publish(host, "one", "t"))["subscribers"] == 0


async def test_a_plugin_that_subscribes_to_everything_has_so_many_subscriptions_and_no_more(house: House) -> None:
    most = EventBounds().plugin
    house.put("p", {f"h{number}": Recorder() for number in range(most + 1)})
    async with house.host() as host:
        for _ in range(2):
            for number in range(most):
                await subscribe(host, "p", "**", f"h{number}")
        answer = await ask(host, "p", "subscribe", pattern="**", handler=f"h{most}")
        assert (answer["error"]["kind"], answer["error"]["value"]) == ("quota", most)


BOMBS = {
    "65 KiB": msgpack.packb({"topic": "t", "data": bytes(MOST_DATA)}),
    "two MiB": msgpack.packb({"topic": "t", "data": bytes(2 << 20)}),
    "a million maps": b"\x82\xa5topic\xa1t\xa4data\xdd\x00\x0f\x42\x40" + b"\x80" * 1_000_000,
    "a promise of four thousand million": b"\x82\xa5topic\xa1t\xa4data\xdd\xff\xff\xff\xff",
    "a deep nest": b"\x82\xa5topic\xa1t\xa4data" + b"\x91" * 1000 + b"\xc0",
    "an extension type": msgpack.packb({"topic": "t", "data": msgpack.ExtType(5, b"x")}),
    "a time stamp": msgpack.packb({"topic": "t", "data": msgpack.Timestamp(1)}),
    "text that is none": b"\x82\xa5topic\xa1t\xa4data\xa1\xff",
    "a long topic": msgpack.packb({"topic": "t" * 201, "data": 1}),
    "a forged publisher": msgpack.packb({"topic": "t", "data": 1, "from": "other"}),
    "forged hops": msgpack.packb({"topic": "t", "data": 1, "hops": -100}),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
async def test_data_bombs_and_forgeries_are_refused_before_anything_is_kept(house: House, bomb: bytes) -> None:
    recorder = Recorder()
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        answer = msgpack.unpackb((await host.plugins["p"].call("publish", bomb)).output)
        assert answer["error"]["kind"] == "invalid"
        assert (await listed(host, "p"))[0]["waiting"] == 0
        largest = bytes(MOST_DATA - 5)
        await publish(host, "p", "t", largest)
        assert await recorder.until(1) == [largest]


async def test_a_flood_meets_a_rate_and_a_queue_of_bounded_length_whose_next_delivery_says_what_went(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = trio.Event()

    async def waits(_: FakeGuest, message: Any) -> None:
        await may_go_on.wait()

    recorder = Recorder(waits)
    house.put("slow", {"on_event": recorder})
    house.put("flood", {})
    async with house.host() as host:
        await subscribe(host, "slow", "t")
        answers = [await ask(host, "flood", "publish", topic="t", data=bytes(60_000)) for _ in range(400)]
        kept = sum("ok" in each for each in answers)
        # A machine that is so slow that the rate is not reached keeps them all.
        assert {each["error"]["kind"] for each in answers if "error" in each} <= {"quota"}
        assert kept >= events.RATE.burst
        (entry,) = await listed(host, "slow")
        assert entry["waiting"] <= EventBounds().bytes // 60_000
        assert entry["waiting"] + entry["dropped"] == kept
        may_go_on.set()
        await recorder.until(entry["waiting"])
        assert [each["dropped"] for each in recorder.got[:3]] == [0, entry["dropped"], 0]
        # Rates are each plugin's own.
        await publish(host, "slow", "t")


async def test_events_and_subscriptions_of_one_owner_are_nothing_to_another(tmp_path: Path) -> None:
    async with open_database(tmp_path / "private" / "inn.db") as db:

        async def database() -> Any:
            return db

        def host() -> Any:
            raise AssertionError("nothing is delivered here")

        service = EventsService(Needs(database, Configuration(), host, Background()))
        alice, bob = Caller("p", "alice", NONE), Caller("p", "bob", NONE)
        await service.subscribe(alice, pattern="t", handler="h")
        assert await service.publish(bob, topic="t", data="bob's") == {"id": None, "subscribers": 0}
        assert (await service.publish(alice, topic="t", data="hers"))["subscribers"] == 1
        assert await service.subscriptions(bob) == {"subscriptions": []}
        assert (await service.unsubscribe(bob, pattern="t", handler="h"))["deleted"] is False
        assert (await service.subscriptions(alice))["subscriptions"][0]["waiting"] == 1
        with pytest.raises(ServiceError):
            await service.publish(alice, topic="innkeeper.x")


@pytest.mark.parametrize("topic", ["", "A b", "*", "a..b", "a" * 200])
def test_the_host_cannot_announce_what_is_no_topic_or_too_large(topic: str) -> None:
    needs: Any = None
    with pytest.raises(ValueError, match="announced"):
        EventsService(needs).announce(topic, {})
    with pytest.raises(ValueError, match="announced"):
        EventsService(needs).announce("t", bytes(MOST_DATA))


async def test_what_a_handler_started_elsewhere_counts_its_hops_too(house: House) -> None:
    answers: list[Any] = []

    async def starts(guest: FakeGuest, data: Any) -> None:
        async def later() -> None:
            answers.append(await say(guest, "publish", topic="t", data=0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(later)

    recorder = Recorder(starts)
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        await subscribe(host, "p", "t")
        await publish(host, "p", "t")
        await until(lambda: len(answers) == events.MOST_HOPS + 1)
        assert answers[-1]["error"]["kind"] == "quota"
        assert len(recorder.got) == events.MOST_HOPS + 1


async def test_an_event_for_many_reaches_them_all(house: House) -> None:
    plugins = [f"p{number}" for number in range(8)]
    handlers = {f"h{number}": Recorder() for number in range(EventBounds().plugin)}
    for name in plugins:
        house.put(name, handlers)
    async with house.host() as host:
        for name in plugins:
            for handler in handlers:
                await subscribe(host, name, "t", handler)
        for number in range(3):
            answer = await publish(host, "p0", "t", number)
            assert answer["subscribers"] == len(plugins) * len(handlers)
        for recorder in handlers.values():
            await recorder.until(3 * len(plugins))
            assert sorted(recorder.data) == sorted([*range(3)] * len(plugins))


class _Plain:
    manifest = None


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(_plain)
def test_data_comes_out_as_it_went_in(data: Any) -> None:
    made = Delivery(1, 2, "t", msgpack.packb(data), 3.0, None, 0, 1, 0)
    plugin: Any = _Plain()
    assert msgpack.unpackb(message(plugin, made))["data"] == data
    assert msgpack.unpackb(message(plugin, replace(made, publisher="p")))["from"] == "p"
