"""Fixtures that several tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator

import pytest

from innkeeper.sandbox.limits import DEFAULTS

# Neither plugins nor compiled modules of the user's: what tests compile goes into a cache of their own, which processes
# that they start share.
_own = tempfile.mkdtemp(prefix="innkeeper-tests-")
os.environ["INNKEEPER_CACHE"] = f"{_own}/cache"
os.environ["XDG_DATA_HOME"] = f"{_own}/data"
os.environ["XDG_CONFIG_HOME"] = f"{_own}/config"
os.environ.pop("INNKEEPER_HOME", None)
# Commands are tried as users have them, who buffer what is written.
os.environ.pop("PYTHONUNBUFFERED", None)
_owner = os.getpid()
# A background child of a shell inherits that SIGINT is ignored, and so would what tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@atexit.register
def _remove_own() -> None:
    if os.getpid() == _owner:
        shutil.rmtree(_own, ignore_errors=True)


pytest.register_assert_rewrite("guests", "databases")

from databases import (  # noqa: E402, F401 (fixtures, which pytest finds here; and as the line below)
    database_place,
    empty_postgres_url,
    postgres_server,
    postgres_url,
    shared_place,
    two_places,
)
from guests import NOTHING, Sandbox, opened  # noqa: E402 (its asserts explain themselves only if it is imported after the line above)


@pytest.fixture(autouse=True)
def _ctrl_c_is_left_alone() -> Iterator[None]:
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "who ended left Ctrl-C to somebody else"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """An engine that is looked over after the test."""
    async with opened() as made:
        places = made.engine.spot((await made.load(NOTHING)).layout, DEFAULTS)
        taken = places.taken
        yield made
    assert places.taken <= taken, "a guest's place in the pool was not given back"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a capability `later.thing`, which this version does not have."""
    from innkeeper.plugins import capabilities, risk

    kind = capabilities.Kind("do what comes later", "none", "later.thing")
    monkeypatch.setitem(capabilities.KINDS, "later.thing", kind)
    monkeypatch.setitem(risk._RISKS, "later.thing", lambda capability: risk.Risk("medium", "it comes later"))
