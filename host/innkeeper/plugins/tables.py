"""Reading TOML that others wrote: bounded before it is parsed, every problem said in one sentence.

Used for manifests, grants and the host's configuration, by hand and not through pydantic: a command that calls one
plugin must not pay for it, and the sentences name the file and the key and say what would be right.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from innkeeper.errors import InnkeeperError, RejectedError, UsageError

MAX_BYTES = 256 << 10
"""Bytes of one file: a manifest with a hundred nodes takes a tenth of it."""

_MAX_DOTS = 256
"""Dots in one line. The parser's time for a dotted key grows with the square of its parts."""

_MANY_DOTS = 100
"""Dots of one text that are written as they are: `parse_toml` refuses a line with very many."""

_MAX_SHOWN = 60

_MOST_PROBLEMS = 50
"""Problems of one file that are said."""

_MOST_UNKNOWN = 100
"""Keys of one table that are not known. Looking for what was meant takes time for each, and a file can have 60,000."""

_Chosen = TypeVar("_Chosen", bound=str)


class TableError(Exception):
    """What is wrong with a file, as sentences. Callers make it the error that fits.

    Attributes:
        problems: at least one sentence (list of str), each with the file's name; of very many, the first.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems[:_MOST_PROBLEMS])
        if len(problems) > _MOST_PROBLEMS:
            where = problems[0].partition(":")[0]
            self.problems.append(f"{where}: has {len(problems) - _MOST_PROBLEMS:,} more problems")
        super().__init__("\n".join(self.problems))


class ListedError(InnkeeperError):
    """A file that cannot be used, for one reason or several.

    Attributes:
        problems: one sentence each (list of str); the message has a line for each.
    """

    def __init__(self, found: TableError) -> None:
        super().__init__(str(found))
        self.problems = found.problems


class ManifestError(ListedError, RejectedError):
    """A manifest that cannot be used."""


class SettingsError(ListedError, UsageError):
    """A grant, or the host's configuration, that cannot be used."""


def problems_of(error: InnkeeperError) -> list[str]:
    """What is wrong, a sentence each (list of str): the message, unless the error lists several problems."""
    return error.problems if isinstance(error, ListedError) else [error.message]


def shown(value: object) -> str:
    """A value as a message quotes it (str): Python's notation, cut where it is long."""
    try:
        text = repr(value[: 2 * _MAX_SHOWN] if isinstance(value, str) else value)
    except ValueError:
        # Hexadecimal numbers of TOML may have more digits than Python writes in decimal.
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def visible(key: str, most: int) -> str:
    """A key of a file as a message names it (str): cut to `most` characters, and what is no visible character as an
    escape, as in a Python string."""
    cut = key if len(key) <= most else key[: most - 3] + "..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


def nearest(word: str, known: Collection[str]) -> str:
    """ "; did you mean 'x'?" for a word that is close to a known one, else an empty str."""
    close = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def quoted(text: str) -> str:
    """A text as a string of TOML (str), on one line that `parse_toml` takes."""
    dots = text.count(".") > _MANY_DOTS
    return f'"{"".join(_escaped(character, dots) for character in text)}"'


def _escaped(character: str, dots: bool) -> str:
    """A character as a string of TOML holds it; what cannot be seen, as an escape."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable() and not (dots and character == "."):
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def parse_toml(data: bytes, where: str, *, most: int = MAX_BYTES) -> dict[str, Any]:
    """The top table of a TOML file.

    Args:
        data: the file's bytes.
        where: the file's name, for messages.
        most: bytes that it may have.

    Raises:
        TableError: too large, not UTF-8, not TOML.
    """
    import tomllib

    if len(data) > most:
        raise TableError([f"{where}: is {len(data)} bytes, the most is {most}"])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TableError([f"{where}: is not UTF-8 text (byte {error.start})"]) from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _MAX_DOTS:
            raise TableError([f"{where}: line {number} has more than {_MAX_DOTS} dots; break it into several lines"])
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise TableError([f"{where}: is nested too deeply"]) from None
    except ValueError as error:
        # An integer of thousands of digits raises a plain ValueError.
        raise TableError([f"{where}: is not TOML: {str(error)[:200]}"]) from None


class Table:
    """A table of a file together with the list in which its problems are collected.

    Reading a key that is absent or wrong gives the default, so that one pass finds every problem.

    Args:
        data: the table.
        where: the file's name.
        problems: gets one sentence per problem.
        path: keys that lead to this table, such as "limits".
    """

    def __init__(self, data: dict[str, Any], where: str, problems: list[str], path: str = "") -> None:
        self.data = data
        self.where = where
        self.problems = problems
        self.path = path

    def problem(self, key: str, sentence: str) -> None:
        """Adds a problem of one key: "file: path.key SENTENCE"."""
        self.problems.append(f"{self.where}: {self.path}{visible(key, 100)} {sentence}")

    def text(
        self,
        key: str,
        *,
        required: bool = False,
        pattern: re.Pattern[str] | None = None,
        right: str = "text",
        most: int = 1000,
    ) -> str | None:
        """A str, or None where it is absent or wrong.

        Args:
            key: its key.
            required: whether absence is a problem.
            pattern: what all of it must match.
            right: what would be right, for messages: "must be RIGHT".
            most: most characters.
        """
        value = self.data.get(key)
        if value is None:
            if required:
                self.problem(key, f"is missing: it must be {right}")
            return None
        if not isinstance(value, str) or (pattern is not None and pattern.fullmatch(value) is None):
            self.problem(key, f"is {shown(value)}: it must be {right}")
            return None
        if len(value) > most:
            self.problem(key, f"has {len(value)} characters: the most is {most}")
            return None
        return value

    def choice(self, key: str, options: Sequence[_Chosen], default: _Chosen) -> _Chosen:
        """One of a few words."""
        value = self.data.get(key, default)
        for option in options:
            if value == option:
                return option
        self.problem(key, f"is {shown(value)}: it must be {' or '.join(repr(option) for option in options)}")
        return default

    def flag(self, key: str, default: bool) -> bool:
        """A bool."""
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            self.problem(key, f"is {shown(value)}: it must be true or false")
            return default
        return value

    def table(self, key: str) -> Table:
        """A table inside; empty where it is absent or wrong."""
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            self.problem(key, f"is {shown(value)}: it must be a table, written [{self.path}{key}]")
            value = {}
        return Table(value, self.where, self.problems, f"{self.path}{key}.")

    def tables(self, key: str) -> list[Table]:
        """An array of tables; empty where it is absent or wrong."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.problem(key, f"must be tables, each written [[{self.path}{key}]]")
            return []
        return [Table(item, self.where, self.problems, f"{self.path}{key}[{i}].") for i, item in enumerate(value)]

    def only(self, known: Collection[str]) -> None:
        """Makes every key that is not known a problem that names the nearest known one."""
        for key in self._strange(known):
            self.problem(key, f"is not a key here{nearest(key, known) or '; known are: ' + ', '.join(known)}")

    def unknown(self, known: Collection[str]) -> tuple[str, ...]:
        """Keys that are not known and close to none; those that are close are a problem: they would be ignored."""
        others = []
        for key in self._strange(known):
            hint = nearest(key, known)
            if hint:
                self.problem(key, f"is not a key here{hint}")
            else:
                others.append(key)
        return tuple(others)

    def _strange(self, known: Collection[str]) -> list[str]:
        strange = [key for key in self.data if key not in known]
        if len(strange) > _MOST_UNKNOWN:
            self.problem("", f"has {len(strange)} keys that are not known: the most is {_MOST_UNKNOWN}")
        return strange[:_MOST_UNKNOWN]
