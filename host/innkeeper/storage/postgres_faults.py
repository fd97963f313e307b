"""What an error of PostgreSQL means, by its SQLSTATE, said as one sentence."""

from __future__ import annotations

from typing import Any

from innkeeper.errors import BusyError, InnkeeperError, InternalError, RejectedError, UsageError

_REFUSED = {"28000", "28P01"}
_FORBIDDEN = {"42501", "25006"}
# Waited too long for a lock, took too long, or was in each other's way.
_BUSY = {"55P03", "57014", "40001", "40P01", "55006"}
_FULL = {"53100", "54000"}
_SHORT = {"53000", "53200", "53300", "53400"}
_DAMAGED = {"XX001", "XX002"}
# The server ended the session: it was shut down, crashed, is starting, or would wait no longer for a process.
_LOST = {"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"}

_REFUSALS = {
    "28P01": ("authentication failed", "no password supplied", "no pg_hba.conf entry", '" is not permitted to log in'),
    "28000": ('FATAL:  role "',),
    "3D000": ('FATAL:  database "',),
    "42501": ("FATAL:  permission denied",),
    "53300": ("too many clients", "remaining connection slots", "too many connections"),
}


def translated_state(error: Any, name: str) -> InnkeeperError:
    """The error to raise in place of one of psycopg's. Never shows what the server said, which may hold values.

    Args:
        error: a `psycopg.Error`.
        name: of the database, for the message.
    """
    state = error.sqlstate or _refused_state(error)
    kind = type(error).__name__
    if state in _REFUSED:
        return UsageError(f"the server of the database {name!r} refuses the user or the password: look at its URL")
    if state == "3D000":
        return UsageError(f"there is no database {name!r} on its server: create it, or look at its URL")
    if state in _FORBIDDEN:
        return UsageError(
            f"the database {name!r} cannot be written to: look at the rights of its user, and whether it is a standby"
        )
    if state in _DAMAGED:
        return RejectedError(f"the database {name!r} is damaged: look at the server's log, and put back a copy of it")
    if state in _BUSY:
        return BusyError(
            f"the database {name!r} was busy for too long: another process holds it; try again", bound="database"
        )
    if state in _FULL:
        return BusyError(f"the database {name!r} cannot grow: the server's disk is full; make room on it", bound="disk")
    if state in _SHORT:
        return BusyError(
            f"the server of the database {name!r} has no room for more: memory or connections; try again",
            bound="database",
        )
    if state == "58030":
        return UsageError(f"the database {name!r} cannot be read or written: look at the disk of its server")
    if state in _LOST or (state or "").startswith("08") or (state is None and kind == "OperationalError"):
        return lost(name)
    if kind == "ConnectionTimeout":
        return lost(name)
    return InternalError(f"the database {name!r} failed ({kind}, {state}): please report this")


def _refused_state(error: Any) -> str | None:
    """The SQLSTATE of a connection that was refused, which libpq keeps to itself: by what the server says in English.
    Where it says it otherwise, the connection is lost like any other."""
    said = str(error)
    return next((state for state, words in _REFUSALS.items() if any(word in said for word in words)), None)


def lost(name: str) -> BusyError:
    """The error of those whose connection was lost, or could not be made; what they wrote is not there."""
    return BusyError(
        f"the server of the database {name!r} cannot be reached, or ended the connection: is it running, and its URL "
        "right? Then try again",
        bound="database",
    )


def in_doubt(name: str) -> BusyError:
    """The error of those of whom nobody can say whether what they wrote is there."""
    return BusyError(
        f"the server of the database {name!r} was lost while it kept something: look whether it is there, then try "
        "again",
        bound="database",
    )
