"""What services and called plugins write into the log of a call is in its journal, and in its replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bridge_guests
from bridge_guests import asks, depends, guest, write
from innkeeper import open_host
from innkeeper.bridge.journal.format import read_journal
from innkeeper.bridge.journal.model import Given, Journal
from innkeeper.bridge.journal.replay import replay
from innkeeper.bridge.journal.shelf import open_shelf
from innkeeper.plugins.home import open_home

home = bridge_guests.home


async def kept(home: Path) -> list[Journal]:
    async with open_shelf(open_home(home)) as shelf:
        found = [await shelf.get(head.id) for head in reversed(await shelf.list(10))]
    return [read_journal(each[1]) for each in found if each is not None]


def says(text: str, times: int = 1, **more: Any) -> bytes:
    """A guest whose `run` logs a text through the service, so many times."""
    once = asks("once", "log_write", message=text, **more).replace('(export "once")', "$once")
    return guest(f'{once} (func (export "run") {"(call $once)" * times})', "log")


async def test_what_the_service_log_wrote_is_the_same_in_a_replay(home: Path) -> None:
    # The last ones are cut in the midst of a character, and dropped.
    loud = says("é" * 1000, times=80, fields={"a": 1})
    write(home, "loud", loud)
    async with open_host(home, watch=False, journal="all") as host:
        result = await host.plugins["loud"].call("run")
        assert len(result.usage.log) > 50
        assert result.usage.log_dropped > 10_000
    (journal,) = await kept(home)
    assert list(journal.log) == result.usage.log
    async with open_host(home, watch=False) as host:
        verdict = await replay(journal, loud, host.engine)
        assert verdict.same
        assert verdict.whole
        assert verdict.calls == 80
        other = await replay(journal, says("è" * 1000, times=80, fields={"a": 1}), host.engine)
        assert other.departure is not None


async def test_what_a_called_plugin_logged_is_the_same_in_a_replay_in_which_it_is_not_called(home: Path) -> None:
    above = guest(asks("run", "call_invoke", plugin="below", function="run"), "call")
    write(home, "below", says("from below"))
    write(home, "above", above, has=["call:below"])
    async with open_host(home, watch=False, journal="all") as host:
        depends(host, "above", below=">=0")
        result = await host.plugins["above"].call("run")
        assert result.usage.log == [("info", "below: from below")]
    # The inner call ends first.
    below, journal = await kept(home)
    assert (below.plugin, journal.plugin) == ("below", "above")
    (call,) = journal.calls
    assert isinstance(call.answer, Given)
    assert call.answer.logged is not None
    assert call.answer.logged.lines == (("info", "below: from below"),)
    (home / "plugins" / "below.wasm").unlink()
    async with open_host(home, watch=False) as host:
        assert (await replay(journal, above, host.engine)).same
        assert (await replay(below, says("from below"), host.engine)).same
