"""Guessing costs more each time, whoever guesses and in whatever order, and costs others little."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts_servers import Clock
from innkeeper.server.accounts import tries as tries_module
from innkeeper.server.accounts.passwords import LONGEST, SHORTEST, checked_password
from innkeeper.server.accounts.tries import ADDRESS, NAME, PAIR, Tries, Try, network_of
from innkeeper.server.answers import AnswerError


def wrong(tries: Tries, address: str, name: str | None = None) -> bool:
    """Whether a wrong try was let through."""
    return begun(tries, address, name) is not None


def begun(tries: Tries, address: str, name: str | None) -> Try | None:
    """A try, or None where it is too early for one; how long to wait is said then."""
    try:
        return tries.begin(address, name)
    except AnswerError as error:
        refusal = error
    assert refusal.status == 429
    assert refusal.headers is not None
    assert 1 <= int(refusal.headers["Retry-After"]) <= ADDRESS.longest
    return None


def test_a_day_of_guessing_is_a_small_number_of_guesses() -> None:
    clock = Clock()
    tries = Tries(now=clock)
    guesses = 0
    for _ in range(86_400):
        guesses += wrong(tries, "192.0.2.1", "ann")
        clock.now += 1
    assert guesses < 320
    # From everywhere at once a little more, and still few.
    clock, guesses = Clock(), 0
    tries = Tries(now=clock)
    for second in range(3600):
        for number in range(3):
            guesses += wrong(tries, f"10.{second % 250}.{number}.7", "ann")
        clock.now += 1
    assert guesses <= NAME.free + 3600 / NAME.longest + 10


def test_who_has_the_password_is_not_kept_out_for_long_by_who_guesses_elsewhere() -> None:
    clock = Clock()
    tries = Tries(now=clock)
    for number in range(500):
        wrong(tries, f"10.0.{number % 250}.1", "ann")
        clock.now += 0.5
    clock.now += NAME.longest
    tries.begin("192.0.2.1", "ann").succeeded()
    # And others from the same place not at all.
    assert wrong(tries, "192.0.2.1", "bob")


def test_names_from_one_address_are_counted_together() -> None:
    tries = Tries(now=Clock())
    passed = [wrong(tries, "192.0.2.1", f"name {number}") for number in range(ADDRESS.free + 5)]
    assert passed == [True] * (ADDRESS.free + 1) + [False] * 4
    assert wrong(tries, "192.0.2.2", "name 1")


def test_one_account_of_ones_own_does_not_make_guessing_others_free() -> None:
    clock = Clock()
    tries, guesses = Tries(now=clock), 0
    for _ in range(3600):
        try:
            tries.begin("192.0.2.1", "mine").succeeded()
            guesses += wrong(tries, "192.0.2.1", f"other {guesses}")
        except AnswerError:
            pass
        clock.now += 1
    assert guesses < ADDRESS.free + 30


def test_failures_are_forgotten_after_an_hour() -> None:
    clock = Clock()
    tries = Tries(now=clock)
    for _ in range(PAIR.free + 1):
        assert wrong(tries, "192.0.2.1", "ann")
    assert not wrong(tries, "192.0.2.1", "ann")
    clock.now += 3601
    assert [wrong(tries, "192.0.2.1", "ann") for _ in range(PAIR.free + 1)] == [True] * (PAIR.free + 1)


def test_a_network_of_ipv6_is_one_address() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2") == network_of("2001:db8::1%eth0")
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert len(network_of("x" * 10_000)) == 100


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries_module, "REMEMBERED", 50)
    clock = Clock()
    tries = Tries(now=clock)
    for number in range(1000):
        wrong(tries, f"10.0.{number // 250}.{number % 250}", f"n{number}")
    assert len(tries) == 150


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["fail", "right", "undo"]), st.integers(0, 40))))
def test_whatever_happens_nobody_waits_longer_than_the_longest(steps: list[tuple[str, str, int]]) -> None:
    clock = Clock()
    tries = Tries(now=clock)
    for name, outcome, later in steps:
        tried = begun(tries, "192.0.2.1", name)
        if tried is not None and outcome == "right":
            tried.succeeded()
        elif tried is not None and outcome == "undo":
            tried.undone()
        clock.now += later
    clock.now += ADDRESS.longest
    tries.begin("192.0.2.1", "a")


@given(st.text(max_size=400))
def test_a_password_is_one_or_is_refused_without_being_shown(text: str) -> None:
    try:
        found = checked_password(text)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
        assert SHORTEST <= len(text) <= LONGEST
        found.encode()
        assert checked_password(found) == found or not SHORTEST <= len(found) <= LONGEST
    assert len(text) < 5 or text not in said
