"""What the documents show is true: examples run, files parse, links lead somewhere, figures are those of the code."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass, fields
from fnmatch import fnmatch
from itertools import dropwhile, takewhile
from pathlib import Path

import click
import pytest
from wasmtime import wat2wasm

import innkeeper
from innkeeper import InnkeeperError, Kind, Limits, Usage
from innkeeper.bench.rows import ROWS
from innkeeper.cli.group import innkeeper as command_line
from innkeeper.cli.main import invoke
from innkeeper.plugins import configuration, grant, manifest, manifest_table
from innkeeper.plugins.configuration_sources import root
from innkeeper.plugins.effective import effective_settings
from innkeeper.plugins.quantities import BOUNDS, LIMITS
from innkeeper.plugins.setting_keys import leaf_of_variable, leaves
from innkeeper.sandbox import inline, merge, pool, spares
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation.settings import STACK
from innkeeper.sandbox.limits import CEILING, DEFAULTS, parse_duration, parse_size
from innkeeper.workflow.checking.graph import ENGINE_NODES
from innkeeper.workflow.formats.payload import read_payload

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("docs", "fuzz", "manifests", "pdk-samples")
PAGES = [ROOT / "README.md", *(page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md")))]

ECHO = """(module
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (func (export "echo") (result i32)
    (call $output_set (call $input_offset) (call $input_length)) (i32.const 0)))"""
"""What the README's C example is in Wasm; the tests have no C compiler."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def fenced(page: Path) -> list[Block]:
    lines = read(page).split("\n")
    blocks, at = [], 0
    while at < len(lines):
        if lines[at].startswith("```"):
            body = list(takewhile(lambda line: not line.startswith("```"), lines[at + 1 :]))
            name = page.relative_to(ROOT).as_posix()
            blocks.append(Block(name, at + 1, lines[at][3:].strip(), "\n".join(body) + "\n"))
            at += len(body) + 1
        at += 1
    return blocks


BLOCKS = [block for page in PAGES for block in fenced(page)]


def of(language: str, page: str | None = None) -> list[Block]:
    return [block for block in BLOCKS if block.language == language and page in (None, block.page)]


def each(language: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", of(language), ids=str)


def prose(page: Path) -> str:
    text = read(page)
    for block in fenced(page):
        text = text.replace(block.text, "")
    return text


def run_python(block: Block) -> None:
    exec(compile("\n" * block.line + block.text, block.page, "exec"), {"__name__": "__main__"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the plugins that the examples name; the home is empty."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "echo.wasm").write_bytes(wat2wasm(ECHO))
    for block in of("python"):
        if "wat2wasm(" in block.text:
            run_python(block)
    return tmp_path


@each("python")
def test_examples_in_python_run(block: Block, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_python(block)
    if "print(" in block.text:
        assert capsys.readouterr().out


def test_what_the_examples_print_is_what_their_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in of("python", "docs/library.md"):
        run_python(block)
    printed = capsys.readouterr().out
    for line in (
        "b'HELLO' ",
        '"messages"',
        "('count', 'fail', 'setting', 'shout', 'spin')\nb'fr'\n",
        "the limit 'cpu' is 0.1 s cpu 0.1 ",
        "b'Ada' 1\n",
        "b'WITHIN BOUNDS'\n",
        "cancelled: True\n",
        "b'1'\nb'2'\nb'3'\nb'1'\n",
        "there is no milk 3 1\n",
    ):
        assert line in printed


@each("toml")
def test_examples_in_toml_are_read_as_what_they_are(block: Block) -> None:
    data = block.text.encode()
    if re.search(r"^sha256", block.text, re.MULTILINE):
        given = grant.parse_grant(data, where=str(block))
        given.apply(DEFAULTS, CEILING, str(block))
    elif re.search(r"^id", block.text, re.MULTILINE):
        exports = re.findall(r'^(?:function|type) = "(\w+)"', block.text, re.MULTILINE)
        read = manifest.parse_manifest(data, where=str(block), exports=exports)
        assert read.nodes or read.capabilities
        assert read.unknown == ()
    else:
        configuration.parse_configuration(data, where=str(block))


def test_the_full_examples_have_every_key() -> None:
    longest = {
        first: max((block.text for block in of("toml", f"docs/{page}.md") if first in block.text), key=len)
        for first, page in (("id = ", "plugins"), ("sha256 = ", "plugins"), ("[bounds]", "configuration"))
    }
    for key in manifest_table.KEYS:
        assert re.search(rf"^(\[+)?{key}\b", longest["id = "], re.MULTILINE), key
    for key in grant._KEYS:
        assert re.search(rf"^(\[)?{key}\b", longest["sha256 = "], re.MULTILINE), key
    for key in (*BOUNDS, "limits", "defaults"):
        assert re.search(rf"^(\[)?{key}\b", longest["[bounds]"], re.MULTILINE), key


@each("json")
def test_examples_in_json_are_workflows(block: Block) -> None:
    assert read_payload(block.text.encode()).nodes


def test_the_first_workflow_runs_from_any_folder(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (folder / "hello.json").write_text(of("json", "docs/workflows.md")[0].text)
    assert invoke(["run", "hello.json", "--input", "name=Ada", "--json"]) == 0
    assert json.loads(json.loads(capfdbinary.readouterr().out)["outputs"]["messages"])[0]["content"] == "Ada 4"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if heading:
            assert heading in headings(file), target


def headings(page: Path) -> list[str]:
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found]


def commands_of(block: Block) -> list[list[str]]:
    lines = block.text.replace("\\\n", " ").split("\n")
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("innkeeper ")]


def options_of(command: click.Command) -> set[str]:
    names = (name for each in command.params for name in (*each.opts, *each.secondary_opts, "--help"))
    return {name for name in names if name.startswith("--")}


def options_within(command: click.Command) -> set[str]:
    """The options of a command and of all commands in it."""
    found = options_of(command)
    if isinstance(command, click.Group):
        context = click.Context(command)
        inner = [command.get_command(context, name) for name in command.list_commands(context)]
        found = found.union(*(options_within(each) for each in inner if each is not None))
    return found


def subcommands() -> dict[str, click.Command]:
    assert isinstance(command_line, click.Group)
    context = click.Context(command_line)
    found = {name: command_line.get_command(context, name) for name in command_line.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


@each("sh")
def test_commands_that_are_shown_exist_with_their_options(block: Block) -> None:
    for words in commands_of(block):
        while words[0] in ("--home", "--set"):
            words = words[2:]
        command = subcommands()[words[0]]
        while isinstance(command, click.Group) and len(words) > 1:
            # A command of a group is imported when it is named.
            found = command.get_command(click.Context(command), words[1])
            if found is None:
                break
            command, words = found, words[1:]
        given = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        assert given <= options_of(command), words


def test_options_that_the_text_names_exist() -> None:
    known = options_within(command_line)
    for page in PAGES:
        for code in re.findall(r"`([^`\n]+)`", prose(page)):
            if code.startswith(("--", "innkeeper ")):
                for option in re.findall(r"(?<!\S)--[a-z-]+", code):
                    assert option in known, f"{page.name}: {code}"


def test_targets_of_make_that_are_named_exist() -> None:
    makefile = read(ROOT / "Makefile")
    for page in PAGES:
        text = read(page)
        for target in re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", text, re.MULTILINE):
            assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target


def test_files_of_python_that_are_named_exist() -> None:
    folders = ("host", "tests", "fuzz", "docs", "pdk-samples")
    known = [f"/{file.relative_to(ROOT)}" for folder in folders for file in (ROOT / folder).rglob("*.py")]
    for page in PAGES:
        for name in re.findall(r"(?<![\w/.-])[\w/*-]+\.py\b", prose(page)):
            assert any(fnmatch(file, f"*/{name}") for file in known), f"{page.name}: {name}"


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    below = read(ROOT / page).split(f"\n{heading}\n")[1].split("\n")
    table = dropwhile(lambda line: not line.startswith("|"), below)
    lines = list(takewhile(lambda line: line.startswith("|"), table))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quantity(text: str, unit: str) -> float:
    text = text.removesuffix(" each")
    if unit == "count":
        return int(text.replace(",", ""))
    return parse_size(text) if unit == "size" else parse_duration(text)


def test_the_table_of_limits_has_the_defaults_of_the_code() -> None:
    units = {**LIMITS, "stack": "size"}
    found: dict[str, float] = {}
    for names, values, _ in rows("docs/sandbox.md", "## Limits"):
        shown = re.split(r", (?!\d{3})", values)
        for at, name in enumerate(names.split(", ")):
            found[name] = quantity(shown[min(at, len(shown) - 1)], units[name])
    assert found == {**{field.name: getattr(DEFAULTS, field.name) for field in fields(Limits)}, "stack": STACK}


def test_the_table_of_the_readme_has_the_defaults_of_the_code() -> None:
    mib = 1 << 20
    bounds = Bounds()
    assert rows("README.md", "## Limits and threats, in short") == [
        [
            "memory", f"{DEFAULTS.memory // mib} MiB, and {DEFAULTS.kernel_memory // mib} MiB for input and output",
            "", "live guests", "`vm.max_map_count` / 10",
        ],
        ["processor time", f"{DEFAULTS.cpu:g} s", "", "memory of all guests", "half of RAM or of the cgroup"],
        ["wall-clock time", f"{DEFAULTS.wall:g} s", "", "started calls of one plugin", f"{bounds.calls_per_plugin}"],
        ["input, output", f"{DEFAULTS.input // mib} MiB each", "", "worker threads", "cores"],
        [
            "host calls", f"{DEFAULTS.host_calls:,}, of {DEFAULTS.host_call:g} s each",
            "", "bytes in flight", f"{bounds.bytes_in_flight // mib} MiB",
        ],
        ["log", f"{DEFAULTS.log >> 10} KiB", "", "compile jobs", f"{bounds.compile_jobs}"],
    ]  # fmt: skip
    assert DEFAULTS.input == DEFAULTS.output


def test_the_table_of_settings_has_every_key_and_its_default() -> None:
    measured = {"bounds.live_guests", "bounds.guest_memory", "bounds.workers", "cache"}
    shown = {row.key: row.shown for row in effective_settings(configuration.Configuration())}
    found = {cells[0].strip("`"): cells[1] for cells in rows("docs/configuration.md", "## Every setting")}
    keys = [".".join(key) for key, _ in leaves(root())]
    assert list(found) == [key for key in keys if not key.startswith(("limits.", "defaults."))]
    for key, default in found.items():
        if key not in measured:
            assert default == shown.get(key, ""), key


def test_variables_that_are_named_are_settings() -> None:
    others = {*configuration.OTHER_VARIABLES, configuration.SECRETS + "NAME", configuration.SECRETS}
    for page in PAGES:
        for name in re.findall(r"\bINNKEEPER_[A-Z_]+", read(page)):
            known = name in others or name.startswith(configuration.SECRETS)
            assert known or leaf_of_variable(root(), name) is not None, f"{page.name}: {name}"


def test_figures_of_the_sandbox_page_are_those_of_the_code() -> None:
    page = " ".join(read(ROOT / "docs/sandbox.md").split())
    for words in (
        f"Where starting took {spares.SLOW * 1e3:g} ms of processor time",
        f"`spare_guests`, by default {Bounds().spare_guests}, of all plugins",
        f"go after {spares.AGE:g} seconds",
        f"whose slices are short (under {inline.SHORT * 1e3:g} ms)",
        f"spends about {inline.PASS * 1e3:g} ms on guests",
        f"where it calls them, up to {merge.MAX_INLINED:,} times",
        f"the first {pool._KEPT >> 10} KiB of each memory",
    ):
        assert words in page


def test_tables_of_the_benchmark_have_its_rows_and_aims_and_agree_with_themselves() -> None:
    aims = {name: [aim for aim in (row.aim, row.must, row.aim_own) if aim is not None] for name, row in ROWS.items()}
    promised = {cells[0].strip("`"): cells[2] for cells in rows("docs/performance.md", "## Speed: `innkeeper bench`")}
    assert {name: [float(aim) for aim in re.findall(r"[\d.]+", text)] for name, text in promised.items()} == aims
    found = rows("docs/performance.md", "### What it came to")
    assert [cells[0].strip("`") for cells in found] == list(ROWS)
    for name, ours, theirs, _, unit, ratio, verdict in found:
        row = ROWS[name.strip("`")]
        figure = float(ours.replace(",", ""))
        assert unit == row.unit
        if theirs:
            assert float(ratio) == pytest.approx(figure / float(theirs.replace(",", "")), rel=0.01)
        if aims[row.name]:
            met = figure <= row.aim_own if row.aim_own else float(ratio) <= (row.aim or 0)
            assert ("**missed**" not in verdict) == met, name


def test_every_package_is_explained() -> None:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]

    def packages(requirements: list[str]) -> set[str]:
        return {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}

    assert {cells[0] for cells in rows("docs/dependencies.md", "## Run time")} == packages(project["dependencies"])
    headings = ("## Extras", "## Tests and checks")
    others = " ".join(cells[0] for heading in headings for cells in rows("docs/dependencies.md", heading))
    explained = set(re.findall(r"[\w-]+", others))
    assert all(packages(extra) <= explained for extra in project["optional-dependencies"].values())


def test_usage_and_errors_are_documented_completely() -> None:
    named = {name for cells in rows("docs/library.md", "## A first call") for name in re.findall(r"`(\w+)`", cells[0])}
    assert named == {field.name for field in fields(Usage)}
    for name, kind, code, *_ in rows("docs/library.md", "## Errors"):
        error = getattr(innkeeper, name.strip("`"))
        assert issubclass(error, InnkeeperError)
        assert (error.kind.value, error.kind.exit_code) == (kind, int(code))
    assert {cells[1] for cells in rows("docs/library.md", "## Errors")} == {kind.value for kind in Kind}


def test_everything_that_can_be_imported_is_documented() -> None:
    text = read(ROOT / "docs/library.md")
    assert [name for name in innkeeper.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_the_demo_has_as_many_entries_as_the_readme_says() -> None:
    books = [json.loads((ROOT / f"docs/demo/lore/{each}/knowledge.json").read_bytes()) for each in ("en", "zh")]
    one, other = (len(book["entries"]) for book in books)
    assert one == other
    assert f"a world book of {one} entries" in read(ROOT / "README.md").replace("\n", " ")
    nodes = read_payload((ROOT / "docs/demo/set-the-scene.json").read_bytes()).nodes
    assert {node.full_type for node in nodes if node.full_type not in ENGINE_NODES} == {
        "kb:Activate", "kb:RAGSource", "kb:ContextAssembler",
    }  # fmt: skip


def test_the_picture_of_the_demo_loads_nothing_from_elsewhere() -> None:
    picture = read(ROOT / "docs/demo/run.svg")
    assert re.findall(r"https?://(?!www\.w3\.org/)[^\"' ]+", picture) == []
    assert len(picture.encode()) < 200_000


def test_every_page_is_reached_from_the_readme_by_links() -> None:
    reached: set[Path] = set()
    left = [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            targets = re.findall(r"\]\(([^)\s#]+)", prose(page)) if page.suffix == ".md" else []
            left += [(page.parent / target).resolve() for target in targets if "://" not in target]
    wanted = {
        *PAGES,
        *(ROOT / "docs/schemas").glob("*.json"),
        *(ROOT / "docs").glob("*.svg"),
        *(ROOT / "docs/demo").glob("*.svg"),
    }
    assert wanted - reached == set()


def test_the_unit_of_the_service_starts_a_command_that_exists_and_gives_it_time_to_end() -> None:
    (unit,) = of("ini", "docs/operations.md")
    values = dict(line.split("=", 1) for line in unit.text.splitlines() if "=" in line)
    words = shlex.split(values["ExecStart"])
    assert words[0].endswith("/innkeeper")
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert set(given) <= options_of(subcommands()[words[1]])
    assert parse_duration(given["--drain"]) < int(values["TimeoutStopSec"])
