"""Sizes and durations as people write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest

from innkeeper.errors import UsageError
from innkeeper.plugins.quantities import BOUNDS, LIMITS
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.limits import Limits, parse_duration, parse_size


def test_every_limit_and_every_bound_can_be_written_in_a_file() -> None:
    assert set(LIMITS) == {field.name for field in fields(Limits)}
    assert set(BOUNDS) == {field.name for field in fields(Bounds)}


@pytest.mark.parametrize("parse", [parse_size, parse_duration])
@pytest.mark.parametrize("text", ["9" * 10_000 + "x", "1" + "0" * 4000, "-" * 5000])
def test_a_quantity_that_is_none_is_named_in_short(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert len(caught.value.message) < 200
    assert text[:50] in caught.value.message
