"""What services cost to begin with is paid in a thread, and only for those that a plugin requests."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from innkeeper.bridge import offer as offer_module
from innkeeper.bridge.bridge import bridge_of
from innkeeper.bridge.host import open_host
from innkeeper.bridge.offer import SERVICES, operations, operations_of_service, prepare, service_of
from innkeeper.plugins import home as home_module
from innkeeper.plugins.capabilities import KINDS
from relays import get, install, relay


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    (folder / "plugins").mkdir(parents=True)
    return folder


def test_each_capability_is_named_after_the_service_that_it_is_for() -> None:
    for each in operations():
        assert service_of(each.capability) == each.service
        assert each.capability in KINDS
    for name in SERVICES:
        assert SERVICES[name]().name == name


async def test_a_host_makes_the_services_that_are_requested_and_no_others(home: Path) -> None:
    install(home, "notes", relay("kv"), ["kv:own"])
    async with open_host(home, watch=False) as host:
        await get(host, "notes", "put", space="own", key="k", value=b"v")
        offer = bridge_of(host)._offer
        assert offer is not None
        assert offer._services.keys() == {"kv"}
        install(home, "teller", relay("events"), ["events.publish:t", "events.subscribe:t"])
        await host.reload()
        await get(host, "teller", "publish", topic="t", data=1)
        assert offer._services.keys() == {"kv", "events"}


async def test_the_first_plugin_that_requests_services_finds_them_ready_when_it_comes_into_service(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in: list[bool] = []
    read = offer_module.operations_of

    def watched(service: type, name: str) -> object:
        try:
            trio.lowlevel.current_task()
            read_in.append(True)
        except RuntimeError:
            read_in.append(False)
        return read(service, name)

    operations_of_service.cache_clear()
    monkeypatch.setattr(offer_module, "operations_of", watched)
    async with open_host(home, watch=False) as host:
        assert read_in == []
        for name, scope in (("kv", "kv:own"), ("events", "events.publish:t"), ("scheduler", "scheduler.read")):
            install(home, name, relay(name), [scope])
        operations_of_service.cache_clear()
        read_in.clear()
        await host.reload()
        assert read_in == [False, False, False], "trio's thread read the operations of a service"


def test_preparing_again_costs_nothing() -> None:
    prepare(KINDS)
    begun = time.perf_counter()
    for _ in range(100):
        prepare(KINDS)
    assert time.perf_counter() - begun < 1.0


def test_who_asks_for_one_service_imports_no_other() -> None:
    code = (
        "import json, sys; from innkeeper.bridge.offer import prepare; prepare(['kv']); "
        "print(json.dumps([name for name in sys.modules if name.startswith('innkeeper.')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    names = json.loads(done.stdout)
    assert "innkeeper.bridge.kv" in names
    for other in ("http", "events", "scheduler", "kb", "call", "secret_store"):
        assert f"innkeeper.bridge.{other}" not in names
    assert not any(name.startswith("innkeeper.storage.database") for name in names)
