"""Reading JSON and YAML that others wrote, as `tables` reads TOML: bounded, every problem a sentence, no key twice."""

from __future__ import annotations

import json
import math
from typing import Any

from innkeeper.plugins.tables import MAX_BYTES, TableError, shown

MAX_YAML = 64 << 10
"""Bytes of one YAML file. Its parser is Python, and slow: it takes a second for so many at its worst."""

MAX_DEPTH = 32
"""Containers inside each other; also what `manifest` takes of a node."""

_MOST_BITS = 1024
"""Of a whole number in YAML. Hexadecimal ones may have more digits than Python writes as decimal ones, so whoever shows
them would fail; no float is larger."""

_SCALARS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_TEXT = "tag:yaml.org,2002:str"
_PLAIN = "tag:yaml.org,2002:timestamp"
"""What looks like a date is the text that it is: a version may look like one."""


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        data: the file's bytes.
        where: the file's name, for messages.

    Raises:
        TableError: too large, not UTF-8, not JSON, no object, nested too deeply, or a key is there twice.
    """
    text = _text(data, MAX_BYTES, where)
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_number)
    except RecursionError:
        raise TableError([f"{where}: is nested too deeply"]) from None
    except _WrongError as error:
        raise TableError([f"{where}: {error}"]) from None
    except ValueError as error:
        # An integer of thousands of digits raises a plain ValueError.
        raise TableError([f"{where}: is not JSON: {str(error)[:200]}"]) from None
    if _deeper(found, MAX_DEPTH):
        raise TableError([f"{where}: is nested too deeply"])
    return _table(found, where)


def parse_yaml(data: bytes, where: str) -> dict[str, Any]:
    """The mapping that a YAML file holds: plain data only, no aliases, which could stand for any amount of it.

    Args:
        data: the file's bytes.
        where: the file's name, for messages.

    Raises:
        TableError: too large, not UTF-8, not YAML, no mapping, nested too deeply, with an alias, a tag for something
            else than plain data, a key that is no text, or a key that is there twice.
    """
    text = _text(data, MAX_YAML, where)
    import yaml

    try:
        return _table(_Builder(yaml.SafeLoader(text)).document(), where)
    except _WrongError as error:
        raise TableError([f"{where}: {error}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TableError([f"{where}: is not YAML: {' '.join(str(error).split())[:200]}"]) from None


class _WrongError(Exception):
    """What is wrong; the text goes on after the file's name."""


def _text(data: bytes, most: int, where: str) -> str:
    if len(data) > most:
        raise TableError([f"{where}: is {len(data)} bytes, the most is {most}"])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TableError([f"{where}: is not UTF-8 text (byte {error.start})"]) from None


def _table(found: object, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TableError([f"{where}: must hold keys with values, not {shown(found)}"])
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        left = dict(found)
        twice = next(key for key, _ in pairs if left.pop(key, left) is left)
        raise _WrongError(f"the key {shown(twice)} is there twice")
    return found


def _no_number(text: str) -> Any:
    raise _WrongError(f"{text} is no number that JSON has")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _WrongError(f"{shown(text)} is too large a number")
    return value


def _deeper(value: object, depth: int) -> bool:
    pending = [(value, 0)]
    while pending:
        each, level = pending.pop()
        if isinstance(each, dict | list):
            if level == depth:
                return True
            pending += [(item, level + 1) for item in (each.values() if isinstance(each, dict) else each)]
    return False


class _Builder:
    """Builds values of a parser's events. Not the library's own composer, which follows aliases and recurses."""

    def __init__(self, loader: Any) -> None:
        import yaml

        self._loader = loader
        self._yaml = yaml

    def document(self) -> Any:
        """The one document of the stream; None if there is none."""
        yaml = self._yaml
        found: Any = None
        documents = 0
        while not isinstance(event := self._loader.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _WrongError("has more than one document")
                found = self._value(self._loader.get_event(), 0)
        return found

    def _value(self, event: Any, depth: int) -> Any:
        yaml = self._yaml
        at = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            raise _WrongError(f"{at}: has the alias *{event.anchor[:60]}, which is not followed; write its value out")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, at)
        if depth == MAX_DEPTH:
            raise _WrongError(f"{at}: is nested too deeply")
        if event.tag not in (None, "!"):
            raise _WrongError(f"{at}: has the tag {shown(event.tag)}; only plain data is read")
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(event := self._loader.get_event(), yaml.SequenceEndEvent):
                items.append(self._value(event, depth + 1))
            return items
        found: dict[str, Any] = {}
        while not isinstance(event := self._loader.get_event(), yaml.MappingEndEvent):
            at = f"line {event.start_mark.line + 1}"
            key = self._value(event, depth + 1)
            if not isinstance(key, str):
                raise _WrongError(f"{at}: the key {shown(key)} is no text; put it in quotes")
            if key in found:
                raise _WrongError(f"{at}: the key {shown(key)} is there twice")
            found[key] = self._value(self._loader.get_event(), depth + 1)
        return found

    def _scalar(self, event: Any, at: str) -> Any:
        yaml = self._yaml
        tag = event.tag
        if tag in (None, "!"):
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag in (_TEXT, _PLAIN):
            return event.value
        if tag not in _SCALARS:
            raise _WrongError(f"{at}: has {shown(tag.rpartition(':')[2])}, which is no plain data")
        try:
            value = self._loader.construct_object(yaml.ScalarNode(tag, event.value, event.start_mark))
        except (KeyError, IndexError):
            raise _WrongError(f"{at}: {shown(event.value)} is not what its tag says") from None
        except OverflowError:
            # "1:0:0:.5" is YAML's number of base 60, whose places may be more than a float has.
            raise _WrongError(f"{at}: {shown(event.value)} is too large a number") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise _WrongError(f"{at}: {shown(event.value)} is no number that JSON has")
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise _WrongError(f"{at}: {shown(event.value)} is too large a number")
        return value
