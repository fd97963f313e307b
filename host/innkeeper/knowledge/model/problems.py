"""What is wrong with knowledge that somebody wrote, in words that its author understands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from innkeeper.errors import UsageError
from innkeeper.printable import printable


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: the place inside of the file, such as "entries[3].activation_criteria.keywords", or "".
        message: what is wrong with it and what would be right, as the rest of a sentence that began with the place.
        entry: id or name of the entry that it concerns, or "".
        line: of the file, from 1; 0 where it is not known.
    """

    where: str
    message: str
    entry: str = ""
    line: int = 0

    def __str__(self) -> str:
        entry = f" (entry {self.entry!r})" if self.entry else ""
        line = f"line {self.line}: " if self.line else ""
        return f"{line}{self.where}{entry}: {self.message}" if self.where else f"{line}{self.message}{entry}"


class KnowledgeError(UsageError):
    """Knowledge that cannot be used as it is.

    Attributes:
        problems: each thing that is wrong, at least one.
    """

    def __init__(self, problems: Sequence[Problem] | Problem | str, *, source: str = "") -> None:
        """Args:
        problems: what is wrong; a plain text is one problem.
        source: name of the file, without its folders, or "".
        """
        if isinstance(problems, str):
            problems = (Problem("", problems),)
        elif isinstance(problems, Problem):
            problems = (problems,)
        self.problems = tuple(problems)
        # What files say is somebody else's: it is quoted, and must not steer a terminal.
        shown = [printable(str(problem), 1000) for problem in self.problems[:20]]
        if len(self.problems) > len(shown):
            shown.append(f"and {len(self.problems) - len(shown)} more")
        head = f"{printable(source, 300)}: " if source else ""
        super().__init__(head + "\n".join(shown))
