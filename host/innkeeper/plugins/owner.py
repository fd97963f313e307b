"""For whom the present task works: whose data the services that it asks read and write.

It is a context variable, so it follows a task into the calls that it makes, into the host functions of these, and into
tasks that they start. Tasks of the host's own, which nobody's call started, work for the local user.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

from innkeeper.storage.names import check_name
from innkeeper.storage.run_model import USER

_owner: ContextVar[str] = ContextVar("innkeeper_owner", default=USER)


def present_owner() -> str:
    """Whose data the present task works on (str): `default_user` where nobody said."""
    return _owner.get()


@contextmanager
def acting_for(owner: str) -> Iterator[None]:
    """What is called inside of the block works on this owner's data. A run that a call names comes first: it has an
    owner of its own.

    Args:
        owner: id of a user.

    Raises:
        ValueError: that cannot be one.

    Example:
        >>> with acting_for("alice"):
        ...     await plugin.call("remember", b"...")
    """
    check_name(owner, "owner")
    token = enter(owner)
    try:
        yield
    finally:
        leave(token)


def enter(owner: str) -> Token[str]:
    """As `acting_for`, up to `leave`; for whoever must not pay for a generator with each call."""
    return _owner.set(owner)


def leave(token: Token[str]) -> None:
    """Ends what `enter` began, in the same task."""
    _owner.reset(token)
