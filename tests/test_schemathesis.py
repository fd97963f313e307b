"""Whatever the server's own OpenAPI document allows, and much that it does not, is answered as the document says, and
never by a server error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from http_users import slow_home, users_of

EXAMPLES = 12
"""Of each operation: the whole takes under a minute."""

STREAMS = ("/api/stream/", "/api/runs/{prompt_id}/events")
"""Answers that wait, or do not end by themselves: other tests hold them."""

load_all_checks()
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server in a thread of its own, since schemathesis waits for each answer."""
    home = slow_home(tmp_path_factory.mktemp("schemathesis") / "home")
    serving = _Serving(home)
    try:
        yield serving.url()
    finally:
        serving.stop()


class _Serving:
    def __init__(self, home: Path) -> None:
        self._ready = threading.Event()
        self._found: list[Any] = []
        self._thread = threading.Thread(target=self._run, args=(home,))
        self._thread.start()

    def url(self) -> str:
        assert self._ready.wait(60)
        return str(self._found[0])

    def stop(self) -> None:
        trio.from_thread.run_sync(self._found[1].set, trio_token=self._found[2])
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self, home: Path) -> None:
        trio.run(self._serve, home)

    async def _serve(self, home: Path) -> None:
        stop = trio.Event()
        async with users_of(home, seconds=600) as users:
            self._found += [users.url, stop, trio.lowlevel.current_trio_token()]
            self._ready.set()
            await stop.wait()


@cache
def document(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    return found


def test_the_document_is_openapi_and_says_the_errors_of_each_route(url: str) -> None:
    assert document(url)["openapi"].startswith("3.1")
    for path, operations in document(url)["paths"].items():
        for method, operation in operations.items():
            # What FastAPI says by itself of a body that does not fit is another form than the server's.
            text = str(operation["responses"])
            assert "HTTPValidationError" not in text, f"{method} {path}"


def test_no_route_answers_with_a_server_error_and_all_answer_as_they_say(url: str) -> None:
    schema = schemathesis.openapi.from_dict(document(url))
    checked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.startswith(STREAMS):
            continue
        _attack(operation, url)
        checked += 1
    assert checked >= 15


def _attack(operation: Any, url: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def attack(case: Any) -> None:
        response = case.call(base_url=url, headers={"Authorization": "Bearer root"}, timeout=60)
        case.validate_response(response, checks=CHECKS)

    attack()
