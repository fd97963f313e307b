"""`innkeeper kb explain` and `innkeeper kb check`: what authors get."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.cli.knowledge.chats import read_chat
from innkeeper.cli.main import invoke
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
    first = run("explain", "base.json", "--message", "dragon", "--session", "s.json")
    assert "1 of 3 entries active" in first[1]
    arguments = ("explain", "base.json", "--message", "dragon", "--message", "dragon", "--session", "s.json")
    assert "it was active in this session before" in run(*arguments)[1]
    assert list(folder.glob(".session-*")) == []
    kept = (folder / "s.json").read_bytes()
    run(*arguments, "--dry-run")
    assert (folder / "s.json").read_bytes() == kept


@pytest.mark.parametrize("content", [b"[]", b"\xff", b'{"native": 5}', b"[" * 100_000])
def test_a_file_that_is_no_session_stays_as_it_is(run: Run, folder: Path, content: bytes) -> None:
    (folder / "s.json").write_bytes(content)
    code, _, err = run("explain", "base.json", "--message", "x", "--session", "s.json")
    assert (code, "is no session" in err) == (2, True)
    assert (folder / "s.json").read_bytes() == content


def test_both_profiles_explain_a_world_book(run: Run, folder: Path) -> None:
    entry = {"uid": 0, "key": ["龙"], "content": "红龙", "comment": "Dragon", "order": 100, "position": 0}
    (folder / "book.json").write_text(json.dumps({"entries": {"0": entry}}))
    for profile in ("native", "st-1.15"):
        code, out, _ = run("explain", "book.json", "--message", "红龙来了", "--profile", profile)
        assert (code, "Dragon  active" in out) == (0, True), out


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
