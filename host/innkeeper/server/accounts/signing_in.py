"""Logging in, registering, and the tokens that let somebody become a user."""

from __future__ import annotations

import logging
from typing import Final

from innkeeper.server.accounts.passwords import checked_password
from innkeeper.server.accounts.tokens import TOKEN, hash_of, new_token
from innkeeper.server.accounts.tries import network_of
from innkeeper.server.accounts.users import LOCAL_NAME, Accounts
from innkeeper.server.answers import AnswerError
from innkeeper.storage.accounts_model import SETUP, Invitation, Session, TakenError, User, checked_name, name_key
from innkeeper.storage.accounts_users import Registered
from innkeeper.storage.names import new_id
from innkeeper.storage.run_model import USER

logger = logging.getLogger("innkeeper.server.accounts")

SETUP_LIFE: Final = 86_400.0
"""Seconds for which the token that `innkeeper serve` prints is good; the next start prints another one."""


async def log_in(accounts: Accounts, username: str, password: str, address: str) -> User:
    """The user of a name and a password.

    Guarantee: a name that nobody has takes the same way, and as long, as one that somebody has.

    Args:
        username: in the single-user modes it does not count.
        password: as it was sent.
        address: where from.

    Raises:
        AnswerError: 401, 409: nobody logs in here; 429: too many tries.
        BusyError: too many log in at the same time.
    """
    if accounts.mode == "LocalNoPassword":
        raise AnswerError(409, "nobody logs in to this server: it asks for no password")
    name = name_key(username) if accounts.several else USER
    tried = accounts.tries.begin(address, name)
    try:
        user = await (_found(accounts, username) if accounts.several else accounts.users.get(USER))
        # Of who may not come in the password is compared all the same.
        right = await accounts.passwords.fits(None if user is None else user.password, _text(password))
    except BaseException:
        tried.undone()
        raise
    if user is None or user.disabled or not right:
        # Without the name: somebody may have typed the password there.
        logger.warning("a log-in failed, from %s", network_of(address))
        raise AnswerError(
            401, "the user name or the password is wrong" if accounts.several else "the password is wrong"
        )
    tried.succeeded()
    return user


async def start_session(accounts: Accounts, user: User) -> str:
    """A new session of a user; gives its token (str), which nobody else knows.

    Raises:
        AnswerError: 401: the user was disabled, or has another password, since they were looked up.
    """
    token, now = new_token(), accounts.now()
    if not await accounts.sessions.add(Session(hash_of(token), user.uid, now, now + accounts.longest), user.password):
        raise AnswerError(401, "the password was changed meanwhile")
    logger.info("user %s logged in", user.uid)
    return token


async def register(accounts: Accounts, username: str, password: str, token: str, address: str) -> User:
    """Makes a user of an invitation.

    Raises:
        AnswerError: 403: the token is none; 409: another user has the name, or there is one user here; 422: name or
            password cannot be one; 429; 503: there are too many users.
        BusyError: too many log in at the same time.
    """
    if not accounts.several:
        raise AnswerError(409, "this server has one user: there is nobody to register")
    name, plain = _checked(username), _password(password)
    tried = accounts.tries.begin(address, None)
    hash, uid = _hash(token), new_id()
    try:
        # A wrong one costs no hash of a password.
        done: Registered = "token"
        if await accounts.invitations.is_open(hash):
            done = await accounts.users.register(hash, uid, name, await accounts.passwords.hash(plain))
    except TakenError:
        tried.succeeded()
        raise AnswerError(409, "another user has this name: choose another one") from None
    except BaseException:
        tried.undone()
        raise
    if done == "token":
        logger.warning("a token to register was wrong, from %s", network_of(address))
        raise AnswerError(403, "the token is wrong, was used, or is too old: ask an administrator for another one")
    tried.succeeded()
    if done == "full":
        raise AnswerError(503, "this server has no room for another user")
    found = await accounts.users.get(uid)
    if found is None:
        raise AnswerError(409, "the user was erased at once")
    return found


async def set_up(accounts: Accounts, password: str, token: str, address: str) -> User:
    """Gives a server with one user its first access password.

    Raises:
        AnswerError: 403: the token is none; 409: there are several users, or no password is asked for; 422; 429.
        BusyError: too many log in at the same time.
    """
    if accounts.several or accounts.mode == "LocalNoPassword":
        raise AnswerError(409, "this server has no access password")
    plain = _password(password)
    tried = accounts.tries.begin(address, None)
    hash, done = _hash(token), False
    try:
        if await accounts.invitations.is_open(hash):
            done = await accounts.users.set_up(hash, LOCAL_NAME, await accounts.passwords.hash(plain))
    except BaseException:
        tried.undone()
        raise
    if not done:
        logger.warning("a token to set the password was wrong, from %s", network_of(address))
        raise AnswerError(403, "the token is wrong, was used, or is too old: the next start of the server prints one")
    tried.succeeded()
    return await accounts.local_user()


async def change_password(accounts: Accounts, user: User, current: str, password: str, address: str, keep: str) -> None:
    """Changes a user's password; all sessions beside one end.

    Args:
        keep: the hash of the session that stays, or "".

    Raises:
        AnswerError: 401: the current one is wrong; 422; 429.
        BusyError: too many log in at the same time.
    """
    plain = _password(password)
    tried = accounts.tries.begin(address, name_key(user.username))
    try:
        right = await accounts.passwords.fits(user.password, _text(current))
        hashed = await accounts.passwords.hash(plain) if right else ""
    except BaseException:
        tried.undone()
        raise
    if not right:
        raise AnswerError(401, "the current password is wrong")
    tried.succeeded()
    await accounts.users.set_password(user.uid, hashed, keep=keep)


async def invite(accounts: Accounts, owner: str, *, is_admin: bool, lasting: float) -> tuple[Invitation, str]:
    """An invitation and its token, which is shown this one time.

    Args:
        owner: who invites.
        is_admin: whether the user will be an administrator.
        lasting: seconds for which it is good.

    Raises:
        AnswerError: 409: there are too many.
    """
    token, now = new_token(), accounts.now()
    invitation = Invitation(new_id(), owner, is_admin, now, now + lasting)
    if not await accounts.invitations.add(invitation, hash_of(token)):
        raise AnswerError(409, "too many invitations are open: take some back")
    return invitation, token


async def setup_token(accounts: Accounts) -> str | None:
    """The one token (str) with which whoever reads the server's terminal makes the first administrator, or sets the
    first access password; None where that was done. One that was given before counts no more.

    It is a token, and not an address: behind a proxy everybody comes from this machine, and others who use it do, too.
    """
    if not await accounts.needs_setup():
        return None
    token, now = new_token(), accounts.now()
    await accounts.invitations.add(Invitation(SETUP, USER, True, now, now + SETUP_LIFE), hash_of(token))
    return token


async def _found(accounts: Accounts, username: str) -> User | None:
    try:
        return await accounts.users.find(checked_name(username))
    except ValueError:
        # Nobody has it; no database is asked for what it could not keep.
        return None


def _hash(token: str) -> str:
    # What cannot be a token is looked up as well, and not there.
    return hash_of(token if TOKEN.fullmatch(token) else "")


def _text(password: str) -> str:
    """A password to compare with; one that nobody can have fits nothing."""
    try:
        return checked_password(password)
    except ValueError:
        return "\0"


def _password(text: str) -> str:
    try:
        return checked_password(text)
    except ValueError as error:
        raise AnswerError(422, str(error)) from None


def _checked(username: str) -> str:
    try:
        return checked_name(username)
    except ValueError as error:
        raise AnswerError(422, str(error)) from None
