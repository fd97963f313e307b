"""A user's files: whole at any time, changed by one at a time, and no path leads out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.errors import RejectedError, UsageError
from innkeeper.server.answers import AnswerError
from innkeeper.server.chats import local_folder
from innkeeper.server.chats.folder import ChangedError
from innkeeper.server.chats.local_folder import LocalFolder, LocalFolders


def folder_of(root: Path) -> LocalFolder:
    return LocalFolder(root, trio.CapacityLimiter(8))


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def test_what_was_written_is_read_with_its_stamp(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "u")
    assert await folder.read("a", "b.json", most=10) is None
    assert await folder.stat("a", "b.json") is None
    assert await folder.items("a", most=10) == []
    stamp = await folder.write_atomic("a", "b.json", data=b"one")
    assert await folder.read("a", "b.json", most=10) == (b"one", stamp)
    assert [(item.name, item.stamp, item.is_folder) for item in await folder.items("a", most=10)] == [
        ("b.json", stamp, False)
    ]
    # What others must not read is not theirs.
    assert (tmp_path / "u" / "a" / "b.json").stat().st_mode & 0o077 == 0
    assert (tmp_path / "u" / "a").stat().st_mode & 0o077 == 0


async def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    await folder.write_atomic("a", data=b"0123456789")
    with pytest.raises(RejectedError, match="at most 9"):
        await folder.read("a", most=9)


async def test_of_many_who_expect_the_same_file_one_writes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for stamp in (None, await folder.write_atomic("old", data=b"0")):
        name = "new" if stamp is None else "old"
        won: list[int] = []

        async def write(number: int, name: str = name, stamp: object = stamp, won: list[int] = won) -> None:
            try:
                await folder.write_atomic(name, data=b"%d" % number, expected=stamp)  # type: ignore[arg-type]
            except ChangedError:
                return
            won.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(1, 9):
                nursery.start_soon(write, number)
        (number,) = won
        found = await folder.read(name, most=10)
        assert found is not None
        assert found[0] == b"%d" % number


async def test_a_file_never_has_the_stamp_of_an_earlier_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    stamps = [await folder.write_atomic("a", data=b"same") for _ in range(50)]
    assert len({(stamp.inode, stamp.modified) for stamp in stamps}) == 50
    assert len({stamp.modified for stamp in stamps}) == 50


async def test_what_is_gone_is_not_made_again_by_a_change(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    stamp = await folder.write_atomic("p", "chats", "s", data=b"1")
    (tmp_path / "p" / "chats" / "s").unlink()
    (tmp_path / "p" / "chats").rmdir()
    with pytest.raises(ChangedError):
        await folder.write_atomic("p", "chats", "s", data=b"2", expected=stamp)
    assert not (tmp_path / "p" / "chats").exists()
    with pytest.raises(ChangedError):
        await folder.delete("p", "chats", "s", expected=stamp)


async def test_what_is_moved_lands_where_nothing_was(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    stamp = await folder.write_atomic("a", "s", data=b"1")
    await folder.write_atomic("bin", "s", data=b"older")
    with pytest.raises(ChangedError):
        await folder.move(("a", "s"), ("bin", "s"))
    await folder.move(("a", "s"), ("bin", "deep", "s"), stamp)
    assert (tmp_path / "bin" / "s").read_bytes() == b"older"
    assert (tmp_path / "bin" / "deep" / "s").read_bytes() == b"1"
    with pytest.raises(ChangedError):
        await folder.move(("a", "s"), ("bin", "t"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0", "a\n", "x" * 256, "é" * 128, "\ud800"])
async def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path)
    for ask in (
        lambda: folder.read(name, most=1),
        lambda: folder.read("a", name, most=1),
        lambda: folder.write_atomic(name, "x", data=b""),
        lambda: folder.items(name, most=1),
        lambda: folder.delete(name),
        lambda: folder.stat("a", name),
        lambda: folder.move(("a",), (name,)),
        lambda: folder.move((name,), ("a",)),
    ):
        with pytest.raises(AnswerError) as refused:
            await ask()
        assert refused.value.status == 400
    assert names(tmp_path) == []


_NAMES = st.text(max_size=12) | st.sampled_from(["..", ".", "link", "file-link", "a/../..", "real"])


@given(st.lists(_NAMES, min_size=1, max_size=4))
def test_no_path_reads_or_writes_outside_even_through_planted_links(
    tmp_path_factory: pytest.TempPathFactory, path: list[str]
) -> None:
    base = tmp_path_factory.mktemp("base")
    outside, root = base / "outside", base / "root"
    (outside / "sub").mkdir(parents=True)
    (outside / "secret").write_bytes(b"secret")
    root.mkdir()
    (root / "real").mkdir()
    for place in (root, root / "real"):
        (place / "link").symlink_to(outside)
        (place / "file-link").symlink_to(outside / "secret")

    async def main() -> None:
        folder = folder_of(root)
        for more in ([], ["secret"], ["sub", "new"]):
            whole = (*path, *more)
            with suppress(AnswerError):
                found = await folder.read(*whole, most=100)
                assert found is None or found[0] != b"secret"
            with suppress(AnswerError, UsageError):
                await folder.write_atomic(*whole, data=b"mine")
                await folder.delete(*whole)

    trio.run(main)
    assert sorted(each.name for each in outside.rglob("*")) == ["secret", "sub"]
    assert (outside / "secret").read_bytes() == b"secret"


async def test_a_link_with_the_name_of_a_file_is_neither_followed_nor_listed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    folder = folder_of(tmp_path / "u")
    await folder.write_atomic("a", data=b"a")
    (tmp_path / "u" / "s.json").symlink_to(secret)
    assert await folder.read("s.json", most=10) is None
    assert [item.name for item in await folder.items(most=10)] == ["a"]
    await folder.write_atomic("s.json", data=b"mine")
    assert secret.read_bytes() == b"secret"
    assert not (tmp_path / "u" / "s.json").is_symlink()


async def test_a_pipe_is_no_file_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.json")
    with trio.fail_after(30):
        assert await folder_of(tmp_path).read("s.json", most=10) is None


@pytest.mark.parametrize("uid", ["", "..", "a/b", "a.b", "x" * 65, "ä"])
async def test_a_user_id_that_is_no_name_has_no_folder(tmp_path: Path, uid: str) -> None:
    with pytest.raises(AnswerError):
        LocalFolders(tmp_path)(uid)


@pytest.mark.parametrize("broken", ["fsync", "rename"])
async def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    folder = folder_of(tmp_path)
    await folder.write_atomic("a", data=b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(local_folder.os, broken, fail)
        with pytest.raises(Exception, match="disk is full"):
            await folder.write_atomic("a", data=b"new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


_WRITER = """
import sys, trio
from pathlib import Path
from innkeeper.server.chats.local_folder import LocalFolder

async def main():
    folder = LocalFolder(Path(sys.argv[1]), trio.CapacityLimiter(1))
    number = 0
    while True:
        number += 1
        await folder.write_atomic("s.json", data=b"%08d" % number * 20000)
        print(number, flush=True)

trio.run(main)
"""


def test_a_writer_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    for count in range(6):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(3 + 2 * count):
                last = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split()
        last = int(rest[-1]) if rest else last
        data = (tmp_path / "s.json").read_bytes()
        assert len(data) == 8 * 20000
        assert data == data[:8] * 20000
        # What it had said is there, and what it had not yet said may be.
        assert int(data[:8]) in (last, last + 1)
    # What a crash left has one name, and is used again.
    assert len(names(tmp_path)) <= 2
    trio.run(_write_once, tmp_path)
    assert names(tmp_path) == ["s.json"]


async def _write_once(root: Path) -> None:
    await folder_of(root).write_atomic("s.json", data=b"whole")
