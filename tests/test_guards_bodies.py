"""Bodies are bounded in bytes, depth and elements before anything is built of them, whichever way a route reads."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from innkeeper.bridge.scan import DataBounds
from innkeeper.server.answers import add_handlers
from innkeeper.server.guards.bodies import BODY_BOUNDS, BoundedRouter, parsed, refuse_unbounded, takes

router = BoundedRouter()


class Thing(BaseModel):
    """What a route takes."""

    name: str
    inner: Any = None


@router.post("/model")
async def by_model(thing: Thing) -> dict[str, Any]:
    return {"name": thing.name}


@router.post("/raw")
async def by_hand(request: Request) -> dict[str, Any]:
    return {"value": await request.json()}


@router.post("/bytes")
@takes(size=100)
async def read_bytes(request: Request) -> dict[str, int]:
    return {"length": len(await request.body())}


@router.post("/stream")
@takes(size=100)
async def streamed(request: Request) -> dict[str, int]:
    return {"length": sum([len(chunk) async for chunk in request.stream()])}


@router.post("/form")
@takes(size=2000)
async def form(request: Request) -> dict[str, list[str]]:
    return {"keys": sorted((await request.form()).keys())}


def client() -> httpx.AsyncClient:
    app = FastAPI()
    add_handlers(app)
    app.include_router(router)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/model", "/raw"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"name": "a", "inner": ' + b"[" * 64 + b"]" * 64 + b"}", "more than 64 deep"),
        (b"[" * 500_000, "more than 64 deep"),
        (b'{"a":' * 200_000, "more than 64 deep"),
        (b'{"name": "a", "inner": [' + b"0," * 100_000 + b"0]}", "more than 100,000 elements"),
        (b'{"name": ' + b"9" * 10_000 + b"}", "needs more than 64 bits"),
        (b'{"name": "a", "inner": NaN}', "NaN is not a number in JSON"),
        (b'{"name": "a", "inner": 1e999}', "is not finite"),
        (b'{"name": "a"', "line 1"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
async def test_json_that_is_dear_to_build_is_never_built(path: str, body: bytes, said: str) -> None:
    async with client() as server:
        answer = await server.post(path, content=body, headers=JSON)
        assert answer.status_code == 400
        assert said in answer.json()["error"]


@pytest.mark.parametrize("path", ["/model", "/raw", "/bytes", "/stream", "/form"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_long_is_not_read_to_its_end(path: str, chunked: bool) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 64 * BODY_BOUNDS.size:
            sent += 65_536
            yield b" " * 65_536

    kind = {"content-type": "multipart/form-data; boundary=x"} if path == "/form" else JSON
    async with client() as server:
        announced = {} if chunked else {"content-length": str(64 * BODY_BOUNDS.size)}
        answer = await server.post(path, content=endless(), headers={**kind, **announced})
        assert answer.status_code == 413
        assert "at most" in answer.json()["error"]
        assert sent <= 2 * BODY_BOUNDS.size


async def test_a_length_of_ten_thousand_digits_is_too_long_and_no_work() -> None:
    async with client() as server:
        answer = await server.post("/bytes", content=b"a", headers={"content-length": "9" * 10_000})
        assert answer.status_code == 413


async def test_what_fits_is_taken_however_it_is_read() -> None:
    async with client() as server:
        assert (await server.post("/model", json={"name": "a", "inner": [1] * 9000})).json() == {"name": "a"}
        assert (await server.post("/raw", json=["ä", 1.5, None])).json() == {"value": ["ä", 1.5, None]}
        assert (await server.post("/bytes", content=b"a" * 100)).json() == {"length": 100}
        assert (await server.post("/stream", content=b"a" * 100)).json() == {"length": 100}
        assert (await server.post("/form", data={"a": "1"}, files={"b": b"2"})).json() == {"keys": ["a", "b"]}


def test_a_router_of_ours_without_bounds_is_refused_before_it_serves() -> None:
    bare = APIRouter()

    @bare.post("/anything")
    async def anything(thing: Thing) -> None: ...

    with pytest.raises(TypeError, match="/anything has no bounds"):
        refuse_unbounded(bare)
    refuse_unbounded(router)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(plain)
async def test_what_was_written_is_what_is_read(value: Any) -> None:
    assert await parsed(json.dumps(value).encode()) == value


@given(plain, st.integers(0, 6), st.integers(1, 12))
async def test_a_value_is_given_if_and_only_if_it_is_within_its_bounds(value: Any, depth: int, elements: int) -> None:
    def deep(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(deep, inner), default=0)

    def count(value: Any) -> int:
        # An empty container counts as if it had something in it.
        if isinstance(value, dict):
            return 1 + (sum(1 + count(each) for each in value.values()) or 1)
        return 1 + (sum(map(count, value)) or 1) if isinstance(value, list) else 1

    try:
        found = await parsed(json.dumps(value).encode(), DataBounds(1 << 20, depth, elements))
    except HTTPException:
        taken = False
    else:
        taken = True
        assert found == value
    assert taken == (deep(value) <= depth and count(value) <= elements)
