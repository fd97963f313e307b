"""Where the host looks for its home, and what its operator may write in innkeeper.toml and in a grant."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import InnkeeperError, RejectedError, UsageError
from innkeeper.plugins.catalogue import read_catalogue
from innkeeper.plugins.configuration import Configuration, parse_configuration
from innkeeper.plugins.files import read_file
from innkeeper.plugins.grant import parse_grant
from innkeeper.plugins.home import open_home, shipped_place
from innkeeper.sandbox.limits import CEILING, DEFAULTS

DIGEST = "ab" * 32


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without plugins/, no variable, and a data folder of its own."""
    monkeypatch.delenv("INNKEEPER_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_option_comes_before_the_variable_the_working_directory_and_the_platform(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = open_home()
    assert home.origin == "the platform's data folder"
    assert not home.path.exists()
    (nowhere / "plugins").mkdir()
    assert (open_home().path, open_home().origin) == (nowhere, "the working directory")
    for name in ("variable", "option"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "variable"))
    assert (open_home().path, open_home().origin) == (tmp_path / "variable", "INNKEEPER_HOME")
    assert (open_home(tmp_path / "option").path, open_home(tmp_path / "option").origin) == (
        tmp_path / "option",
        "--home",
    )


def test_a_chosen_home_that_is_not_a_folder_is_an_error_that_says_who_chose_it(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "file").touch()
    for wrong in ("missing", "file", ""):
        with pytest.raises(UsageError, match=r"^--home: '.*' is not a folder"):
            open_home(wrong)
    monkeypatch.setenv("INNKEEPER_HOME", "missing")
    with pytest.raises(UsageError, match=r"^INNKEEPER_HOME: 'missing' is not a folder"):
        open_home()


def test_the_plugins_that_come_with_innkeeper_are_always_there(nowhere: Path) -> None:
    home = open_home(nowhere)
    assert [place.shipped for place in home.places] == [False, True]
    assert home.places[1] == replace(shipped_place(), believed=False)


def test_a_grant_that_came_with_innkeeper_counts_in_its_checkout_and_in_no_home_of_a_user(nowhere: Path) -> None:
    fresh = read_catalogue(open_home(nowhere))
    assert fresh.entries["kb"].shipped
    assert fresh.grants == {}
    assert fresh.problems == []
    checkout = read_catalogue(open_home(shipped_place().plugins.parent)).grants["kb"]
    assert checkout.grant is not None
    assert [str(each) for each in checkout.grant.capabilities] == ["kb.read:lantern-inn", "kb.read:lantern-inn-zh"]
    # What the user says counts, and nothing of what came along is added to it.
    (nowhere / "manifests").mkdir()
    (nowhere / "manifests/kb.toml").write_text(f'sha256 = "{DIGEST}"\ncapabilities = ["kb.read:mine"]\n')
    mine = read_catalogue(open_home(nowhere)).grants["kb"]
    assert mine.grant is not None
    assert [str(each) for each in mine.grant.capabilities] == ["kb.read:mine"]


def test_a_checkout_as_home_is_not_searched_twice(nowhere: Path) -> None:
    shipped = shipped_place()
    home = open_home(shipped.plugins.parent)
    assert home.places == (shipped,)


# --- innkeeper.toml -------------------------------------------------------------------------------------------------


def test_the_configuration_sets_bounds_ceilings_and_defaults(nowhere: Path) -> None:
    (nowhere / "innkeeper.toml").write_text(
        '[bounds]\nlive_guests = 7\nmodule_size = "1MiB"\n[limits]\nmemory = "2GiB"\n[defaults]\ncpu = "250ms"\n'
    )
    found = open_home(nowhere).configuration
    assert (found.bounds.live_guests, found.bounds.module_size) == (7, 1 << 20)
    assert (found.ceiling.memory, found.ceiling.cpu) == (2 << 30, CEILING.cpu)
    assert (found.defaults.cpu, found.defaults.memory) == (0.25, DEFAULTS.memory)
    own = {"bounds.live_guests", "bounds.module_size", "limits.memory", "defaults.cpu"}
    assert {key for key, origin in found.origins.items() if origin == "innkeeper.toml"} == own


def test_without_a_file_everything_is_built_in(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INNKEEPER_CACHE")
    assert open_home(nowhere).configuration == Configuration()


def test_a_working_directory_that_is_gone_has_no_plugins(nowhere: Path) -> None:
    gone = nowhere / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert open_home().origin == "the platform's data folder"
    with pytest.raises(UsageError, match="--home: the working directory is gone; give the whole path"):
        open_home(".")


def test_a_lower_ceiling_lowers_the_default_under_it() -> None:
    found = parse_configuration(b"[limits]\nmemory = 1048576\n")
    assert (found.ceiling.memory, found.defaults.memory) == (1 << 20, 1 << 20)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[bound]", "innkeeper.toml: bound is not a key here; did you mean 'bounds'?"),
        (
            "[bounds]\nlive_gests = 1",
            "innkeeper.toml: bounds.live_gests is not a key here; did you mean 'live_guests'?",
        ),
        ("[limits]\nwal = 1", "innkeeper.toml: limits.wal is not a key here; did you mean 'wall'?"),
        ("[bounds]\nworkers = 0", "innkeeper.toml: bounds.workers is 0: it must be a whole number above 0"),
        ('[bounds]\nworkers = "2"', "innkeeper.toml: bounds.workers is '2': it must be a whole number above 0"),
        (
            '[defaults]\ncpu = "2h"',
            "innkeeper.toml: defaults has limits above the host's own: cpu 7200.0 (at most 60.0)",
        ),
        ("x = [", "innkeeper.toml: is not TOML"),
        ("zzz = 1", "innkeeper.toml: zzz is not a key here; known are: bounds, limits, defaults"),
    ],
)
def test_a_mistake_in_the_configuration_is_an_error_that_says_what_would_be_right(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_configuration(text.encode())
    assert sentence in str(caught.value)


# --- grants ---------------------------------------------------------------------------------------------------------


def test_a_grant_gives_limits_configuration_and_a_shared_guest() -> None:
    grant = parse_grant(
        f'sha256 = "{DIGEST}"\ninstance = "shared"\n'.encode()
        + b'[limits]\nmemory = "128MiB"\nwall = 5\n[config]\nkey = "v"\n',
        where="manifests/a.toml",
    )
    assert (grant.sha256, grant.shared, grant.config) == (DIGEST, True, {"key": "v"})
    limits = grant.apply(DEFAULTS, CEILING, "manifests/a.toml")
    assert (limits.memory, limits.wall, limits.cpu) == (128 << 20, 5.0, DEFAULTS.cpu)


def test_a_grant_above_the_hosts_own_limits_is_an_error_that_names_the_limit() -> None:
    grant = parse_grant(f'sha256 = "{DIGEST}"\n[limits]\nmemory = "2GiB"\n'.encode(), where="manifests/a.toml")
    with pytest.raises(UsageError, match=r"^manifests/a\.toml: limits above the host's own: memory 2147483648"):
        grant.apply(DEFAULTS, CEILING, "manifests/a.toml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "sha256 is missing: it must be the file's sha256, 64 hexadecimal digits"),
        ("sha256 = 'AB'", "sha256 is 'AB': it must be the file's sha256"),
        (f"sha256 = '{DIGEST}'\n[config]\na = 1", "config.a is 1: it must be text"),
        (f"sha256 = '{DIGEST}'\ncapabilities = ['http']", "capabilities[0] is not right: 'http' has no scope"),
        (f"sha256 = '{DIGEST}'\ninstance = 'both'", "instance is 'both': it must be 'fresh' or 'shared'"),
    ],
)
def test_a_mistake_in_a_grant_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_grant(text.encode(), where="manifests/a.toml")
    assert str(caught.value).startswith(f"manifests/a.toml: {sentence}")


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_grant_and_a_configuration_or_an_error_of_ours(data: bytes) -> None:
    for parse in (parse_configuration, parse_grant):
        said = "x.toml"
        try:
            parse(data, where="x.toml")
        except InnkeeperError as error:
            said = str(error)
        assert "x.toml" in said


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    os.symlink("file", tmp_path / "link")
    assert read_file(tmp_path / "file", most=5) == b"12345"
    with pytest.raises(RejectedError, match="is 5 bytes, the most is 4"):
        read_file(tmp_path / "file", most=4)
    for name, sentence in (
        ("missing", "no such file"),
        ("file/below", "no such file"),
        ("", "is a folder, not a file"),
        ("pipe", "is not a regular file"),
        ("nul\0byte", "not a file name"),
        ("x" * 300, "cannot be read: File name too long"),
    ):
        with pytest.raises(UsageError, match=sentence):
            read_file(tmp_path / name, most=5)
    assert read_file(tmp_path / "link", most=5) == b"12345"
    with pytest.raises(UsageError, match="is a symbolic link"):
        read_file(tmp_path / "link", most=5, follow=False)
