"""A plugin without a grant gets nothing: no time, randomness, environment, files or network, no other plugin, nothing
of theirs, no secret, and no service, whichever there are.

Each guest is called through the real host, in each of the ways in which a plugin can have no grant.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from guests import assemble, text_block, wat
from innkeeper import Host
from innkeeper.bridge.host import STATE, open_host
from innkeeper.bridge.offer import operations
from innkeeper.bridge.operation import Operation
from innkeeper.errors import DeniedError, RejectedError
from innkeeper.plugins.capabilities import FREE, KINDS
from innkeeper.plugins.settings import FilesSettings
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.wasi import FUNCTIONS, Errno
from kept import kept_nothing
from wasi_scripts import DATA, PATH, RESULT, Said, opening, put, say, script, use_folders, write_plugin

ALL = [kind.example for name, kind in KINDS.items() if name not in FREE]
"""A request of each capability that needs a grant."""

SECRET = "hunter2-is-not-for-guests"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of a host that has all that a plugin could want."""
    for name in ("home", "user", "shared"):
        (tmp_path / name).mkdir()
    (tmp_path / "user" / "notes").mkdir()
    (tmp_path / "user" / "notes" / "secret").write_text(SECRET)
    (tmp_path / "user" / "secret").write_text(SECRET)
    roots = {"user": str(tmp_path / "user"), "shared": str(tmp_path / "shared")}
    use_folders(monkeypatch, tmp_path / "package", FilesSettings(roots=roots))
    monkeypatch.setenv("INNKEEPER_SECRET_WEATHER_KEY", SECRET)
    monkeypatch.setenv("SOME_SECRET", SECRET)
    monkeypatch.chdir(tmp_path / "user")
    return tmp_path / "home"


WAYS = ("no manifest asks", "asked and not granted", "an empty grant", "a grant for other bytes", "granted in vain")


def ungranted(home: Path, way: str, wasm: bytes) -> None:
    """The plugin "demo", which has no grant."""
    if way == "no manifest asks":
        write_plugin(home, "demo", wasm)
    elif way == "asked and not granted":
        write_plugin(home, "demo", wasm, requests=ALL)
    elif way == "an empty grant":
        write_plugin(home, "demo", wasm, requests=ALL, grants=())
    elif way == "a grant for other bytes":
        write_plugin(home, "demo", wasm, requests=ALL, grants=ALL)
        grant = home / "manifests" / "demo.toml"
        lines = grant.read_text().splitlines()
        grant.write_text("\n".join([f'sha256 = "{"0" * 64}"', *lines[1:]]))
    else:
        # Granted, and not requested.
        write_plugin(home, "demo", wasm, grants=ALL)


async def says(home: Path, way: str, wasm: bytes) -> Said:
    """What a script without a grant gives; two calls, and two hosts, give the same."""
    ungranted(home, way, wasm)
    given: list[bytes] = []
    for _ in range(2):
        async with open_host(home, watch=False) as host:
            for _ in range(2):
                found = await say(host, "demo")
                given.append(found.memory)
                await trio.sleep(0.002)
    assert len(set(given)) == 1, "what is not the same each time tells of the world"
    assert SECRET.encode() not in found.memory
    return found


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


# --- what WASI could show -------------------------------------------------------------------------------------------


async def test_no_time(home: Path, way: str) -> None:
    found = await says(home, way, script(*[("clock_time_get", each, 0, RESULT + 8 * each) for each in range(4)]))
    assert found.answers[:4] == [Errno.SUCCESS] * 4
    assert found.number(size=8) == 1_735_689_600_000_000_000


async def test_no_time_by_what_waiting_takes(home: Path, way: str) -> None:
    # The sleep is real; what a clock shows after it is what was asked for.
    subscription = struct.pack("<QB7xI4xQQH6x", 7, 0, 1, 1_500_000, 0, 0)
    found = await says(
        home,
        way,
        script(
            put(DATA, subscription),
            ("poll_oneoff", DATA, DATA + 64, 1, RESULT),
            ("clock_time_get", 1, 0, RESULT + 8),
        ),
    )
    assert found.number(RESULT + 8, 8) == 1_001_500_000


async def test_no_randomness(home: Path, way: str) -> None:
    found = await says(home, way, script(("random_get", DATA, 64)))
    assert found.memory[DATA : DATA + 64].count(0) < 32


async def test_no_environment_and_no_arguments(home: Path, way: str) -> None:
    found = await says(
        home,
        way,
        script(
            ("environ_sizes_get", RESULT, RESULT + 4),
            ("args_sizes_get", RESULT + 8, RESULT + 12),
            ("environ_get", DATA, DATA + 256),
            ("args_get", DATA + 512, DATA + 768),
        ),
    )
    assert found.memory[RESULT : RESULT + 16] == bytes(16)
    assert found.memory[DATA : DATA + 1024] == bytes(1024)


PATHS = (
    "secret",
    "./secret",
    "notes/secret",
    "../user/secret",
    "/user/notes/secret",
    "/proc/self/environ",
    "/etc/passwd",
    "user://notes/secret",
    "//proc/self/environ",
    ".",
    "/",
)


async def test_no_files(home: Path, way: str) -> None:
    steps = [("fd_prestat_get", each, RESULT) for each in range(12)]
    for path in PATHS:
        steps += [step for fd in (0, 1, 3, 4) for step in opening(path, descriptor=fd, how=1, rights=66)]
        steps += [("path_filestat_get", 3, 1, PATH, len(path), RESULT), ("path_unlink_file", 3, PATH, len(path))]
    count = sum(step[0] != "put" for step in steps)
    found = await says(home, way, script(*steps))
    assert set(found.answers[:count]) <= {Errno.BADF, Errno.NOTDIR, Errno.NOTCAPABLE}
    assert sorted(os.listdir(home.parent / "user")) == ["notes", "secret"]
    assert os.listdir(home.parent / "shared") == []


async def test_no_descriptor_of_the_hosts_but_a_log(home: Path, way: str) -> None:
    steps = [("fd_fdstat_get", each, RESULT) for each in range(3, 300)]
    found = await says(home, way, script(*steps))
    assert set(found.answers[: len(steps)]) == {Errno.BADF}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that nobody may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_no_network_through_wasi(home: Path, way: str, listener: socket.socket) -> None:
    names = [name for name in FUNCTIONS if name.startswith("sock_")]
    assert len(names) >= 4
    inherited = listener.fileno()
    steps = [(name, fd, *[0] * (len(FUNCTIONS[name].parameters) - 1)) for name in names for fd in (0, 1, 3, inherited)]
    found = await says(home, way, script(*steps))
    assert Errno.SUCCESS not in found.answers[: len(steps)]


async def test_no_network_through_extism(home: Path, way: str, listener: socket.socket) -> None:
    request = b'{"url":"http://127.0.0.1:%d/","method":"GET"}' % listener.getsockname()[1]
    text = f"""(func (export "run") (local $r i64)
      {text_block("the request", request, "r")}
      (drop (call $http_request (local.get $r) (i64.const 0))))"""
    ungranted(home, way, assemble(wat(text, "alloc store_u8 http_request")))
    async with open_host(home, watch=False) as host:
        with pytest.raises(DeniedError):
            await host.plugins["demo"].call("run")


# --- other plugins --------------------------------------------------------------------------------------------------


async def test_no_other_plugin_to_link_with(home: Path, way: str) -> None:
    write_plugin(home, "words", assemble('(module (func (export "count")))'))
    for namespace in ("words", "plugins/words", "extism:host/words"):
        ungranted(home, way, assemble(f'(module (import "{namespace}" "count" (func)) (func (export "run")))'))
        async with open_host(home, watch=False) as host:
            with pytest.raises(RejectedError):
                await host.plugins["demo"].call("run")


async def test_no_other_plugins_configuration(home: Path, way: str) -> None:
    config = f'[config]\nkey = "{SECRET}"\nSOME_SECRET = "{SECRET}"\n'
    write_plugin(home, "words", assemble('(module (func (export "run")))'), grants=())
    grant = home / "manifests" / "words.toml"
    grant.write_text(grant.read_text() + config)
    asked = [b"key", b"words.key", b"words/key", b"SOME_SECRET", b"INNKEEPER_SECRET_WEATHER_KEY", b"WEATHER_KEY", b"*"]
    gets = "".join(
        f"""{text_block("a key", key, "k")}
        (local.set $found (i64.or (local.get $found) (call $config_get (local.get $k))))
        (local.set $found (i64.or (local.get $found) (call $var_get (local.get $k))))"""
        for key in asked
    )
    text = f"""(func (export "run") (result i32) (local $k i64) (local $found i64)
      {gets} (i64.ne (local.get $found) (i64.const 0)))"""
    ungranted(home, way, assemble(wat(text, "alloc store_u8 config_get var_get")))
    async with open_host(home, watch=False) as host:
        assert host.plugins["words"].config["key"] == SECRET
        # The guest's return code is 1 where it found anything, which is an error.
        await host.plugins["demo"].call("run")


async def test_no_other_plugins_kv_even_with_all_of_its_own(home: Path) -> None:
    kv = [each for each in operations() if each.service == "kv"]
    wasm = relay(kv)
    for name in ("rich", "demo"):
        write_plugin(home, name, wasm, requests=["kv"], grants=["kv"])
    async with open_host(home, watch=False) as host:
        assert "ok" in await ask(host, "rich", "innkeeper_kv_put", key="key", value=SECRET.encode())
        for space in ("default", "rich", "rich/default", "local/rich/default", "../rich", "*", "%"):
            for key in ("key", "rich/key", "%", "*"):
                answer = await ask(host, "demo", "innkeeper_kv_get", key=key, space=space)
                assert answer.get("ok") is None
            assert not (await ask(host, "demo", "innkeeper_kv_list", space=space)).get("ok", {}).get("keys")
        for argument in ("plugin", "owner", "caller"):
            data = msgpack.packb({"key": "key", argument: "rich"})
            answer = msgpack.unpackb((await host.plugins["demo"].call("innkeeper_kv_get", data)).output)
            assert answer["error"]["kind"] == "invalid"


# --- services, whichever there are ----------------------------------------------------------------------------------


async def _never(data: bytes) -> bytes:
    raise AssertionError("only its type is wanted")


def relay(found: Sequence[Operation]) -> bytes:
    """A guest that gives its input to an operation, and the answer back."""
    imports = [HostFunction(each.import_name, _never, (Value.BYTES,), Value.BYTES) for each in found]
    body = "".join(
        f"""(func (export "{each.import_name}") (local $b i64)
          (local.set $b (call ${each.import_name} (call $input_offset)))
          (call $output_set (local.get $b) (call $length (local.get $b))))"""
        for each in found
    )
    return assemble(wat(body, "input_offset output_set length", functions=imports))


async def ask(host: Host, plugin: str, function: str, **arguments: Any) -> Any:
    return msgpack.unpackb((await host.plugins[plugin].call(function, msgpack.packb(arguments))).output)


GUARDED = [each for each in operations() if each.capability not in FREE]

INPUTS = {
    "nothing": b"",
    "no arguments": b"\x80",
    "nonsense": b"\xc1",
    "a mebibyte": b"\xc6\x00\x10\x00\x00" + bytes(1 << 20),
}


async def denied(host: Host, operation: Operation) -> None:
    for data in INPUTS.values():
        answer = msgpack.unpackb((await host.plugins["demo"].call(operation.import_name, data)).output)
        assert set(answer) == {"error"}, operation.full_name
        assert answer["error"]["kind"] == "denied", operation.full_name
        assert answer["error"]["capability"] == operation.capability, operation.full_name
        assert SECRET not in answer["error"]["message"]


@pytest.mark.parametrize("operation", GUARDED, ids=[each.full_name for each in GUARDED])
async def test_no_operation_can_be_imported_that_was_not_asked_for(home: Path, operation: Operation) -> None:
    others = [example for example in ALL if example.partition(":")[0] != operation.capability]
    write_plugin(home, "demo", relay([operation]), requests=others, grants=others)
    async with open_host(home, watch=False) as host:
        with pytest.raises(RejectedError, match=operation.import_name):
            await host.plugins["demo"].call(operation.import_name, b"\x80")


@pytest.mark.parametrize("way", ["asked and not granted", "an empty grant", "a grant for other bytes"])
async def test_no_operation_does_anything_without_a_grant_and_says_so_as_a_value(home: Path, way: str) -> None:
    ungranted(home, way, relay(GUARDED))
    async with open_host(home, watch=False) as host:
        for operation in GUARDED:
            await denied(host, operation)
    assert kept_nothing(home / STATE), "something was kept for a plugin that may keep nothing"


async def test_a_grant_of_all_but_one_capability_gives_nothing_of_that_one(home: Path) -> None:
    wasm = relay(GUARDED)
    async with open_host(home, watch=False) as host:
        for capability in dict.fromkeys(each.capability for each in GUARDED):
            others = [example for example in ALL if example.partition(":")[0] != capability]
            write_plugin(home, "demo", wasm, requests=ALL, grants=others)
            await host.reload()
            for operation in GUARDED:
                if operation.capability == capability:
                    await denied(host, operation)
