"""The profile st-1.15 answers what SillyTavern 1.15 answers, case by case."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.cli.main import invoke
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.regexes.engine import open_regex_engine
from innkeeper.knowledge.worldinfo import cases as module
from innkeeper.knowledge.worldinfo.cases import ANSWER, Case, differences, read_cases, run_cases, unknown_settings
from innkeeper.sandbox.engine import open_engine

TESTS = Path(__file__).parent
FILES = ("sample", "surprises", "readings")


def path_of(name: str) -> Path:
    return TESTS / f"worldinfo_cases_{name}.jsonl"


def cases_of(name: str) -> list[Case]:
    return read_cases(path_of(name).read_bytes(), source=name)


@pytest.fixture(scope="module")
def answers() -> dict[str, list[dict[str, Any]]]:
    async def run() -> dict[str, list[dict[str, Any]]]:
        async with open_engine() as engine, open_regex_engine(engine) as regexes:

            def work() -> dict[str, list[dict[str, Any]]]:
                def test(wanted: Any, text: str) -> Any:
                    return trio.from_thread.run(regexes.test, wanted, text)

                return {name: list(run_cases(cases_of(name), test)) for name in FILES}

            return await trio.to_thread.run_sync(work)

    return trio.run(run)


def all_cases() -> Iterator[Any]:
    for name in FILES:
        for at, case in enumerate(cases_of(name)):
            yield pytest.param(name, at, case, id=f"{name} {case.name}")


@pytest.mark.parametrize(("name", "at", "case"), list(all_cases()))
def test_a_case_comes_out_as_it_says(answers: dict[str, list[dict[str, Any]]], name: str, at: int, case: Case) -> None:
    answer = answers[name][at]
    assert set(case.expected) == set(ANSWER)
    assert {field: answer[field] for field in ANSWER} == case.expected
    assert differences(case, answer) == []


def test_every_surprise_has_a_case() -> None:
    assert {int(case.name.split(":")[0]) for case in cases_of("surprises")} == set(range(1, 20))


def test_a_sequence_that_stops_early_is_not_mixed_with_another() -> None:
    entry = {"uid": 0, "key": ["k"], "content": "c", "sticky": 3}
    one = {"entries": [entry], "chat": ["k"], "sequence": "one"}
    other = {"entries": [entry], "chat": ["x", "x"], "sequence": "other"}
    again = {"entries": [entry], "chat": ["x", "x"], "sequence": "one"}
    alone = {"entries": [entry], "chat": ["x", "x"]}
    lines = "\n".join(map(json.dumps, (one, other, again, alone)))
    found = run_cases(read_cases(lines.encode(), source="s"), None)
    assert [answer["activated"] for answer in found] == [[0], [], [0], []]


# Files


def test_null_is_as_if_it_were_absent_and_defaults_are_sillytaverns() -> None:
    line = {"entries": None, "settings": {"injects": None, "lore": None}, "rnd": None, "max_context": None, "x": 1}
    (case,) = read_cases(json.dumps(line).encode(), source="s")
    assert (case.settings.depth, case.settings.budget, case.settings.strategy, case.settings.char) == (2, 25, 1, "Al")
    assert case.expected == {}


def test_every_line_that_is_no_case_is_named() -> None:
    deep = b'{"entries": [{"x": ' + b"[" * 70 + b"]" * 70 + b"}]}"
    lines = [
        b'{"name": "sound"}',
        b"{",
        b"",
        b"[]",
        b'{"chat": [1], "rnd": 2}',
        b"\xff",
        b'{"rnd": NaN}',
        b"[" * 9000,
        deep,
    ]
    with pytest.raises(KnowledgeError) as caught:
        read_cases(b"\n".join(lines), source="cases.jsonl")
    said = caught.value.message
    assert said.startswith("cases.jsonl: line 2: it is not JSON")
    assert "line 4: it is not a JSON object" in said
    assert "line 5: chat[0]: input should be a valid string" in said
    assert "line 5: rnd: " in said
    assert "line 6: it is not UTF-8" in said
    assert "line 7: it is not JSON: NaN is no number of JSON" in said
    assert "line 8: it is nested too deeply" in said
    assert "line 9: it is nested too deeply" in said
    assert len(caught.value.problems) == 8


def test_files_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CASES", 2)
    with pytest.raises(KnowledgeError, match="line 3: there are more than 2 cases"):
        read_cases(b"{}\n{}\n{}\n", source="s")
    monkeypatch.setattr(module, "MOST_FILE", 10)
    with pytest.raises(KnowledgeError, match="it has more than"):
        read_cases(b"{}\n" * 5, source="s")


def test_settings_that_nobody_knows_are_named() -> None:
    cases = read_cases(b'{"settings": {"depth": 1, "other": 2}}\n{"settings": {"more": 1}}', source="s")
    assert unknown_settings(cases) == ["more", "other"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 2000) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    *("uid", "world", "key", "keysecondary", "content", "constant", "selective", "selectiveLogic", "order", "position"),
    *("depth", "role", "outletName", "disable", "ignoreBudget", "excludeRecursion", "preventRecursion", "probability"),
    *("delayUntilRecursion", "useProbability", "group", "groupOverride", "groupWeight", "useGroupScoring", "scanDepth"),
    *(
        "caseSensitive",
        "matchWholeWords",
        "sticky",
        "cooldown",
        "delay",
        "triggers",
        "characterFilter",
        "matchScenario",
    ),
]
ENTRIES = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8)


@settings(deadline=None, max_examples=100)
@given(
    entries=st.lists(ENTRIES, max_size=5),
    chat=st.lists(st.text(max_size=10), max_size=4),
    given_settings=st.dictionaries(st.sampled_from(sorted(module.CaseSettings.model_fields)), JSON, max_size=4),
)
def test_whatever_an_entry_has_in_its_fields_there_is_an_answer(
    entries: list[dict[str, Any]], chat: list[str], given_settings: dict[str, Any]
) -> None:
    line = {"entries": entries, "chat": chat, "settings": given_settings, "sequence": "s"}
    try:
        cases = read_cases(json.dumps(line).encode() * 1, source="s")
    except KnowledgeError:
        return
    for answer in run_cases(cases * 2, None):
        json.dumps(answer)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_are_more_than_an_error(data: bytes) -> None:
    with contextlib.suppress(KnowledgeError):
        list(run_cases(read_cases(data, source="s"), None))


# The command


def test_the_command_prints_one_answer_a_line_in_the_order_of_the_file(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert invoke(["kb", "cases", str(path_of("sample")), "--profile", "st-1.15", "--json"]) == 0
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [list(line) for line in lines] == [["name", *ANSWER]] * len(lines)
    assert [line["name"] for line in lines] == [case.name for case in cases_of("sample")]
    assert [{field: line[field] for field in ANSWER} for line in lines] == [
        case.expected for case in cases_of("sample")
    ]


def test_the_table_says_what_is_equal_and_a_wrong_answer_is_no_failure(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = {"uid": 7, "key": ["/K/i"], "content": "c"}
    lines = [
        {"name": "right", "entries": [entry], "chat": ["k"], "activated": [7], "before": "c"},
        {"name": "wrong", "entries": [entry], "chat": ["k"], "activated": [], "before": ""},
        {"name": "nothing said", "entries": [entry], "chat": ["x"], "settings": {"other": 1}},
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert invoke(["kb", "cases", str(tmp_path / "c.jsonl"), "--profile", "st-1.15"]) == 0
    out, err = capfd.readouterr()
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert rows == [
        "case activated expected",
        "right 7 equal",
        "wrong 7 different: activated, before",
        "nothing said",
        "3 cases with st-1.15, 1 of 2 as expected",
    ]
    assert err == "innkeeper: settings that are not known are left out: other\n"


def test_a_line_that_is_no_case_is_an_error_that_names_it_and_nothing_is_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.jsonl").write_bytes(b'{"name": "sound"}\n{"chat": 3}\n{"name\n')
    assert invoke(["kb", "cases", str(tmp_path / "c.jsonl"), "--profile", "st-1.15"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "line 2: chat: " in err
    assert "line 3: it is not JSON" in err
    assert "Traceback" not in err


def test_profiles_that_do_not_exist_and_files_that_are_not_there_are_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["kb", "cases", "nowhere.jsonl", "--profile", "st-1.15"]) == 2
    assert invoke(["kb", "cases", str(path_of("sample")), "--profile", "st-9"]) == 2
    assert invoke(["kb", "cases", str(path_of("sample"))]) == 2
    assert "--profile" in capfd.readouterr().err


def test_halves_of_surrogate_pairs_are_searched_and_come_out_as_they_are(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    entries = [
        {"uid": 0, "key": ["a"], "content": "c \ud800"},
        {"uid": 1, "key": ["b\ud83d"], "content": "d"},
        {"uid": 2, "key": ["/\ud83d$/"], "content": "e"},
        {"uid": 3, "key": ["z\udfff"], "content": "f"},
    ]
    (tmp_path / "c.jsonl").write_text(json.dumps({"entries": entries, "chat": ["a b\ud83d"]}))
    assert invoke(["kb", "cases", str(tmp_path / "c.jsonl"), "--profile", "st-1.15", "--json"]) == 0
    answer = json.loads(capfdbinary.readouterr().out)
    assert answer["activated"] == [0, 1, 2]
    assert answer["before"] == "e\nd\nc \ud800"


def test_a_budget_below_nothing_lets_nothing_in_and_a_cap_below_nothing_is_none() -> None:
    entry = {"uid": 0, "key": ["a"], "content": "c"}
    below = {"entries": [entry], "chat": ["a"], "settings": {"budget": -5}}
    capped = {"entries": [entry], "chat": ["a"], "settings": {"budget_cap": -5}}
    cases = read_cases("\n".join(map(json.dumps, (below, capped))).encode(), source="s")
    assert [answer["activated"] for answer in run_cases(cases, None)] == [[], [0]]
