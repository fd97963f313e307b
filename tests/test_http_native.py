"""Routes (/n/ID/...), WebSockets and middleware of native plugins: whom they answer, and what they raise is theirs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    RejectConnection,
    Request,
    TextMessage,
)

from http_users import users_of
from innkeeper.plugins.native.web import MOST, Web
from native_homes import House

ROUTES = """
from starlette.responses import PlainTextResponse, StreamingResponse

def setup(api):
    @api.route("/who/{name}")
    async def who(request):
        return {"name": request.path_params["name"], "user": request.state.user, "admin": request.state.admin}

    @api.route("/open", methods=["GET", "POST"], public=True)
    def open_(request):
        return PlainTextResponse(f"{request.method} {request.state.user}")

    @api.route("/raise")
    async def raises(request):
        raise SystemExit("secret words")

    @api.route("/nothing")
    async def nothing(request):
        return None

    @api.route("/half")
    async def half(request):
        async def body():
            yield b"half"
            raise ValueError("secret words")
        return StreamingResponse(body())

    @api.websocket("/talk")
    async def talk(socket):
        await socket.accept()
        async for text in socket.iter_text():
            if text == "raise":
                raise KeyboardInterrupt
            await socket.send_text(f"{socket.state.user}: {text}")
"""

AROUND = """
def setup(api):
    @api.middleware
    def around(app):
        async def with_header(scope, receive, send):
            async def marked(message):
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (b"x-around", b"yes")]}
                await send(message)
            await app(scope, receive, marked)
        return with_header
"""


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "home")


async def test_a_route_answers_users_and_a_public_one_anybody(house: House) -> None:
    house.native("raw", ROUTES)
    async with users_of(house.path) as users:
        assert (await users.ann.get("/n/raw/who/x")).json() == {"name": "x", "user": "ann", "admin": False}
        assert (await users.root.get("/n/raw/who/x")).json()["admin"] is True
        assert (await users.half.get("/n/raw/who/x")).json()["admin"] is False
        assert (await users.nobody.get("/n/raw/who/x")).status_code == 401
        assert (await users.key.get("/n/raw/who/x")).status_code == 403
        assert (await users.nobody.post("/n/raw/open")).text == "POST None"
        assert (await users.ann.get("/n/raw/open")).text == "GET ann"
        # A key that does not reach it is nobody.
        assert (await users.key.get("/n/raw/open")).text == "GET None"
        for path in ("/n/raw/none", "/n/none/open", "/n/", "/n/raw", "/n/raw/open/", "/n/raw/../raw/none"):
            answer = await users.ann.get(path)
            assert (answer.status_code, list(answer.json())) == (404, ["error"]), path
        assert (await users.ann.delete("/n/raw/open")).status_code == 405


@pytest.mark.parametrize("path", ["raise", "nothing"])
async def test_whatever_a_route_raises_is_its_own_and_is_not_told(house: House, path: str) -> None:
    house.native("raw", ROUTES)
    async with users_of(house.path) as users:
        answer = await users.ann.get(f"/n/raw/{path}")
        assert (answer.status_code, answer.json()) == (502, {"error": "the plugin failed to answer"})
        assert (await users.ann.get("/n/raw/open")).status_code == 200


async def test_an_answer_that_breaks_off_ends_its_connection_and_no_other(house: House) -> None:
    house.native("raw", ROUTES)
    async with users_of(house.path) as users:
        with pytest.raises(httpx.RemoteProtocolError):
            await users.ann.get("/n/raw/half")
        assert (await users.ann.get("/n/raw/open")).status_code == 200


async def test_a_plugin_that_is_not_trusted_answers_nothing(house: House) -> None:
    house.native("raw", ROUTES, trust=False)
    async with users_of(house.path) as users:
        assert (await users.root.get("/n/raw/open")).status_code == 404


async def test_a_plugin_out_of_service_answers_nothing_any_more(house: House) -> None:
    house.native("raw", ROUTES)
    house.native("around", AROUND)
    async with users_of(house.path) as users:
        first = await users.ann.get("/n/raw/open")
        assert (first.status_code, first.headers["x-around"]) == (200, "yes")
        for name in ("raw", "around"):
            (house.path / "manifests/trust" / f"{name}.toml").unlink()
        await users.root.post("/api/plugins/reload")
        assert (await users.ann.get("/n/raw/open")).status_code == 404
        assert "x-around" not in (await users.ann.get("/healthz")).headers


# --- WebSockets -------------------------------------------------------------------------------------------------------


class Socket:
    """A WebSocket, by hand."""

    def __init__(self, stream: trio.SocketStream, host: str) -> None:
        self._stream = stream
        self._host = host
        self._wire = WSConnection(ConnectionType.CLIENT)

    async def begin(self, path: str, key: str | None) -> Any:
        headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
        await self._stream.send_all(self._wire.send(Request(host=self._host, target=path, extra_headers=headers)))
        return await self.next()

    async def say(self, text: str) -> Any:
        await self._stream.send_all(self._wire.send(TextMessage(data=text)))
        return await self.next()

    async def next(self) -> Any:
        with trio.fail_after(30):
            while True:
                for event in self._wire.events():
                    if isinstance(event, AcceptConnection | RejectConnection | TextMessage | BytesMessage):
                        return event
                    if isinstance(event, CloseConnection):
                        return event
                self._wire.receive_data(await self._stream.receive_some(4096) or None)


async def opened(url: str) -> Socket:
    address = url.removeprefix("http://")
    host, port = address.split(":")
    return Socket(await trio.open_tcp_stream(host, int(port)), address)


async def test_a_websocket_speaks_with_users_alone(house: House) -> None:
    house.native("raw", ROUTES)
    async with users_of(house.path) as users:
        socket = await opened(users.url)
        assert isinstance(await socket.begin("/n/raw/talk", "ann"), AcceptConnection)
        assert (await socket.say("hello")).data == "ann: hello"
        for path, key in (("/n/raw/talk", None), ("/n/raw/talk", "key"), ("/n/none/talk", "ann"), ("/n/raw/x", "ann")):
            refused = await (await opened(users.url)).begin(path, key)
            assert isinstance(refused, RejectConnection), path
            assert refused.status_code in (403, 404)
        # What is raised ends this one, and no other.
        other = await opened(users.url)
        await other.begin("/n/raw/talk", "bob")
        ended = await socket.say("raise")
        assert isinstance(ended, CloseConnection)
        assert ended.code == 1011
        assert (await other.say("still")).data == "bob: still"


# --- middleware -------------------------------------------------------------------------------------------------------


async def test_a_middleware_is_around_all_routes(house: House) -> None:
    house.native("around", AROUND)
    async with users_of(house.path) as users:
        for path in ("/healthz", "/api/nodes", "/api/nothing"):
            assert (await users.ann.get(path)).headers["x-around"] == "yes"


@pytest.mark.parametrize(
    "body",
    [
        "    raise ValueError('secret words')",
        "    raise SystemExit",
        "    return None",
        "    async def app_(scope, receive, send):\n        raise SystemExit\n    return app_",
        "    async def app_(scope, receive, send):\n        raise ValueError('secret words')\n    return app_",
    ],
)
async def test_a_middleware_that_fails_lets_nothing_through_and_the_server_goes_on(house: House, body: str) -> None:
    lines = body.replace("\n", "\n    ")
    house.native("bad", f"def setup(api):\n    @api.middleware\n    def around(app):\n    {lines}\n")
    async with users_of(house.path) as users:
        for _ in range(2):
            answer = await users.ann.get("/healthz")
            assert answer.status_code in (500, 502)
            assert "secret" not in answer.text
            assert isinstance(answer.json()["error"], str)
        (house.path / "manifests/trust/bad.toml").unlink()
        await users.parts.host.reload()
        assert (await users.ann.get("/healthz")).status_code == 200


async def test_the_plugin_of_the_page_answers_as_it_stands_there(house: House) -> None:
    page = (Path(__file__).parent.parent / "docs/native-plugins.md").read_text(encoding="utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "api.route" in block]
    house.native("page", code)
    async with users_of(house.path) as users:
        assert (await users.ann.get("/n/page/rooms/a")).json() == {"room": "a", "user": "ann"}
        socket = await opened(users.url)
        await socket.begin("/n/page/talk", "ann")
        assert (await socket.say("hello")).data == "hello"


# --- what can be added ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "methods"), [("who", ()), ("/a b", ()), ("/" + "a" * 300, ()), ("/a", ("CONNECT",)), ("/\r\n", ())]
)
def test_what_is_no_route_is_refused(path: str, methods: tuple[str, ...]) -> None:
    async def function(request: Any) -> Any: ...

    with pytest.raises(ValueError, match=r"path|method"):
        Web().route(path, function, methods, public=False)


def test_a_plugin_adds_a_bounded_number() -> None:
    async def function(request: Any) -> Any: ...

    web = Web()
    for _ in range(MOST):
        web.route("/a", function, ("GET",), public=False)
        web.around(lambda app: app)
    with pytest.raises(ValueError, match="at most"):
        web.route("/a", function, ("GET",), public=False)
    with pytest.raises(ValueError, match="at most"):
        web.around(lambda app: app)


async def test_routes_are_added_while_setup_runs_and_not_later(house: House) -> None:
    code = """
def setup(api):
    @api.route("/late")
    async def late(request):
        try:
            api.route("/later")(late)
        except RuntimeError as error:
            return {"said": str(error)}
"""
    house.native("raw", code)
    async with users_of(house.path) as users:
        assert "not later" in (await users.ann.get("/n/raw/late")).json()["said"]
