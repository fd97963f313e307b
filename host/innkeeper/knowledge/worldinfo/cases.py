"""Activation cases: entries, a chat and settings, and what SillyTavern answered. One JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, ValidationError, model_validator

from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.entry import Part, problems_of
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.knowledge.worldinfo.entry import read_world_entry
from innkeeper.knowledge.worldinfo.lore import Lore
from innkeeper.knowledge.worldinfo.plan import Plan
from innkeeper.knowledge.worldinfo.scan import scan
from innkeeper.knowledge.worldinfo.scanned import Scanned
from innkeeper.knowledge.worldinfo.settings import Scene, Settings
from innkeeper.knowledge.worldinfo.timed import TimedEffects
from innkeeper.knowledge.worldinfo.verdicts import Test

MOST_FILE: Final = 64 << 20
"""Bytes of a file of cases."""

MOST_CASES: Final = 100_000

Entries = Annotated[list[dict[str, Any]], Field(max_length=bounds.MOST_ENTRIES)]
Texts = Annotated[list[str], Field(max_length=100_000)]
Whole = Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)]
Amount = Annotated[float, Field(ge=-1e12, le=1e12)]


class CasePart(Part):
    """A part of a case. Whatever is null is as the default has it; what has another type than its field is read as
    JavaScript would read it where that is plain, such as 1 for true."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=False, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, value: Any) -> Any:
        return {key: each for key, each in value.items() if each is not None} if isinstance(value, dict) else value


class CaseLore(CasePart):
    """Entries by their source."""

    everywhere: Annotated[Entries, Field(alias="global", default_factory=list)]
    character: Entries = Field(default_factory=list)
    chat: Entries = Field(default_factory=list)
    persona: Entries = Field(default_factory=list)


class CaseSettings(CasePart):
    """What a case says of the settings; the defaults are SillyTavern's."""

    depth: Whole = 2
    min_act: Whole = 0
    min_act_max: Whole = 0
    budget: Amount = 25
    budget_cap: Amount = 0
    recursive: bool = False
    case_s: bool = False
    whole: bool = False
    group_scoring: bool = False
    max_rec: Whole = 0
    strategy: Whole = 1
    injects: Texts = Field(default_factory=list)
    char: str = "Al"
    user: str = "User"
    tags: Texts = Field(default_factory=list)
    trigger: str = "normal"
    texts: dict[str, str] = Field(default_factory=dict)
    lore: CaseLore | None = None


class Case(CasePart):
    """One case.

    Attributes:
        name: for people.
        entries: of the one book; `settings.lore` takes their place.
        chat: messages, the newest first, as they are looked at.
        settings: over the defaults.
        rnd: every random number.
        max_context: tokens, of which the budget is a part.
        sequence: cases of the same follow each other in one chat.
    """

    name: str = ""
    entries: Entries = Field(default_factory=list)
    chat: Texts = Field(default_factory=list)
    settings: CaseSettings = CaseSettings()
    rnd: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_context: Amount = 1000
    sequence: str | int | None = None

    @property
    def expected(self) -> dict[str, Any]:
        """What the case says that comes out, as `answer_of` says it; no more than it has."""
        return {field: self.model_extra[field] for field in ANSWER if self.model_extra and field in self.model_extra}


ANSWER: Final = ("activated", "before", "after", "depth", "outlets")
"""Fields of an answer, in their order."""


def read_cases(data: bytes, *, source: str) -> list[Case]:
    """The cases of a file.

    Args:
        data: UTF-8, one JSON object a line; empty lines are none.
        source: name of the file, for messages.

    Raises:
        KnowledgeError: lines are no cases; it names each by its number.
    """
    if len(data) > MOST_FILE:
        raise KnowledgeError(f"it has more than {MOST_FILE >> 20} MiB", source=source)
    cases: list[Case] = []
    problems: list[Problem] = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        if len(cases) >= MOST_CASES:
            problems.append(Problem("", f"there are more than {MOST_CASES:,} cases", line=number))
            break
        try:
            cases.append(Case.model_validate(_parsed(line)))
        except ValidationError as error:
            problems += [Problem(each.where, each.message, line=number) for each in problems_of(error, "")]
        except ValueError as error:
            problems.append(Problem("", str(error), line=number))
    if problems:
        raise KnowledgeError(problems, source=source)
    return cases


def unknown_settings(cases: Sequence[Case]) -> list[str]:
    """Names of settings that cases have and nobody knows here, sorted."""
    return sorted({name for case in cases for name in case.settings.model_extra or ()})


def _parsed(line: bytes) -> Any:
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}"[:200]) from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    if _deeper(value, bounds.MOST_DEPTH):
        raise ValueError("it is nested too deeply")
    return value


def _deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [part for parts in inner for part in parts]
        if not level:
            return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def run_cases(
    cases: Sequence[Case], test: Test | None, check: Callable[[], None] = lambda: None
) -> Iterator[dict[str, Any]]:
    """What comes out of each case, in their order.

    Args:
        cases: those of one sequence keep its timed effects.
        test: tests regular expressions.
        check: called between cases and in them; ends the run by raising.
    """
    chats: dict[str | int, TimedEffects] = {}
    for case in cases:
        effects = TimedEffects() if case.sequence is None else chats.setdefault(case.sequence, TimedEffects())
        yield answer_of(case, run_case(case, effects, test, check))


def run_case(case: Case, effects: TimedEffects, test: Test | None, check: Callable[[], None] = lambda: None) -> Scanned:
    """The scan of one case. Tokens are words between spaces.

    Args:
        case: what to scan.
        effects: of its chat; brought up to date.
        test: tests regular expressions.
        check: as of `scan`.
    """
    given = case.settings
    settings = Settings(
        depth=given.depth,
        budget_percent=given.budget,
        budget_cap=given.budget_cap,
        max_context=case.max_context,
        recursive=given.recursive,
        case_sensitive=given.case_s,
        whole_words=given.whole,
        group_scoring=given.group_scoring,
        min_activations=given.min_act,
        min_activations_depth=given.min_act_max,
        max_sweeps=given.max_rec,
        strategy=given.strategy,
    )
    scene = Scene(
        messages=case.chat,
        injects=given.injects,
        texts=given.texts,
        character=given.char,
        user=given.user,
        tags=given.tags,
        trigger=given.trigger,
    )
    return scan(
        Plan(_lore(case), settings),
        settings,
        scene,
        effects=effects,
        random=lambda: case.rnd,
        count=lambda text: len(text.split()),
        test=test,
        check=check,
    )


def _lore(case: Case) -> Lore:
    lore = case.settings.lore or CaseLore.model_construct(everywhere=case.entries)
    return Lore(
        everywhere=list(map(read_world_entry, lore.everywhere)),
        character=list(map(read_world_entry, lore.character)),
        chat=list(map(read_world_entry, lore.chat)),
        persona=list(map(read_world_entry, lore.persona)),
    )


def answer_of(case: Case, scanned: Scanned) -> dict[str, Any]:
    """What came out, as the format says it: name, activated, before, after, depth, outlets."""
    slots = scanned.slots
    return {
        "name": case.name,
        "activated": [entry.uid for entry, _ in scanned.active],
        "before": "\n".join(slots.before),
        "after": "\n".join(slots.after),
        "depth": [[group.depth, group.role, group.texts] for group in slots.depth],
        "outlets": slots.outlets,
    }


def differences(case: Case, answer: Mapping[str, Any]) -> list[str]:
    """Fields in which an answer is not what its case says."""
    return [field for field, value in case.expected.items() if answer[field] != value]
