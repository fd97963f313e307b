"""A text of JSON becomes plain data, and each entry of it knows where it stood. What cannot be read says line and key.

The top level is walked here, and its entries are decoded one by one: so where an entry begins costs nothing to know,
and other threads get their turn in between.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from itertools import islice
from typing import Any, NoReturn

from innkeeper.knowledge.files.advice import advice
from innkeeper.knowledge.files.bounds import MOST_DIGITS, MOST_ODD, MOST_SHOWN, MOST_TOP, MOST_VALUE, MOST_WALKED
from innkeeper.knowledge.files.odd_values import fits, halved, odd_values
from innkeeper.knowledge.files.raw import Raw, RawEntry
from innkeeper.knowledge.files.scanning import Lines, Spot, spots, too_much
from innkeeper.knowledge.model.bounds import MOST_ENTRIES, MOST_ENTRY, MOST_FILE
from innkeeper.knowledge.model.entry import path_of
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.plugins.tables import visible

Progress = Callable[[int, int], None]
"""Called now and then with how much is done and how much there is, in any one unit; may raise to end the work."""

_Decode = Callable[[str, int], tuple[Any, int]]

_SPACE = re.compile(r"[ \t\n\r]*+")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NAMES = {dict: "an object", list: "an array", str: "text", bool: "true or false", int: "a number", float: "a number"}


def decode(
    data: bytes, name: str, *, most: int = MOST_FILE, progress: Progress | None = None, light: bool = False
) -> Raw:
    """What a file of JSON holds. Blocks: about 30 ms a megabyte, for a thread.

    Args:
        data: the file's bytes, UTF-8 with or without a mark of byte order.
        name: of the file, for messages.
        most: most bytes.
        progress: called with characters.
        light: whether entries become None, objects without keys, or what else is cheap: only their number counts.

    Raises:
        KnowledgeError: it is too large or too deep, not UTF-8, or not JSON; with the line.
    """
    if len(data) > most:
        raise KnowledgeError(f"is {len(data):,} bytes, the most is {most:,}", source=name)
    problem = too_much(data)
    if problem is not None:
        raise KnowledgeError(problem, source=name)
    text = _text(data, name)
    return _Decoder(text, name, progress, light).raw()


def decode_object(data: bytes, name: str, *, most: int) -> dict[str, Any]:
    """What a small file of JSON holds that must be an object, `entries` or not.

    Raises:
        KnowledgeError: as `decode`, or it is something else, or has a key twice.
    """
    raw = decode(data, name, most=most)
    if raw.top is None:
        raise KnowledgeError(f"must be an object, and is {kind_of(raw.other)}", source=name)
    problems = [*raw.problems, *(problem for entry in raw.entries or () for problem in entry.problems)]
    if problems:
        raise KnowledgeError(problems, source=name)
    if raw.entries_at is None:
        return raw.top
    entries = raw.other if raw.entries is None else [entry.value for entry in raw.entries]
    keys = list(raw.top.items())
    return dict([*keys[: raw.entries_at], ("entries", entries), *keys[raw.entries_at :]])


def kind_of(value: object) -> str:
    """What a value is, in words of JSON (str)."""
    return _NAMES.get(type(value), "null")


def _text(data: bytes, name: str) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise KnowledgeError("is UTF-16 text: save it as UTF-8", source=name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise KnowledgeError(Problem("", f"is not UTF-8 text (byte {error.start:,})", line=line), source=name) from None


class _Decoder:
    def __init__(self, text: str, name: str, progress: Progress | None, light: bool) -> None:
        self._text = text
        self._name = name
        self._progress = progress
        self._lines = Lines(text)
        self._odd = False
        self._surrogates = _SURROGATE.search(text) is not None
        self._walked = 0
        self._decode = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_int=self._integer,
            parse_float=self._float,
            parse_constant=self._constant,
        ).raw_decode
        self._element = json.JSONDecoder(object_pairs_hook=_nothing).raw_decode if light else None

    # What these note is found again, with its place, by a slower walk: documents that have it are rare.

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self._odd = True
        return found

    def _integer(self, token: str) -> int:
        if len(token) < MOST_DIGITS or fits(token):
            return int(token)
        self._odd = True
        return 0

    def _float(self, token: str) -> float:
        value = float(token)
        if math.isfinite(value):
            return value
        self._odd = True
        return 0.0

    def _constant(self, _token: str) -> float:
        self._odd = True
        return 0.0

    def raw(self) -> Raw:
        text = self._text
        raw = Raw(text, self._lines)
        at = skip_space(self._text, 0)
        first = text[at : at + 1]
        if first == "{":
            at = self._top(raw, at + 1)
        elif first == "[":
            raw.entries = []
            at = self._array(raw.entries, at + 1)
        else:
            raw.other, at = self._value(at, "")
            raw.problems += self._problems(raw.other, 0, at, "")
        at = skip_space(self._text, at)
        if at < len(text):
            self._fail("something follows after its end", at, "")
        return raw

    def _top(self, raw: Raw, at: int) -> int:
        raw.top = {}
        at = skip_space(self._text, at)
        if self._text[at : at + 1] == "}":
            return at + 1
        while True:
            if self._text[at : at + 1] != '"':
                self._fail("Expecting property name enclosed in double quotes", at, "")
            start = at
            key, at = self._value(at, "")
            at = skip_space(self._text, at)
            if self._text[at : at + 1] != ":":
                self._fail("Expecting ':' delimiter", at, key)
            at = skip_space(self._text, at + 1)
            if key in raw.at:
                sentence = "is there twice: keep one of them"
                raw.problems.append(Problem(visible(key, MOST_SHOWN), sentence, line=self._lines.line(start)))
            if halved(key) is not None:
                sentence = "is a key with half of a surrogate pair, which is no character: take the escape away"
                raw.problems.append(Problem(visible(key, MOST_SHOWN), sentence, line=self._lines.line(start)))
            if len(raw.at) >= MOST_TOP:
                raise KnowledgeError(f"has more than {MOST_TOP:,} keys at its top", source=self._name)
            raw.at[key] = at
            at = self._member(raw, key, at)
            at = skip_space(self._text, at)
            following = self._text[at : at + 1]
            if following == "}":
                return at + 1
            if following != ",":
                self._fail("Expecting ',' delimiter", at, key)
            at = skip_space(self._text, at + 1)

    def _member(self, raw: Raw, key: str, at: int) -> int:
        assert raw.top is not None
        if key == "entries":
            raw.entries_at = len(raw.top)
            if self._text[at : at + 1] == "[":
                raw.entries = []
                return self._array(raw.entries, at + 1)
        start = at
        value, at = self._value(at, key)
        raw.problems += self._problems(value, start, at, key)
        if key == "entries":
            raw.entries, raw.other = None, value
        else:
            raw.top[key] = value
        return at

    def _array(self, entries: list[RawEntry], at: int) -> int:
        at = skip_space(self._text, at)
        if self._text[at : at + 1] == "]":
            return at + 1
        while True:
            number = len(entries)
            where = f"entries[{number}]"
            start = at
            value, at = self._value(at, where, self._element)
            problems = [] if self._element else self._problems(value, start, at, where)
            entries.append(RawEntry(value, start, at, problems))
            if number >= MOST_ENTRIES:
                raise KnowledgeError(f"has more than {MOST_ENTRIES:,} entries: split it", source=self._name)
            if self._progress is not None and number % 256 == 0:
                self._progress(at, len(self._text))
            at = skip_space(self._text, at)
            following = self._text[at : at + 1]
            if following == "]":
                return at + 1
            if following != ",":
                self._fail("Expecting ',' delimiter", at, where)
            at = skip_space(self._text, at + 1)

    def _value(self, at: int, where: str, decode: _Decode | None = None) -> tuple[Any, int]:
        self._odd = False
        try:
            value, end = (decode or self._decode)(self._text, at)
        except json.JSONDecodeError as error:
            self._fail(error.msg, error.pos, where)
        except ValueError:
            # Python writes out no whole number of thousands of digits.
            self._fail("a number has thousands of digits", at, where)
        return value, end

    def _problems(self, value: Any, start: int, end: int, where: str) -> list[Problem]:
        most = MOST_ENTRY if where.startswith("entries[") else MOST_VALUE
        if end - start > most // 4:
            size = len(self._text[start:end].encode())
            if size > most:
                sentence = f"is {size:,} bytes: it may have at most {most:,}"
                return [self._problem(Spot((), start), where, value, sentence)]
        if self._odd:
            self._walked += end - start
            if self._walked > MOST_WALKED:
                sentence = "has a key twice, or a number that JSON or 64 bits do not have"
                return [self._problem(Spot((), start), where, value, sentence)]
            odd = islice(odd_values(spots(self._text, start, end)), MOST_ODD)
            return [self._problem(spot, where, value, sentence) for spot, sentence in odd]
        if self._surrogates and (half := halved(value)) is not None:
            sentence = "has half of a surrogate pair, which is no character: take the escape away"
            return [self._problem(Spot(half, start), where, value, sentence)]
        return []

    def _problem(self, spot: Spot, where: str, value: Any, sentence: str) -> Problem:
        place = visible(path_of(where, spot.path), MOST_SHOWN)
        return Problem(place, sentence, name_of(value), self._lines.line(spot.at))

    def _fail(self, message: str, at: int, where: str) -> NoReturn:
        line, column = self._lines.line(at), self._lines.column(at)
        sentence = f"is not JSON: {advice(message, self._text, at)} (line {line}, column {column})"
        raise KnowledgeError(Problem(visible(where, MOST_SHOWN), sentence, line=line), source=self._name)


def skip_space(text: str, at: int) -> int:
    """Where the next token begins (int)."""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def name_of(value: Any) -> str:
    """What people call an entry, whatever its document is worth (str)."""
    if not isinstance(value, dict):
        return ""
    name = value.get("displayName") or value.get("id")
    return name[:100] if isinstance(name, str) else ""


def _nothing(_pairs: object) -> None:
    return None
