"""What each macro with arguments does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from innkeeper.knowledge.macros.chance import rolled
from innkeeper.knowledge.macros.context import MOST_REPEATED

if TYPE_CHECKING:
    from innkeeper.knowledge.macros.engine import Run
    from innkeeper.knowledge.macros.variables import Variables

SIMPLE: Final[Mapping[str, str]] = {"newline": "\n", "space": " ", "noop": ""}
"""Macros that always say the same."""

FIELDS: Final = frozenset(
    {
        "description", "personality", "scenario", "persona", "mesexamples", "mesexamplesraw", "system", "charprompt",
        "charinstruction", "chardepthprompt", "charcreatornotes", "wibefore", "wiafter", "lorebefore", "loreafter",
        "anchorbefore", "anchorafter", "original", "input", "lastmessage", "lastusermessage", "lastcharmessage",
    }
)  # fmt: skip
"""Names of values that are no where nobody gives them, when a condition asks."""

_DIE: Final = 50
"""What a die costs, in characters."""


@dataclass(frozen=True, slots=True)
class Call:
    """A macro with its arguments carried out.

    Attributes:
        name: in lower case.
        arguments: without the spaces around them.
    """

    name: str
    arguments: list[str]

    @property
    def first(self) -> str:
        """Its first argument."""
        return self.arguments[0] if self.arguments else ""

    @property
    def rest(self) -> str:
        """What follows the first, as it was written."""
        return "::".join(self.arguments[1:])

    @property
    def whole(self) -> str:
        """All of its arguments, as they were written."""
        return "::".join(self.arguments)


Function = Callable[["Run", Call], str | None]
"""Gives what a macro says, or None where it makes no sense and stays."""


def _repeated(text: str) -> Function:
    def function(_run: Run, call: Call) -> str | None:
        number = call.first
        good = number.isascii() and number.isdigit() and len(number) <= 4 and int(number) <= MOST_REPEATED
        return text * int(number) if good else None

    return function


def _roll(run: Run, call: Call) -> str | None:
    count, said = rolled(call.whole, run.chance)
    run.spend(count * _DIE)
    return said


def _reverse(_run: Run, call: Call) -> str | None:
    return call.whole[::-1]


def _of(chat: bool, act: Callable[[Variables, Call], str | None]) -> Function:
    return lambda run, call: act(run.variables if chat else run.global_variables, call) if call.first else None


def _get(variables: Variables, call: Call) -> str | None:
    return variables.get(call.first) or ""


def _set(variables: Variables, call: Call) -> str | None:
    if len(call.arguments) < 2:
        return None
    variables.set(call.first, call.rest)
    return ""


def _add(variables: Variables, call: Call) -> str | None:
    if len(call.arguments) < 2:
        return None
    variables.add(call.first, call.rest)
    return ""


def _more(variables: Variables, call: Call) -> str | None:
    return variables.count(call.first, 1)


def _less(variables: Variables, call: Call) -> str | None:
    return variables.count(call.first, -1)


def _has(variables: Variables, call: Call) -> str | None:
    return "true" if variables.get(call.first) is not None else "false"


def _drop(variables: Variables, call: Call) -> str | None:
    variables.drop(call.first)
    return ""


def _functions() -> dict[str, Function]:
    made: dict[str, Function] = {
        "newline": _repeated("\n"),
        "space": _repeated(" "),
        "roll": _roll,
        "reverse": _reverse,
    }
    acts = {"get": _get, "set": _set, "add": _add, "inc": _more, "dec": _less, "has": _has, "delete": _drop}
    for verb, act in acts.items():
        made[f"{verb}var"] = _of(True, act)
        made[f"{verb}globalvar"] = _of(False, act)
    return made


FUNCTIONS: Final[Mapping[str, Function]] = _functions()
"""By the macro's name, in lower case."""
