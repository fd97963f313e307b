"""What a server logs: one line for each thing, none of them a secret, and nobody waits for it."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarded import guarded, until
from guests import assemble, host_function, wat
from innkeeper import open_host
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.server.identity import Identity
from innkeeper.server.telemetry import logs
from innkeeper.server.telemetry.logs import Format, LogHandler, logging_to
from innkeeper.server.telemetry.redaction import MOST_TEXT, is_secret, redacted, redacted_text
from innkeeper.workflow.runner import WorkflowRunner
from run_fakes import new_run

logger = logging.getLogger("innkeeper.test")

text = st.text(max_size=60)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gathers lines: tests begin and end many logs."""
    monkeypatch.setattr(logs, "_GATHERED", 0)


@contextmanager
def logged(format: Format = "json") -> Iterator[io.StringIO]:
    """What is logged in the block, after its end."""
    stream = io.StringIO()
    with logging_to(stream, format, "debug"):
        yield stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


# --- secrets --------------------------------------------------------------------------------------------------------

NAMES = ["token", "secret", "apiKey", "api_key", "API-Key", "password", "Authorization", "cookie", "Set-Cookie"]

secrets = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=24, max_size=40).map(
    "zq".__add__
)


def nested(name: str, secret: str) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.just({name: secret}),
        lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(text, inner, min_size=1, max_size=3),
        max_leaves=6,
    )


@given(st.data(), secrets, st.sampled_from(NAMES), text, text)
def test_what_stands_under_the_name_of_a_secret_is_never_shown(
    data: st.DataObject, secret: str, name: str, before: str, after: str
) -> None:
    value = data.draw(nested(f"x_{name}_{after[:5]}" if data.draw(st.booleans()) else name, secret))
    assert secret not in json.dumps(redacted({"details": value, before: after}))


@given(
    secrets,
    text,
    st.sampled_from(
        [
            "ctsk_{}",
            "Authorization: Bearer {}",
            "authorization=Basic {}",
            "Cookie: a=b; session={}",
            "bearer {}",
            "postgresql://user:{}@host/db",
            "/ws?ticket={}&x=1",
            "password: {}",
            '"api_key": "{}"',
            "my_secret = '{}'",
        ]
    ),
)
def test_what_looks_like_a_secret_in_a_text_is_not_shown(secret: str, before: str, shape: str) -> None:
    assert secret not in redacted_text(before + " " + shape.format(secret))
    assert secret not in redacted_text("x" * (MOST_TEXT - 10) + " " + shape.format(secret))


def test_names_that_mean_no_secret_are_shown() -> None:
    assert not any(map(is_secret, ["path", "status", "request", "seconds", "plugin", "key", "author"]))
    assert redacted({"path": "/a", "bytes": 3, "ok": None}) == {"path": "/a", "bytes": 3, "ok": None}
    assert redacted_text("the run 4f2a failed: no node is called a:b") == "the run 4f2a failed: no node is called a:b"


@given(
    st.recursive(
        st.none() | st.text(max_size=5000) | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=60,
    )
)
def test_what_is_shown_of_a_value_is_bounded(value: Any) -> None:
    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return max((1 + depth(each) for each in inner), default=0)

    shown = redacted(value)
    assert depth(shown) <= 5
    json.dumps(shown)


def test_a_text_of_a_megabyte_takes_no_time() -> None:
    for piece in ("a", "token=", "token", "Bearer ", "://a:", "cookie: ", "a-", "ctsk_"):
        assert len(redacted_text(piece * 200_000)) <= MOST_TEXT + 10


# --- lines ----------------------------------------------------------------------------------------------------------


@given(text, text, text, st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), text, max_size=3))
def test_nothing_that_is_logged_can_pass_for_another_line(
    message: str, argument: str, failure: str, more: dict[str, str]
) -> None:
    forged = "\n2026-01-01T00:00:00.000Z info    innkeeper.access: forged"
    for format in ("json", "console"):
        with logged(format) as stream:
            for suffix in ("", forged, "\r" + forged, "\x1b[2J", "\u2028forged", "\x85"):
                try:
                    raise ValueError(failure + suffix)
                except ValueError:
                    about = {f"x_{key}": value + suffix for key, value in more.items()}
                    logger.exception("%s%s", message + suffix, argument, extra=about)
        written = stream.getvalue()
        assert not set(written) & {chr(code) for code in (*range(10), *range(11, 32), 0x7F, 0x85, 0x9B, 0x2028, 0x2029)}
        own = [line for line in written.split("\n")[:-1] if not line.startswith("    ")]
        assert len(own) == 6
        if format == "json":
            assert [json.loads(line)["logger"] for line in own] == ["innkeeper.test"] * 6
        else:
            assert all(" innkeeper.test: " in line[:60] for line in own)


def test_what_a_line_is_given_takes_no_place_of_the_lines_own_fields() -> None:
    with logged() as stream:
        logger.info("said", extra={"level": "fake", "time": "never", "event": "other", "logger": "x", "count": 3})
        logger.info("infinite", extra={"amount": float("inf"), "thing": object()})
        # Past the test runner's own handler, which would raise.
        wrong = {"msg": "wrong %d", "args": ("text",), "name": "a", "levelname": "INFO"}
        [handler] = [each for each in logging.getLogger().handlers if isinstance(each, LogHandler)]
        handler.emit(logging.makeLogRecord(wrong))
        logger.info("after")
    first, second, after = [line for line in lines(stream) if line["logger"] == "innkeeper.test"]
    assert "lines of the log were dropped: 1" in stream.getvalue()
    assert (first["event"], first["level"], first["logger"], first["count"]) == ("said", "info", "innkeeper.test", 3)
    assert first["time"].endswith("Z")
    assert second["amount"] == "inf"
    assert after["event"] == "after"


def test_who_logs_does_not_wait_for_a_reader_that_does_not_read() -> None:
    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            stuck.set()
            go.wait(60)
            return super().write(text)

    go, stuck = threading.Event(), threading.Event()
    stream = Stuck()
    handler = LogHandler(stream, "json", most=100)
    record = logging.makeLogRecord({"msg": "line", "name": "a", "levelname": "INFO"})
    handler.emit(record)
    assert stuck.wait(60)
    for _ in range(1000):
        handler.emit(record)
    assert handler.dropped == 900
    go.set()
    handler.close()
    said = lines(stream)
    assert [line["event"] for line in said].count("line") == 1 + 100
    assert "lines of the log were dropped: 900" in str(said)


def test_libraries_are_heard_where_they_warn() -> None:
    with logged() as stream:
        logging.getLogger("httpx").info("GET https://user:password@host")
        logging.getLogger("other").warning("careful")
    assert [line["event"] for line in lines(stream)] == ["careful"]


# --- what a line belongs to -----------------------------------------------------------------------------------------


async def test_a_line_of_a_request_has_its_id_and_its_user(tmp_path: Path) -> None:
    def route(app: Any) -> None:
        @app.get("/logs")
        async def logs() -> None:
            logger.warning("inside")

    async def identify(connection: Any) -> Identity:
        return Identity("uid-1", "name", False, "session")

    with logged() as stream:
        async with guarded(tmp_path, change=route) as server:
            object.__setattr__(server.parts, "identify", identify)
            await server.client.get("/logs", headers={"x-request-id": "one"})
            await server.client.get("/who", headers={"x-request-id": "two", "cookie": "session=very-secret"})
            logger.warning("outside")
    said = lines(stream)
    inside = next(line for line in said if line["event"] == "inside")
    assert inside["request"] == "one"
    access = {line["request"]: line for line in said if line["logger"] == "innkeeper.access"}
    assert (access["two"]["user"], access["two"]["path"], access["two"]["status"]) == ("uid-1", "/who", 200)
    assert "user" not in access["one"]
    assert "request" not in next(line for line in said if line["event"] == "outside")
    assert "very-secret" not in stream.getvalue()


async def test_a_line_of_a_node_has_its_run_its_node_and_its_plugin(tmp_path: Path) -> None:
    async def note() -> None:
        logger.warning("from a service")

    given_ = host_function(note)
    guest = wat('(func (export "go") (result i32) (call $note) (i32.const 0))', functions=[given_])
    with logged() as stream:
        async with open_host(tmp_path) as host:
            plugin = await host.load(assemble(guest), plugin_id="noter", functions=[given_])
            await plugin.call("go", b"", run=RunContext(Run("run-1"), "node-7"))
            logger.warning("after it")
    inside, after = [line for line in lines(stream) if line["logger"] == "innkeeper.test"]
    assert (inside["run"], inside["node"], inside["plugin"]) == ("run-1", "node-7", "noter")
    assert not {"run", "node", "plugin"} & set(after)


async def test_what_the_host_says_of_a_run_has_the_run_s_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Any, task: Any, sink: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(WorkflowRunner, "execute", broken)
    with logged() as stream:
        async with guarded(tmp_path) as server:
            await server.parts.scheduler.submit(new_run("run-9"))

            async def ended() -> bool:
                return server.parts.guards.counts.runs["error"] == 1

            await until(ended)
    failed = [line for line in lines(stream) if "exception" in line]
    assert [(line["run"], line["level"]) for line in failed] == [("run-9", "error")]
