"""What a fuzzing target is: how inputs are made, and what must hold for each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Self

FOLDER = Path(__file__).resolve().parent
MIB = 1 << 20


class Target:
    """The base of all targets. A file `fuzz_NAME.py` has one, under the name `Fuzz`.

    An input is bytes: what a process that died was doing is then a file, which can be tried again and cut down.

    Attributes:
        hang: seconds of one input after which the process is ended and the input kept.
        memory: bytes of physical memory at which the same happens.
        address_space: bytes that the process may map, or None where an engine reserves far more than it uses.
        guided: whether coverage can lead the search: it calls Python alone, and waits for nothing.
    """

    hang: float = 30.0
    memory: int = 1500 * MIB
    address_space: int | None = None
    guided: bool = False

    def seeds(self) -> Sequence[bytes]:
        """Inputs to begin with; none unless the target has some."""
        return ()

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        """The next input, from `rng` alone.

        Args:
            rng: the only source of chance.
            pool: the seeds, and inputs whose outcome was new when they were tried.
        """
        raise RuntimeError("a target makes its own inputs")

    async def check(self, data: bytes) -> str:
        """Tries one input; an exception is a finding.

        Returns:
            What became of it, in a few words: an input with words that did not occur before joins the pool.
        """
        raise RuntimeError("a target knows what must hold")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None


def names() -> list[str]:
    """The targets' names, sorted: those of the files without "fuzz_"."""
    return sorted(path.stem.removeprefix("fuzz_") for path in FOLDER.glob("fuzz_*.py"))


def module_of(name: str) -> str:
    """The module of a target of this folder."""
    return f"fuzz.fuzz_{name}"


def kind(module: str) -> type[Target]:
    """The target that a module (such as "fuzz.fuzz_abi") has."""
    found: type[Target] = import_module(module).Fuzz
    assert issubclass(found, Target)
    return found


def summary(name: str) -> str:
    """The first line of the target's description."""
    return (import_module(module_of(name)).__doc__ or "").strip().split("\n")[0]
