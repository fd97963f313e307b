"""What chance decides, from a seed: the same on every machine, and whatever the order in which it is asked.

Each question has a number of its own, taken from BLAKE2b over the seed, the length of the conversation and what is
asked. So a seed that stays the same gives each turn new luck, a turn that is generated again has the same, and an entry
that is added changes that of no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

_BITS: Final = 64


class Chance:
    """Answers from one seed."""

    def __init__(self, seed: int, length: int) -> None:
        """Args:
        seed: any integer.
        length: of the conversation, in messages.
        """
        self._key = blake2b(f"{seed}/{length}".encode(), digest_size=32).digest()

    def number(self, *what: str) -> int:
        """A number of `_BITS` bits, evenly spread, for what is asked."""
        digest = blake2b(key=self._key, digest_size=_BITS // 8)
        for part in what:
            data = part.encode("utf-8", "surrogatepass")
            # The length stands before each: ("ab", "c") and ("a", "bc") are different questions.
            digest.update(len(data).to_bytes(8, "big") + data)
        return int.from_bytes(digest.digest(), "big")

    def happens(self, probability: float, *what: str) -> bool:
        """Whether something of this probability happens: 0 never, 1 always."""
        return self.number(*what) < probability * (1 << _BITS)

    def pick(self, weights: Sequence[int], *what: str) -> int:
        """Which of several it is (int, a position), each by its weight; where all weigh 0, each alike."""
        if not any(weights):
            weights = [1] * len(weights)
        left = self.number(*what) * sum(weights) >> _BITS
        for position, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return position
        return len(weights) - 1
