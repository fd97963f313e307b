"""A text of JSON becomes plain data, and each entry of it knows where it stood. What cannot be read says line and key.

The top level is walked here, and its entries are decoded one by one: so where an entry begins costs nothing to know,
and other threads get their turn in between.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from innkeeper.knowledge.files.bounds import MOST_DIGITS, MOST_TOP
from innkeeper.knowledge.files.scanning import Lines, Path, Spot, spots, too_much
from innkeeper.knowledge.model.bounds import MOST_ENTRIES, MOST_ENTRY, MOST_FILE
from innkeeper.knowledge.model.entry import path_of
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

Progress = Callable[[int, int], None]
"""Called now and then with how much is done and how much there is, in any one unit; may raise to end the work."""

_SPACE = re.compile(r"[ \t\n\r]*+")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NAMES = {dict: "an object", list: "an array", str: "text", bool: "true or false", int: "a number", float: "a number"}


@dataclass(slots=True)
class RawEntry:
    """An element of `entries`, whatever it is.

    Attributes:
        value: plain data.
        at, end: where it stands in the text.
        problems: why its data are not what its author wrote: a key twice, a number that JSON or 64 bits do not have.
    """

    value: Any
    at: int
    end: int
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class Raw:
    """A file of JSON as it was decoded.

    Attributes:
        text: of the file.
        top: the object's keys without `entries`; None where the file is an array, or something else.
        entries: the elements of `entries`, or of the array; None where `entries` is absent or no array.
        other: what `entries` is if it is no array, or the document if it is neither object nor array.
        entries_at: how many keys stood before `entries`; None without it, or where the file is an array.
        lines: of the text.
        at: where each key's value of the top level stands.
        problems: what is wrong with the top level.
    """

    text: str
    lines: Lines
    top: dict[str, Any] | None = None
    entries: list[RawEntry] | None = None
    other: Any = None
    entries_at: int | None = None
    at: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def decode(data: bytes, name: str, *, most: int = MOST_FILE, progress: Progress | None = None) -> Raw:
    """What a file of JSON holds. Blocks: about 30 ms a megabyte, for a thread.

    Args:
        data: the file's bytes, UTF-8 with or without a mark of byte order.
        name: of the file, for messages.
        most: most bytes.
        progress: called with characters.

    Raises:
        KnowledgeError: it is too large or too deep, not UTF-8, or not JSON; with the line.
    """
    if len(data) > most:
        raise KnowledgeError(f"is {len(data):,} bytes, the most is {most:,}", source=name)
    text = _text(data, name)
    problem = too_much(data)
    if problem is not None:
        raise KnowledgeError(problem, source=name)
    return _Decoder(text, name, progress).raw()


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
    def __init__(self, text: str, name: str, progress: Progress | None) -> None:
        self._text = text
        self._name = name
        self._progress = progress
        self._lines = Lines(text)
        self._odd = False
        self._surrogates = _SURROGATE.search(text) is not None
        self._decode = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_int=self._integer,
            parse_float=self._float,
            parse_constant=self._constant,
        ).raw_decode

    # What these note is found again, with its place, by a slower walk: documents that have it are rare.

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self._odd = True
        return found

    def _integer(self, token: str) -> int:
        if len(token) < MOST_DIGITS or _fits(token):
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
        at = self._space(0)
        first = text[at : at + 1]
        if first == "{":
            at = self._top(raw, at + 1)
        elif first == "[":
            raw.entries = []
            at = self._array(raw.entries, at + 1)
        else:
            raw.other, at = self._value(at, "")
            raw.problems += self._problems(raw.other, 0, at, "")
        at = self._space(at)
        if at < len(text):
            self._fail("something follows after its end", at, "")
        return raw

    def _top(self, raw: Raw, at: int) -> int:
        raw.top = {}
        at = self._space(at)
        if self._text[at : at + 1] == "}":
            return at + 1
        while True:
            if self._text[at : at + 1] != '"':
                self._fail("Expecting property name enclosed in double quotes", at, "")
            start = at
            key, at = self._value(at, "")
            at = self._space(at)
            if self._text[at : at + 1] != ":":
                self._fail("Expecting ':' delimiter", at, key)
            at = self._space(at + 1)
            if key in raw.at:
                raw.problems.append(Problem(key, "is there twice: keep one of them", line=self._lines.line(start)))
            if len(raw.at) >= MOST_TOP:
                raise KnowledgeError(f"has more than {MOST_TOP:,} keys at its top", source=self._name)
            raw.at[key] = at
            at = self._member(raw, key, at)
            at = self._space(at)
            following = self._text[at : at + 1]
            if following == "}":
                return at + 1
            if following != ",":
                self._fail("Expecting ',' delimiter", at, key)
            at = self._space(at + 1)

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
        at = self._space(at)
        if self._text[at : at + 1] == "]":
            return at + 1
        while True:
            number = len(entries)
            where = f"entries[{number}]"
            start = at
            value, at = self._value(at, where)
            entries.append(RawEntry(value, start, at, self._problems(value, start, at, where)))
            if number >= MOST_ENTRIES:
                raise KnowledgeError(f"has more than {MOST_ENTRIES:,} entries: split it", source=self._name)
            if self._progress is not None and number % 256 == 0:
                self._progress(at, len(self._text))
            at = self._space(at)
            following = self._text[at : at + 1]
            if following == "]":
                return at + 1
            if following != ",":
                self._fail("Expecting ',' delimiter", at, where)
            at = self._space(at + 1)

    def _value(self, at: int, where: str) -> tuple[Any, int]:
        self._odd = False
        try:
            value, end = self._decode(self._text, at)
        except json.JSONDecodeError as error:
            self._fail(error.msg, error.pos, where)
        return value, end

    def _problems(self, value: Any, start: int, end: int, where: str) -> list[Problem]:
        if where.startswith("entries[") and end - start > MOST_ENTRY // 4:
            size = len(self._text[start:end].encode())
            if size > MOST_ENTRY:
                sentence = f"is {size:,} bytes: an entry has at most {MOST_ENTRY:,}"
                return [self._problem(Spot((), start), where, value, sentence)]
        if self._odd:
            odd = _odd(spots(self._text, start))
            return [self._problem(spot, where, value, sentence) for spot, sentence in odd]
        if self._surrogates and (halved := _halved(value)) is not None:
            sentence = "has half of a surrogate pair, which is no character: take the escape away"
            return [self._problem(Spot(halved, start), where, value, sentence)]
        return []

    def _problem(self, spot: Spot, where: str, value: Any, sentence: str) -> Problem:
        return Problem(path_of(where, spot.path), sentence, name_of(value), self._lines.line(spot.at))

    def _space(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        assert found is not None
        return found.end()

    def _fail(self, message: str, at: int, where: str) -> NoReturn:
        line, column = self._lines.line(at), self._lines.column(at)
        sentence = f"is not JSON: {_advice(message, self._text, at)} (line {line}, column {column})"
        raise KnowledgeError(Problem(where, sentence, line=line), source=self._name)


def name_of(value: Any) -> str:
    """What people call an entry, whatever its document is worth (str)."""
    if not isinstance(value, dict):
        return ""
    name = value.get("displayName") or value.get("id")
    return name[:100] if isinstance(name, str) else ""


def _fits(token: str) -> bool:
    return len(token) <= MOST_DIGITS and -(1 << 63) <= int(token) < 1 << 64


def _odd(found: Iterator[Spot]) -> Iterator[tuple[Spot, str]]:
    for spot in found:
        token = spot.token
        if spot.twice:
            yield spot, "is there twice: keep one of them"
        elif token in ("NaN", "Infinity", "-Infinity"):
            yield spot, f"is {token}, which is no number of JSON"
        elif token and token[-1].isdigit():
            if any(letter in token for letter in ".eE"):
                if not math.isfinite(float(token)):
                    yield spot, "is too large a number"
            elif not _fits(token):
                yield spot, "is too large a number: a whole number has at most 64 bits"


def _halved(value: Any) -> Path | None:
    """The first text or key that is no Unicode."""
    pending: list[tuple[Path, Any]] = [((), value)]
    while pending:
        path, each = pending.pop()
        if isinstance(each, str):
            if not each.isascii() and any("\ud800" <= letter <= "\udfff" for letter in each):
                return path
        elif isinstance(each, list):
            pending += [((*path, number), item) for number, item in enumerate(each)]
        elif isinstance(each, dict):
            for key, item in each.items():
                if not key.isascii() and any("\ud800" <= letter <= "\udfff" for letter in key):
                    return path
                pending.append(((*path, key), item))
    return None


def _advice(message: str, text: str, at: int) -> str:
    """What is wrong, and what people who edit by hand most often did."""
    here = text[at : at + 2]
    before = text[:at].rstrip()[-1:] if at < 1 << 20 else text[at - 1000 : at].rstrip()[-1:]
    if at >= len(text):
        return "it ends too early: a bracket, a brace or a quote is missing"
    if here in ("//", "/*") or here[0] == "#":
        return "JSON has no comments"
    if here[0] in "]}" and before == ",":
        return f"a comma stands before {here[0]!r}: take it away"
    if here[0] in "'‘’“”":
        return 'texts and keys stand in straight double quotes ("...")'
    if message.startswith("Invalid control character"):
        return r"a text goes on over the end of its line: write \n for a line break, or close the quote"
    if message.startswith("Invalid \\escape"):
        return r"a backslash in a text is written \\"
    if message.startswith("Expecting ',' delimiter"):
        return "a comma is missing, or a quote inside of a text has no backslash before it"
    return message[:1].lower() + message[1:]
