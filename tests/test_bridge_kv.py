"""The service `kv` as a guest meets it: through the gate, under its grant, apart from everybody else."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import pytest
import trio

from guests import assemble, wat
from innkeeper import Host
from innkeeper.bridge.bridge import FILE
from innkeeper.bridge.host import STATE, open_host
from innkeeper.bridge.offer import operations
from innkeeper.errors import RejectedError
from innkeeper.plugins import home as home_module
from innkeeper.sandbox.interface import HostFunction, Value
from kept import kept_nothing

KV = [each for each in operations() if each.service == "kv"]


async def _never(data: bytes) -> bytes:
    raise AssertionError("only its type is wanted")


IMPORTS = [HostFunction(each.import_name, _never, (Value.BYTES,), Value.BYTES) for each in KV]


def relay(mark: str = "") -> bytes:
    """A guest that gives what it gets to an operation, and its answer back. `mark` makes other bytes of it."""
    body = "".join(
        f"""(func (export "{each.name}") (local $b i64)
          (local.set $b (call ${each.import_name} (call $input_offset)))
          (call $output_set (local.get $b) (call $length (local.get $b))))"""
        for each in KV
    )
    mark = f'(global (export "mark{mark}") i32 (i32.const 0))' if mark else ""
    return assemble(wat(body + mark, "input_offset output_set length", functions=IMPORTS))


EMPTY = assemble('(module (func (export "get")))')


def write(home: Path, name: str, wasm: bytes, *, requests: str | None = "kv", grants: str | None = "kv") -> None:
    """A plugin of the home, with what it requests and what it is granted."""
    for folder in ("plugins", "manifests"):
        (home / folder).mkdir(exist_ok=True)
    (home / "plugins" / f"{name}.wasm").write_bytes(wasm)
    manifest = f'id = "{name}"\nversion = "1.0.0"\n'
    if requests is not None:
        manifest += f'[[capabilities]]\nname = "{requests}"\nreason = "it keeps what it is told"\noptional = true\n'
    (home / "plugins" / f"{name}.toml").write_text(manifest)
    grant = f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\n'
    if grants is not None:
        grant += f'capabilities = ["{grants}"]\n'
    (home / "manifests" / f"{name}.toml").write_text(grant)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Host]:
    async with open_host(home, watch=False) as host:
        assert host.problems == []
        yield host


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """What another process does that has a database half open."""
    with path.open("wb") as lock:
        os.fchmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


async def ask(host: Host, plugin: str, operation: str, **arguments: Any) -> Any:
    """What the guest reads, decoded."""
    return await told(host, plugin, operation, msgpack.packb(arguments))


async def told(host: Host, plugin: str, operation: str, data: bytes) -> Any:
    return msgpack.unpackb((await host.plugins[plugin].call(operation, data)).output)


def refused(answer: Any, kind: str) -> str:
    assert set(answer) == {"error"}
    assert answer["error"]["kind"] == kind
    message = answer["error"]["message"]
    assert isinstance(message, str)
    assert "/" not in message
    return message


async def test_a_guest_keeps_values_and_finds_them_again_in_another_host(home: Path) -> None:
    write(home, "notes", relay())
    async with opened(home) as host:
        assert await ask(host, "notes", "get", key="a") == {"ok": None}
        assert await ask(host, "notes", "put", key="a", value=b"\0one") == {"ok": {"version": 1}}
        assert await ask(host, "notes", "put", key="b", value=b"") == {"ok": {"version": 2}}
    async with opened(home) as host:
        assert await ask(host, "notes", "get", key="a") == {"ok": {"value": b"\0one", "version": 1, "expires": None}}
        assert await ask(host, "notes", "list") == {"ok": {"keys": ["a", "b"]}}
        assert await ask(host, "notes", "delete", key="a") == {"ok": {"deleted": True}}
        assert await ask(host, "notes", "list", prefix="a") == {"ok": {"keys": []}}


async def test_a_host_whose_plugin_was_refused_keeps_that_and_nothing_else(home: Path) -> None:
    write(home, "notes", relay(), grants=None)
    async with opened(home) as host:
        refused(await ask(host, "notes", "get", key="a"), "denied")
    assert kept_nothing(home / STATE)


async def test_a_host_whose_plugins_keep_nothing_makes_no_file(home: Path) -> None:
    write(home, "notes", relay())
    async with opened(home) as host:
        assert "error" in await ask(host, "notes", "get", nonsense=1)
    assert not (home / STATE).exists()


@pytest.mark.parametrize("grants", [None, "kv:other"])
async def test_without_a_grant_for_it_a_guest_gets_a_refusal_that_it_can_read(home: Path, grants: str | None) -> None:
    write(home, "notes", relay(), grants=grants)
    async with opened(home) as host:
        for operation in ("get", "put", "delete", "list"):
            arguments: dict[str, Any] = {} if operation == "list" else {"key": "a"}
            if operation == "put":
                arguments["value"] = b"x"
            answer = await ask(host, "notes", operation, **arguments)
            refused(answer, "denied")
            assert answer["error"]["capability"] == "kv"


async def test_what_is_granted_and_not_requested_has_no_effect(home: Path) -> None:
    write(home, "notes", relay(), requests="kv:mine", grants="kv")
    async with open_host(home, watch=False) as host:
        assert await ask(host, "notes", "put", key="a", value=b"", space="mine") == {"ok": {"version": 1}}
        refused(await ask(host, "notes", "put", key="a", value=b"", space="default"), "denied")
        assert host.problems == [
            "manifests/notes.toml: kv is granted, and only kv:mine requested; the rest has no effect"
        ]


async def test_an_import_whose_capability_is_not_requested_is_an_error_at_load(home: Path) -> None:
    write(home, "notes", relay(), requests=None)
    async with open_host(home, watch=False) as host:
        with pytest.raises(RejectedError, match="innkeeper_kv_"):
            await host.plugins["notes"].call("get", b"")


async def test_a_grant_for_other_bytes_gives_nothing(home: Path) -> None:
    write(home, "notes", relay())
    (home / "plugins" / "notes.wasm").write_bytes(relay("other"))
    async with open_host(home, watch=False) as host:
        refused(await ask(host, "notes", "get", key="a"), "denied")
        assert any("changed since it was granted" in problem for problem in host.problems)


async def test_a_grant_that_goes_is_in_force_from_the_next_call_on(home: Path) -> None:
    write(home, "notes", relay())
    async with opened(home) as host:
        assert await ask(host, "notes", "put", key="a", value=b"x") == {"ok": {"version": 1}}
        (home / "manifests" / "notes.toml").unlink()
        await host.reload()
        refused(await ask(host, "notes", "get", key="a"), "denied")


async def test_a_manifest_beside_it_that_requests_more_gives_the_same_bytes_more_to_import(home: Path) -> None:
    write(home, "notes", relay(), requests=None)
    async with open_host(home, watch=False) as host:
        with pytest.raises(RejectedError):
            await host.plugins["notes"].call("get", b"")
        write(home, "notes", relay())
        await host.reload()
        assert await ask(host, "notes", "get", key="a") == {"ok": None}


async def test_plugins_do_not_see_each_others_values_nor_one_key_space_anothers(home: Path) -> None:
    write(home, "one", relay())
    write(home, "two", relay())
    async with opened(home) as host:
        await ask(host, "one", "put", key="a", value=b"one")
        await ask(host, "one", "put", key="a", value=b"space", space="s")
        assert await ask(host, "two", "get", key="a") == {"ok": None}
        assert await ask(host, "two", "list") == {"ok": {"keys": []}}
        assert (await ask(host, "one", "get", key="a"))["ok"]["value"] == b"one"
        assert (await ask(host, "one", "get", key="a", space="s"))["ok"]["value"] == b"space"


async def test_a_version_that_is_in_the_way_is_named(home: Path) -> None:
    write(home, "notes", relay())
    async with opened(home) as host:
        assert await ask(host, "notes", "put", key="a", value=b"1", expect=0) == {"ok": {"version": 1}}
        answer = await ask(host, "notes", "put", key="a", value=b"2", expect=0)
        refused(answer, "conflict")
        assert answer["error"]["current"] == 1
        assert await ask(host, "notes", "put", key="a", value=b"2", expect=1) == {"ok": {"version": 2}}


WRONG = {
    "nothing": b"",
    "not msgpack": b"\xc1",
    "cut short": msgpack.packb({"key": "a"})[:-1],
    "more than one value": msgpack.packb({"key": "a"}) * 2,
    "a list": msgpack.packb(["a"]),
    "no key": msgpack.packb({}),
    "a key of bytes": msgpack.packb({b"key": "a"}),
    "a number for a text": msgpack.packb({"key": 1}),
    "bytes for a text": msgpack.packb({"key": b"a"}),
    "an argument too many": msgpack.packb({"key": "a", "plugin": "other"}),
    "an empty key": msgpack.packb({"key": ""}),
    "a long key": msgpack.packb({"key": "k" * 257}),
    "a control character": msgpack.packb({"key": "a\n"}),
    "a long space": msgpack.packb({"key": "a", "space": "s" * 65}),
    "an extension type": msgpack.packb({"key": msgpack.ExtType(5, b"x")}),
    "a time stamp": msgpack.packb({"key": msgpack.Timestamp(1)}),
    "a deep nest": b"\x91" * 900 + b"\xc0",
    "a million elements": b"\xdd\x00\x0f\x42\x40" + b"\xc0" * 1_000_000,
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
async def test_whatever_a_guest_gives_is_checked_before_the_service_sees_it(home: Path, data: bytes) -> None:
    write(home, "notes", relay())
    async with opened(home) as host:
        message = refused(await told(host, "notes", "get", data), "invalid")
        assert len(message) < 600


async def test_new_bytes_whose_request_was_forgotten_come_into_service_as_soon_as_the_manifest_has_it(
    home: Path,
) -> None:
    write(home, "notes", EMPTY, requests=None)
    async with open_host(home, watch=False) as host:
        await host.plugins["notes"].call("get", b"")
        write(home, "notes", relay(), requests=None)
        await host.reload()
        assert any("innkeeper_kv_" in problem for problem in host.problems)
        write(home, "notes", relay())
        await host.reload()
        assert host.problems == []
        assert await ask(host, "notes", "get", key="a") == {"ok": None}


async def test_a_manifest_that_takes_away_what_the_bytes_import_leaves_the_version_before_in_service(
    home: Path,
) -> None:
    write(home, "notes", relay())
    async with open_host(home, watch=False) as host:
        assert await ask(host, "notes", "put", key="a", value=b"x") == {"ok": {"version": 1}}
        write(home, "notes", relay(), requests=None)
        await host.reload()
        assert any("innkeeper_kv_" in problem and "stays in service" in problem for problem in host.problems)
        assert (await ask(host, "notes", "get", key="a"))["ok"]["value"] == b"x"


async def test_a_call_that_is_cancelled_while_the_store_cannot_be_opened_ends_at_once(home: Path) -> None:
    write(home, "notes", relay())
    state = home / STATE
    state.mkdir(mode=0o700)
    with locked(state / f"{FILE}.lock") as lock:
        async with opened(home) as host:
            with trio.move_on_after(0.1) as scope:
                await ask(host, "notes", "get", key="a")
            assert scope.cancelled_caught
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert await ask(host, "notes", "get", key="a") == {"ok": None}


async def test_a_store_that_cannot_be_opened_is_a_refusal_without_a_path_and_tried_again_later(home: Path) -> None:
    write(home, "notes", relay())
    (home / STATE).write_text("not a folder")
    async with opened(home) as host:
        for _ in range(3):
            assert refused(await ask(host, "notes", "get", key="a"), "failed") == "kv.get failed"
        (home / STATE).unlink()
        with trio.fail_after(60):
            while "error" in await ask(host, "notes", "get", key="a"):  # noqa: ASYNC110 (a second that must pass)
                await trio.sleep(0.05)


async def test_many_at_once_each_get_their_own_answer(home: Path) -> None:
    write(home, "notes", relay())
    answers: dict[int, Any] = {}

    async def one(number: int) -> None:
        await ask(host, "notes", "put", key=f"k{number}", value=str(number).encode())
        answers[number] = (await ask(host, "notes", "get", key=f"k{number}"))["ok"]["value"]

    async with opened(home) as host, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(one, number)
    assert answers == {number: str(number).encode() for number in range(100)}
