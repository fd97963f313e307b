"""The cache's folder is looked at as ssh looks at the folders of its keys; what is not ours alone is not used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.errors import UsageError
from innkeeper.sandbox.compilation.cache import Cache
from innkeeper.sandbox.compilation.place import cache_folder
from innkeeper.sandbox.limits import GIB
from innkeeper.storage.folder import UnsafeError, open_private

NOBODY = 65534

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="gives a folder to somebody else, which only root may")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


def opened(folder: Path) -> int:
    """The rights of the folder once it is open."""
    descriptor = open_private(folder)
    try:
        return os.fstat(descriptor).st_mode & 0o7777
    finally:
        os.close(descriptor)


def refused(folder: Path) -> str:
    with pytest.raises(UnsafeError) as caught:
        opened(folder)
    return caught.value.reason.replace(str(folder.parent), "BASE")


def test_a_missing_folder_is_made_with_all_that_is_missing_above_it(base: Path) -> None:
    before = os.umask(0)
    try:
        assert opened(base / "a/b/compiled") == 0o700
    finally:
        os.umask(before)
    assert (base / "a").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_only_read_is_closed_to_them(base: Path) -> None:
    (base / "compiled").mkdir(mode=0o755)
    assert opened(base / "compiled") == 0o700


@pytest.mark.parametrize("rights", [0o777, 0o770, 0o707, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_not_used(base: Path, rights: int) -> None:
    (base / "compiled").mkdir()
    (base / "compiled").chmod(rights)
    assert refused(base / "compiled") == "others may write to BASE/compiled; remove it, it will be made anew"
    assert (base / "compiled").stat().st_mode & 0o7777 == rights


def test_a_link_is_not_used(base: Path) -> None:
    (base / "real").mkdir(mode=0o700)
    (base / "compiled").symlink_to("real")
    assert refused(base / "compiled") == "BASE/compiled is a link; name the folder itself"


def test_a_link_to_nothing_is_not_used(base: Path) -> None:
    (base / "compiled").symlink_to("nowhere")
    assert refused(base / "compiled") == "BASE/compiled is a link; name the folder itself"
    assert not (base / "nowhere").exists()


def test_a_file_is_not_used(base: Path) -> None:
    (base / "compiled").write_bytes(b"")
    assert refused(base / "compiled") == "BASE/compiled is not a folder; remove it"


def test_a_folder_below_one_that_others_may_write_to_is_not_used(base: Path) -> None:
    (base / "shared").mkdir()
    (base / "shared").chmod(0o777)
    assert "others may write to BASE, which is above it; chmod go-w it" in refused(base / "shared/compiled")


def test_a_folder_below_a_sticky_one_is_used(base: Path) -> None:
    (base / "shared").mkdir()
    (base / "shared").chmod(0o1777)
    assert opened(base / "shared/compiled") == 0o700


def test_what_a_link_on_the_way_leads_to_is_looked_at_too(base: Path) -> None:
    (base / "shared").mkdir()
    (base / "shared/inner").mkdir()
    (base / "shared").chmod(0o777)
    (base / "way").symlink_to(base / "shared/inner")
    assert "others may write to" in refused(base / "way/compiled")


def test_what_a_link_on_the_way_leads_over_is_looked_at_too(base: Path) -> None:
    (base / "real").mkdir(mode=0o700)
    (base / "shared").mkdir()
    (base / "shared/hop").symlink_to("../real")
    (base / "shared").chmod(0o777)
    (base / "way").symlink_to("shared/hop")
    assert "shared, which is above it; chmod go-w it" in refused(base / "way/compiled")
    (base / "shared").chmod(0o755)
    assert opened(base / "way/compiled") == 0o700


@needs_root
@pytest.mark.parametrize(
    ("give", "words"),
    [
        (lambda base: base / "a/compiled", "BASE/compiled belongs to another user; choose another folder"),
        (lambda base: base / "a", "BASE, which is above it, belongs to another user; choose another folder"),
    ],
)
def test_a_folder_of_somebody_else_is_not_used(base: Path, give: Callable[[Path], Path], words: str) -> None:
    (base / "a/compiled").mkdir(parents=True, mode=0o700)
    os.chown(give(base), NOBODY, NOBODY)
    assert refused(base / "a/compiled") == words


@needs_root
def test_a_link_of_somebody_else_on_the_way_is_not_followed(base: Path) -> None:
    (base / "real").mkdir(mode=0o700)
    (base / "way").symlink_to("real")
    os.chown(base / "way", NOBODY, NOBODY, follow_symlinks=False)
    assert "belongs to another user" in refused(base / "way/compiled")


def test_a_folder_is_somebody_else_s_where_we_are_another(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "compiled").mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert "belongs to another user" in refused(base / "compiled")


def test_a_cache_says_why_its_folder_is_not_used(base: Path) -> None:
    (base / "compiled").symlink_to("real")
    cache = Cache(base / "compiled", GIB)
    assert cache.get("00" * 32, "00" * 32) is None
    assert cache.problem == f"the cache is not used: {base}/compiled is a link; name the folder itself"


def test_a_folder_that_cannot_be_made_is_said(base: Path) -> None:
    (base / "file").write_bytes(b"")
    cache = Cache(base / "file/compiled", GIB)
    assert cache.kept() == []
    assert cache.problem is not None
    assert cache.problem.startswith("the cache is not used: ")


def test_the_variable_goes_before_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_CACHE", "/a/b/../c")
    assert cache_folder("/d") == (Path("/a/c"), "INNKEEPER_CACHE")
    monkeypatch.setenv("INNKEEPER_CACHE", "off")
    assert cache_folder("/d") == (None, "INNKEEPER_CACHE")
    monkeypatch.setenv("INNKEEPER_CACHE", "")
    assert cache_folder("/d") == (Path("/d"), "innkeeper.toml")
    assert cache_folder("off") == (None, "innkeeper.toml")


def test_without_a_choice_the_cache_lies_in_the_platform_s_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INNKEEPER_CACHE", raising=False)
    folder, origin = cache_folder()
    assert folder is not None
    assert folder.parts[-2:] == ("innkeeper", "compiled")
    assert origin == "the platform's cache folder"


def test_a_relative_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_CACHE", "here")
    with pytest.raises(
        UsageError, match="INNKEEPER_CACHE: the cache is 'here'; it must be an absolute path, or \"off\""
    ):
        cache_folder()
