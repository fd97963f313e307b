"""Who is let in to a server, in each mode, and what a browser keeps of it."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from argon2 import Type, extract_parameters

from accounts_servers import COOKIE, PASSWORD, House, house, uid
from innkeeper.errors import UsageError
from innkeeper.server.accounts.modes import check_listening, is_open
from innkeeper.server.accounts.passwords import KEYS, PASSWORDS, Hashing
from innkeeper.server.accounts.signing_in import setup_token
from innkeeper.server.accounts.tokens import new_token
from innkeeper.storage import accounts_sessions

MODES = ("LocalNoPassword", "LocalWithPassword", "MultiUserShared", "SingleUser", "MultiUser")
NOBODY = {"serviceApiKeys": [], "externalCredentials": []}


async def current(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/api/auth/current")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def log_in(client: httpx.AsyncClient, password: str = PASSWORD, name: str = "") -> httpx.Response:
    body = {"password": password} | ({"username": name} if name else {})
    return await client.post("/api/auth/login", json=body)


# --- what a client learns, in each mode -------------------------------------------------------------------------------


async def test_without_a_password_whoever_is_there_is_the_one_user(tmp_path: Path) -> None:
    async with house(tmp_path, "LocalNoPassword") as made:
        assert await current(made.served.client) == {
            "mode": "LocalNoPassword",
            "multiUserMode": False,
            "accessPasswordRequired": False,
            "isAuthenticated": True,
            "currentUser": {"id": "default_user", "username": "local user", **NOBODY},
        }
        assert (await log_in(made.served.client)).status_code == 409


async def test_with_a_password_nobody_is_anybody_before_they_log_in(tmp_path: Path) -> None:
    async with house(tmp_path, "LocalWithPassword") as made:
        shape = {"mode": "LocalWithPassword", "multiUserMode": False, "accessPasswordRequired": True}
        nobody = {**shape, "isAuthenticatedWithGlobalPassword": False, "currentUser": None}
        client = made.served.client
        assert await current(client) == nobody
        assert (await log_in(client)).status_code == 401
        token = await setup_token(made.accounts)
        answer = await client.post("/api/auth/setup-password", json={"token": token, "password": PASSWORD})
        assert answer.status_code == 201
        user = {"id": "default_user", "username": "local user", **NOBODY}
        assert await current(client) == {**shape, "isAuthenticatedWithGlobalPassword": True, "currentUser": user}
        assert await setup_token(made.accounts) is None
        async with made.client() as other:
            assert await current(other) == nobody
            assert (await log_in(other, "wrong wrong wrong")).status_code == 401
            assert (await log_in(other)).status_code == 200
            assert (await current(other))["currentUser"] == user


async def test_the_newer_single_user_has_a_password_or_not(tmp_path: Path) -> None:
    async with house(tmp_path, "SingleUser") as made:
        client = made.served.client
        found = await current(client)
        user = found.pop("currentUser")
        assert found == {
            "mode": "SingleUser",
            "multiUserMode": False,
            "accessPasswordRequired": False,
            "isAuthenticated": True,
            "globalPasswordSetupRequired": False,
        }
        assert (user["uid"], user["isAdmin"]) == ("default_user", True)
        # A password that is set later counts at once.
        await made.accounts.users.ensure_local("local user")
        await made.accounts.users.set_password("default_user", await made.accounts.passwords.hash(PASSWORD))
        found = await current(client)
        assert (found["accessPasswordRequired"], found["isAuthenticated"], found["currentUser"]) == (True, False, None)
        assert (await client.get("/api/users/me/service-keys")).status_code == 401
        assert (await log_in(client)).status_code == 200
        assert (await client.get("/api/users/me/service-keys")).status_code == 200
    async with house(tmp_path, "SingleUser") as made:
        # Others may reach it: a password that goes away does not open it.
        assert not made.accounts.open
        await made.accounts.users.rename("default_user", "me")
        values = made.accounts.users
        await values._db.write(lambda c: c.exec_driver_sql("UPDATE users SET password = NULL").close())
        found = await current(made.served.client)
        assert (found["isAuthenticated"], found["globalPasswordSetupRequired"]) == (False, True)


@pytest.mark.parametrize("mode", ["MultiUserShared", "MultiUser"])
async def test_of_several_users_each_is_themselves(tmp_path: Path, mode: str) -> None:
    async with house(tmp_path, mode) as made:
        nobody = await current(made.served.client)
        assert (nobody["multiUserMode"], nobody["isAuthenticated"], nobody["currentUser"]) == (True, False, None)
        assert nobody.get("adminRegistrationRequired", True) is True
        async with made.person("Ann") as ann, made.person("Bob") as bob:
            one, two = (await current(ann))["currentUser"], (await current(bob))["currentUser"]
            assert (one["username"], one["isAdmin"], two["username"], two["isAdmin"]) == ("Ann", True, "Bob", False)
            assert one["uid"] != two["uid"]
            assert one["createdAt"] == "2030-03-17T17:46:40.000Z"
            assert (await current(made.served.client)).get("adminRegistrationRequired", False) is False


@pytest.mark.parametrize("mode", MODES)
def test_a_server_without_a_password_listens_to_nobody_else(mode: Any) -> None:
    for password in (False, True):
        check_listening(mode, ["127.0.0.1", "::1", "127.8.9.1", "::ffff:127.0.0.1"], password=password)
        for address in ("0.0.0.0", "::", "192.168.1.4", "::ffff:10.0.0.1", "no address"):
            if is_open(mode, password=password):
                with pytest.raises(UsageError, match="asks for no password"):
                    check_listening(mode, ["127.0.0.1", address], password=password)
            else:
                check_listening(mode, [address], password=password)
    assert is_open("LocalNoPassword", password=True)
    assert not is_open("LocalWithPassword", password=False)
    assert not is_open("MultiUser", password=False)


# --- sessions ---------------------------------------------------------------------------------------------------------


def cookie_of(answer: httpx.Response) -> Any:
    [line] = answer.headers.get_list("set-cookie")
    [(name, morsel)] = SimpleCookie(line).items()
    return name, morsel


async def test_the_cookie_of_a_session_is_for_this_server_and_no_script(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann"), made.client() as client:
        answer = await log_in(client, name="Ann")
        name, cookie = cookie_of(answer)
        assert (name, cookie["httponly"], cookie["samesite"], cookie["path"]) == (COOKIE, True, "lax", "/")
        assert (cookie["secure"], cookie["domain"], cookie["max-age"]) == ("", "", "2592000")
        assert len(cookie.value) == 43
        assert answer.headers["cache-control"] == "no-store"


async def test_behind_https_the_cookie_is_for_https_alone(tmp_path: Path) -> None:
    path = "/api/users/me/service-keys"
    async with house(tmp_path, "MultiUser") as made, made.person("Ann"), made.secure() as client:
        name, cookie = cookie_of(await log_in(client, name="Ann"))
        assert (name, cookie["secure"], cookie["path"], cookie["domain"]) == ("__Host-innkeeper", True, "/", "")
        client.cookies.clear()
        # A cookie of the weaker name, which another page of the site may have set, counts for nothing.
        assert (await client.get(path, headers={"cookie": f"{COOKIE}={cookie.value}"})).status_code == 401
        assert (await client.get(path, headers={"cookie": f"{name}={cookie.value}"})).status_code == 200


async def test_a_cookie_that_somebody_else_planted_is_not_what_is_logged_in(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.client() as victim:
        for planted in (new_token(), ann.cookies[COOKIE]):
            victim.cookies.clear()
            answer = await victim.post(
                "/api/auth/login",
                json={"username": "Ann", "password": PASSWORD},
                headers={"cookie": f"{COOKIE}={planted}"},
            )
            assert answer.status_code == 200
            _, cookie = cookie_of(answer)
            assert cookie.value != planted
            async with made.client(cookie=f"{COOKIE}={planted}") as attacker:
                assert (await current(attacker))["isAuthenticated"] is False


async def test_who_logs_out_is_out_and_only_there(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.client() as other:
        await log_in(other, name="Ann")
        kept = ann.cookies[COOKIE]
        answer = await ann.post("/api/auth/logout")
        assert (answer.status_code, cookie_of(answer)[1]["max-age"]) == (204, "0")
        async with made.client(cookie=f"{COOKIE}={kept}") as thief:
            assert (await current(thief))["isAuthenticated"] is False
        assert (await current(other))["isAuthenticated"] is True
        assert (await ann.post("/api/auth/logout")).status_code == 204


async def test_who_logs_out_everywhere_or_changes_the_password_ends_the_other_sessions(tmp_path: Path) -> None:
    async with (
        house(tmp_path, "MultiUser") as made,
        made.person("Ann") as ann,
        made.client() as one,
        made.client() as two,
    ):
        for client in (one, two):
            await log_in(client, name="Ann")
        body = {"current": PASSWORD, "password": "another password"}
        wrong = await one.put("/api/users/me/password", json=body | {"current": "not this one"})
        assert wrong.status_code == 401
        assert (await one.put("/api/users/me/password", json=body)).status_code == 204
        states = [(await current(client))["isAuthenticated"] for client in (ann, one, two)]
        assert states == [False, True, False]
        assert (await log_in(two, name="Ann")).status_code == 401
        assert (await log_in(two, "another password", "Ann")).status_code == 200
        assert (await two.post("/api/auth/logout-all")).status_code == 204
        states = [(await current(client))["isAuthenticated"] for client in (one, two)]
        assert states == [False, False]


async def test_a_session_ends_when_it_is_not_used_and_in_any_case(tmp_path: Path) -> None:
    more = f"session_idle = {1000 / 86_400}\nsession_longest = {2500 / 86_400}\n"
    async with house(tmp_path, "MultiUser", more=more) as made, made.person("Ann") as ann:
        for _ in range(3):
            made.clock.now += 800
            assert (await current(ann))["isAuthenticated"] is True
        made.clock.now += 101
        assert (await current(ann))["isAuthenticated"] is False
        async with made.client() as other:
            await log_in(other, name="Ann")
            made.clock.now += 1001
            assert (await current(other))["isAuthenticated"] is False


async def test_the_oldest_session_goes_for_one_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_sessions, "MOST_SESSIONS", 4)
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as first:
        for _ in range(4):
            assert (await current(first))["isAuthenticated"] is True
            made.clock.now += 1
            async with made.client() as other:
                assert (await log_in(other, name="Ann")).status_code == 200
        assert (await current(first))["isAuthenticated"] is False


# --- guessing ---------------------------------------------------------------------------------------------------------


async def test_a_name_that_nobody_has_is_refused_as_one_that_somebody_has(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann"), made.person("Bob") as bob:
        accounts = made.accounts
        await accounts.users.change(await uid(bob), disabled=True)
        compared: list[bool] = []
        fits = accounts.passwords._fits

        def watched(hash: str | None, text: str) -> bool:
            compared.append(hash is not None)
            return fits(hash, text)

        accounts.passwords._fits = watched  # type: ignore[method-assign]
        tries = [("Ann", "wrong password"), ("Nobody", PASSWORD), ("Bob", PASSWORD), ("\0", "x"), ("Ann", "x")]
        async with made.client() as client:
            answers = [await log_in(client, password, name) for name, password in tries]
        assert {(answer.status_code, answer.text) for answer in answers} == {
            (401, '{"error":"the user name or the password is wrong"}')
        }
        # Each compared with one hash, of nobody's where there is no such user.
        assert compared == [True, False, True, False, True]


async def test_a_hash_of_nobody_costs_what_one_of_somebody_costs() -> None:
    for hasher in (PASSWORDS, KEYS):
        hashing = Hashing(hasher)
        known = await hashing.hash(PASSWORD)
        assert await hashing.fits(known, PASSWORD)
        assert not await hashing.fits(None, PASSWORD)
        assert not await hashing.fits(None, "nobody's")
        assert hashing._nobodys is not None
        assert extract_parameters(hashing._nobodys) == extract_parameters(known)
    assert extract_parameters(known).type is Type.ID


async def test_who_is_wrong_too_often_waits_longer_each_time(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann"), made.client() as client:
        for _ in range(6):
            assert (await log_in(client, "wrong password", "Ann")).status_code == 401
        waits = []
        for _ in range(4):
            answer = await log_in(client, PASSWORD, "Ann")
            assert answer.status_code == 429
            waits.append(int(answer.headers["retry-after"]))
            made.clock.now += waits[-1]
            assert (await log_in(client, "wrong password", "Ann")).status_code == 401
        assert waits == [1, 2, 4, 8]
        made.clock.now += 16
        assert (await log_in(client, PASSWORD, "Ann")).status_code == 200
        # Who was right begins anew.
        assert (await log_in(client, "wrong password", "Ann")).status_code == 401
        assert (await log_in(client, PASSWORD, "Ann")).status_code == 200


async def test_many_tries_at_once_have_no_more_than_those_one_after_the_other(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann"), made.client() as client:
        statuses: list[int] = []

        async def guess(number: int) -> None:
            statuses.append((await log_in(client, f"wrong password {number}", "Ann")).status_code)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(guess, number)
        assert sorted(set(statuses)) == [401, 429]
        assert statuses.count(401) == 6


async def test_a_token_that_is_wrong_costs_no_hash_and_is_said_in_the_log_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann:
        hashes: list[str] = []
        hash = made.accounts.passwords.hash

        async def watched(text: str) -> str:
            hashes.append(text)
            return await hash(text)

        made.accounts.passwords.hash = watched  # type: ignore[method-assign]
        token = new_token()
        for _ in range(3):
            assert (await register(made, token, "Eve")).status_code == 403
        assert hashes == []
        assert caplog.text.count("a token to register was wrong, from 127.0.0.1") == 3
        assert token not in caplog.text
        invited = (await ann.post("/api/admin/invitations", json={})).json()["token"]
        assert (await register(made, invited, "Bob")).status_code == 201
        assert hashes == [PASSWORD]


# --- registering ------------------------------------------------------------------------------------------------------


async def register(made: House, token: str | None, name: str = "Ann", password: str = PASSWORD) -> httpx.Response:
    async with made.client() as client:
        body = {"username": name, "password": password, "token": token}
        return await client.post("/api/auth/register", json=body)


async def test_of_two_who_want_to_be_the_first_administrator_one_is(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made:
        token = await setup_token(made.accounts)
        statuses: list[int] = []

        async def first(name: str) -> None:
            statuses.append((await register(made, token, name)).status_code)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(first, f"user {number}")
        assert sorted(statuses) == [201, 403, 403, 403, 403, 403]
        assert [user.is_admin for user in await made.accounts.users.list()] == [True]
        assert await setup_token(made.accounts) is None


async def test_a_token_that_was_printed_before_counts_no_more(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made:
        old, new = await setup_token(made.accounts), await setup_token(made.accounts)
        assert (await register(made, old)).status_code == 403
        made.clock.now += 86_401
        assert (await register(made, new)).status_code == 403
        assert (await register(made, await setup_token(made.accounts))).status_code == 201


async def test_nobody_registers_without_an_invitation(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann:
        for token in ("", "x", new_token(), "setup", "\0"):
            assert (await register(made, token, "Eve")).status_code in (403, 422)
        assert (await register(made, None, "Eve")).status_code == 422
        answer = await ann.post("/api/admin/invitations", json={"expiresIn": 100})
        assert answer.status_code == 201
        token = answer.json()["token"]
        listed = (await ann.get("/api/admin/invitations")).text
        assert token not in listed
        # A name that is taken, or a weak password, does not use it up.
        assert (await register(made, token, " aNN ")).status_code == 409
        assert (await register(made, token, "Bob", "short")).status_code == 422
        assert (await register(made, token, "Bob")).status_code == 201
        assert (await register(made, token, "Eve")).status_code == 403
        late = (await ann.post("/api/admin/invitations", json={"expiresIn": 100})).json()
        made.clock.now += 101
        assert (await register(made, late["token"], "Eve")).status_code == 403
        taken_back = (await ann.post("/api/admin/invitations", json={})).json()
        assert (await ann.delete(f"/api/admin/invitations/{taken_back['id']}")).status_code == 204
        assert (await register(made, taken_back["token"], "Eve")).status_code == 403
        assert {user.username for user in await made.accounts.users.list()} == {"Ann", "Bob"}


@pytest.mark.parametrize("mode", ["LocalNoPassword", "LocalWithPassword", "SingleUser"])
async def test_a_server_with_one_user_makes_no_others(tmp_path: Path, mode: str) -> None:
    async with house(tmp_path, mode) as made:
        assert (await register(made, new_token())).status_code == 409
        if mode != "LocalWithPassword":
            assert (await made.served.client.post("/api/admin/invitations", json={})).status_code == 409
