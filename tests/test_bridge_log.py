"""The service `log` as a guest meets it: lines in its own call's log, and never a way to steer who reads them."""

from __future__ import annotations

import contextvars
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_guests import guest, home, opened, refused, relay, write
from guests import assemble, wat
from innkeeper import open_host
from innkeeper.bridge.bridge import open_bridge
from innkeeper.bridge.logfmt import as_line
from innkeeper.plugins.configuration import Configuration
from innkeeper.printable import UNSAFE
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.oracle.engine import open_oracle
from innkeeper.sandbox.present import present_call
from kept import kept_nothing

__all__ = ["home"]

ESCAPES = "\x1b[2J\x9b31m\r\n\u202eeht\u2028\x07"

FLOOD = """(func (export "flood") (local $n i32) (local $b i64)
  (local.set $n (i32.const 5000))
  (loop
    (local.set $b (call $innkeeper_log_write (call $input_offset)))
    (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
  (call $output_set (local.get $b) (call $length (local.get $b))))"""


def written(**arguments: Any) -> bytes:
    data: bytes = msgpack.packb(arguments)
    return data


async def test_a_line_with_its_fields_is_in_the_log_of_its_call(home: Path) -> None:
    write(home, "teller", relay("log"))
    async with opened(home) as (host, _):
        plugin = host.plugins["teller"]
        fields = {"who": "Ada L.", "at": 7, "b": b"\xff", "deep": {"y": [1, None], "x": "a b"}, "a": "="}
        result = await plugin.call("log_write", written(message="greeted", level="warn", fields=fields))
        assert msgpack.unpackb(result.output) == {"ok": None}
        assert result.usage.log == [("warn", 'greeted a="=" at=7 b="/w==" deep={"x":"a b","y":[1,null]} who="Ada L."')]
        assert (await plugin.call("log_write", written(message="hello"))).usage.log == [("info", "hello")]


async def test_nothing_that_steers_a_terminal_or_breaks_a_line_gets_into_it(home: Path) -> None:
    write(home, "teller", relay("log"))
    async with opened(home) as (host, _):
        data = written(message=ESCAPES, fields={ESCAPES: ESCAPES, "list": [ESCAPES], "bare": "\x1b\x9b"})
        lines = (await host.plugins["teller"].call("log_write", data)).usage.log
        assert len(lines) == 1
        assert lines[0][1].isprintable()


async def test_a_flood_is_bounded_and_the_guest_cannot_tell(home: Path) -> None:
    write(home, "teller", guest(FLOOD, "log"))
    async with opened(home) as (host, _):
        for arguments in ({"message": ESCAPES * 50}, {"message": ""}, {"message": "", "fields": {"x": ["y"] * 100}}):
            result = await host.plugins["teller"].call("flood", written(**arguments))
            assert msgpack.unpackb(result.output) == {"ok": None}
            size = sum(max(16, len(text.encode())) for _, text in result.usage.log)
            assert size <= Limits().log
            assert all(len(text.encode()) <= Limits().log_line and text.isprintable() for _, text in result.usage.log)
            assert arguments["message"] == "" or result.usage.log_dropped > 1_000_000


WRONG = {
    "no message": {},
    "bytes": {"message": b"x"},
    "an unknown level": {"message": "x", "level": "fatal"},
    "no map of fields": {"message": "x", "fields": [1]},
    "too long": {"message": "x" * 20_000},
    "too many elements": {"message": "x", "fields": {"x": [None] * 300}},
    "too deep": {"message": "x", "fields": {"x": [[[[[[[[[]]]]]]]]]}},
    "an argument too many": {"message": "x", "plugin": "other"},
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
async def test_what_is_no_line_is_refused_and_nothing_is_logged(home: Path, arguments: dict[str, Any]) -> None:
    write(home, "teller", relay("log"))
    async with opened(home) as (host, _):
        result = await host.plugins["teller"].call("log_write", written(**arguments))
        refused(msgpack.unpackb(result.output), "invalid")
        assert result.usage.log == []


async def test_it_needs_neither_manifest_nor_grant_nor_a_home(home: Path) -> None:
    wasm = relay("log", "config")
    (home / "plugins").mkdir()
    (home / "plugins" / "bare.wasm").write_bytes(wasm)
    async with open_host(home, watch=False) as host:
        result = await host.plugins["bare"].call("log_write", written(message="bare"))
        assert result.usage.log == [("info", "bare")]
    async with open_host(home, catalogue=False) as host:
        plugin = await host.load(wasm)
        assert (await plugin.call("log_write", written(message="loaded"))).usage.log == [("info", "loaded")]
        assert msgpack.unpackb((await plugin.call("config_all", written())).output) == {"ok": {}}


async def test_a_file_that_is_loaded_by_itself_was_granted_nothing_and_can_read_that(tmp_path: Path) -> None:
    write(tmp_path, "file", relay("log", "kv"), has=["kv"])
    async with open_host(tmp_path, catalogue=False) as host:
        plugin = await host.load(tmp_path / "plugins" / "file.wasm")
        result = await plugin.call("kv_get", written(key="k"))
        assert refused(msgpack.unpackb(result.output), "denied")["capability"] == "kv"
    assert kept_nothing(tmp_path / "state")


async def test_a_program_s_own_function_of_the_same_name_goes_before(home: Path) -> None:
    async def own(data: bytes) -> bytes:
        return b"own"

    function = HostFunction("innkeeper_log_write", own, (Value.BYTES,), Value.BYTES)
    async with open_host(home, catalogue=False) as host:
        plugin = await host.load(relay("log"), functions=[function])
        assert (await plugin.call("log_write", b"")).output == b"own"


async def test_a_module_that_does_not_import_it_does_not_make_the_host_load_services(tmp_path: Path) -> None:
    async with open_bridge(tmp_path, Configuration()) as bridge:
        names = {
            "alloc",
            "log_info",
            "config_get",
            "innkeeper_kv_get",
            "innkeeper_logs_write",
            "innkeeper_",
            "innkeeper",
        }
        assert list(bridge.functions(None, names)) == []
        assert bridge.metrics is None
        assert [each.name for each in bridge.functions(None, {"innkeeper_log_write"})] == ["innkeeper_log_write"]


async def test_calls_at_the_same_time_have_each_their_own_lines(home: Path) -> None:
    write(home, "teller", relay("log"))
    found: dict[int, list[tuple[str, str]]] = {}

    async with opened(home) as (host, _):

        async def one(number: int) -> None:
            result = await host.plugins["teller"].call("log_write", written(message=str(number)))
            found[number] = result.usage.log

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(one, number)
    assert found == {number: [("info", str(number))] for number in range(50)}


async def test_a_task_that_outlives_its_call_writes_into_no_log(home: Path) -> None:
    kept: list[contextvars.Context] = []

    async def keep(data: bytes) -> bytes:
        kept.append(contextvars.copy_context())
        assert present_call() is not None
        return b""

    function = HostFunction("keep", keep, (Value.BYTES,), Value.BYTES)
    body = '(func (export "run") (drop (call $keep (call $input_offset))))'
    async with open_host(home, catalogue=False) as host:
        plugin = await host.load(assemble(wat(body, "input_offset", functions=[function])), functions=[function])
        await plugin.call("run")
    assert kept[0].run(present_call) is None
    assert present_call() is None


async def test_the_other_engine_has_it_as_well(home: Path) -> None:
    async with open_oracle() as oracle, open_host(home, engine=oracle, catalogue=False) as host:
        plugin = await host.load(relay("log", "config"))
        assert (await plugin.call("log_write", written(message=ESCAPES))).usage.log[0][1].isprintable()
        result = await plugin.call("config_get", written(key="a"), config={"a": "b"})
        assert msgpack.unpackb(result.output) == {"ok": "b"}


_text = st.text(max_size=20)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | _text | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(_text, st.dictionaries(_text, _plain, max_size=5), st.randoms())
def test_any_message_and_fields_are_one_line_that_does_not_depend_on_their_order(
    message: str, fields: dict[str, Any], random: Any
) -> None:
    line = as_line(message, fields)
    assert not set(map(ord, line)) & set(UNSAFE)
    line.encode()
    shuffled = list(fields.items())
    random.shuffle(shuffled)
    assert as_line(message, dict(shuffled)) == line
