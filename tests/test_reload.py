"""A host follows its files: a plugin stays one object, a call stays with what it began with."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio

from fakes import FakeGuest, ship
from innkeeper import GuestError, LimitError, Limits, RejectedError, UsageError
from innkeeper.plugins import home as home_module
from reload_homes import Inn, answer, answer_into, manifest

SHARED = 'instance = "shared"\n'


@pytest.fixture
def inn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inn:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return Inn(tmp_path / "home")


class Gate:
    """A guest's function that says that it began, and goes on when it may."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.began = trio.Event()
        self.may_go_on = trio.Event()

    async def __call__(self, guest: FakeGuest, _: bytes) -> bytes:
        self.began.set()
        await self.may_go_on.wait()
        guest.state["count"] = guest.state.get("count", 0) + 1
        return f"{self.text} {guest.state['count']} {guest.config.get('k')}".encode()


# --- plugins come, change and go ------------------------------------------------------------------------------------


async def test_a_plugin_that_appears_changes_and_goes_is_followed(inn: Inn) -> None:
    async with inn.host() as host:
        assert (list(host.plugins), await host.reload()) == ([], [])
        path = inn.put("plugins/deep/p.wasm", inn.plugin("one"))
        assert [change.kind for change in await host.reload()] == ["added"]
        plugin = host.plugins["p"]
        assert await answer(plugin) == "one"
        digest = plugin.digest
        path.write_bytes(inn.plugin("two"))
        changes = await host.reload()
        assert [(change.kind, change.plugin, change.parts) for change in changes] == [("changed", "p", ("file",))]
        assert changes[0].text == "plugins/deep/p.wasm: the new file is in service"
        assert host.plugins["p"] is plugin
        assert plugin.digest != digest
        assert await answer(plugin) == "two"
        path.unlink()
        assert [change.kind for change in await host.reload()] == ["removed"]
        assert list(host.plugins) == []
        with pytest.raises(UsageError, match=r"plugins/deep/p\.wasm: was removed, .*; put the file back to call it"):
            await plugin.call("say")
        with pytest.raises(UsageError, match=r"there is no plugin 'p': plugins/deep/p\.wasm: was removed"):
            host.plugin("p")
        assert inn.engine.open == 0
        assert host.problems == []


async def test_a_plugin_that_comes_back_is_the_same_object_to_whoever_kept_it(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        plugin = host.plugin("p")
        path.unlink()
        await host.reload()
        assert plugin.gone is not None
        path.write_bytes(inn.plugin("two"))
        await host.reload()
        assert host.plugin("p") is plugin
        assert plugin.gone is None
        assert await answer(plugin) == "two"


async def test_a_file_of_the_same_size_written_in_the_same_instant_is_not_missed(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("a"))
    async with inn.host() as host:
        for letter in "bcdefghijklmnop":
            path.write_bytes(inn.plugin(letter))
            await host.reload()
            assert await answer(host.plugins["p"]) == letter


async def test_a_file_that_was_only_touched_changes_nothing(inn: Inn) -> None:
    wasm = inn.plugin("one")
    path = inn.put("plugins/p.wasm", wasm)
    async with inn.host() as host:
        await answer(host.plugins["p"])
        path.unlink()
        path.write_bytes(wasm)
        assert await host.reload() == []
        assert len(inn.engine.loads) == 1


async def test_a_plugin_that_nobody_called_is_not_compiled_for_its_new_file(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        path.write_bytes(inn.plugin("two"))
        await host.reload()
        assert inn.engine.loads == []
        assert await answer(host.plugins["p"]) == "two"
        assert len(inn.engine.loads) == 1


async def test_a_manifest_that_appears_changes_and_goes_is_followed(inn: Inn) -> None:
    inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        plugin = host.plugins["p"]
        await answer(plugin)
        beside = inn.put("plugins/p.toml", manifest("p", "T"))
        assert [change.parts for change in await host.reload()] == [("manifest",)]
        assert host.node("p:T")[0] is plugin
        assert plugin.manifest is not None
        beside.write_text(manifest("p", "U"))
        await host.reload()
        assert host.node_types() == ["p:U"]
        beside.unlink()
        await host.reload()
        assert host.node_types() == []
        assert plugin.manifest is None
        # The bytes were the same all the time.
        assert await answer(plugin) == "one"
        assert len(inn.engine.loads) == 1


async def test_a_manifest_with_another_id_makes_another_plugin_of_the_file(inn: Inn) -> None:
    inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        old = host.plugins["p"]
        await answer(old)
        inn.put("plugins/p.toml", manifest("q"))
        assert {(change.kind, change.plugin) for change in await host.reload()} == {("removed", "p"), ("added", "q")}
        assert await answer(host.plugins["q"]) == "one"
        with pytest.raises(UsageError, match=r"plugins/p\.wasm: has the id 'q' now"):
            await old.call("say")


async def test_a_closed_plugin_stays_closed_though_its_file_changes(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        plugin = host.plugins["p"]
        await answer(plugin)
        await plugin.aclose()
        path.write_bytes(inn.plugin("two"))
        await host.reload()
        with pytest.raises(UsageError, match="the plugin is closed"):
            await plugin.call("say")


async def test_a_plugin_that_is_closed_while_it_is_compiled_leaves_no_code(inn: Inn) -> None:
    inn.put("plugins/p.wasm", inn.plugin("one"))
    inn.engine.compiling = trio.Event()
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin = host.plugins["p"]

        async def compile() -> None:
            with pytest.raises(UsageError, match="the plugin is closed"):
                await plugin.compile()

        nursery.start_soon(compile)
        await inn.engine.until_asked(1)
        await plugin.aclose()
        inn.engine.compiling.set()
    assert len(inn.engine.made) == 1


# --- calls and versions ---------------------------------------------------------------------------------------------


async def test_a_call_that_runs_finishes_on_the_old_bytes_and_their_code_goes_with_it(inn: Inn) -> None:
    gate = Gate("old")
    path = inn.put("plugins/p.wasm", inn.plugin("one", {"wait": gate}))
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin, found = host.plugins["p"], list[str]()
        nursery.start_soon(answer_into, found, plugin, "wait")
        await gate.began.wait()
        path.write_bytes(inn.plugin("two"))
        await host.reload()
        assert await answer(plugin) == "two"
        old, new = inn.engine.made
        assert (old.closed, new.closed) == (False, False)
        gate.may_go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert found == ["old 1 None"]
        assert (old.closed, new.closed) == (True, False)


async def test_a_call_of_a_plugin_that_goes_finishes(inn: Inn) -> None:
    gate = Gate("old")
    path = inn.put("plugins/p.wasm", inn.plugin("one", {"wait": gate}))
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin, found = host.plugins["p"], list[str]()
        nursery.start_soon(answer_into, found, plugin, "wait")
        await gate.began.wait()
        path.unlink()
        await host.reload()
        with pytest.raises(UsageError, match="was removed"):
            await plugin.call("wait")
        gate.may_go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert found == ["old 1 None"]
        assert inn.engine.open == 0


async def test_a_call_that_waits_for_the_old_code_to_be_compiled_gets_it(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    inn.engine.compiling = trio.Event()
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin, found = host.plugins["p"], list[str]()
        nursery.start_soon(answer_into, found, plugin)
        await trio.testing.wait_all_tasks_blocked()
        path.write_bytes(inn.plugin("two"))
        nursery.start_soon(host.reload)
        await inn.engine.until_asked(2)
        inn.engine.compiling.set()
        await host.reload()
        assert found == ["one"]
        assert await answer(plugin) == "two"


async def test_the_old_version_serves_while_the_new_one_is_compiled(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin = host.plugins["p"]
        assert await answer(plugin) == "one"
        path.write_bytes(inn.plugin("two"))
        inn.engine.compiling = trio.Event()
        nursery.start_soon(host.reload)
        await inn.engine.until_asked(2)
        assert await answer(plugin) == "one"
        inn.engine.compiling.set()
        await host.reload()
        assert await answer(plugin) == "two"


@pytest.mark.parametrize("stubborn", [True, False])
async def test_of_versions_that_come_while_one_is_compiled_the_last_is_put_in_service(inn: Inn, stubborn: bool) -> None:
    inn.engine.stubborn = stubborn
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin = host.plugins["p"]
        await answer(plugin)
        inn.engine.compiling = trio.Event()
        for number, text in enumerate(("two", "three", "four"), 2):
            path.write_bytes(inn.plugin(text))
            nursery.start_soon(host.reload)
            if stubborn and number > 2:
                # It is seen, and waits for the one before it.
                await inn.until_looked(host)
            else:
                await inn.engine.until_asked(number)
        inn.engine.compiling.set()
        await host.reload()
        assert await answer(plugin) == "four"
        assert inn.texts("changed").count("plugins/p.wasm: the new file is in service") == 1
        assert inn.engine.open == 1


async def test_a_file_that_is_back_before_the_other_was_compiled_was_never_gone(inn: Inn) -> None:
    first = inn.plugin("one")
    path = inn.put("plugins/p.wasm", first)
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin = host.plugins["p"]
        await answer(plugin)
        inn.engine.compiling = trio.Event()
        path.write_bytes(inn.plugin("two"))
        nursery.start_soon(host.reload)
        await inn.engine.until_asked(2)
        path.write_bytes(first)
        await host.reload()
        inn.engine.compiling.set()
        assert await answer(plugin) == "one"
        assert inn.said == []


@pytest.mark.parametrize("more", ["", SHARED])
async def test_a_call_that_was_made_ready_by_another_manifest_is_refused_where_that_matters(
    inn: Inn, more: str
) -> None:
    wasm = inn.plugin("one")
    inn.put("plugins/p.wasm", wasm)
    beside = inn.put("plugins/p.toml", manifest("p", "T", more=more))
    inn.grant("p", wasm, more)
    async with inn.host() as host:
        plugin = host.plugins["p"]
        before = plugin.manifest
        beside.write_text(manifest("p", "T", more=f'{more}name = "another"'))
        await host.reload()
        assert plugin.manifest != before
        assert (await plugin.call("say", manifest=before)).output == b"one"
        for text in (
            manifest("p", "U", more=more),
            manifest("p", more=more),
            manifest("p", "T", more=f'{more}codec = "json"'),
        ):
            beside.write_text(text)
            await host.reload()
            with pytest.raises(UsageError, match="the plugin changed since the call was made ready"):
                await plugin.call("say", manifest=before)
            assert await answer(plugin) == "one"


# --- shared guests --------------------------------------------------------------------------------------------------


async def test_a_shared_guest_finishes_its_call_and_who_waits_gets_the_new_one(inn: Inn) -> None:
    old, new = Gate("old"), Gate("new")
    new.may_go_on.set()
    text = manifest("p", more=SHARED)
    first = inn.plugin("one", {"wait": old}, manifest=text)
    second = inn.plugin("two", {"wait": new}, manifest=text)
    path = inn.put("plugins/p.wasm", first)
    inn.grant("p", first, SHARED)
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin, found = host.plugins["p"], list[str]()
        assert plugin.instance == "shared"
        nursery.start_soon(answer_into, found, plugin, "wait")
        await old.began.wait()
        for _ in range(2):
            nursery.start_soon(answer_into, found, plugin, "wait")
        await trio.testing.wait_all_tasks_blocked()
        path.write_bytes(second)
        inn.grant("p", second, SHARED)
        await host.reload()
        await trio.testing.wait_all_tasks_blocked()
        # One call at a time, also of two versions.
        assert not new.began.is_set()
        old.may_go_on.set()
        await new.began.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert found == ["old 1 None", "new 1 None", "new 2 None"]
        assert (inn.engine.live, inn.engine.open) == (1, 1)


async def test_a_shared_guest_keeps_its_state_as_long_as_nothing_of_it_changes(inn: Inn) -> None:
    gate = Gate("it")
    gate.may_go_on.set()
    first = inn.plugin("one", {"wait": gate}, manifest=manifest("p", more=SHARED))
    inn.put("plugins/p.wasm", first)
    inn.grant("p", first, SHARED)
    async with inn.host() as host:
        plugin = host.plugins["p"]
        assert (await plugin.call("wait")).output == b"it 1 None"
        inn.grant("p", first, f"{SHARED}# a remark\n")
        assert await host.reload() == []
        assert (await plugin.call("wait")).output == b"it 2 None"
        inn.grant("p", first, f'{SHARED}[config]\nk = "v"\n')
        await host.reload()
        assert (await plugin.call("wait")).output == b"it 1 v"
        assert inn.engine.live == 1
        # Without the leave to keep one it has a fresh guest for each call.
        inn.grant("p", first)
        await host.reload()
        assert plugin.instance == "fresh"
        assert inn.engine.live == 0
        for _ in range(2):
            assert (await plugin.call("wait")).output == b"it 1 None"


async def test_a_shared_guest_that_is_replaced_while_it_starts_answers_its_call_and_ends(inn: Inn) -> None:
    text = manifest("p", more=SHARED)
    first, second = (inn.plugin(each, manifest=text) for each in ("one", "two"))
    path = inn.put("plugins/p.wasm", first)
    inn.grant("p", first, SHARED)
    inn.engine.opening = trio.Event()
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin, found = host.plugins["p"], list[str]()
        nursery.start_soon(answer_into, found, plugin)
        await trio.testing.wait_all_tasks_blocked()
        path.write_bytes(second)
        inn.grant("p", second, SHARED)
        await host.reload()
        inn.engine.opening.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (found, inn.engine.live) == (["one"], 0)
        assert await answer(plugin) == "two"


async def test_a_shared_guest_that_ended_is_another_after_a_reload(inn: Inn) -> None:
    async def trap(_: FakeGuest, __: bytes) -> bytes:
        raise GuestError("the guest trapped: unreachable")

    text = manifest("p", more=SHARED)
    first, second = (inn.plugin(each, {"trap": trap}, manifest=text) for each in ("one", "two"))
    path = inn.put("plugins/p.wasm", first)
    inn.grant("p", first, SHARED)
    async with inn.host() as host:
        plugin = host.plugins["p"]
        for _ in range(2):
            with pytest.raises(GuestError):
                await plugin.call("trap")
        path.write_bytes(second)
        inn.grant("p", second, SHARED)
        await host.reload()
        assert await answer(plugin) == "two"


async def test_a_call_inside_of_a_shared_guests_call_is_refused_though_the_version_changed(inn: Inn) -> None:
    text = manifest("p", more=SHARED)

    async def again(_: FakeGuest, __: bytes) -> bytes:
        path.write_bytes(second)
        inn.grant("p", second, SHARED)
        await host.reload()
        with pytest.raises(UsageError, match="from within its own call"):
            await plugin.call("say")
        with pytest.raises(UsageError, match="from within its own call"):
            await plugin.restart()
        return b"refused"

    first, second = inn.plugin("one", {"again": again}, manifest=text), inn.plugin("two", manifest=text)
    path = inn.put("plugins/p.wasm", first)
    inn.grant("p", first, SHARED)
    async with inn.host() as host:
        plugin = host.plugins["p"]
        assert (await plugin.call("again")).output == b"refused"
        assert await answer(plugin) == "two"


# --- grants ---------------------------------------------------------------------------------------------------------


async def test_a_grant_that_comes_changes_and_goes_counts_for_the_next_call_and_for_none_that_runs(inn: Inn) -> None:
    gate = Gate("it")
    wasm = inn.plugin("one", {"wait": gate})
    inn.put("plugins/p.wasm", wasm)
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin, found = host.plugins["p"], list[str]()
        path = inn.grant("p", wasm, '[limits]\nwall = 100\noutput = 40\n[config]\nk = "v"\n')
        assert [change.parts for change in await host.reload()] == [("grant",)]
        assert (plugin.grant_state, plugin.limits.wall, plugin.config) == ("granted", 100, {"k": "v"})
        nursery.start_soon(answer_into, found, plugin, "wait")
        await gate.began.wait()
        inn.grant("p", wasm, "[limits]\noutput = 1\nwall = 0.01")
        await host.reload()
        with pytest.raises(LimitError):
            await answer(plugin)
        path.unlink()
        await host.reload()
        assert (plugin.grant, plugin.grant_state, plugin.limits, plugin.config) == (None, "none", Limits(), {})
        assert await answer(plugin) == "one"
        gate.may_go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert found == ["it 1 v"]
        # Nothing of this needed another compilation.
        assert len(inn.engine.loads) == 1


async def test_a_grant_for_the_bytes_before_is_not_used_for_the_bytes_after(inn: Inn) -> None:
    first, second = inn.plugin("one"), inn.plugin("two")
    path = inn.put("plugins/p.wasm", first)
    inn.grant("p", first, '[config]\nk = "v"\n')
    async with inn.host() as host:
        plugin = host.plugins["p"]
        assert await answer(plugin) == "one"
        path.write_bytes(second)
        await host.reload()
        assert (plugin.grant_state, plugin.config, await answer(plugin)) == ("changed", {}, "two")
        changed = "manifests/p.toml: the file changed since it was granted; the grant is not used"
        assert host.problems == [changed]
        assert inn.texts("problem") == [changed]
        inn.grant("p", second, '[config]\nk = "w"\n')
        await host.reload()
        assert (plugin.grant_state, plugin.config, host.problems) == ("granted", {"k": "w"}, [])


@pytest.mark.parametrize("text", ["x = [", "[limits]\nmemory = '64GiB'", "[limits]\nmemry = 1"])
async def test_a_broken_grant_gives_nothing_at_once(inn: Inn, text: str) -> None:
    wasm = inn.plugin("one")
    inn.put("plugins/p.wasm", wasm)
    inn.grant("p", wasm, '[config]\nk = "v"\n')
    async with inn.host() as host:
        plugin = host.plugins["p"]
        inn.grant("p", wasm, text)
        await host.reload()
        assert (plugin.grant_state, plugin.config) == ("unusable", {})
        assert len(host.problems) == 1
        assert inn.texts("problem") == host.problems
        await host.reload()
        assert inn.texts("problem") == host.problems


async def test_the_old_bytes_keep_their_grant_while_those_that_are_granted_now_are_compiled(inn: Inn) -> None:
    first, second = inn.plugin("one"), inn.plugin("two")
    path = inn.put("plugins/p.wasm", first)
    inn.grant("p", first, '[config]\nk = "v"\n')
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin = host.plugins["p"]
        await answer(plugin)
        path.write_bytes(second)
        inn.grant("p", second, '[config]\nk = "w"\n')
        inn.engine.compiling = trio.Event()
        nursery.start_soon(host.reload)
        await inn.engine.until_asked(2)
        assert (plugin.config, await answer(plugin)) == ({"k": "v"}, "one")
        # A grant that is taken away is taken away from both.
        (inn.path / "manifests/p.toml").unlink()
        nursery.start_soon(host.reload)
        await inn.until("changed")
        assert plugin.config == {}
        assert await answer(plugin) == "one"
        inn.engine.compiling.set()
        await host.reload()
        assert (plugin.config, plugin.grant_state, await answer(plugin)) == ({}, "none", "two")


async def test_old_bytes_that_stay_lose_a_grant_that_is_for_the_new_ones(inn: Inn) -> None:
    first, second = inn.plugin("one"), inn.plugin("two")
    del inn.engine.programs[second]
    path = inn.put("plugins/p.wasm", first)
    inn.grant("p", first, '[config]\nk = "v"\n')
    async with inn.host() as host:
        plugin = host.plugins["p"]
        await answer(plugin)
        path.write_bytes(second)
        inn.grant("p", second, '[config]\nk = "w"\n')
        await host.reload()
        assert (plugin.config, plugin.grant_state, await answer(plugin)) == ({}, "changed", "one")
        assert any("is not for the version that stays in service" in problem for problem in host.problems)
        assert len(inn.engine.loads) == 2
        # And have it again when it is theirs again.
        inn.grant("p", first, '[config]\nk = "v"\n')
        await host.reload()
        assert (plugin.config, await answer(plugin)) == ({"k": "v"}, "one")
        assert len(host.problems) == 1
        # The bytes that do not compile are not tried for each of this.
        assert len(inn.engine.loads) == 2


# --- broken files ---------------------------------------------------------------------------------------------------


async def test_a_file_that_does_not_compile_leaves_the_old_version_in_service_and_says_so_once(
    inn: Inn, caplog: pytest.LogCaptureFixture
) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        plugin = host.plugins["p"]
        await answer(plugin)
        broken = inn.plugin("two")
        del inn.engine.programs[broken]
        path.write_bytes(broken)
        sentence = "plugins/p.wasm: no module that this engine runs; the version before it stays in service"
        with caplog.at_level(logging.INFO, "innkeeper"):
            assert [change.text for change in await host.reload()] == [sentence]
        assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", sentence)]
        assert await host.reload() == []
        assert host.problems == [sentence]
        assert await answer(plugin) == "one"
        assert len(inn.engine.loads) == 2
        # Broken in another way, it is said again, be it in the same words.
        other = inn.plugin("three")
        del inn.engine.programs[other]
        path.write_bytes(other)
        assert [change.text for change in await host.reload()] == [sentence]
        path.write_bytes(inn.plugin("four"))
        assert [change.kind for change in await host.reload()] == ["changed"]
        assert (host.problems, await answer(plugin)) == ([], "four")


async def test_a_broken_file_says_so_again_when_it_is_broken_in_another_way_though_in_the_same_words(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        plugin = host.plugins["p"]
        for data in (b"text", b"other text"):
            path.write_bytes(data)
            changes = await host.reload()
            assert [(change.kind, change.plugin) for change in changes] == [("problem", "p")]
            assert "plugins/p.wasm: the file is not Wasm" in changes[0].text
            assert changes[0].text.endswith("; the version before it stays in service")
            assert host.problems == [changes[0].text]
            path.unlink()
            path.write_bytes(data)
            assert await host.reload() == []
            assert await answer(plugin) == "one"


async def test_what_was_never_called_and_does_not_compile_is_found_out_when_it_is(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        broken = inn.plugin("two")
        works = inn.engine.programs.pop(broken)
        path.write_bytes(broken)
        await host.reload()
        for _ in range(2):
            with pytest.raises(RejectedError, match=r"plugins/p\.wasm: no module"):
                await host.plugins["p"].call("say")
        # What replaces a version that never worked is not compiled before it is wanted.
        other = inn.plugin("another")
        del inn.engine.programs[other]
        path.write_bytes(other)
        await host.reload()
        assert len(inn.engine.loads) == 1
        with pytest.raises(RejectedError):
            await host.plugins["p"].call("say")
        path.write_bytes(inn.plugin("three"))
        await host.reload()
        assert await answer(host.plugins["p"]) == "three"
        assert works


async def test_a_second_file_with_the_same_id_leaves_the_first_in_service(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        plugin = host.plugins["p"]
        await answer(plugin)
        second = inn.put("plugins/more/p.wasm", inn.plugin("two"))
        assert [change.kind for change in await host.reload()] == ["problem"]
        assert "have the same id 'p'" in host.problems[0]
        assert host.problems[0].endswith("; the version before it stays in service")
        assert await answer(plugin) == "one"
        # Its grant goes on to count.
        inn.grant("p", inn.plugin("one"), '[config]\nk = "v"\n')
        await host.reload()
        assert plugin.config == {"k": "v"}
        path.unlink()
        await host.reload()
        assert (host.plugins["p"] is plugin, await answer(plugin), plugin.config) == (True, "two", {})
        second.unlink()
        await host.reload()
        assert list(host.plugins) == []


async def test_a_version_that_was_compiled_in_vain_is_there_when_it_is_wanted_again(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    inn.engine.stubborn = True
    async with inn.host() as host, trio.open_nursery() as nursery:
        plugin = host.plugins["p"]
        await answer(plugin)
        inn.engine.compiling = trio.Event()
        path.write_bytes(inn.plugin("two"))
        nursery.start_soon(host.reload)
        await inn.engine.until_asked(2)
        second = inn.put("plugins/more/p.wasm", inn.plugin("another"))
        await inn.until_looked(host)
        inn.engine.compiling.set()
        await host.reload()
        assert (await answer(plugin), inn.engine.open) == ("one", 1)
        second.unlink()
        await host.reload()
        assert (await answer(plugin), host.problems) == ("two", [])


# --- node types -----------------------------------------------------------------------------------------------------


async def test_a_node_type_stays_with_the_plugin_that_had_it_first(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    def shipped(answer: str, manifest: str) -> bytes:
        ship(monkeypatch, wasm := inn.plugin(answer, manifest=manifest))
        return wasm

    space = 'namespace = "n"'
    path = inn.put("plugins/a.wasm", shipped("a", manifest=manifest("a", "T", more=space)))
    async with inn.host() as host:
        inn.put("plugins/b.wasm", shipped("b", manifest=manifest("b", "T", "U", more=space)))
        await host.reload()
        assert host.node("n:T")[0].id == "a"
        assert host.node("n:U")[0].id == "b"
        sentence = "the node type 'n:T' stays with the plugin a, which had it first; b defines it too; remove one"
        assert host.problems == [sentence]
        assert inn.texts("problem") == [sentence]
        path.write_bytes(shipped("a2", manifest=manifest("a", "T", more=space)))
        await host.reload()
        assert host.node("n:T")[0].id == "a"
        path.unlink()
        await host.reload()
        assert (host.node("n:T")[0].id, host.problems) == ("b", [])


async def test_a_broken_plugin_keeps_its_node_types(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    def shipped(answer: str, manifest: str) -> bytes:
        ship(monkeypatch, wasm := inn.plugin(answer, manifest=manifest))
        return wasm

    path = inn.put("plugins/a.wasm", shipped("a", manifest=manifest("a", "T", more='namespace = "n"')))
    async with inn.host() as host:
        path.write_bytes(b"")
        inn.put("plugins/b.wasm", shipped("b", manifest=manifest("b", "T", more='namespace = "n"')))
        await host.reload()
        plugin, node = host.node("n:T")
        assert plugin.id == "a"
        assert (await plugin.call(node.function)).output == b"a"


async def test_the_namespace_core_stays_with_shipped_plugins(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    core = manifest("p", "T", more='namespace = "core"')
    ours = inn.plugin("ours", manifest=core)
    ship(monkeypatch, ours)
    inn.put("../package/shipped/plugins/p.wasm", ours)
    async with inn.host() as host:
        inn.put("plugins/mine.wasm", inn.plugin("mine", manifest=core.replace('"p"', '"mine"')))
        await host.reload()
        assert "mine" not in host.plugins
        inn.put("plugins/p.wasm", inn.plugin("mine", manifest=core))
        await host.reload()
        assert host.node("core:T")[0].shipped
        assert await answer(host.node("core:T")[0]) == "ours"
        assert len(inn.texts("problem")) == 2
