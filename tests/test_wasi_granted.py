"""Clocks, random numbers and folders as a granted plugin has them: through the real host, no more than was granted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from innkeeper.bridge.host import open_host
from innkeeper.plugins import home as home_module
from innkeeper.plugins.home import open_home
from innkeeper.plugins.settings import FilesSettings
from innkeeper.sandbox.engine import FiberEngine
from innkeeper.sandbox.wasi import Errno, tree_quota
from innkeeper.sandbox.wasi.abi import OpenFlag, Right
from wasi_scripts import (
    DATA,
    PATH,
    RESULT,
    At,
    Said,
    opening,
    path_step,
    reading,
    said,
    say,
    script,
    use_folders,
    write_plugin,
    writing,
)

READ, WRITE = int(Right.FD_READ), int(Right.FD_WRITE)
CREAT, DIRECTORY = int(OpenFlag.CREAT), int(OpenFlag.DIRECTORY)

NAMES = script(
    *[("fd_prestat_get", 3 + each, RESULT + 16 * each) for each in range(4)],
    *[("fd_prestat_dir_name", 3 + each, DATA + 64 * each, 64) for each in range(4)],
)
"""Asks for the names of four preopened folders; the buffer is as large as none of them."""

CLOCK = script(("clock_time_get", 0, 0, RESULT), ("clock_time_get", 1, 0, RESULT + 8))
RANDOM = script(("random_get", DATA, 32))
ADDS = script(*opening("note.txt", how=CREAT, rights=WRITE), ("fd_seek", At(RESULT), 0, 2, 0x910), *writing(b"x" * 100))
READS = script(*opening("note.txt"), *reading())


class House:
    """A home, and the folders behind user:// and shared://, which lie outside of it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.user, self.shared = path / "home", path / "user", path / "shared"
        for folder in (self.home, self.user, self.shared):
            folder.mkdir()
        self._package, self._monkeypatch = path / "package", monkeypatch
        self.settings()

    def settings(self, **more: object) -> None:
        given: dict[str, object] = {"roots": {"user": str(self.user), "shared": str(self.shared)}} | more
        use_folders(self._monkeypatch, self._package, FilesSettings(**given))  # type: ignore[arg-type]

    def plugin(self, wasm: bytes, *capabilities: str, **more: str) -> None:
        write_plugin(self.home, "demo", wasm, requests=capabilities, grants=capabilities, **more)

    async def says(self, problems: int = 0) -> Said:
        async with open_host(self.home, watch=False) as host:
            assert len(host.problems) == problems, host.problems
            return await say(host, "demo")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


def folders_of(found: Said) -> list[str]:
    sizes = [found.number(RESULT + 16 * each + 4) for each in range(4) if found.answers[each] is Errno.SUCCESS]
    assert all(answer is Errno.BADF for answer in found.answers[len(sizes) : 4])
    return [found.memory[DATA + 64 * at : DATA + 64 * at + size].decode() for at, size in enumerate(sizes)]


async def test_a_granted_clock_is_the_hosts(house: House) -> None:
    house.plugin(CLOCK, "clock")
    before = time.time_ns() - 1000
    found = await house.says()
    assert before <= found.number(RESULT, 8) <= time.time_ns()


async def test_granted_random_numbers_are_others_each_time(house: House) -> None:
    house.plugin(RANDOM, "random")
    async with open_host(house.home, watch=False) as host:
        seen = {(await say(host, "demo")).memory[DATA : DATA + 32] for _ in range(4)}
    assert len(seen) == 4


async def test_each_right_is_given_by_itself(house: House) -> None:
    both = script(("clock_time_get", 0, 0, RESULT), ("random_get", DATA, 32), ("fd_prestat_get", 3, RESULT + 8))
    house.plugin(both, "clock")
    async with open_host(house.home, watch=False) as host:
        first, second = await say(host, "demo"), await say(host, "demo")
        assert first.number(size=8) < second.number(size=8)
        assert first.memory[DATA : DATA + 32] == second.memory[DATA : DATA + 32]
        assert first.answers[2] is Errno.BADF
        house.plugin(both, "random")
        await host.reload()
        first, second = await say(host, "demo"), await say(host, "demo")
        assert first.number(size=8) == second.number(size=8)
        assert first.memory[DATA : DATA + 32] != second.memory[DATA : DATA + 32]
        assert first.answers[2] is Errno.BADF


@pytest.mark.parametrize(
    ("capabilities", "names"),
    [
        (["files.read:user://notes"], ["/user/notes"]),
        (["files.read:user://"], ["/user"]),
        (["files.read:shared://a/b", "files.read:user://x"], ["/shared/a/b", "/user/x"]),
        (["files.read:user://", "files.read:user://notes"], ["/user"]),
        (["files.read:user://", "files.write:user://notes"], ["/user", "/user/notes"]),
        (["files.write:user://", "files.read:user://notes"], ["/user", "/user/notes"]),
        (["files.read:user://a", "files.write:user://a", "files.write:user://a/b"], ["/user/a"]),
        (["files.read:user://a", "files.read:user://ab"], ["/user/a", "/user/ab"]),
        (["files.read:user://Straße 1/ä"], ["/user/Straße 1/ä"]),
    ],
)
async def test_a_folder_has_a_name_that_its_scope_says(house: House, capabilities: list[str], names: list[str]) -> None:
    house.plugin(NAMES, *capabilities)
    assert folders_of(await house.says()) == names


async def test_what_may_be_read_is_read_and_not_written(house: House) -> None:
    (house.user / "notes").mkdir()
    (house.user / "notes" / "note.txt").write_text("hello")
    house.plugin(READS, "files.read:user://notes")
    found = await house.says()
    assert found.answers[:2] == [Errno.SUCCESS, Errno.SUCCESS]
    assert found.memory[DATA : DATA + found.number(0x908)] == b"hello"
    tries = [
        *opening("note.txt", rights=WRITE),
        *opening("new", how=CREAT, rights=WRITE),
        *path_step("path_unlink_file", 3, "note.txt"),
        *path_step("path_create_directory", 3, "sub"),
        *path_step("path_filestat_set_times", 3, "note.txt", 0, 0, 5, before=(0,)),
        ("path_rename", 3, PATH, 3, 3, PATH, 3),
    ]
    house.plugin(script(*tries), "files.read:user://notes")
    assert set((await house.says()).answers[:6]) == {Errno.NOTCAPABLE}
    assert os.listdir(house.user / "notes") == ["note.txt"]


async def test_what_may_be_written_alone_is_not_read_by_any_way(house: House) -> None:
    (house.user / "box").mkdir()
    (house.user / "box" / "secret").write_text("secret")
    (house.user / "box" / "mine").mkdir()
    (house.user / "box" / "link").symlink_to("secret")
    steps = [
        *opening("note.txt", how=CREAT, rights=WRITE),
        *writing(b"kept"),
        *reading(),
        *opening("secret", rights=READ),
        *opening("secret", rights=READ | WRITE),
        *opening("secret", rights=0),
        *opening(".", how=DIRECTORY, rights=READ, result=0x920),
        ("fd_readdir", At(0x920), DATA, 100, 0, 0x908),
        *path_step("path_readlink", 3, "link", DATA, 100, 0x908),
        # It may read below: what it moved there it would have read.
        ("path_rename", 3, PATH, 4, 3, PATH, 4),
        ("path_rename", 3, PATH, 4, 4, PATH, 4),
        ("path_rename", 3, PATH, 4, At(0x920), PATH, 4),
    ]
    house.plugin(script(*steps), "files.write:user://box", "files.read:user://box/mine")
    found = await house.says()
    assert found.answers[:3] == [Errno.SUCCESS, Errno.SUCCESS, Errno.NOTCAPABLE]
    assert found.answers[3:6] == [Errno.NOTCAPABLE] * 3
    assert found.answers[6] is Errno.SUCCESS
    assert set(found.answers[7:12]) == {Errno.NOTCAPABLE}
    assert b"secret" not in found.memory[DATA : DATA + 200]
    assert (house.user / "box" / "note.txt").read_text() == "kept"


async def test_a_folder_to_read_with_one_to_write_in_it_is_written_there_alone(house: House) -> None:
    steps = [
        *opening("note.txt", how=CREAT, rights=WRITE, descriptor=4),
        *writing(b"in"),
        *opening("notes/other", how=CREAT, rights=WRITE, descriptor=3),
        *opening("notes/note.txt", rights=READ, descriptor=3),
        *reading(),
        *opening("../secret", rights=READ, descriptor=4),
    ]
    (house.user / "secret").write_text("s")
    house.plugin(script(*steps), "files.read:user://", "files.write:user://notes")
    found = await house.says()
    success = Errno.SUCCESS
    assert found.answers[:6] == [success, success, Errno.NOTCAPABLE, success, success, Errno.NOTCAPABLE]
    assert found.memory[DATA : DATA + 2] == b"in"
    assert os.listdir(house.user / "notes") == ["note.txt"]


async def test_a_folder_to_write_that_is_not_there_is_made_and_one_to_read_is_not(house: House) -> None:
    house.plugin(ADDS, "files.write:user://a/b")
    assert (await house.says()).answers[0] is Errno.SUCCESS
    assert (house.user / "a" / "b" / "note.txt").read_bytes() == b"x" * 100
    house.plugin(READS, "files.read:user://c/d")
    assert (await house.says()).answers[0] is Errno.NOENT
    assert not (house.user / "c").exists()


@pytest.mark.parametrize("linked", ["a", "a/b"])
@pytest.mark.parametrize("capability", ["files.read", "files.write"])
async def test_a_link_on_the_way_to_a_granted_folder_is_not_followed(
    house: House, tmp_path: Path, capability: str, linked: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "note.txt").write_text("secret")
    (outside / "b" / "note.txt").write_text("secret")
    (house.user / linked).parent.mkdir(exist_ok=True)
    (house.user / linked).symlink_to(outside)
    house.plugin(READS if capability == "files.read" else ADDS, f"{capability}:user://a/b")
    assert (await house.says()).answers[0] is Errno.LOOP
    assert (outside / "note.txt").read_text() == (outside / "b" / "note.txt").read_text() == "secret"


async def test_the_operators_own_folder_may_be_a_link_and_a_file_is_no_folder(house: House, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(house.user)
    house.settings(roots={"user": str(tmp_path / "link")})
    house.plugin(ADDS, "files.write:user://")
    assert (await house.says()).answers[0] is Errno.SUCCESS
    assert (house.user / "note.txt").exists()
    house.plugin(READS, "files.read:user://note.txt")
    assert (await house.says()).answers[0] is Errno.NOTDIR


# --- what is not there ----------------------------------------------------------------------------------------------


async def problem_of(house: House, capability: str) -> str:
    house.plugin(NAMES, capability)
    async with open_host(house.home, watch=False) as host:
        assert folders_of(await say(host, "demo")) == []
        (problem,) = host.problems
        return problem


async def test_a_root_that_is_not_set_or_not_there_is_said_with_its_setting_and_the_guest_lacks_it(
    house: House, tmp_path: Path
) -> None:
    house.settings(roots={})
    assert await problem_of(house, "files.read:user://notes") == (
        "manifests/demo.toml: user://notes: granted, and not there: user:// has no folder: set files.roots.user in "
        "innkeeper.toml to an absolute path"
    )
    missing = str(tmp_path / "missing")
    house.settings(roots={"shared": missing})
    assert await problem_of(house, "files.write:shared://") == (
        "manifests/demo.toml: shared://: granted, and not there: files.roots.shared in innkeeper.toml is "
        f"{missing!r}, which is no folder: make it, and start the host again"
    )
    house.settings(roots={"user": "notes"})
    assert "must be an absolute path" in await problem_of(house, "files.read:user://")


async def test_roots_inside_of_each_other_are_given_to_nobody(house: House) -> None:
    house.settings(roots={"user": str(house.user), "shared": str(house.user.parent)})
    for root in ("user", "shared"):
        assert "lie inside of each other" in await problem_of(house, f"files.read:{root}://")


async def test_no_grant_of_files_reaches_grants_plugins_or_what_others_keep(house: House, tmp_path: Path) -> None:
    house.plugin(NAMES, "clock")
    (house.home / "files").mkdir()
    (tmp_path / "link").symlink_to(house.home)
    roots = [house.home, house.home / "manifests", house.home / "other", tmp_path, tmp_path / "link"]
    for root in roots:
        root.mkdir(exist_ok=True)
    for root in (*roots, Path("/"), Path("/proc")):
        house.settings(roots={"user": str(root)})
        assert "files of the host's own" in await problem_of(house, "files.write:user://")
    house.settings(roots={"user": str(tmp_path)})
    for beneath in ("home", "HOME", "home/Plugins", "package/x", "Home/Files"):
        assert "files of the host's own" in await problem_of(house, f"files.read:user://{beneath}")
    house.plugin(NAMES, "files.read:user://home/files/plugins")
    assert folders_of(await house.says()) == ["/user/home/files/plugins"]
    # A folder below one that is not given is there all the same.
    house.plugin(NAMES, "files.read:user://", "files.read:user://user/a", "files.read:user://user/a/b")
    assert folders_of(await house.says(problems=1)) == ["/user/user/a"]
    # Where plugins lie elsewhere, that place counts.
    elsewhere = tmp_path / "user" / "elsewhere"
    (house.home / "plugins").rename(elsewhere)
    (house.home / "plugins").symlink_to(elsewhere)
    house.settings()
    assert "files of the host's own" in await problem_of(house, "files.write:user://elsewhere")


@pytest.mark.parametrize("name", ["plugins", "manifests"])
def test_no_grant_of_files_reaches_what_lies_beside_the_code_of_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    monkeypatch.setattr(home_module, "_PACKAGE", checkout / "host" / "innkeeper")
    for folder in (checkout / name / "below", checkout / "samples", home):
        folder.mkdir(parents=True)
    settings = home / "innkeeper.toml"
    settings.write_text(f'[files.roots]\nuser = "{checkout}"\n')
    folders = open_home(home).folders
    assert folders.root("user", "samples") == checkout
    for beneath in (name, f"{name}/below"):
        with pytest.raises(ValueError, match="files of the host's own"):
            folders.root("user", beneath)


def test_no_grant_of_files_reaches_the_cache_that_an_option_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An option goes before the variable, and who can write to a cache decides which machine code runs.
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "innkeeper.toml").write_text(f'[files.roots]\nuser = "{tmp_path}"\n')
    monkeypatch.setenv("INNKEEPER_CACHE", str(tmp_path / "of-the-variable"))
    token = home_module.OPTIONS.set({"cache": str(tmp_path / "of-the-option")})
    try:
        folders = open_home(tmp_path / "home").folders
    finally:
        home_module.OPTIONS.reset(token)
    assert folders.root("user", "of-the-variable") == tmp_path
    with pytest.raises(ValueError, match="files of the host's own"):
        folders.root("user", "of-the-option")


async def test_a_plugin_has_at_most_as_many_folders_as_leave_it_descriptors(house: House) -> None:
    house.plugin(NAMES, *(f"files.read:user://{number:02}" for number in range(40)))
    async with open_host(house.home, watch=False) as host:
        assert host.problems == ["manifests/demo.toml: a plugin has at most 32 folders; user://32 is not there"]
        assert folders_of(await say(host, "demo"))[3] == "/user/03"


# --- grants that change ---------------------------------------------------------------------------------------------


async def test_another_grant_is_in_force_at_the_next_call_and_compiles_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str | None] = []
    load = FiberEngine.load

    async def counted(self: FiberEngine, *arguments: object, **named: object) -> object:
        loads.append("load")
        return await load(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(FiberEngine, "load", counted)
    asks = ("files.read:user://", "clock")
    async with open_host(house.home, watch=False) as host:
        for grants in ((), ("files.read:user://",), ("files.read:user://notes", "clock"), (), None):
            write_plugin(house.home, "demo", NAMES, requests=asks, grants=grants)
            await host.reload()
            names = {"files.read:user://": "/user", "files.read:user://notes": "/user/notes"}
            expected = [names[each] for each in grants or () if each in names]
            assert folders_of(await say(host, "demo")) == expected
            # A call with a configuration of its own has the same rights.
            result = await host.plugins["demo"].call("run", config={"a": "b"})
            assert folders_of(said(result.output)) == expected
    assert len(loads) == 1


async def test_a_grant_that_changes_ends_a_shared_guest(house: House) -> None:
    wasm = script(
        *opening(".", how=DIRECTORY, rights=READ, result=0x920), more='(global (export "kept") i32 (i32.const 1))'
    )
    shared = {"more": 'instance = "shared"', "extra": 'instance = "shared"'}
    asks = ("files.read:user://",)
    async with open_host(house.home, watch=False) as host:
        write_plugin(house.home, "demo", wasm, requests=asks, grants=asks, **shared)
        await host.reload()
        assert host.plugins["demo"].instance == "shared"
        assert [(await say(host, "demo")).number(0x920) for _ in range(2)] == [4, 5]
        write_plugin(house.home, "demo", wasm, requests=asks, grants=(), **shared)
        await host.reload()
        assert (await say(host, "demo")).answers[0] is Errno.BADF
        write_plugin(house.home, "demo", wasm, requests=asks, grants=asks, **shared)
        await host.reload()
        assert (await say(host, "demo")).number(0x920) == 4


# --- over many calls ------------------------------------------------------------------------------------------------


async def test_a_plugin_cannot_fill_the_disk_however_often_it_is_called(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    (house.user / "box").mkdir()
    (house.user / "box" / "mine").write_bytes(b"o" * 1000)
    house.settings(quota=1000, entries=5, folder_bytes=20_000, folder_entries=100)
    house.plugin(ADDS, "files.write:user://box", "files.read:user://box")
    # In two hosts: nothing but the folder itself has to be remembered.
    for expected in (190, 0):
        async with open_host(house.home, watch=False) as host:
            written = 0
            for _ in range(500):
                found = await say(host, "demo")
                assert found.answers[2] in (Errno.SUCCESS, Errno.DQUOT)
                written += found.answers[2] is Errno.SUCCESS
            assert written == expected
    assert (house.user / "box" / "note.txt").stat().st_size == 19_000
    said_so = [each.getMessage() for each in caplog.records if "holds as much as a folder may" in each.getMessage()]
    assert len(said_so) == 2
    assert said_so[0].startswith("user://box holds as much as a folder may (20000 bytes, 100 files and folders)")
    # Once there is room again, it goes on.
    (house.user / "box" / "mine").unlink()
    assert (await house.says()).answers[2] is Errno.SUCCESS


async def test_a_plugin_cannot_make_names_without_end(house: House) -> None:
    house.settings(entries=50, folder_entries=60)
    asks = ["files.write:user://"]

    def makes(name: str) -> bytes:
        return script(*[step for each in range(30) for step in path_step("path_create_directory", 3, f"{name}{each}")])

    async with open_host(house.home, watch=False) as host:
        for name, made in (("a", 30), ("b", 30), ("c", 0)):
            house.plugin(makes(name), *asks)
            await host.reload()
            answers = (await say(host, "demo")).answers[:30]
            assert answers.count(Errno.SUCCESS) == made
            assert answers.count(Errno.DQUOT) == 30 - made
    assert len(os.listdir(house.user)) == 60


async def test_what_a_plugin_removes_may_be_written_again_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is.
    monkeypatch.setattr(tree_quota, "CHEAP", 1e9)
    house.settings(folder_bytes=1000)
    steps = [
        *opening("a", how=CREAT, rights=WRITE),
        *writing(b"x" * 900),
        *opening("b", how=CREAT, rights=WRITE, result=0x920),
        *writing(b"y" * 900, At(0x920)),
        *path_step("path_unlink_file", 3, "a"),
        *writing(b"y" * 900, At(0x920)),
    ]
    house.plugin(script(*steps), "files.write:user://")
    async with open_host(house.home, watch=False) as host:
        for _ in range(20):
            ok, full = Errno.SUCCESS, Errno.DQUOT
            assert (await say(host, "demo")).answers[:6] == [ok, ok, ok, full, ok, ok]
            (house.user / "b").unlink()
