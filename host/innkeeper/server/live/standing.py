"""Whether somebody who was let in may still be there: a socket or a stream goes on for hours, and sessions and keys
end meanwhile."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio
from starlette.requests import HTTPConnection

from innkeeper.errors import InnkeeperError
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity

if TYPE_CHECKING:
    from innkeeper.server.parts import Parts

logger = logging.getLogger("innkeeper.server")

RECHECK: Final = 60.0
"""Seconds between two looks: each is a read or two of the database, for each socket and stream."""

_UNKNOWN: Final = 401


async def until_unknown(parts: Parts, connection: HTTPConnection, identity: Identity) -> None:
    """Returns once somebody is not who was let in: logged out, disabled, of another role, or with a key that was
    taken back. A ticket is good once, so that nobody can ask again by it: it never returns.

    Args:
        parts: of the server.
        connection: by which the user came.
        identity: who that was.
    """
    if identity.how == "ticket":
        await trio.sleep_forever()
    while True:
        await trio.sleep(RECHECK)
        try:
            if await parts.identify(connection) != identity:
                return
        except AnswerError as error:
            if error.status == _UNKNOWN:
                return
        except InnkeeperError as error:
            # A database that is busy throws nobody out.
            logger.warning("whether a user may still be there could not be read: %s", error)
