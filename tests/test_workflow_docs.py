"""The workflows that docs/workflows.md shows give what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from innkeeper.cli.main import invoke
from test_docs import of

EXAMPLES = [block.text for block in of("json", "docs/workflows.md")]


def example(text: str) -> str:
    (found,) = [each for each in EXAMPLES if text in each]
    return found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def outputs(text: str, *options: str) -> dict[str, Any]:
        Path("workflow.json").write_text(text)
        assert invoke(["run", "workflow.json", "--json", *options]) == 0
        found = json.loads(capfdbinary.readouterr().out)
        assert found["status"] == "complete"
        return dict(found["outputs"])

    return outputs


def test_a_group_is_used_twice_with_two_values(run: Any) -> None:
    assert run(example('"second"')) == {"text": "Hello, Ada Hello, you"}


def test_a_loop_greets_everybody(run: Any) -> None:
    assert run(example('"each"')) == {"texts": ["Hello, Ada", "Hello, Grace"]}


def test_a_run_goes_on_with_what_an_error_output_says(run: Any) -> None:
    answer = run(example("errorOutput"))["answer"]
    assert (answer["kind"], answer["node"], answer["tries"]) == ("guest", "root", 2)
    assert "negative" in answer["message"]
