"""Draws the pictures of the README: a run of the demo as docs/demo/run.svg, with the table of its nodes and the first
lines of its trace, and the graphs of two workflows.

    python docs/demo/record.py

What is drawn of the run is what the command wrote, with colours. The graphs are what `innkeeper graph` writes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
COMMAND = ("innkeeper", "run", "docs/demo/set-the-scene.json", "--input-file", "chat=docs/demo/chat.en.json")
GRAPHS = {"set-the-scene.json": "set-the-scene.svg", "flows/evening.json": "evening.svg"}
"""Workflows in this folder, to their pictures."""
REPORT_LINES = 18
WIDTH = 116

# The picture brings its background along, so it reads the same on a white page and on a dark one.
THEME = TerminalTheme(
    (27, 31, 39),
    (216, 222, 233),
    [(27, 31, 39), (224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 120, 221), (86, 182, 194),
     (171, 178, 191)],
)  # fmt: skip


def run() -> list[str]:
    """The lines that the command writes, up to the first ones of the report."""
    python = [sys.executable, "-m", "innkeeper", *COMMAND[1:]]
    ended = subprocess.run(python, cwd=ROOT, capture_output=True, check=True, encoding="utf-8")  # noqa: S603
    lines = ended.stdout.split("\n")
    shown = lines.index("== trace ==") + 1 + REPORT_LINES
    return [*(line if len(line) <= WIDTH else line[: WIDTH - 3] + "..." for line in lines[:shown]), "..."]


def coloured(line: str, first: bool) -> Text:
    """A line as a terminal would show it."""
    text = Text(line, no_wrap=True, overflow="crop")
    if first or line.startswith("=="):
        # Word by word: each then has a place of its own in the picture, whatever the font's width.
        text.highlight_regex(r"\S+(?: \S+)*", "bold")
    text.highlight_regex(r"\bcomplete$", "green")
    text.highlight_regex(r"\b(?:core|kb):\w+", "blue")
    text.highlight_regex(r"(?<= )kb(?= )", "cyan")
    text.highlight_regex(r"^active\b", "green")
    text.highlight_regex(r"^(?:condition|budget)\b", "yellow")
    return text


def drawn(lines: list[str]) -> str:
    """The SVG, without anything that it would load from elsewhere."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text("$ " + " ".join(COMMAND[:3]) + " \\", style="bold green"))
    console.print(Text("      " + " ".join(COMMAND[3:]), style="bold green"))
    for number, line in enumerate(lines):
        console.print(coloured(line, number == 0))
    svg = console.export_svg(title="make demo", theme=THEME, unique_id="demo")
    svg = re.sub(r"<!--.*?-->\s*|@font-face\s*{[^}]*}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family:[^;]+;", "font-family: monospace;", svg)


def main() -> None:
    """Runs the demo and writes the pictures."""
    (FOLDER / "run.svg").write_text(drawn(run()), encoding="utf-8")
    for workflow, picture in GRAPHS.items():
        arguments = ("graph", f"docs/demo/{workflow}", "--strict", "--force", "-o", f"docs/demo/{picture}")
        subprocess.run([sys.executable, "-m", "innkeeper", *arguments], cwd=ROOT, check=True)  # noqa: S603


if __name__ == "__main__":
    main()
