"""`innkeeper project`: what it makes is what the server shows, and what runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import Commands
from servers import served


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def test_a_project_is_made_shown_and_listed(tmp_path: Path, command: Commands) -> None:
    home = ("--home", str(tmp_path))
    assert "there are no projects" in command.run(*home, "project", "list")
    made = command.json(*home, "project", "new", "The Inn", "--template", "chat-with-lore", "--description", "d")
    assert (made["id"], made["metadata"]["description"]) == ("The Inn", "d")
    assert json.loads((Path(made["folder"]) / "project.json").read_bytes()) == made["metadata"]
    shown = command.json(*home, "project", "show", "The Inn")
    assert [each["id"] for each in shown["workflows"]] == ["set-the-scene"]
    assert (Path(shown["folder"]) / shown["workflows"][0]["file"]).is_file()
    assert shown["files"] == {"characters": 1, "scenes": 1}
    assert shown["bases"] == [{"id": "lore", "name": "The Lantern Inn", "problem": ""}]
    (row,) = command.json(*home, "project", "list")["projects"]
    assert (row["id"], row["workflows"], row["problem"]) == ("The Inn", 1, "")
    assert "The Inn" in command.run(*home, "project", "list")
    assert "set-the-scene" in command.run(*home, "project", "show", "The Inn")
    assert "chat-with-lore" in command.run(*home, "project", "list", "--templates")


def test_a_base_that_is_not_there_and_a_broken_project_are_said(tmp_path: Path, command: Commands) -> None:
    home = ("--home", str(tmp_path))
    folder = Path(command.json(*home, "project", "new", "Inn", "--template", "chat-with-lore")["folder"])
    (folder / "knowledgebases/lantern-inn").rename(folder / "knowledgebases/elsewhere")
    (base,) = command.json(*home, "project", "show", "Inn")["bases"]
    assert "there is nothing" in base["problem"]
    (folder / "project.json").write_text("{")
    assert "not JSON" in command.json(*home, "project", "list")["projects"][0]["problem"]
    assert "cannot be read" in command.run(*home, "project", "show", "Inn", code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "None"], "there is no project 'None'"),
        (["show", "../../eve"], "there is no project"),
        (["new", "Inn"], "already"),
        (["new", ""], "has a name"),
        (["new", "x", "--template", "none"], "there is no template 'none'"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, command: Commands, words: list[str], said: str) -> None:
    command.run("--home", str(tmp_path), "project", "new", "Inn")
    error = command.run("--home", str(tmp_path), "project", *words, code=2)
    assert said in error
    assert error.count("\n") == 1


def test_each_user_has_projects_of_their_own(tmp_path: Path, command: Commands) -> None:
    home = ("--home", str(tmp_path))
    command.run(*home, "project", "new", "Inn", "--user", "eve")
    assert command.json(*home, "project", "list")["projects"] == []
    assert len(command.json(*home, "project", "list", "--user", "eve")["projects"]) == 1
    # An id that is no name of a folder is one folder all the same.
    folder = Path(command.json(*home, "project", "new", "Inn", "--user", "../eve")["folder"])
    assert folder.parent.parent.parent == tmp_path / "files/users"


def test_a_folder_that_nobody_accepted_is_not_written_into(
    tmp_path: Path, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "nothing was written" in command.run("project", "new", "Inn", code=2)
    assert not (tmp_path / "files").exists()


async def test_what_the_command_makes_the_server_shows(tmp_path: Path, command: Commands) -> None:
    command.run("--home", str(tmp_path), "project", "new", "Inn", "--template", "chat-with-lore")
    async with served(tmp_path) as server:
        (row,) = (await server.client.get("/api/projects")).json()
        assert (row["id"], row["templateUsed"]) == ("Inn", "chat-with-lore")
        found = await server.client.get("/api/projects/Inn/workflows/set-the-scene")
        assert found.json()["name"] == "Set the scene"
        await server.client.put("/api/projects/Inn", json={"name": "Changed over HTTP"})
    assert command.json("--home", str(tmp_path), "project", "show", "Inn")["metadata"]["name"] == "Changed over HTTP"


def test_files_of_an_owner_are_counted_and_erased_with_all_else(tmp_path: Path, command: Commands) -> None:
    home = ("--home", str(tmp_path))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    for user in ("ada", "eve"):
        command.run(*home, "project", "new", "Inn", "--user", user)
    (tmp_path / "files/users/ada/link").symlink_to(tmp_path / "outside")
    counted = command.json(*home, "owner", "show", "ada")["tables"]["files"]
    assert (counted["rows"] > 10, counted["bytes"] > 100) == (True, True)
    assert command.json(*home, "owner", "erase", "ada", "--yes")["erased"] == {"files": counted["rows"]}
    assert command.json(*home, "owner", "show", "ada")["tables"] == {}
    assert [each.name for each in (tmp_path / "files/users").iterdir()] == ["eve"]
    assert (tmp_path / "outside/kept").exists()


def test_a_backup_has_projects_and_brings_them_back(tmp_path: Path, command: Commands) -> None:
    home, other = ("--home", str(tmp_path / "home")), ("--home", str(tmp_path / "other"))
    (tmp_path / "home").mkdir()
    made = command.json(*home, "project", "new", "Inn", "--template", "chat-with-lore")
    command.run(*home, "backup", str(tmp_path / "backup.tar.gz"))
    command.run("restore", str(tmp_path / "backup.tar.gz"), *other)
    shown = command.json(*other, "project", "show", "Inn")
    assert shown["metadata"] == made["metadata"]
    assert shown["bases"][0]["problem"] == ""
