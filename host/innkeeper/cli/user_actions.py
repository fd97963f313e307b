"""`innkeeper user list`, `invite`, `password`, `role`, `disable` and `enable`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from innkeeper.cli.kept_runs import time_text
from innkeeper.cli.kept_users import on_accounts, seconds_of, user_of
from innkeeper.cli.output import is_terminal, json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home
    from innkeeper.server.accounts.users import Accounts
    from innkeeper.storage.accounts_model import User

_MONTH = 30 * 86_400.0
_MOST_LINE = 4096


@click.command("list")
@json_option
@pass_settings
def list_(settings: Settings) -> None:
    """List the users: their roles, and whether they are let in."""

    async def main(accounts: Accounts, home: Home) -> list[User]:
        found: list[User] = []
        while page := await accounts.users.list(after=found[-1].uid if found else ""):
            found += page
        return found

    users = on_accounts(settings.home, main)
    if settings.json:
        shown = [
            {
                "uid": each.uid,
                "username": each.username,
                "is_admin": each.is_admin,
                "disabled": each.disabled,
                "has_password": each.password is not None,
                "created": each.created,
            }
            for each in users
        ]
        write_out(json_bytes({"users": shown}, indent=2))
    elif not users:
        write_line("there are no users")
    else:
        write_table(
            ("name", "id", "role", "state", "since"),
            [
                (
                    each.username,
                    each.uid,
                    "administrator" if each.is_admin else "user",
                    "disabled" if each.disabled else "no password" if each.password is None else "-",
                    time_text(each.created),
                )
                for each in users
            ],
        )


@click.command()
@click.option("--admin", is_flag=True, help="The user will be an administrator.")
@click.option("--expires", metavar="TIME", help="For how long it is good, such as 12h or 7d; 7 days by default.")
@json_option
@pass_settings
def invite(settings: Settings, admin: bool, expires: str | None) -> None:
    """Invite one person: prints a token with which they register, once."""
    lasting = seconds_of("--expires", expires, _MONTH) or 604_800.0

    async def main(accounts: Accounts, home: Home) -> tuple[str, str, float]:
        from innkeeper.server.accounts.signing_in import invite
        from innkeeper.server.answers import AnswerError
        from innkeeper.storage.run_model import USER

        if not accounts.several:
            raise UsageError(f"there is one user in the mode {accounts.mode}: set [server] mode to invite others")
        try:
            made, token = await invite(accounts, USER, is_admin=admin, lasting=lasting)
        except AnswerError as error:
            raise UsageError(error.error) from None
        return made.id, token, made.ends

    id, token, ends = on_accounts(settings.home, main)
    if settings.json:
        write_out(json_bytes({"invitation": id, "token": token, "is_admin": admin, "ends": ends}))
    else:
        write_line(token)


@click.command()
@click.argument("name", required=False)
@json_option
@pass_settings
def password(settings: Settings, name: str | None) -> None:
    """Set the password of the user NAME, or the access password where there is one user; ends all their log-ins.

    It is read from the terminal, or from the first line of standard input, and never from the command line, which
    others on the machine can see.
    """
    from innkeeper.server.accounts.passwords import PASSWORDS

    # Who is meant is found first: nobody types a password for nothing.
    found = on_accounts(settings.home, lambda accounts, home: user_of(accounts, name))
    hashed = PASSWORDS.hash(_read())

    async def main(accounts: Accounts, home: Home) -> None:
        if not accounts.several:
            await accounts.users.ensure_local(found.username)
        if not await accounts.users.set_password(found.uid, hashed):
            raise UsageError("the user is gone")

    on_accounts(settings.home, main)
    if settings.json:
        write_out(json_bytes({"uid": found.uid, "done": "password"}))
    else:
        write_line(f"{found.username}: the password is set, and all log-ins have ended")


def _read() -> str:
    from innkeeper.server.accounts.passwords import checked_password

    if is_terminal(sys.stdin):
        text = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        if sys.stdin is None:
            raise UsageError("there is neither a terminal nor a pipe to read the password from")
        line = sys.stdin.buffer.readline(_MOST_LINE)
        try:
            text = line.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise UsageError("the password is no text in UTF-8") from None
    try:
        return checked_password(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


@click.command()
@click.argument("name")
@click.argument("role", metavar="admin|user", type=click.Choice(["admin", "user"]))
@json_option
@pass_settings
def role(settings: Settings, name: str, role: str) -> None:
    """Make the user NAME an administrator, or not."""
    _change(
        settings, name, f"is {'an administrator' if role == 'admin' else 'no administrator'}", is_admin=role == "admin"
    )


@click.command()
@click.argument("name")
@json_option
@pass_settings
def disable(settings: Settings, name: str) -> None:
    """Keep the user NAME out: all log-ins end, no key counts. What is theirs stays."""
    _change(settings, name, "is disabled", disabled=True)


@click.command()
@click.argument("name")
@json_option
@pass_settings
def enable(settings: Settings, name: str) -> None:
    """Let the user NAME in again."""
    _change(settings, name, "is let in", disabled=False)


def _change(
    settings: Settings, name: str, what: str, *, is_admin: bool | None = None, disabled: bool | None = None
) -> None:
    async def main(accounts: Accounts, home: Home) -> User:
        user = await user_of(accounts, name)
        done = await accounts.users.change(user.uid, is_admin=is_admin, disabled=disabled)
        if done == "last":
            raise UsageError("there would be no administrator left")
        if done == "unknown":
            raise UsageError("this user has nothing that could be changed")
        return user

    user = on_accounts(settings.home, main)
    if settings.json:
        write_out(json_bytes({"uid": user.uid, "done": what}))
    else:
        write_line(f"{user.username}: {what}")
