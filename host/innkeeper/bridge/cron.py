"""When a cron expression fires next: five fields in a time zone, never more often than once a minute."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

SHORTEST: Final = 60.0
"""Seconds between two firings at least: what five fields can say."""

MOST_AHEAD: Final = 10 * 366 * 86400.0
"""Seconds from now within which a schedule must fire: a leap day that a century leaves out is further away."""

MOST_TEXT: Final = 100
"""Characters of an expression."""

_CHARACTERS = re.compile(r"[0-9A-Za-z*,/# \-]+")
_NO_PLACES = frozenset({"localtime", "Factory", "posixrules"})
"""Names that mean a place only to this machine."""


def next_due(expression: str, timezone: str, after: float) -> float:
    """When an expression fires next. May take some milliseconds, and reads files of time zones: for a thread.

    In a time zone whose clocks change: what is to fire at a fixed time that is left out fires at the first moment after
    the gap, and what is to fire at one that comes twice fires the first time. Where minute or hour begins with "*",
    it fires by the time that passes: in both of two equal hours, and not in one that is left out.

    Args:
        expression: minute, hour, day of month, month, day of week.
        timezone: such as "Europe/Berlin".
        after: seconds since 1970; it fires later than that.

    Returns:
        Seconds since 1970 (float), whole minutes.

    Raises:
        ValueError: one of them is none, or it does not fire within `MOST_AHEAD`. The message is a sentence.
    """
    if len(expression) > MOST_TEXT or _CHARACTERS.fullmatch(expression) is None or len(expression.split()) != 5:
        raise ValueError(
            "the cron expression must have five fields: minute, hour, day of month, month, day of week; "
            "for example '30 7 * * MON-FRI'"
        )
    if timezone not in _timezones():
        raise ValueError("the time zone must be a name like 'Europe/Berlin' or 'UTC'")
    # The parser has its own way with UTC.
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    try:
        times = CronSim(expression, datetime.fromtimestamp(after, zone))
        for time in times:
            due = time.timestamp()
            # In an hour that comes twice the parser may begin with the first one, which is over.
            if due > after:
                break
        else:
            due = after + 2 * MOST_AHEAD
    except CronSimError as error:
        raise ValueError(f"the cron expression cannot be read: {error}") from None
    except OverflowError:
        due = after + 2 * MOST_AHEAD
    if due > after + MOST_AHEAD:
        raise ValueError("the cron expression does not fire within ten years")
    return due


@lru_cache(maxsize=1)
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_PLACES
