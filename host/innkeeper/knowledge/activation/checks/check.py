"""`check`: all findings of a base. What is switched off is no fault, and nothing is said of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import trio

from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.checks.finding import Finding
from innkeeper.knowledge.activation.checks.links import Links
from innkeeper.knowledge.activation.checks.reaching import reaching
from innkeeper.knowledge.regexes.interface import Regex, RegexEngine, Verdict

MOST_FINDINGS: Final = 10_000
"""Findings of one base that are kept."""

_AT_ONCE = 256


async def check(
    base: CompiledBase, *, regexes: RegexEngine | None = None, most_likeness: float | None = None
) -> list[Finding]:
    """Looks at all entries of a base.

    Args:
        base: as `compile_base` made it.
        regexes: finds out which regular expressions do not compile; without, that is not looked at.
        most_likeness: the largest cosine that the base's model gives two different texts; None: not known.

    Returns:
        in the order of the entries, at most `MOST_FINDINGS`.
    """
    invalid: set[Regex] = set()
    if regexes is not None:
        asked = await trio.to_thread.run_sync(_regexes, base)
        for start in range(0, len(asked), _AT_ONCE):
            some = asked[start : start + _AT_ONCE]
            verdicts = await regexes.test(some, "")
            invalid.update(regex for regex, said in zip(some, verdicts, strict=True) if said is Verdict.INVALID)
    return await trio.to_thread.run_sync(_findings, base, invalid, most_likeness)


def _regexes(base: CompiledBase) -> list[Regex]:
    # What a key with a macro becomes is not known before a request.
    keys = (key for entry in base.entries for key in entry.keys if not key.macro)
    return list(dict.fromkeys(key.regex for key in keys if key.regex is not None))


def _findings(base: CompiledBase, invalid: Collection[Regex], most_likeness: float | None) -> list[Finding]:
    links = Links(base)
    found: list[Finding] = []
    for position, entry in enumerate(base.entries):
        if entry.entry.management_metadata.is_enabled:
            brought = position in links.brought
            found += reaching(entry, brought=brought, invalid=invalid, most_likeness=most_likeness)
            found += links.findings(position)
        if len(found) >= MOST_FINDINGS:
            break
    return found[:MOST_FINDINGS]
