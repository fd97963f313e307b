"""Trees of files: no name of a client leads elsewhere, whatever links are planted; files are whole, room is bounded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from file_trees import a_tree, all_below, at
from innkeeper.server.files.bin import RecycleBin
from innkeeper.server.files.logical import MOST_DEPTH, LogicalPath, logical_path
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.staging import Staged, tidy
from innkeeper.server.files.store import FileBounds, Files
from innkeeper.server.files.tree import STAGING, Tree

NOW = 1_800_000_000.0


def reason(work: Callable[[], object]) -> str:
    """Why it is refused."""
    with pytest.raises(FileError) as refused:
        work()
    assert "/" not in refused.value.message.replace("://", "").split(": ")[-1], "a path of the host is shown"
    return refused.value.reason


def test_what_is_written_is_read_again_and_lies_below_the_users_folder(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    tree.make(at("notes/old"), parents=True)
    tree.write(at("notes/old/a.txt"), b"one")
    tree.write(at("notes/old/a.txt"), b"two")
    assert tree.read(at("notes/old/a.txt"), 10) == b"two"
    assert (tmp_path / "files/users/ada/notes/old/a.txt").read_bytes() == b"two"
    assert oct((tmp_path / "files/users/ada").stat().st_mode & 0o777) == "0o700"
    assert oct((tmp_path / "files/users/ada/notes/old/a.txt").stat().st_mode & 0o777) == "0o600"
    assert not list((tmp_path / "files/users/ada" / STAGING).iterdir())


def test_what_is_not_there_or_is_there_already_is_said(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    tree.make(at("a"))
    tree.write(at("a/f"), b"")
    assert reason(lambda: tree.read(at("b"), 1)) == "missing"
    assert reason(lambda: tree.make(at("a"))) == "taken"
    assert reason(lambda: tree.make(at("a/f"), parents=True)) == "taken"
    assert reason(lambda: tree.make(at("b/c"))) == "missing"
    assert reason(lambda: tree.write(at("a/f"), b"x", replace=False)) == "taken"
    assert reason(lambda: tree.write(at("a"), b"x")) == "unfit"
    assert reason(lambda: tree.write(at("a/f/g"), b"x")) == "unfit"
    assert reason(lambda: tree.read(at("a"), 1)) == "unfit"
    assert reason(lambda: tree.move(at("a"), at("a/b"))) == "unfit"
    assert reason(lambda: tree.move(at("a/f"), at("a"))) == "taken"
    assert reason(lambda: tree.remove(LogicalPath("user://"))) == "denied"
    assert tree.read(at("a/f"), 1) == b""


def test_a_file_that_is_larger_than_wanted_is_not_read(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    tree.write(at("f"), b"four")
    assert reason(lambda: tree.read(at("f"), 3)) == "large"


def test_links_are_followed_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    tree = a_tree(tmp_path)
    tree.make(at("in"))
    mine = tmp_path / "files/users/ada"
    (mine / "folder").symlink_to(outside)
    (mine / "file").symlink_to(outside / "secret")
    before = all_below(outside)
    assert reason(lambda: tree.read(at("file"), 100)) == "denied"
    assert reason(lambda: tree.read(at("folder/secret"), 100)) == "denied"
    assert reason(lambda: tree.write(at("folder/new"), b"x")) == "denied"
    assert reason(lambda: tree.make(at("folder/new"))) == "denied"
    assert reason(lambda: tree.page(at("folder"))) in ("denied", "unfit")
    assert reason(lambda: tree.move(at("folder/secret"), at("got"))) == "denied"
    assert reason(lambda: tree.remove(at("folder/secret"))) == "denied"
    rows, _ = tree.page(LogicalPath("user://"))
    assert [(row.name, row.kind) for row in rows] == [("file", "link"), ("folder", "link"), ("in", "directory")]
    # A link itself is replaced, moved and removed, and what it names stays.
    tree.write(at("file"), b"mine now")
    tree.move(at("folder"), at("in/moved"))
    tree.remove(at("in"))
    assert all_below(outside) == before
    assert tree.read(at("file"), 100) == b"mine now"


def test_a_users_folder_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (tmp_path / "files/users").mkdir(parents=True)
    (tmp_path / "files/users/ada").symlink_to(outside)
    tree = a_tree(tmp_path)
    assert reason(lambda: tree.read(at("secret"), 100)) == "denied"
    assert reason(lambda: tree.write(at("new"), b"")) == "denied"
    assert list(all_below(outside)) == ["secret"]


def test_a_folder_that_turns_into_a_link_again_and_again_never_leads_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"secret")
    tree = a_tree(tmp_path)
    mine = tmp_path / "files/users/ada"
    tree.make(at("d"))
    tree.write(at("d/f"), b"mine")
    (mine / "link").symlink_to(outside)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for here, there in (("d", "kept"), ("link", "d"), ("d", "link"), ("kept", "d")):
                os.rename(mine / here, mine / there)

    swapping = threading.Thread(target=swap)
    swapping.start()
    read = 0
    try:
        for _ in range(2000):
            try:
                assert tree.read(at("d/f"), 100) in (b"mine", b"written")
                read += 1
                tree.write(at("d/f"), b"written")
                tree.write(at("d/g"), b"new")
                tree.remove(at("d/g"))
            except FileError:
                pass
    finally:
        over.set()
        swapping.join()
    assert read
    assert all_below(outside) == {"f": b"secret"}


def test_pipes_and_other_things_are_not_read(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    tree.make(at("d"))
    os.mkfifo(tmp_path / "files/users/ada/d/pipe")
    assert reason(lambda: tree.read(at("d/pipe"), 10)) == "unfit"
    assert [row.kind for row in tree.page(at("d"))[0]] == ["other"]


def test_a_folder_of_ten_thousand_entries_comes_in_pages(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    tree.make(at("many"))
    folder = tmp_path / "files/users/ada/many"
    names = [f"{number:05d}" for number in range(10_000)]
    for name in names:
        (folder / name).touch()
    found: list[str] = []
    more = True
    while more:
        rows, more = tree.page(at("many"), found[-1] if found else "", 999)
        assert len(rows) <= 999
        found += [row.name for row in rows]
    assert found == names


def test_names_on_the_disk_that_are_no_text_are_listed_and_do_no_harm(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    tree.make(at("d"))
    folder = os.fsencode(tmp_path / "files/users/ada/d")
    os.mkdir(folder + b"/\xff\xfe")
    os.mkdir(folder + b"/a\nb")
    rows, more = tree.page(at("d"))
    assert sorted(row.name for row in rows) == ["a\nb", "\ufffd\ufffd"]
    assert not more


def test_room_is_bounded_in_bytes_and_in_entries_and_removing_makes_room(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, (1000, 10))
    tree.write(at("a"), b"x" * 600)
    assert reason(lambda: tree.write(at("b"), b"x" * 500)) == "full"
    assert not tree.exists(at("b"))
    # Replacing counts what is more, again and again.
    for _ in range(20):
        tree.write(at("a"), b"x" * 300)
    tree.write(at("b"), b"x" * 600)
    tree.remove(at("a"))
    tree.write(at("c"), b"x" * 300)
    assert reason(lambda: [tree.make(at(f"d{number}")) for number in range(10)]) == "full"


def test_what_is_not_finished_counts_and_leaves_nothing(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, (1000, 10))
    staged = Staged(tree)
    staged.append(b"x" * 800)
    assert reason(lambda: tree.write(at("a"), b"x" * 300)) == "full"
    assert reason(lambda: staged.append(b"x" * 300)) == "full"
    staged.close()
    staged.close()
    tree.write(at("a"), b"x" * 300)
    assert list(all_below(tmp_path / "files/users/ada" / STAGING)) == []


def test_leftovers_of_processes_that_ended_are_removed_when_they_are_old(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    tree.make(at("d"))
    Staged(tree).append(b"never finished")
    staging = tmp_path / "files/users/ada" / STAGING
    (staging / "folder").mkdir()
    (staging / "folder/f").touch()
    written = max(each.stat().st_ctime for each in staging.iterdir())
    tidy(tree, written + 3600)
    assert len(list(staging.iterdir())) == 2
    tidy(tree, written + 25 * 3600)
    assert list(staging.iterdir()) == []


def test_of_two_who_write_at_once_one_file_is_there_whole(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    tree.make(at("d"))
    contents = [bytes([65 + number]) * 100_000 for number in range(4)]
    wins: list[bytes] = []
    lock = threading.Lock()

    def write(content: bytes) -> None:
        for number in range(25):
            tree.write(at("d/replaced"), content)
            assert tree.read(at("d/replaced"), 200_000) in contents
            try:
                tree.write(at(f"d/new{number}"), content, replace=False)
            except FileError as refused:
                assert refused.reason == "taken"  # noqa: PT017
            else:
                with lock:
                    wins.append(content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 25
    assert len(tree.page(at("d"))[0]) == 26


def test_a_file_that_is_replaced_at_once_has_another_stamp_each_time(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    stamps = [tree.write(at("f"), b"%03d" % number).stamp for number in range(300)]
    assert len(set(stamps)) == 300
    assert tree.status(at("f")).stamp == stamps[-1]


WRITER = """
import sys
from pathlib import Path
from file_trees import a_tree, at
tree = a_tree(Path(sys.argv[1]))
tree.write(at("f"), b"0" * 300_000)
print("ready", flush=True)
while True:
    for digit in b"123456789":
        tree.write(at("f"), bytes([digit]) * 300_000)
"""


def test_whoever_writes_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    random = Random(7)
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(random.uniform(0, 0.05))
            child.kill()
        data = a_tree(tmp_path).read(at("f"), 1_000_000)
        assert len(data) == 300_000
        assert len(set(data)) == 1
    left = tmp_path / "files/users/ada" / STAGING
    tidy(a_tree(tmp_path), time.time() + 25 * 3600)
    assert list(left.iterdir()) == []


def test_nothing_gets_deeper_than_a_path_may_be(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    tree.make(at("/".join(["d"] * (MOST_DEPTH - 2))), parents=True)
    tree.make(at("e/f/g"), parents=True)
    tree.write(at("e/f/g/h"), b"")
    deep = at("/".join(["d"] * (MOST_DEPTH - 3)))
    assert reason(lambda: tree.move(at("e"), deep.child("e"))) == "name"
    tree.move(at("e/f/g"), deep.child("g"))
    # All of it can be deleted, and comes back.
    recycled = RecycleBin(tree)
    found = recycled.put(at("d"), NOW)
    assert not tree.exists(at("d"))
    assert recycled.restore(found) == at("d")
    assert tree.read(deep.child("g").child("h"), 1) == b""


def test_what_is_deleted_comes_back_where_it_was_and_nothing_is_replaced(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    recycled = RecycleBin(tree)
    tree.make(at("a/b"), parents=True)
    tree.write(at("a/b/origin.json"), b"its own")
    before = all_below(tmp_path / "files/users/ada/a")
    first = recycled.put(at("a/b"), NOW)
    second = recycled.put(at("a"), NOW + 1)
    assert [each.id for each in recycled.page()[0]] == [second, first]
    assert [str(each.origin) for each in recycled.page()[0]] == ["user://a", "user://a/b"]
    assert recycled.page(most=1)[1]
    assert [each.id for each in recycled.page(second)[0]] == [first]
    # The folder in which it was is gone, and is made again.
    assert recycled.restore(first) == at("a/b")
    assert all_below(tmp_path / "files/users/ada/a") == before
    assert reason(lambda: recycled.restore(second)) == "taken"
    assert recycled.restore(second, at("elsewhere/a")) == at("elsewhere/a")
    assert recycled.page() == ([], False)


def test_what_was_deleted_too_long_ago_is_gone(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    recycled = RecycleBin(tree)
    for number in range(3):
        tree.write(at("f"), b"")
        recycled.put(at("f"), NOW + 100 * number)
    assert recycled.purge_before(NOW + 150) == 2
    assert [each.at for each in recycled.page()[0]] == [NOW + 200]
    assert recycled.empty() == 1
    assert recycled.page() == ([], False)


def test_a_server_empties_all_bins_of_what_is_too_old_whatever_one_of_them_has(tmp_path: Path) -> None:
    moments = [NOW]
    files = Files(tmp_path, FileBounds(1 << 20, 1000, 86_400.0), now=lambda: moments[0])
    for user in ("ada", "bob", "eve"):
        tree = files.user(user)
        for name in ("old", "new"):
            tree.write(at(name), b"")
            RecycleBin(tree).put(at(name), NOW if name == "old" else NOW + 3600)
    # Somebody's bin is no folder any more.
    shutil.rmtree(tmp_path / "files/users/bob/.recycle_bin")
    (tmp_path / "files/users/bob/.recycle_bin").write_text("")
    (tmp_path / "files/users/link").symlink_to(tmp_path)
    files.tidy()
    moments[0] = NOW + 86_400 + 1800
    files.tidy()
    for user in ("ada", "eve"):
        assert [str(each.origin) for each in RecycleBin(files.user(user)).page()[0]] == ["user://new"]


def test_deleting_works_where_there_is_no_room(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, (100, 6))
    tree.write(at("a"), b"x" * 100)
    assert reason(lambda: tree.write(at("b"), b"x")) == "full"
    recycled = RecycleBin(tree)
    recycled.purge(recycled.put(at("a"), NOW))
    tree.write(at("b"), b"x" * 50)


@pytest.mark.parametrize("id", ["", ".", "..", "../..", "20270115T080000000000Z-0123456789abcdef", "x" * 1000, "a/b"])
def test_an_entry_of_the_bin_that_is_none_is_not_there(tmp_path: Path, id: str) -> None:
    tree = a_tree(tmp_path)
    tree.write(at("kept"), b"")
    for work in (RecycleBin(tree).get, RecycleBin(tree).restore, RecycleBin(tree).purge):
        assert reason(lambda work=work: work(id)) == "missing"  # type: ignore[misc]
    assert tree.exists(at("kept"))


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"[]",
        b"{}",
        b'{"logicalPath": "user://../../x", "deletedAt": 1}',
        b'{"logicalPath": "shared://library/x", "deletedAt": 1}',
        b'{"logicalPath": "user://.recycle_bin/x", "deletedAt": 1}',
        b'{"logicalPath": "user://", "deletedAt": 1}',
        b'{"logicalPath": 1, "deletedAt": "x"}',
        b"[" * 60_000,
    ],
)
def test_an_entry_whose_origin_is_damaged_is_passed_over(tmp_path: Path, origin: bytes) -> None:
    tree = a_tree(tmp_path)
    tree.write(at("f"), b"")
    recycled = RecycleBin(tree)
    found = recycled.put(at("f"), NOW)
    (tmp_path / f"files/users/ada/.recycle_bin/{found}/origin.json").write_bytes(origin)
    assert recycled.page() == ([], False)
    assert reason(lambda: recycled.restore(found)) == "missing"
    assert recycled.empty() == 1


NAMES = st.sampled_from(
    ["a", "b", "link", "out", "..", ".", "", "a/b", "../outside", "/", "etc", "\0", "c\\d", "é", "x" * 300]
)
PATHS = st.one_of(st.lists(NAMES, max_size=6).map("/".join), st.text(max_size=30))
STEPS = st.lists(
    st.tuples(st.sampled_from(["read", "write", "make", "move", "remove", "page", "bin", "link"]), PATHS, PATHS),
    max_size=12,
)


def _step(tree: Tree, mine: Path, outside: Path, step: tuple[str, str, str]) -> None:
    what, first, second = step
    if what == "link":
        # Somebody plants links, to a folder and to a file, where a client's next path goes through.
        for name, target in (("link", outside), ("out", outside / "secret")):
            if mine.is_dir() and not os.path.lexists(mine / name):
                (mine / name).symlink_to(target)
        return
    path = logical_path(f"user://{first}")
    if what == "read":
        assert tree.read(path, 1000) != b"secret"
    elif what == "write":
        tree.write(path, b"written")
    elif what == "make":
        tree.make(path, parents=True)
    elif what == "move":
        tree.move(path, logical_path(f"user://{second}"))
    elif what == "remove":
        tree.remove(path)
    elif what == "page":
        assert all(row.name != "secret" for row in tree.page(path)[0])
    else:
        RecycleBin(tree).restore(RecycleBin(tree).put(path, NOW))


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_no_sequence_of_names_and_links_touches_anything_outside(steps: list[tuple[str, str, str]]) -> None:
    with TemporaryDirectory() as folder:
        outside = Path(folder) / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        neighbour = Path(folder) / "files/users/eve"
        neighbour.mkdir(parents=True)
        (neighbour / "a").write_bytes(b"eve's")
        tree = a_tree(Path(folder))
        for step in steps:
            try:
                _step(tree, Path(folder) / "files/users/ada", outside, step)
            except FileError as refused:
                assert folder not in str(refused)  # noqa: PT017
        assert all_below(outside) == {"secret": b"secret"}
        assert all_below(neighbour) == {"a": b"eve's"}
        assert {each.name for each in Path(folder).iterdir()} == {"outside", "files"}
        assert {each.name for each in (Path(folder) / "files").iterdir()} == {"users"}
