"""What a setting counts: how its value is read from a file and from a line of text, and how it is shown.

A setting's type says it: `Size` is an int to everybody else. A plain `int`, `float`, `bool`, `str`, `Literal` or
`tuple[str, ...]`, and each of them `| None`, has a unit too.
"""

from __future__ import annotations

import os
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from innkeeper.errors import UsageError
from innkeeper.sandbox.limits import parse_duration, parse_size

_MOST = 1 << 53
_MOST_TEXT = 1000
_MOST_ITEMS = 1000
_MOST_DAYS = 36_525.0
# Compiled at the first need: every command imports this module, and few read a setting.
_NONE = r"0+(?:\.0+)?\s*[A-Za-z]*"
_WHOLE = r"[+-]?[0-9]{1,20}"
_NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
_CREDENTIAL = r"[A-Za-z][A-Za-z0-9_]{0,63}"
_MODEL = r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}"


@dataclass(frozen=True, slots=True)
class Unit:
    """How values of one kind are read.

    Attributes:
        right: what would be right, for messages: "it must be RIGHT".
        read: makes the setting's value of what a file holds; raises ValueError where it is wrong.
        parse: makes of a line of text what a file would hold; raises ValueError where it cannot.
        show: the value as people read it.
        secret: whether nobody sees more of a value than `show` makes of it, which `show` leaves as it is.
        private: whether a wrong value may be a secret that was written into the wrong place, so no message shows it.
    """

    right: str
    read: Callable[[object], object]
    parse: Callable[[str], object] = str
    show: Callable[[Any], str] = str
    private: bool = False
    secret: bool = False


def read_text(unit: Unit, text: str) -> object:
    """The value that a line of text means.

    Raises:
        ValueError: it means none.
    """
    return unit.read(unit.parse(text))


# --- quantities -----------------------------------------------------------------------------------------------------


def _number(value: object) -> int | float:
    # Also refuses NaN, and whole numbers that no float can be.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST <= value <= _MOST:
        raise ValueError
    return value


def _within(value: int | float, least: int | float, above: bool, most: float = _MOST) -> int | float:
    # Also refuses NaN.
    if not (value > least if above else value >= least) or not value <= most:
        raise ValueError
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value


def _bytes(value: object) -> int:
    if not isinstance(value, str):
        return _whole(value)
    if re.fullmatch(_NONE, value.strip()) is not None:
        return 0
    try:
        found = parse_size(value)
    except (UsageError, OverflowError):
        raise ValueError from None
    if found == 0:
        # "0.1B" is a slip, and not the word for none.
        raise ValueError
    return found


def _seconds(value: object) -> float:
    if not isinstance(value, str):
        return float(_number(value))
    if re.fullmatch(_NONE, value.strip()) is not None:
        return 0.0
    try:
        return parse_duration(value)
    except UsageError:
        raise ValueError from None


def _integer(text: str) -> int:
    if re.fullmatch(_WHOLE, text.strip()) is None:
        raise ValueError
    return int(text)


def show_size(value: int | float) -> str:
    """Bytes as people read them (str)."""
    for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size:
            return f"{value / size:.4g} {name}"
    return f"{value} B"


def show_count(value: int | float) -> str:
    """A number as people read it (str)."""
    return f"{value:,}"


def show_seconds(value: int | float) -> str:
    """Seconds as people read them (str)."""
    return f"{value:g} s"


def quantity(kind: Literal["size", "duration", "count"], *, above: bool = True) -> Unit:
    """The unit of a size in bytes, a duration in seconds or a count.

    Args:
        kind: which of them.
        above: whether 0 is wrong.
    """
    if kind == "size":
        right = 'bytes, as a number or like "64MiB"' + ("" if above else "; 0 is none")
        return Unit(right, lambda value: _within(_bytes(value), 0, above), _text_or_whole, show_size)
    if kind == "duration":
        right = 'seconds, as a number or like "250ms"' + ("" if above else "; 0 is none")
        return Unit(right, lambda value: float(_within(_seconds(value), 0, above)), str, show_seconds)
    right = "a whole number above 0" if above else "a whole number, 0 or more"
    return Unit(right, lambda value: _within(_whole(value), 0, above), _integer, show_count)


def _port(value: object) -> int:
    return int(_within(_whole(value), 0, above=False, most=65535))


def _text_or_whole(text: str) -> object:
    return _integer(text) if re.fullmatch(_WHOLE, text.strip()) is not None else text


def _days(value: object) -> float:
    return float(_within(_number(value), 0, above=True, most=_MOST_DAYS))


def _float(value: object) -> float:
    return float(_within(_number(value), 0, above=False))


# --- words ----------------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MOST_TEXT or not value.isprintable():
        raise ValueError
    return value


def _matching(shape: str) -> Callable[[object], object]:
    def read(value: object) -> str:
        if not isinstance(value, str) or re.fullmatch(shape, value) is None:
            raise ValueError
        return value

    return read


def _path(value: object) -> str:
    path = os.path.expanduser(_text(value))
    if not os.path.isabs(path):
        raise ValueError
    # Without "..", which would lead elsewhere where a folder is a link.
    return os.path.normpath(path)


def _url(value: object) -> str:
    from innkeeper.plugins.urls import parse_url

    text = _text(value)
    if "?" in text or "#" in text:
        raise ValueError
    parse_url(text)
    return text


def _upgrade(value: object) -> str:
    if not isinstance(value, str) or re.fullmatch(r"no|yes|[0-9]{4}", value) is None:
        raise ValueError
    return value


def _database_url(value: object) -> str:
    from innkeeper.storage.location import check_url

    text = _text(value)
    check_url(text)
    return text


def _shown_database_url(value: str) -> str:
    from innkeeper.storage.location import check_url

    return check_url(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _flag_of(text: str) -> bool:
    words = {"true": True, "false": False}
    if text.strip().lower() not in words:
        raise ValueError
    return words[text.strip().lower()]


def _list(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_ITEMS:
        raise ValueError
    return tuple(_text(item) for item in value)


def _list_of(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _choice(words: tuple[Any, ...]) -> Unit:
    def read(value: object) -> object:
        if not isinstance(value, str) or value not in words:
            raise ValueError
        return value

    return Unit(" or ".join(repr(word) for word in words), read)


_FLAG: Final = Unit("true or false", _flag, _flag_of, lambda value: "true" if value else "false")
_LIST: Final = Unit("a list of texts", _list, _list_of, ", ".join)
_PLAIN: Final = Unit(f"text of at most {_MOST_TEXT:,} visible characters", _text)

Size = Annotated[int, quantity("size", above=False)]
"""Bytes, 0 included."""

Seconds = Annotated[float, quantity("duration", above=False)]
"""Seconds, 0 included."""

Days = Annotated[float, Unit(f"a number of days above 0 and at most {_MOST_DAYS:g}", _days, float, "{:g} days".format)]
"""Days, above 0."""

Port = Annotated[int, Unit("a TCP port, 0 to 65535", _port, _integer)]
"""A TCP port; 0: any free one."""

AbsolutePath = Annotated[str, Unit('an absolute path, or one that begins with "~/"', _path)]
"""A path without "~" and ".."."""

Name = Annotated[
    str, Unit("a name of 1 to 64 of the characters a-z 0-9 _ -, the first a letter or a digit", _matching(_NAME))
]
"""What an operator calls something."""

SecretName = Annotated[
    str,
    Unit(
        "the name of a secret, of at most 64 of A-Z a-z 0-9 _, the first a letter: never its value",
        _matching(_CREDENTIAL),
        private=True,
    ),
]
"""The name of a secret, as the capability `secrets` writes it."""

ModelName = Annotated[str, Unit("the name of a model, of A-Z a-z 0-9 . _ : / @ + -", _matching(_MODEL))]
"""What plugins call a model."""

Url = Annotated[
    str,
    Unit(
        "a URL that begins with https:// or http://, without a user or a password, a query and a fragment",
        _url,
        private=True,
    ),
]
"""The address of a server."""


DatabaseUrl = Annotated[
    str,
    Unit(
        'the URL of a PostgreSQL database, such as "postgresql://user@host/database"',
        _database_url,
        show=_shown_database_url,
        private=True,
        secret=True,
    ),
]
"""Where a database is, perhaps with a password."""


Upgrade = Annotated[str, Unit('"no", "yes", or the four digits of a schema, such as "0012"', _upgrade)]
"""To which schema a database may be brought."""


def unit_of(hint: Any) -> Unit:
    """The unit of a setting, by its type.

    Raises:
        TypeError: settings have no such type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        found = [each for each in arguments[1:] if isinstance(each, Unit)]
        return found[0] if found else unit_of(arguments[0])
    if origin in (Union, types.UnionType):
        others = [each for each in arguments if each is not type(None)]
        if len(others) == 1 and len(arguments) == 2:
            return unit_of(others[0])
    elif origin is Literal and all(isinstance(word, str) for word in arguments):
        return _choice(arguments)
    elif origin is tuple and arguments == (str, ...):
        return _LIST
    plain = {bool: _FLAG, int: quantity("count", above=False), str: _PLAIN, float: _NUMBER}
    if hint in plain:
        return plain[hint]
    raise TypeError(f"a setting cannot have the type {hint}")


_NUMBER: Final = Unit("a number, 0 or more", _float, float, "{:g}".format)
