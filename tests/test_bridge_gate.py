"""The gate: who calls, with which right, how often; and what a service's answer or failure becomes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any

import msgpack
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, InstanceOf

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.gate import Gate
from innkeeper.bridge.operation import Operation, operation, operations_of
from innkeeper.bridge.packed import Packed
from innkeeper.bridge.quota import Rate, TokenBucket
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.scan import DataBounds
from innkeeper.errors import RejectedError
from innkeeper.plugins.capabilities import parse_capability
from innkeeper.plugins.rights import NONE, Rights
from innkeeper.plugins.runs import Run, RunBase, RunContext

RATE = Rate(per_second=1000, burst=1000)
Space = Annotated[str, Field(max_length=64)]


class Service:
    """What the tests ask for."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Mapping[str, Any]]] = []
        self.value: object = None
        self.why: Exception = OSError("hunter2 in /etc/shadow")

    @operation("kv", use="space")
    async def keep(self, caller: Caller, *, number: Annotated[int, Field(ge=0)], space: Space = "default") -> int:
        """Gives a number back.

        Args:
            number: the number.
            space: where.

        Returns:
            the number
        """
        self.seen.append((caller.plugin, {"number": number, "space": space}))
        return number

    @operation("kv")
    async def breaks(self, caller: Caller) -> None:
        """Breaks."""
        raise self.why

    @operation("kv")
    async def gives(self, caller: Caller) -> Any:
        """Gives what it has."""
        return self.value

    @operation("kv")
    async def refuses(self, caller: Caller) -> None:
        """Refuses."""
        raise ServiceError(Refusal.CONFLICT, "there is another one", current=7)

    @operation("kv")
    async def waits(self, caller: Caller) -> None:
        """Waits for ever."""
        await trio.sleep_forever()

    @operation("kv", free_form=True)
    async def takes(self, caller: Caller, *, value: Any) -> str:
        """Takes anything.

        Args:
            value: plain data.

        Returns:
            its type
        """
        return type(value).__name__

    @operation("events.subscribe", use="pattern", covers=True)
    async def listens(self, caller: Caller, *, pattern: Annotated[str, Field(max_length=250)]) -> str:
        """Takes a pattern.

        Args:
            pattern: of topics.

        Returns:
            the pattern
        """
        return pattern

    @operation("kb.read", use="base", refers=True)
    async def reads(self, caller: Caller, *, base: Space) -> str:
        """Takes a base.

        Args:
            base: id of one, or a reference.

        Returns:
            the base
        """
        return base

    @operation("kb.read", use="bases", refers=True, bounds=DataBounds(size=4096, depth=3, elements=100))
    async def reads_all(self, caller: Caller, *, bases: list[Space]) -> list[str]:
        """Takes bases.

        Args:
            bases: ids of them, or references.

        Returns:
            the bases
        """
        return bases

    @operation("kv", bounds=DataBounds(size=4096, depth=3, elements=20), packed="value")
    async def passes(self, caller: Caller, *, value: InstanceOf[Packed]) -> Packed:
        """Gives back what it was given, as it was written.

        Args:
            value: plain data.

        Returns:
            the value
        """
        return value


OPERATIONS: dict[str, Operation] = {each.name: each for each in operations_of(Service, "test")}


def rights(*capabilities: str) -> Rights:
    return Rights(tuple(map(parse_capability, capabilities)))


class Desk:
    """A gate with a service behind it, and somebody who calls."""

    def __init__(self, granted: Rights, rate: Rate = RATE) -> None:
        self.service = Service()
        self.caller: Caller | None = Caller("demo", "default_user", granted)
        self.time = 0.0
        self.gate = Gate(lambda: self.caller, now=lambda: self.time)
        self.rate = rate

    async def ask(self, name: str, /, **arguments: Any) -> Any:
        return await self.send(name, msgpack.packb(arguments))

    async def send(self, name: str, data: bytes) -> Any:
        function = self.gate.function(self.service, OPERATIONS[name], self.rate)
        answer: Any = await function.answer(data)
        return msgpack.unpackb(answer)


async def test_who_has_the_capability_gets_the_services_answer() -> None:
    desk = Desk(rights("kv"))
    assert await desk.ask("keep", number=5) == {"ok": 5}
    assert desk.service.seen == [("demo", {"number": 5, "space": "default"})]


@pytest.mark.parametrize("granted", [NONE, rights("clock"), rights("kv:other")])
async def test_without_it_the_service_never_hears_of_the_call(granted: Rights) -> None:
    desk = Desk(granted)
    answer = await desk.ask("keep", number=5)
    assert (answer["error"]["kind"], answer["error"]["capability"]) == ("denied", "kv")
    assert desk.service.seen == []


async def test_a_scope_is_for_what_it_names_and_nothing_else() -> None:
    desk = Desk(rights("kv:mine", "kv:ours"))
    for space in ("mine", "ours"):
        assert await desk.ask("keep", number=1, space=space) == {"ok": 1}
    for space in ("default", "Mine", "mine2", "", "mine ours"):
        assert (await desk.ask("keep", number=1, space=space))["error"]["kind"] == "denied"
    assert len(desk.service.seen) == 2


async def test_outside_of_a_call_there_is_nobody_to_grant_anything() -> None:
    desk = Desk(rights("kv"))
    desk.caller = None
    assert (await desk.ask("keep", number=1))["error"]["kind"] == "denied"
    assert desk.service.seen == []


async def test_what_breaks_in_a_service_is_logged_and_the_guest_learns_no_more_than_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(rights("kv"))
    with caplog.at_level(logging.ERROR, "innkeeper.bridge"):
        answer = await desk.ask("breaks")
    assert answer == {"error": {"kind": "failed", "message": "test.breaks failed"}}
    assert "hunter2" in caplog.text
    assert desk.gate.metrics.of("demo", "test.breaks").failed == 1


@pytest.mark.parametrize("value", [1 << 64, "\ud800", object(), {1, 2}], ids=repr)
async def test_an_answer_that_cannot_be_written_is_a_failure_and_ends_no_call(value: object) -> None:
    desk = Desk(rights("kv"))
    desk.service.value = value
    assert await desk.ask("gives") == {"error": {"kind": "failed", "message": "test.gives failed"}}
    assert desk.gate.metrics.of("demo", "test.gives").failed == 1


async def test_what_is_no_defect_is_said_in_one_line_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(rights("kv"))
    desk.service.why = RejectedError("the database 'inn.db' is damaged: put back a copy of it")
    assert await desk.ask("breaks") == {"error": {"kind": "failed", "message": "test.breaks failed"}}
    (record,) = caplog.records
    assert record.getMessage() == "test.breaks of the plugin demo failed: " + str(desk.service.why)
    assert record.exc_info is None


@pytest.mark.parametrize("why", [RuntimeError("hunter2"), RejectedError("the database is damaged")])
async def test_a_guest_that_asks_for_what_is_broken_on_and_on_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, why: Exception
) -> None:
    desk = Desk(rights("kv"))
    desk.service.why = why
    for minute in range(3):
        desk.time = minute * 61.0
        for _ in range(10):
            await desk.ask("breaks")
    assert len(caplog.records) == 3
    assert desk.gate.metrics.of("demo", "test.breaks").failed == 30


async def test_what_a_service_refuses_is_a_value_with_what_the_guests_code_needs() -> None:
    answer = await Desk(rights("kv")).ask("refuses")
    assert answer == {"error": {"kind": "conflict", "message": "there is another one", "current": 7}}


async def test_a_call_that_is_cancelled_is_cancelled_in_the_service() -> None:
    desk = Desk(rights("kv"))
    with trio.move_on_after(0.01) as scope:
        await desk.ask("waits")
    assert scope.cancelled_caught


async def test_who_asks_too_often_is_told_so_until_time_has_passed() -> None:
    desk = Desk(rights("kv"), Rate(per_second=2, burst=3))
    kinds = [next(iter(await desk.ask("keep", number=1))) for _ in range(5)]
    assert kinds == ["ok", "ok", "ok", "error", "error"]
    answer = await desk.ask("keep", number=1)
    assert answer["error"]["kind"] == "quota"
    assert "2 times a second" in answer["error"]["message"]
    desk.time += 0.5
    assert [next(iter(await desk.ask("keep", number=1))) for _ in range(2)] == ["ok", "error"]
    assert desk.caller is not None
    desk.caller = Caller("another", "default_user", desk.caller.rights)
    assert await desk.ask("keep", number=1) == {"ok": 1}, "one plugin's calls are not another's"


async def test_where_the_rate_waits_nobody_is_refused_and_turns_come_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(rights("kv"), Rate(per_second=4, burst=2, waits=True))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(trio, "sleep", sleep)
    for number in range(5):
        assert await desk.ask("keep", number=number) == {"ok": number}
    assert slept == [0.25, 0.5, 0.75]
    desk.time += 10.0
    assert await desk.ask("keep", number=9) == {"ok": 9}
    assert len(slept) == 3
    desk.caller = Caller("demo", "default_user", NONE)
    assert (await desk.ask("keep", number=1))["error"]["kind"] == "denied"
    assert len(slept) == 3, "who may not ask at all does not wait"


async def test_an_argument_that_is_not_built_passes_as_its_bytes_within_the_bounds() -> None:
    desk = Desk(rights("kv"))
    data = b"\x81" + msgpack.packb("value") + b"\xd3" + bytes(7) + b"\x05"
    function = desk.gate.function(desk.service, OPERATIONS["passes"], None)
    assert await function.answer(data) == b"\x81" + msgpack.packb("ok") + b"\xd3" + bytes(7) + b"\x05"
    for wrong in ({}, {"value": 1, "more": 2}, {"value": [1] * 20}, {"value": [[[[1]]]]}, {"value": "x" * 5000}, [1]):
        answer = await desk.send("passes", msgpack.packb(wrong))
        assert answer["error"]["kind"] == "invalid", wrong


@pytest.mark.parametrize("pattern", ["a.b", "a.*", "a.*.c", "a.**"])
async def test_a_scope_that_a_guest_gives_must_be_granted_as_a_whole(pattern: str) -> None:
    assert await Desk(rights("events.subscribe:a.**")).ask("listens", pattern=pattern) == {"ok": pattern}


@pytest.mark.parametrize(
    "pattern", ["b", "*", "**", "a", "*.b", "a.*.**", "a.b.*", "a.*", "a.**", "a.b.c", "A.b", "c.*", "c.d.e"]
)
async def test_a_scope_that_is_wider_than_any_single_grant_is_refused(pattern: str) -> None:
    answer = await Desk(rights("events.subscribe:a.b", "events.subscribe:c.d", "kv")).ask("listens", pattern=pattern)
    assert answer["error"]["kind"] == "denied"
    assert answer["error"]["capability"] == "events.subscribe"


@pytest.mark.parametrize("pattern", ["", "a..b", "**.a", "a*", "a b", "a\n", ".".join("a" * 17), "a" * 249, "\x1b[2J"])
async def test_a_scope_that_is_none_is_invalid_and_said_to_be_so_in_one_line(pattern: str) -> None:
    answer = await Desk(rights("events.subscribe:**")).ask("listens", pattern=pattern)
    assert answer["error"]["kind"] == "invalid"
    assert answer["error"]["message"].isprintable()
    assert len(answer["error"]["message"]) < 700


async def test_each_call_is_counted_by_plugin_and_operation() -> None:
    desk = Desk(rights("kv"))
    await desk.ask("keep", number=1)
    await desk.ask("keep", number=-1)
    await desk.ask("refuses")
    counts = {name: (count.calls, count.refused, count.failed) for _, name, count in desk.gate.metrics}
    assert counts == {"test.keep": (2, 1, 0), "test.refuses": (1, 1, 0)}


@given(st.binary(max_size=200))
def test_no_bytes_of_a_guest_end_in_anything_but_a_value(data: bytes) -> None:
    async def main() -> Any:
        return await Desk(rights("kv")).send("keep", data)

    answer = trio.run(main)
    assert set(answer) in ({"ok"}, {"error"})
    if "error" in answer:
        assert answer["error"]["kind"] == "invalid"
        assert len(answer["error"]["message"]) < 700


_FREE = {
    "an extension type": b"\xc7\x01\x05x",
    "a time stamp": b"\xd6\xff\0\0\0\0",
    "a deep nest": b"\x91" * 100 + b"\xc0",
    "a million elements": b"\xdd\x00\x0f\x42\x40" + b"\xc0" * 1_000_000,
}


@pytest.mark.parametrize("value", _FREE.values(), ids=_FREE)
async def test_free_form_data_is_counted_before_it_is_built_and_has_no_extension_types(value: bytes) -> None:
    answer = await Desk(rights("kv")).send("takes", b"\x81\xa5value" + value)
    assert answer["error"]["kind"] == "invalid"


async def test_more_bytes_than_the_declared_types_can_take_are_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(rights("kv"))
    most = OPERATIONS["keep"].bounds.size
    assert most < 500
    padding = msgpack.packb({"number": 1, "space": "s" * 64})
    assert len(padding) < most, "what the types allow goes in"
    assert await desk.send("keep", padding) == {"ok": 1}
    monkeypatch.setattr(msgpack, "unpackb", None)
    answer = await desk.gate.function(desk.service, OPERATIONS["keep"], RATE).answer(b"\x81" + b"x" * most)
    monkeypatch.undo()
    assert msgpack.unpackb(answer)["error"]["message"] == f"test.keep: its arguments have at most {most:,} bytes"


@given(st.floats(0.5, 100), st.integers(1, 20), st.lists(st.floats(-1, 3, allow_nan=False), max_size=60))
def test_a_bucket_never_gives_more_than_its_burst_and_what_time_has_brought(
    per_second: float, burst: int, steps: list[float]
) -> None:
    now = latest = 100.0
    bucket = TokenBucket(Rate(per_second, burst), now)
    taken = 0
    for step in steps:
        now += step
        latest = max(latest, now)
        taken += bucket.take(now)
        assert taken <= burst + (latest - 100.0) * per_second + 1e-6


def test_a_declaration_that_lacks_a_word_is_an_error_as_it_is_read() -> None:
    class Bad:
        @operation("kv")
        async def quiet(self, caller: Caller, *, number: int) -> None:
            """Says nothing of its argument."""

    class Worse:
        @operation("kv", use="space")
        async def loose(self, caller: Caller) -> None:
            """Has no such argument."""

    class Endless:
        @operation("kv")
        async def long(self, caller: Caller, *, text: str) -> None:
            """Takes a text of any length.

            Args:
                text: as long as the guest likes.
            """

    class Wide:
        @operation("events.subscribe", covers=True)
        async def all(self, caller: Caller) -> None:
            """Does not say what must be covered."""

    class Unbounded:
        @operation("kv", packed="value")
        async def unbuilt(self, caller: Caller, *, value: InstanceOf[Packed]) -> None:
            """Says no bounds of what is not built.

            Args:
                value: plain data.
            """

    with pytest.raises(TypeError, match="no bounds"):
        operations_of(Unbounded, "unbounded")
    with pytest.raises(TypeError, match="scope"):
        operations_of(Wide, "wide")
    with pytest.raises(TypeError, match="max_length"):
        operations_of(Endless, "endless")
    with pytest.raises(TypeError, match="quiet"):
        operations_of(Bad, "bad")
    with pytest.raises(TypeError, match="space"):
        operations_of(Worse, "worse")


async def test_of_a_list_each_must_have_been_granted() -> None:
    desk = Desk(rights("kb.read:world", "kb.read:town"))
    assert await desk.ask("reads_all", bases=["world", "town"]) == {"ok": ["world", "town"]}
    answer = await desk.ask("reads_all", bases=["world", "secret"])
    assert answer["error"]["kind"] == "denied"
    assert "'secret'" in answer["error"]["message"]


async def test_a_reference_of_the_project_is_judged_and_served_as_what_it_stands_for() -> None:
    desk = Desk(rights("kb.read:world"))
    refers = {"lore": "world", "world": "secret", "hidden": "secret"}
    run = Run("r", {name: RunBase(own, own) for name, own in refers.items()} | {"local": RunBase("world", "project.7")})
    desk.caller = Caller("demo", "default_user", rights("kb.read:world"), run=RunContext(run))
    assert await desk.ask("reads", base="lore") == {"ok": "world"}
    assert await desk.ask("reads_all", bases=["lore", "lore"]) == {"ok": ["world", "world"]}
    # A project's own base: the grant names the base's own id, and no global base of that id is touched.
    assert await desk.ask("reads", base="local") == {"ok": "project.7"}
    # A project can neither widen a grant nor hide behind the name of what was granted.
    for base in ("hidden", "world", "secret", "project.7"):
        assert (await desk.ask("reads", base=base))["error"]["kind"] == "denied"
        assert (await desk.ask("reads_all", bases=["lore", base]))["error"]["kind"] == "denied"
