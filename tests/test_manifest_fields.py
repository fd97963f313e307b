"""What a manifest says of versions, dependencies, configuration and for people; and that a stranger's schema costs
nothing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import module
from innkeeper.cli.main import invoke
from innkeeper.errors import RejectedError, UsageError
from innkeeper.plugins import home as home_module
from innkeeper.plugins import versions
from innkeeper.plugins.catalogue import Catalogue, read_catalogue
from innkeeper.plugins.config_schema import ConfigSchema, read_schema
from innkeeper.plugins.home import open_home
from innkeeper.plugins.manifest import Dependency, Manifest, parse_manifest
from innkeeper.plugins.readme import read_readme
from innkeeper.plugins.tables import Table, TableError

HEAD = 'id = "demo"\nversion = "1.0"\n'


def parse(text: str) -> Manifest:
    return parse_manifest((HEAD + text).encode(), where="demo.toml", exports=("run",))


def problems(text: str) -> list[str]:
    with pytest.raises(TableError) as caught:
        parse(text)
    return caught.value.problems


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    for name in ("plugins", "manifests"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("INNKEEPER_HOME", str(folder))
    return folder


def put(home: Path, plugin_id: str, more: str = "", version: str = "1.0") -> bytes:
    wasm = module("run", manifest=f'id = "{plugin_id}"\nversion = "{version}"\n{more}', salt=plugin_id)
    (home / f"plugins/{plugin_id}.wasm").write_bytes(wasm)
    return wasm


def read(home: Path) -> Catalogue:
    return read_catalogue(open_home(home))


# --- what is read -----------------------------------------------------------------------------------------------------


def test_the_further_fields_are_read() -> None:
    found = parse(
        'innkeeper = ">=0.1, <1"\nkeywords = ["a", "b", "a"]\ncategory = "Text"\nrepository = "https://example.com"\n'
        'readme = "README.md"\n'
        '[config_schema.properties.language]\nenum = ["de", "en"]\n'
        '[[dependencies]]\nid = "words"\nversions = ">=1"\n[[dependencies]]\nid = "more"\noptional = true\n'
    )
    assert (found.innkeeper, found.keywords, found.category) == (">=0.1, <1", ("a", "b"), "Text")
    assert (found.repository, found.readme) == ("https://example.com", "README.md")
    assert found.dependencies == (Dependency("words", ">=1"), Dependency("more", "", True))
    assert found.config_schema is not None
    assert found.config_schema.problems({"language": "en"}) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('innkeeper = "1.x.y"', "innkeeper is '1.x.y': it must be a range of versions such as \">=1.2, <2\""),
        ('innkeeper = "===1"', "innkeeper is '===1': it must be a range"),
        ("innkeeper = 1", "innkeeper is 1: it must be a range"),
        (f'innkeeper = "{">=1," * 60}>=1"', "innkeeper is '>=1,"),
        ('inkeeper = ">=1"', "inkeeper is not a key here; did you mean 'innkeeper'?"),
        ('keywords = "a"', "keywords must be a list of texts of 1 to 64 characters"),
        ("keywords = ['']", "keywords must be a list of texts of 1 to 64 characters"),
        (f"keywords = {['k' + str(i) for i in range(33)]}", "keywords has 33 entries: the most is 32"),
        (f'category = "{"x" * 65}"', "category has 65 characters: the most is 64"),
        (f'readme = "{"x" * 70_000}"', "readme has 70000 characters: the most is 65536"),
        ("dependencies = 3", "dependencies must be tables, each written [[dependencies]]"),
        ("[[dependencies]]", "dependencies[0].id is missing"),
        ('[[dependencies]]\nid = "A"', "dependencies[0].id is 'A': it must be"),
        ('[[dependencies]]\nid = "demo"', "dependencies[0].id is 'demo': that is this plugin itself"),
        ('[[dependencies]]\nid = "a"\nversions = "latest"', "dependencies[0].versions is 'latest': it must be a range"),
        ('[[dependencies]]\nid = "a"\nversion = "1"', "dependencies[0].version is not a key here; did you mean"),
        (
            '[[dependencies]]\nid = "a"\n[[dependencies]]\nid = "a"',
            "dependencies[1].id is 'a', which another entry has",
        ),
        ("[[dependencies]]\nid = 'a'\n" * 65, "dependencies has 65 entries: the most is 64"),
        ("config_schema = true", "config_schema is True: it must be a table"),
        ("[config_schema]\ntype = 'array'", "config_schema.type is 'array': it must be 'object'"),
        ("[config_schema]\nrequired = ['x']", "config_schema.required has 'x', which is not one of the properties"),
        ("[config_schema.properties]\na = 1", "config_schema.properties.a is 1: it must be a table"),
        ("[config_schema.properties.a]\ntype = 'object'", "config_schema.properties.a.type is 'object': it must be"),
        (
            "[config_schema.properties.a]\npattern = '(a*)*b'",
            "config_schema.properties.a.pattern is not one of the key",
        ),
        ("[config_schema.properties.a]\n'$ref' = 'http://x'", "config_schema.properties.a.$ref is not one of the"),
        ("[config_schema.properties.a]\nmaxLenght = 1", "config_schema.properties.a.maxLenght is not a key here; did"),
        ("[config_schema.properties.a]\nmaxLength = -1", "config_schema.properties.a.maxLength is -1: it must be"),
        (
            "[config_schema.properties.a]\nminimum = 1",
            "config_schema.properties.a.minimum is 1: it must be a number, and",
        ),
        ("[config_schema.properties.a]\nenum = []", "config_schema.properties.a.enum must be a list of 1 to 256"),
        ("[config_schema.properties.a]\nenum = [1]", "config_schema.properties.a.enum has 1, which is no string"),
        ("[config_schema.properties.a]\ndefault = 1", "config_schema.properties.a.default is 1, which is no string"),
        (
            "[config_schema.properties.a]\nexamples = [1979-05-27]",
            "config_schema.properties.a.examples.0 holds what JSON",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_its_key(text: str, sentence: str) -> None:
    (found,) = problems(text)
    assert found.startswith(f"demo.toml: {sentence}")


def test_several_mistakes_are_said_at_once() -> None:
    found = problems(
        'innkeeper = "x"\nkeywords = 1\nodd = 1\n[config_schema]\ntype = 1\n[[dependencies]]\n'
        "[[nodes]]\ntype = 'A'\nfunction = 'run'\n[[nodes]]\ntype = 'A'\nfunction = 'run'\n"
        "[[capabilities]]\nname = 'http:x'\nreason = 'r'\n"
    )
    assert sorted(text.split()[1] for text in found) == [
        "capabilities[0].name",
        "config_schema.type",
        "dependencies[0].id",
        "innkeeper",
        "keywords",
        "nodes[1].type",
    ]


def test_unknown_fields_are_kept_and_named() -> None:
    assert parse('content_scripts = ["x"]\n').unknown == ("content_scripts",)


def test_fields_of_inputs_and_nodes_that_editors_use_are_checked() -> None:
    node = "[[nodes]]\ntype = 'A'\nfunction = 'run'\nwidth = 300.0\n[nodes.inputs.a]\ndataFlowType = 'STRING'\n"
    found = parse(node + "actions = [{id = 'go', handlerType = 'emit_event'}]\nallowMoreConnections = true\n").nodes[0]
    assert (found.width, found.inputs["a"].allow_more_connections) == (300.0, True)
    assert found.inputs["a"].actions == [{"id": "go", "handlerType": "emit_event"}]
    assert problems(node + "actions = ['go']\n") == [
        "demo.toml: nodes[0].inputs.a.actions.0 is 'go': it must be a table"
    ]


# --- the host's version -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("0.1.0", ">=0.1, <1", True),
        ("0.1.0", ">=0.2", False),
        ("1.0.dev1", ">=0.1", True),
        ("1.2.3", "~=1.2", True),
        ("1.0.0-beta.1", "<1", False),
        ("1.0.0-beta.1", "<=1", True),
        ("nightly", "", True),
        ("nightly", ">=0", False),
        ("1", "  ", True),
    ],
)
def test_versions_are_in_a_range_or_not(version: str, wanted: str, fits: bool) -> None:
    versions.check_range(wanted)
    assert versions.in_range(version, wanted) is fits


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40) | st.from_regex(r"[<>=!~]{1,2} ?[0-9.*a-z]{0,10}", fullmatch=True), st.text(max_size=20))
def test_any_text_is_a_range_or_a_sentence(wanted: str, version: str) -> None:
    try:
        versions.check_range(wanted)
    except ValueError as error:
        said = str(error)
    else:
        said = str(versions.in_range(version, wanted))
    assert len(said) < 200


def test_a_plugin_for_another_host_is_not_loaded_and_says_why(home: Path) -> None:
    put(home, "new", 'innkeeper = ">=99"\n')
    put(home, "old", 'innkeeper = ">=0.0.1"\n')
    found = read(home)
    assert list(found.entries) == ["old"]
    assert found.problems == [f"plugins/new.wasm: needs Innkeeper >=99, and this is {versions.host_version()}"]


# --- dependencies -----------------------------------------------------------------------------------------------------


def test_dependencies_are_checked_against_the_home_and_keep_nothing_away(home: Path) -> None:
    put(
        home,
        "a",
        '[[dependencies]]\nid = "b"\nversions = ">=2"\n[[dependencies]]\nid = "wrods"\n'
        '[[dependencies]]\nid = "gone"\noptional = true\n[[dependencies]]\nid = "bare"\nversions = ">=1"\n',
    )
    put(home, "b", '[[dependencies]]\nid = "a"\nversions = "==1.0"\n', version="1.9")
    put(home, "words")
    (home / "plugins/bare.wasm").write_bytes(module("run"))
    found = read(home)
    assert list(found.entries) == ["a", "b", "bare", "words"]
    assert found.problems == [
        "plugins/a.wasm: depends on the plugin 'b' >=2, and what is there is version 1.9",
        "plugins/a.wasm: depends on the plugin 'wrods', which is not there; did you mean 'words'?",
        "plugins/a.wasm: depends on the plugin 'bare' >=1, and what is there is without a version",
    ]
    put(home, "b", version="2.1")
    put(home, "wrods")
    assert len(read(home).problems) == 1


def test_dependencies_are_shown(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put(home, "a", '[[dependencies]]\nid = "b"\nversions = ">=2"\n[[dependencies]]\nid = "c"\noptional = true\n')
    put(home, "b")
    assert invoke(["plugins"]) == 0
    out = capfd.readouterr().out
    assert "a can also work with c, which is not there\n" in out
    assert "problem: plugins/a.wasm: depends on the plugin 'b' >=2, and what is there is version 1.0\n" in out
    assert invoke(["plugins", "--json"]) == 0
    listed = json.loads(capfd.readouterr().out)["plugins"][0]["dependencies"]
    assert [(each["id"], each["state"], each["version"]) for each in listed] == [
        ("b", "other version", "1.0"),
        ("c", "missing", None),
    ]
    assert invoke(["inspect", "a"]) == 0
    out = capfd.readouterr().out
    assert "depends on  b >=2: other version\n" in out
    assert "depends on  c in any version (optional): missing\n" in out
    assert invoke(["inspect", str(home / "plugins/a.wasm")]) == 0
    assert "depends on  b >=2\n" in capfd.readouterr().out


def test_many_dependencies_that_are_not_there_are_not_many_texts(home: Path) -> None:
    for number in range(5):
        put(home, f"p{number}", "".join(f'[[dependencies]]\nid = "d{i}"\n' for i in range(64)))
    found = read(home).problems
    assert len(found) == 201
    assert found[-1] == "plugins: 120 more dependencies are missing or of another version"


# --- the schema of the configuration ----------------------------------------------------------------------------------

SCHEMA = """
[config_schema]
required = ["language"]
additionalProperties = false
[config_schema.properties.language]
description = "Of the greeting"
enum = ["de", "en"]
default = "en"
[config_schema.properties.count]
type = "integer"
minimum = 1
exclusiveMaximum = 10
[config_schema.properties.share]
type = "number"
exclusiveMinimum = 0
maximum = 0.5
[config_schema.properties.loud]
type = "boolean"
[config_schema.properties.name]
minLength = 2
maxLength = 4
"""


def schema() -> ConfigSchema:
    found = parse(SCHEMA).config_schema
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("language", "fr", "must be 'de' or 'en'"),
        ("count", "1.5", 'must be a whole number, written like "42"'),
        ("count", "0", "must be at least 1"),
        ("count", "10", "must be less than 10"),
        ("count", "9" * 5000, 'must be a whole number, written like "42"'),
        ("share", "0", "must be more than 0"),
        ("share", "0.6", "must be at most 0.5"),
        ("share", "nan", 'must be a number, written like "0.5"'),
        ("share", "1e999", 'must be a number, written like "0.5"'),
        ("loud", "yes", 'must be "true" or "false"'),
        ("name", "x", "must have at least 2 characters"),
        ("name", "hunter2", "must have at most 4 characters"),
        ("nam", "x", "is not a key of this plugin; known are: language, count, share, loud, name"),
    ],
)
def test_a_configuration_that_does_not_fit_is_said_by_key_and_without_its_value(
    key: str, text: str, sentence: str
) -> None:
    assert schema().problems({"language": "en", key: text}) == [f"config.{key} {sentence}"]


def test_a_configuration_that_fits_has_no_problem() -> None:
    good = {"language": "de", "count": "9", "share": "0.5", "loud": "true", "name": "Ada"}
    assert schema().problems(good) == []
    assert schema().problems({}) == ["config.language is missing"]


def test_a_grant_whose_configuration_does_not_fit_is_not_used(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(home, "demo", SCHEMA + "[[capabilities]]\nname = 'kv'\nreason = 'r'\n")
    assert invoke(["grant", "demo", "--yes"]) == 0
    assert "config.language is missing: mend [config] in the grant; it is not used before" in capfd.readouterr().out
    found = read(home)
    assert (found.entries["demo"].grant_state, found.entries["demo"].rights.capabilities) == ("unusable", ())
    assert found.problems == ["manifests/demo.toml: config.language is missing; the grant is not used"]
    with open(home / "manifests/demo.toml", "a") as file:
        file.write('[config]\nlanguage = "en"\n')
    found = read(home)
    assert (found.entries["demo"].grant_state, found.problems) == ("granted", [])


_keywords = st.sampled_from(
    ["type", "properties", "required", "enum", "const", "minimum", "maxLength", "additionalProperties"]
)
_values = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["string", "integer", "number", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keywords, inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(_keywords, _values, max_size=4),
    st.dictionaries(st.text(max_size=5), st.dictionaries(_keywords, _values, max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=4),
)
def test_any_schema_is_wrong_or_can_be_held_against_any_configuration(
    top: dict[str, Any], properties: dict[str, Any], config: dict[str, str]
) -> None:
    found: list[str] = []
    read_ = read_schema(Table({**top, "properties": properties}, "f", found))
    if not found:
        assert all(isinstance(text, str) for text in read_.problems(config))


def test_the_largest_schema_and_configuration_are_checked_in_a_moment() -> None:
    lines = "".join(f"[config_schema.properties.k{i}]\ntype = 'number'\nmaximum = 5\n" for i in range(256))
    found = parse("[config_schema]\nadditionalProperties = false\n" + lines).config_schema
    assert found is not None
    before = time.process_time()
    assert len(found.problems({f"k{i}": "9" * 100_000 for i in range(1000)})) == 1000
    assert time.process_time() - before < 1


# --- readme -----------------------------------------------------------------------------------------------------------


def test_a_readme_is_text_or_a_file_beside_the_module(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put(home, "a", 'readme = "README.md"\nkeywords = ["x", "y"]\ncategory = "Text"\n')
    plugin = home / "plugins/a.wasm"
    assert read_readme("Just text.", plugin) == "Just text."
    assert read_readme("../secret.md", plugin) == "../secret.md"
    assert invoke(["inspect", "a"]) == 0
    out = capfd.readouterr().out
    assert "readme      README.md: no such file\n" in out
    assert "keywords    x, y\n" in out
    (home / "plugins/README.md").write_text("# Größe\n")
    assert read_readme("README.md", plugin) == "# Größe\n"
    assert invoke(["inspect", "a", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["manifest"]["readme"] == "# Größe\n"


def test_a_readme_is_no_link_no_large_file_and_no_bytes(home: Path) -> None:
    plugin = home / "plugins/a.wasm"
    (home / "secret").write_text("hunter2")
    os.symlink(home / "secret", home / "plugins/link.md")
    (home / "plugins/large.md").write_bytes(b"x" * 300_000)
    (home / "plugins/bytes.md").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="symbolic link"):
        read_readme("link.md", plugin)
    with pytest.raises(RejectedError, match="the most is"):
        read_readme("large.md", plugin)
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_readme("bytes.md", plugin)
