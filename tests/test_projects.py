"""Projects and workflows on the disk: nothing is lost that nobody here knows, no id leads elsewhere, versions count."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from file_trees import a_tree, all_below, at
from innkeeper.knowledge.files.project import read_project, resolve
from innkeeper.knowledge.files.reading import read_base
from innkeeper.knowledge.files.registry import Registry
from innkeeper.server.files.bin import RecycleBin
from innkeeper.server.files.names import why_no_name
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.tree import Tree
from innkeeper.server.projects import projects as module
from innkeeper.server.projects.index import Index
from innkeeper.server.projects.projects import FOLDERS, Projects
from innkeeper.server.projects.templates import Templates
from innkeeper.server.projects.workflows import MOST_FILES
from innkeeper.workflow.formats.payload import payload_of

NOW = 1_800_000_000.0
FLOW = {"name": "Greet", "nodes": [], "edges": []}


def some_projects(home: Path) -> Projects:
    """The projects of a user of a home."""
    return Projects(a_tree(home), Templates(Tree(home / "files", "shared/templates")), Index())


def folder_of(home: Path) -> Path:
    """Where the projects of that user lie."""
    return home / "files/users/ada/projects"


def reason(work: Callable[[], object]) -> str:
    """Why it is refused."""
    with pytest.raises(FileError) as refused:
        work()
    return refused.value.reason


def test_a_new_project_is_a_folder_with_a_project_json_and_the_usual_folders(tmp_path: Path) -> None:
    made = some_projects(tmp_path).create({"name": "The Inn", "description": "d"}, NOW).value
    folder = folder_of(tmp_path) / "The Inn"
    assert {each.name for each in folder.iterdir()} == {"project.json", *FOLDERS}
    assert json.loads((folder / "project.json").read_bytes()) == made
    assert made == {
        "id": "The Inn",
        "name": "The Inn",
        "description": "d",
        "version": "1.0.0",
        "createdAt": "2027-01-15T08:00:00.000Z",
        "updatedAt": "2027-01-15T08:00:00.000Z",
        "templateUsed": "empty",
        "preferredView": "editor",
        "schemaVersion": "2.0",
    }


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=210))
def test_a_project_of_any_name_is_one_folder_among_projects_or_is_refused(name: str) -> None:
    with TemporaryDirectory() as home:
        projects = some_projects(Path(home))
        try:
            made = projects.create({"name": name}, NOW)
        except FileError as refused:
            assert refused.reason == "broken"  # noqa: PT017
            return
        id_ = made.value["id"]
        assert why_no_name(id_) == ""
        assert len(id_.encode()) <= 200
        assert [each.name for each in folder_of(Path(home)).iterdir()] == [id_]
        assert projects.get(id_).value["name"] == name
        assert reason(lambda: projects.create({"name": name}, NOW)) == "taken"


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(st.sampled_from(["..", ".", "", "../ada", "Inn/../Inn", "link", ".recycle_bin"]), st.text(max_size=20))
)
def test_no_id_leads_out_of_the_projects(id_: str) -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        projects = some_projects(home)
        projects.create({"name": "Inn"}, NOW)
        outside = Path(folder) / "outside"
        outside.mkdir()
        (outside / "project.json").write_text('{"name": "outside"}')
        (folder_of(home) / "link").symlink_to(outside)
        before = all_below(Path(folder))
        if id_ != "Inn":
            for work in (
                lambda: projects.get(id_),
                lambda: projects.change(id_, {"name": "n"}, NOW),
                lambda: projects.delete(id_, NOW),
                lambda: projects.workflows(id_).create(FLOW, NOW),
                lambda: projects.path(id_),
            ):
                assert reason(work) in ("missing", "denied", "unfit")
        assert all_below(Path(folder)) == before


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)
ID = st.text("abc-09", min_size=1, max_size=8)
NODES = st.lists(
    st.builds(
        lambda more, id_, kind: {**more, "id": id_, "type": kind},
        st.dictionaries(st.text(min_size=12), JSON, max_size=3),
        ID,
        ID,
    ),
    max_size=4,
)
EDGES = st.lists(
    st.builds(
        lambda more, a, b: {**more, "source": a, "target": b},
        st.dictionaries(st.text(min_size=16), JSON, max_size=2),
        ID,
        ID,
    ),
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(min_size=1), JSON, max_size=6), NODES, EDGES)
def test_a_workflow_comes_back_as_it_was_stored_whatever_is_in_it(
    more: dict[str, Any], nodes: list[Any], edges: list[Any]
) -> None:
    own = {"id", "createdAt", "updatedAt"}
    with TemporaryDirectory() as home:
        projects = some_projects(Path(home))
        projects.create({"name": "p"}, NOW)
        workflows = projects.workflows("p")
        given_ = {
            **{key: value for key, value in more.items() if key not in own},
            "name": "n",
            "nodes": nodes,
            "edges": edges,
        }
        made = workflows.create(given_, NOW)
        found = workflows.get(made.value["id"])
        assert (found.value, found.etag) == (made.value, made.etag)
        assert {key: value for key, value in found.value.items() if key not in own} == given_
        changed = workflows.replace(made.value["id"], {**found.value, "name": "m"}, NOW + 1)
        again = json.loads(workflows.get(made.value["id"]).data)
        assert again == {**found.value, "name": "m", "updatedAt": changed.value["updatedAt"]}
        assert list(again) == list(found.value)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=10).filter(lambda key: key[0] not in "nkei"), JSON, max_size=6))
def test_what_nobody_here_knows_of_a_project_survives_changes(more: dict[str, Any]) -> None:
    with TemporaryDirectory() as home:
        projects = some_projects(Path(home))
        projects.create({"name": "p"}, NOW)
        file = folder_of(Path(home)) / "p/project.json"
        before = {
            "unknown": 1,
            **more,
            "name": "p",
            "id": "5b0d3a86-1f6e-4d3e-9a53-7a6c1a2f2b10",
            "schemaVersion": "1.9",
        }
        file.write_text(json.dumps(before))
        projects.change("p", {"description": "new", "id": "other", "schemaVersion": "9"}, NOW)
        after = json.loads(file.read_bytes())
        assert after.pop("description") == "new"
        assert after.pop("updatedAt") == "2027-01-15T08:00:00.000Z"
        before.pop("description", None)
        before.pop("updatedAt", None)
        assert after == before
        assert projects.get("p").value["id"] == "p"


def test_resources_of_any_kind_stay_byte_for_byte(tmp_path: Path) -> None:
    projects = some_projects(tmp_path)
    projects.create({"name": "p"}, NOW)
    folder = folder_of(tmp_path) / "p"
    for number, name in enumerate(
        (
            "scenes/opening.json",
            "characters/odda.png",
            "characters/odda.json",
            "agent_profiles/keeper/agent_profile.json",
            "knowledgebases/lore/knowledge.json",
            "knowledgebases/lore/media/map.webp",
            "settings/unknown.xyz",
            "something else/deep/er/x",
            "workflows/notes.txt",
            "workflows/broken.json",
        )
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'{"odd": 1,\r\n ' + bytes([number, 255]) * 50)
    kept = {name: data for name, data in all_below(folder).items() if name != "project.json"}
    workflows = projects.workflows("p")
    made = workflows.create(FLOW, NOW).value["id"]
    workflows.replace(made, {**FLOW, "name": "Other"}, NOW)
    workflows.delete(made, NOW)
    projects.change("p", {"name": "another name"}, NOW)
    assert {name: data for name, data in all_below(folder).items() if name != "project.json"} == kept
    before = all_below(folder)
    projects.delete("p", NOW + 1)
    assert not folder.exists()
    recycled = RecycleBin(a_tree(tmp_path))
    assert recycled.restore(recycled.page()[0][0].id) == at("projects/p")
    assert all_below(folder) == before


@pytest.mark.parametrize(
    "references",
    [
        "text",
        [1],
        [{}],
        [{"id": "a", "type": "local", "path": "../../other"}],
        [{"id": "a", "type": "local", "path": "/etc"}],
        [{"id": "a", "type": "nowhere", "path": "x"}],
        [{"id": "a", "type": "global", "source_id": None}],
        [{"id": "a", "type": "local", "path": "x"}, {"id": "a", "type": "local", "path": "y"}],
    ],
)
def test_references_to_knowledge_bases_that_cannot_be_are_refused(tmp_path: Path, references: Any) -> None:
    projects = some_projects(tmp_path)
    projects.create({"name": "p"}, NOW)
    before = all_below(tmp_path)
    said = {"knowledgeBaseReferences": references}
    with pytest.raises(FileError) as refused:
        projects.change("p", said, NOW)
    assert refused.value.reason == "broken"
    assert refused.value.details
    assert reason(lambda: projects.create({"name": "q", **said}, NOW)) == "broken"
    assert all_below(tmp_path) == before


def test_a_project_of_a_newer_structure_is_only_read(tmp_path: Path) -> None:
    projects = some_projects(tmp_path)
    projects.create({"name": "p"}, NOW)
    file = folder_of(tmp_path) / "p/project.json"
    file.write_text('{"name": "p", "schemaVersion": "3.0"}')
    assert projects.get("p").value["schemaVersion"] == "3.0"
    assert reason(lambda: projects.change("p", {"name": "q"}, NOW)) == "unfit"
    assert file.read_text() == '{"name": "p", "schemaVersion": "3.0"}'


def test_a_broken_project_json_is_said_and_hides_no_other_project(tmp_path: Path) -> None:
    projects = some_projects(tmp_path)
    for name in ("a", "b", "c"):
        projects.create({"name": name}, NOW)
    (folder_of(tmp_path) / "b/project.json").write_text("{")
    (folder_of(tmp_path) / "no project").mkdir()
    (folder_of(tmp_path) / "file").touch()
    rows, more = projects.page()
    assert [(id_, bool(problem)) for id_, _, problem in rows] == [("a", False), ("b", True), ("c", False)]
    assert not more
    assert reason(lambda: projects.get("b")) == "broken"
    assert reason(lambda: projects.get("no project")) == "missing"
    assert [id_ for id_, _, _ in projects.page("a", 1)[0]] == ["b"]


def test_there_are_so_many_projects_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PROJECTS", 3)
    projects = some_projects(tmp_path)
    for name in ("a", "b", "c"):
        projects.create({"name": name}, NOW)
    assert reason(lambda: projects.create({"name": "d"}, NOW)) == "full"


def test_a_project_that_cannot_be_made_whole_is_not_there(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, (100_000, 14))
    projects = Projects(tree, Templates(Tree(tmp_path / "files", "shared/templates")), Index())
    assert reason(lambda: projects.create({"name": "p"}, NOW, "chat-with-lore")) == "full"
    assert reason(lambda: projects.get("p")) == "missing"
    mine = tmp_path / "files/users/ada"
    assert list((mine / "projects").iterdir()) == []
    assert list((mine / ".innkeeper-staging").iterdir()) == []


# --- workflows ------------------------------------------------------------------------------------------------------


def test_a_workflow_is_found_by_the_id_in_it_and_its_file_is_called_as_it_is(tmp_path: Path) -> None:
    projects = some_projects(tmp_path)
    projects.create({"name": "p"}, NOW)
    workflows = projects.workflows("p")
    made = workflows.create({**FLOW, "id": "mine", "name": "What now? / 灯"}, NOW)
    id_ = made.value["id"]
    assert id_ != "mine"
    folder = folder_of(tmp_path) / "p/workflows"
    assert [each.name for each in folder.iterdir()] == ["What now_ _ 灯.json"]
    workflows.replace(id_, {**FLOW, "name": "Then"}, NOW)
    assert [each.name for each in folder.iterdir()] == ["Then.json"]
    assert workflows.get(id_).value["name"] == "Then"
    assert workflows.get(id_).value["createdAt"] == made.value["createdAt"]
    # Somebody renames the file, or puts it into a folder: it is the same workflow.
    (folder / "skills").mkdir()
    (folder / "Then.json").rename(folder / "skills/else.json")
    assert workflows.get(id_).value["name"] == "Then"
    workflows.replace(id_, {**FLOW, "name": "Last"}, NOW)
    assert [each.relative_to(folder).as_posix() for each in folder.rglob("*.json")] == ["skills/Last.json"]
    (folder / "by hand.json").write_text('{"nodes": [], "edges": []}')
    assert [summary.id for _, summary in workflows.summaries()] == ["by hand", id_]
    assert workflows.get("by hand").value["id"] == "by hand"


def test_a_name_that_another_workflow_has_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    projects = some_projects(tmp_path)
    projects.create({"name": "p"}, NOW)
    workflows = projects.workflows("p")
    workflows.create({**FLOW, "name": "One"}, NOW)
    two = workflows.create({**FLOW, "name": "Two"}, NOW).value["id"]
    before = all_below(folder_of(tmp_path))
    assert reason(lambda: workflows.create({**FLOW, "name": "One"}, NOW)) == "taken"
    assert reason(lambda: workflows.replace(two, {**FLOW, "name": "One"}, NOW)) == "taken"
    assert all_below(folder_of(tmp_path)) == before


def test_two_files_of_one_id_are_said_and_neither_is_changed(tmp_path: Path) -> None:
    projects = some_projects(tmp_path)
    projects.create({"name": "p"}, NOW)
    workflows = projects.workflows("p")
    folder = folder_of(tmp_path) / "p/workflows"
    for name in ("a", "b"):
        (folder / f"{name}.json").write_text('{"id": "same", "name": "n", "nodes": [], "edges": []}')
    before = all_below(folder)
    for work in (
        lambda: workflows.get("same"),
        lambda: workflows.replace("same", FLOW, NOW),
        lambda: workflows.delete("same", NOW),
    ):
        with pytest.raises(FileError, match=r"a\.json and .*b\.json"):
            work()
    assert all_below(folder) == before


def test_a_workflow_is_deleted_into_the_bin_and_comes_back_the_same(tmp_path: Path) -> None:
    projects = some_projects(tmp_path)
    projects.create({"name": "p"}, NOW)
    workflows = projects.workflows("p")
    made = workflows.create(FLOW, NOW)
    workflows.delete(made.value["id"], NOW)
    assert reason(lambda: workflows.get(made.value["id"])) == "missing"
    recycled = RecycleBin(a_tree(tmp_path))
    recycled.restore(recycled.page()[0][0].id)
    assert workflows.get(made.value["id"]).data == made.data


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"nodes": [], "edges": []},
        {"name": "", "nodes": [], "edges": []},
        {"name": " ", "nodes": [], "edges": []},
        {"name": "x" * 201, "nodes": [], "edges": []},
        {"name": "n", "nodes": {}, "edges": []},
        {"name": "n", "nodes": []},
        {"name": "n", "nodes": [{"id": "a"}], "edges": []},
        {"name": "n", "nodes": [{"id": "a", "type": "x\n"}], "edges": []},
        {"name": "n", "nodes": [{"id": "a", "fullType": "x:y"}], "edges": []},
        {"name": "n", "nodes": [], "edges": [{"source": "a"}]},
        {"name": "n", "nodes": [{"id": "a", "type": "x:y"}] * 10_001, "edges": []},
    ],
)
def test_what_is_no_workflow_is_not_stored(tmp_path: Path, value: dict[str, Any]) -> None:
    projects = some_projects(tmp_path)
    projects.create({"name": "p"}, NOW)
    workflows = projects.workflows("p")
    assert reason(lambda: workflows.create(value, NOW)) == "broken"
    assert workflows.summaries() == []


def test_of_two_who_change_one_version_one_does(tmp_path: Path) -> None:
    first = some_projects(tmp_path)
    first.create({"name": "p"}, NOW)
    id_ = first.workflows("p").create({**FLOW, "count": 0}, NOW).value["id"]
    refused = []

    def editor() -> None:
        # Each has its own process, as it were.
        workflows = some_projects(tmp_path).workflows("p")
        done = 0
        while done < 10:
            read = workflows.get(id_)
            try:
                workflows.replace(id_, {**read.value, "count": read.value["count"] + 1}, NOW, read.etag)
                done += 1
            except FileError as error:
                assert error.reason == "stale"  # noqa: PT017
                refused.append(error)

    editors = [threading.Thread(target=editor) for _ in range(3)]
    for each in editors:
        each.start()
    for each in editors:
        each.join()
    assert first.workflows("p").get(id_).value["count"] == 30


def test_of_two_who_change_different_fields_neither_undoes_the_other(tmp_path: Path) -> None:
    some_projects(tmp_path).create({"name": "p"}, NOW)

    def editor(key: str) -> None:
        for number in range(20):
            some_projects(tmp_path).change("p", {key: number}, NOW)

    editors = [threading.Thread(target=editor, args=(key,)) for key in ("one", "two", "three")]
    for each in editors:
        each.start()
    for each in editors:
        each.join()
    found = some_projects(tmp_path).get("p").value
    assert (found["one"], found["two"], found["three"]) == (19, 19, 19)


def test_a_folder_of_too_many_workflows_takes_no_more_and_is_listed(tmp_path: Path) -> None:
    projects = some_projects(tmp_path)
    projects.create({"name": "p"}, NOW)
    folder = folder_of(tmp_path) / "p/workflows"
    for number in range(MOST_FILES + 5):
        (folder / f"{number}.json").write_text('{"nodes": [], "edges": []}')
    workflows = projects.workflows("p")
    assert len(workflows.summaries()) == MOST_FILES
    assert reason(lambda: workflows.create(FLOW, NOW)) == "full"


def test_links_among_workflows_and_templates_are_passed_over(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"id": "secret", "name": "secret", "nodes": [], "edges": []}')
    projects = some_projects(tmp_path / "home")
    projects.create({"name": "p"}, NOW)
    (folder_of(tmp_path / "home") / "p/workflows/link.json").symlink_to(secret)
    assert projects.workflows("p").summaries() == []
    shared = tmp_path / "home/files/shared/templates/mine"
    shared.mkdir(parents=True)
    (shared / "project.json").write_text('{"name": "Mine", "extra": [1]}')
    (shared / "link").symlink_to(secret)
    (shared / "scenes").mkdir()
    (shared / "scenes/s.json").write_bytes(b"kept \xff")
    made = projects.create({"name": "q"}, NOW, "mine").value
    assert made["extra"] == [1]
    assert made["templateUsed"] == "mine"
    folder = folder_of(tmp_path / "home") / "q"
    assert (folder / "scenes/s.json").read_bytes() == b"kept \xff"
    assert not (folder / "link").is_symlink()
    assert not (folder / "link").exists()


def test_templates_that_came_along_are_projects_whose_workflows_and_bases_can_be_read(tmp_path: Path) -> None:
    projects = some_projects(tmp_path)
    templates = [each.id for each in Templates(Tree(tmp_path / "files", "shared/templates")).all()]
    assert {"empty", "chat-with-lore"} <= set(templates)
    for template in templates:
        projects.create({"name": template}, NOW, template)
        read = read_project(projects.path(template))
        for reference in read.references:
            assert read_base(resolve(read, reference, Registry(tmp_path))).base.items
        workflows = projects.workflows(template)
        for path, summary in workflows.summaries():
            assert payload_of(workflows.read(path).value).nodes
            assert path.name == f"{summary.name}.json"
    with pytest.raises(FileError, match="chat-with-lore, empty"):
        projects.create({"name": "x"}, NOW, "none")
