"""Fixtures that several tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from guests import Sandbox, opened


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """An engine that is looked over after the test."""
    async with opened() as made:
        yield made
