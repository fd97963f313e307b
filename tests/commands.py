"""Commands in tests: what they printed, and how they ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.cli.main import invoke


class Commands:
    """Runs commands in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def run(self, *arguments: str, code: int = 0) -> str:
        """What a command printed; of one that failed, its errors."""
        ended = invoke(arguments)
        out, err = self._capture.readouterr()
        assert (ended, "Traceback" in err) == (code, False), out + err
        return out if code == 0 else err

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command printed with --json, and nothing beside it."""
        assert invoke([*arguments, "--json"]) == code
        out, err = self._capture.readouterr()
        assert err == ""
        return json.loads(out)
