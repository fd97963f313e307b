"""What guests may give the service `kb`: types with bounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import Field

from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.scan import DataBounds
from innkeeper.errors import BusyError
from innkeeper.storage.knowledge_model import (
    MOST_CONTENT,
    MOST_KEYWORD,
    MOST_KEYWORDS,
    MOST_PRIORITY,
    MOST_TITLE,
    AwayError,
    FullError,
    NoSuchError,
    VersionError,
)

Base = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Id = Annotated[str, Field(min_length=1, max_length=128)]
Session = Annotated[str, Field(max_length=128)]
Version = Annotated[int, Field(ge=0, lt=1 << 63)]
Title = Annotated[str, Field(max_length=MOST_TITLE)]
Content = Annotated[str, Field(max_length=MOST_CONTENT)]
Keywords = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MOST_KEYWORD)]], Field(max_length=MOST_KEYWORDS)
]
Priority = Annotated[int, Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY)]
Source = Annotated[str, Field(min_length=1, max_length=64)]
Label = Annotated[str, Field(max_length=200)]
Labels = Annotated[list[Label], Field(max_length=64)]
Mode = Literal["hybrid", "keyword", "semantic"]
Profile = Literal["native", "st-1.15"]
Bases = Annotated[list[Base], Field(min_length=1, max_length=16)]
Text = Annotated[str, Field(max_length=64 * 1024)]
Vector = Annotated[list[float], Field(min_length=1, max_length=4096)]
Message = dict[str, Any]
Messages = Annotated[list[Message], Field(max_length=1000)]
Map = dict[str, Any]

QUERY_BOUNDS = DataBounds(size=64 * 1024, depth=4, elements=5000)
"""Of a search, with a vector."""

CONVERSATION = DataBounds(size=1 << 20, depth=16, elements=10_000)
"""Of what is activated or assembled: a long chat, and all that goes with it."""


@contextmanager
def refusing() -> Iterator[None]:
    """What is not done becomes what the guest reads."""
    try:
        yield
    except NoSuchError as error:
        raise ServiceError(Refusal.NOT_FOUND, str(error)) from None
    except VersionError as error:
        raise ServiceError(Refusal.CONFLICT, str(error), current=error.current) from None
    except FullError as error:
        raise ServiceError(Refusal.QUOTA, str(error), quota=error.quota, value=error.value) from None
    except AwayError as error:
        raise ServiceError(Refusal.UNAVAILABLE, str(error)) from None
    except BusyError as error:
        # Of the store nobody need know more; what is being made ready says what it is.
        said = error.message if error.bound == "knowledge" else "the store is busy; try again later"
        raise ServiceError(Refusal.BUSY, said) from None
    except ValueError as error:
        raise ServiceError(Refusal.INVALID, str(error)) from None
