"""Sizes and durations as people write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from innkeeper.errors import UsageError
from innkeeper.sandbox.limits import parse_duration, parse_size


@pytest.mark.parametrize("parse", [parse_size, parse_duration])
@pytest.mark.parametrize("text", ["9" * 10_000 + "x", "1" + "0" * 4000, "-" * 5000])
def test_a_quantity_that_is_none_is_named_in_short(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert len(caught.value.message) < 200
    assert text[:50] in caught.value.message
