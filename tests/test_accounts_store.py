"""Users, invitations, sessions, keys and credentials are kept as they were promised, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from accounts_servers import Clock
from innkeeper.server.accounts.master_key import KeyPlace, MasterKeyError
from innkeeper.server.accounts.tokens import hash_of
from innkeeper.server.accounts.vault import Vault
from innkeeper.storage.accounts_credentials import CredentialStore
from innkeeper.storage.accounts_model import (
    MOST_INVITATIONS,
    MOST_NAME,
    SETUP,
    ApiKey,
    Invitation,
    Picture,
    Session,
    TakenError,
    checked_name,
    name_key,
)
from innkeeper.storage.accounts_schema import master_keys, sessions
from innkeeper.storage.accounts_sessions import ApiKeyStore, SessionStore
from innkeeper.storage.accounts_users import InvitationStore, UserStore
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location
from innkeeper.storage.owners import OwnerStore

USER = "default_user"


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def users(db: Database, clock: Clock) -> UserStore:
    return UserStore(db, now=clock)


@pytest.fixture
def invitations(db: Database, clock: Clock) -> InvitationStore:
    return InvitationStore(db, now=clock)


async def user(users: UserStore, invitations: InvitationStore, uid: str, *, is_admin: bool = False) -> str:
    now = users._now()
    assert await invitations.add(Invitation(f"i-{uid}", USER, is_admin, now, now + 60), f"h-{uid}")
    assert await users.register(f"h-{uid}", uid, f"name {uid}", "$hash") == "done"
    return uid


async def both(one: Any, two: Any) -> list[Any]:
    """What two answer who ask at the same time, or raise."""
    found: list[Any] = []

    async def ask(what: Any) -> None:
        try:
            found.append(await what)
        except TakenError:
            found.append("taken")

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, one)
            nursery.start_soon(ask, two)
    return found


async def test_of_two_hosts_one_makes_the_first_administrator(database_place: Location) -> None:
    async with open_database(database_place) as here, open_database(database_place) as there:
        for round_ in range(5):
            stores = [UserStore(here), UserStore(there)]
            now = stores[0]._now()
            await InvitationStore(here).add(Invitation(SETUP, USER, True, now, now + 60), f"h{round_}")
            asked = [
                store.register(f"h{round_}", f"u{round_}-{number}", f"n{round_}-{number}", "$hash")
                for number, store in enumerate(stores)
            ]
            assert sorted(await both(*asked)) == (["done", "token"] if round_ == 0 else ["token", "token"])
        assert len(await stores[0].list()) == 1


async def test_of_two_hosts_one_gives_away_a_name(database_place: Location) -> None:
    async with open_database(database_place) as here, open_database(database_place) as there:
        one, two = UserStore(here), UserStore(there)
        invitations = InvitationStore(here)
        now = one._now()
        for number in range(2):
            await invitations.add(Invitation(f"i{number}", USER, False, now, now + 60), f"h{number}")
        answers = await both(one.register("h0", "u0", "Ann", "$h"), two.register("h1", "u1", "ANN", "$h"))
        assert sorted(answers) == ["done", "taken"]
        # The invitation of whoever came second is still there.
        assert len(await invitations.list()) == 1


async def test_two_administrators_who_take_each_others_role_leave_one(database_place: Location) -> None:
    async with open_database(database_place) as here, open_database(database_place) as there:
        one, two = UserStore(here), UserStore(there)
        for uid in ("a", "b"):
            await user(one, InvitationStore(here), uid, is_admin=True)
        answers = await both(one.change("a", is_admin=False), two.change("b", disabled=True))
        assert sorted(answers) == ["done", "last"]
        assert await one.has_administrator()


async def test_names_that_people_take_for_the_same_are(users: UserStore, invitations: InvitationStore) -> None:
    await user(users, invitations, "a")
    await user(users, invitations, "b")
    assert await users.rename("a", "Stra\u00dfe")
    for name in ("STRASSE", "strasse", "\uff33trasse", "Stra\u00dfe"):
        with pytest.raises(TakenError):
            await users.rename("b", name)
        found = await users.find(name)
        assert found is not None
        assert found.uid == "a"
    assert await users.rename("a", "strasse")
    assert not await users.rename("nobody", "other")


async def test_the_local_user_is_made_once_whatever_others_are_called(
    users: UserStore, invitations: InvitationStore
) -> None:
    await user(users, invitations, "a")
    await users.rename("a", "local user")
    for _ in range(2):
        await users.ensure_local("local user")
    local = await users.get(USER)
    assert local is not None
    assert (local.username, local.is_admin, local.password) == ("local user", True, None)
    found = await users.find("local user")
    assert found is not None
    assert found.uid == "a"


async def test_a_setup_token_sets_the_first_password_and_no_second(
    users: UserStore, invitations: InvitationStore, clock: Clock
) -> None:
    assert not await users.set_up("h", "local user", "$one")
    for hash in ("old", "h"):
        await invitations.add(Invitation(SETUP, USER, True, clock.now, clock.now + 60), hash)
    assert not await users.set_up("old", "local user", "$one")
    assert await users.set_up("h", "local user", "$one")
    await invitations.add(Invitation(SETUP, USER, True, clock.now, clock.now + 60), "again")
    assert not await users.set_up("again", "local user", "$two")
    local = await users.get(USER)
    assert local is not None
    assert local.password == "$one"


async def test_invitations_end_and_are_bounded(users: UserStore, invitations: InvitationStore, clock: Clock) -> None:
    for number in range(MOST_INVITATIONS):
        assert await invitations.add(Invitation(f"i{number}", USER, False, clock.now, clock.now + 60), f"h{number}")
    assert not await invitations.add(Invitation("more", USER, False, clock.now, clock.now + 60), "more")
    assert len(await invitations.list()) == MOST_INVITATIONS
    clock.now += 60
    assert await users.register("h0", "a", "Ann", "$h") == "token"
    assert await invitations.list() == []
    assert await invitations.add(Invitation("more", USER, False, clock.now, clock.now + 60), "more")


async def test_sessions_that_have_ended_go_with_the_next_log_in(
    db: Database, users: UserStore, invitations: InvitationStore, clock: Clock
) -> None:
    store = SessionStore(db, now=clock)
    await user(users, invitations, "a")
    for number in range(3):
        await store.add(Session(f"h{number}", "a", clock.now, clock.now + 10), "$hash")
    clock.now += 10
    await store.add(Session("new", "a", clock.now, clock.now + 10), "$hash")
    assert await db.read(lambda connection: [*connection.scalars(select(sessions.c.hash))]) == ["new"]
    assert await store.find("h0") is None
    assert await store.end_all("a") == 1


async def test_who_logs_in_while_the_password_is_changed_is_not_in_afterwards(database_place: Location) -> None:
    async with open_database(database_place) as here, open_database(database_place) as there:
        one, store = UserStore(here), SessionStore(there)
        now = one._now()
        await user(one, InvitationStore(here), "a")
        for number in range(10):
            session = Session(f"h{number}", "a", now, now + 100)
            before = f"$hash{number}"
            await one.set_password("a", before)
            await both(one.set_password("a", "$other"), store.add(session, before))
            assert await store.find(session.hash) is None
        assert not await store.add(session, "$hash")
        await one.change("a", disabled=True)
        assert not await store.add(session, "$other")
        assert not await store.add(Session("h", "nobody", now, now + 100), None)


async def test_a_picture_takes_the_place_of_the_one_before(users: UserStore, invitations: InvitationStore) -> None:
    await user(users, invitations, "a")
    for picture in (Picture("d1", "image/png", b"1"), Picture("d2", "image/gif", b"2")):
        assert await users.set_picture("a", picture)
        assert await users.picture("a") == picture
    found = await users.get("a")
    assert found is not None
    assert found.avatar == "d2"
    assert await users.set_picture("a", None)
    assert await users.picture("a") is None
    assert not await users.set_picture("nobody", Picture("d1", "image/png", b"1"))


async def test_all_that_lets_somebody_in_goes_with_them(
    db: Database, users: UserStore, invitations: InvitationStore, clock: Clock, tmp_path: Path
) -> None:
    for uid in ("gone", "other"):
        await user(users, invitations, uid)
        await SessionStore(db, now=clock).add(Session(f"s-{uid}", uid, clock.now, clock.now + 10), "$hash")
        key = ApiKey(f"k-{uid}", uid, "", "ctsk_12345678", f"$hash-{uid}", frozenset({"runs"}), clock.now)
        await ApiKeyStore(db, now=clock).add(key)
        await Vault(CredentialStore(db), KeyPlace(tmp_path / "state", {})).add(uid, "s", "", "secret")
        await users.set_picture(uid, Picture("d", "image/png", b"1"))
    erased = await OwnerStore(db).erase("gone")
    assert erased == {"users": 1, "avatars": 1, "sessions": 1, "service_api_keys": 1, "external_credentials": 1}
    assert await SessionStore(db, now=clock).find("s-gone") is None
    assert [key.owner for key, _ in await ApiKeyStore(db, now=clock).of_prefix("ctsk_12345678")] == ["other"]
    assert await users.get("other") is not None


# --- credentials and the master key -----------------------------------------------------------------------------------


async def test_who_writes_while_the_key_is_rotated_writes_under_the_new_one(
    database_place: Location, tmp_path: Path
) -> None:
    place = KeyPlace(tmp_path / "state", {})
    async with open_database(database_place) as here, open_database(database_place) as there:
        server, command = Vault(CredentialStore(here), place), Vault(CredentialStore(there), place)
        kept = {(await server.add("a", "s", "", f"secret {number}")).id: f"secret {number}" for number in range(5)}
        over = trio.Event()

        async def goes_on() -> None:
            number = 0
            while not over.is_set():
                text = f"more {number}"
                kept[(await server.add(f"u{number}", "s", "", text)).id] = text
                number += 1

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(goes_on)
                for _ in range(4):
                    await command.rotate()
                over.set()
        [key] = place.of_file()
        current = await CredentialStore(here).current()
        assert key.id == current
        for vault in (server, command, Vault(CredentialStore(here), place)):
            for id, text in kept.items():
                owner = "a" if text.startswith("secret") else f"u{text.removeprefix('more ')}"
                assert await vault.reveal(owner, id) == text


async def test_two_who_keep_the_first_credential_use_one_key(database_place: Location, tmp_path: Path) -> None:
    place = KeyPlace(tmp_path / "state", {})
    async with open_database(database_place) as here, open_database(database_place) as there:
        one, two = Vault(CredentialStore(here), place), Vault(CredentialStore(there), place)
        made = await both(one.add("a", "s", "", "x"), two.add("a", "s", "", "y"))
        assert {await one.reveal("a", each.id) for each in made} == {"x", "y"}
        assert len(place.of_file()) == 1


async def test_a_host_with_another_key_writes_nothing(db: Database, tmp_path: Path) -> None:
    right, wrong = (Vault(CredentialStore(db), KeyPlace(tmp_path / name, {})) for name in ("right", "wrong"))
    made = await right.add("a", "s", "", "x")
    with pytest.raises(MasterKeyError, match="is neither in INNKEEPER_MASTER_KEY nor"):
        await wrong.add("a", "s", "", "y")
    with pytest.raises(MasterKeyError):
        await wrong.reveal("a", made.id)
    # Without the old key nothing is rotated away.
    with pytest.raises(MasterKeyError):
        await wrong.rotate()
    assert await right.reveal("a", made.id) == "x"
    assert len(await right.list("a")) == 1
    assert await db.read(lambda connection: len(connection.execute(select(master_keys)).all())) == 1


# --- names ------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_a_name_is_one_or_is_refused_and_stays_what_it_is(text: str) -> None:
    try:
        name = checked_name(text)
    except ValueError:
        return
    assert 1 <= len(name) <= MOST_NAME
    assert name == name.strip()
    assert checked_name(name) == name
    assert "\0" not in name
    assert name_key(name) == name_key(f" {name.upper().lower().upper()} ".strip()) or not name.isascii()
    name.encode()


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "a\nb", "a\u202eb", "\ud800", "x" * 65, "x" * 100_000, "\ue000"])
def test_a_name_that_nobody_could_read_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="user name"):
        checked_name(text)


@given(st.text(max_size=100))
def test_tokens_are_found_by_a_hash_whatever_is_sent(text: str) -> None:
    assert len(hash_of(text)) == 64
