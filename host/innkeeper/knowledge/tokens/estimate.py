"""Counts tokens without any tokenizer: by how many pieces of which script a text has."""

from __future__ import annotations

import math
import re

# What each costs is about the middle between cl100k_base and o200k_base, fitted on encyclopedic text, manuals and
# programs, a little higher where prose costs more (docs/assembly.md has the errors). Every pattern takes away what it
# matched, so time is linear in the text.
_WORD = re.compile(r"[A-Z]?[a-z]{1,16}|[A-Z]{1,16}")
_DIGITS = re.compile(r"[0-9]{1,3}")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]{1,2}")
_LINES = re.compile(r"\n\s{0,31}")
_GAPS = re.compile(r"[ \t]{2,64}")

_RUSSIAN = re.compile("[\u0400-\u052f]+")
_CHARACTERS = (
    (re.compile("[\u0080-\u024f\u0300-\u036f]+"), 1.2),  # Latin with marks
    (re.compile("[\u0250-\u02ff\u1e00-\u1eff]+"), 0.6),
    (re.compile("[\u0370-\u03ff\u0530-\u08ff]+"), 0.67),  # Greek, Armenian, Hebrew, Arabic
    (re.compile("[\u0900-\u10ff\u1200-\u1cff]+"), 0.77),  # of India and South-East Asia, Georgian
    (re.compile("[\u2e80-\u2fff\u3100-\u312f\u3190-\u31ef\u3200-\ua4cf\uf900-\ufaff]+"), 1.0),  # Han
    (re.compile("[\u3040-\u30ff\u31f0-\u31ff]+"), 0.82),  # Kana
    (re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]+"), 1.05),  # Hangul
    (re.compile("[\u2000-\u206f\u3000-\u303f\uff00-\uffef]+"), 1.3),  # punctuation, full width
    (re.compile("[\u1d00-\u1dff\u1f00-\u1fff\u2070-\u2e7f\ua4d0-\ua95f\ua980-\uabff\ud800-\uf8ff\ufb00-\ufeff]+"), 1.3),
    (re.compile("[\ufff0-\uffff\U00010000-\U0010ffff]+"), 2.5),  # emoji, rare characters
)

STRETCH = 1 << 15
"""Characters that are counted at once. One search holds the interpreter from start to end, other threads included: of a
long text that would be many milliseconds. A word that stretches part counts a little more."""


class Estimate:
    """About what a current tokenizer would count: it knows the scripts, not the words."""

    @property
    def name(self) -> str:
        """ "estimate"."""
        return "estimate"

    def count(self, text: str) -> int:
        """About how many tokens a text has (int), 0 only of a text without anything to see."""
        total = 0.0
        for start in range(0, len(text), STRETCH):
            total += _cost(text[start : start + STRETCH])
        return math.ceil(total - 1e-9)


def _cost(text: str) -> float:
    words = _WORD.findall(text)
    total = 0.6 * len(words) + 0.11 * sum(map(len, words))
    total += len(_DIGITS.findall(text)) + 0.85 * len(_PUNCTUATION.findall(text))
    total += 0.6 * (len(_LINES.findall(text)) + len(_GAPS.findall(text)))
    if not text.isascii():
        runs = _RUSSIAN.findall(text)
        total += 0.9 * len(runs) + 0.26 * sum(map(len, runs))
        for pattern, cost in _CHARACTERS:
            total += cost * sum(map(len, pattern.findall(text)))
    return total
