"""Variables: by name, and in their short form with operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from innkeeper.knowledge.macros.context import MOST_VALUE, MOST_VARIABLES, BoundError
from innkeeper.knowledge.macros.values import number, shown, truthy

OPERATORS: Final = ("++", "--", "||=", "??=", "+=", "-=", "==", "!=", ">=", "<=", "||", "??", ">", "<", "=")
"""In the order in which they are looked for."""


class Variables:
    """Variables of a chat or of all: what was there stays as it was, and what is set lies over it."""

    def __init__(self, before: Mapping[str, str]) -> None:
        self._before = before
        self._set: dict[str, str | None] = {}

    def get(self, name: str) -> str | None:
        """Its value, or None where there is none."""
        if name in self._set:
            return self._set[name]
        value = self._before.get(name)
        return None if value is None else value if isinstance(value, str) else str(value)

    def set(self, name: str, value: str) -> None:
        """Gives it a value.

        Raises:
            BoundError: the value is too long, or too many variables were set.
        """
        if len(value) > MOST_VALUE:
            raise BoundError(f"a variable would have more than {MOST_VALUE:,} characters")
        if (name not in self._set and len(self._set) >= MOST_VARIABLES) or len(name) > 1000:
            raise BoundError(f"more than {MOST_VARIABLES:,} variables would be set, or one with a very long name")
        self._set[name] = value

    def drop(self, name: str) -> None:
        """Takes it away."""
        if self.get(name) is not None:
            self.set(name, "")
            self._set[name] = None

    def add(self, name: str, value: str) -> str:
        """Adds numbers, else puts the text behind; gives what it is now."""
        before = self.get(name) or ""
        one, other = number(before), number(value)
        if one is not None and other is not None and value.strip():
            self.set(name, shown(one + other))
        else:
            self.set(name, before + value)
        return self.get(name) or ""

    def count(self, name: str, by: int) -> str:
        """Counts it up or down; what is no number counts from 0."""
        self.set(name, shown((number(self.get(name) or "") or 0.0) + by))
        return self.get(name) or ""

    def all(self) -> dict[str, str]:
        """All of them as they are now, by name."""
        merged: dict[str, str | None] = {**self._before, **self._set}
        return {name: value if isinstance(value, str) else str(value) for name, value in merged.items()
                if value is not None}  # fmt: skip


def operator_of(text: str) -> tuple[str, str]:
    """The operator with which a text begins, or "", and what follows it."""
    for operator in OPERATORS:
        if text.startswith(operator):
            return operator, text[len(operator) :]
    return "", text


def operate(variables: Variables, name: str, operator: str, other: Callable[[], str]) -> str:
    """What a variable's short form says.

    Args:
        variables: of its scope.
        name: of the variable.
        operator: one of `OPERATORS`, or "".
        other: gives the operand; not called where it does not matter.

    Raises:
        BoundError: as `Variables.set`.
    """
    value = variables.get(name)
    match operator:
        case "":
            return value or ""
        case "++" | "--":
            return variables.count(name, 1 if operator == "++" else -1)
        case "||":
            return value if value is not None and truthy(value) else other()
        case "??":
            return value if value is not None else other()
        case "||=" | "??=":
            if value is None or (operator == "||=" and not truthy(value)):
                variables.set(name, other())
            return variables.get(name) or ""
        case "=":
            variables.set(name, other())
            return ""
        case "+=":
            variables.add(name, other())
            return ""
        case "-=":
            less = number(other())
            if less is not None:
                variables.set(name, shown((number(value or "") or 0.0) - less))
            return ""
        case "==" | "!=":
            return _said((value or "").strip() == other().strip(), operator == "==")
        case _:
            return _said(_compared(value or "", other(), operator), True)


def _compared(one: str, other: str, operator: str) -> bool:
    left, right = number(one), number(other)
    if left is None or right is None:
        return False
    match operator:
        case ">":
            return left > right
        case "<":
            return left < right
        case ">=":
            return left >= right
        case _:
            return left <= right


def _said(found: bool, wanted: bool) -> str:
    return "true" if found == wanted else "false"
