"""What a folder may hold is held, however many guests write to it, and measuring it costs little."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.sandbox.wasi import tree_quota
from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.hostfile import BUDGET, DescriptorBudget
from innkeeper.sandbox.wasi.quota import Account
from innkeeper.sandbox.wasi.tree_quota import AGE, Sizes, TreeQuota, measure

MOST = 1_000, 100


class Time:
    """A clock that moves by hand, and by `step` with each look."""

    def __init__(self) -> None:
        self.now, self.step = 0.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Desk:
    """A quota of a folder, and how often that was measured and said to be full."""

    def __init__(self, folder: Path, most: Sizes = MOST) -> None:
        self.folder, self.time, self.measured, self.full = folder, Time(), 0, 0
        self.quota = TreeQuota(self._opened, most, when_full=self._say, now=self.time)

    def _opened(self) -> int:
        self.measured += 1
        return os.open(self.folder, os.O_RDONLY)

    def _say(self) -> None:
        self.full += 1

    def account(self, quota: int = 10**9, entries: int = 10**6) -> Account:
        return Account(quota, entries, self.quota)

    def fits(self, size: int, entries: int = 0) -> bool:
        try:
            with self.account().charged(size, entries):
                return True
        except WasiError as error:
            return error.errno is not Errno.DQUOT


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "old").write_bytes(b"o" * 100)
    return Desk(tmp_path)


def sizes(folder: Path, most: Sizes = (10**9, 10**6)) -> Sizes:
    opened = os.open(folder, os.O_RDONLY)
    try:
        return measure(opened, most)
    finally:
        os.close(opened)


def test_all_below_a_folder_is_measured_and_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"x" * 5000)
    folder = tmp_path / "folder"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"x" * 10)
    (folder / "sub" / "b").write_bytes(b"x" * 20)
    (folder / "sub" / "deep" / "c").write_bytes(b"x" * 30)
    assert sizes(folder) == (60, 5)
    (folder / "out").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    size, entries = sizes(folder)
    assert (size < 200, entries) == (True, 7)
    with (folder / "sparse").open("wb") as sparse:
        sparse.truncate(10**6)
    assert sizes(folder)[0] > 10**6


def test_measuring_ends_where_the_bound_is_met(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}").write_bytes(b"x" * 10)
    assert sizes(tmp_path, (10**9, 20))[1] == 21
    assert sizes(tmp_path, (95, 10**6))[0] == 100


def test_a_tree_that_is_too_deep_to_be_measured_counts_as_full_and_costs_no_more_descriptors(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(70):
        folder /= "d"
    folder.mkdir(parents=True)
    before = len(os.listdir("/dev/fd"))
    assert sizes(tmp_path, (10, 100)) == (11, 101)
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("reason", [errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ELOOP])
def test_a_folder_that_goes_meanwhile_or_is_closed_to_the_host_counts_as_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "file").write_bytes(b"x")
    (tmp_path / "open").write_bytes(b"12")
    real = os.open

    def opened(path: Any, *arguments: Any, **named: Any) -> int:
        if path == "closed":
            raise OSError(reason, "not now")
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", opened)
    assert sizes(tmp_path) == (2, 2)


def test_measuring_leaves_descriptors_to_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    budget = DescriptorBudget(2)
    monkeypatch.setattr(tree_quota, "BUDGET", budget)
    with pytest.raises(WasiError, match="NFILE"):
        sizes(tmp_path)
    for _ in range(2):
        budget.take()
    assert len(BUDGET._free) > 2


def test_each_descriptor_that_measuring_holds_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b" / "c" / "d").mkdir(parents=True)
    budget = DescriptorBudget(100)
    monkeypatch.setattr(tree_quota, "BUDGET", budget)
    before = len(os.listdir("/dev/fd")) + 1  # that of the folder itself
    held: list[tuple[int, int]] = []
    real = os.scandir

    def scanned(folder: int) -> Any:
        entries = real(folder)
        held.append((len(os.listdir("/dev/fd")) - before, 100 - len(budget._free)))
        return entries

    monkeypatch.setattr(os, "scandir", scanned)
    assert sizes(tmp_path) == (0, 4)
    assert held == [(2 * count, 2 * count) for count in range(1, 6)]
    assert len(budget._free) == 100


def test_no_more_is_given_than_the_folder_may_hold_whoever_asks(desk: Desk) -> None:
    assert desk.fits(900)
    assert not desk.fits(901)
    # The blocks above wrote nothing: what counted until the folder was measured again is what they said.
    assert desk.fits(900, 99)
    assert not desk.fits(0, 100)
    assert desk.full == 2


def test_what_a_block_does_not_use_costs_nothing_and_a_block_that_fails_nothing_at_all(desk: Desk) -> None:
    account = desk.account(500, 3)
    with account.charged(400) as charge:
        charge.used = 100
    with pytest.raises(OSError, match="disk"), account.charged(400, 1):
        raise OSError("disk")
    with account.charged(400, 3):
        pass
    for size, entries in ((1, 0), (0, 1)):
        with pytest.raises(WasiError, match="DQUOT"), account.charged(size, entries):
            raise AssertionError("there is none left")
    assert desk.measured == 1
    assert desk.fits(400)
    assert desk.measured == 1


def test_room_for_what_is_being_written_is_kept_while_the_folder_is_measured(desk: Desk) -> None:
    with desk.account().charged(800):
        # Nothing of it is on the disk, and nobody else gets it.
        assert not desk.fits(101)
        assert desk.measured == 2
        desk.time.now += AGE + 1
        assert desk.fits(100)
        assert desk.measured == 3
    (desk.folder / "new").write_bytes(b"n" * 800)
    assert not desk.fits(101)


def test_a_folder_is_measured_again_where_its_bound_is_met_so_that_what_was_removed_counts_no_more(desk: Desk) -> None:
    assert not desk.fits(901)
    (desk.folder / "old").unlink()
    assert desk.fits(1000)


def test_a_folder_that_takes_long_to_measure_is_left_alone_for_a_time(desk: Desk) -> None:
    desk.time.step = 1.0
    assert not desk.fits(901)
    desk.time.step = 0.0
    measured = desk.measured
    for _ in range(100):
        assert not desk.fits(901)
    assert desk.measured == measured
    desk.time.now += 11
    assert not desk.fits(901)
    assert desk.measured == measured + 1
    # One that takes next to no time is measured each time: its guests never meet the pause.
    assert not desk.fits(901)
    assert desk.measured == measured + 2


def test_a_folder_is_measured_again_after_a_time_since_others_write_there_too(desk: Desk) -> None:
    assert desk.fits(100)
    (desk.folder / "others").write_bytes(b"x" * 850)
    desk.time.now += AGE / 2
    assert desk.fits(100)
    desk.time.now += AGE
    assert not desk.fits(100)


def test_a_full_folder_is_said_once_until_there_is_room_again(desk: Desk) -> None:
    for _ in range(3):
        assert not desk.fits(901)
    assert desk.full == 1
    assert desk.fits(1)
    assert not desk.fits(901)
    assert desk.full == 2


def test_a_folder_that_cannot_be_opened_gives_no_room_and_is_tried_again(desk: Desk) -> None:
    (desk.folder / "old").unlink()
    desk.folder.rmdir()
    for _ in range(2):
        with pytest.raises(FileNotFoundError), desk.account().charged(1):
            raise AssertionError("nobody measured it")
    desk.folder.mkdir()
    assert desk.fits(1)


def test_many_threads_together_write_no_more_than_the_folder_may_hold(tmp_path: Path) -> None:
    desk = Desk(tmp_path, (20_000, 200))
    answers: list[Errno] = []

    def work(number: int) -> None:
        account = desk.account()
        for turn in range(30):
            try:
                with account.charged(100, 1):
                    (tmp_path / f"{number}-{turn}").write_bytes(b"x" * 100)
                answers.append(Errno.SUCCESS)
            except WasiError as error:
                answers.append(error.errno)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sizes(tmp_path) == (20_000, 200)
    assert answers.count(Errno.SUCCESS) == 200
    assert answers.count(Errno.DQUOT) == 40


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(0, 9), st.integers(0, 60), st.integers(0, 60)),
            st.tuples(st.just("remove"), st.integers(0, 9), st.just(0), st.just(0)),
            st.tuples(st.just("later"), st.integers(0, 90), st.just(0), st.just(0)),
        ),
        max_size=60,
    )
)
@settings(deadline=None, max_examples=100)
def test_whatever_is_written_and_removed_the_folder_never_holds_more(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    desk = Desk(folder, (200, 5))
    actions: dict[str, Callable[[Path], None]] = {"remove": lambda path: path.unlink(missing_ok=True)}
    for what, number, start, length in steps:
        path = folder / str(number)
        if what == "later":
            desk.time.now += number
        elif what in actions:
            actions[what](path)
        else:
            size = path.stat().st_size if path.exists() else 0
            growth = max(length, start + length - size), int(not path.exists())
            try:
                with desk.account().charged(*growth), path.open("r+b" if path.exists() else "wb") as file:
                    file.seek(start)
                    file.write(b"x" * length)
            except WasiError:
                # Refused only where it would not fit, as a folder that takes no time is measured first.
                held = sizes(folder)
                assert held[0] + growth[0] > 200 or held[1] + growth[1] > 5
        held = sizes(folder)
        assert held[0] <= 200
        assert held[1] <= 5
