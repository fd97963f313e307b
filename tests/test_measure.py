"""Short versions of what `make measure` and `make soak` measure; nothing here depends on a clock being fast."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import trio

import innkeeper
from innkeeper.sandbox import callbacks
from innkeeper.workflow.engine.run import run_workflow
from measure import __main__ as measure
from measure import cli, fresh, guests, lag, services, soak, soak_course, soak_watch, waiting
from measure.soak_course import Course, Plan

SOME = 200
"""Guests that wait at the same time; the whole is 5,000."""
SHORT, SHORT_FIRST = 3000, 1000
SOAKED, STEPS = 4500, 13
"""Calls of the short soak, two decks of all endings and a bit, and changes of files, every kind of them."""

counts_pages = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says what a process's pages are"
)


@counts_pages
async def test_each_waiting_guest_takes_at_most_60_kb_with_its_page_tables() -> None:
    async with waiting.open_room(SOME, waiting.PAGES) as room:
        # What the process's first guests leave behind for the next is not a guest's.
        share = await waiting.share(room, SOME)
        assert share.total <= waiting.PROMISE
        assert share.mappings <= 8


async def test_a_call_beyond_the_bound_waits_for_a_place_and_ends_as_busy_at_its_deadline() -> None:
    async with waiting.open_room(SOME, waiting.PAGES) as room:
        await room.fill(SOME)
        error, seconds = await waiting.one_too_many(room)
        assert error is not None
        assert error.bound == "live guests"
        assert seconds >= waiting.PATIENCE
        assert room.crowd.waiting == SOME
        await room.empty()
        await room.fill(1)
        assert room.crowd.waiting == 1
        await room.empty()


async def test_waiting_guests_do_not_count_as_calls_of_their_plugin() -> None:
    async with waiting.open_room(SOME, waiting.PAGES) as room:
        await room.fill(SOME)
        assert room.engine.bounds.calls_per_plugin < SOME
        await room.empty()


@counts_pages
@pytest.mark.parametrize("end", fresh.ENDS)
async def test_nothing_stays_of_fresh_guests_however_they_end(end: str) -> None:
    # The whole count for those that end well; fewer for each way to end badly. `make soak` runs the real ones.
    count, first = (SHORT, SHORT_FIRST) if end == "a result" else (600, 300)
    assert (await fresh.growth(end, count, first)).bytes <= fresh.PROMISE


@pytest.mark.parametrize("number", range(6))
async def test_the_timer_goes_on_while_guests_work(number: int) -> None:
    scenario = lag.scenarios(iterations=100_000)[number]
    measured = await lag.beside(scenario, seconds=0.1, warm_up=0.05)
    assert measured.samples > 0


def test_a_call_is_timed_from_shell_to_shell_beside_what_python_takes_anyway(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.main(rounds=1)
    printed = capsys.readouterr().out
    assert all(f"\n| {command} " in printed for command in (cli.CALL, cli.IMPORTS, cli.PYTHON))


def test_the_call_that_is_timed_writes_its_input_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.run(cli.commands(tmp_path)[cli.CALL], cwd=tmp_path, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, cli.INPUT.encode(), b"")


def test_a_call_whose_output_is_wrong_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = guests.assemble('(module (func (export "echo")))')
    monkeypatch.setattr(guests, "echo", lambda: silent)
    with pytest.raises(RuntimeError, match=r"innkeeper call: exit code 0, b''"):
        cli.measure(rounds=1)


@pytest.mark.parametrize("code", [0, 1, -11])
def test_the_command_fails_where_a_part_of_it_does(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = iter((0, code))
    monkeypatch.setattr(sys, "argv", ["measure", "lag", "fresh"])
    monkeypatch.setattr(
        subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, returncode=next(codes))
    )
    assert measure.main() == bool(code)


def test_quantiles_are_values_that_were_measured() -> None:
    samples = [(float(value), 1.0) for value in range(100, 0, -1)]
    assert lag.Lag.of(samples) == lag.Lag(p50=51.0, p99=100.0, worst=100.0, own=99.0, samples=100)


def test_the_guest_that_computes_takes_longer_the_more_it_counts() -> None:
    assert guests.computer(1) != guests.computer(2)
    assert trio.run(lag.calibrate, lag.COMPUTE) > 1000


@counts_pages
async def test_a_short_soak_of_every_ending_leaves_nothing_in_its_host_or_its_process() -> None:
    course = await soak_course.soak(Plan(calls=SOAKED, seconds=0, steps=STEPS, step=0.1, rests=5))
    assert course.faults == []
    assert {"added", "removed", "changed file", "changed grant", "problem"} <= course.changes.keys()


async def test_a_soak_names_what_stays() -> None:
    at_rest = soak_watch.sample()
    assert soak_course.left(at_rest, at_rest) == []
    more = replace(at_rest, descriptors=at_rest.descriptors + 1, threads=at_rest.threads + 1, tasks=at_rest.tasks + 1)
    assert [text.split(":")[0] for text in soak_course.left(at_rest, more)] == [
        "descriptors",
        "threads",
        "trio's tasks",
    ]
    assert soak_watch.grown({"a.Table": 1, "b.Table": 5}, {"a.Table": 4, "b.Table": 5, "c.Table": 9}, 2) == [
        "c.Table +9",
        "a.Table +3",
    ]


@counts_pages
@pytest.mark.parametrize(("each", "flat"), [(10_000, True), (200_000, False)])
async def test_a_soak_tells_memory_that_is_flat_from_memory_that_grows(each: int, flat: bool) -> None:
    first = soak_watch.sample()
    memory = first.memory
    samples = [
        replace(first, calls=at * 1000, memory=replace(memory, resident=memory.resident + at * each))
        for at in range(90)
    ]
    course = Course(90_000, 1.0, samples, Counter(), Counter())
    soak_course.judge_memory(course)
    assert (course.faults == []) is flat
    assert course.difference == pytest.approx(59 * each)
    assert course.slope == pytest.approx(59 * each)


async def test_a_soak_sees_an_object_that_stays_and_a_table_that_grows() -> None:
    before, tables = soak_watch.objects(), soak_watch.tables()
    kept = [Course(0, 0.0, [], Counter(), Counter()) for _ in range(50)]
    callbacks._bindings[-1] = callbacks.Binding(callbacks.Signature((), ()), print)
    try:
        found = soak_watch.grown(before, soak_watch.objects(), 40)
        assert any(text == f"{Course.__module__}.Course +{len(kept)}" for text in found)
        assert "innkeeper.sandbox.callbacks._bindings +1" in soak_watch.grown(tables, soak_watch.tables(), 0)
    finally:
        callbacks.unbind(-1)


async def test_a_host_that_loads_and_closes_for_ever_keeps_none_of_them() -> None:
    wasm = guests.echo()
    async with innkeeper.open_host(catalogue=False) as host:
        before = soak_watch.objects()
        for _ in range(30):
            await (await host.load(wasm)).aclose()
        after = soak_watch.objects()
    name = f"{innkeeper.Plugin.__module__}.{innkeeper.Plugin.__qualname__}"
    assert after[name] - before[name] <= 1


@pytest.mark.soak
@counts_pages
def test_two_million_calls_of_every_ending_leave_nothing() -> None:
    assert soak.main([])


@pytest.mark.soak
@counts_pages
def test_100_000_fresh_guests_leave_nothing() -> None:
    assert fresh.report("a result", trio.run(fresh.growth, "a result", fresh.COUNT))


@pytest.mark.soak
@counts_pages
@pytest.mark.parametrize("end", [end for end in fresh.ENDS if end != "a result"])
def test_20_000_guests_that_end_badly_leave_nothing(end: str) -> None:
    assert fresh.report(end, trio.run(fresh.growth, end, fresh.COUNT_OF_BAD_ENDS))


@pytest.mark.soak
@counts_pages
def test_5_000_guests_wait_at_the_same_time_and_the_next_is_refused() -> None:
    assert waiting.main()


async def test_runs_that_wait_on_http_and_kv_at_once_all_end_well(tmp_path: Path) -> None:
    ended = []
    with services.slow_server(0.01) as port:
        services.write_home(tmp_path, port)
        workflow = services.payload()
        async with innkeeper.open_host(tmp_path, watch=False) as host:

            async def run() -> None:
                ended.append(await run_workflow(workflow, host))

            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for _ in range(SOME):
                        nursery.start_soon(run)
    assert [outcome.status for outcome in ended] == ["complete"] * SOME
