"""Pieces of modules in text form that several guests have."""

from __future__ import annotations

from collections.abc import Sequence


def types(word: str, of: Sequence[str]) -> str:
    """Types behind "param", "result" or "local"; nothing where there are none."""
    return f" ({word} {' '.join(of)})" if of else ""


def imported(namespace: str, name: str, parameters: Sequence[str], results: Sequence[str]) -> str:
    """The import of a function, under its own name."""
    return f'(import "{namespace}" "{name}" (func ${name}{types("param", parameters)}{types("result", results)}))'


def one_of(arms: Sequence[str]) -> str:
    """Instructions that return what one of the arms gives: the one whose number is in the local `$which`."""
    return "".join(
        f"(if (i32.eq (local.get $which) (i32.const {at})) (then (return {arm})))\n" for at, arm in enumerate(arms)
    )
