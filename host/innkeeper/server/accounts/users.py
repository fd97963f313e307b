"""Everything about users in one object: where they are kept, and what lets somebody in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from innkeeper.plugins.settings import Mode, ServerSettings
from innkeeper.server.accounts.master_key import KeyPlace
from innkeeper.server.accounts.modes import MULTI, is_open
from innkeeper.server.accounts.passwords import KEYS, PASSWORDS, Hashing
from innkeeper.server.accounts.tickets import Tickets
from innkeeper.server.accounts.tries import Tries
from innkeeper.server.accounts.vault import Vault
from innkeeper.storage.accounts_credentials import CredentialStore
from innkeeper.storage.accounts_model import User
from innkeeper.storage.accounts_sessions import ApiKeyStore, SessionStore
from innkeeper.storage.accounts_users import InvitationStore, UserStore
from innkeeper.storage.database import Database
from innkeeper.storage.run_model import USER

LOCAL_NAME: Final = "local user"
"""The name of the user of the single-user modes until they choose another."""

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Accounts:
    """The users of a server.

    Attributes:
        mode: who may use it.
        settings: what else the operator decided.
        users, invitations, sessions, keys: where they are kept.
        vault: their credentials.
        passwords: compares passwords.
        key_hashes: compares API keys.
        tries: how often somebody may be wrong.
        tickets: for sockets and streams.
        open: whether whoever reaches the server is its user, who has no password. Decided as the server begins, and
            what it listens on and checks with it: a password that is set later counts at once, but one that goes away
            does not open a server that others reach.
        now: seconds since 1970.
    """

    mode: Mode
    settings: ServerSettings
    users: UserStore
    invitations: InvitationStore
    sessions: SessionStore
    keys: ApiKeyStore
    vault: Vault
    passwords: Hashing
    key_hashes: Hashing
    tries: Tries
    tickets: Tickets
    open: bool
    now: Callable[[], float]

    @property
    def several(self) -> bool:
        """Whether there are several users (bool)."""
        return self.mode in MULTI

    @property
    def idle(self) -> float:
        """Seconds after which a session ends that nobody uses (float)."""
        return self.settings.session_idle * _DAY

    @property
    def longest(self) -> float:
        """Seconds after which a session ends in any case (float)."""
        return self.settings.session_longest * _DAY

    async def local_user(self) -> User:
        """The user of the single-user modes, kept or not."""
        return await self.users.get(USER) or User(USER, LOCAL_NAME, True, False, None, None, 0.0)

    async def needs_setup(self) -> bool:
        """Whether nobody can log in yet: there is no administrator, or no access password."""
        if self.several:
            return not await self.users.has_administrator()
        return self.mode == "LocalWithPassword" and (await self.local_user()).password is None


async def accounts_of(
    database: Database,
    settings: ServerSettings,
    state: Path,
    environment: Mapping[str, str],
    *,
    now: Callable[[], float] = time.time,
    steady: Callable[[], float] = time.monotonic,
) -> Accounts:
    """The users of a server that begins.

    Args:
        database: where they are kept.
        settings: what the operator decided.
        state: the home's folder that may have the file of the master key.
        environment: may have the variable of the master key.
        now: seconds since 1970; called from any thread.
        steady: seconds of a clock that only goes forward.
    """
    users = UserStore(database, now=now)
    local = await users.get(USER)
    return Accounts(
        mode=settings.mode,
        settings=settings,
        users=users,
        invitations=InvitationStore(database, now=now),
        sessions=SessionStore(database, now=now),
        keys=ApiKeyStore(database, now=now),
        vault=Vault(CredentialStore(database), KeyPlace(state, environment), now=now),
        passwords=Hashing(PASSWORDS),
        key_hashes=Hashing(KEYS),
        tries=Tries(now=steady),
        tickets=Tickets(now=steady),
        open=is_open(settings.mode, password=local is not None and local.password is not None),
        now=now,
    )
