"""One thing that a check found, and the list of what is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

State = Literal["bad", "warn", "info", "ok"]

STATES: Final[tuple[State, ...]] = ("bad", "warn", "info", "ok")
"""From the worst on."""

CHECKS: Final = {
    "home": "the home, and every folder above it, can be changed by nobody else",
    "home.accepted": "a working directory gives grants and settings only if you accepted it as a home",
    "grants.files": "nobody else can write grants, trust or settings",
    "plugins.files": "nobody else can exchange plugins",
    "state": "what plugins keep, and journals, are nobody else's to read or change",
    "database": "nobody can listen on the way to the database, and its password does not lie about",
    "cache": "nobody else can put compiled code where it is loaded from",
    "secrets.file": "the file of secrets is one that the host uses",
    "secrets.missing": "secrets that grants and endpoints name have a value",
    "secrets.environment": "no secret stands in the environment",
    "secrets.plain": "no grant sends a secret off this machine unencrypted",
    "files.roots": "folders for plugins are no others', and nothing of the host's is in them",
    "native": "no native plugin runs, and none changed since it was trusted",
    "grants.risk": "no plugin has rights of the highest risk, or without a bound",
    "grants.bytes": "grants are for the bytes that are there",
    "limits": "limits are far below the ceiling, and the ceiling is not raised",
    "policy": "other bytes need another consent, failing plugins pause, the audit log is kept",
    "journal": "journals are not kept of every call",
    "llm": "texts and keys for language models travel encrypted",
    "variables": "no variable is a misspelt setting, and none shows tracebacks",
    "engine": "wasmtime is new enough, and does what it must",
    "user": "the host does not run as root",
    "core": "a crash leaves no memory on disk",
    "mappings": "the kernel allows the mappings of all live guests",
    "memory": "what guests may use together fits into the memory that there is",
}
"""What is checked, by its name in the report; the tests hold docs/threat-model.md to it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        check: a key of `CHECKS`.
        state: "bad": somebody may get or change what is not theirs; "warn": a bound or a habit that helps them is off;
            "info": a fact that a careful operator wants to know; "ok".
        what: a sentence without its full stop.
        advice: what to do, or "".
    """

    check: str
    state: State
    what: str
    advice: str = ""


def fine(check: str, what: str = "") -> Finding:
    """That all is well (Finding): in the words of `CHECKS`, unless there is more to say.

    Args:
        check: a key of `CHECKS`.
        what: a sentence that can be understood beside any check's name.
    """
    return Finding(check, "ok", what or CHECKS[check])


def or_fine(check: str, found: list[Finding], what: str = "") -> list[Finding]:
    """What was found, or as `fine` (list of Finding)."""
    return found or [fine(check, what)]
