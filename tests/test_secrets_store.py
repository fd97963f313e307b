"""Where secrets come from, and that their values are in nothing that anybody reads."""

from __future__ import annotations

import logging
import os
import tomllib
from pathlib import Path

import pytest

from innkeeper.bridge.secret_store import SecretError, SecretStore

VALUE = "hunter2-hunter2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.toml"
    path.write_text(f'KEY = "{VALUE}"\nOTHER = "another one"\n')
    path.chmod(0o600)
    return path


def put(path: Path, text: str) -> None:
    """Writes a file in place."""
    path.write_text(text)


def allow(path: Path, mode: int) -> None:
    """Says who may read and write."""
    path.chmod(mode)


async def no_value(store: SecretStore, name: str, caplog: pytest.LogCaptureFixture) -> str:
    """What the host's log says of a secret without a value."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG), pytest.raises(SecretError) as caught:
        await store.reveal(name)
    error = caught.value
    assert str(error) == f"the secret {name!r} has no value that the host can use"
    assert error.__cause__ is None
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert VALUE not in said
    assert VALUE not in repr(store) + repr(error) + repr(vars(store)) + str(vars(error))
    assert all(record.exc_info is None for record in caplog.records)
    return said


async def test_the_environment_goes_before_the_file(file: Path) -> None:
    store = SecretStore(str(file), {"INNKEEPER_SECRET_KEY": "of the environment"})
    assert await store.reveal("KEY") == "of the environment"
    assert await store.reveal("OTHER") == "another one"
    assert await SecretStore(str(file), {}).reveal("KEY") == VALUE


async def test_a_file_that_changes_is_read_again(file: Path) -> None:
    store = SecretStore(str(file), {})
    assert await store.reveal("KEY") == VALUE
    put(file, 'KEY = "a new value"\n')
    assert await store.reveal("KEY") == "a new value"
    other = file.with_name("other")
    put(other, 'KEY = "a third one"\n')
    allow(other, 0o600)
    other.rename(file)
    assert await store.reveal("KEY") == "a third one"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644, 0o777, 0o610])
async def test_a_file_that_others_can_read_or_write_is_not_used(
    file: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = SecretStore(str(file), {})
    assert await store.reveal("KEY") == VALUE
    allow(file, mode)
    assert "others may read or write" in await no_value(store, "KEY", caplog)
    allow(file, 0o600)
    assert await store.reveal("KEY") == VALUE


async def test_a_file_behind_a_link_is_not_used(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    assert "is a link" in await no_value(SecretStore(str(link), {}), "KEY", caplog)
    folder = file.parent / "folder"
    folder.symlink_to(file.parent)
    assert "is a link" in await no_value(SecretStore(str(folder / file.name), {}), "KEY", caplog)
    hard = file.with_name("hard")
    os.link(file, hard)
    assert "hard link" in await no_value(SecretStore(str(file), {}), "KEY", caplog)


async def test_a_file_that_others_could_replace_is_not_used(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = file.parent / "open"
    folder.mkdir()
    inside = folder / "secrets.toml"
    os.rename(file, inside)
    allow(folder, 0o777)
    assert "others may write" in await no_value(SecretStore(str(inside), {}), "KEY", caplog)


async def test_what_is_no_regular_file_is_not_used_and_nobody_waits_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert "not a regular file" in await no_value(SecretStore(str(pipe), {}), "KEY", caplog)
    assert "not a regular file" in await no_value(SecretStore(str(tmp_path), {}), "KEY", caplog)
    assert "cannot be read" in await no_value(SecretStore(str(tmp_path / "none"), {}), "KEY", caplog)
    assert "cannot be read" in await no_value(SecretStore(str(tmp_path / "none" / "none"), {}), "KEY", caplog)
    assert "absolute" in await no_value(SecretStore("secrets.toml", {}), "KEY", caplog)
    assert "absolute" in await no_value(SecretStore(f"{tmp_path}/../secrets.toml", {}), "KEY", caplog)


@pytest.mark.parametrize(
    "text",
    [
        f'KEY = "{VALUE}',
        f"KEY = {VALUE}",
        f'KEY = ["{VALUE}"]',
        f'[KEY]\nvalue = "{VALUE}"',
        f'KEY = "{VALUE}"\n"not a name" = "x"',
        f'KEY = "{VALUE}"\nKEY = "{VALUE}"',
        f"{VALUE}",
        "\x00",
        "x" * 300_000,
    ],
)
async def test_a_file_that_is_wrong_is_not_used_and_nothing_of_it_is_quoted(
    file: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(file, text)
    said = await no_value(SecretStore(str(file), {}), "KEY", caplog)
    assert "hunter2" not in said


async def test_a_file_that_is_wrong_is_read_once_until_it_changes(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Guests ask as often as they like, and a parser takes its time.
    read: list[str] = []
    loads = tomllib.loads

    def parse(text: str) -> dict[str, object]:
        read.append(text)
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", parse)
    store = SecretStore(str(file), {})
    for text in ("KEY = ", "KEY = 5\n"):
        put(file, text)
        assert "is not TOML" in (said := await no_value(store, "KEY", caplog)) or "keys that are not" in said
        with pytest.raises(SecretError):
            await store.reveal("KEY")
    assert read == ["KEY = ", "KEY = 5\n"]
    put(file, f'KEY = "{VALUE}"\n')
    assert await store.reveal("KEY") == VALUE


async def test_a_reason_is_logged_once_until_it_changes(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SecretStore(str(file), {})
    assert "INNKEEPER_SECRET_MISSING is not set" in await no_value(store, "MISSING", caplog)
    assert await no_value(store, "MISSING", caplog) == ""
    allow(file, 0o644)
    assert "others may" in await no_value(store, "MISSING", caplog)


@pytest.mark.parametrize("name", ["", "9A", "A-B", "A\nB", "../A", "A" * 65, "PATH=", "\u00e4"])
async def test_what_is_no_name_is_never_looked_up(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert await no_value(SecretStore(None, {f"INNKEEPER_SECRET_{name}": VALUE}), name, caplog) == ""


async def test_nothing_else_of_the_environment_is_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    assert "not set" in await no_value(SecretStore(None, {"KEY": VALUE, "INNKEEPER_SECRET_": VALUE}), "KEY", caplog)
    empty = SecretStore(None, {"INNKEEPER_SECRET_KEY": ""})
    assert "not set" in await no_value(empty, "KEY", caplog)
    large = SecretStore(None, {"INNKEEPER_SECRET_KEY": VALUE * 1000})
    assert "more than" in await no_value(large, "KEY", caplog)
