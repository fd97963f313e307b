"""Plugins that answer requests: whom their grant allows, with what is on the lists, and never as the host itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, QueryParams

from http_users import Users, users_of
from innkeeper.cli.main import invoke
from innkeeper.errors import GuestError
from innkeeper.plugins.capabilities import parse_capability
from innkeeper.plugins.consent import plan_consent
from innkeeper.plugins.manifest import CapabilityRequest, Manifest, parse_manifest
from innkeeper.plugins.serving import Serve, read_serve
from innkeeper.plugins.tables import Table, TableError
from innkeeper.server.answers import AnswerError
from innkeeper.server.plugins.exchange import MOST_ANSWER, MOST_BODY, answer, question
from innkeeper.server.plugins.places import Places
from serving_guests import ECHO, SPINS, TRAPS, packed, says, serving


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


async def asked(client: httpx.AsyncClient, path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    """What a plugin that gives back its input was given."""
    response = await client.request(method, path, **more)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = msgpack.unpackb(response.content)
    return found


# --- what a plugin is given -------------------------------------------------------------------------------------------


async def test_a_plugin_is_given_the_request_and_gives_the_answer(home: Path) -> None:
    serving(home, "echo", ECHO, methods=["GET", "POST"], headers=["x-hub-signature-256"])
    async with users_of(home) as users:
        found = await asked(
            users.ann,
            "/x/echo/a/b?q=1&q=2",
            "POST",
            content=b"\x00body",
            headers={"X-Hub-Signature-256": "sha256=1", "Content-Type": "text/x"},
        )
        assert (found["method"], found["path"], found["body"]) == ("POST", "/a/b", b"\x00body")
        assert found["query"] == [["q", "1"], ["q", "2"]]
        assert found["headers"]["x-hub-signature-256"] == "sha256=1"
        assert found["headers"]["content-type"] == "text/x"
        assert found["authenticated"] is True


async def test_no_cookie_no_key_and_no_ticket_reaches_a_plugin_nor_who_asks(home: Path) -> None:
    serving(home, "echo", ECHO, granted="http.serve:public")
    secrets = {
        "Cookie": "session=S3CRET",
        "Proxy-Authorization": "Basic S3CRET",
        "X-Api-Key": "S3CRET",
        "X-Forwarded-For": "S3CRET",
        "X-Hub-Signature-256": "S3CRET",
        "Referer": "http://S3CRET/?ticket=S3CRET",
    }
    async with users_of(home) as users:
        for client in (users.ann, users.nobody):
            response = await client.get("/x/echo/?ticket=S3CRET&Ticket=S3CRET&q=1", headers=secrets)
            assert response.status_code == 200
            assert b"S3CRET" not in response.content
            assert b"ann" not in response.content


async def test_json_is_spoken_where_the_plugin_does(home: Path) -> None:
    said = json.dumps({"status": 201, "headers": {"Content-Type": "image/png"}, "bodyBase64": "AP8="})
    serving(home, "j", says(said.encode()), codec="json")
    async with users_of(home) as users:
        response = await users.ann.get("/x/j/")
        assert (response.status_code, response.content) == (201, b"\x00\xff")
        assert response.headers["content-type"] == "image/png"


def test_inspect_says_what_a_plugin_answers(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    serving(home, "echo", ECHO, paths=["/one", "/two/*"], methods=["GET", "POST"])
    assert invoke(["--home", str(home), "inspect", "echo"]) == 0
    assert "answers     GET POST of /one /two/* below /x/echo" in capfd.readouterr().out


# --- whom it answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "nobody", "ann"),
    [(None, 401, 404), ("kv", 401, 404), ("http.serve", 401, 200), ("http.serve:public", 200, 200)],
)
async def test_a_plugin_answers_whom_its_grant_says(home: Path, granted: str | None, nobody: int, ann: int) -> None:
    serving(home, "echo", ECHO, granted=granted)
    async with users_of(home) as users:
        assert (await users.nobody.get("/x/echo/")).status_code == nobody
        assert (await users.ann.get("/x/echo/")).status_code == ann
        # A key that is wrong is told so, whoever is answered.
        assert (await users.nobody.get("/x/echo/", headers={"Authorization": "Bearer no"})).status_code == 401


async def test_a_grant_of_public_gives_no_more_than_was_requested(home: Path) -> None:
    serving(home, "echo", ECHO, granted="http.serve:public", requested="http.serve")
    async with users_of(home) as users:
        assert (await users.nobody.get("/x/echo/")).status_code == 401
        assert (await users.ann.get("/x/echo/")).status_code == 200


async def test_a_key_that_does_not_reach_runs_is_nobody_to_a_public_plugin_and_refused_by_others(home: Path) -> None:
    serving(home, "echo", ECHO, granted="http.serve:public")
    serving(home, "mine", ECHO)
    async with users_of(home) as users:
        assert (await asked(users.key, "/x/echo/"))["authenticated"] is False
        assert (await users.key.get("/x/mine/")).status_code == 403


async def test_nobody_learns_which_plugins_there_are(home: Path) -> None:
    serving(home, "echo", ECHO, granted=None)
    async with users_of(home) as users:
        for client in (users.nobody, users.ann):
            there, not_there = await client.get("/x/echo/"), await client.get("/x/none/")
            assert (there.status_code, there.json()) == (not_there.status_code, not_there.json())


async def test_only_paths_and_methods_of_the_manifest_are_answered(home: Path) -> None:
    serving(home, "echo", ECHO, paths=["/one", "/two/*"], methods=["GET"])
    async with users_of(home) as users:
        for path, status in (
            ("/one", 200),
            ("/two/", 200),
            ("/two/deep/er", 200),
            ("/one/", 404),
            ("/two", 404),
            ("/", 404),
            ("/two/%2e%2e/one", 400),
            ("/two/..%2fone", 400),
            ("/two/%00", 400),
            ("/two/%0d%0aX: y", 404),
            ("/two/" + "a" * 2000, 400),
        ):
            assert (await users.ann.get(f"/x/echo{path}")).status_code == status, path
        refused = await users.ann.post("/x/echo/one")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


async def test_a_plugin_that_is_turned_off_answers_nobody(home: Path) -> None:
    serving(home, "echo", ECHO)
    async with users_of(home) as users:
        await users.root.put("/api/plugins/echo/state", json={"enabled": False})
        response = await users.ann.get("/x/echo/")
        assert response.status_code == 503
        assert "root" not in response.text


# --- what it may answer -----------------------------------------------------------------------------------------------


async def test_a_page_of_a_plugin_is_no_page_of_the_host(home: Path) -> None:
    page = "<script>fetch('/api/runs')</script>"
    headers = {"content-type": "text/html", "cache-control": "public, max-age=9"}
    serving(home, "page", packed(headers=headers, body=page), granted="http.serve:public")
    async with users_of(home) as users:
        response = await users.nobody.get("/x/page/")
        policy = response.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'")
        assert "allow-" not in policy
        assert "script-src" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "public, max-age=9"


@pytest.mark.parametrize(
    "answer",
    [
        {"headers": {"set-cookie": "session=x"}},
        {"headers": {"Set-Cookie": "session=x"}},
        {"headers": {"location": "https://evil.example"}},
        {"headers": {"content-security-policy": ""}},
        {"headers": {"access-control-allow-origin": "*"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"headers": {"content-length": "3"}},
        {"headers": {"content-type": "text/html\r\nset-cookie: a=b"}},
        {"headers": {"content-type": "x" * 2000}},
        {"headers": {"content-type": 7}},
        {"headers": {"cache-control": "public"}},
        {"headers": ["content-type"]},
        {"status": 101},
        {"status": 302},
        {"status": 999},
        {"status": True},
        {"status": "200"},
        {"body": 7},
        {"body": "a", "bodyBase64": "AA=="},
        {"bodyBase64": "?"},
        {"bodyBase64": b"AA=="},
    ],
    ids=str,
)
async def test_what_is_not_on_the_lists_is_not_answered(home: Path, answer: dict[str, Any]) -> None:
    serving(home, "bad", packed(**answer))
    async with users_of(home) as users:
        response = await users.ann.get("/x/bad/")
        assert (response.status_code, response.json()) == (502, {"error": "the plugin failed to answer"})
        assert "set-cookie" not in response.headers


@pytest.mark.parametrize("text", [TRAPS, says(b""), says(b"\xc1"), says(b"\x01"), says(b"\x81\x01\x02")])
async def test_a_plugin_that_fails_is_a_bad_gateway_and_says_nothing_of_itself(home: Path, text: str) -> None:
    serving(home, "bad", text)
    async with users_of(home) as users:
        assert (await users.ann.get("/x/bad/")).json() == {"error": "the plugin failed to answer"}
        assert (await users.ann.get("/api/plugins")).status_code == 200


async def test_a_plugin_that_does_not_end_is_ended_and_no_other_request_waits_for_it(home: Path) -> None:
    serving(home, "spins", SPINS)
    serving(home, "echo", ECHO)
    async with users_of(home) as users, trio.open_nursery() as nursery:

        async def endless() -> None:
            assert (await users.ann.get("/x/spins/")).status_code == 502

        for _ in range(4):
            nursery.start_soon(endless)
        assert (await asked(users.bob, "/x/echo/"))["path"] == "/"


async def test_a_body_beyond_the_bound_is_refused(home: Path) -> None:
    serving(home, "echo", ECHO, methods=["POST"])
    async with users_of(home) as users:
        assert (await users.ann.post("/x/echo/", content=bytes(MOST_BODY + 1))).status_code == 413


async def test_one_plugin_takes_only_its_own_places(home: Path) -> None:
    serving(home, "echo", ECHO)

    async def refused(users: Users) -> int:
        with users.parts.plugins.places.one("other"):
            return (await users.ann.get("/x/echo/")).status_code

    async with users_of(home) as users:
        assert await refused(users) == 200
    places = Places(most=3, most_of_one=2)
    with places.one("a"), places.one("a"):
        with pytest.raises(AnswerError, match="as many"), places.one("a"):
            pass
        with places.one("b"), pytest.raises(AnswerError, match="as many"), places.one("c"):
            pass
        with places.one("b"):
            pass


# --- what a manifest may say ------------------------------------------------------------------------------------------

HEAD = 'id = "s"\nversion = "1"\n[[capabilities]]\nname = "http.serve"\nreason = "r"\n[serve]\nfunction = "run"\n'


def test_a_manifest_says_which_requests() -> None:
    found = parse_manifest(HEAD.encode(), where="s.toml", exports={"run"})
    assert found.serve == Serve("run", ("/*",), ("GET",))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ('paths = ["hooks"]', "serve.paths has 'hooks'"),
        ('paths = ["/a/../b"]', "serve.paths"),
        ('paths = ["/*/b"]', "serve.paths"),
        ('paths = "/"', "must be a list"),
        ('methods = ["CONNECT"]', "serve.methods has 'CONNECT'"),
        ('headers = ["cookie"]', "serve.headers has 'cookie'"),
        ('headers = ["authorization"]', "serve.headers"),
        ('headers = ["x-forwarded-for"]', "serve.headers"),
        ('headers = ["x-api-key"]', "serve.headers"),
        ('headers = ["X-Up"]', "serve.headers"),
        ("path = []", "did you mean 'paths'"),
        ("paths = [" + '"/a",' * 33 + "]", "the most is 32"),
    ],
)
def test_what_a_manifest_may_not_say_is_a_problem(more: str, sentence: str) -> None:
    with pytest.raises(TableError) as caught:
        parse_manifest((HEAD + more).encode(), where="s.toml", exports={"run"})
    assert any(sentence in problem for problem in caught.value.problems), caught.value.problems


_odd = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["/a", "/*", "GET", "x-up"])


@given(
    st.dictionaries(
        st.sampled_from(["function", "paths", "methods", "headers", "more"]), _odd | st.lists(_odd, max_size=40)
    )
)
def test_whatever_a_table_says_it_is_read_within_the_lists_or_a_problem(table: dict[str, Any]) -> None:
    problems: list[str] = []
    found = read_serve(Table(table, "s.toml", problems, "serve"), {"run"})
    if problems:
        return
    assert found.function == "run"
    assert set(found.methods) <= {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert all(path.startswith("/") and ".." not in path.split("/") for path in found.paths)
    assert all(header.startswith("x-") for header in found.headers)
    assert max(map(len, (found.paths, found.methods, found.headers))) <= 32


def test_who_answers_requests_asks_for_the_capability_and_names_a_function_that_there_is() -> None:
    text = 'id = "s"\nversion = "1"\n[serve]\nfunction = "gone"\n'
    with pytest.raises(TableError) as caught:
        parse_manifest(text.encode(), where="s.toml", exports={"run"})
    assert len(caught.value.problems) == 2


def test_public_is_more_than_the_name_alone() -> None:
    alone, public = parse_capability("http.serve"), parse_capability("http.serve:public")
    assert public.covers(alone)
    assert not alone.covers(public)
    assert alone.meet(public) == alone == parse_capability("http.serve:users")
    assert str(alone) == "http.serve:users"
    request = CapabilityRequest("http.serve:public", "answers")
    manifest = Manifest("s", "1", "s", capabilities=(request,))
    plan = plan_consent("s", manifest, "0" * 64, None, chosen=["http.serve:users"])
    assert plan.grant.capabilities == (alone,)


# --- any of it --------------------------------------------------------------------------------------------------------


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers(0, 600) | st.text(max_size=9) | st.binary(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["status", "headers", "body", "bodyBase64", "etag", "set-cookie"]), inner)
        ),
        max_leaves=9,
    ).map(msgpack.packb),
    st.booleans(),
)
def test_whatever_a_guest_says_is_an_answer_within_the_lists_or_an_error(data: bytes, public: bool) -> None:
    try:
        found = answer(data, "msgpack", public=public)
    except GuestError:
        return
    assert found.headers["content-security-policy"].startswith("sandbox;")
    assert "set-cookie" not in found.headers
    assert len(found.body) <= MOST_ANSWER
    assert found.status_code in {*range(200, 300), *range(400, 600)}


@given(st.dictionaries(st.sampled_from(["cookie", "authorization", "x-one", "accept", "host", "x-real-ip"]), st.text()))
def test_whatever_is_sent_only_what_is_on_the_lists_is_given(headers: dict[str, str]) -> None:
    raw = Headers(raw=[(key.encode(), value.encode("utf-8", "replace")) for key, value in headers.items()])
    serve = Serve("run", ("/*",), ("GET",), ("x-one",))
    data = question(serve, "GET", "/", QueryParams(), raw, b"", authenticated=True, codec="raw")
    assert set(json.loads(data)["headers"]) <= {"x-one", "accept"}


def test_an_answer_that_is_too_large_is_none() -> None:
    with pytest.raises(GuestError, match="at most"):
        answer(msgpack.packb({"body": bytes(MOST_ANSWER + 1)}), "msgpack", public=False)
    text = base64.b64encode(bytes(MOST_ANSWER + 1)).decode()
    with pytest.raises(GuestError, match="at most"):
        answer(json.dumps({"bodyBase64": text}).encode(), "json", public=False)
