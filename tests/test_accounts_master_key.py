"""The master key: its file is this user's alone, and a rotation that is ended at any moment loses nothing."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import update

from innkeeper.server.accounts.master_key import FILE, VARIABLE, KeyPlace, MasterKey, MasterKeyError, keys_of
from innkeeper.server.accounts.vault import Vault
from innkeeper.storage.accounts_credentials import CredentialStore
from innkeeper.storage.accounts_schema import external_credentials
from innkeeper.storage.database import open_database
from innkeeper.storage.location import Location


@given(st.binary(min_size=32, max_size=32))
def test_a_key_is_read_in_each_way_it_is_written(data: bytes) -> None:
    id = MasterKey(data).id
    texts = [data.hex(), data.hex().upper(), base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()]
    for text in [*texts, texts[2].rstrip("=")]:
        assert [key.id for key in keys_of(f" {text}\n", "here")] == [id]
    assert [key.id for key in keys_of(",".join(texts), "here")] == [id] * 4
    assert keys_of(MasterKey(data).text(), "here")[0].id == id
    assert data.hex() not in repr(MasterKey(data))


@given(st.text(max_size=200))
@example("A" * 42)
@example("A" * 42 + "," + "A" * 43)
def test_what_is_no_key_is_refused_and_not_shown(text: str) -> None:
    said = ""
    try:
        found = keys_of(text, "here")
    except MasterKeyError as error:
        said = error.message
    else:
        assert bool(found) == bool(text.strip(", \t\r\n\f\v\x1c\x1d\x1e\x1f\x85\xa0") and len(text) >= 43)
    assert len(text) < 10 or text not in said


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.binary(max_size=200))
def test_what_is_encrypted_for_one_place_is_decrypted_there_alone(
    owner: str, id: str, other_owner: str, other_id: str, plain: bytes
) -> None:
    key = MasterKey.new()
    encrypted = key.encrypt(owner, id, plain)
    assert key.decrypt(owner, id, encrypted) == plain
    assert key.encrypt(owner, id, plain) != encrypted
    assert len(plain) < 8 or plain not in encrypted
    if (owner, id) != (other_owner, other_id):
        with pytest.raises(MasterKeyError):
            key.decrypt(other_owner, other_id, encrypted)
    with pytest.raises(MasterKeyError):
        MasterKey.new().decrypt(owner, id, encrypted)


def test_an_owner_and_an_id_are_not_run_together() -> None:
    key = MasterKey.new()
    encrypted = key.encrypt("ab", "c", b"x")
    for place in (("a", "bc"), ("abc", ""), ("", "abc")):
        with pytest.raises(MasterKeyError):
            key.decrypt(*place, encrypted)


@given(st.binary(max_size=100))
def test_any_bytes_are_decrypted_or_refused(data: bytes) -> None:
    with pytest.raises(MasterKeyError):
        MasterKey.new().decrypt("a", "b", data)


def test_the_file_is_this_users_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    place = KeyPlace(state, {})
    assert place.read() == []
    [key] = place.make()
    assert [each.id for each in place.make()] == [key.id]
    file = state / FILE
    assert (file.stat().st_mode & 0o777, state.stat().st_mode & 0o777) == (0o600, 0o700)
    assert os.listdir(state) == [FILE]
    file.chmod(0o640)
    with pytest.raises(MasterKeyError, match="others may read"):
        place.read()
    file.chmod(0o600)
    for content in (b"", b"\n", b"x", b"\xff" * 50, b"0" * 5000):
        file.write_bytes(content)
        with pytest.raises(MasterKeyError, match=FILE):
            place.read()
    file.unlink()
    (state / "elsewhere").write_text(key.text())
    file.symlink_to("elsewhere")
    with pytest.raises(MasterKeyError, match="is a link"):
        place.read()
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(MasterKeyError):
        place.read()
    file.unlink()
    file.mkdir()
    with pytest.raises(MasterKeyError):
        place.read()


def test_a_folder_that_others_write_to_holds_no_key(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(MasterKeyError, match="others may write"):
        KeyPlace(state, {}).make()
    assert os.listdir(state) == []


async def test_the_variable_goes_before_the_file_and_a_rotation_needs_a_new_key(
    database_place: Location, tmp_path: Path
) -> None:
    state, old, new = tmp_path / "state", MasterKey.new(), MasterKey.new()
    async with open_database(database_place) as database:
        store = CredentialStore(database)

        def vault(value: str) -> Vault:
            return Vault(store, KeyPlace(state, {VARIABLE: value} if value else {}))

        made = await vault("").add("a", "s", "", "of the file")
        # From the file to the variable.
        assert await vault(old.text()).rotate() == 1
        other = await vault(old.text()).add("a", "s", "", "of the variable")
        with pytest.raises(MasterKeyError, match="write the new key before it"):
            await vault(old.text()).rotate()
        assert await vault(f"{new.text()},{old.text()}").rotate() == 2
        assert await store.current() == new.id
        (state / FILE).unlink()
        for id, text in ((made.id, "of the file"), (other.id, "of the variable")):
            assert await vault(new.text()).reveal("a", id) == text
            with pytest.raises(MasterKeyError):
                await vault(old.text()).reveal("a", id)


async def test_a_credential_that_cannot_be_read_stops_a_rotation_and_nothing_is_lost(
    database_place: Location, tmp_path: Path
) -> None:
    place = KeyPlace(tmp_path / "state", {})
    async with open_database(database_place) as database:
        store = CredentialStore(database)
        vault = Vault(store, place)
        good, bad = await vault.add("a", "s", "", "good"), await vault.add("a", "s", "", "bad")
        damaged = (
            update(external_credentials).where(external_credentials.c.id == bad.id).values(encrypted=b"\x01damaged")
        )
        await database.write(lambda connection: connection.execute(damaged))
        before = await store.current()
        with pytest.raises(MasterKeyError, match="cannot be decrypted"):
            await vault.rotate()
        assert await store.current() == before
        assert await Vault(store, place).reveal("a", good.id) == "good"
        await vault.remove("a", bad.id)
        assert await vault.rotate() == 1
        assert await Vault(store, place).reveal("a", good.id) == "good"


_ROTATES = """
import os, signal, sys, trio
from pathlib import Path
from innkeeper.server.accounts.master_key import KeyPlace
from innkeeper.server.accounts.vault import Vault
from innkeeper.storage.accounts_credentials import CredentialStore
from innkeeper.storage.accounts_schema import external_credentials
from innkeeper.storage.database import open_database

state, dies = Path(sys.argv[1]), sys.argv[2]

def step(name):
    if name == dies:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with open_database(state / "inn.db", readers=1) as database:
        store = CredentialStore(database)
        if dies == "converting":
            rotate = store.rotate
            async def halfway(key, convert):
                seen = []
                def counted(*arguments):
                    seen.append(1)
                    step("converting" if len(seen) == 3 else "")
                    return convert(*arguments)
                return await rotate(key, counted)
            store.rotate = halfway
        await Vault(store, KeyPlace(state, {})).rotate(step=step)

trio.run(main)
"""


@pytest.mark.parametrize("dies", ["announced", "converting", "encrypted", "done"])
def test_a_rotation_that_is_killed_loses_nothing_and_the_next_one_ends_it(tmp_path: Path, dies: str) -> None:
    state = tmp_path / "state"
    place = KeyPlace(state, {})
    kept: dict[str, str] = {}

    async def fill() -> str | None:
        async with open_database(state / "inn.db") as database:
            vault = Vault(CredentialStore(database), place)
            for number in range(6):
                text = f"secret {number}"
                kept[(await vault.add("a", "s", "", text)).id] = text
            return await CredentialStore(database).current()

    async def check(rotate: bool) -> str | None:
        async with open_database(state / "inn.db") as database:
            vault = Vault(CredentialStore(database), place)
            if rotate:
                await vault.rotate()
            for id, text in kept.items():
                assert await vault.reveal("a", id) == text
            kept[(await vault.add("a", "s", "", "after")).id] = "after"
            return await CredentialStore(database).current()

    first = trio.run(fill)
    done = subprocess.run([sys.executable, "-c", _ROTATES, str(state), dies], check=False)
    assert done.returncode == -signal.SIGKILL
    second = trio.run(check, False)
    assert (second == first) == (dies in ("announced", "converting"))
    assert len(place.of_file()) == (1 if dies == "done" else 2)
    # What another one left that was killed while it wrote.
    (state / f"{FILE}.0123").write_text(MasterKey.new().text())
    last = trio.run(check, True)
    assert last != first
    assert [key.id for key in place.of_file()] == [last]
    assert sorted(os.listdir(state))[:1] == ["inn.db"]
    assert not [name for name in os.listdir(state) if name.startswith(f"{FILE}.")]
