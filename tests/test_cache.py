"""The cache of compiled modules: what is not exactly what was put there is compiled again, never loaded."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime as w
from hypothesis import given, settings
from hypothesis import strategies as st

from heavy import numbered, value_of
from innkeeper.errors import BusyError, RejectedError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation import entry as entries
from innkeeper.sandbox.compilation import job
from innkeeper.sandbox.compilation.cache import Cache, key_of
from innkeeper.sandbox.compilation.entry import TRAILER_SIZE, BadEntryError, Label, open_entry
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.sandbox.compilation.progress import CacheTrouble, Compiling, listener
from innkeeper.sandbox.compilation.service import Compilation, open_compilation
from innkeeper.sandbox.compilation.settings import apply_settings, fingerprint, new_engine
from innkeeper.sandbox.limits import GIB

ENGINE = new_engine()
FINGERPRINT = fingerprint(ENGINE)
PLAN = Plan()


ARTIFACTS = {number: job.build(numbered(number), PLAN) for number in (1, 2)}


def label_of(number: int, *, prints: str = FINGERPRINT, plugin: str = "one") -> Label:
    digest = hashlib.sha256(numbered(number)).hexdigest()
    return Label(key_of(prints, digest, PLAN), prints, digest, len(numbered(number)), 1_700_000_000, plugin)


ONE, TWO = label_of(1), label_of(2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "compiled"


@pytest.fixture
def cache(folder: Path) -> Cache:
    made = Cache(folder, GIB)
    made.put(ARTIFACTS[1], ONE)
    assert made.problem is None
    return made


def file_of(folder: Path, label: Label = ONE) -> Path:
    return folder / f"{label.key}.cwasm"


def loaded(cache: Cache, label: Label = ONE) -> int | None:
    entry = cache.get(label.key, FINGERPRINT)
    if entry is None:
        return None
    try:
        return value_of(entry.load(ENGINE), ENGINE)
    finally:
        entry.close()


def rewritten(path: Path, data: bytes) -> None:
    # A file of its own: the old one may be mapped by a module that was loaded.
    new = path.with_name("new")
    new.write_bytes(data)
    new.chmod(0o600)
    new.replace(path)


# --- an entry ---------------------------------------------------------------------------------------------------------


def test_what_was_put_is_got(cache: Cache) -> None:
    assert loaded(cache) == 1
    assert cache.get(TWO.key, FINGERPRINT) is None


def test_an_entry_loads_in_several_engines_with_the_same_settings(cache: Cache) -> None:
    config = w.Config()
    apply_settings(config)
    config.parallel_compilation = False
    other = w.Engine(config)
    entry = cache.get(ONE.key, FINGERPRINT)
    assert entry is not None
    assert value_of(entry.load(ENGINE), ENGINE) == value_of(entry.load(other), other) == 1
    entry.close()


def test_a_loaded_module_outlives_its_entry_and_its_file(cache: Cache, folder: Path) -> None:
    entry = cache.get(ONE.key, FINGERPRINT)
    assert entry is not None
    module = entry.load(ENGINE)
    entry.close()
    file_of(folder).unlink()
    cache.close()
    assert value_of(module, ENGINE) == 1


def test_entries_are_files_of_ours_alone_whatever_the_mask(folder: Path) -> None:
    before = os.umask(0)
    try:
        Cache(folder, GIB).put(ARTIFACTS[1], ONE)
    finally:
        os.umask(before)
    assert file_of(folder).stat().st_mode & 0o7777 == 0o600
    assert folder.stat().st_mode & 0o7777 == 0o700


def cut(path: Path) -> None:
    rewritten(path, path.read_bytes()[:-1])


def grown(path: Path) -> None:
    rewritten(path, path.read_bytes() + b"\0")


def emptied(path: Path) -> None:
    rewritten(path, b"")


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    rewritten(path, bytes(data))


def relabelled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    # The first letter of the plugin's name: harmless, and yet the file is not what was written.
    data[-84] ^= 1
    rewritten(path, bytes(data))


def foreign(path: Path) -> None:
    folder = path.parent
    Cache(folder, GIB).put(ARTIFACTS[2], TWO)
    file_of(folder, TWO).rename(path)


def native(path: Path) -> None:
    rewritten(path, ARTIFACTS[2])


def of_another_version(path: Path) -> None:
    label = Label(ONE.key, "00" * 32, ONE.digest, ONE.size, ONE.made, ONE.plugin)
    rewritten(path, ARTIFACTS[1] + entries.seal(ARTIFACTS[1], label))


def readable_by_others(path: Path) -> None:
    path.chmod(0o644)


def writable_by_others(path: Path) -> None:
    path.chmod(0o620)


def executable(path: Path) -> None:
    path.chmod(0o700)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def linked_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def second_name(path: Path) -> None:
    path.with_name("second").hardlink_to(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o600)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


BAD = [
    cut, grown, emptied, damaged, relabelled, foreign, native, of_another_version, readable_by_others,
    writable_by_others, executable, linked, linked_to_nothing, second_name, a_pipe,
]  # fmt: skip


@pytest.mark.parametrize("spoil", [*BAD, a_folder], ids=lambda spoil: spoil.__name__)
def test_a_bad_entry_is_not_loaded(cache: Cache, folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(file_of(folder))
    assert loaded(cache) is None


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_bad_entry_is_replaced(cache: Cache, folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(file_of(folder))
    cache.put(ARTIFACTS[1], ONE)
    assert cache.problem is None
    assert loaded(cache) == 1


def test_an_entry_of_somebody_else_is_not_loaded(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    # The folder was opened as ours before.
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert loaded(cache) is None


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_no_change_of_a_file_is_overlooked(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("any")
    folder.chmod(0o700)
    whole = ARTIFACTS[1] + entries.seal(ARTIFACTS[1], ONE)
    kind = data.draw(st.sampled_from(["flip", "cut", "trailer"]))
    if kind == "flip":
        changed = bytearray(whole)
        changed[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        changed = bytearray(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        changed = bytearray(ARTIFACTS[1] + data.draw(st.binary(min_size=TRAILER_SIZE, max_size=TRAILER_SIZE)))
    rewritten(folder / f"{ONE.key}.cwasm", bytes(changed))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with pytest.raises(BadEntryError):
            open_entry(descriptor, ONE.key, FINGERPRINT)
    finally:
        os.close(descriptor)


def test_a_file_that_is_swapped_after_the_check_is_not_what_is_loaded(cache: Cache, folder: Path) -> None:
    entry = cache.get(ONE.key, FINGERPRINT)
    assert entry is not None
    other = folder / "other"
    rewritten(other, ARTIFACTS[2])
    other.replace(file_of(folder))
    assert value_of(entry.load(ENGINE), ENGINE) == 1
    entry.close()


def test_another_folder_whose_descriptor_has_the_number_of_a_closed_cache_s_is_not_read(
    cache: Cache, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    file_of(folder).rename(other / file_of(folder).name)
    taken: list[int] = []

    def late(descriptor: int, key: str, fingerprint: str) -> entries.Entry:
        # As in a thread that had looked at the cache before another one closed it.
        cache.close()
        taken.append(os.open(other, os.O_RDONLY))
        return open_entry(descriptor, key, fingerprint)

    monkeypatch.setattr("innkeeper.sandbox.compilation.cache.open_entry", late)
    assert loaded(cache) is None
    os.close(taken.pop())


DIES = """
import os, sys
from heavy import value_of
from innkeeper.sandbox.compilation.entry import open_entry
from innkeeper.sandbox.compilation.settings import fingerprint, new_engine

engine = new_engine()
folder, key = sys.argv[1:]
module = open_entry(os.open(folder, os.O_RDONLY), key, fingerprint(engine)).load(engine)
os.truncate(f"{folder}/{key}.cwasm", 0)
value_of(module, engine)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="files are mapped on Linux only")
def test_cutting_a_mapped_entry_short_ends_that_process_and_the_next_one_compiles_again(
    cache: Cache, folder: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DIES, str(folder), ONE.key], env={"PYTHONPATH": str(Path(__file__).parent)}, timeout=60
    )
    assert ended.returncode == -signal.SIGBUS
    assert loaded(cache) is None
    cache.put(ARTIFACTS[1], ONE)
    assert loaded(cache) == 1


def test_where_a_file_cannot_be_mapped_it_is_read(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_engine: w.Engine, _path: str) -> w.Module:
        raise w.WasmtimeError("failed to map: Operation not permitted")

    monkeypatch.setattr(w.Module, "deserialize_file", refuse)
    assert loaded(cache) == 1


def test_using_an_entry_is_noted_once_a_minute(cache: Cache, folder: Path) -> None:
    path = file_of(folder)
    for age, noted in ((3600, True), (10, False)):
        then = time.time() - age
        os.utime(path, (then, then))
        loaded(cache)
        assert (path.stat().st_mtime > then + 1) is noted


def test_nothing_is_left_open(cache: Cache, folder: Path) -> None:
    loaded(cache)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for spoil in (damaged, of_another_version, readable_by_others, cut, None):
        if spoil is not None:
            spoil(file_of(folder))
        loaded(cache)
        cache.put(ARTIFACTS[1], ONE)
        cache.kept()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


# --- room -------------------------------------------------------------------------------------------------------------


def filled(folder: Path, count: int, max_bytes: int = GIB) -> tuple[Cache, list[Label]]:
    """Entries of 1000 bytes and a trailer, each used a day before the next."""
    cache = Cache(folder, max_bytes)
    labels = []
    for number in range(count):
        digest = hashlib.sha256(bytes([number])).hexdigest()
        label = Label(key_of(FINGERPRINT, digest, PLAN), FINGERPRINT, digest, 1, 0, f"p{number}")
        cache.put(bytes(1000), label)
        then = time.time() - 86_400 * (count - number)
        os.utime(file_of(folder, label), (then, then))
        labels.append(label)
    return cache, labels


def names(cache: Cache) -> list[str]:
    return [item.label.plugin for item in cache.kept() if item.label is not None]


def test_what_was_used_longest_ago_goes_first(folder: Path) -> None:
    cache, labels = filled(folder, 4, 4 * (1000 + TRAILER_SIZE))
    os.utime(file_of(folder, labels[0]))
    cache.put(ARTIFACTS[1][:1000], ONE)
    assert sorted(names(cache)) == ["one", "p0", "p2", "p3"]


def test_the_bound_on_the_size_holds(folder: Path) -> None:
    filled(folder, 8, 3000)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3000


def test_what_is_larger_than_the_whole_cache_is_not_kept(folder: Path) -> None:
    cache = Cache(folder, 500)
    cache.put(bytes(501), ONE)
    assert cache.kept() == []
    assert cache.problem is None


def test_pruning_takes_what_it_is_told(folder: Path) -> None:
    cache, _ = filled(folder, 6)
    assert cache.prune(older_than=86_400 * 4.5) == (2, 2 * (1000 + TRAILER_SIZE))
    assert cache.prune(to=2 * (1000 + TRAILER_SIZE)) == (2, 2 * (1000 + TRAILER_SIZE))
    assert names(cache) == ["p5", "p4"]
    assert cache.prune(drop=lambda item: True)[0] == 2
    assert names(cache) == []


def test_what_a_writer_that_died_left_behind_is_removed_after_an_hour(cache: Cache, folder: Path) -> None:
    for name, age in ((".new-dead", 7200), (".new-alive", 10)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age,) * 2)
    cache.prune()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".new-")] == [".new-alive"]


def test_files_that_are_not_the_cache_s_are_left_alone(cache: Cache, folder: Path) -> None:
    others = {"notes.txt", "x.cwasm", f"{'A' * 64}.cwasm"}
    for name in others:
        (folder / name).write_bytes(b"mine")
    cache.prune(to=0, older_than=0.0, drop=lambda item: True)
    assert {path.name for path in folder.iterdir()} == others


def test_bad_entries_are_listed_with_their_reason(cache: Cache, folder: Path) -> None:
    readable_by_others(file_of(folder))
    (item,) = cache.kept()
    assert (item.label, item.problem) == (None, "others may read or write it")


def test_many_writers_of_one_key_leave_one_whole_entry(folder: Path) -> None:
    # Caches of their own, as processes have.
    threads = [threading.Thread(target=Cache(folder, GIB).put, args=(ARTIFACTS[1], ONE)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in folder.iterdir()] == [file_of(folder).name]
    assert loaded(Cache(folder, GIB)) == 1


# --- trouble ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_said_and_nothing_fails(
    cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_args: object, **_options: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refuse)
    cache.put(ARTIFACTS[2], TWO)
    assert cache.problem == (
        f"the cache folder {folder} cannot be written ({os.strerror(code)}); modules are compiled again in each process"
    )
    assert [path.name for path in folder.iterdir()] == [file_of(folder).name]
    assert loaded(cache) == 1


def test_keeping_fails_nothing_where_the_folder_cannot_be_listed(
    cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: object) -> list[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        cache.put(ARTIFACTS[2], TWO)
    assert cache.problem is not None
    assert os.strerror(errno.EMFILE) in cache.problem
    assert loaded(cache) == 1


def test_a_folder_that_was_removed_meanwhile_is_made_again(cache: Cache, folder: Path) -> None:
    file_of(folder).unlink()
    folder.rmdir()
    cache.put(ARTIFACTS[1], ONE)
    assert cache.problem is None
    assert loaded(cache) == 1


# --- the whole: what an engine does -----------------------------------------------------------------------------------


@asynccontextmanager
async def service(folder: Path | None, events: list[Any]) -> AsyncIterator[Compilation]:
    token = listener.set(events.append)
    try:
        made = open_compilation(ENGINE, Bounds(), folder)
    finally:
        listener.reset(token)
    try:
        yield made
    finally:
        await made.aclose()


def compiled(events: list[Any]) -> int:
    return len({id(event) for event in events if isinstance(event, Compiling)}) // 3


async def test_a_module_is_compiled_once_for_all_hosts_of_a_user(folder: Path) -> None:
    events: list[Any] = []
    for _ in range(3):
        async with service(folder, events) as modules:
            found = await modules.load(numbered(5), PLAN, [ENGINE, ENGINE])
            assert [value_of(each, ENGINE) for each in found] == [5, 5]
    assert compiled(events) == 1


async def test_another_plan_or_another_byte_is_another_module(folder: Path) -> None:
    events: list[Any] = []
    async with service(folder, events) as modules:
        await modules.load(numbered(5), PLAN, [ENGINE])
        await modules.load(numbered(6), PLAN, [ENGINE])
        await modules.load(numbered(5), Plan("plain", b"x"), [ENGINE])
    assert compiled(events) == 3


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
async def test_a_module_with_a_bad_entry_is_compiled_again(folder: Path, spoil: Callable[[Path], None]) -> None:
    events: list[Any] = []
    async with service(folder, events) as modules:
        await modules.load(numbered(1), PLAN, [ENGINE], plugin="one")
        spoil(file_of(folder))
        for _ in range(2):
            (module,) = await modules.load(numbered(1), PLAN, [ENGINE])
            assert value_of(module, ENGINE) == 1
    assert compiled(events) == 2


async def test_an_entry_that_the_engine_does_not_take_is_compiled_again(folder: Path) -> None:
    # As from a machine with more features, had the fingerprint not told it apart.
    config = w.Config()
    config.epoch_interruption = True
    other = bytes(w.Module(w.Engine(config), numbered(1)).serialize())
    Cache(folder, GIB).put(other, ONE)
    events: list[Any] = []
    async with service(folder, events) as modules:
        (module,) = await modules.load(numbered(1), PLAN, [ENGINE])
        assert value_of(module, ENGINE) == 1
        await modules.load(numbered(1), PLAN, [ENGINE])
    assert compiled(events) == 1


async def test_without_a_cache_modules_are_compiled_each_time() -> None:
    events: list[Any] = []
    async with service(None, events) as modules:
        for _ in range(2):
            (module,) = await modules.load(numbered(7), PLAN, [ENGINE])
            assert value_of(module, ENGINE) == 7
    assert compiled(events) == 2


def opened_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


async def test_a_folder_that_is_not_safe_is_said_once_and_modules_are_compiled(folder: Path) -> None:
    opened_to_all(folder)
    events: list[Any] = []
    async with service(folder, events) as modules:
        for _ in range(2):
            (module,) = await modules.load(numbered(7), PLAN, [ENGINE])
            assert value_of(module, ENGINE) == 7
    assert [event for event in events if isinstance(event, CacheTrouble)] == [
        CacheTrouble(f"the cache is not used: others may write to {folder}; remove it, it will be made anew")
    ]
    assert os.listdir(folder) == []


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM])
async def test_where_the_system_has_no_more_of_what_a_process_takes_it_is_busy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def refuse(*_args: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    async with service(folder, []) as modules:
        with monkeypatch.context() as patch:
            patch.setattr(trio.lowlevel, "open_process", refuse)
            with pytest.raises(BusyError, match=f"the system refused .*{os.strerror(code)}.*ulimit") as caught:
                await modules.load(numbered(1), PLAN, [ENGINE], plugin="one")
        assert (caught.value.plugin, caught.value.bound) == ("one", "open files")
        (module,) = await modules.load(numbered(1), PLAN, [ENGINE])
        assert value_of(module, ENGINE) == 1


async def test_a_module_that_does_not_compile_is_not_kept(folder: Path) -> None:
    async with service(folder, []) as modules:
        for _ in range(2):
            with pytest.raises(RejectedError):
                await modules.load(b"\0asm\1\0\0\0x", PLAN, [ENGINE])
    assert os.listdir(folder) == []
