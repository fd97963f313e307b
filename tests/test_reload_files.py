"""However a file comes to be another, broken or gone: what is read is whole, and nothing else suffers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from innkeeper import Plugin, UsageError
from innkeeper.plugins import files as files_module
from innkeeper.plugins import home as home_module
from innkeeper.plugins import reading as reading_module
from innkeeper.plugins.home import open_home
from innkeeper.plugins.listing import list_home
from innkeeper.plugins.reading import PATIENCE, read_home
from reload_homes import Inn, answer, manifest


@pytest.fixture
def inn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inn:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return Inn(tmp_path / "home")


def rename_over(path: Path, data: bytes) -> None:
    path.with_name("new").write_bytes(data)
    os.replace(path.with_name("new"), path)


def truncate_and_write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def delete_and_create(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def with_the_times_of_before(path: Path, data: bytes) -> None:
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def exchange_the_folder(path: Path, data: bytes) -> None:
    other = path.parent.with_name("other")
    other.mkdir()
    (other / path.name).write_bytes(data)
    os.rename(path.parent, path.parent.with_name("old"))
    os.rename(other, path.parent)


REPLACEMENTS = [rename_over, truncate_and_write, delete_and_create, with_the_times_of_before, exchange_the_folder]


@pytest.mark.parametrize("replace", REPLACEMENTS)
@pytest.mark.parametrize("watch", [False, True])
async def test_a_file_is_replaced(inn: Inn, replace: Callable[[Path, bytes], None], watch: bool) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host(watch=watch) as host:
        plugin = host.plugins["p"]
        assert await answer(plugin) == "one"
        replace(path, inn.plugin("two"))
        if watch:
            await inn.until("changed")
        else:
            await host.reload()
        assert host.plugins["p"] is plugin
        assert await answer(plugin) == "two"
        assert [change.kind for change in inn.said] == ["changed"]


async def test_a_folder_of_plugins_that_is_a_link_may_be_pointed_elsewhere(inn: Inn) -> None:
    inn.put("v1/p.wasm", inn.plugin("one"))
    inn.put("v2/p.wasm", inn.plugin("two"))
    (inn.path / "plugins").rmdir()
    os.symlink("v1", inn.path / "plugins")
    async with inn.host() as host:
        plugin = host.plugins["p"]
        assert await answer(plugin) == "one"
        os.symlink("v2", inn.path / "next")
        os.replace(inn.path / "next", inn.path / "plugins")
        assert [change.kind for change in await host.reload()] == ["changed"]
        assert (host.plugins["p"] is plugin, await answer(plugin)) == (True, "two")
        inn.put("v3/p.wasm", inn.plugin("two"))
        os.symlink("v3", inn.path / "next")
        os.replace(inn.path / "next", inn.path / "plugins")
        assert await host.reload() == []
        assert plugin.path == inn.path / "v3/p.wasm"


async def test_a_grant_that_is_a_link_is_followed_to_what_it_leads_to(inn: Inn) -> None:
    wasm = inn.plugin("one")
    inn.put("plugins/p.wasm", wasm)
    inn.grant("../v1/p", wasm, '[config]\nk = "1"\n')
    inn.grant("../v2/p", wasm, '[config]\nk = "2"\n')
    os.symlink("../v1/p.toml", inn.path / "manifests/p.toml")
    async with inn.host() as host:
        assert host.plugins["p"].config == {"k": "1"}
        os.symlink("../v2/p.toml", inn.path / "manifests/next")
        os.replace(inn.path / "manifests/next", inn.path / "manifests/p.toml")
        await host.reload()
        assert host.plugins["p"].config == {"k": "2"}
        (inn.path / "v2/p.toml").unlink()
        await host.reload()
        assert (host.plugins["p"].config, host.plugins["p"].grant_state) == ({}, "unusable")


def a_fifo(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link_out_of_the_folder(path: Path, outside: Path) -> None:
    path.unlink()
    os.symlink(outside, path)


def text(path: Path, _: Path) -> None:
    path.write_bytes(b"(module)")


def nothing(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def half_of_it(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def a_broken_manifest_beside(path: Path, _: Path) -> None:
    path.with_suffix(".toml").write_text("id = 3")


def a_folder_as_manifest(path: Path, _: Path) -> None:
    path.with_suffix(".toml").mkdir()


def a_link_as_manifest(path: Path, outside: Path) -> None:
    os.symlink(outside, path.with_suffix(".toml"))


BREAKS = [
    a_fifo, a_link_out_of_the_folder, text, nothing, half_of_it, a_broken_manifest_beside, a_folder_as_manifest,
    a_link_as_manifest,
]  # fmt: skip


@pytest.mark.parametrize("spoil", BREAKS)
async def test_a_file_that_cannot_be_used_leaves_the_version_before_it_in_service(
    inn: Inn, spoil: Callable[[Path, Path], None]
) -> None:
    wasm = inn.plugin("one")
    path = inn.put("plugins/p.wasm", wasm)
    outside = inn.put("outside", inn.plugin("outside"))
    inn.put("plugins/other.wasm", inn.plugin("other"))
    async with inn.host() as host:
        plugin = host.plugins["p"]
        assert await answer(plugin) == "one"
        spoil(path, outside)
        first = await host.reload()
        assert first
        assert {change.kind for change in first} == {"problem"}
        assert all(change.text.startswith("plugins/p") for change in first)
        assert all(change.text.endswith("; the version before it stays in service") for change in first)
        assert host.problems == [change.text for change in first]
        assert await host.reload() == []
        assert await answer(plugin) == "one"
        assert await answer(host.plugins["other"]) == "other"
        # Whatever lies there goes, and the file is back.
        for each in (path, path.with_suffix(".toml")):
            if each.is_dir():
                each.rmdir()
            else:
                each.unlink(missing_ok=True)
        path.write_bytes(inn.plugin("two"))
        await host.reload()
        assert (host.problems, host.plugins["p"] is plugin, await answer(plugin)) == ([], True, "two")


async def test_a_file_that_became_a_folder_or_a_link_to_a_plugin_beside_it_is_gone(inn: Inn) -> None:
    inn.put("plugins/real.wasm", inn.plugin("real"))
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        path.unlink()
        path.mkdir()
        assert [change.kind for change in await host.reload()] == ["removed"]
        path.rmdir()
        path.write_bytes(inn.plugin("two"))
        await host.reload()
        assert await answer(host.plugins["p"]) == "two"
        path.unlink()
        os.symlink("real.wasm", path)
        assert [change.kind for change in await host.reload()] == ["removed"]
        assert (list(host.plugins), host.problems) == (["real"], [])


async def test_a_file_that_may_not_be_read_any_more_leaves_the_version_before_it_in_service(
    inn: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    real = os.open

    def refuse(name: str | Path, *given: int, **more: int) -> int:
        if os.fspath(name) == os.fspath(path):
            raise PermissionError(13, "Permission denied")
        return real(name, *given, **more)

    async with inn.host() as host:
        plugin = host.plugins["p"]
        await answer(plugin)
        monkeypatch.setattr(files_module.os, "open", refuse)
        path.chmod(0)
        sentence = "plugins/p.wasm: cannot be read: permission denied; the version before it stays in service"
        assert [change.text for change in await host.reload()] == [sentence]
        assert await host.reload() == []
        assert await answer(plugin) == "one"
        monkeypatch.undo()
        path.chmod(0o600)
        assert await host.reload() == []
        assert (host.problems, await answer(plugin), len(inn.engine.loads)) == ([], "one", 1)


async def test_a_folder_that_may_not_be_read_any_more_takes_no_plugin_away(
    inn: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    wasm = inn.plugin("one")
    path = inn.put("plugins/deep/p.wasm", wasm)
    inn.grant("p", wasm, '[config]\nk = "v"\n')
    real = os.scandir

    def refuse(name: str) -> object:
        if os.fspath(name) == os.fspath(path.parent):
            raise PermissionError(13, "Permission denied")
        return real(name)

    async with inn.host() as host:
        plugin = host.plugins["p"]
        monkeypatch.setattr("innkeeper.plugins.listing.os.scandir", refuse)
        await host.reload()
        assert host.problems == ["plugins/deep: cannot be read: Permission denied"]
        assert (await answer(plugin), plugin.config) == ("one", {"k": "v"})
        # What its operator takes away is taken away all the same.
        (inn.path / "manifests/p.toml").unlink()
        await host.reload()
        assert (await answer(plugin), plugin.config) == ("one", {})


async def test_folders_that_do_not_exist_yet_are_seen_when_they_do(inn: Inn) -> None:
    for folder in ("plugins", "manifests"):
        (inn.path / folder).rmdir()
    async with inn.host(watch=True) as host:
        wasm = inn.plugin("one")
        inn.grant("p", wasm, '[config]\nk = "v"\n')
        inn.put("plugins/p.wasm", wasm)
        await inn.until("added")
        assert (await answer(host.plugins["p"]), host.plugins["p"].config) == ("one", {"k": "v"})


async def test_a_watched_home_is_followed_without_being_asked(inn: Inn) -> None:
    async with inn.host(watch=True) as host:
        wasm = inn.plugin("one", manifest=manifest("p", "T"))
        path = inn.put("plugins/p.wasm", wasm)
        await inn.until("added")
        plugin = host.plugins["p"]
        grant = inn.grant("p", wasm, '[config]\nk = "v"\n')
        await inn.until("changed")
        assert plugin.config == {"k": "v"}
        grant.unlink()
        await inn.until("changed", count=2)
        assert plugin.config == {}
        path.write_bytes(b"")
        await inn.until("problem")
        assert await answer(plugin) == "one"
        path.unlink()
        await inn.until("removed")
        with pytest.raises(UsageError, match="was removed"):
            await plugin.call("say")
        assert host.node_types() == []


async def test_without_watching_nothing_is_followed_unless_it_is_asked_for(inn: Inn) -> None:
    async with inn.host() as host:
        inn.put("plugins/p.wasm", inn.plugin("one"))
        await trio.sleep(0.5)
        assert list(host.plugins) == []


# --- when files are read, without a clock ---------------------------------------------------------------------------


def test_a_file_is_read_when_two_looks_saw_the_same_and_never_later_than_the_fourth(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    home = open_home(inn.path)
    known = read_home(home)
    first = known.files["plugins/p.wasm"].held
    path.write_bytes(inn.plugin("one more"))
    known = read_home(home, known, at_once=False)
    assert known.files["plugins/p.wasm"].held is first
    known = read_home(home, known, at_once=False)
    second = known.files["plugins/p.wasm"].held
    assert second is not first
    for number in range(PATIENCE):
        path.write_bytes(inn.plugin("x" * (number + 10)))
        known = read_home(home, known, at_once=False)
        assert known.files["plugins/p.wasm"].held is second
    path.write_bytes(inn.plugin("y" * 99))
    known = read_home(home, known, at_once=False)
    assert known.files["plugins/p.wasm"].held is not second
    assert known.waiting == {}


def test_a_file_that_is_replaced_by_removing_it_first_is_not_gone_meanwhile(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    home = open_home(inn.path)
    known = read_home(home)
    path.unlink()
    known = read_home(home, known, at_once=False)
    assert list(known.files) == ["plugins/p.wasm"]
    assert list(read_home(home, known, at_once=False).files) == []
    path.write_bytes(inn.plugin("two"))
    known = read_home(home, known, at_once=False)
    assert list(known.files) == ["plugins/p.wasm"]
    path.unlink()
    assert list(read_home(home, known, at_once=True).files) == []


def test_a_grant_waits_for_the_file_that_it_comes_with_but_goes_at_once(inn: Inn) -> None:
    first, second = inn.plugin("one"), inn.plugin("two")
    path = inn.put("plugins/p.wasm", first)
    grant = inn.grant("p", first)
    home = open_home(inn.path)
    known = read_home(home)
    # First the grant, a look later the file.
    inn.grant("p", second, "# longer\n")
    known = read_home(home, known, at_once=False)
    path.write_bytes(second)
    known = read_home(home, known, at_once=False)
    held = known.grants[0]["p"].held
    assert held is not None
    assert held.grant is not None
    assert held.grant.sha256 == known.files["plugins/p.wasm"].held.content.split()[0]
    known = read_home(home, known, at_once=False)
    held = known.grants[0]["p"].held
    assert held is not None
    assert held.grant is not None
    assert held.grant.sha256 == known.files["plugins/p.wasm"].held.content.split()[0]
    grant.unlink()
    assert read_home(home, known, at_once=False).grants[0] == {}


def test_what_was_read_is_not_read_again(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        wasm = inn.plugin(str(number))
        inn.put(f"plugins/p{number}.wasm", wasm)
        inn.grant(f"p{number}", wasm)
    old = 1_000_000_000
    for path in (*inn.path.glob("plugins/*"), *inn.path.glob("manifests/*")):
        os.utime(path, (old, old))
    # The time of the last change cannot be set: nothing is doubted here but by that one.
    monkeypatch.setattr(reading_module, "newest", lambda _: old * 10**9)
    home = open_home(inn.path)
    known = read_home(home)
    monkeypatch.setattr(reading_module, "read_plugin_bytes", None)
    monkeypatch.setattr(reading_module, "read_grant", None)
    for at_once in (True, False):
        again = read_home(home, known, at_once=at_once)
        assert again.says_the_same(known)


def test_what_was_touched_just_before_it_was_read_is_read_once_more(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    inn.put("plugins/p.wasm", inn.plugin("one"))
    home = open_home(inn.path)
    known = read_home(home)
    doubt = known.files["plugins/p.wasm"].doubt
    assert doubt is not None
    known = read_home(home, known, at_once=False)
    assert known.files["plugins/p.wasm"].doubt == doubt
    monkeypatch.setattr(reading_module.time, "monotonic", lambda: doubt + 1)
    known = read_home(home, known, at_once=False)
    assert known.files["plugins/p.wasm"].doubt is None


def test_too_much_of_everything_is_not_read(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(inn.plugin("0"))
    monkeypatch.setattr(reading_module, "MAX_TOTAL", 3 * size)
    for number in range(5):
        inn.put(f"plugins/p{number}.wasm", inn.plugin(str(number)))
    home = open_home(inn.path)
    known = read_home(home)
    assert len(known.files) == 3
    assert known.excess == ("plugins/p3.wasm",)
    assert len(list_home(home).files) == 5
    (inn.path / "plugins/p0.wasm").unlink()
    assert len(read_home(home, known).files) == 3


async def test_a_plugin_that_is_gone_is_not_kept_by_its_host(inn: Inn) -> None:
    import gc
    import weakref

    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        held: weakref.ref[Plugin] = weakref.ref(host.plugins["p"])
        await answer(host.plugins["p"])
        path.unlink()
        await host.reload()
        gc.collect()
        assert held() is None
