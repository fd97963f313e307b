"""Fixtures that several tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

pytest.register_assert_rewrite("guests")

from guests import Sandbox, opened  # noqa: E402 (its asserts explain themselves only if it is imported after the line above)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """An engine that is looked over after the test."""
    async with opened() as made:
        yield made
