"""Where the bases come from that guests ask: folders of the home, files that people edit, projects of runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from innkeeper import Host
from innkeeper.cli.main import invoke
from innkeeper.composition import open_host
from innkeeper.errors import UsageError
from innkeeper.plugins.runs import Run, RunBase, RunContext
from innkeeper.storage.run_model import USER
from kb_homes import ALL, base_file, entry, guest_bases, home, opened
from relays import ask, get, install, refused, relay

__all__ = ["home"]

WORLD = {"base": "world"}


# --- folders of the home --------------------------------------------------------------------------------------------


async def test_a_base_in_the_homes_folder_is_there_by_its_id_without_a_command(home: Path) -> None:
    base_file(home, "world", [entry("a", "first")], folder="some folder")
    (home / "knowledge/single.ckb").write_text(json.dumps({"kb_id": "other", "entries": [entry("b", "second")]}))
    (home / "knowledge/list.json").write_text(json.dumps([entry("c", "third")]))
    async with opened(home) as host:
        for base, id, content in (("world", "a", "first"), ("other", "b", "second"), ("list", "c", "third")):
            assert (await get(host, "lore", "get", base=base, id=id))["content"] == content
        for name in ("some folder", "single", "single.ckb", "knowledge.json", "registry"):
            answer = await ask(host, "lore", "get", base=name, id="a")
            assert answer["error"]["kind"] in ("not_found", "invalid")


async def test_what_a_guest_changes_is_in_the_file_and_what_an_author_wrote_there_stays(home: Path) -> None:
    file = base_file(home, "world", [entry("a", "first", mine=1), entry("b", "second")], other={"x": [1]})
    async with opened(home) as host:
        await get(host, "lore", "patch", id="a", content="changed", **WORLD)
        await get(host, "lore", "put", id="c", content="new", **WORLD)
    found = json.loads(file.read_text())
    assert [(each["id"], each["content"]["value"]) for each in found["entries"]] == [
        ("a", "changed"),
        ("b", "second"),
        ("c", "new"),
    ]
    assert (found["other"], found["entries"][0]["mine"]) == ({"x": [1]}, 1)


async def eventually(host: Host, **asked: Any) -> str:
    """What an entry says, once it says something new."""
    first = (await get(host, "lore", "get", **asked))["content"]
    for _ in range(200):
        await trio.sleep(0.05)
        found: str = (await get(host, "lore", "get", **asked))["content"]
        if found != first:
            return found
    raise AssertionError("nothing has changed")


async def test_a_file_that_somebody_edits_is_picked_up_and_a_broken_one_is_noted(home: Path) -> None:
    file = base_file(home, "world", [entry("a", "first", keywords=["gate"])])
    async with opened(home) as host:
        assert (await get(host, "lore", "search", query="first", **WORLD))["hits"]
        base_file(home, "world", [entry("a", "second", keywords=["gate"])])
        assert await eventually(host, id="a", **WORLD) == "second"
        file.write_text('{"kb_id": "world", "entries": [{"id": "a", "content": {"value": 5}}]')
        for _ in range(200):
            notes = (await get(host, "lore", "info", **WORLD))["notes"]
            if notes:
                break
            await trio.sleep(0.05)
        assert notes
        assert not any(str(home) in note for note in notes)
        # The last good state answers, with a word on it.
        found = await get(host, "lore", "search", query="second", mode="keyword", **WORLD)
        assert ([hit["content"] for hit in found["hits"]], found["notes"]) == (["second"], notes)
        found = await get(host, "lore", "activate", bases=["world"], messages=[{"content": "gate"}])
        assert ([each["text"] for each in found["active"]], found["notes"]) == (["second"], notes)
        assert file.read_text().startswith('{"kb_id"')
        base_file(home, "world", [entry("a", "third")])
        assert await eventually(host, id="a", **WORLD) == "third"
        assert (await get(host, "lore", "info", **WORLD))["notes"] == []


BROKEN: dict[str, str] = {
    "an entry of the wrong type": '{"kb_id": "world", "entries": [{"id": "a", "content": 5}]}',
    "a number without end": '{"kb_id": "world", "x": 1e999, "entries": []}',
    "half a character": '{"kb_id": "world", "x": "\\ud800", "entries": []}',
    "an id twice": '{"kb_id": "world", "entries": [{"id": "a"}, {"id": "a"}]}',
    "no JSON": '{"kb_id": "world", "entries": [',
    "nothing": "",
    "deep": '{"kb_id": "world", "x": ' + "[" * 500 + "]" * 500 + ', "entries": []}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_a_base_that_was_never_sound_is_unavailable_and_nobody_takes_its_place(home: Path, text: str) -> None:
    place = home / "knowledge/world"
    place.mkdir(parents=True)
    (place / "knowledge.json").write_text(text)
    async with opened(home) as host:
        for operation, more in {"get": {"id": "a"}, "put": {"content": "x"}, "search": {"query": "a"}}.items():
            error = await refused(host, "lore", operation, "unavailable", **more, **WORLD)
            assert "cannot be read" in error["message"]
        base_file(home, "world", [entry("a", "sound")])
        await trio.sleep(0.1)
        assert (await get(host, "lore", "get", id="a", **WORLD))["content"] == "sound"


async def test_two_bases_of_one_id_are_neither(home: Path) -> None:
    base_file(home, "world", [entry("a", "one")], folder="one")
    base_file(home, "world", [entry("a", "two")], folder="two")
    async with opened(home) as host:
        await refused(host, "lore", "get", "unavailable", id="a", **WORLD)
        await refused(host, "lore", "put", "unavailable", content="x", **WORLD)


async def test_a_home_that_is_not_believed_has_no_bases_of_its_folders(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_file(home, "world", [entry("a", "of a stranger")])
    monkeypatch.chdir(home)
    monkeypatch.delenv("INNKEEPER_HOME", raising=False)
    async with open_host(None, watch=False) as host:
        assert host.home.doubt
        bases = await guest_bases(host)
        from innkeeper.storage.knowledge_model import NoSuchError, Place

        with pytest.raises(NoSuchError):
            await bases.get(Place(USER, "world"), "a")
    async with open_host(home, watch=False) as host:
        assert not host.home.doubt
        assert (await get(host, "lore", "get", id="a", **WORLD))["content"] == "of a stranger"


async def test_a_link_is_no_base_and_a_pipe_stops_nobody(home: Path, tmp_path: Path) -> None:
    base_file(tmp_path, "elsewhere", [entry("a", "secret")])
    (home / "knowledge/world").mkdir(parents=True)
    os.mkfifo(home / "knowledge/world/knowledge.json")
    (home / "knowledge/linked").mkdir()
    (home / "knowledge/linked/knowledge.json").symlink_to(tmp_path / "knowledge/elsewhere/knowledge.json")
    async with opened(home) as host:
        with trio.fail_after(10):
            for base in ("world", "linked", "elsewhere"):
                answer = await ask(host, "lore", "get", base=base, id="a")
                assert answer["error"]["kind"] in ("not_found", "unavailable")


# --- projects -------------------------------------------------------------------------------------------------------


def project(folder: Path, references: Sequence[dict[str, Any]], **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "project.json").write_text(json.dumps({"knowledgeBaseReferences": list(references), **more}))
    return folder


def local(folder: Path, base: str, value: str, *, id: str = "story", path: str = "knowledgebases/own") -> Path:
    """A project with one base of its own."""
    place = folder / path
    place.mkdir(parents=True)
    document = {"kb_id": base, "entries": [entry("a", value, keywords=["gate"])]}
    (place / "knowledge.json").write_text(json.dumps(document))
    return project(folder, [{"id": id, "type": "local", "path": path, "name": "Own", "source_id": None}])


async def run_of(host: Host, folder: Path) -> RunContext:
    return RunContext(Run("r", await (await guest_bases(host)).project(USER, folder)))


async def call(host: Host, plugin: str, operation: str, run: RunContext, /, **arguments: Any) -> Any:
    data = msgpack.packb(arguments)
    return msgpack.unpackb((await host.plugins[plugin].call(operation, data, run=run)).output)


async def test_a_projects_own_base_is_granted_by_its_id_and_lies_under_one_of_its_own(
    home: Path, tmp_path: Path
) -> None:
    base_file(home, "backstory", [entry("a", "of the home", keywords=["gate"])])
    install(home, "half", relay("kb"), ALL, ("kb.read:backstory", "kb.write:backstory"))
    folder = local(tmp_path / "p", "backstory", "of the project")
    async with opened(home) as host:
        run = await run_of(host, folder)
        ((reference, bound),) = run.run.bases.items()
        assert (reference, bound.own) == ("story", "backstory")
        assert bound.base.startswith("project.")
        found = await call(host, "half", "get", run, base="story", id="a")
        assert found["ok"]["content"] == "of the project"
        # The base of the home is the base of the home, also in that run.
        assert (await call(host, "half", "get", run, base="backstory", id="a"))["ok"]["content"] == "of the home"
        assert (await get(host, "half", "get", base="backstory", id="a"))["content"] == "of the home"
        answer = await call(host, "half", "get", RunContext(Run("other")), base="story", id="a")
        assert answer["error"]["kind"] == "denied"
        info = (await call(host, "half", "info", run, base="story"))["ok"]
        assert info["id"] == "backstory"
        await call(host, "half", "patch", run, base="story", id="a", content="changed")
        found = (await call(host, "half", "activate", run, bases=["story"], messages=[{"content": "gate"}]))["ok"]
        assert [(each["base"], each["text"]) for each in found["active"]] == [("story", "changed")]
        assert {line["base"] for line in found["trace"]} == {"story"}
        given = (await call(host, "half", "assemble", run, active=found["active"]))["ok"]
        assert given["sources"][0][0]["base"] == "story"
        assert (await get(host, "half", "get", base="backstory", id="a"))["content"] == "of the home"
    written = json.loads((folder / "knowledgebases/own/knowledge.json").read_text())
    assert written["entries"][0]["content"]["value"] == "changed"


async def test_a_project_cannot_put_itself_in_the_place_of_another_base(home: Path, tmp_path: Path) -> None:
    base_file(home, "world", [entry("a", "of the home")])
    base_file(home, "diary", [entry("a", "secret")])
    install(home, "half", relay("kb"), ALL, ("kb.read:world",))
    # Its reference is called as a base that the plugin may read, and leads to one that it may not.
    shadow = project(tmp_path / "q", [{"id": "world", "type": "global", "path": None, "source_id": "diary"}])
    stranger = local(tmp_path / "p", "evil", "of the project", id="world")
    async with opened(home) as host:
        for folder in (shadow, stranger):
            run = await run_of(host, folder)
            answer = await call(host, "half", "get", run, base="world", id="a")
            assert answer["error"]["kind"] == "denied"
            assert "secret" not in str(answer)
        # Its own base is called as one of the home: only whoever runs it reads it, and the home's stays.
        imitating = local(tmp_path / "r", "world", "of the project")
        run = await run_of(host, imitating)
        assert (await call(host, "half", "get", run, base="story", id="a"))["ok"]["content"] == "of the project"
        assert (await get(host, "half", "get", base="world", id="a"))["content"] == "of the home"
        stored = run.run.bases["story"].base
        await refused(host, "half", "get", "denied", base=stored, id="a")


async def test_two_projects_whose_bases_have_one_id_do_not_mix(home: Path, tmp_path: Path) -> None:
    first = local(tmp_path / "one", "backstory", "of the first")
    second = local(tmp_path / "two", "backstory", "of the second")
    install(home, "half", relay("kb"), ALL, ("kb.read:backstory", "kb.write:backstory"))
    async with opened(home) as host:
        runs = [await run_of(host, folder) for folder in (first, second)]
        for run, own in zip(runs, ("first", "second"), strict=True):
            found = (await call(host, "half", "get", run, base="story", id="a"))["ok"]
            assert found["content"] == f"of the {own}"
            await call(host, "half", "put", run, base="story", id="b", content=own, session="")
            await call(host, "half", "put", run, base="story", id="a", content=f"{own} in s", session="s")
        for run, own in zip(runs, ("first", "second"), strict=True):
            found = (await call(host, "half", "list", run, base="story", contents=True, session="s"))["ok"]
            assert [each["content"] for each in found["entries"]] == [f"{own} in s", own]


async def test_a_global_reference_is_the_homes_base_by_its_id(home: Path, tmp_path: Path) -> None:
    base_file(home, "world", [entry("a", "of the home")])
    install(home, "half", relay("kb"), ALL, ("kb.read:world",))
    folder = project(tmp_path / "p", [{"id": "lore", "type": "global", "path": None, "source_id": "world"}])
    async with opened(home) as host:
        run = await run_of(host, folder)
        assert run.run.bases["lore"] == RunBase("world", "world")
        assert (await call(host, "half", "get", run, base="lore", id="a"))["ok"]["content"] == "of the home"


ATTACKS: dict[str, dict[str, Any]] = {
    "upwards": {"path": "../outside"},
    "absolute": {"path": "/etc"},
    "a link": {"path": "knowledgebases/link"},
    "the home by its path": {"type": "global", "source_id": "../home/knowledge/diary"},
    "nothing": {"path": "knowledgebases/none"},
    "a folder of a stranger": {"type": "global", "source_id": "/tmp"},
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_a_projects_references_lead_nowhere_else(home: Path, tmp_path: Path, attack: dict[str, Any]) -> None:
    base_file(tmp_path, "outside", [entry("a", "secret")])
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/knowledge.json").write_text(json.dumps({"kb_id": "o", "entries": [entry("a", "secret")]}))
    folder = project(tmp_path / "p", [{"id": "story", "type": "local", **attack}])
    (folder / "knowledgebases").mkdir()
    (folder / "knowledgebases/link").symlink_to(tmp_path / "outside")
    async with opened(home) as host:
        with pytest.raises(UsageError):
            await run_of(host, folder)


def test_a_workflow_of_a_project_reads_the_projects_base(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wasm = (Path(__file__).parent.parent / "plugins/kb.wasm").read_bytes()
    (home / "plugins/kb.wasm").write_bytes(wasm)
    base_file(home, "backstory", [entry("a", "of the home")])
    folder = local(tmp_path / "p", "backstory", "of the project")
    (folder / "workflows").mkdir()
    node = {"id": "n", "fullType": "kb:StaticKnowledgeBase", "inputs": {"knowledgeBase": "story"}}
    nodes = [node, {"id": "out", "fullType": "core:GroupOutput"}]
    edge = {"id": "e", "sourceNodeId": "n", "sourceHandle": "text", "targetNodeId": "out", "targetHandle": "text"}
    payload = {"nodes": nodes, "edges": [edge], "interfaceOutputs": {"text": {"dataFlowType": "STRING"}}}
    for place in (folder / "workflows/w.json", tmp_path / "w.json"):
        place.write_text(json.dumps(payload))

    def run(workflow: Path, granted: str) -> tuple[int, str]:
        text = f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\ncapabilities = ["kb.read:{granted}"]\n'
        (home / "manifests/kb.toml").write_text(text)
        code = invoke(["--home", str(home), "run", str(workflow), "--json"])
        said = capfd.readouterr()
        return code, said.out + said.err

    code, said = run(folder / "workflows/w.json", "backstory")
    assert code == 0, said
    assert "of the project" in said
    assert run(folder / "workflows/w.json", "story")[0] != 0
    code, said = run(tmp_path / "w.json", "backstory")
    assert code != 0
    assert "of the project" not in said
    # The last good state of its base answers; references that are wrong are said before anything runs.
    (folder / "knowledgebases/own/knowledge.json").write_text('{"kb_id": "backstory", "entries": [{"id": 5}]}')
    code, said = run(folder / "workflows/w.json", "backstory")
    assert (code, "of the project" in said) == (0, True)
    project(folder, [{"id": "story", "path": "knowledgebases/own"}, {"id": "story", "path": 5}])
    code, said = run(folder / "workflows/w.json", "backstory")
    assert code == 2
    assert "project.json" in said
