"""What time it is, as macros say it. The clock is the caller's; without one nothing is said."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

_MONTHS: Final = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                  "November", "December")  # fmt: skip
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TOKEN = re.compile(r"\[([^\]]*+)\]|YYYY|YY|MMMM|MMM|MM|M|DD|D|dddd|ddd|HH|H|hh|h|mm|m|ss|s|A|a")


def told(name: str, arguments: list[str], now: datetime) -> str | None:
    """What a time macro says, or None where it is none.

    Args:
        name: of the macro, in lower case.
        arguments: of the macro.
        now: the time.
    """
    match name:
        case "time":
            if arguments and arguments[0].strip():
                return _elsewhere(arguments[0], now)
            return formatted(now, "h:mm A")
        case "date":
            return formatted(now, "MMMM D, YYYY")
        case "weekday":
            return _DAYS[now.weekday()]
        case "isotime":
            return formatted(now, "HH:mm")
        case "isodate":
            return formatted(now, "YYYY-MM-DD")
        case "datetimeformat":
            return formatted(now, arguments[0]) if arguments else None
        case _:
            return _elsewhere(name[5:], now) if name.startswith("time_") else None


def formatted(now: datetime, pattern: str) -> str:
    """A time in the letters that SillyTavern's formats have (YYYY, MM, DD, HH, mm and so on)."""
    hour = now.hour % 12 or 12
    half = "AM" if now.hour < 12 else "PM"
    values = {
        "YYYY": f"{now.year:04d}", "YY": f"{now.year % 100:02d}", "MMMM": _MONTHS[now.month - 1],
        "MMM": _MONTHS[now.month - 1][:3], "MM": f"{now.month:02d}", "M": str(now.month), "DD": f"{now.day:02d}",
        "D": str(now.day), "dddd": _DAYS[now.weekday()], "ddd": _DAYS[now.weekday()][:3], "HH": f"{now.hour:02d}",
        "H": str(now.hour), "hh": f"{hour:02d}", "h": str(hour), "mm": f"{now.minute:02d}", "m": str(now.minute),
        "ss": f"{now.second:02d}", "s": str(now.second), "A": half, "a": half.lower(),
    }  # fmt: skip
    return _TOKEN.sub(lambda found: found[1] if found[1] is not None else values[found[0]], pattern)


def _elsewhere(zone: str, now: datetime) -> str | None:
    found = re.fullmatch(r"\s*utc\s*([+-]\d{1,2})\s*", zone, re.IGNORECASE)
    if found is None or abs(int(found[1])) > 14 or now.tzinfo is None:
        return None
    return formatted(now.astimezone(timezone(timedelta(hours=int(found[1])))), "h:mm A")
