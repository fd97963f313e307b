"""What deciding about entries must ask of others: regular expressions, functions of plugins, likeness of meaning.

The decisions run in a thread and cannot wait; they collect what is open, give it up together, and go on with the
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from innkeeper.knowledge.regexes.interface import Regex, Verdict

if TYPE_CHECKING:
    from innkeeper.knowledge.activation.conditions import PluginCheck


MOST_COMPARED: Final = 2_000_000
"""Comparisons of variables of one activation; long values count as several."""


@dataclass(frozen=True, slots=True)
class RegexTest:
    """A regular expression and the text that it is tested on."""

    regex: Regex
    text: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like a base's entries are to a query.

    Attributes:
        scores: cosine by the entry's id, -1 to 1; entries without a vector are missing.
        threshold: from which entries count that say none of their own, calibrated for the model.
        model: which model it was, for people.
        recorded: the model that the base records, under which its authors chose thresholds; "" if it is the same.
        carried: gives a threshold chosen under `recorded` as one of `model`; None where they are the same.
    """

    scores: Mapping[str, float]
    threshold: float
    model: str = ""
    recorded: str = ""
    carried: Callable[[float], float] | None = None


class Semantic(Protocol):
    """Compares a text with entries by meaning."""

    async def likeness(self, base: str, query: str) -> Likeness | None:
        """How like a base's entries are to a text; None where there are no vectors.

        Raises what it likes where it fails: activation goes on by keywords, with a note.
        """
        ...


class Plugins(Protocol):
    """Asks functions of plugins whether a condition holds."""

    async def check(self, plugin: str, function: str, payload: Mapping[str, Any]) -> bool:
        """What the function says. Raises what it likes where it fails: the condition does not hold then."""
        ...


@dataclass(slots=True)
class Open:
    """What is to be asked, each thing once.

    Attributes:
        regexes: to be tested.
        plugins: to be asked, by their key.
        queries: the text that each base's entries are compared with, by the base's id.
    """

    regexes: dict[RegexTest, None] = field(default_factory=dict)
    plugins: dict[str, PluginCheck] = field(default_factory=dict)
    queries: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.regexes or self.plugins or self.queries)


@dataclass(slots=True)
class Asked:
    """Answers so far.

    Attributes:
        open: what is still to be asked.
        verdicts: of regular expressions.
        checks: of plugins, by their key.
        likeness: by the base's id; None where there is none.
        notes: what did not work, each sentence once.
    """

    open: Open = field(default_factory=Open)
    verdicts: dict[RegexTest, Verdict] = field(default_factory=dict)
    checks: dict[str, bool] = field(default_factory=dict)
    likeness: dict[str, Likeness | None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    _work: int = MOST_COMPARED

    def regex(self, test: RegexTest) -> bool | None:
        """Whether it matches; None where that is now asked."""
        verdict = self.verdicts.get(test)
        if verdict is None:
            self.open.regexes[test] = None
            return None
        return verdict is Verdict.MATCH

    def plugin(self, key: str, made: Callable[[], PluginCheck]) -> bool | None:
        """Whether it holds; None where that is now asked.

        Args:
            key: equal for equal questions.
            made: makes the question, where it was not asked before.
        """
        answer = self.checks.get(key)
        if answer is None and key not in self.open.plugins:
            self.open.plugins[key] = made()
        return answer

    def affords(self, cost: int) -> bool:
        """Whether there is room for so many more comparisons of variables."""
        self._work -= cost
        if self._work < 0:
            self.note("conditions compare too much: those that were left do not hold")
        return self._work >= 0

    def note(self, text: str) -> None:
        """Keeps what did not work."""
        if len(self.notes) < 100:
            self.notes[text[:500]] = None
