"""Credentials of users: encrypted as they come, decrypted for the host's own services, and shown to nobody."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from innkeeper.server.accounts.master_key import KeyPlace, MasterKey, MasterKeyError
from innkeeper.storage.accounts_credentials import CredentialStore
from innkeeper.storage.accounts_model import Credential
from innkeeper.storage.names import new_id

LONGEST: Final = 8192
"""Characters of a credential: a key in PEM still fits."""

HINTED: Final = 32
"""Characters from which on the first and the last four are shown: the others are enough to keep it secret."""

_HINT = 4
_TRIES = 3

T = TypeVar("T")


class Vault:
    """Credentials by owner and id.

    Guarantee: what is kept can be decrypted under its owner and id alone, and is under a master key that is there,
    whoever rotates it meanwhile.
    """

    def __init__(self, store: CredentialStore, place: KeyPlace, *, now: Callable[[], float] = time.time) -> None:
        """Args:
        store: where they are kept.
        place: where the master keys are.
        now: seconds since 1970.
        """
        self._store = store
        self._place = place
        self._now = now
        self._keys: dict[str, MasterKey] = {}
        self._newest: str | None = None
        self._limiter = trio.CapacityLimiter(1)

    async def add(self, owner: str, service: str, name: str, secret: str) -> Credential:
        """Keeps a credential.

        Args:
            owner: whose.
            service, name: as the user calls it; bounded by the caller.
            secret: at most `LONGEST` characters.

        Raises:
            MasterKeyError: there is no master key that fits.
            TooManyError: the user has too many.
        """
        first, last = (secret[:_HINT], secret[-_HINT:]) if len(secret) >= HINTED else ("", "")
        credential = Credential(new_id(), owner, service, name, first, last, self._now())
        for _ in range(_TRIES):
            key = await self._current()
            if await self._store.add(credential, key.encrypt(owner, credential.id, secret.encode()), key.id):
                return credential
            # Somebody rotated meanwhile, or was the first to keep one.
        raise MasterKeyError("the credential was not kept: the master key changes all the time")

    async def list(self, owner: str) -> list[Credential]:
        """Those of a user, oldest first."""
        return await self._store.list(owner)

    async def remove(self, owner: str, id: str) -> bool:
        """Deletes one of a user's; False where there is none."""
        return await self._store.remove(owner, id)

    async def reveal(self, owner: str, id: str) -> str | None:
        """The secret itself, for a service of the host that uses it; None where the user has no such credential.

        Raises:
            MasterKeyError: its master key is not there, or it was changed.
        """
        found = await self._store.encrypted(owner, id)
        if found is None:
            return None
        key = await self._key(found[0])
        return key.decrypt(owner, id, found[1]).decode()

    async def rotate(self, *, step: Callable[[str], None] = lambda step: None) -> int:
        """Puts all credentials under another master key: the first one of the variable, or a new one in the file.

        Whenever it is ended, by whatever, every credential can still be decrypted; the next call finishes what was
        begun. Only one call at a time, which the caller sees to.

        Args:
            step: is told what was done: "announced", "encrypted", "done".

        Returns:
            How many were changed (int).

        Raises:
            MasterKeyError: the variable has no new key, or an old one is missing.
        """
        keys = await self._thread(self._place.read)
        by_variable = self._place.by_variable
        if by_variable and keys[0].id == await self._store.current():
            raise MasterKeyError(
                "all credentials are under the key of the variable INNKEEPER_MASTER_KEY already: for another one write "
                "the new key before it, with a comma between, and repeat this"
            )
        if not by_variable and len(keys) < 2:
            # Both are in the file before anything is encrypted under the new one.
            keys = [MasterKey.new(), *keys]
            announced = list(keys)
            await self._thread(lambda: self._place.write(announced))
        step("announced")
        known = {key.id: key for key in keys}
        target = keys[0]

        def convert(owner: str, id: str, under: str, encrypted: bytes) -> bytes:
            if under not in known:
                raise _missing(under)
            return target.encrypt(owner, id, known[under].decrypt(owner, id, encrypted))

        changed = await self._store.rotate(target.id, convert)
        step("encrypted")
        if not by_variable:
            await self._thread(lambda: self._place.write([target]))
        step("done")
        self._keys, self._newest = {target.id: target}, target.id
        return changed

    async def _current(self) -> MasterKey:
        """The key to encrypt under: the one that all are under; the newest where nothing was ever kept."""
        current = await self._store.current()
        if current is not None:
            return await self._key(current)
        if self._newest is None:
            await self._load()
        if self._newest is None:
            self._remember(await self._thread(self._place.make))
        assert self._newest is not None
        return self._keys[self._newest]

    async def _key(self, id: str) -> MasterKey:
        if id not in self._keys:
            # Another process rotated.
            await self._load()
        if id not in self._keys:
            raise _missing(id)
        return self._keys[id]

    async def _load(self) -> None:
        self._remember(await self._thread(self._place.read))

    def _remember(self, keys: builtins.list[MasterKey]) -> None:
        self._keys = {key.id: key for key in keys}
        self._newest = keys[0].id if keys else None

    async def _thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self._limiter)


def _missing(id: str) -> MasterKeyError:
    return MasterKeyError(
        f"credentials are under the master key {id}, which is neither in INNKEEPER_MASTER_KEY nor in the home's "
        "state/master.key: put it there"
    )
