"""Making API keys."""

from __future__ import annotations

from innkeeper.server.accounts.tokens import PREFIX, new_key
from innkeeper.server.accounts.users import Accounts
from innkeeper.storage.accounts_model import ApiKey
from innkeeper.storage.names import new_id


async def new_api_key(
    accounts: Accounts, owner: str, *, name: str, scopes: frozenset[str], lasting: float | None
) -> tuple[ApiKey, str]:
    """An API key, and the key itself (str), which nobody can show again.

    Args:
        accounts: the users.
        owner: whose.
        name: as the user calls it, or "".
        scopes: what it reaches.
        lasting: seconds for which it is good; None: until it is revoked.

    Raises:
        TooManyError: the user has too many.
        BusyError: too many log in at the same time.
    """
    secret, now = new_key(), accounts.now()
    hashed = await accounts.key_hashes.hash(secret)
    ends = None if lasting is None else now + lasting
    key = ApiKey(new_id(), owner, name, secret[:PREFIX], hashed, scopes, now, ends)
    await accounts.keys.add(key)
    return key, secret
