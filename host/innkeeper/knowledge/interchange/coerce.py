"""What a field of an imported file says, as far as it can be understood, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.problems import Problem


class Fields:
    """The fields of one entry of an imported file. What cannot be understood becomes the default and a problem."""

    def __init__(self, raw: Mapping[str, Any], where: str = "", entry: str = "") -> None:
        """Args:
        raw: the entry; never changed.
        where: its place in its file.
        entry: what it is called, for problems.
        """
        self.raw = raw
        self.problems: list[Problem] = []
        self._where = where
        self._entry = entry

    def wrong(self, key: str, message: str) -> None:
        """Notes what is wrong with a field."""
        self.problems.append(Problem(f"{self._where}.{key}" if self._where else key, message, self._entry))

    def flag(self, key: str, default: bool = False) -> bool:
        """A switch; null and absence are the default."""
        value = self.raw.get(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
        self.wrong(key, f"should be true or false; {default_word(default)} is used")
        return default

    def number(self, key: str, default: float, least: float, most: float) -> int | float:
        """A number within a range; whole numbers stay whole."""
        value = self.raw.get(key)
        if value is None:
            return default
        if isinstance(value, str):
            value = _number_of(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.wrong(key, f"should be a number; {default:g} is used")
            return default
        if not least <= value <= most:
            nearest = least if value < least else most
            self.wrong(key, f"should be between {least:,} and {most:,}; {nearest:,} is used")
            return nearest
        return value

    def text(self, key: str, most: int = bounds.MOST_CONTENT) -> str | None:
        """A text; "" where it is null or absent; None where it is longer than an entry may hold."""
        value = self.raw.get(key)
        if value is None:
            return ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            self.wrong(key, "should be text; none is used")
            return ""
        if len(value) > most:
            self.wrong(key, f"has {len(value):,} characters; at most {most:,} are possible")
            return None
        return value

    def name(self, key: str) -> str:
        """A name that people read: one that is too long is cut."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, str):
            self.wrong(key, "should be text; none is used")
        return value.strip()[: bounds.MOST_NAME] if isinstance(value, str) else ""

    def keys(self, key: str) -> list[str]:
        """Keywords: a list of texts, or one text with commas. What is no key is left out."""
        value = self.raw.get(key)
        if value is None:
            return []
        if isinstance(value, str):
            self.wrong(key, "should be a list of keys; the text is split at its commas")
            value = [part.strip() for part in value.split(",", bounds.MOST_KEYS) if part.strip()]
        if not isinstance(value, list):
            self.wrong(key, "should be a list of keys; none is used")
            return []
        return self.few(key, value)

    def few(self, key: str, value: list[Any]) -> list[str]:
        """Those keys of a list that an entry can have."""
        good = [item for item in value if isinstance(item, str) and len(item) <= bounds.MOST_KEY]
        if len(good) < len(value):
            lost = len(value) - len(good)
            self.wrong(key, f"{lost:,} keys are no text of at most {bounds.MOST_KEY:,} characters; they are left out")
        if len(good) > bounds.MOST_KEYS:
            self.wrong(key, f"has {len(good):,} keys; the first {bounds.MOST_KEYS:,} are used")
        return good[: bounds.MOST_KEYS]


def default_word(value: bool) -> str:
    """A switch as files of JSON write it."""
    return "true" if value else "false"


def _number_of(text: str) -> float | None:
    if len(text) > 40:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
