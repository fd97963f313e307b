"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an author should know.

    Attributes:
        entry: id of the entry.
        name: what people call it.
        where: the field, such as "activation_criteria.keywords".
        message: what is the matter and what would be right, as a sentence without its subject.
        never: whether it means that the entry can never be active; else something in it has no effect.
    """

    entry: str
    name: str
    where: str
    message: str
    never: bool = False
