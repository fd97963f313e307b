"""`innkeeper config` says what is set, where each value comes from, and everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import Commands


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def commands(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def test_show_is_what_config_alone_does(home: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "innkeeper.toml").write_text('[server]\norigins = ["https://a.example"]\n')
    monkeypatch.setenv("INNKEEPER_SERVER_RATE", "7")
    monkeypatch.setenv("INNKEEPER_SERVER_HOSTS", "a.example, b.example:8443")
    shown = commands.run("config", "show")
    assert shown == commands.run("config")
    rows = {row["key"]: (row["value"], row["from"]) for row in commands.json("config", "show")["settings"]}
    assert rows["server.origins"] == (["https://a.example"], "innkeeper.toml")
    assert rows["server.rate"] == (7, "INNKEEPER_SERVER_RATE")
    assert rows["server.hosts"] == (["a.example", "b.example:8443"], "INNKEEPER_SERVER_HOSTS")
    assert rows["server.port"] == (3233, "built in")


def test_check_says_each_problem_in_a_line_and_ends_with_2(
    home: Path, capsys: pytest.CaptureFixture[str], commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    from innkeeper.cli.main import invoke

    (home / "innkeeper.toml").write_text(
        '[server]\norigins = ["null"]\nhosts = ["a b"]\nproxies = ["10.0.0.1/8"]\nsecret = 1\n[runs]\nparallel = "x"\n'
    )
    monkeypatch.setenv("INNKEEPER_SERVER_PORT", "70000")
    assert invoke(["config", "check"]) == 2
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert len(lines) == 6
    for name in ("server.origins", "server.hosts", "server.proxies", "server.secret", "runs.parallel"):
        assert sum(line.startswith(f"innkeeper.toml: {name} ") for line in lines) == 1
    assert sum(line.startswith("INNKEEPER_SERVER_PORT") for line in lines) == 1
    report = commands.json("config", "check", code=2)
    assert report["problems"] == lines
    assert report["file"] == str(home / "innkeeper.toml")


def test_what_is_no_toml_is_one_problem(home: Path, commands: Commands) -> None:
    (home / "innkeeper.toml").write_bytes(b"[server\n\xff")
    assert len(commands.json("config", "check", code=2)["problems"]) == 1


def test_what_counts_for_nothing_is_a_warning(home: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not exist; every setting is built in" in commands.run("config", "check")
    (home / "innkeeper.toml").write_text("[server]\nport = 8080\n")
    monkeypatch.setenv("INNKEEPER_SERVER_PROT", "80")
    said = commands.run("config", "check")
    assert said.startswith("warning: the variable INNKEEPER_SERVER_PROT is not a setting")
    assert said.rstrip().endswith("innkeeper.toml: in order")
