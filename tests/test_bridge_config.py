"""The service `config`: what the call's configuration says, as Extism's `config_get` does, and nothing of others'."""

from __future__ import annotations

from pathlib import Path

import msgpack

from bridge_guests import ask, home, opened, refused, relay, write

__all__ = ["home"]

READER = """(func (export "extism") (local $b i64)
  (local.set $b (call $config_get (call $input_offset)))
  (call $output_set (local.get $b) (call $length (local.get $b))))"""


async def test_a_guest_reads_what_its_grant_says_as_through_extism(home: Path) -> None:
    wasm = relay("config", more=READER, env="config_get")
    write(home, "one", wasm, grant='[config]\nlanguage = "en"\nb = ""\n')
    write(home, "two", wasm, grant='[config]\nlanguage = "de"\n')
    async with opened(home) as (host, _):
        assert await ask(host, "one", "config_get", key="language") == {"ok": "en"}
        assert await ask(host, "one", "config_get", key="b") == {"ok": ""}
        assert await ask(host, "one", "config_get", key="none") == {"ok": None}
        assert await ask(host, "one", "config_all") == {"ok": {"b": "", "language": "en"}}
        assert await ask(host, "two", "config_all") == {"ok": {"language": "de"}}
        assert (await host.plugins["one"].call("extism", b"language")).output == b"en"


async def test_a_call_s_own_configuration_goes_before_and_ends_with_it(home: Path) -> None:
    for name, more in (("fresh", ""), ("shared", 'instance = "shared"\n')):
        write(home, name, relay("config"), grant=f'{more}[config]\na = "grant"\nz = "z"\n', manifest=more)
    async with opened(home) as (host, _):
        for plugin in host.plugins.values():
            result = await plugin.call("config_all", msgpack.packb({}), config={"a": "call", "m": "m"})
            # The bytes themselves: their order is that of the keys, and no other.
            assert result.output == msgpack.packb({"ok": {"a": "call", "m": "m", "z": "z"}})
            assert await ask(host, plugin.id, "config_get", key="a") == {"ok": "grant"}


async def test_a_key_that_is_none_is_refused(home: Path) -> None:
    write(home, "one", relay("config"))
    async with opened(home) as (host, _):
        for key in ("k" * 257, 1, b"a", None):
            refused(await ask(host, "one", "config_get", key=key), "invalid")
        refused(await ask(host, "one", "config_all", plugin="two"), "invalid")
