"""An upgrade that is ended with signal 9 at any moment leaves the old data or the new, and the next start goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from databases import Server
from innkeeper.storage.copies import FOLDER, KEPT
from innkeeper.storage.location import Location
from innkeeper.storage.schema import REVISIONS
from old_databases import dumped, make, revision_of, rows_of

OLD = "0008"
"""The oldest tables of knowledge bases and of runs: two migrations carry rows over."""


class Opening:
    """Opens databases in processes that die."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "upgrade_killed"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent, text=True
        )

    def open(self, place: Path | str, *, call: int | None = None, seconds: float | None = None) -> dict[str, Any]:
        """As `upgrade_killed`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"place": str(place), "call": call, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def opening() -> Iterator[Opening]:
    made = Opening()
    yield made
    made.close()


class Old:
    """A database of an older version.

    Attributes:
        path: it.
        before, after: what it holds, and what it holds once it was upgraded.
        calls, seconds: what an upgrade takes.
    """

    def __init__(self, folder: Path, opening: Opening) -> None:
        self.path = folder / "old" / "innkeeper.db"
        make(Location.of(self.path), OLD, each=12)
        self.before = dumped(self.path)
        whole = self.copied(folder / "whole")
        found = opening.open(whole, call=0)
        assert not found["killed"]
        self.after, self.calls = dumped(whole), found["calls"]
        self.seconds = opening.open(self.copied(folder / "timed"))["seconds"]
        assert (revision_of(whole), self.before != self.after) == (REVISIONS[-1], True)

    def copied(self, folder: Path) -> Path:
        """A copy of it, in a folder of its own."""
        folder.mkdir(mode=0o700)
        target = folder / "innkeeper.db"
        shutil.copyfile(self.path, target)
        target.chmod(0o600)
        return target


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, opening: Opening) -> Old:
    return Old(tmp_path_factory.mktemp("upgrade"), opening)


def copies(path: Path) -> list[Path]:
    """The copies of a database; each of them is whole, whoever died as it was made."""
    folder = path.parent / FOLDER
    return sorted(folder.glob("innkeeper-*.db")) if folder.is_dir() else []


def test_it_may_end_at_any_call(old: Old, opening: Opening, tmp_path: Path) -> None:
    found = {OLD: 0, REVISIONS[-1]: 0}
    with_a_copy = 0
    points = 18
    for point in range(points):
        path = old.copied(tmp_path / str(point))
        call = 1 + (old.calls - 1) * point // (points - 1)
        assert opening.open(path, call=call)["killed"]
        whole = copies(path)
        assert all(dumped(each) == old.before for each in whole)
        revision = revision_of(path)
        found[revision] += 1
        with_a_copy += revision == OLD and bool(whole)
        assert dumped(path) == (old.before if revision == OLD else old.after)
        # No upgrade without a copy.
        assert whole or revision == OLD
        assert not opening.open(path)["killed"]
        assert dumped(path) == old.after
        assert 1 <= len(copies(path)) <= KEPT
        assert {each.name for each in (path.parent / FOLDER).iterdir()} == {each.name for each in copies(path)}
    # It was ended before, between and after what matters.
    assert found[OLD] > 5
    assert with_a_copy > 0


def test_it_may_end_at_any_time(old: Old, opening: Opening, tmp_path: Path) -> None:
    points = 10
    for point in range(points):
        path = old.copied(tmp_path / str(point))
        opening.open(path, seconds=old.seconds * point / points)
        assert dumped(path) in (old.before, old.after)
        assert all(dumped(each) == old.before for each in copies(path))
        opening.open(path)
        assert dumped(path) == old.after


def test_one_that_is_ended_again_and_again_does_not_fill_the_disk(old: Old, opening: Opening, tmp_path: Path) -> None:
    path = old.copied(tmp_path / "home")
    # After the copy, and before what it was made for.
    late = next(
        call
        for call in range(old.calls * 9 // 10, 0, -(old.calls // 40))
        if opening.open(path, call=call)["killed"] and revision_of(path) == OLD and copies(path)
    )
    for _ in range(KEPT + 3):
        opening.open(path, call=late)
        assert len(copies(path)) <= KEPT + 1
    assert dumped(path) == old.before
    assert not opening.open(path)["killed"]
    assert dumped(path) == old.after
    assert len(copies(path)) <= KEPT


def test_a_servers_database_is_what_it_was_or_what_it_becomes(postgres_server: Server, opening: Opening) -> None:
    points = 4
    calls = 0
    for point in range(points + 1):
        with postgres_server.database("template1") as url:
            place = Location.of(url)
            make(place, OLD, each=1)
            before = rows_of(place)
            # The first is not ended, and says how many calls there are.
            found = opening.open(url, call=1 + (calls - 2) * (point - 1) // (points - 1) if point else 0)
            assert found["killed"] == bool(point)
            if not point:
                calls, after = found["calls"], rows_of(place)
                assert after != before
            assert rows_of(place) in (before, after)
            assert not opening.open(url)["killed"]
            assert rows_of(place) == after
