"""All well-behaved guests of the conformance table do the same with and without memory, whatever they show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance_guests import GUESTS, Call
from guests import assemble
from innkeeper import InnkeeperError, Plugin
from innkeeper.bridge.bridge import bridge_of
from innkeeper.bridge.host import open_host


async def outcome(plugin: Plugin, call: Call, memo: bool) -> tuple[Any, ...]:
    """What the caller sees of a call, but for its times; and whether it was remembered."""
    limits = replace(plugin.limits, **{"cpu": 20.0, "wall": 60.0, **call.limits})
    try:
        result = await plugin.call(call.function, call.data, limits=limits, config=call.config, memo=memo)
    except InnkeeperError as error:
        return type(error), str(error), getattr(error.usage, "log", None), False
    usage = result.usage
    seen = (usage.memory, usage.host_calls, usage.system_calls, usage.bytes_in, usage.bytes_out, usage.log_dropped)
    return result.output, usage.log, seen, usage.remembered


async def test_with_and_without_memory_every_guest_does_the_same(tmp_path: Path) -> None:
    (tmp_path / "innkeeper.toml").write_text("[memo]\ndisk = 0\n")
    hits = 0
    async with open_host(tmp_path, catalogue=False, watch=False) as host:
        for guest in GUESTS:
            modules = {name: assemble(text) for name, text in guest.modules.items()}
            try:
                plugin = await host.load(assemble(guest.module), functions=guest.functions, modules=modules)
            except InnkeeperError:
                continue
            assert plugin.pure == (not guest.modules and not guest.functions), guest.name
            for call in guest.calls if plugin.pure else ():
                without = [await outcome(plugin, call, False) for _ in range(2)]
                remembering = [await outcome(plugin, call, True) for _ in range(2)]
                assert [each[:-1] for each in without + remembering] == [without[0][:-1]] * 4, guest.name
                hits += remembering[1][-1]
            await plugin.aclose()
        memory = bridge_of(host).remembered
        assert memory is not None
        assert memory.hits >= hits > 100
