"""No path leads out of a preopened folder, and nothing but files and folders is opened."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.sandbox.wasi import Errno, paths
from innkeeper.sandbox.wasi.errors import WasiError
from innkeeper.sandbox.wasi.hostfile import DescriptorBudget
from innkeeper.sandbox.wasi.paths import check_path, open_beneath, walk
from test_wasi_guest import CREAT, DATA, DIRECTORY, OTHER_PATH, READ, RESULT, WRITE, Guest, guest_with


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A folder with links out of it, beside a secret."""
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "inside"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "file").write_bytes(b"inside")
    (folder / "sub" / "file").write_bytes(b"sub")
    (folder / "to-secret").symlink_to("../secret")
    (folder / "to-outside").symlink_to("..")
    (folder / "to-absolute").symlink_to(tmp_path / "secret")
    (folder / "to-file").symlink_to("file")
    (folder / "to-nowhere").symlink_to("nowhere")
    return folder


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("", Errno.NOENT),
        ("/", Errno.NOTCAPABLE),
        ("/file", Errno.NOTCAPABLE),
        ("..", Errno.NOTCAPABLE),
        ("../secret", Errno.NOTCAPABLE),
        ("../inside/file", Errno.NOTCAPABLE),
        ("sub/../../secret", Errno.NOTCAPABLE),
        ("sub/deep/../../../inside/file", Errno.NOTCAPABLE),
        ("./.././secret", Errno.NOTCAPABLE),
        ("file\0", Errno.NOTCAPABLE),
        ("file\0/../../secret", Errno.NOTCAPABLE),
        (b"\xff", Errno.ILSEQ),
        ("to-secret", Errno.LOOP),
        ("to-absolute", Errno.LOOP),
        ("to-file", Errno.LOOP),
        ("to-nowhere", Errno.LOOP),
        ("to-outside", Errno.LOOP),
        ("to-outside/", Errno.LOOP),
        ("to-outside/secret", Errno.LOOP),
        ("to-outside/..", Errno.LOOP),
        ("sub/../to-outside/secret", Errno.LOOP),
        ("file/x", Errno.NOTDIR),
        ("file/..", Errno.NOTDIR),
        ("file/", Errno.NOTDIR),
        ("nowhere/../file", Errno.NOENT),
        ("x" * 256, Errno.NAMETOOLONG),
        ("x" * 4097, Errno.NAMETOOLONG),
        ("a/" * 65 + "b", Errno.NAMETOOLONG),
        ("sub/" + "../sub/" * 31 + "file", Errno.SUCCESS),
        ("sub/deep/../.././file", Errno.SUCCESS),
        (".//sub///file", Errno.SUCCESS),
    ],
)
async def test_no_path_leads_out_and_no_link_is_followed(inside: Path, path: str | bytes, answer: Errno) -> None:
    guest = guest_with(inside)
    assert (await guest.open(path))[0] is answer
    assert (await guest.open(path, CREAT, WRITE))[0] is answer or path in ("nowhere/../file",)
    assert await guest.call("path_filestat_get", 3, 1, *guest.path(path), RESULT) is answer
    guest.wasi.close()


async def test_a_folder_that_the_guest_opened_has_no_way_up(inside: Path) -> None:
    guest = guest_with(inside)
    sub = await guest.opened("sub", DIRECTORY)
    assert (await guest.open("../file", fd=sub))[0] is Errno.NOTCAPABLE
    assert (await guest.open("deep/../file", fd=sub))[0] is Errno.SUCCESS
    guest.wasi.close()


async def test_links_can_be_seen_and_removed_but_not_made(inside: Path) -> None:
    guest = guest_with(inside)
    path, other = guest.path("to-file"), guest.path("made", OTHER_PATH)
    assert await guest.call("path_readlink", 3, *path, DATA, 100, RESULT) is Errno.SUCCESS
    assert guest.memory.read(DATA, guest.u32()) == b"file"
    assert await guest.call("path_readlink", 3, *path, DATA, 2, RESULT) is Errno.SUCCESS
    assert guest.u32() == 2
    assert await guest.call("path_readlink", 3, *guest.path("to-absolute"), DATA, 100, RESULT) is Errno.NOTCAPABLE
    assert await guest.call("path_readlink", 3, *guest.path("file"), DATA, 100, RESULT) is Errno.INVAL
    path = guest.path("to-file")
    assert await guest.call("path_filestat_get", 3, 0, *path, RESULT) is Errno.SUCCESS
    assert guest.memory.read(RESULT + 16, 1) == b"\7"
    assert await guest.call("path_filestat_set_times", 3, 1, *path, 0, 0, 5) is Errno.LOOP
    assert await guest.call("path_symlink", *path, 3, *other) is Errno.NOTCAPABLE
    assert await guest.call("path_symlink", *path, 9, *other) is Errno.BADF
    assert await guest.call("path_link", 3, 0, *guest.path("file"), 3, *other) is Errno.NOTCAPABLE
    assert await guest.call("path_unlink_file", 3, *guest.path("to-file")) is Errno.SUCCESS
    assert (inside / "file").read_bytes() == b"inside"
    assert not (inside / "to-file").is_symlink()
    guest.wasi.close()


async def test_pipes_sockets_and_devices_are_not_opened_and_do_not_block(inside: Path) -> None:
    os.mkfifo(inside / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(inside, os.O_RDONLY)
        try:
            listening.bind(f"/proc/self/fd/{here}/socket")
        finally:
            os.close(here)
        guest = guest_with(inside)
        for name in ("pipe", "socket"):
            for rights in (READ, WRITE, READ | WRITE):
                assert (await guest.open(name, CREAT, rights))[0] is Errno.NOTCAPABLE
        guest.wasi.close()
    devices = guest_with(Path("/dev"), writable=False)
    assert (await devices.open("null"))[0] is Errno.NOTCAPABLE
    devices.wasi.close()


async def test_a_preopen_that_is_gone_or_no_folder_is_an_errno(tmp_path: Path) -> None:
    guest = guest_with(tmp_path / "missing")
    assert (await guest.open("a"))[0] is Errno.NOENT
    (tmp_path / "missing").mkdir()
    assert (await guest.open("a", CREAT, WRITE))[0] is Errno.SUCCESS
    guest.wasi.close()
    (tmp_path / "file").touch()
    guest = guest_with(tmp_path / "file")
    assert (await guest.open("a"))[0] is Errno.NOTDIR
    guest.wasi.close()


def swap(name: Path, other: Path) -> None:
    spare = name.with_name("spare")
    name.rename(spare)
    other.rename(name)
    spare.rename(other)


@pytest.mark.parametrize("swapped", ["sub", "sub/file"])
@pytest.mark.parametrize("moment", range(6))
async def test_a_name_swapped_for_a_link_at_any_moment_never_leads_out(
    inside: Path, monkeypatch: pytest.MonkeyPatch, swapped: str, moment: int
) -> None:
    (inside.parent / "file").write_bytes(b"secret")
    (inside / "link").symlink_to(".." if swapped == "sub" else inside.parent / "secret")
    guest = guest_with(inside)
    calls = 0

    def before(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if calls == moment:
                swap(inside / swapped, inside / "link")
            calls += 1
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", before(os.open))
        patched.setattr(os, "stat", before(os.stat))
        answer, fd = await guest.open("sub/file", 0, READ | WRITE)
    assert calls >= 3
    if answer is Errno.SUCCESS:
        assert await guest.read(fd) == b"sub"
    else:
        assert answer is Errno.LOOP
    guest.wasi.close()


PARTS = st.sampled_from(["..", ".", "", "sub", "deep", "file", "to-outside", "to-secret", "nowhere", "secret"])


def test_a_walk_never_ends_above_its_start(inside: Path) -> None:
    allowed = {os.stat(folder).st_ino for folder in (inside, inside / "sub", inside / "sub" / "deep")}
    base = os.open(inside, os.O_RDONLY)

    @given(st.lists(PARTS, max_size=8).map("/".join) | st.text(max_size=20))
    @settings(deadline=None)
    def check(path: str) -> None:
        before = len(os.listdir("/dev/fd"))
        try:
            with walk(base, check_path(path.encode("utf-8", "surrogatepass"))) as place:
                assert os.fstat(place.parent).st_ino in allowed
                assert b"/" not in place.name
                assert place.name not in (b"", b"..")
        except (WasiError, OSError):
            pass
        assert len(os.listdir("/dev/fd")) == before

    try:
        check()
    finally:
        os.close(base)


async def test_a_path_outside_of_memory_is_a_fault(inside: Path) -> None:
    guest = Guest()
    guest = guest_with(inside)
    end = len(guest.memory.data)
    for name in ("path_create_directory", "path_remove_directory", "path_unlink_file"):
        assert await guest.call(name, 3, end - 1, 2) is Errno.FAULT
        assert await guest.call(name, 3, 2**32 - 1, 2**32 - 1) is Errno.NAMETOOLONG
    guest.wasi.close()


@pytest.mark.parametrize("make", [False, True])
@pytest.mark.parametrize("moment", range(12))
async def test_a_granted_folder_swapped_for_a_link_at_any_moment_never_leads_out(
    inside: Path, monkeypatch: pytest.MonkeyPatch, make: bool, moment: int
) -> None:
    outside = inside.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (inside / "link").symlink_to(outside)
    right = os.stat(inside / "sub" / "deep").st_ino
    calls = 0

    def before(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if calls == moment:
                swap(inside / "sub", inside / "link")
            calls += 1
            return real(*arguments, **options)

        return call

    descriptors = len(os.listdir("/dev/fd"))
    path = b"sub/deep/new" if make else b"sub/deep"
    with monkeypatch.context() as patched:
        for name in ("open", "stat", "mkdir"):
            patched.setattr(os, name, before(getattr(os, name)))
        try:
            opened = open_beneath(os.fsencode(inside), path, make=make)
        except WasiError as error:
            assert error.errno is Errno.LOOP  # noqa: PT017 (either way is right)
        else:
            assert os.stat(".." if make else ".", dir_fd=opened).st_ino == right
            os.close(opened)
    assert os.listdir(outside) == ["deep"]
    assert os.listdir(outside / "deep") == []
    assert len(os.listdir("/dev/fd")) == descriptors


def test_the_folders_on_a_way_count_among_the_descriptors_of_all_guests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Eight threads that move files between places 64 folders down would have all that a process may have.
    (tmp_path / "a" / "b" / "c" / "d").mkdir(parents=True)
    budget = DescriptorBudget(3)
    monkeypatch.setattr(paths, "BUDGET", budget)
    base = os.open(tmp_path, os.O_RDONLY)
    try:
        before = os.listdir("/dev/fd")
        with walk(base, b"a/b/../b/c/d") as place:
            assert (place.name, len(budget._free)) == (b"d", 0)
        for path, answer in ((b"a/b/c/d/e", "NFILE"), (b"a/b/nothing/c", "No such file"), (b"a/../../b", "NOTCAPABLE")):
            with pytest.raises((WasiError, OSError), match=answer), walk(base, path):
                raise AssertionError
            assert len(budget._free) == 3
        assert os.listdir("/dev/fd") == before
    finally:
        os.close(base)
