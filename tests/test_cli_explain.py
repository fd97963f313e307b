"""`innkeeper kb explain` and `innkeeper kb check`: what authors get."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.cli.knowledge.chats import read_chat
from innkeeper.cli.main import invoke
from innkeeper.cli.output import columns_of
from innkeeper.knowledge.activation.interface import Message
from innkeeper.knowledge.model.problems import KnowledgeError

BASE = {
    "kb_id": "demo",
    "entries": [
        {
            "id": "dragon",
            "displayName": "Ignis",
            "content": {"value": "Ignis sleeps."},
            "activation_criteria": {"keywords": ["dragon", "/^never$/"]},
            "usage_metadata": {"once_per_session": True},
        },
        {"id": "cave", "content": {"value": "A cave."}, "activation_criteria": {"keywords": ["/ca(?:v|s)e/i"]}},
        {"id": "off", "content": {"value": "Nothing."}},
    ],
}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.json").write_text(json.dumps(BASE))
    return tmp_path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = invoke(["kb", *arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_table_says_why(run: Run) -> None:
    code, out, _ = run("explain", "base.json", "--message", "a dragon", "--entry", "cave", "--text", "--seed", "1")
    assert code == 0
    assert "keyword 'dragon' in the newest message" in out
    assert "its regular expression /ca(?:v|s)e/i matches nothing in the last 4 messages" in out
    assert "1 of 3 entries active" in out
    assert "  Ignis sleeps." in out


def test_programs_get_all_of_it(run: Run) -> None:
    code, out, _ = run("explain", "base.json", "--message", "the Cave", "--json", "--seed", "5", "--budget", "100")
    found = json.loads(out)
    assert code == 0
    assert (found["profile"], found["seed"], found["budget"], found["looked_at"]) == ("native", 5, 100, 3)
    assert [each["entry"] for each in found["active"]] == ["cave"]
    assert found["trace"][0]["outcome"] == "active"


def test_a_session_is_kept_in_a_file(run: Run, folder: Path) -> None:
    first = run("explain", "base.json", "--message", "dragon", "--session-file", "s.json")
    assert "1 of 3 entries active" in first[1]
    arguments = ("explain", "base.json", "--message", "dragon", "--message", "dragon", "--session-file", "s.json")
    assert "it was active in this session before" in run(*arguments)[1]
    assert list(folder.glob(".session-*")) == []
    kept = (folder / "s.json").read_bytes()
    run(*arguments, "--dry-run")
    assert (folder / "s.json").read_bytes() == kept


@pytest.mark.parametrize("content", [b"[]", b"\xff", b'{"native": 5}', b"[" * 100_000])
def test_a_file_that_is_no_session_stays_as_it_is(run: Run, folder: Path, content: bytes) -> None:
    (folder / "s.json").write_bytes(content)
    code, _, err = run("explain", "base.json", "--message", "x", "--session-file", "s.json")
    assert (code, "is no session" in err) == (2, True)
    assert (folder / "s.json").read_bytes() == content


def test_both_profiles_explain_a_world_book(run: Run, folder: Path) -> None:
    entry = {"uid": 0, "key": ["龙"], "content": "红龙", "comment": "Dragon", "order": 100, "position": 0}
    (folder / "book.json").write_text(json.dumps({"entries": {"0": entry}}))
    for profile in ("native", "st-1.15"):
        code, out, _ = run("explain", "book.json", "--message", "红龙来了", "--profile", profile)
        assert (code, "active   Dragon" in out) == (0, True), out


@pytest.fixture
def home(run: Run, folder: Path) -> Path:
    """A home with two bases, one of them with vectors."""
    entries = [
        {
            "id": "gold",
            "displayName": "The hoard",
            "content": {"value": "A dragon sleeps on its treasure of gold and jewels."},
            "activation_criteria": {"use_semantic_search": True, "semantic_threshold": 0.2},
        },
        *({"id": f"f{at}", "content": {"value": f"Ledger {at} lists barrels, nails and rope."}} for at in range(12)),
    ]
    (folder / "home" / "knowledge" / "hoard").mkdir(parents=True)
    document = {"kb_id": "hoard", "kb_displayName": "Hoards", "entries": entries}
    (folder / "home" / "knowledge" / "hoard" / "knowledge.json").write_text(json.dumps(document))
    assert run("embed", "hoard")[0] == 0
    assert run("import", "base.json", "--no-embed")[0] == 0
    return folder / "home"


def test_a_base_of_the_home_is_activated_by_meaning_too(run: Run, home: Path) -> None:
    asked = ("--message", "What treasures does the old dragon guard?", "--seed", "1")
    code, out, err = run("explain", "Hoards", *asked)
    assert (code, err) == (0, "")
    assert "The hoard" in out
    assert "likeness" in out
    found = json.loads(run("explain", "hoard", "demo", *asked, "--json")[1])
    assert {each["base"] for each in found["active"]} == {"hoard", "demo"}
    assert found["looked_at"] == 16
    assert "base   " in run("explain", "hoard", "demo", *asked)[1]
    code, out, err = run("explain", str(home / "knowledge" / "hoard"), *asked)
    assert "likeness" in out, "a path of a base of the home means that base"


def test_a_base_that_is_only_a_file_says_that_meaning_activates_nothing_of_it(run: Run, home: Path) -> None:
    document = (home / "knowledge" / "hoard" / "knowledge.json").read_text()
    Path("copy.json").write_text(document)
    code, out, err = run("explain", "copy.json", "--message", "What treasures does the dragon guard?")
    assert (code, "0 of 13 entries active" in out, "only a file" in err) == (0, True, True)


def test_a_session_of_the_home_is_kept_under_its_id(run: Run, home: Path) -> None:
    arguments = ("explain", "demo", "--message", "a dragon", "--session", "mira")
    assert "1 of 3 entries active" in run(*arguments, "--dry-run")[1]
    assert "1 of 3 entries active" in run(*arguments)[1]
    again = (*arguments[:-2], "--message", "another dragon")
    assert "it was active in this session before" in run(*again, "--session", "mira")[1]
    assert "1 of 3 entries active" in run(*again, "--session", "other")[1]
    assert "1 of 3 entries active" in run(*again)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("demo", "--session-file", "s.json"), "--session ID"),
        (("base.json", "--session", "mira"), "--session-file FILE"),
        (("demo", "base.json", "--session", "mira"), "--session-file FILE"),
        (("demo", "--session", "a\nb"), "control character"),
        (("demo", "nobody"), "no global base"),
        (("demo", "--tokenizer", "nothing"), "tokenizer"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run: Run, home: Path, words: tuple[str, ...], said: str) -> None:
    code, out, err = run("explain", *words, "--message", "x")
    assert (code, out, "Traceback" in err) == (2, "", False)
    assert said in err


def test_bases_of_the_home_and_files_are_explained_together(run: Run, home: Path, folder: Path) -> None:
    (folder / "other.json").write_text(json.dumps({**BASE, "kb_id": "other"}))
    found = json.loads(run("explain", "demo", "other.json", "--message", "dragon", "--json")[1])
    assert [each["base"] for each in found["active"]] == ["demo", "other"]


@pytest.mark.parametrize("profile", ["native", "st-1.15"])
def test_a_base_whose_model_is_not_here_is_activated_by_words_and_says_so(run: Run, home: Path, profile: str) -> None:
    file = home / "knowledge" / "hoard" / "knowledge.json"
    document = json.loads(file.read_text())
    document["embedding_model_id"] = "text-embedding-ada-002"
    document["entries"][0]["activation_criteria"]["keywords"] = ["hoard"]
    file.write_text(json.dumps(document))
    code, out, _ = run("explain", "hoard", "--message", "the hoard", "--profile", profile)
    assert (code, "1 of 13 entries active" in out) == (0, True), out
    assert profile != "native" or "'text-embedding-ada-002' here" in out


def test_columns_hold_where_letters_are_wide(run: Run, folder: Path) -> None:
    entries = [
        {"id": str(at), "displayName": name, "content": {"value": name}, "activation_criteria": {"keywords": ["x"]}}
        for at, name in enumerate(("龙", "A dragon", "e\u0301"))
    ]
    (folder / "wide.json").write_text(json.dumps({"kb_id": "wide", "entries": entries}))
    out = run("explain", "wide.json", "--message", "x", "--seed", "1")[1]
    rows = [line for line in out.splitlines() if line.startswith("active")]
    assert [columns_of(line[: line.index("keyword")]) for line in rows] == [33] * 3


def test_what_is_missing_is_said(run: Run) -> None:
    assert run("explain", "base.json")[0] == 2
    code, _, err = run("explain", "base.json", "--message", "x", "--entry", "nobody")
    assert (code, "no such entry" in err) == (2, True)
    assert run("explain", "nothing.json", "--message", "x")[0] == 2
    assert run("explain", "base.json", "--chat", "nothing.txt")[0] == 2
    code, _, err = run("explain", "base.json", "--message", "x", "--tokenizer", "nothing")
    assert (code, "tokenizer" in err, "Traceback" in err) == (2, True, False)


def test_escapes_in_a_base_reach_no_terminal(run: Run, folder: Path) -> None:
    entry = {"id": "a", "displayName": "\x1b[2J", "content": {"value": "\x1b]0;x\x07"}}
    entry["activation_criteria"] = {"keywords": ["x"]}
    (folder / "evil.json").write_text(json.dumps({"kb_id": "evil", "entries": [entry]}))
    for arguments in (("explain", "evil.json", "--message", "x", "--text"), ("check", "evil.json")):
        _, out, err = run(*arguments)
        assert "\x1b" not in out + err


def test_check_names_what_can_never_be_active(run: Run) -> None:
    code, out, _ = run("check", "base.json")
    assert code == 1
    assert "off    never active" in out
    assert "3 entries, 1 never active, 1 finding" in out
    found = json.loads(run("check", "base.json", "--json")[1])
    assert (found["never"], [each["entry"] for each in found["findings"]]) == (1, ["off"])


CHATS: dict[str, tuple[str, list[Message]]] = {
    "array": (
        '[{"role": "assistant", "name": "Bob", "content": "hi"}, {"content": "ho"}]',
        [Message("hi", "assistant", "Bob"), Message("ho")],
    ),
    "sillytavern": (
        '{"user_name": "Ann", "create_date": "x"}\n'
        '{"name": "Bob", "is_user": false, "mes": "hi"}\n\n'
        '{"name": "Ann", "is_user": true, "mes": "ho"}\n{"name": "x", "is_system": true, "mes": "hidden"}\n',
        [Message("hi", "assistant", "Bob"), Message("ho", "user", "Ann")],
    ),
    "lines": ("Bob: hi\nand more\nAnn：ho\nsystem: quiet", [
        Message("hi\nand more", "assistant", "Bob"), Message("ho", "user", "Ann"), Message("quiet", "system")
    ]),
    "a text": ("just words", [Message("just words")]),
    "nothing": ("", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CHATS.values(), ids=list(CHATS))
def test_chats_are_read_in_three_forms(text: str, expected: list[Message]) -> None:
    assert read_chat(text.encode(), "chat", character="Bob") == expected


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[1]", "is no object"),
        ('[{"content": 5}, {"role": "king", "content": "x"}]', "its role must be"),
        ("[" * 100_000, "is no JSON"),
        ('{"mes": "a"}\n{', "line 2"),
        ('{"mes": 5}', "is no text"),
    ],
)
def test_a_chat_that_is_wrong_says_where(text: str, wrong: str) -> None:
    with pytest.raises(KnowledgeError, match="(?s)" + wrong):
        read_chat(text.encode(), "chat")


@settings(deadline=None)
@given(data=st.binary(max_size=60) | st.text('[]{}":,\n mesrole', max_size=60).map(str.encode))
def test_any_bytes_are_a_chat_or_one_clear_error(data: bytes) -> None:
    try:
        found: list[Any] = read_chat(data, "chat")
    except KnowledgeError:
        return
    assert all(isinstance(each.content, str) for each in found)


def test_a_run_over_a_base_whose_model_is_not_here_goes_on_by_words_and_says_so(
    run: Run, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    demo = Path(__file__).resolve().parent.parent / "docs" / "demo"
    shutil.copytree(demo, folder / "demo")
    file = folder / "demo" / "lore" / "en" / "knowledge.json"
    document = json.loads(file.read_text())
    document["embedding_model_id"] = "text-embedding-ada-002"
    file.write_text(json.dumps(document))
    chat = f"chat={folder / 'demo' / 'chat.en.json'}"
    assert invoke(["grant", "kb", "--only", "kb.read:lantern-inn", "--yes"]) == 0
    capfd.readouterr()
    code = invoke(["run", str(folder / "demo" / "set-the-scene.json"), "--input-file", chat, "--json"])
    captured = capfd.readouterr()
    assert (code, "Traceback" in captured.err) == (0, False), captured.err
    assert "The Ninth Stall" in captured.out
    assert "text-embedding-ada-002" in captured.out + captured.err
