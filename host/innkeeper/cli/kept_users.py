"""Users of a home as commands reach them: through the database, beside a server that may be running."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from innkeeper.cli.records import database_of
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home
    from innkeeper.server.accounts.users import Accounts
    from innkeeper.storage.accounts_model import User

T = TypeVar("T")


def on_accounts(chosen: str | None, work: Callable[[Accounts, Home], Awaitable[T]]) -> T:
    """Opens the users of a home, does something with them, and gives what that gave.

    Args:
        chosen: the home, as of `open_home`.
        work: what is done.

    Raises:
        UsageError: the home is not believed; and as `open_home`.
        InnkeeperError: what the work or the database raises.
    """
    import trio

    from innkeeper.plugins.home import open_home, refuse_doubted

    home = open_home(chosen)
    refuse_doubted(home.path, home.doubt)

    async def main() -> T:
        from innkeeper.server.accounts.users import accounts_of
        from innkeeper.storage.database import open_database

        async with open_database(database_of(home), readers=1) as database:
            settings = home.configuration.server
            return await work(await accounts_of(database, settings, home.state.absolute(), os.environ), home)

    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)


async def user_of(accounts: Accounts, name: str | None) -> User:
    """The user that an argument means: by name or id; the one of the single-user modes where there is none.

    Raises:
        UsageError: there is no such user, or a name is needed.
    """
    from innkeeper.storage.run_model import USER

    if name is None:
        if accounts.several:
            raise UsageError(f"there are several users in the mode {accounts.mode}: say which one")
        return await accounts.local_user()
    if name == USER and not accounts.several:
        return await accounts.local_user()
    found = await accounts.users.find(name[:256]) or await accounts.users.get(name)
    if found is None:
        raise UsageError(f"there is no user {name[:100]!r}; `innkeeper user list` lists them")
    return found


def seconds_of(option: str, text: str | None, most: float) -> float | None:
    """What an option says, in seconds; None where it was not given.

    Raises:
        UsageError: it is none, or more than `most`.
    """
    from innkeeper.sandbox.limits import parse_duration

    if text is None:
        return None
    days = text.strip().removesuffix("d")
    try:
        found = float(days) * 86_400 if days != text.strip() and days.isdecimal() else parse_duration(text)
    except UsageError as error:
        raise UsageError(f"{option}: {error.message}; or a number of days, such as 30d") from None
    if not 0 < found <= most:
        raise UsageError(f"{option}: at most {most / 86_400:g} days")
    return found
