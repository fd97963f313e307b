"""API keys and tickets reach what they were made for, as long as they were made for, and credentials never come out."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from sqlalchemy import select, update
from starlette.requests import HTTPConnection

from accounts_servers import COOKIE, PASSWORD, QUICK, House, house, key_of, uid
from innkeeper.errors import BusyError
from innkeeper.server.accounts.master_key import MasterKeyError
from innkeeper.server.accounts.passwords import Hashing
from innkeeper.server.accounts.tokens import new_key, new_token
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.storage.accounts_model import MOST_CREDENTIALS, MOST_KEYS
from innkeeper.storage.accounts_schema import external_credentials, service_api_keys

SECRET = "sk-live-" + "0123456789abcdefghijklmnopqrstuvwxyz"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def asks(made: House, key: str, path: str = "/api/users/me/service-keys") -> int:
    async with made.client(**bearer(key)) as client:
        return (await client.get(path)).status_code


async def test_a_key_is_its_user_and_is_shown_once(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann"), made.person("Bob") as bob:
        key = await key_of(bob, name="editor", scopes=["account", "runs"])
        assert re.fullmatch(r"ctsk_[A-Za-z0-9_-]{43}", key["secret"])
        assert key["prefix"] == key["secret"][:13]
        assert (key["name"], key["scopes"]) == ("editor", ["account", "runs"])
        async with made.client(**bearer(key["secret"])) as client:
            user = (await client.get("/api/auth/current")).json()["currentUser"]
            assert (user["username"], user["isAdmin"]) == ("Bob", False)
            [listed] = (await client.get("/api/users/me/service-keys")).json()
        assert listed.pop("lastUsedAt") == "2030-03-17T17:46:40.000Z"
        assert listed == {name: value for name, value in key.items() if name != "secret"}
        kept = await made.served.parts.database.read(
            lambda connection: connection.execute(select(service_api_keys)).mappings().all()
        )
        assert key["secret"] not in str(kept)
        assert kept[0]["hashed_key"].startswith("$argon2id$")


async def test_a_key_that_is_wrong_ended_revoked_or_a_disabled_users_is_refused_the_same_way(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.person("Bob") as bob:
        ended, revoked, disabled = (
            await key_of(ann, scopes=["account"], expiresIn=10),
            await key_of(ann, scopes=["account"]),
            await key_of(bob, scopes=["account"]),
        )
        for key in (ended, revoked, disabled):
            assert await asks(made, key["secret"]) == 200
        made.clock.now += 10
        assert (await ann.delete(f"/api/users/me/service-keys/{revoked['id']}")).status_code == 204
        answer = await ann.patch(f"/api/admin/users/{await uid(bob)}", json={"disabled": True})
        assert answer.json()["disabled"] is True
        right = revoked["secret"]
        wrong = [ended["secret"], right, disabled["secret"], new_key(), right[:-1] + ("A" if right[-1] != "A" else "B")]
        answers = set()
        for key in (*wrong, "ctsk_", "x" * 5000, "ctsk_" + "a" * 44, "ctsk_" + "!" * 43):
            async with made.client(**bearer(key)) as client:
                answer = await client.get("/api/users/me/service-keys")
                answers.add((answer.status_code, answer.text, answer.headers["www-authenticate"]))
        assert answers == {
            (401, '{"error":"the API key is wrong, has ended, or was revoked"}', 'Bearer realm="innkeeper"')
        }


async def test_a_wrong_key_is_compared_once_whether_its_prefix_is_known_or_not(tmp_path: Path) -> None:
    async with house(tmp_path, "LocalNoPassword") as made:
        key = (await key_of(made.served.client, scopes=["account"]))["secret"]
        compared: list[bool] = []
        fits = made.accounts.key_hashes._fits

        def watched(hash: str | None, text: str) -> bool:
            compared.append(hash is not None)
            return fits(hash, text)

        made.accounts.key_hashes._fits = watched  # type: ignore[method-assign]
        assert await asks(made, new_key()) == 401
        assert await asks(made, key[:13] + new_key()[13:]) == 401
        assert compared == [False, True]
        # One that is right is compared once, and looked up each time.
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(asks, made, key)
        assert compared == [False, True, True]


async def test_wrong_keys_of_one_address_are_told_to_wait_and_a_known_one_is_not(tmp_path: Path) -> None:
    async with house(tmp_path, "LocalNoPassword") as made:
        key = (await key_of(made.served.client, scopes=["account"]))["secret"]
        assert await asks(made, key) == 200
        statuses = [await asks(made, new_key()) for _ in range(25)]
        assert statuses == [401] * 21 + [429] * 4
        assert await asks(made, key) == 200


async def test_nobodys_prefix_finds_anothers_key(tmp_path: Path) -> None:
    """Two keys of one prefix: each is its own user's."""
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.person("Bob") as bob:
        one, two = (await key_of(ann, scopes=["account"]), await key_of(bob, scopes=["account"]))
        statement = update(service_api_keys).values(prefix=one["secret"][:13])
        await made.served.parts.database.write(lambda connection: connection.execute(statement))
        assert await asks(made, one["secret"]) == 200
        assert await asks(made, two["secret"]) == 401


async def test_scopes_are_kept_and_a_key_makes_no_other_keys(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann:
        plain = await key_of(ann)
        assert plain["scopes"] == ["files", "nodes", "runs"]
        async with made.client(**bearer(plain["secret"])) as client:
            user = (await client.get("/api/auth/current")).json()["currentUser"]
            assert (user["serviceApiKeys"], user["externalCredentials"]) == ([], [])
            for method, path in (
                ("GET", "/api/users/me/service-keys"),
                ("GET", "/api/users/me/credentials"),
                ("PUT", "/api/users/me/username"),
                ("POST", "/api/users/me/avatar"),
                ("POST", "/api/auth/logout-all"),
                ("GET", "/api/admin/users"),
            ):
                body = {"json": {"username": "Eve"}} if method == "PUT" else {}
                assert (await client.request(method, path, **body)).status_code == 403, path  # type: ignore[arg-type]
        all_of_it = await key_of(ann, scopes=["runs", "files", "nodes", "account", "admin"])
        async with made.client(**bearer(all_of_it["secret"])) as client:
            assert (await client.get("/api/admin/users")).status_code == 200
            assert (await client.post("/api/users/me/service-keys", json={})).status_code == 403
            assert (await client.post("/api/admin/invitations", json={})).status_code == 403
            body = {"current": PASSWORD, "password": "another password"}
            assert (await client.put("/api/users/me/password", json=body)).status_code == 403
        assert (await ann.post("/api/users/me/service-keys", json={"scopes": ["everything"]})).status_code == 422
        assert (await ann.post("/api/users/me/service-keys", json={"scopes": []})).status_code == 422


async def test_roles_are_those_of_now_and_the_last_administrator_stays(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.person("Bob") as bob:
        one, two = await uid(ann), await uid(bob)
        for method, path in (
            ("GET", "/api/admin/users"),
            ("PATCH", f"/api/admin/users/{two}"),
            ("GET", "/api/admin/invitations"),
            ("POST", "/api/admin/invitations"),
            ("DELETE", "/api/admin/invitations/x"),
        ):
            answer = await bob.request(method, path, json=None if method in ("GET", "DELETE") else {"isAdmin": True})
            assert (answer.status_code, answer.json()) == (403, {"error": "only an administrator may do this"})
            async with made.client() as nobody:
                assert (await nobody.request(method, path)).status_code == 401
        assert (await bob.post("/api/users/me/service-keys", json={"scopes": ["admin"]})).status_code == 403
        for change in ({"isAdmin": False}, {"disabled": True}):
            assert (await ann.patch(f"/api/admin/users/{one}", json=change)).status_code == 409
        assert (await ann.patch(f"/api/admin/users/{two}", json={"isAdmin": True})).status_code == 200
        key = (await key_of(bob, scopes=["admin"]))["secret"]
        assert await asks(made, key, "/api/admin/users") == 200
        # Two who take each other's role at once: one stays.
        statuses: list[int] = []

        async def demote(client: httpx.AsyncClient, other: str) -> None:
            statuses.append((await client.patch(f"/api/admin/users/{other}", json={"isAdmin": False})).status_code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(demote, ann, two)
            nursery.start_soon(demote, bob, one)
        assert statuses.count(200) == 1
        administrators = [user.uid for user in await made.accounts.users.list() if user.is_admin]
        assert len(administrators) == 1
        assert await asks(made, key, "/api/admin/users") == (200 if administrators == [two] else 403)
        assert (await (ann if administrators == [one] else bob).patch("/api/admin/users/x", json={})).status_code == 404


async def test_nobody_has_more_than_their_share(tmp_path: Path) -> None:
    async with house(tmp_path, "LocalNoPassword") as made:
        client = made.served.client
        for _ in range(MOST_KEYS):
            await key_of(client)
        assert (await client.post("/api/users/me/service-keys", json={})).status_code == 409
        body = {"serviceName": "s", "credential": "c"}
        for _ in range(MOST_CREDENTIALS):
            assert (await client.post("/api/users/me/credentials", json=body)).status_code == 201
        assert (await client.post("/api/users/me/credentials", json=body)).status_code == 409


@pytest.mark.parametrize("mode", ["LocalNoPassword", "LocalWithPassword", "SingleUser"])
async def test_in_a_mode_of_one_user_keys_and_sessions_of_others_count_for_nothing(tmp_path: Path, mode: str) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann:
        key, cookie = (await key_of(ann, scopes=["account"]))["secret"], ann.cookies[COOKIE]
    async with house(tmp_path, mode) as made:
        assert await asks(made, key) == 401
        async with made.client(cookie=f"{COOKIE}={cookie}") as client:
            user = (await client.get("/api/auth/current")).json()["currentUser"]
            assert user is None or user.get("uid", user.get("id")) == "default_user"


# --- tickets ----------------------------------------------------------------------------------------------------------


async def come(made: House, ticket: str, path: str = "/ws", type_: str = "websocket") -> Identity | int | None:
    """Who somebody is who opens a socket or a stream with a ticket; the status where they are refused."""
    scope: dict[str, Any] = {"type": type_, "method": "GET", "path": path, "headers": [], "client": ("127.0.0.1", 1)}
    scope |= {"query_string": f"ticket={ticket}".encode(), "scheme": "ws", "server": ("127.0.0.1", 80)}
    try:
        return await made.served.parts.identify(HTTPConnection(scope))
    except AnswerError as error:
        return error.status


async def test_a_ticket_is_good_once_and_for_a_short_time(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann:
        answer = await ann.post("/api/auth/ticket")
        assert (answer.json()["expiresIn"], answer.headers["cache-control"]) == (30.0, "no-store")
        one = answer.json()["ticket"]
        found: list[Any] = []

        async def take() -> None:
            found.append(await come(made, one))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(take)
        assert sorted(map(str, found))[:4] == ["401"] * 4
        [identity] = [each for each in found if isinstance(each, Identity)]
        assert (identity.username, identity.how, identity.scopes) == ("Ann", "ticket", None)
        late = (await ann.post("/api/auth/ticket")).json()["ticket"]
        made.clock.now += 30
        assert await come(made, late) == 401
        assert len(made.accounts.tickets) == 0
        for wrong in ("", "x", new_token()):
            assert await come(made, wrong) == 401


async def test_a_ticket_is_for_sockets_and_streams_alone(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann:
        ticket = (await ann.post("/api/auth/ticket")).json()["ticket"]
        async with made.client() as client:
            for path in ("/api/users/me/service-keys", "/api/auth/current"):
                answer = await client.get(path, params={"ticket": ticket})
                assert answer.status_code == 401 or answer.json()["currentUser"] is None
            assert (await client.post("/api/auth/ticket", params={"ticket": ticket})).status_code == 401
        identity = await come(made, ticket, "/api/stream/r1", "http")
        assert isinstance(identity, Identity)


async def test_a_tickets_scopes_are_those_of_its_key_and_it_goes_with_it(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.person("Bob") as bob:
        key = await key_of(bob, scopes=["nodes"])
        async with made.client(**bearer(key["secret"])) as client:
            tickets = [(await client.post("/api/auth/ticket")).json()["ticket"] for _ in range(2)]
        identity = await come(made, tickets[0])
        assert isinstance(identity, Identity)
        assert (identity.username, identity.scopes, identity.may("runs")) == ("Bob", frozenset({"nodes"}), False)
        await bob.delete(f"/api/users/me/service-keys/{key['id']}")
        assert await come(made, tickets[1]) == 401
        of_session = [(await bob.post("/api/auth/ticket")).json()["ticket"] for _ in range(2)]
        await ann.patch(f"/api/admin/users/{await uid(bob)}", json={"disabled": True})
        assert await come(made, of_session[0]) == 401
        of_session = (await ann.post("/api/auth/ticket")).json()["ticket"]
        await ann.post("/api/auth/logout")
        assert await come(made, of_session) == 401


async def test_tickets_are_bounded(tmp_path: Path) -> None:
    async with house(tmp_path, "LocalNoPassword") as made:
        statuses = [(await made.served.client.post("/api/auth/ticket")).status_code for _ in range(102)]
        assert statuses == [200] * 100 + [429] * 2
        made.clock.now += 31
        assert (await made.served.client.post("/api/auth/ticket")).status_code == 200


# --- credentials ------------------------------------------------------------------------------------------------------


async def test_a_credential_never_comes_out_again(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann:
        body = {"serviceName": "openai", "credential": SECRET, "displayName": "mine"}
        answer = await ann.post("/api/users/me/credentials", json=body)
        assert answer.status_code == 201
        shown = answer.json()
        hint = {"prefix": "sk-l", "suffix": "wxyz"}
        assert (shown["serviceName"], shown["displayName"], shown["displayHint"]) == ("openai", "mine", hint)
        made.clock.now += 1
        short = await ann.post("/api/users/me/credentials", json={"serviceName": "s", "credential": "x" * 31})
        assert "displayHint" not in short.json()
        assert (await ann.get("/api/users/me/credentials")).json() == [shown, short.json()]
        owner = await uid(ann)
        assert await made.accounts.vault.reveal(owner, shown["id"]) == SECRET
        assert (await ann.delete(f"/api/users/me/credentials/{shown['id']}")).status_code == 204
        assert (await ann.delete(f"/api/users/me/credentials/{shown['id']}")).status_code == 404
        assert await made.accounts.vault.reveal(owner, shown["id"]) is None


async def test_nobody_reaches_what_is_another_users(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.person("Bob") as bob:
        key = await key_of(ann)
        body = {"serviceName": "openai", "credential": SECRET}
        credential = (await ann.post("/api/users/me/credentials", json=body)).json()
        for kind, id in (("service-keys", key["id"]), ("credentials", credential["id"])):
            assert (await bob.get(f"/api/users/me/{kind}")).json() == []
            # As if there were none.
            mine, none = [await bob.delete(f"/api/users/me/{kind}/{each}") for each in (id, "f" * 32)]
            assert (mine.status_code, mine.text) == (none.status_code, none.text)
            assert mine.status_code == 404
            assert len((await ann.get(f"/api/users/me/{kind}")).json()) == 1
        assert await made.accounts.vault.reveal(await uid(bob), credential["id"]) is None


async def test_ciphertext_that_is_moved_or_changed_is_no_credential(tmp_path: Path) -> None:
    async with house(tmp_path, "MultiUser") as made, made.person("Ann") as ann, made.person("Bob") as bob:
        vault, database = made.accounts.vault, made.served.parts.database
        one, two = await uid(ann), await uid(bob)
        first, second = await vault.add(one, "s", "", SECRET), await vault.add(one, "s", "", "other")
        c = external_credentials.c

        async def put(id: str, **values: Any) -> None:
            statement = update(external_credentials).where(c.id == id).values(**values)
            await database.write(lambda connection: connection.execute(statement))

        encrypted = {id: (await vault._store.encrypted(one, id) or ("", b""))[1] for id in (first.id, second.id)}
        assert SECRET.encode() not in encrypted[first.id]
        await put(second.id, encrypted=encrypted[first.id])
        with pytest.raises(MasterKeyError):
            await vault.reveal(one, second.id)
        await put(first.id, owner=two)
        with pytest.raises(MasterKeyError):
            await vault.reveal(two, first.id)
        await put(first.id, owner=one)
        assert await vault.reveal(one, first.id) == SECRET
        for at in range(0, len(encrypted[first.id]), 7):
            changed = bytearray(encrypted[first.id])
            changed[at] ^= 1
            await put(first.id, encrypted=bytes(changed))
            with pytest.raises(MasterKeyError) as caught:
                await vault.reveal(one, first.id)
            assert SECRET not in str(caught.value)


# --- what is secret stays so ------------------------------------------------------------------------------------------


async def test_no_log_no_answer_and_no_file_has_what_is_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    answers: list[str] = []

    async def note(answer: httpx.Response) -> None:
        await answer.aread()
        answers.append(f"{answer.status_code} {answer.headers} {answer.text}")

    async with house(tmp_path / "home", "MultiUser") as made, made.person("Ann") as ann:
        key = (await key_of(ann, scopes=["account"]))["secret"]
        token = (await ann.post("/api/admin/invitations", json={})).json()["token"]
        cookie, wrong, guessed = ann.cookies[COOKIE], new_key(), "a guess that is wrong"
        secrets = [PASSWORD, SECRET, key, key[5:], token, cookie, wrong, guessed]
        ann.event_hooks["response"].append(note)
        async with made.client(**bearer(key)) as client, made.client(**bearer(wrong)) as other:
            for each in (client, other, ann):
                each.event_hooks["response"] = [note]
                await each.post("/api/users/me/credentials", json={"serviceName": "s", "credential": SECRET})
                # Each field where it does not belong, and too long: what is refused is not shown again.
                for path in ("/api/auth/login", "/api/auth/register", "/api/auth/setup-password"):
                    for field in ("username", "password", "token"):
                        await each.post(path, json={field: [PASSWORD, SECRET, guessed]})
                        await each.post(path, json={field: SECRET * 50})
                await each.post("/api/users/me/credentials", json={"serviceName": SECRET * 9, "credential": [SECRET]})
                await each.post("/api/users/me/service-keys", json={"scopes": [SECRET]})
                await each.put("/api/users/me/password", json={"current": guessed, "password": SECRET})
                await each.get("/api/auth/current")
                await each.get("/api/users/me/credentials")
                await each.get(f"/api/stream/x?ticket={token}")
        kept = b"".join(path.read_bytes() for path in (tmp_path / "home" / "state").rglob("*") if path.is_file())
    # What the tests' client says of what it sends is no word of the server's.
    log = [f"{each.getMessage()} {each.exc_text}" for each in caplog.records if not each.name.startswith("http")]
    said = "".join(answers) + "\n".join(log) + "".join(capfd.readouterr())
    assert len(answers) > 60
    for secret in secrets:
        assert secret not in said, f"secret number {secrets.index(secret)} was said"
        assert secret.encode() not in kept, f"secret number {secrets.index(secret)} is kept"


async def test_a_flood_of_log_ins_waits_or_is_told_to_come_later() -> None:
    hashing, lock, most, now = Hashing(QUICK, threads=2, waiting=3), threading.Lock(), 0, 0
    release, two, all_refused = threading.Event(), threading.Event(), trio.Event()
    fits = hashing._fits

    def slow(hash: str | None, text: str) -> bool:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
            if now == 2:
                two.set()
        release.wait(30)
        with lock:
            now -= 1
        return fits(hash, text)

    hashing._fits = slow  # type: ignore[method-assign]
    refused = 0

    async def one() -> None:
        nonlocal refused
        try:
            assert not await hashing.fits(None, "x")
        except BusyError:
            refused += 1
            if refused == 15:
                all_refused.set()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one)
            await all_refused.wait()
            assert await trio.to_thread.run_sync(two.wait, 30)
            release.set()
    assert (refused, most) == (15, 2)
