"""One soak from its beginning to its end, and what of it is not as promised."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from . import soak_watch as watch
from .soak_calls import ENDINGS, OTHERS, Ending, deck
from .soak_files import change_files, load_and_close
from .soak_inn import AT_ONCE, Inn, open_inn

CALLS = 2_000_000
SECONDS = 600.0
SEED = 1

_SPARE_MAPPINGS = 64
"""Mappings that the pool's places and C's allocators may have cut theirs into."""
_ENOUGH = 30
"""Samples that it takes to say whether memory is flat."""
_SPARE_OBJECTS = 2000
"""Objects of one type that may be there more: caches that fill, and trio's deadlines, which keep a thousand that are
over."""
_PATIENCE = 15
"""Seconds until what ends by itself has ended: trio's idle threads and compiling processes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a soak is to be.

    Attributes:
        calls: how many, at least.
        seconds: how long, at least.
        steps: how many changes of files, at least.
        seed: of all choices.
        only: words of the endings that are wanted, separated by "|"; all where empty. What goes on beside is "files"
            and "loads".
        step: seconds from one change of files to the next.
        rests: samples.
        loud: whether it is a whole one: each sample is printed, and more places than it takes are used up before.
    """

    calls: int = CALLS
    seconds: float = SECONDS
    steps: int = 0
    seed: int = SEED
    only: str = ""
    step: float = 0.5
    rests: int = 100
    loud: bool = False

    def wants(self, name: str) -> bool:
        """Whether an ending, or what goes on beside, is wanted."""
        return not self.only or any(word in name for word in self.only.split("|"))


@dataclass(slots=True)
class Course:
    """What a soak came to.

    Attributes:
        calls, seconds: how many calls took how long.
        samples: what was watched.
        happened: calls by ending and what they ended with.
        changes: what the host said of its files, by kind.
        compilers: processes that compiled and went.
        most: guests at once.
        faults: what is not as promised, a sentence each.
        slope, difference: bytes that resident memory grew by from a third to the end: by the line through its samples,
            and from the first to the last.
    """

    calls: int
    seconds: float
    samples: list[watch.Sample]
    happened: Counter[tuple[str, str]]
    changes: Counter[str]
    compilers: int = 0
    most: int = 0
    faults: list[str] = field(default_factory=list)
    slope: float = 0.0
    difference: int = 0


async def soak(plan: Plan) -> Course:
    """Opens a host twice: for a moment, so that what the process gets once and keeps is there, and for the soak."""
    with _own_cache():
        await _stay(replace(plan, calls=1000, seconds=0, only="", step=0.05, rests=1, loud=False))
        before, tables = await _afterwards(), watch.tables()
        if plan.loud:
            print(watch.Sample.HEADER, flush=True)
        course = await _stay(plan)
        after = await _afterwards(course, before)
    if plan.loud:
        print(f"{after.line()}  (closed)\n{before.line()}  (before it was opened)", flush=True)
    course.faults += left(before, after)
    course.faults += [f"left in a table: {text}" for text in watch.grown(tables, watch.tables(), 0)]
    return course


async def _stay(plan: Plan) -> Course:
    with tempfile.TemporaryDirectory() as name:
        async with open_inn(Path(name), plan.seed) as inn:
            course = await _course(inn, plan)
            engine = inn.engine
        for budget in (engine.live, engine.memory, engine.in_flight):
            if budget.taken:
                course.faults.append(f"{budget.taken} of the bound {budget.name!r} were not given back")
    return course


async def _course(inn: Inn, plan: Plan) -> Course:
    if plan.loud:
        await inn.use_places()
        inn.calls = inn.most = 0
    began = time.perf_counter()
    samples: list[watch.Sample] = []
    late: list[tuple[Counter[str], dict[str, int]]] = []
    compilers: set[int] = set()

    def done() -> float:
        seconds = time.perf_counter() - began
        return min(
            inn.calls / plan.calls,
            seconds / plan.seconds if plan.seconds else 1.0,
            inn.steps / plan.steps if plan.steps else 1.0,
        )

    async with trio.open_nursery() as beside:
        if plan.wants("files"):
            beside.start_soon(change_files, inn, plan.step)
        if plan.wants("loads"):
            beside.start_soon(load_and_close, inn, plan.step / 2)
        while done() < 1.0:
            target = inn.calls + plan.calls // plan.rests
            async with trio.open_nursery() as nursery:
                cards: list[Ending] = []
                for _ in range(AT_ONCE):
                    nursery.start_soon(_draw, inn, cards, plan, target)
            async with inn.rest():
                await _settled(inn)
                engine = inn.engine
                seconds = time.perf_counter() - began
                if done() >= 2 / 3:
                    late = [*late[:1], (watch.objects(), watch.tables())]
                compilers |= watch.children()
                samples.append(watch.sample(inn.calls, seconds, engine.live.taken, engine.memory.taken))
                if plan.loud:
                    print(samples[-1].line(), flush=True)
        # Nothing is cancelled in the midst of it.
        async with inn.rest():
            beside.cancel_scope.cancel()
    seconds = time.perf_counter() - began
    course = Course(
        inn.calls, seconds, samples, inn.happened, inn.changes, len(compilers), inn.most, list(inn.surprises)
    )
    _judge(course, plan, late)
    return course


async def _draw(inn: Inn, cards: list[Ending], plan: Plan, target: int) -> None:
    """One task: plays cards until there were so many calls."""
    while inn.calls < target:
        if not cards:
            cards += [card for card in deck(inn) if plan.wants(card.name)]
        card = cards.pop()
        await inn.enter()
        try:
            await card.play(inn, card.name)
        finally:
            inn.leave()


async def _settled(inn: Inn) -> None:
    """Waits until no guest is but those that stay; workers give large ones back a little later."""
    live = -1
    while live != inn.engine.live.taken:
        live = inn.engine.live.taken
        await trio.sleep(0.01)


async def _afterwards(course: Course | None = None, before: watch.Sample | None = None) -> watch.Sample:
    """What there is once the host is closed, when what ends by itself has ended, or `_PATIENCE` has."""
    calls, seconds = (course.calls, course.seconds) if course else (0, 0.0)
    with trio.move_on_after(_PATIENCE):
        while True:
            await trio.sleep(0.05)
            now = watch.sample(calls, seconds)
            if before is None or not left(before, now):
                break
    return now


def _judge(course: Course, plan: Plan, late: list[tuple[Counter[str], dict[str, int]]]) -> None:
    faults = course.faults
    # One in a thousand cards is the least that an ending has; beside the calls there are some each second.
    least = 1 + plan.calls // 10_000
    meant = [(one.name, one.wanted) for one in ENDINGS if plan.wants(one.name)] + list(() if plan.only else OTHERS)
    for name, wanted in meant:
        if course.happened[name, wanted] < least:
            faults.append(f"{name}: ended with {wanted} {course.happened[name, wanted]} times; the least is {least}")
    for kind in () if plan.only else ("added", "removed", "changed file", "changed grant", "problem"):
        if course.changes[kind] < least:
            faults.append(f"files: {kind} {course.changes[kind]} times; the least is {least}")
    if len(late) == 2:
        (objects, tables), (objects_now, tables_now) = late
        faults += [f"objects of Python's: {text}" for text in watch.grown(objects, objects_now, _SPARE_OBJECTS)]
        faults += [f"a table grew: {text}" for text in watch.grown(tables, tables_now, _SPARE_OBJECTS)]
    if len(course.samples) >= _ENOUGH:
        judge_memory(course)


def judge_memory(course: Course) -> None:
    """Whether memory is flat from the sample at a third to the last one."""
    faults = course.faults
    third, last = course.samples[len(course.samples) // 3], course.samples[-1]
    course.slope = watch.slope(course.samples)
    course.difference = last.memory.resident - third.memory.resident
    mappings = last.memory.mappings - third.memory.mappings
    if mappings > _SPARE_MAPPINGS:
        faults.append(f"mappings: {mappings} more at the end than at a third")
    for what, grown in (
        ("resident memory, by the line through its samples,", course.slope),
        ("resident memory", course.difference),
        ("memory that is no file's", last.anonymous - third.anonymous),
        ("page tables", last.memory.page_tables - third.memory.page_tables),
        ("what C and Rust have allocated", last.heap - third.heap),
    ):
        if grown >= watch.PROMISE:
            faults.append(f"{what} grew by {grown / watch.MB:.1f} MB from a third to the end")


def left(before: watch.Sample, after: watch.Sample) -> list[str]:
    """What is there more than before the host was opened."""
    return [
        f"{what}: {then} before, {now} after"
        for what, then, now in (
            ("descriptors", before.descriptors, after.descriptors),
            ("threads", before.threads, after.threads),
            ("child processes", before.children, after.children),
            ("trio's tasks", before.tasks, after.tasks),
        )
        if now > then
    ]


@contextmanager
def _own_cache() -> Iterator[None]:
    """The user's variable must not lead what is compiled here into the user's cache, and what the host says of broken
    files is counted, not printed."""
    logger = logging.getLogger("innkeeper")
    chosen, level = os.environ.pop("INNKEEPER_CACHE", None), logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        if chosen is not None:
            os.environ["INNKEEPER_CACHE"] = chosen
