"""Verdicts on regular expressions in one scan: asked for together, kept for each text, bounded for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

from innkeeper.knowledge.regexes.interface import Regex, Verdict

Test = Callable[[Sequence[Regex], str], Sequence[Verdict]]
"""Tests regular expressions against a text; called from the thread that scans."""

MOST_SECONDS: Final = 10.0
"""For all expressions of a scan. What is not tested by then does not match."""


class Verdicts:
    """What is known of regular expressions.

    Attributes:
        slow: expressions that took too long once: they are not tried again in this scan, and match nothing.
    """

    def __init__(self, test: Test | None) -> None:
        """Args:
        test: tests them; None: there is nothing that can, and none of them matches.
        """
        self._test = test
        self._known: dict[tuple[Hashable, Regex], Verdict] = {}
        self._left = MOST_SECONDS
        self.slow: dict[Regex, None] = {}

    def ask(self, regexes: Iterable[Regex], view: Hashable, text: Callable[[], str]) -> None:
        """Tests what is not known yet, in one batch.

        Args:
            regexes: any.
            view: names the text; equal views have equal texts.
            text: makes the text, where it is wanted.
        """
        wanted = [
            regex for regex in dict.fromkeys(regexes) if regex not in self.slow and (view, regex) not in self._known
        ]
        if not wanted:
            return
        if self._test is None or self._left <= 0:
            self.slow.update(dict.fromkeys(wanted))
            return
        before = time.monotonic()
        verdicts = self._test(wanted, text())
        self._left -= time.monotonic() - before
        for regex, verdict in zip(wanted, verdicts, strict=True):
            self._known[view, regex] = verdict
            if verdict is Verdict.TIMEOUT:
                self.slow[regex] = None

    def of(self, regex: Regex, view: Hashable, text: Callable[[], str]) -> Verdict:
        """The verdict on one expression, asked for where it is not known."""
        self.ask((regex,), view, text)
        return Verdict.TIMEOUT if regex in self.slow else self._known[view, regex]
