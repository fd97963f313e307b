"""When a cron expression fires: five fields in a time zone, clock changes included, and never a bomb."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.bridge.cron import MOST_AHEAD, SHORTEST, next_due

NOW = datetime(2026, 11, 20, 13, 43, 22, tzinfo=UTC).timestamp()


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def times(expression: str, timezone: str, after: str, count: int) -> list[str]:
    found, now = [], at(after)
    for _ in range(count):
        now = next_due(expression, timezone, now)
        found.append(datetime.fromtimestamp(now, UTC).isoformat()[:16])
    return found


@pytest.mark.parametrize(
    ("expression", "timezone", "expected"),
    [
        ("* * * * *", "UTC", "2026-11-20T13:44+00:00"),
        ("30 7 * * MON-FRI", "UTC", "2026-11-23T07:30+00:00"),
        ("30 7 * * mon-fri", "Asia/Shanghai", "2026-11-22T23:30+00:00"),
        ("0 0 1 */2 *", "UTC", "2027-01-01T00:00+00:00"),
        ("0 12 29 2 *", "UTC", "2028-02-29T12:00+00:00"),
        ("0 0 L * *", "UTC", "2026-11-30T00:00+00:00"),
    ],
)
def test_an_expression_fires_when_cron_would(expression: str, timezone: str, expected: str) -> None:
    assert next_due(expression, timezone, NOW) == at(expected)


def test_a_time_that_is_due_now_is_not_due_again() -> None:
    now = at("2026-11-20T07:30+00:00")
    assert next_due("30 7 * * *", "UTC", now) == now + 86400


def test_a_fixed_time_that_is_left_out_fires_once_after_the_gap() -> None:
    # On 28 March 2027 clocks in Berlin go from 2:00 to 3:00, which is 1:00 in UTC.
    expected = ["2027-03-27T01:30", "2027-03-28T01:00", "2027-03-29T00:30"]
    assert times("30 2 * * *", "Europe/Berlin", "2027-03-26T12:00+00:00", 3) == expected
    assert times("0,30 2 * * *", "Europe/Berlin", "2027-03-28T00:00+00:00", 2)[0] == "2027-03-28T01:00"
    assert times("0,30 2 * * *", "Europe/Berlin", "2027-03-28T00:00+00:00", 2)[1] == "2027-03-29T00:00"


def test_a_fixed_time_that_comes_twice_fires_the_first_time() -> None:
    # On 31 October 2027 clocks in Berlin go from 3:00 back to 2:00, which is 1:00 in UTC.
    expected = ["2027-10-30T00:30", "2027-10-31T00:30", "2027-11-01T01:30"]
    assert times("30 2 * * *", "Europe/Berlin", "2027-10-29T12:00+00:00", 3) == expected
    # Asked within the second one, it is not fired for the past.
    assert times("45 2 * * *", "Europe/Berlin", "2027-10-31T01:40+00:00", 1) == ["2027-11-01T01:45"]


def test_with_a_star_it_fires_by_the_time_that_passes() -> None:
    expected = ["2027-10-31T00:00", "2027-10-31T00:30", "2027-10-31T01:00", "2027-10-31T01:30", "2027-10-31T02:00"]
    assert times("*/30 * * * *", "Europe/Berlin", "2027-10-30T23:45+00:00", 5) == expected
    # Nor in an hour that is left out.
    assert times("*/30 2 * * *", "Europe/Berlin", "2027-03-28T00:30+00:00", 1) == ["2027-03-29T00:00"]


BOMBS = {
    "seconds": "* * * * * *",
    "every second": "*/1 * * * * *",
    "no fields": "",
    "four fields": "* * * *",
    "a name": "@reboot",
    "a step of nothing": "*/0 * * * *",
    "out of range": "60 * * * *",
    "never": "0 0 30 2 *",
    "hardly ever": "0 0 * 2 MON#5",
    "very long": "0," * 60 + "0 * * * *",
    "a long number": "9" * 80 + " * * * *",
    "other digits": "² * * * *",
    "Arabic digits": "٣ * * * *",
    "a line break": "* * * *\n*",
    "a NUL": "* * * * *\0",
    "a random field": "R * * * *",
}


@pytest.mark.parametrize("expression", BOMBS.values(), ids=BOMBS)
def test_what_is_no_expression_is_refused_with_a_sentence(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression") as caught:
        next_due(expression, "UTC", NOW)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "timezone",
    [
        "",
        "Europe",
        "Nowhere/Here",
        "../../etc/passwd",
        "/etc/localtime",
        "localtime",
        "europe/berlin",
        "Europe/Berlin\0",
    ],
)
def test_a_time_zone_is_a_name_that_is_known_and_no_file_of_the_machine(timezone: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        next_due("* * * * *", timezone, NOW)


fields = st.lists(
    st.one_of(
        st.text("0123456789*/,-#LW ", min_size=1, max_size=6),
        st.sampled_from(["*", "*/7", "L", "LW", "MON#5", "7L", "1-5", "0,30", "31", "29"]),
    ),
    min_size=5,
    max_size=5,
).map(" ".join)


@given(fields, st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]))
@settings(deadline=None, max_examples=400)
def test_whatever_is_asked_is_refused_or_fires_later_and_never_more_often_than_once_a_minute(
    expression: str, timezone: str
) -> None:
    found = [at("2027-03-27T22:00+00:00")]
    try:
        for _ in range(5):
            found.append(next_due(expression, timezone, found[-1]))
    except ValueError:
        return
    for one, two in pairwise(found):
        assert one < two <= one + MOST_AHEAD
    assert all(two - one >= SHORTEST for one, two in pairwise(found[1:]))
    assert all(due % 60 == 0 for due in found[1:])
