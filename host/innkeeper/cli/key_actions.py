"""`innkeeper key list`, `new`, `revoke` and `rotate-master`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from innkeeper.cli.kept_runs import time_text
from innkeeper.cli.kept_users import on_accounts, seconds_of, user_of
from innkeeper.cli.output import counted, json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import BusyError, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home
    from innkeeper.server.accounts.users import Accounts
    from innkeeper.storage.accounts_model import ApiKey

_WHOLE = 48
"""Characters of a whole key."""

_CENTURY = 36_500 * 86_400.0
_SCOPES = ("runs", "files", "nodes", "account", "admin")
_USER = click.option("--user", "name", metavar="NAME", help="Whose; needed where there are several users.")


@click.command("list")
@_USER
@json_option
@pass_settings
def list_(settings: Settings, name: str | None) -> None:
    """List the API keys of a user: what each reaches, and when it was last used."""

    async def main(accounts: Accounts, home: Home) -> list[ApiKey]:
        return await accounts.keys.list((await user_of(accounts, name)).uid)

    keys = on_accounts(settings.home, main)
    if settings.json:
        write_out(json_bytes({"keys": [_object(key) for key in keys]}, indent=2))
    elif not keys:
        write_line("there are no API keys")
    else:
        write_table(
            ("key", "name", "reaches", "since", "last used", "until"),
            [
                (
                    f"{key.prefix}...",
                    key.name or "-",
                    ", ".join(sorted(key.scopes)),
                    time_text(key.created),
                    time_text(key.used),
                    time_text(key.ends),
                )
                for key in keys
            ],
        )


def _object(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name or None,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created": key.created,
        "used": key.used,
        "ends": key.ends,
    }


@click.command()
@_USER
@click.option("--name", "label", metavar="TEXT", default="", help="What the key is for.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    help="What it reaches; may be repeated. By default runs, files and nodes.",
)
@click.option(
    "--expires", metavar="TIME", help="For how long it is good, such as 12h or 90d; by default until revoked."
)
@json_option
@pass_settings
def new(settings: Settings, name: str | None, label: str, scopes: tuple[str, ...], expires: str | None) -> None:
    """Make an API key of a user, and print it: it is never shown again."""
    lasting = seconds_of("--expires", expires, _CENTURY)
    if len(label) > 100 or not label.isprintable():
        raise UsageError("--name: at most 100 characters that can be seen")

    async def main(accounts: Accounts, home: Home) -> tuple[ApiKey, str]:
        from innkeeper.server.accounts.keys import new_api_key
        from innkeeper.server.accounts.shapes import GIVEN
        from innkeeper.storage.run_model import TooManyError

        user = await user_of(accounts, name)
        if "admin" in scopes and not user.is_admin:
            raise UsageError("--scope admin: the user is no administrator")
        try:
            return await new_api_key(accounts, user.uid, name=label, scopes=frozenset(scopes or GIVEN), lasting=lasting)
        except TooManyError as error:
            raise UsageError(f"there are {error.value} API keys already: revoke one") from None

    key, secret = on_accounts(settings.home, main)
    if settings.json:
        write_out(json_bytes({**_object(key), "secret": secret}))
    else:
        write_line(secret)


@click.command()
@click.argument("key")
@_USER
@json_option
@pass_settings
def revoke(settings: Settings, key: str, name: str | None) -> None:
    """Revoke the API key KEY: its id, or its first characters as `innkeeper key list` shows them."""

    async def main(accounts: Accounts, home: Home) -> ApiKey:
        from innkeeper.server.accounts.tokens import PREFIX

        user = await user_of(accounts, name)
        begin = key.removesuffix("...") if len(key) < _WHOLE else key[:PREFIX]
        close = [each for each in await accounts.keys.list(user.uid) if each.id == key or each.prefix == begin]
        if len(close) != 1:
            many = "several API keys have" if close else "no API key has"
            raise UsageError(f"{many} this id or beginning; `innkeeper key list` lists them")
        await accounts.keys.remove(user.uid, close[0].id)
        return close[0]

    # A key itself may have been given: no more of it is said than lists show.
    found = on_accounts(settings.home, main)
    if settings.json:
        write_out(json_bytes({"id": found.id, "prefix": found.prefix, "done": "revoked"}))
    else:
        write_line(f"{found.prefix}...: revoked")


@click.command("rotate-master")
@json_option
@pass_settings
def rotate_master(settings: Settings) -> None:
    """Encrypt all credentials under another master key, in one transaction.

    The new key is the first one of the variable INNKEEPER_MASTER_KEY, where that is set: write NEW,OLD. Otherwise it is
    made, and takes the place of the old one in the home's state/master.key. Ended in the midst of it, nothing is lost:
    repeat it.
    """

    async def main(accounts: Accounts, home: Home) -> int:
        from innkeeper.server.accounts.master_key import LOCK
        from innkeeper.storage.process_lock import ProcessLock

        lock = ProcessLock(home.state.absolute() / LOCK)
        if not lock.take():
            raise BusyError("another command rotates the master key, or backs it up", bound="home")
        try:
            return await accounts.vault.rotate()
        finally:
            lock.release()

    count = on_accounts(settings.home, main)
    if settings.json:
        write_out(json_bytes({"rotated": count}))
    else:
        write_line(f"{counted(count, 'credential')} encrypted under another master key")
