"""Servers with users, on loopback, with a clock that only a test moves on and hashes that are quick."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from argon2 import PasswordHasher

from innkeeper.composition import serving
from innkeeper.server.accounts import users
from innkeeper.server.accounts.signing_in import invite, setup_token
from innkeeper.server.accounts.users import Accounts, accounts_of
from innkeeper.server.app import make_app
from innkeeper.storage.run_model import USER
from servers import Served, served

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"
COOKIE = "innkeeper"


@dataclass
class Clock:
    """Seconds that only a test moves on."""

    now: float = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class House:
    """A server with users.

    Attributes:
        served: the server.
        clock: its clock, also of what must only go forward.
    """

    served: Served
    clock: Clock = field(default_factory=Clock)

    @property
    def accounts(self) -> Accounts:
        return self.served.parts.accounts

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Somebody else, who has no cookie; a page of the server's own."""
        headers.setdefault("origin", self.served.url)
        return httpx.AsyncClient(base_url=self.served.url, trust_env=False, timeout=30, headers=headers)

    def secure(self) -> httpx.AsyncClient:
        """Somebody who speaks https, to the application itself."""
        transport = httpx.ASGITransport(make_app(self.served.parts))
        return httpx.AsyncClient(base_url="https://127.0.0.1", transport=transport)

    @asynccontextmanager
    async def person(self, name: str, *, is_admin: bool = False) -> AsyncIterator[httpx.AsyncClient]:
        """A user who has just registered, and is logged in."""
        if not await self.accounts.users.has_administrator():
            token = await setup_token(self.accounts)
        else:
            _, token = await invite(self.accounts, USER, is_admin=is_admin, lasting=60)
        async with self.client() as client:
            body = {"username": name, "password": PASSWORD, "token": token}
            answer = await client.post("/api/auth/register", json=body)
            assert answer.status_code == 201, answer.text
            yield client


@asynccontextmanager
async def house(home: Path, mode: str, *, more: str = "") -> AsyncIterator[House]:
    """Serves a home in a mode."""
    _write(home, f'[server]\nmode = "{mode}"\n{more}')
    clock = Clock()
    make: Any = partial(accounts_of, now=clock, steady=clock)
    with patch.object(serving, "accounts_of", make), patch.object(users, "PASSWORDS", QUICK):
        async with served(home) as made:
            yield House(made, clock)


def _write(home: Path, settings: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "innkeeper.toml").write_text(settings)


async def uid(client: httpx.AsyncClient) -> str:
    """The id of who is logged in."""
    user = (await client.get("/api/auth/current")).json()["currentUser"]
    return str(user.get("uid") or user["id"])


async def key_of(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """A new API key of who is logged in."""
    answer = await client.post("/api/users/me/service-keys", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made
