"""The types of what guests give the service `llm`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from innkeeper.bridge.inference import limits
from innkeeper.bridge.inference.messages import (
    MOST_MESSAGES,
    MOST_TEXT,
    MOST_TOOLS,
    check_format,
    check_messages,
    check_tools,
)
from innkeeper.bridge.scan import DataBounds
from innkeeper.sandbox.limits import KIB

MOST_ANSWER: Final = 131_072
"""Tokens of an answer that can be asked for."""

MOST_TEXTS: Final = 64
"""Texts that are embedded at once."""

MOST_EMBEDDED: Final = 32 * KIB
"""Bytes of each: what models with a long memory read."""

CHAT_BOUNDS: Final = DataBounds(size=2 * MOST_TEXT, depth=24, elements=5000)
EMBED_BOUNDS: Final = DataBounds(size=MOST_TEXTS * (MOST_EMBEDDED + 8) + KIB, depth=2, elements=MOST_TEXTS + 8)


def _checked(check: Callable[[Any], None]) -> AfterValidator:
    def validate(value: Any) -> Any:
        check(value)
        return value

    return AfterValidator(validate)


ModelName = Annotated[str, Field(min_length=1, max_length=128)]
Messages = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_MESSAGES), _checked(check_messages)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Answer = Annotated[int, Field(ge=1, le=MOST_ANSWER)]
Stop = Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=4)]
Format = Annotated[dict[str, Any], _checked(check_format)]
Seed = Annotated[int, Field(ge=0, lt=1 << 53)]
Tools = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_TOOLS), _checked(check_tools)]
Texts = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MOST_EMBEDDED)]], Field(min_length=1, max_length=MOST_TEXTS)
]
Seconds = Annotated[float, Field(gt=0, le=limits.WHOLE, allow_inf_nan=False)]
StreamId = Annotated[int, Field(ge=1, lt=1 << 31)]
